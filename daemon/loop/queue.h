#ifndef DAEMON_LOOP_QUEUE_H
#define DAEMON_LOOP_QUEUE_H

/*
 * queue: what the loop will run, and how other threads put it there.
 */

#include <stdatomic.h>

#include "daemon/base/list.h"
#include "daemon/loop/heap.h"

#define ES_INSIDE 1 /* names come from outside, with their places (debug.h) */
#include "daemon/loop/loop.h"

#include "daemon/loop/refs.h"

struct parker;

/* What the queue holds.  run() is called once for each time it is queued. */
struct loop_item {
	struct loop_item *next;
	const char *name;
	void (*run)(struct loop_item *item, bool closing);
	bool queued; /* from the queueing to the run; under the loop's lock */
};

struct loop_timer {
	struct heap_node node;
	struct loop_item *item; /* queued when it is due */
	bool reserved; /* its slot in the heap is promised */
};

/* What waits in a list of the loop until something makes it due. */
struct loop_later {
	struct loop_item item;
	struct list node;
};

/* A thread or a task that waits for what only this loop can bring. */
struct loop_blocked {
	struct list node;
	struct parker *parker; /* or */
	es_task *task;
	atomic_bool closed; /* it cannot any more */
};

/* queue.c.  With the lock held; unlock wakes the loop where it sleeps. */
void loop_append(es_loop *loop, struct loop_item *item);
void loop_unlock(es_loop *loop);
bool loop_refuses(const es_loop *loop); /* this thread's submits */
void loop_arm_timer(es_loop *loop, struct loop_timer *timer, es_usec when);
void loop_disarm_timer(es_loop *loop, struct loop_timer *timer);

/* An item runs that may be queued again: from here on it can be. */
void loop_item_begin(es_loop *loop, struct loop_item *item);

/*
 * queue.c.  All of these: any thread.  post queues an item that is not
 * queued yet, from inside the run-time: refused only by a closed loop.
 * outside: also by one that is closing, unless on its own thread.
 */
int loop_post(es_loop *loop, struct loop_item *item);
/* The same for an item that may be queued already: then that is enough. */
int loop_post_again(es_loop *loop, struct loop_item *item);
int loop_post_outside(es_loop *loop, struct loop_item *item);
int loop_post_at(es_loop *loop, struct loop_timer *timer, es_usec when);
/* Whether it was pending.  It is then queued, unless queue is false. */
bool loop_untime(es_loop *loop, struct loop_timer *timer, bool queue);
int loop_add_later(es_loop *loop, struct loop_later *later);
bool loop_post_later(es_loop *loop, struct loop_later *later);
bool loop_remove_later(es_loop *loop, struct loop_later *later);
void loop_poke(es_loop *loop);
void loop_job_end(es_loop *loop);
void loop_block(es_loop *loop, struct loop_blocked *blocked);
void loop_unblock(es_loop *loop, struct loop_blocked *blocked);
void loop_wake(es_loop *loop);
struct loop_item *loop_take_batch(es_loop *loop) LOOP_THREAD;
es_usec loop_next_wait(es_loop *loop);
es_usec loop_go_to_sleep(es_loop *loop, es_usec wait);
bool loop_is_idle(es_loop *loop);
bool loop_is_closing(es_loop *loop); /* it refuses what is from outside */
bool loop_is_closed(es_loop *loop);
void loop_refuse(es_loop *loop);
void loop_drop_all(es_loop *loop);

#endif
