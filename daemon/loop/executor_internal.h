#ifndef DAEMON_LOOP_EXECUTOR_INTERNAL_H
#define DAEMON_LOOP_EXECUTOR_INTERNAL_H

/*
 * executor_internal: the queue and the workers, for executor.c, job.c and
 * worker.c.
 */

#include "daemon/loop/job_internal.h"

#define EXECUTOR_BUCKETS 256 /* of keys in use; a power of two */

struct worker {
	es_executor *executor;
	pthread_t thread;
	struct job *job; /* running, or NULL */
	enum { WORKER_FREE, WORKER_LIVE, WORKER_ENDED } state;
};

struct quiet {
	struct list node;
	es_future *f;
};

struct es_executor {
	_Atomic unsigned refs; /* the owner's, live workers', jobs' */
	unsigned generation;
	char name[ES_LOOP_NAME_BYTES_MAX];
	unsigned threads, threads_max, queue_max;
	es_usec starve_after;
	bool background;

	/*
	 * Covers the rest.  Free: a queued job is in queue, and in ready
	 * unless an older one of its key is not done; each live worker that
	 * has no job is idle or on its way to look for one.
	 */
	pthread_mutex_t lock;
	pthread_cond_t work; /* something is ready, or it shuts down */
	pthread_cond_t ended; /* a worker has ended */
	struct heap ready;
	struct list queue;
	struct list buckets[EXECUTOR_BUCKETS];
	struct list quiets;
	uint64_t seq;
	unsigned queued, running, idle, live;
	bool shutdown;
	bool joining; /* no more workers are started */
	uint64_t submitted, refused, done, cancelled, starved;
	unsigned queued_max;
	struct worker *workers; /* threads_max of them */
};

/* executor.c */
es_executor *executor_ref(es_executor *e);
void executor_unref(es_executor *e);
void job_unref(struct job *job);
/* The lock is held.  A queued job leaves the queue. */
void executor_unqueue(es_executor *e, struct job *job);
/* The lock is held.  A job is over; the next of its key may run. */
void executor_end_job(es_executor *e, struct job *job);
/* The lock is held.  What waits for quiet, if it is; settled without it. */
void executor_take_quiets(es_executor *e, struct list *ret_quiets);
void executor_settle_quiets(struct list *quiets);
/* Without the lock: a job that will not run settles and drops. */
void job_drop(struct job *job, int code);

/* worker.c: es_executor_shutdown(), also for a loop that closes. */
int executor_end(es_executor *e, unsigned flags, es_usec timeout);

/* worker.c.  The lock is held.  -EAGAIN, -ENOMEM: no thread. */
int executor_start_worker(es_executor *e);

#endif
