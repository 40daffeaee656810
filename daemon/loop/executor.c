/*
 * executor: the queue of jobs.
 *
 * - Ready jobs are in a heap by their number; a job whose key is in use is
 *   not, until the one before it is over.  Keyed jobs, queued or running,
 *   are linked in their bucket in order, so the next is the first of that
 *   key in it.
 * - Everything is allocated by submit: what was accepted cannot fail.
 * - Futures settle without the lock, because settling posts to loops.
 */

#include <assert.h>
#include <stdio.h>

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/executor_internal.h"

es_executor *
executor_ref(es_executor *e)
{
	refs_take(&e->refs);
	return e;
}

void
executor_unref(es_executor *e)
{
	if (!refs_drop(&e->refs))
		return;
	assert(e->queued == 0 && list_empty(&e->quiets));
	heap_fini(&e->ready);
	(void)pthread_cond_destroy(&e->work); /* nobody waits */
	(void)pthread_cond_destroy(&e->ended); /* nobody waits */
	(void)pthread_mutex_destroy(&e->lock); /* nobody holds it */
	memory_free(e->workers);
	loop_free_object(e, sizeof(*e));
}

void
job_unref(struct job *job)
{
	if (!refs_drop(&job->refs))
		return;
	assert(job->state == JOB_DONE);
	executor_unref(job->executor);
	loop_free_object(job, sizeof(*job));
}

static struct list *
executor_bucket(es_executor *e, uint64_t key)
{
	uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);

	return &e->buckets[(mixed >> 32) % EXECUTOR_BUCKETS];
}

/* The lock is held.  The oldest job of the key that is not over, or NULL. */
static struct job *
executor_find_key(es_executor *e, uint64_t key)
{
	LIST_EACH_SAFE(node, next, executor_bucket(e, key))
	{
		struct job *job = LIST_ENTRY(node, struct job, in_bucket);

		if (job->key == key)
			return job;
	}
	return NULL;
}

/* The lock is held.  Its slot was promised when it was submitted. */
static void
executor_make_ready(es_executor *e, struct job *job)
{
	assert(job->state == JOB_QUEUED);
	heap_push_reserved(&e->ready, &job->ready);
	if (e->idle > 0)
		pthread_cond_signal(&e->work);
}

void
executor_unqueue(es_executor *e, struct job *job)
{
	assert(job->state == JOB_QUEUED && e->queued > 0);
	if (heap_holds(&job->ready))
		heap_remove_reserved(&e->ready, &job->ready);
	heap_unreserve(&e->ready);
	list_remove(&job->in_queue);
	e->queued--;
}

void
executor_end_job(es_executor *e, struct job *job)
{
	struct job *next;
	bool first;

	job->state = JOB_DONE;
	if (job->key == 0)
		return;
	first = executor_find_key(e, job->key) == job;
	list_remove(&job->in_bucket);
	next = executor_find_key(e, job->key);
	if (first && next)
		executor_make_ready(e, next);
}

void
executor_take_quiets(es_executor *e, struct list *ret_quiets)
{
	struct list *node;

	list_init(ret_quiets);
	if (e->queued > 0 || e->running > 0)
		return;
	while ((node = list_first(&e->quiets))) {
		list_remove(node);
		list_append(ret_quiets, node);
	}
}

void
executor_settle_quiets(struct list *quiets)
{
	struct list *node;

	while ((node = list_first(quiets))) {
		struct quiet *quiet = LIST_ENTRY(node, struct quiet, node);

		list_remove(node);
		/* Cancelled by its owner: then that is what it is. */
		(void)future_settle_code(quiet->f, 0);
		es_future_unref(quiet->f);
		memory_free(quiet);
	}
}

void
job_drop(struct job *job, int code)
{
	es_loop *home = job->home;
	es_future *f = job->f;

	(void)future_settle_code(f, code); /* nobody else settles it */
	if (job->drop)
		job->drop(job->arg);
	if (home)
		loop_job_end(home);
	job->f = NULL;
	es_future_unref(f);
	job_unref(job);
}

static int
job_on_cancel(es_future *f, void *producer)
{
	struct job *job = producer;
	es_executor *e = job->executor;
	struct list quiets;
	enum job_state state;

	(void)f;
	list_init(&quiets);
	pthread_mutex_lock(&e->lock);
	state = job->state;
	if (state == JOB_QUEUED) {
		executor_unqueue(e, job);
		executor_end_job(e, job);
		e->cancelled++;
		executor_take_quiets(e, &quiets);
	} else if (state == JOB_RUNNING) {
		atomic_store(&job->cancelled, true);
		if (job->parker)
			parker_wake(job->parker);
	}
	pthread_mutex_unlock(&e->lock);
	if (state == JOB_QUEUED)
		job_drop(job, -ECANCELED);
	executor_settle_quiets(&quiets);
	return state != JOB_DONE;
}

static void
job_release(void *producer)
{
	job_unref(producer);
}

const struct future_ops job_future_ops = {
	.cancel = job_on_cancel,
	.release = job_release,
	.outlives_loop = true,
};

static int
executor_init(es_executor *e, const es_executor_opts *opts)
{
	unsigned extra, i;

	(void)snprintf(e->name, sizeof(e->name), "%s",
	    opts->name ? opts->name : "job"); /* cut on purpose */
	e->threads =
	    opts->threads ? opts->threads : ES_EXECUTOR_THREADS_DEFAULT;
	extra = opts->overflow ? opts->overflow : e->threads;
	if (e->threads > ES_EXECUTOR_THREADS_MAX ||
	    extra > ES_EXECUTOR_THREADS_MAX)
		return -EINVAL;
	e->threads_max = e->threads + extra;
	e->queue_max =
	    opts->queue_max ? opts->queue_max : ES_EXECUTOR_QUEUE_DEFAULT;
	e->starve_after = opts->starve_after > 0 ? opts->starve_after
						 : ES_EXECUTOR_STARVE_DEFAULT;
	e->background = opts->background;
	e->workers = memory_zalloc(e->threads_max * sizeof(*e->workers));
	if (!e->workers)
		return -ENOMEM;
	refs_are_atomic(&e->refs, sizeof(e->refs));
	e->refs = 1;
	e->generation = loop_generation;
	(void)pthread_mutex_init(&e->lock, NULL); /* cannot fail */
	parker_cond_init(&e->work);
	parker_cond_init(&e->ended);
	heap_init(&e->ready);
	list_init(&e->queue);
	list_init(&e->quiets);
	for (i = 0; i < EXECUTOR_BUCKETS; i++)
		list_init(&e->buckets[i]);
	return 0;
}

int
es_executor_new(es_executor **ret_executor, const es_executor_opts *opts)
{
	es_executor *e;
	unsigned i;
	int r;

	assert(ret_executor);
	loop_generation_init();
	e = memory_zalloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = executor_init(e, opts ? opts : &(es_executor_opts){ 0 });
	if (r < 0) {
		memory_free(e);
		return r;
	}
	pthread_mutex_lock(&e->lock);
	for (i = 0; i < e->threads && r == 0; i++)
		r = executor_start_worker(e);
	pthread_mutex_unlock(&e->lock);
	if (r < 0) {
		(void)es_executor_shutdown(e, ES_EXEC_CANCEL, ES_FOREVER);
		return r;
	}
	*ret_executor = e;
	return 0;
}

/* One reference for the executor; the future, when it is made, has another. */
static struct job *
job_new(es_executor *e, uint64_t key, const char *name, es_job_fn fn, void *arg,
    es_drop drop, es_loop *home)
{
	struct job *job = memory_zalloc(sizeof(*job));

	if (!job)
		return NULL;
	refs_are_atomic(&job->refs, sizeof(job->refs));
	refs_are_atomic(&job->cancelled, sizeof(job->cancelled));
	job->refs = 2;
	job->name = name;
	job->key = key;
	job->fn = fn;
	job->arg = arg;
	job->drop = drop;
	job->home = home;
	heap_node_init(&job->ready);
	list_init(&job->in_queue);
	list_init(&job->in_bucket);
	job->f = future_new(home, name, &job_future_ops, job);
	if (!job->f) {
		memory_free(job);
		return NULL;
	}
	job->executor = executor_ref(e);
	return job;
}

/* The lock is held. */
static int
executor_enqueue(es_executor *e, struct job *job)
{
	bool first = true;

	if (e->shutdown)
		return -ESHUTDOWN;
	if (e->queued >= e->queue_max) {
		e->refused++;
		return -EAGAIN;
	}
	if (heap_reserve(&e->ready) < 0)
		return -ENOMEM;
	job->submitted = clock_now_us();
	job->ready.seq = e->seq++;
	list_append(&e->queue, &job->in_queue);
	e->submitted++;
	e->queued++;
	if (e->queued > e->queued_max)
		e->queued_max = e->queued;
	if (job->key != 0) {
		first = !executor_find_key(e, job->key);
		list_append(executor_bucket(e, job->key), &job->in_bucket);
	}
	if (first)
		executor_make_ready(e, job);
	return 0;
}

int
es_executor_submit(es_executor *e, uint64_t key, const char *name, es_job_fn fn,
    void *arg, es_drop drop, es_loop *home, es_future **ret_future)
{
	struct job *job;
	es_future *f;
	int r;

	assert(e && fn);
	if (e->generation != loop_generation || (home && loop_forked(home)))
		return -ECHILD;
	job = job_new(e, key, name, fn, arg, drop, home);
	if (!job)
		return -ENOMEM;
	if (home)
		atomic_fetch_add(&home->jobs, 1);
	f = es_future_ref(job->f); /* it may be over before we return */
	pthread_mutex_lock(&e->lock);
	r = executor_enqueue(e, job);
	pthread_mutex_unlock(&e->lock);
	if (r < 0) {
		job->state = JOB_DONE;
		if (home)
			loop_job_end(home);
		es_future_unref(job->f);
		job_unref(job);
		es_future_unref(f);
		return r;
	}
	if (ret_future)
		*ret_future = f;
	else
		es_future_unref(f);
	return 0;
}

int
es_executor_load(
    const es_executor *e, unsigned *ret_queued, unsigned *ret_running)
{
	es_executor_stats stats;
	int r = es_executor_get_stats(e, &stats);

	if (r < 0)
		return r;
	if (ret_queued)
		*ret_queued = stats.queued;
	if (ret_running)
		*ret_running = stats.running;
	return 0;
}

static int
quiet_on_cancel(es_future *f, void *producer)
{
	(void)producer;
	return future_settle_code(f, -ECANCELED) == 0;
}

static void
quiet_release(void *producer)
{
	executor_unref(producer);
}

static const struct future_ops quiet_ops = {
	.cancel = quiet_on_cancel,
	.release = quiet_release,
	.outlives_loop = true,
};

int
es_executor_quiet(es_executor *e, es_loop *home, es_future **ret_future)
{
	struct quiet *quiet;
	struct list now;
	int r = 0;

	assert(e && ret_future);
	if (e->generation != loop_generation || (home && loop_forked(home)))
		return -ECHILD;
	quiet = memory_zalloc(sizeof(*quiet));
	if (!quiet)
		return -ENOMEM;
	quiet->f = future_new(home, "quiet", &quiet_ops, e);
	if (!quiet->f) {
		memory_free(quiet);
		return -ENOMEM;
	}
	(void)executor_ref(e);
	list_init(&quiet->node);
	list_init(&now);
	pthread_mutex_lock(&e->lock);
	if (e->shutdown) {
		r = -ESHUTDOWN;
	} else {
		*ret_future = es_future_ref(quiet->f);
		list_append(&e->quiets, &quiet->node);
		executor_take_quiets(e, &now);
	}
	pthread_mutex_unlock(&e->lock);
	executor_settle_quiets(&now);
	if (r < 0) {
		es_future_unref(quiet->f);
		memory_free(quiet);
	}
	return r;
}

bool
es_job_cancelled(void)
{
	return loop_here.job && atomic_load(&loop_here.job->cancelled);
}
