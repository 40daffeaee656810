/*
 * job: jobs that wait, and which of their waits could never end.
 *
 * A wait of a job for a job of the same executor is an edge from worker to
 * worker, or to a queued job, which only a free worker can take away.  All
 * edges are looked at under the executor's lock, so the answer is exact for
 * direct waits:
 * - following the edges from the job waited for leads back here: a ring.  A
 *   queued job leads to the oldest one of its key, which runs before it;
 * - the job waited for is queued, and every other worker waits for a queued
 *   job as well: nobody is left to take one.
 * Waits through tasks, loops or the user's locks are not seen; for those
 * there is starvation: all workers wait, work has been ready for long, and
 * one more worker is started, up to the overflow.
 */

#include <assert.h>

#include "daemon/base/clock.h"
#include "daemon/loop/executor_internal.h"

/* The lock is held.  The older job that keeps a queued one from starting. */
static struct job *
job_in_the_way(struct job *job)
{
	es_executor *e = job->executor;
	unsigned i;

	if (job->state != JOB_QUEUED || job->key == 0)
		return NULL;
	for (i = 0; i < e->threads_max; i++) {
		struct worker *worker = &e->workers[i];

		if (worker->state == WORKER_LIVE && worker->job &&
		    worker->job->key == job->key)
			return worker->job;
	}
	return NULL;
}

/* The lock is held.  Whether waiting for target is waiting for oneself. */
static bool
job_closes_ring(const struct job *job, struct job *target)
{
	unsigned steps = job->executor->threads_max * 2 + 2;

	while (target && steps-- > 0) {
		if (target == job)
			return true;
		target = target->state == JOB_QUEUED ? job_in_the_way(target)
						     : target->waits_for;
	}
	return false;
}

/* The lock is held.  Whether no worker but this one could take a job. */
static bool
job_takes_last_worker(const struct job *job, const struct job *target)
{
	const es_executor *e = job->executor;
	unsigned i;

	if (target->state != JOB_QUEUED)
		return false;
	for (i = 0; i < e->threads_max; i++) {
		const struct worker *worker = &e->workers[i];
		const struct job *other = worker->job;

		if (worker->state != WORKER_LIVE || other == job)
			continue;
		if (!other || !other->waits_for ||
		    other->waits_for->state != JOB_QUEUED)
			return false;
	}
	return true;
}

int
job_wait_begin(struct job *job, es_future *f, struct parker *parker)
{
	es_executor *e = job->executor;
	struct job *target = NULL;
	int r = 0;

	if (f && f->ops == &job_future_ops)
		target = f->producer;
	if (target && target->executor != e)
		target = NULL;
	pthread_mutex_lock(&e->lock);
	assert(!job->parker && job->state == JOB_RUNNING);
	if (target && (job_closes_ring(job, target) ||
			  job_takes_last_worker(job, target)))
		r = -EDEADLK;
	if (r == 0) {
		job->parker = parker;
		job->waits_for = target;
	}
	pthread_mutex_unlock(&e->lock);
	return r;
}

void
job_wait_end(struct job *job)
{
	pthread_mutex_lock(&job->executor->lock);
	assert(job->parker);
	job->parker = NULL;
	job->waits_for = NULL;
	pthread_mutex_unlock(&job->executor->lock);
}

/* The lock is held. */
static bool
executor_all_wait(const es_executor *e)
{
	unsigned i;

	for (i = 0; i < e->threads_max; i++) {
		const struct worker *worker = &e->workers[i];

		if (worker->state == WORKER_LIVE &&
		    (!worker->job || !worker->job->parker))
			return false;
	}
	return true;
}

/* What a report needs when the lock is free again. */
struct starved {
	es_loop *home; /* held, or NULL */
	const char *name;
	es_usec waited;
};

/*
 * The lock is held.  Starts one more worker where that is due; true if it
 * did.  *next: when to look again.
 */
static bool
executor_grow(es_executor *e, es_usec *next, struct starved *ret)
{
	struct heap_node *top = heap_top(&e->ready);
	es_usec now = clock_now_us();
	struct job *first;

	/* Work that becomes ready while all sleep is seen this much later. */
	*next = now + e->starve_after;
	if (!top || e->joining || !executor_all_wait(e))
		return false;
	first = LIST_ENTRY(top, struct job, ready);
	if (now - first->submitted < e->starve_after) {
		*next = first->submitted + e->starve_after;
		return false;
	}
	if (e->live == e->threads_max || executor_start_worker(e) < 0)
		return false;
	e->starved++;
	ret->home = first->home ? loop_hold(first->home) : NULL;
	ret->name = first->name;
	ret->waited = now - first->submitted;
	return true;
}

/* Returns when to look again. */
static es_usec
executor_relieve(es_executor *e)
{
	struct starved starved;
	es_usec next;
	bool grown;

	pthread_mutex_lock(&e->lock);
	grown = executor_grow(e, &next, &starved);
	pthread_mutex_unlock(&e->lock);
	if (grown) {
		loop_report(starved.home, ES_R_STARVED, starved.name, 0, NULL,
		    starved.waited);
		if (starved.home)
			loop_release(starved.home);
	}
	return next;
}

bool
job_park(struct job *job, struct parker *parker, es_usec deadline)
{
	es_executor *e = job->executor;
	es_usec next = clock_now_us() + e->starve_after;

	for (;;) {
		es_usec until = next < deadline ? next : deadline;

		if (parker_wait(parker, until))
			return true;
		if (until == deadline)
			return false;
		next = executor_relieve(e);
	}
}

int
es_executor_get_stats(const es_executor *const_e, es_executor_stats *ret)
{
	/* Only the lock inside is written. */
	es_executor *e = (es_executor *)(uintptr_t)const_e;
	struct list *first;
	unsigned i;

	assert(e && ret);
	if (e->generation != loop_generation)
		return -ECHILD;
	pthread_mutex_lock(&e->lock);
	*ret = (es_executor_stats){
		.submitted = e->submitted,
		.refused = e->refused,
		.done = e->done,
		.cancelled = e->cancelled,
		.starved = e->starved,
		.queued = e->queued,
		.queued_max = e->queued_max,
		.running = e->running,
		.threads = e->live,
		.extra = e->live > e->threads ? e->live - e->threads : 0,
	};
	for (i = 0; i < e->threads_max; i++)
		if (e->workers[i].state == WORKER_LIVE && e->workers[i].job &&
		    e->workers[i].job->parker)
			ret->waiting++;
	first = list_first(&e->queue);
	if (first)
		ret->oldest =
		    clock_now_us() -
		    LIST_ENTRY(first, struct job, in_queue)->submitted;
	pthread_mutex_unlock(&e->lock);
	return 0;
}
