#ifndef DAEMON_LOOP_LOOP_H
#define DAEMON_LOOP_LOOP_H

/*
 * loop: one event loop, run by one thread at a time; the door of the room.
 *
 * Life      new -> (run | run_until | run_until_idle)* -> close -> unref.
 *           IDLE, RUNNING while a run function works, CLOSED for ever.
 * Order     One iteration: the before_poll hook; poll the descriptors, at
 *           most until there is something to do; append the timers that are
 *           due to the queue; run what was queued, this iteration's batch;
 *           the after_batch hook.  What is queued meanwhile belongs to the
 *           next iteration.  A long batch is interrupted every `slice` calls
 *           for a hook, a poll that does not wait, and so on.
 * Promise   A call that was accepted is run or dropped, exactly once; close
 *           leaves no waiter hanging (call.h, future.h).
 * Memory    The struct lives until the last reference, open or not; a late
 *           submit gets -ESHUTDOWN.
 * Threads   The loop's thread is the one inside a run function, no matter
 *           which.
 * Errors    As in es.h; -ECHILD after fork() from every function.
 */

#include "daemon/loop/es.h"

/* What runs, sorted by header. */
#include "daemon/loop/call.h"
#include "daemon/loop/executor.h"
#include "daemon/loop/future.h"
#include "daemon/loop/group.h"
#include "daemon/loop/signal.h"
#include "daemon/loop/stream.h"
#include "daemon/loop/task.h"
#include "daemon/loop/thread.h"
#include "daemon/loop/watch.h"

typedef enum { ES_LOOP_IDLE, ES_LOOP_RUNNING, ES_LOOP_CLOSED } es_loop_state;

/*
 * What went wrong where nobody was waiting: a failure nobody looked at, a
 * slow call, a call still running, starved workers, what close left behind.
 * Called on the loop's thread where there is one; STUCK and STARVED on the
 * thread that noticed.  loop is NULL for an executor's job without a home.
 * Must not block.
 */
typedef enum {
	ES_R_ERROR,
	ES_R_SLOW,
	ES_R_STUCK,
	ES_R_STARVED,
	ES_R_LEFTOVER
} es_report_kind;

typedef void (*es_report_fn)(es_loop *loop, es_report_kind kind,
    const char *what, int code, const char *message, es_usec took, void *arg);

#define ES_LOOP_NAME_BYTES_MAX 16 /* with the NUL, as the kernel has it */
#define ES_LOOP_SLICE_DEFAULT 256
#define ES_LOOP_SLOW_DEFAULT ES_MS(100)
#define ES_LOOP_WAIT_MAX ES_S(24 * 60 * 60) /* one poll */

typedef struct es_loop_opts {
	const char *name; /* copied, cut; NULL: "loop" */
	es_usec slow; /* report longer calls; 0: the default */
	unsigned slice; /* calls between two polls; 0: the default */
	es_report_fn report; /* NULL: to the log */
	void *report_arg;
} es_loop_opts;

typedef struct es_loop_stats {
	uint64_t iterations, calls, wakeups, slow_calls;
	uint64_t queued, timers, tasks; /* right now */
	es_usec longest; /* of all calls and callbacks */
	es_usec longest_iteration; /* from the end of a wait to the next */
	es_usec busy_since; /* 0: polling; else this call's start */
	const char *busy_with; /* name of the running call, or NULL */
} es_loop_stats;

/*
 * opts may be NULL.  *ret_loop is one reference.
 * -ENOMEM, -EMFILE, -ENFILE: what the descriptors' making said.
 */
int es_loop_new(
    es_loop **ret_loop, const es_loop_opts *opts) ES_CHECK ANY_THREAD;
es_loop *es_loop_ref(es_loop *loop) ANY_THREAD;
/* The last reference closes an idle loop, without grace.  NULL: no-op. */
void es_loop_unref(es_loop *loop) ANY_THREAD;

/*
 * Until es_loop_stop(), which finishes the batch first; a stop asked before
 * makes it one iteration without waiting.
 * -EBUSY: it runs, or a loop runs on this thread.  -ESHUTDOWN: closed.
 */
int es_loop_run(es_loop *loop) ES_CHECK MAY_BLOCK;

/*
 * At least one iteration, and until f, of any loop, has settled.  Borrows f.
 * f's code; -EINTR: stopped before.  Errors as es_loop_run().
 */
int es_loop_run_until(es_loop *loop, es_future *f) ES_CHECK MAY_BLOCK;

/*
 * Until no task, timer, queued call or executor job with this home is left;
 * descriptors do not count.  0, also when stopped.  Errors as es_loop_run().
 */
int es_loop_run_until_idle(es_loop *loop) ES_CHECK MAY_BLOCK;

/* Ends this run or, when idle, the next.  Also from a signal handler. */
void es_loop_stop(es_loop *loop) ANY_THREAD;

/*
 * Refuses what comes from outside, cancels the tasks and runs them to their
 * end for at most grace, drops what is queued, settles what is left with
 * -ESHUTDOWN, ends the loop's own executor, frees descriptors and signals.
 * How many tasks and jobs would not end; 0: clean, or closed already.
 * -EBUSY: it runs, or another loop runs on this thread.
 */
int es_loop_close(es_loop *loop, es_usec grace) MAY_BLOCK;

es_loop_state es_loop_get_state(const es_loop *loop) ANY_THREAD;
es_loop *es_loop_current(void) ANY_THREAD; /* running on this thread, or NULL */
es_usec es_loop_time(const es_loop *loop) ANY_THREAD; /* fresh, not cached */

/* No lock: the values are each true, not all of one moment. */
void es_loop_get_stats(const es_loop *loop, es_loop_stats *ret) ANY_THREAD;
/* longest and longest_iteration begin anew. */
void es_loop_reset_longest(es_loop *loop) ANY_THREAD;

/*
 * For a watchdog: 1 if one call has been running for longer than limit, and
 * an ES_R_STUCK report, once per call; 0 if not.
 */
int es_loop_check_stuck(es_loop *loop, es_usec limit) ANY_THREAD;

#include "daemon/loop/debug.h"

#endif
