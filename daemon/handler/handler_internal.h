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
#include <sys/types.h>
#include <time.h>

struct change;
struct exec;
struct event;
struct session;
struct links;
struct handler_feeds;

#define HANDLERS_FORMER_MAX 256 /* a reload with more is refused */
#define PLUGIN_COPIES_MAX 256 /* code is never unloaded; likewise */

/* A plugin's file when it was loaded. */
struct plugin_file {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

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
	uint64_t publishes, publishes_changed; /* filtered */
	uint64_t publishes_refused, publishes_failed;
};

enum handler_state {
	HANDLER_COMING, /* being loaded, or to be applied */
	HANDLER_SERVING,
	HANDLER_RETIRED, /* has the sessions it had, gets none */
	HANDLER_ENDING, /* a plugin's end() runs */
	HANDLER_ENDED /* a plugin's: its code may still name it */
};

struct handler {
	struct list node; /* in handlers.all */
	enum handler_state state;
	bool served;
	struct handler *former, *later; /* of the same name, by age */
	struct conf *whole; /* of which conf is a part */
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
	struct plugin_file file;
	bool loaded;
	struct hub_publisher publisher;
	_Atomic bool disarmed; /* its functions do not run any more */
	_Atomic uint32_t jobs; /* of those, with the workers */
	struct list laters; /* later.c: those that wait for their time */
	es_future *ending;
	_Atomic int64_t in_flight; /* bytes on their way onto the loop */
	_Atomic uint64_t again; /* times one was told -EAGAIN */
};

struct handlers {
	struct handlers_rooms rooms;
	struct line *lines; /* by slot */
	struct list all;
	struct handler **items; /* that serve, in the file's order */
	size_t count;
	es_executor *filter, *load; /* NULL: no plugin filters; is there */
	unsigned loading; /* jobs of load */
	struct outbox *outbox; /* from all threads to the loop */
	struct list ready, spare; /* round.c: sessions; session.c: memory */
	unsigned spare_count;
	unsigned former_count, loads, copies; /* copies: of plugins' code */
	uint64_t former_refused, copies_refused; /* reloads */
	bool applied; /* once, at the start */
	struct change *change; /* to be applied, or on the way to that */
	struct list changes; /* and those given up, with a job that runs */
	_Atomic int64_t message_bytes_max, history_limit_max;
	es_call *start, *tick, *sweep;
	bool watching; /* consume.c: publishes */
	bool frozen; /* the plugins are being ended: no handler goes or comes */
	uint32_t active; /* sessions with something to do */
	uint32_t sessions; /* of connections */
	bool gated, closing, hurried; /* gated: filter.c */
	struct list through; /* former.c */
	bool ended; /* no callback is begun any more */
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
/* Those of [limits] that plugins' threads look at. */
void handlers_set_limits(struct handlers *handlers, const struct conf *conf);
/* Something has ended; is anybody waiting for that? */
void handlers_check_waiting(struct handlers *handlers);

/* handler.c.  The last reference frees the struct, not what it holds. */
void handlers_unref(struct handlers *handlers) ANY_THREAD;

#endif
