#ifndef DAEMON_LOOP_EXECUTOR_H
#define DAEMON_LOOP_EXECUTOR_H

/*
 * executor: threads for synchronous code.
 *
 * Life      new -> submit* -> shutdown.
 * Order     Jobs start in the order they were submitted, except that jobs of
 *           one key (not 0) run one after the other, in that order.
 * Promise   An accepted job's fn runs, or its drop does, exactly once, and
 *           its future settles.  A job that could wait for ever on its own
 *           executor gets -EDEADLK from es_await().
 * Memory    At most queue_max jobs are queued.  drop runs on a worker, or on
 *           the thread that cancels or shuts down: it must not need a loop.
 * Threads   Started by new, named NAME/N, all signals blocked.
 */

#include "daemon/loop/es.h"

#define ES_EXECUTOR_THREADS_DEFAULT 4
#define ES_EXECUTOR_QUEUE_DEFAULT 1024
#define ES_EXECUTOR_STARVE_DEFAULT ES_S(1)
#define ES_EXECUTOR_THREADS_MAX 1024

typedef struct es_executor_opts {
	const char *name; /* copied, cut; NULL: "job" */
	unsigned threads; /* 0: the default */
	unsigned queue_max; /* 0: the default */
	unsigned overflow; /* extra threads; 0: as many as threads */
	es_usec starve_after; /* all wait and work is queued; 0: the default */
	bool
	    background; /* SCHED_BATCH: waking one does not preempt the waker */
} es_executor_opts;

typedef es_body_fn es_job_fn;

/* opts may be NULL.  -EINVAL: threads.  -ENOMEM, -EAGAIN: no threads. */
int es_executor_new(es_executor **ret_executor,
    const es_executor_opts *opts) ES_CHECK ANY_THREAD;

/*
 * Never blocks.  arg is the executor's on success, the caller's on error.
 * home (may be NULL): where the future's callbacks go, and the loop that is
 * not idle meanwhile.  ret_future may be NULL.
 * -EAGAIN: the queue is full.  -ESHUTDOWN: shut down.  -ENOMEM, -ECHILD.
 */
int es_executor_submit(es_executor *executor, uint64_t key, const char *name,
    es_job_fn fn, void *arg, es_drop drop, es_loop *home,
    es_future **ret_future) ES_CHECK ANY_THREAD;

/* Jobs right now; either may be NULL.  0, -ECHILD. */
int es_executor_load(const es_executor *executor, unsigned *ret_queued,
    unsigned *ret_running) ANY_THREAD;

typedef struct es_executor_stats {
	uint64_t submitted, refused, done, cancelled, starved; /* ever */
	unsigned queued, queued_max, running, waiting; /* right now */
	unsigned threads, extra;
	es_usec oldest; /* how long the first queued job has waited */
} es_executor_stats;

int es_executor_get_stats(
    const es_executor *executor, es_executor_stats *ret) ANY_THREAD;

/*
 * A future that settles the next time nothing is queued or running; submits
 * are still taken.  -ENOMEM, -ESHUTDOWN, -ECHILD.
 */
int es_executor_quiet(es_executor *executor, es_loop *home,
    es_future **ret_future) ES_CHECK ANY_THREAD;

/* Inside a job (else false): somebody asked it to end. */
bool es_job_cancelled(void) ANY_THREAD;

#define ES_EXEC_CANCEL 1u /* queued: -ECANCELED; running: asked to end */

/*
 * Refuses further jobs, works off the queue or cancels it, waits up to
 * timeout, joins and frees.  Returns how many jobs still run or, without
 * ES_EXEC_CANCEL, still wait: those are cancelled; threads that are stuck in
 * their job are left behind, and the memory with them.
 * -EDEADLK: from one of its own workers; nothing is done.  NULL: 0.
 */
int es_executor_shutdown(
    es_executor *executor, unsigned flags, es_usec timeout) MAY_BLOCK;

#endif
