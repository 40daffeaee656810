#ifndef DAEMON_LOOP_CALL_H
#define DAEMON_LOOP_CALL_H

/*
 * call: functions to be run once on a loop, soon or at a time.
 *
 * Order     First in, first out, from whatever thread; timers by (time,
 *           order of the call), never early; a time that has passed is due
 *           now.
 * Promise   Accepted means: fn(arg) runs, or - cancelled, or the loop closed
 *           first - drop(arg) does, exactly once, on the loop's thread or in
 *           the thread that closes it.  Refused means: arg stays the
 *           caller's.
 * Memory    name is a static string, for reports.  ret_call may be NULL;
 *           else *ret_call is a reference to release.
 * Units     Microseconds; ES_FOREVER never comes.
 * Threads   ANY_THREAD, and none of these blocks.
 * Errors    -ENOMEM; -ESHUTDOWN: the loop is closed or closing; -ECHILD.
 *           Never for lack of room.
 */

#include "daemon/loop/es.h"

int es_call_soon(es_loop *loop, const char *name, es_fn fn, void *arg,
    es_drop drop, es_call **ret_call) ES_CHECK ANY_THREAD;
int es_call_later(es_loop *loop, es_usec delay, const char *name, es_fn fn,
    void *arg, es_drop drop, es_call **ret_call) ES_CHECK ANY_THREAD;
int es_call_at(es_loop *loop, es_usec when, const char *name, es_fn fn,
    void *arg, es_drop drop, es_call **ret_call) ES_CHECK ANY_THREAD;

/*
 * 1: fn will not run, drop does; 0: too late, it has run, is running or was
 * cancelled before.  Does not release the reference.
 */
int es_call_cancel(es_call *call) ANY_THREAD;
void es_call_unref(es_call *call) ANY_THREAD; /* NULL: no-op */

/*
 * Both, and *call is NULL; it may be before.  On its loop's thread: fn will
 * not be run any more.
 */
void es_call_forget(es_call **call) ANY_THREAD;

/*
 * Runs fn on the loop's thread; *ret_future gets its code and value.  A
 * cancel before it ran settles the future with -ECANCELED and drops arg;
 * a loop that closes before settles it with -ESHUTDOWN.
 */
int es_loop_invoke(es_loop *loop, const char *name, es_body_fn fn, void *arg,
    es_drop drop, es_future **ret_future) ES_CHECK ANY_THREAD;

#endif
