#ifndef DAEMON_HANDLER_SESSION_H
#define DAEMON_HANDLER_SESSION_H

/*
 * session: the events of one connection on their way to its handler.
 *
 * Life     new -> open -> events -> gone -> its close is handled -> freed.
 * Order    events is what waits; running is what a worker has, and is the
 *          worker's while busy: what it leaves goes back to the front.
 * Memory   The open and the close event are made with the session, so that
 *          neither can be missing.
 * Threads  The net loop's, but for what says worker.
 */

#include "daemon/handler/handler_internal.h"
#include "daemon/handler/name.h"
#include "daemon/handler/outbox.h"

#define SESSION_REASON_BYTES_MAX 123 /* RFC 6455 section 5.5 */

/* EVENT_PUBLISH is an ask's, of filter.c. */
enum event_kind {
	EVENT_OPEN,
	EVENT_MESSAGE,
	EVENT_ERROR,
	EVENT_CLOSE,
	EVENT_PUBLISH
};

struct event {
	struct list node;
	enum event_kind kind;
	enum message_kind message_kind;
	int error; /* of EVENT_ERROR */
	uint16_t code; /* of EVENT_CLOSE; of an error: of a close lost */
	bool again; /* exec: a process died over it */
	uint64_t seq, lost; /* exec: its number; of an error: what was lost */
	uint64_t end; /* exec: where its line ends in what was written */
	struct es_position position; /* consumed */
	int64_t time_us;
	size_t room; /* of data, where it may be used again; else 0 */
	size_t len;
	uint8_t data[]; /* and a NUL */
};

/* A send whose future waits for the socket. */
struct sending {
	struct list node; /* in session.sendings */
	uint64_t end; /* of session.sent */
	es_future *f;
};

struct session {
	struct list node; /* in handler.sessions */
	struct list ready; /* in handler.refused, or in a process' line */
	struct list pausing; /* in handler.paused */
	struct handler *handler;
	void *conn; /* NULL: gone */
	const struct handler_ops *ops; /* of conn */
	struct link *link; /* of an upstream; else NULL */
	es_conn name; /* 0: of a channel, a publisher, a failed upstream */
	struct es_open open; /* in one piece of memory at open_memory */
	void *open_memory;

	struct list events;
	struct event *open_event, *close_event; /* until they are queued */
	int64_t count, bytes; /* queued and running */
	bool active, paused, opened, refused, gone;

	bool busy;
	int64_t busy_since;
	bool told_late;
	struct post ran; /* worker: back to the loop */
	struct list running, spent; /* worker: to do, done */
	void *user; /* worker */
	uint16_t refuse; /* worker: the code to close with; 0: none */
	int64_t handled, handled_bytes, failed; /* worker */
	bool ended; /* worker: on_close has run */

	uint64_t sent, written;
	struct list sendings;

	struct worker *worker; /* exec, with what follows */
	struct event *in_flight;
	bool known; /* a process has had its open */
	bool told; /* exec.c: its error is in the queue */

	struct asking *asking; /* filter.c: a publisher's; NULL: it is not */

	/* consume: the channel's name is open.channel */
	struct topic *topic;
	struct list of_topic;
	struct session *after; /* goes on where that one ends; NULL: it may */
	bool leaving; /* its handler has retired: nothing more is read */
	uint64_t epoch;
	int64_t offset; /* the last one queued */
};

/* Memory that *ret_open points into; NULL: there is none. */
void *open_copy(const struct es_open *open, struct es_open *ret_open);

struct event *session_event_new(
    enum event_kind kind, const void *data, size_t len);
void session_event_free(struct event *event); /* NULL: no-op */
/* The same; a short message's is kept for one that comes. */
void session_event_recycle(
    struct handlers *handlers, struct event *event) LOOP_THREAD;
void session_free_spare(struct handlers *handlers) LOOP_THREAD;

/* Queues it, last or first, and sees that it is handled. */
void session_push(struct session *session, struct event *event) LOOP_THREAD;
void session_push_front(struct session *session, struct event *event);
/* Something changed: pause or go on reading, hand out events, end. */
void session_update(struct session *session) LOOP_THREAD;
void session_go_on(struct session *session) LOOP_THREAD; /* not held */
/* Events, with so many bytes, were handled; or wait, or do no more. */
void session_handled(struct session *session, int64_t events, int64_t bytes);
void session_more(struct session *session, int64_t events, int64_t bytes);
void session_less(struct session *session, int64_t events, int64_t bytes);
/* The handler does not want the connection. */
void session_refuse(
    struct session *session, uint16_t code, const char *reason) LOOP_THREAD;
void session_free(struct session *session) LOOP_THREAD;
bool session_is_over(const struct session *session); /* to be freed */
/* Any thread: its peer does not read; half of send_bytes_max is left. */
bool session_is_held(const struct session *session);
/* Of what may wait, all of it, or that part. */
bool session_queue_is_full(const struct session *session, int64_t part);

static inline bool
session_consumes(const struct session *session)
{
	return session->name == 0 && session->asking == NULL &&
	       session->link == NULL;
}

int session_init(struct handler *handler, const struct es_open *open,
    struct session **ret_session) LOOP_THREAD;

/*
 * len bytes have been added to the line's, and are taken off when they are
 * the kernel's or when this fails.  sending (or NULL) is the session's then.
 */
int session_send(struct session *session, enum message_kind kind,
    const void *data, size_t len, struct sending *sending) LOOP_THREAD;
/* On the loop.  NULL: it has gone, or never was. */
struct session *session_find(const struct handlers *handlers, es_conn name);
void sending_settle(struct sending *sending, int error); /* NULL: no-op */

#endif
