/*
 * loop: the iteration, and who may run it.
 *
 * The happy path of one turn: compute how long nothing is to be done, let
 * the hook shorten it, poll, take the queue as the batch, run the batch, let
 * the hook flush.  libevent only polls: its own timers fire equal deadlines
 * in any order, its stop is lost before the loop starts, and what it calls
 * can keep it from ever polling again (DESIGN).
 */

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/future_internal.h"
#include "daemon/loop/loop_internal.h"

_Thread_local struct loop_here loop_here;

es_loop *
loop_hold(es_loop *loop)
{
	refs_take(&loop->holds);
	return loop;
}

void
loop_release(es_loop *loop)
{
	if (refs_drop(&loop->holds))
		loop_free(loop);
}

es_loop *
es_loop_ref(es_loop *loop)
{
	assert(loop);
	refs_take(&loop->refs);
	return loop;
}

void
es_loop_unref(es_loop *loop)
{
	if (!loop || loop_forked(loop) || !refs_drop(&loop->refs))
		return;
	(void)loop_close(loop, 0); /* what is left over was reported */
	loop_release(loop);
}

void
es_loop_assert(const es_loop *loop)
{
	assert(loop && loop_is_here(loop));
	(void)loop;
}

int
loop_claim(es_loop *loop)
{
	int idle = ES_LOOP_IDLE;

	if (loop_forked(loop))
		return -ECHILD;
	if (atomic_load(&loop->state) == ES_LOOP_CLOSED)
		return -ESHUTDOWN;
	if (loop_here.loop)
		return -EBUSY;
	if (!atomic_compare_exchange_strong(
		&loop->state, &idle, ES_LOOP_RUNNING))
		return idle == ES_LOOP_CLOSED ? -ESHUTDOWN : -EBUSY;
	loop_here.loop = loop;
	return 0;
}

void
loop_unclaim(es_loop *loop, es_loop_state state)
{
	assert(loop_is_here(loop) && !loop_here.task);
	loop_here.loop = NULL;
	atomic_store(&loop->state, (int)state);
}

void
loop_call_begin(es_loop *loop, const char *name, es_usec now)
{
	atomic_store_explicit(&loop->busy_with, name, memory_order_relaxed);
	atomic_store_explicit(&loop->busy_since, now, memory_order_relaxed);
}

static void
loop_note_longest(_Atomic es_usec *longest, es_usec took)
{
	if (took > atomic_load_explicit(longest, memory_order_relaxed))
		atomic_store_explicit(longest, took, memory_order_relaxed);
}

es_usec
loop_call_end(es_loop *loop, const char *name, es_usec began)
{
	es_usec now = clock_now_us(), took = now - began;

	loop_note_longest(&loop->longest, took);
	if (took > loop->slow) {
		atomic_fetch_add_explicit(
		    &loop->slow_calls, 1, memory_order_relaxed);
		loop_report(loop, ES_R_SLOW, name, 0, NULL, took);
	}
	return now;
}

/* Between two calls: the loop is not busy. */
static void
loop_call_none(es_loop *loop)
{
	atomic_store_explicit(&loop->busy_since, 0, memory_order_relaxed);
	atomic_store_explicit(&loop->busy_with, NULL, memory_order_relaxed);
}

void
es_loop_enter(es_loop *loop, const char *name)
{
	es_usec now = clock_now_us();

	es_loop_assert(loop);
	assert(loop->polling && !atomic_load(&loop->busy_since));
	if (loop->turn_start == 0)
		loop->turn_start = now;
	loop_call_begin(loop, name, now);
}

void
es_loop_leave(es_loop *loop)
{
	es_usec began;

	es_loop_assert(loop);
	began = atomic_load(&loop->busy_since);
	assert(began > 0);
	(void)loop_call_end(loop, atomic_load(&loop->busy_with), began);
	loop_call_none(loop);
}

static void
loop_hook_before_poll(es_loop *loop, es_usec *wait) LOOP_THREAD
{
	es_usec now = clock_now_us();

	loop_call_begin(loop, "before_poll", now);
	loop->before_poll(wait, loop->hook_arg);
	(void)loop_call_end(loop, "before_poll", now);
	loop_call_none(loop);
}

static void
loop_hook_after_batch(es_loop *loop) LOOP_THREAD
{
	es_usec now;

	if (!loop->after_batch)
		return;
	now = clock_now_us();
	loop_call_begin(loop, "after_batch", now);
	loop->after_batch(loop->hook_arg);
	(void)loop_call_end(loop, "after_batch", now);
	loop_call_none(loop);
}

/*
 * What ends the wait.  The tick of the longest one is in nobody's way and
 * stays: where there are no timers none is set.  False: no memory for it.
 */
static bool
loop_set_tick(es_loop *loop, es_usec wait) LOOP_THREAD
{
	struct timeval tv = { .tv_sec = wait / 1000000,
		.tv_usec = wait % 1000000 };

	if (loop->tick == LOOP_TICK_FAR &&
	    (wait == 0 || wait == ES_LOOP_WAIT_MAX))
		return true;
	if (wait > 0) {
		if (event_add(loop->tick_event, &tv) < 0)
			return false;
		loop->tick =
		    wait == ES_LOOP_WAIT_MAX ? LOOP_TICK_FAR : LOOP_TICK_NEAR;
	} else if (loop->tick != LOOP_TICK_NONE) {
		(void)event_del(loop->tick_event); /* cannot fail: no fd */
		loop->tick = LOOP_TICK_NONE;
	}
	return true;
}

/* The descriptors' callbacks run in here. */
static void
loop_poll_base(es_loop *loop, es_usec wait) LOOP_THREAD
{
	int r;

	if (wait > ES_LOOP_WAIT_MAX)
		wait = ES_LOOP_WAIT_MAX;
	if (!loop_set_tick(loop, wait))
		wait = 0; /* turn, rather than oversleep */
	loop->polling = true;
	r = event_base_loop(
	    loop->base, wait > 0 ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert(r >= 0);
	(void)r;
	loop->polling = false;
}

/* A turn lasts from the end of a wait to where the next may begin. */
static void
loop_end_turn(es_loop *loop) LOOP_THREAD
{
	if (loop->turn_start > 0)
		loop_note_longest(&loop->longest_iteration,
		    clock_now_us() - loop->turn_start);
	loop->turn_start = 0;
}

static void
loop_poll(es_loop *loop) LOOP_THREAD
{
	es_usec wait = ES_LOOP_WAIT_MAX;

	if (loop->before_poll) {
		wait = loop_next_wait(loop);
		loop_hook_before_poll(loop, &wait);
	}
	wait = wait > 0 ? loop_go_to_sleep(loop, wait) : 0;
	loop_end_turn(loop);
	loop->turn_start = wait > 0 ? 0 : clock_now_us();
	loop_poll_base(loop, wait);
	atomic_store(&loop->sleeping, false);
	if (loop->turn_start == 0)
		loop->turn_start = clock_now_us();
}

/* In the middle of a batch: sockets are not starved by calls. */
static void
loop_poll_between(es_loop *loop) LOOP_THREAD
{
	es_usec wait = 0;

	loop_call_none(loop);
	loop_hook_after_batch(loop);
	if (loop->before_poll)
		loop_hook_before_poll(loop, &wait);
	loop_poll_base(loop, 0);
}

static void
loop_run_batch(es_loop *loop, struct loop_item *batch) LOOP_THREAD
{
	es_usec now = batch ? clock_now_us() : 0;
	unsigned n = 0;

	while (batch) {
		struct loop_item *item = batch;
		const char *name = item->name;

		if (n == loop->slice) {
			loop_poll_between(loop);
			now = clock_now_us();
			n = 0;
		}
		batch = item->next;
		loop_call_begin(loop, name, now);
		item->run(item, false);
		now = loop_call_end(loop, name, now);
		n++;
		atomic_fetch_add_explicit(
		    &loop->calls, 1, memory_order_relaxed);
	}
	loop_call_none(loop);
}

void
loop_iterate(es_loop *loop)
{
	es_loop_assert(loop);
	loop_poll(loop);
	loop_run_batch(loop, loop_take_batch(loop));
	loop_hook_after_batch(loop);
	atomic_fetch_add_explicit(&loop->iterations, 1, memory_order_relaxed);
}

/* Between two runs there are no turns to measure. */
static void
loop_end_run(es_loop *loop)
{
	es_loop_assert(loop);
	loop_end_turn(loop);
	atomic_store(&loop->stop, false);
	loop_unclaim(loop, ES_LOOP_IDLE);
	es_loop_unref(loop);
}

int
loop_run_told(es_loop *loop, loop_started_fn started, void *arg)
{
	int r = loop_claim(loop);

	if (r < 0)
		return r;
	(void)es_loop_ref(loop); /* the last one may go while it runs */
	if (started)
		started(arg);
	do
		loop_iterate(loop);
	while (!atomic_load(&loop->stop));
	loop_end_run(loop);
	return 0;
}

int
es_loop_run(es_loop *loop)
{
	assert(loop);
	return loop_run_told(loop, NULL, NULL);
}

int
es_loop_run_until_idle(es_loop *loop)
{
	int r;

	assert(loop);
	r = loop_claim(loop);
	if (r < 0)
		return r;
	(void)es_loop_ref(loop);
	loop_poke(loop); /* a loop with nothing but watches is idle now */
	do
		loop_iterate(loop);
	while (!loop_is_idle(loop) && !atomic_load(&loop->stop));
	loop_end_run(loop);
	return 0;
}

struct run_until {
	struct future_waiter waiter;
	es_loop *loop;
	atomic_bool done;
};

static void
run_until_wake(struct future_waiter *waiter)
{
	struct run_until *run = LIST_ENTRY(waiter, struct run_until, waiter);

	atomic_store(&run->done, true);
	loop_poke(run->loop);
}

int
es_loop_run_until(es_loop *loop, es_future *f)
{
	struct run_until run = { .loop = loop };
	int r;

	assert(loop && f);
	if (future_forked(f))
		return -ECHILD;
	r = loop_claim(loop);
	if (r < 0)
		return r;
	(void)es_loop_ref(loop);
	refs_are_atomic(&run.done, sizeof(run.done));
	if (!future_add_waiter(f, &run.waiter, run_until_wake))
		run_until_wake(&run.waiter);
	do
		loop_iterate(loop);
	while (!atomic_load(&run.done) && !atomic_load(&loop->stop));
	(void)future_remove_waiter(f, &run.waiter);
	r = future_code_seen(f);
	loop_end_run(loop);
	return r == -EINPROGRESS ? -EINTR : r;
}

void
es_loop_stop(es_loop *loop)
{
	int saved = errno; /* this may be a signal handler */

	assert(loop);
	if (loop_forked(loop))
		return;
	atomic_fetch_add(&loop->in_flight, 1);
	atomic_store(&loop->stop, true);
	if (!atomic_load(&loop->dead) &&
	    atomic_exchange(&loop->sleeping, false))
		loop_wake(loop);
	else
		atomic_fetch_sub(&loop->in_flight, 1);
	errno = saved;
}

es_loop_state
es_loop_get_state(const es_loop *loop)
{
	assert(loop);
	return (es_loop_state)atomic_load(&loop->state);
}

es_loop *
es_loop_current(void)
{
	return loop_here.loop;
}

es_usec
es_loop_time(const es_loop *loop)
{
	(void)loop; /* all loops have the same clock */
	return clock_now_us();
}

struct event_base *
es_loop_event_base(es_loop *loop)
{
	assert(loop);
	if (loop_forked(loop) || !loop_is_here(loop))
		return NULL;
	return loop->base;
}

/* The caller is on the loop's thread, or no thread is. */
static void
loop_quiet_enough(const es_loop *loop) PROVES_LOOP
{
	assert(loop_is_here(loop) || atomic_load(&loop->state) == ES_LOOP_IDLE);
	(void)loop;
}

int
es_loop_set_hooks(es_loop *loop, es_before_poll_fn before_poll,
    es_after_batch_fn after_batch, void *arg)
{
	int state;

	assert(loop);
	if (loop_forked(loop))
		return -ECHILD;
	state = atomic_load(&loop->state);
	if (state == ES_LOOP_CLOSED)
		return -ESHUTDOWN;
	if (state == ES_LOOP_RUNNING && !loop_is_here(loop))
		return loop_misuse("es_loop_set_hooks");
	loop_quiet_enough(loop);
	loop->before_poll = before_poll;
	loop->after_batch = after_batch;
	loop->hook_arg = arg;
	return 0;
}

void
es_loop_get_stats(const es_loop *loop, es_loop_stats *ret)
{
	assert(loop && ret);
	*ret = (es_loop_stats){
		.iterations = atomic_load(&loop->iterations),
		.calls = atomic_load(&loop->calls),
		.wakeups = atomic_load(&loop->wakeups),
		.slow_calls = atomic_load(&loop->slow_calls),
		.queued = atomic_load(&loop->queued_count),
		.timers = atomic_load(&loop->timer_count),
		.tasks = atomic_load(&loop->task_count),
		.longest = atomic_load(&loop->longest),
		.longest_iteration = atomic_load(&loop->longest_iteration),
		.busy_since = atomic_load(&loop->busy_since),
		.busy_with = atomic_load(&loop->busy_with),
	};
}

void
es_loop_reset_longest(es_loop *loop)
{
	assert(loop);
	atomic_store(&loop->longest, 0);
	atomic_store(&loop->longest_iteration, 0);
}

int
es_loop_check_stuck(es_loop *loop, es_usec limit)
{
	es_usec since, took;
	const char *name;

	assert(loop && limit >= 0);
	if (loop_forked(loop))
		return -ECHILD;
	since = atomic_load(&loop->busy_since);
	name = atomic_load(&loop->busy_with);
	took = clock_now_us() - since;
	if (since == 0 || took <= limit || !name ||
	    atomic_load(&loop->busy_since) != since)
		return 0;
	if (atomic_exchange(&loop->stuck_told, since) != since)
		loop_report(loop, ES_R_STUCK, name, 0, NULL, took);
	return 1;
}
