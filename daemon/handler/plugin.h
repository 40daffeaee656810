#ifndef DAEMON_HANDLER_PLUGIN_H
#define DAEMON_HANDLER_PLUGIN_H

/*
 * plugin: a shared object's handler: loaded, called, ended.
 *
 * Threads  Jobs: a thread of `load`, plugin_end_job() a worker's.  All else:
 *          the net loop's.
 */

#include "daemon/handler/handler_internal.h"

/* What is to be loaded, and what was wrong with it. */
struct loading {
	struct handler *handler;
	unsigned number; /* of all, ever */
	bool loads; /* and does not only look */
	bool alone; /* nobody else loads: what is there already is seen */
	bool may_copy; /* what is loaded already is loaded as a copy */
	bool copied, refused; /* a copy: made, or one too many */
	char text[512];
};

/*
 * The threads that load it and, if it filters, those that it does that on;
 * once for all.  -ESHUTDOWN: the end has begun; -ENOMEM, -EAGAIN.
 */
int plugin_threads(const struct handler *handler) LOOP_THREAD;
int plugin_load_job(void *loading, es_value *ret) MAY_BLOCK;
/* -ESTALE: the file is another one than was loaded. */
int plugin_look_job(void *loading, es_value *ret) MAY_BLOCK;
int plugin_end_job(void *handler, es_value *ret) MAY_BLOCK;
/* Its end(), unless it had that; what comes with the set's end. */
int plugin_unload(struct handler *handler, es_usec timeout) MAY_BLOCK;
/* on_exit() cannot be taken back: before the first one is loaded, once. */
void plugin_init(void);

/* A worker calls back.  false: that was the last one of this turn. */
bool plugin_handle(struct session *session, struct event *event);

/* round.c: what is queued goes to a worker, once an iteration. */
void plugin_ready(struct session *session) LOOP_THREAD;
void plugin_retry(struct handler *handler) LOOP_THREAD;
/* Who runs for longer than callback_timeout? */
void plugin_tick(struct handler *handler, int64_t now_us) LOOP_THREAD;

/* bridge.c: the host's table */
void bridge_init(struct handler *handler);
extern const struct hub_publisher_ops bridge_publisher; /* channels.c */
/* later.c: es_run(), es_call_later() */
int bridge_run(void *self, int64_t delay_us, void (*fn)(void *arg), void *arg,
    es_drop drop, es_future **ret_future) ANY_THREAD;
/* What of that waits for its time does not run any more, and hears so. */
void laters_drop(struct handler *handler) LOOP_THREAD;

#endif
