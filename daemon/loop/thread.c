/*
 * thread: a loop on its own thread; start returns when it is the loop's.
 */

#include "daemon/loop/thread.h"

#include <assert.h>
#include <signal.h>

#include "daemon/base/memory.h"
#include "daemon/loop/loop_internal.h"
#include "daemon/loop/parker.h"

struct es_loop_thread {
	es_loop *loop; /* one reference */
	pthread_t thread;
	unsigned generation;
	struct parker *starter; /* who waits in start, until it is told */
	int result;
};

static void
thread_tell(void *arg)
{
	es_loop_thread *thread = arg;
	struct parker *starter = thread->starter;

	/* The starter may free thread as soon as it is woken by a failure. */
	thread->starter = NULL;
	parker_wake(starter);
}

static void *
thread_main(void *arg)
{
	es_loop_thread *thread = arg;
	int r;

	(void)pthread_setname_np(pthread_self(), thread->loop->name);
	r = loop_run_told(thread->loop, thread_tell, thread);
	if (r < 0) {
		thread->result = r;
		thread_tell(thread);
	}
	return NULL;
}

/* All signals stay with the thread that asked for them. */
static int
thread_create(es_loop_thread *thread)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread->thread, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void
thread_free(es_loop_thread *thread)
{
	es_loop_unref(thread->loop);
	loop_free_object(thread, sizeof(*thread));
}

int
es_loop_thread_start(es_loop *loop, es_loop_thread **ret_thread)
{
	es_loop_thread *thread;
	struct parker parker;
	int r;

	assert(loop && ret_thread);
	if (loop_forked(loop))
		return -ECHILD;
	thread = memory_zalloc(sizeof(*thread));
	if (!thread)
		return -ENOMEM;
	parker_init(&parker);
	thread->generation = loop_generation;
	thread->loop = es_loop_ref(loop);
	thread->starter = &parker;
	r = thread_create(thread);
	if (r == 0) {
		(void)parker_wait(&parker, ES_FOREVER); /* always woken */
		r = thread->result;
		if (r < 0)
			(void)pthread_join(thread->thread, NULL); /* ours */
	}
	parker_fini(&parker);
	if (r < 0) {
		thread_free(thread);
		return r;
	}
	*ret_thread = thread;
	return 0;
}

int
es_loop_thread_stop(es_loop_thread *thread, es_usec grace)
{
	int r;

	if (!thread)
		return 0;
	assert(grace >= 0);
	if (thread->generation != loop_generation)
		return -ECHILD;
	if (pthread_equal(pthread_self(), thread->thread))
		return -EDEADLK;
	es_loop_stop(thread->loop);
	r = pthread_join(thread->thread, NULL);
	assert(r == 0);
	r = loop_close(thread->loop, grace);
	thread_free(thread);
	return r;
}
