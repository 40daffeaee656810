/*
 * worker: the threads of an executor, from their first job to the join.
 *
 * - A worker takes the oldest ready job, runs it, settles its future, then
 *   says that it is over: who waits for quiet sees every result.
 * - Extra workers, started when all others wait, end when there is nothing
 *   left to take; their thread is joined by the next start or the shutdown.
 * - A shutdown that runs out of time leaves threads behind that are inside
 *   the user's code; they hold a reference on the executor.
 */

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/executor_internal.h"

/* The lock is held, and let go while the job runs. */
static void
worker_run_job(struct worker *worker, struct job *job)
{
	struct loop_failure failure = { 0 };
	es_executor *e = worker->executor;
	es_loop *home = job->home;
	es_value value = ES_NOTHING;
	struct list quiets;
	es_future *f;
	int r;

	executor_unqueue(e, job);
	job->state = JOB_RUNNING;
	worker->job = job;
	e->running++;
	pthread_mutex_unlock(&e->lock);

	loop_here = (struct loop_here){ .job = job, .failure = &failure };
	r = job->fn(job->arg, &value);
	loop_here = (struct loop_here){ 0 };
	f = job->f;
	job->f = NULL;
	(void)future_settle_body(f, r, &value, &failure); /* nobody else does */

	pthread_mutex_lock(&e->lock);
	executor_end_job(e, job);
	worker->job = NULL;
	e->running--;
	e->done++;
	executor_take_quiets(e, &quiets);
	pthread_mutex_unlock(&e->lock);
	executor_settle_quiets(&quiets);
	if (home)
		loop_job_end(home);
	es_future_unref(f);
	job_unref(job);
	pthread_mutex_lock(&e->lock);
}

/* The lock is held.  The next job, or NULL: this worker ends. */
static struct job *
worker_next(es_executor *e)
{
	struct heap_node *top;

	while (!(top = heap_top(&e->ready))) {
		if (e->live > e->threads || (e->shutdown && e->queued == 0))
			return NULL;
		e->idle++;
		pthread_cond_wait(&e->work, &e->lock);
		e->idle--;
	}
	return LIST_ENTRY(top, struct job, ready);
}

static void *
worker_main(void *arg)
{
	struct worker *worker = arg;
	es_executor *e = worker->executor;
	const struct sched_param param = { 0 };
	struct job *job;

	if (e->background) /* a nicety: refused, it runs as it is */
		(void)pthread_setschedparam(
		    pthread_self(), SCHED_BATCH, &param);
	pthread_mutex_lock(&e->lock);
	while ((job = worker_next(e)))
		worker_run_job(worker, job);
	assert(worker->state == WORKER_LIVE && e->live > 0);
	worker->state = WORKER_ENDED;
	e->live--;
	if (e->shutdown)
		pthread_cond_broadcast(&e->work); /* those who saw a queue */
	pthread_cond_broadcast(&e->ended);
	pthread_mutex_unlock(&e->lock);
	executor_unref(e);
	return NULL;
}

/* The lock is held.  A place for a thread; one that ended is joined. */
static struct worker *
worker_find_free(es_executor *e)
{
	unsigned i;

	for (i = 0; i < e->threads_max; i++) {
		struct worker *worker = &e->workers[i];

		if (worker->state == WORKER_LIVE)
			continue;
		/* It has let the lock go for the last time: no wait. */
		if (worker->state == WORKER_ENDED)
			(void)pthread_join(worker->thread, NULL); /* ours */
		worker->state = WORKER_FREE;
		return worker;
	}
	return NULL;
}

int
executor_start_worker(es_executor *e)
{
	struct worker *worker = worker_find_free(e);
	char name[ES_LOOP_NAME_BYTES_MAX + 8];
	sigset_t all, before;
	int r;

	if (!worker)
		return -EAGAIN;
	worker->executor = executor_ref(e);
	worker->job = NULL;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		executor_unref(e);
		return -r;
	}
	worker->state = WORKER_LIVE;
	e->live++;
	(void)snprintf(name, sizeof(name), "%.10s/%u", e->name,
	    (unsigned)(worker - e->workers)); /* cut on purpose */
	name[ES_LOOP_NAME_BYTES_MAX - 1] = '\0';
	(void)pthread_setname_np(worker->thread, name); /* a nicety */
	return 0;
}

/* The lock is held, and let go: what is queued gets code and is dropped. */
static unsigned
executor_cancel_queue(es_executor *e)
{
	struct list dropped, *node;
	unsigned n = 0;

	list_init(&dropped);
	while ((node = list_first(&e->queue))) {
		struct job *job = LIST_ENTRY(node, struct job, in_queue);

		executor_unqueue(e, job);
		list_append(&dropped, &job->in_queue);
		e->cancelled++;
		n++;
	}
	LIST_EACH_SAFE(done, next, &dropped)
	LIST_ENTRY(done, struct job, in_queue)->state = JOB_DONE;
	LIST_EACH_SAFE(keyed, after, &dropped)
	{
		struct job *job = LIST_ENTRY(keyed, struct job, in_queue);

		if (job->key != 0)
			list_remove(&job->in_bucket);
	}
	pthread_mutex_unlock(&e->lock);
	while ((node = list_first(&dropped))) {
		list_remove(node);
		job_drop(LIST_ENTRY(node, struct job, in_queue), -ECANCELED);
	}
	return n;
}

/* The lock is held.  Running jobs are asked to end. */
static void
executor_ask_running(es_executor *e)
{
	unsigned i;

	for (i = 0; i < e->threads_max; i++) {
		struct job *job = e->workers[i].job;

		if (e->workers[i].state != WORKER_LIVE || !job)
			continue;
		atomic_store(&job->cancelled, true);
		if (job->parker)
			parker_wake(job->parker);
	}
}

/* The lock is held.  Until all workers have ended, or the deadline. */
static void
executor_wait_ended(es_executor *e, es_usec deadline)
{
	while (e->live > 0)
		if (!parker_cond_wait(&e->ended, &e->lock, deadline))
			return;
}

/*
 * No lock.  A worker that is still inside a job is left to itself; without
 * one it is on its way out, there is nothing more to take.
 */
static bool
worker_leave_behind(struct worker *worker)
{
	es_executor *e = worker->executor;
	const char *name = NULL;
	es_loop *home = NULL;
	bool busy;

	pthread_mutex_lock(&e->lock);
	busy = worker->state == WORKER_LIVE && worker->job;
	if (busy) {
		(void)pthread_detach(worker->thread); /* ours, not joined */
		name = worker->job->name;
		home = worker->job->home ? loop_hold(worker->job->home) : NULL;
	}
	pthread_mutex_unlock(&e->lock);
	if (busy)
		loop_report(home, ES_R_LEFTOVER, name, 0, NULL, 0);
	if (home)
		loop_release(home);
	return busy;
}

/* No lock.  One that had no thread at all, or whose thread was joined. */
static bool
worker_is_free(es_executor *e, const struct worker *worker)
{
	bool is_free;

	pthread_mutex_lock(&e->lock);
	is_free = worker->state == WORKER_FREE;
	pthread_mutex_unlock(&e->lock);
	return is_free;
}

/* No lock: those who ended are joined.  How many did not. */
static int
executor_join(es_executor *e)
{
	int left = 0;
	unsigned i;

	for (i = 0; i < e->threads_max; i++) {
		struct worker *worker = &e->workers[i];

		if (worker_is_free(e, worker))
			continue;
		if (worker_leave_behind(worker))
			left++;
		else
			(void)pthread_join(worker->thread, NULL); /* ours */
	}
	return left;
}

int
executor_end(es_executor *e, unsigned flags, es_usec timeout)
{
	es_usec deadline = loop_deadline(timeout);
	struct list quiets;
	int left = 0;

	pthread_mutex_lock(&e->lock);
	e->shutdown = true;
	if (flags & ES_EXEC_CANCEL) {
		executor_ask_running(e);
		(void)executor_cancel_queue(e);
		pthread_mutex_lock(&e->lock);
	}
	pthread_cond_broadcast(&e->work);
	executor_wait_ended(e, deadline);
	if (e->live > 0) {
		executor_ask_running(e);
		left += (int)executor_cancel_queue(e);
		pthread_mutex_lock(&e->lock);
		pthread_cond_broadcast(&e->work);
	}
	e->joining = true;
	executor_take_quiets(e, &quiets);
	pthread_mutex_unlock(&e->lock);
	executor_settle_quiets(&quiets);
	left += executor_join(e);
	executor_unref(e);
	return left;
}

int
es_executor_shutdown(es_executor *e, unsigned flags, es_usec timeout)
{
	if (!e)
		return 0;
	if (e->generation != loop_generation)
		return -ECHILD;
	if (loop_here.job && loop_here.job->executor == e)
		return -EDEADLK;
	return executor_end(e, flags, timeout);
}
