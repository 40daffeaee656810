/*
 * close: a loop's birth and end.
 *
 * Closing, in order: refuse what comes from outside; cancel the tasks and run
 * them to their end; drop what is queued and release every waiter; then the
 * own executor, signals, descriptors and the base go.  Between the first two
 * and the last nothing accepted is lost, and afterwards nothing is accepted.
 * The struct stays until the last reference: a late submit is refused, it
 * does not touch freed memory.
 */

#include <assert.h>
#include <event2/event.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/loop/executor_internal.h"
#include "daemon/loop/loop_internal.h"
#include "daemon/loop/task_internal.h"

/* What a close without grace leaves tasks to run to their end in. */
#define LOOP_CLOSE_TURNS 64

unsigned loop_generation = 1;
bool refs_on_valgrind;

static void
loop_after_fork(void)
{
	loop_generation++;
}

static void
loop_libevent_log(int severity, const char *text)
{
	if (severity >= EVENT_LOG_WARN)
		log_debug("libevent: %s", text);
}

static void
loop_init_process(void)
{
	int r = pthread_atfork(NULL, NULL, loop_after_fork);

#ifdef REFS_HELGRIND
	refs_on_valgrind = RUNNING_ON_VALGRIND != 0;
#endif
	/* Written in a child only, where there is one thread. */
	refs_are_atomic(&loop_generation, sizeof(loop_generation));
	if (r != 0)
		log_warn("pthread_atfork failed: code=%d", r);
	/* So that its failures, too, can be tested one by one. */
	event_set_mem_functions(memory_alloc, memory_realloc, memory_free);
	event_set_log_callback(loop_libevent_log);
}

/* Before anything that remembers the generation. */
void
loop_generation_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, loop_init_process); /* cannot fail */
}

/* Nobody else knows the loop yet. */
static void
loop_is_new(const es_loop *loop) PROVES_LOOP
{
	assert(atomic_load(&loop->state) == ES_LOOP_IDLE);
	(void)loop;
}

static void
loop_on_wake(evutil_socket_t fd, short what, void *arg)
{
	/* Edge-triggered: being called is all, nothing has to be read. */
	(void)fd;
	(void)what;
	(void)arg;
}

static void
loop_on_tick(evutil_socket_t fd, short what, void *arg)
{
	es_loop *loop = arg;

	(void)fd;
	(void)what;
	es_loop_assert(loop);
	loop->tick = LOOP_TICK_NONE;
}

static struct event_base *
loop_new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	/* Precise: a 1 ms timer took up to 6.9 ms without. */
	if (event_config_set_flag(
		config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NOLOCK |
			    EVENT_BASE_FLAG_IGNORE_ENV) == 0 &&
	    event_config_require_features(config, EV_FEATURE_ET) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

/* The base with its two events of ours; what there is of them on failure. */
static int
loop_init_base(es_loop *loop)
{
	static const struct timeval day = { .tv_sec = 24 * 60 * 60 };

	loop_is_new(loop);
	errno = 0;
	loop->base = loop_new_base();
	if (!loop->base)
		return errno ? -errno : -ENOMEM;
	loop->wake_event = event_new(loop->base, loop->wake_fd,
	    EV_READ | EV_ET | EV_PERSIST, loop_on_wake, NULL);
	loop->tick_event = event_new(loop->base, -1, 0, loop_on_tick, loop);
	if (!loop->wake_event || !loop->tick_event)
		return -ENOMEM;
	/* Once in libevent's heap, its place there is kept (min_heap grows). */
	if (event_add(loop->wake_event, NULL) < 0 ||
	    event_add(loop->tick_event, &day) < 0)
		return -ENOMEM;
	loop->tick = LOOP_TICK_FAR;
	return 0;
}

static void
loop_fini_base(es_loop *loop) LOOP_THREAD
{
	if (loop->wake_event)
		event_free(loop->wake_event);
	if (loop->tick_event)
		event_free(loop->tick_event);
	loop->wake_event = loop->tick_event = NULL;
	if (loop->base)
		event_base_free(loop->base);
	loop->base = NULL;
}

/* Waits for those who may still be about to wake the loop, then closes. */
static void
loop_fini_wake(es_loop *loop)
{
	atomic_store(&loop->dead, true);
	while (atomic_load(&loop->in_flight) > 0)
		(void)sched_yield(); /* cannot fail */
	if (loop->wake_fd >= 0)
		(void)close(loop->wake_fd); /* an eventfd has nothing to lose */
	loop->wake_fd = -1;
}

void
loop_free(es_loop *loop)
{
	assert(atomic_load(&loop->state) == ES_LOOP_CLOSED);
	assert(!loop->head && list_empty(&loop->later));
	assert(list_empty(&loop->blocked) && list_empty(&loop->tasks));
	heap_fini(&loop->timers);
	(void)pthread_mutex_destroy(&loop->lock); /* nobody holds it */
	loop_free_object(loop, sizeof(*loop));
}

static void
loop_tell_atomics(es_loop *loop)
{
	refs_are_atomic(&loop->refs, sizeof(loop->refs));
	refs_are_atomic(&loop->holds, sizeof(loop->holds));
	refs_are_atomic(&loop->state, sizeof(loop->state));
	refs_are_atomic(&loop->stop, sizeof(loop->stop));
	refs_are_atomic(&loop->sleeping, sizeof(loop->sleeping));
	refs_are_atomic(&loop->in_flight, sizeof(loop->in_flight));
	refs_are_atomic(&loop->dead, sizeof(loop->dead));
	refs_are_atomic(&loop->jobs, sizeof(loop->jobs));
	/* The rest of the struct is numbers for es_loop_get_stats(). */
	refs_are_atomic(
	    &loop->iterations, sizeof(*loop) - offsetof(es_loop, iterations));
}

static void
loop_init_fields(es_loop *loop, const es_loop_opts *opts)
{
	loop_is_new(loop);
	(void)snprintf(loop->name, sizeof(loop->name), "%s",
	    opts->name ? opts->name : "loop"); /* cut on purpose */
	loop->slow = opts->slow ? opts->slow : ES_LOOP_SLOW_DEFAULT;
	loop->slice = opts->slice ? opts->slice : ES_LOOP_SLICE_DEFAULT;
	loop->report = opts->report;
	loop->report_arg = opts->report_arg;
	loop_tell_atomics(loop);
	loop->refs = loop->holds = 1;
	loop->generation = loop_generation;
	(void)pthread_mutex_init(&loop->lock, NULL); /* cannot fail */
	loop->tail = &loop->head;
	heap_init(&loop->timers);
	list_init(&loop->later);
	list_init(&loop->blocked);
	list_init(&loop->watches);
	list_init(&loop->tasks);
	loop->wake_by = ES_FOREVER;
	loop->wake_fd = loop->signal_fd = -1;
}

int
es_loop_new(es_loop **ret_loop, const es_loop_opts *opts)
{
	es_loop *loop;
	int r;

	assert(ret_loop);
	loop_generation_init();
	loop = memory_zalloc(sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	loop_init_fields(loop, opts ? opts : &(es_loop_opts){ 0 });
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = loop->wake_fd < 0 ? -errno : loop_init_base(loop);
	if (r == 0)
		r = loop_signals_init(loop);
	if (r < 0)
		goto err_free_loop;
	*ret_loop = loop;
	return 0;

err_free_loop:
	loop_is_new(loop);
	loop_signals_fini(loop);
	loop_fini_base(loop);
	loop_fini_wake(loop);
	atomic_store(&loop->state, ES_LOOP_CLOSED);
	loop_free(loop);
	return r;
}

/*
 * The tasks are asked to end and run on, for grace; without any they still
 * get some turns, for what need not wait.
 */
static void
loop_end_tasks(es_loop *loop, es_usec deadline) LOOP_THREAD
{
	unsigned turns = LOOP_CLOSE_TURNS;

	pthread_mutex_lock(&loop->lock);
	loop->wake_by = deadline;
	pthread_mutex_unlock(&loop->lock);
	for (;;) {
		loop_tasks_cancel(loop); /* also those spawned meanwhile */
		if (atomic_load(&loop->task_count) == 0)
			break;
		if (clock_now_us() >= deadline && turns-- == 0)
			break;
		/* Stopped or not, this is how a loop ends. */
		atomic_store(&loop->stop, false);
		loop_iterate(loop);
	}
}

/* The loop is this thread's.  How many tasks and jobs would not end. */
static int
loop_shut(es_loop *loop, es_usec grace) LOOP_THREAD
{
	es_usec deadline = loop_deadline(grace);
	es_usec left_us;
	int left = 0;

	loop_refuse(loop);
	loop_end_tasks(loop, deadline);
	loop_drop_all(loop);
	left += loop_tasks_abandon(loop);
	if (loop->executor) {
		left_us = deadline == ES_FOREVER ? ES_FOREVER
						 : deadline - clock_now_us();
		left += executor_end(
		    loop->executor, ES_EXEC_CANCEL, left_us > 0 ? left_us : 0);
		loop->executor = NULL;
	}
	loop_signals_fini(loop);
	loop_watches_fini(loop);
	loop->before_poll = NULL;
	loop->after_batch = NULL;
	loop_fini_base(loop);
	loop_fini_wake(loop);
	context_cache_clear(&loop->stacks);
	return left;
}

/* Also on a thread where another loop runs: that one stands still. */
int
loop_close(es_loop *loop, es_usec grace)
{
	struct loop_here saved = loop_here;
	int r;

	(void)loop_hold(loop);
	loop_here = (struct loop_here){ 0 };
	r = loop_claim(loop);
	if (r == 0) {
		r = loop_shut(loop, grace);
		loop_unclaim(loop, ES_LOOP_CLOSED);
	} else if (r == -ESHUTDOWN) {
		r = 0;
	}
	loop_here = saved;
	loop_release(loop);
	return r;
}

int
es_loop_close(es_loop *loop, es_usec grace)
{
	assert(loop && grace >= 0);
	if (loop_forked(loop))
		return -ECHILD;
	if (atomic_load(&loop->state) == ES_LOOP_CLOSED)
		return 0;
	if (loop_here.loop)
		return -EBUSY;
	return loop_close(loop, grace);
}
