#ifndef DAEMON_LOOP_FUTURE_H
#define DAEMON_LOOP_FUTURE_H

/*
 * future: one result, settled once, readable from every thread.
 *
 * Life      new (or from invoke, spawn, submit) -> settled -> unref.
 * Order     Done callbacks are queued on their loop in the order of their
 *           registration; never called inline.
 * Promise   A waiter is released by the result, by its time-out, or by the
 *           close of the home loop (-ESHUTDOWN) unless a worker may still
 *           bring the result.  The first set wins.  A cancel is a request: a
 *           result that comes all the same is a result.
 * Memory    Reference-counted.  The value is the future's until taken; the
 *           last reference drops it, on whichever thread that is.  A failure
 *           nobody looked at is reported then (ES_R_ERROR); -ECANCELED not.
 * Threads   ANY_THREAD.  home, the default place for callbacks, may be NULL.
 */

#include "daemon/loop/es.h"

/* NULL: out of memory, or home was made before fork(). */
es_future *es_future_new(es_loop *home) ANY_THREAD;
es_future *es_future_ref(es_future *f) ANY_THREAD;
void es_future_unref(es_future *f) ANY_THREAD; /* NULL: no-op */

/*
 * For the producer of a future of es_future_new(), which holds a reference of
 * its own until the call is back: as soon as f has settled the readers may
 * let go of theirs, on other threads.  -EALREADY: settled before, v stays the
 * caller's.  -EPERM: it is a task's, a job's or such.
 * code is any -errno; -ECANCELED means cancelled.
 */
int es_future_set_result(es_future *f, es_value v) ANY_THREAD;
int es_future_set_error(es_future *f, int code, const char *fmt, ...) ANY_THREAD
    ES_PRINTF(3, 4);

/*
 * hook(f, arg) is queued on home, once, when somebody asks to cancel; the
 * producer then settles f.  Without a hook a cancel settles f at once.
 * -EINVAL: no home.  -EALREADY: settled, or has one.  -EPERM.  -ENOMEM.
 */
int es_future_set_cancel_hook(es_future *f,
    void (*hook)(es_future *f, void *arg), void *arg) ES_CHECK ANY_THREAD;

/* What it is about, in reports: a static string. */
void es_future_set_name(es_future *f, const char *name) ANY_THREAD;

bool es_future_done(const es_future *f) ANY_THREAD;
/*
 * 0, the future's code, or -EINPROGRESS; never blocks.  *ret, which may be
 * NULL, is lent: it is good while f is held and nobody takes it.  -EALREADY:
 * somebody took it.
 */
int es_future_result(const es_future *f, es_value *ret) ANY_THREAD;
/* The same, but the value becomes the caller's. */
int es_future_take(es_future *f, es_value *ret) ANY_THREAD;
/* The failure's message, or NULL; lives as long as f. */
const char *es_future_error(const es_future *f) ANY_THREAD;
/* 1: asked, or cancelled; 0: was settled before.  NULL: 0. */
int es_future_cancel(es_future *f) ANY_THREAD;

/*
 * fn(f, arg) is queued on where (NULL: home) when f settles, at once if it
 * has.  The registration holds f.  drop as for es_call_soon().  -EINVAL:
 * neither where nor home.  -ENOMEM, -ESHUTDOWN, -ECHILD: not registered.
 */
typedef void (*es_done_fn)(es_future *f, void *arg);
int es_future_add_done_callback(es_future *f, es_loop *where, es_done_fn fn,
    void *arg, es_drop drop) ES_CHECK ANY_THREAD;
/* How many will not run any more; their drop does. */
int es_future_remove_done_callback(
    es_future *f, es_done_fn fn, void *arg) ANY_THREAD;

/*
 * Waits: a task is suspended, a worker or another thread blocked; in a call
 * on a running loop -EDEADLK at once, unless settled.  Borrows f: time-out
 * or cancellation of the waiter leave f alone.
 * f's code; -ETIMEDOUT (timeout 0: a look); -ECANCELED: the waiter was
 * cancelled; -EDEADLK; -ESHUTDOWN: the home loop closed; -ECHILD.
 */
int es_await(es_future *f, es_usec timeout) ES_CHECK ANY_THREAD;

/*
 * The same, but consumes the reference on f and moves the value to *ret
 * (which may be NULL: dropped).  Time-out or cancellation of the waiter
 * cancel f, and the call returns only when f has settled, so that its
 * producer may use the waiter's stack.  After a time-out: 0 if a value came,
 * -ETIMEDOUT if f was cancelled, f's code else.  -EDEADLK, -ESHUTDOWN: f was
 * asked to cancel, and nothing was waited for.  NULL: -EINVAL.
 */
int es_await_take(
    es_future *f, es_usec timeout, es_value *ret) ES_CHECK ANY_THREAD;

/*
 * Until one of n has settled; borrows them.  0 and its index (the lowest of
 * several) in *ret_which; else as es_await().  -EINVAL: n is 0.
 */
int es_await_any(es_future *const *f, size_t n, es_usec timeout,
    size_t *ret_which) ES_CHECK ANY_THREAD;

#endif
