/*
 * queue: the side of the loop that every thread may touch, under one lock.
 *
 * - Submitting: append under the lock; if the loop sleeps, be the one who
 *   says so (sleeping goes false: one write per sleep) and write the eventfd
 *   after the lock is free.  From the loop's own thread nothing is written.
 * - Going to sleep: with the lock held the loop looks at the queue once more
 *   and says that it sleeps.  A submitter had the lock before, and its item
 *   is seen; or has it after, and sees sleeping.  No wake-up is lost.
 * - es_loop_stop() takes no lock, for signal handlers: it sets its flag, then
 *   looks at sleeping; the loop sets sleeping, then looks at the flag.
 * - Closing: once closed is set nothing gets in; whoever is about to write
 *   the eventfd is counted in in_flight, and waited for.
 *
 * A lock-free stack was measured and buys nothing here.
 */

#include <assert.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/loop/loop_internal.h"
#include "daemon/loop/parker.h"
#include "daemon/loop/task_internal.h"

es_usec
loop_deadline(es_usec delay)
{
	es_usec now = clock_now_us();

	if (delay <= 0)
		return now < INT64_MIN - delay ? INT64_MIN : now + delay;
	return delay > ES_FOREVER - now ? ES_FOREVER : now + delay;
}

/* The lock is held.  True: loop_wake() must follow, without the lock. */
static bool
loop_must_wake(es_loop *loop)
{
	if (loop_is_here(loop) || !atomic_load(&loop->sleeping))
		return false;
	atomic_fetch_add(&loop->in_flight, 1);
	if (atomic_exchange(&loop->sleeping, false))
		return true;
	atomic_fetch_sub(&loop->in_flight, 1);
	return false;
}

/* Safe in a signal handler; in_flight was raised by the caller. */
void
loop_wake(es_loop *loop)
{
	ssize_t r;

	assert(atomic_load(&loop->in_flight) > 0);
	r = write(loop->wake_fd, &(uint64_t){ 1 }, 8);
	(void)r; /* full: then it is readable, which is all that counts */
	atomic_fetch_add_explicit(&loop->wakeups, 1, memory_order_relaxed);
	atomic_fetch_sub(&loop->in_flight, 1);
}

/* The lock is held, and let go; the loop has to look. */
static void
loop_unlock_and_wake(es_loop *loop)
{
	bool wake = loop_must_wake(loop);

	pthread_mutex_unlock(&loop->lock);
	if (wake)
		loop_wake(loop);
}

void
loop_unlock(es_loop *loop)
{
	if (loop->head || loop->poked)
		loop_unlock_and_wake(loop);
	else
		pthread_mutex_unlock(&loop->lock);
}

void
loop_append(es_loop *loop, struct loop_item *item)
{
	assert(!item->queued && !loop->closed);
	item->queued = true;
	item->next = NULL;
	*loop->tail = item;
	loop->tail = &item->next;
	atomic_fetch_add_explicit(&loop->queued_count, 1, memory_order_relaxed);
}

bool
loop_refuses(const es_loop *loop)
{
	return loop->closed || (loop->refuse && !loop_is_here(loop));
}

static int
loop_post_unless(es_loop *loop, struct loop_item *item, bool outside)
{
	pthread_mutex_lock(&loop->lock);
	if (outside ? loop_refuses(loop) : loop->closed) {
		pthread_mutex_unlock(&loop->lock);
		return -ESHUTDOWN;
	}
	loop_append(loop, item);
	loop_unlock(loop);
	return 0;
}

int
loop_post(es_loop *loop, struct loop_item *item)
{
	return loop_post_unless(loop, item, false);
}

int
loop_post_outside(es_loop *loop, struct loop_item *item)
{
	return loop_post_unless(loop, item, true);
}

int
loop_post_again(es_loop *loop, struct loop_item *item)
{
	int r = 0;

	pthread_mutex_lock(&loop->lock);
	if (loop->closed)
		r = -ESHUTDOWN;
	else if (!item->queued)
		loop_append(loop, item);
	loop_unlock(loop);
	return r;
}

int
loop_post_at(es_loop *loop, struct loop_timer *timer, es_usec when)
{
	int r = -ESHUTDOWN;

	pthread_mutex_lock(&loop->lock);
	if (!loop_refuses(loop)) {
		timer->node.when = when;
		timer->node.seq = loop->seq++;
		r = heap_push(&loop->timers, &timer->node);
	}
	if (r < 0) {
		pthread_mutex_unlock(&loop->lock);
		return r;
	}
	atomic_fetch_add_explicit(&loop->timer_count, 1, memory_order_relaxed);
	if (heap_top(&loop->timers) == &timer->node)
		loop_unlock_and_wake(loop); /* it sleeps for too long */
	else
		pthread_mutex_unlock(&loop->lock);
	return 0;
}

bool
loop_untime(es_loop *loop, struct loop_timer *timer, bool queue)
{
	bool was;

	pthread_mutex_lock(&loop->lock);
	was = heap_holds(&timer->node);
	if (!was) {
		pthread_mutex_unlock(&loop->lock);
		return false;
	}
	assert(!loop->closed);
	loop_disarm_timer(loop, timer);
	if (queue)
		loop_append(loop, timer->item);
	loop_unlock(loop);
	return true;
}

int
loop_add_later(es_loop *loop, struct loop_later *later)
{
	int r = 0;

	pthread_mutex_lock(&loop->lock);
	if (loop_refuses(loop))
		r = -ESHUTDOWN;
	else
		list_append(&loop->later, &later->node);
	pthread_mutex_unlock(&loop->lock);
	return r;
}

bool
loop_post_later(es_loop *loop, struct loop_later *later)
{
	pthread_mutex_lock(&loop->lock);
	if (list_empty(&later->node)) {
		pthread_mutex_unlock(&loop->lock);
		return false;
	}
	list_remove(&later->node);
	loop_append(loop, &later->item);
	loop_unlock(loop);
	return true;
}

/* True: it waited, and nothing will become of it. */
bool
loop_remove_later(es_loop *loop, struct loop_later *later)
{
	bool was;

	pthread_mutex_lock(&loop->lock);
	was = !list_empty(&later->node);
	list_remove(&later->node);
	pthread_mutex_unlock(&loop->lock);
	return was;
}

void
loop_poke(es_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->poked = true;
	if (loop->closed)
		pthread_mutex_unlock(&loop->lock);
	else
		loop_unlock(loop);
}

void
loop_job_end(es_loop *loop)
{
	uint64_t before = atomic_fetch_sub(&loop->jobs, 1);

	assert(before > 0);
	if (before == 1)
		loop_poke(loop);
}

void
loop_block(es_loop *loop, struct loop_blocked *blocked)
{
	list_init(&blocked->node);
	refs_are_atomic(&blocked->closed, sizeof(blocked->closed));
	pthread_mutex_lock(&loop->lock);
	atomic_store(&blocked->closed, loop->closed);
	if (!loop->closed)
		list_append(&loop->blocked, &blocked->node);
	pthread_mutex_unlock(&loop->lock);
}

void
loop_unblock(es_loop *loop, struct loop_blocked *blocked)
{
	pthread_mutex_lock(&loop->lock);
	list_remove(&blocked->node);
	pthread_mutex_unlock(&loop->lock);
}

void
loop_arm_timer(es_loop *loop, struct loop_timer *timer, es_usec when)
{
	assert(timer->reserved);
	timer->node.when = when;
	timer->node.seq = loop->seq++;
	heap_push_reserved(&loop->timers, &timer->node);
	atomic_fetch_add_explicit(&loop->timer_count, 1, memory_order_relaxed);
}

void
loop_disarm_timer(es_loop *loop, struct loop_timer *timer)
{
	if (!heap_holds(&timer->node))
		return;
	if (timer->reserved)
		heap_remove_reserved(&loop->timers, &timer->node);
	else
		heap_remove(&loop->timers, &timer->node);
	atomic_fetch_sub_explicit(&loop->timer_count, 1, memory_order_relaxed);
}

void
loop_item_begin(es_loop *loop, struct loop_item *item)
{
	pthread_mutex_lock(&loop->lock);
	assert(item->queued);
	item->queued = false;
	pthread_mutex_unlock(&loop->lock);
}

/* The lock is held.  A task's item may be queued already. */
static void
loop_fire(es_loop *loop, struct heap_node *node)
{
	struct loop_timer *timer = LIST_ENTRY(node, struct loop_timer, node);

	loop_disarm_timer(loop, timer);
	if (!timer->item->queued)
		loop_append(loop, timer->item);
}

/* The lock is held. */
static void
loop_append_due(es_loop *loop, es_usec now)
{
	struct heap_node *top;

	while ((top = heap_top(&loop->timers)) && top->when <= now &&
	       top->when != ES_FOREVER)
		loop_fire(loop, top);
}

/* All that is queued, after the timers that are due were appended. */
struct loop_item *
loop_take_batch(es_loop *loop)
{
	struct loop_item *batch;

	pthread_mutex_lock(&loop->lock);
	if (loop->timers.len > 0)
		loop_append_due(loop, clock_now_us());
	batch = loop->head;
	loop->head = NULL;
	loop->tail = &loop->head;
	loop->poked = false;
	atomic_store_explicit(&loop->queued_count, 0, memory_order_relaxed);
	pthread_mutex_unlock(&loop->lock);
	return batch;
}

/* The lock is held. */
static es_usec
loop_wait_left(es_loop *loop, es_usec wait)
{
	struct heap_node *top = heap_top(&loop->timers);
	es_usec until = loop->wake_by, now;

	if (loop->head || loop->poked || atomic_load(&loop->stop))
		return 0;
	if (top && top->when < until)
		until = top->when;
	if (until == ES_FOREVER)
		return wait;
	now = clock_now_us();
	if (until <= now) /* as far in the past as there is */
		return 0;
	return until - now < wait ? until - now : wait;
}

es_usec
loop_next_wait(es_loop *loop)
{
	es_usec wait;

	pthread_mutex_lock(&loop->lock);
	wait = loop_wait_left(loop, ES_LOOP_WAIT_MAX);
	pthread_mutex_unlock(&loop->lock);
	return wait;
}

/* How long to wait, at most wait; if at all, submitters wake from now on. */
es_usec
loop_go_to_sleep(es_loop *loop, es_usec wait)
{
	pthread_mutex_lock(&loop->lock);
	wait = loop_wait_left(loop, wait);
	if (wait > 0) {
		atomic_store(&loop->sleeping, true);
		if (atomic_load(&loop->stop)) {
			atomic_store(&loop->sleeping, false);
			wait = 0;
		}
	}
	pthread_mutex_unlock(&loop->lock);
	assert(wait >= 0);
	return wait;
}

bool
loop_is_idle(es_loop *loop)
{
	bool idle;

	pthread_mutex_lock(&loop->lock);
	idle = !loop->head && loop->timers.len == 0;
	pthread_mutex_unlock(&loop->lock);
	return idle && atomic_load(&loop->jobs) == 0 &&
	       atomic_load(&loop->task_count) == 0;
}

bool
loop_is_closing(es_loop *loop)
{
	bool closing;

	pthread_mutex_lock(&loop->lock);
	closing = loop->refuse;
	pthread_mutex_unlock(&loop->lock);
	return closing;
}

bool
loop_is_closed(es_loop *loop)
{
	bool closed;

	pthread_mutex_lock(&loop->lock);
	closed = loop->closed;
	pthread_mutex_unlock(&loop->lock);
	return closed;
}

void
loop_refuse(es_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->refuse = true;
	pthread_mutex_unlock(&loop->lock);
}

/* The lock is held.  The queue, the timers in their order, what is later. */
static struct loop_item *
loop_take_all(es_loop *loop)
{
	struct heap_node *top;
	struct list *node;
	struct loop_item *all;

	while ((top = heap_top(&loop->timers)))
		loop_fire(loop, top);
	while ((node = list_first(&loop->later))) {
		list_remove(node);
		loop_append(
		    loop, &LIST_ENTRY(node, struct loop_later, node)->item);
	}
	all = loop->head;
	loop->head = NULL;
	loop->tail = &loop->head;
	atomic_store(&loop->queued_count, 0);
	atomic_store(&loop->timer_count, 0);
	return all;
}

/* Who waits for what this loop would have brought is told. */
static void
loop_release_blocked(es_loop *loop)
{
	for (;;) {
		struct loop_blocked *blocked;
		es_task *task;
		struct list *node;

		pthread_mutex_lock(&loop->lock);
		node = list_first(&loop->blocked);
		if (!node) {
			pthread_mutex_unlock(&loop->lock);
			return;
		}
		list_remove(node);
		blocked = LIST_ENTRY(node, struct loop_blocked, node);
		atomic_store(&blocked->closed, true);
		task = blocked->task ? task_ref(blocked->task) : NULL;
		if (blocked->parker)
			parker_wake(blocked->parker);
		pthread_mutex_unlock(&loop->lock);
		/* Its own loop's lock is taken: not under this one's. */
		if (task) {
			task_wake(task);
			task_unref(task);
		}
	}
}

/* From here on the loop takes nothing; what it holds is dropped in order. */
void
loop_drop_all(es_loop *loop)
{
	struct loop_item *item, *next;

	pthread_mutex_lock(&loop->lock);
	item = loop_take_all(loop);
	loop->refuse = loop->closed = true;
	pthread_mutex_unlock(&loop->lock);
	loop_release_blocked(loop);
	for (; item; item = next) {
		next = item->next;
		item->run(item, true);
	}
}
