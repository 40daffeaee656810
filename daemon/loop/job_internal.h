#ifndef DAEMON_LOOP_JOB_INTERNAL_H
#define DAEMON_LOOP_JOB_INTERNAL_H

/*
 * job_internal: an executor's layout, and its jobs that wait.
 */

#include "daemon/loop/future_internal.h"
#include "daemon/loop/parker.h"

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE };

struct job {
	_Atomic unsigned refs; /* the executor's, the future's */
	es_executor *executor; /* one reference */
	es_future *f; /* one reference, until it has settled */
	es_loop *home; /* as the future's; NULL: none */
	const char *name;
	uint64_t key;
	es_job_fn fn;
	void *arg;
	es_drop drop;
	es_usec submitted;

	/* Under the executor's lock. */
	struct heap_node ready; /* in the heap: nothing is in its way */
	struct list in_queue; /* all queued jobs, in order */
	struct list in_bucket; /* keyed ones, queued and running, in order */
	enum job_state state;
	struct parker *parker; /* set: it waits, there */
	struct job *waits_for; /* the job whose end it waits for, or NULL */

	atomic_bool cancelled;
};

extern const struct future_ops job_future_ops;

/*
 * The running job is about to wait: for f, when it is one single future, or
 * for something else (NULL).  -EDEADLK: it would be for ever.
 */
int job_wait_begin(struct job *job, es_future *f, struct parker *parker);
void job_wait_end(struct job *job);

/*
 * parker_wait() for a job, which meanwhile looks after the others: where all
 * workers wait and work has been queued for long, one more is started.
 */
bool job_park(struct job *job, struct parker *parker, es_usec deadline);

#endif
