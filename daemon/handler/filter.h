#ifndef DAEMON_HANDLER_FILTER_H
#define DAEMON_HANDLER_FILTER_H

/*
 * filter: messages before their tapes, as events of a session for each
 * publisher and filter.
 *
 * Life     filters_start -> (asked -> judged by a worker or a process -> told)*
 *          -> filters_hurry.
 * Order    asks is in the order of the publishes, and answered in it.
 * Promise  Every ask is answered once: by its verdict, or when the session has
 *          made no progress for callback_timeout.  What was answered is never
 *          published after that.
 * Memory   As of any session: its queue is bounded by asking the publisher to
 *          wait.
 * Threads  The net loop's, but for what says worker.
 */

#include "daemon/handler/session.h"

/* What a session is that stands for a publisher. */
struct asking {
	struct session *session;
	struct hub_publisher *publisher; /* NULL: it has ended */
	struct list of_publisher; /* in publisher.asking */
	struct list asks; /* not answered yet */
	struct list judged; /* worker, while the session is busy */
	int64_t since_us; /* the last progress */
	bool full; /* the publisher is asked to wait */
	bool stuck; /* no progress: nothing is taken until there is some */
	bool strict; /* as the publisher's */
	bool retired; /* ends with what it has */

	/* former.c */
	bool former; /* what its publisher says next waits behind asks */
	bool all; /* whatever it is */
	bool passing; /* but for this one, which has waited */
	struct list behind; /* of struct ask */
	struct list through; /* in handlers.through: asks is empty */
	struct hub_publisher heir; /* the publisher, when that has ended */
};

/* What was said of a message; the worker's while that has it. */
struct es_verdict {
	bool refused, changed;
	enum message_kind kind; /* of data */
	uint8_t *data; /* what it was changed to */
	size_t len;
	char *reason; /* NULL: none was given */
};

/* Ends in its event: EVENT_PUBLISH, and the channel's name behind its data. */
struct ask {
	struct list node; /* in asking.asks, or in asking.behind */
	uint64_t cookie;
	const char *channel;
	size_t channel_len;
	bool answered;
	bool strict; /* its publisher's */
	struct es_verdict verdict;
	struct event event; /* last */
};

static inline struct ask *
ask_of(struct event *event)
{
	return LIST_ENTRY(event, struct ask, event);
}

static inline const struct ask *
ask_of_const(const struct event *event)
{
	return (
	    const void *)((const char *)event - offsetof(struct ask, event));
}

/* Where handlers have patterns of channels to filter, they are asked. */
void filters_start(struct handlers *handlers) LOOP_THREAD; /* also again */
/* It is not among them any more: its sessions end with what they have. */
void filter_retire(struct handler *handler) LOOP_THREAD;
void filter_tick(struct handler *handler, int64_t now_us) LOOP_THREAD;
/* Time is up: everything is refused. */
void filters_hurry(struct handlers *handlers) LOOP_THREAD;

/* For session.c: how full the queue is; the session is being freed. */
void filter_update_full(struct session *session);
void filter_forget(struct session *session) LOOP_THREAD;

/* For former.c.  The publisher is to wait, or not. */
void filter_set_full(struct session *session, bool full);
/* Its session ends when it has nothing more to do. */
void filter_detach(struct asking *asking);
/* The publisher has ended. */
void filter_leave(struct hub_publisher *publisher) LOOP_THREAD;

/* verdict.c.  The message is copied; NULL: no memory. */
struct ask *ask_new(const char *channel, size_t channel_len,
    const struct hub_message *message, int64_t now_us);
void ask_free(struct ask *ask); /* NULL: no-op */

/* What a worker or a process has been asked is judged. */
void filter_judged(struct session *session, struct event *event) LOOP_THREAD;
void filter_take(struct session *session) LOOP_THREAD; /* all of judged */
/* Nobody knows what a process would have said. */
void filter_lost(struct session *session, struct event *event) LOOP_THREAD;

/* verdict.c, worker: asks the plugin.  false: the rest is not to be asked. */
bool filter_call(struct session *session, struct event *event);

/*
 * The verdict's; data and reason are copied.  -ENOMEM: then the message is
 * refused.
 */
int verdict_change(struct es_verdict *verdict, enum message_kind kind,
    const void *data, size_t len);
int verdict_refuse(struct es_verdict *verdict, const char *reason, size_t len);

#endif
