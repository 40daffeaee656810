#ifndef DAEMON_HANDLER_HANDLER_INTERNAL_H
#define DAEMON_HANDLER_HANDLER_INTERNAL_H

/*
 * handler_internal: the set, a handler, and its numbers.
 *
 * Threads  The net loop's, but for what is atomic and for what says so.
 */

#include "daemon/base/list.h"
#include "daemon/handler/handler.h"

#include <stdatomic.h>

struct exec;
struct bridge;
struct links;
struct handler_feeds;

/* What any thread may know of a connection. */
struct line {
	_Atomic es_conn name; /* 0: nobody has this slot */
	_Atomic int64_t bytes; /* on their way to its socket */
};

struct handler_counts {
	uint64_t events; /* callbacks, of all kinds */
	uint64_t refused; /* connections */
	uint64_t failed; /* callbacks that returned an error */
	uint64_t pauses; /* of reading a connection: a queue was full */
	uint64_t late; /* callbacks longer than callback_timeout */
	uint64_t restarts,
	    lost; /* processes; events in flight when they died */
	uint64_t bad_lines; /* what processes said and we did not take */
	uint64_t commands; /* what they asked for */
	uint64_t gaps; /* consumed messages that were gone before their turn */
};

struct handler {
	const struct conf_handler *conf;
	struct handlers *handlers;
	struct list sessions;
	struct list paused; /* sessions whose connection is not read */
	struct list refused; /* sessions the executor had no room for */
	es_call *retry;
	uint32_t session_count, busy, late;
	int64_t queued_bytes, queued_events;
	struct handler_counts counts;
	struct exec *exec; /* NULL: a plugin */

	/* A plugin's; constant once it is loaded. */
	struct es_handler plugin;
	struct es_host host;
	void *object; /* as dlopen() gave it */
	bool loaded;
	_Atomic int64_t in_flight; /* bytes on their way onto the loop */
	_Atomic uint64_t again; /* times one was told -EAGAIN */
};

struct handlers {
	struct handlers_rooms rooms;
	struct line *lines; /* by slot */
	struct handler *items;
	size_t count;
	es_call *tick;
	uint32_t active; /* sessions with something to do */
	uint32_t sessions; /* of connections */
	bool closing, hurried, ended; /* no callback is begun any more */
	_Atomic unsigned refs; /* the owner's, and of later.c */
	_Atomic uint32_t laters; /* functions that wait for their time */
	struct list topics, fresh; /* consume.c */
	es_call *pull;
	struct links *links; /* upstream.c; NULL: none yet */
	const struct handler_feeds *feeds;
	void *feeds_arg;
	struct { /* whoever waits for idle, or for the end */
		void (*done)(void *arg);
		void *arg;
		bool end;
		es_call *call, *grace;
		es_future *quiet;
	} waiting;
};

/* handler.c: does one of the patterns match? */
bool handler_matches(
    const struct conf_list *patterns, const char *name, size_t len);
/* Something has ended; is anybody waiting for that? */
void handlers_check_waiting(struct handlers *handlers);

/*
 * Gives a future of a plugin back.  A failure that the plugin does not look at
 * is its own business: nothing is reported, it could be one a message.
 */
static inline void
future_leave(es_future *f)
{
	if (f != NULL)
		(void)es_future_result(f, NULL);
	es_future_unref(f);
}

static inline es_conn
conn_name(uint32_t slot, uint32_t generation)
{
	return ((es_conn)generation + 1) << 32 | slot;
}
static inline uint32_t
conn_slot(es_conn name)
{
	return (uint32_t)name;
}
static inline uint32_t
conn_generation(es_conn name)
{
	return (uint32_t)(name >> 32) - 1;
}

/* plugin.c */
int plugin_load(struct handler *handler, char *ret_text, size_t size) MAY_BLOCK;
int plugin_unload(struct handler *handler, es_usec timeout) MAY_BLOCK;
/* Hands what is queued to a worker, now or when there is room there. */
struct session;
void plugin_ready(struct session *session) LOOP_THREAD;
void plugin_retry(struct handler *handler) LOOP_THREAD;
/* Who runs for longer than callback_timeout? */
void plugin_tick(struct handler *handler, int64_t now_us) LOOP_THREAD;

/* bridge.c: the host's table */
void bridge_init(struct handler *handler);

/* handler.c.  The last reference frees the struct, not what it holds. */
void handlers_unref(struct handlers *handlers) ANY_THREAD;

/* later.c: es_run(), es_call_later() */
int bridge_run(void *self, int64_t delay_us, void (*fn)(void *arg), void *arg,
    es_drop drop, es_future **ret_future) ANY_THREAD;

/* consume.c */
void consume_start(struct handlers *handlers) LOOP_THREAD;
void consume_more(struct session *session) LOOP_THREAD; /* read what fits */
void consume_tick(struct handlers *handlers) LOOP_THREAD;
void consume_end(struct handlers *handlers) LOOP_THREAD;

#endif
