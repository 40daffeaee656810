#ifndef DAEMON_LOOP_TASK_INTERNAL_H
#define DAEMON_LOOP_TASK_INTERNAL_H

/*
 * task_internal: a task's layout, and how it waits.
 *
 * A wait begins with task_arm(): from then on task_wake(), from any thread,
 * queues the task, once.  An armed task always suspends: so whatever woke it
 * is used up when it goes on, and no wake-up is left over for a later wait.
 */

#include "daemon/loop/context.h"
#include "daemon/loop/future_internal.h"

enum task_state { TASK_NEW, TASK_ALIVE, TASK_ENDED };

struct es_task {
	_Atomic unsigned refs; /* the loop's, the future's, the queue's */
	es_loop *loop; /* held by the future */
	es_future *f; /* one reference, until it has settled */
	const char *name;
	es_task_fn fn;
	void *arg;
	es_drop drop;

	/* Under the loop's lock. */
	struct list in_loop;
	struct loop_item resume; /* queued: it will go on */
	struct loop_timer timer; /* has a promised slot in the heap */
	bool armed; /* waits, or is about to */
	bool told; /* to end, by the closing loop */

	atomic_bool cancelled;

	/* Of the loop's thread. */
	enum task_state state;
	struct context context;
	struct loop_failure *failure;
	es_future *waits_for; /* the one future it waits for, or NULL */
	es_usec shields[ES_SHIELDS_MAX];
	unsigned shield_count;
	int code;
	es_value value;
};

extern const struct future_ops task_future_ops;

/* Any thread.  Nothing happens unless it is armed. */
void task_wake(es_task *task);

/* The running task: armed, then suspended until woken or the deadline. */
void task_arm(es_task *task, es_usec deadline);
void task_suspend(es_task *task);

/* ES_FOREVER, or the earliest limit of its shields. */
es_usec task_shield_until(const es_task *task);

/* Whether waiting for f would be waiting for task itself. */
bool task_closes_ring(const es_task *task, const es_future *f);

es_task *task_ref(es_task *task);
void task_unref(es_task *task);

/* The loop is closing: those alive are asked to end, once each. */
void loop_tasks_cancel(es_loop *loop);
/* It has closed: what would not end is reported, its waiters released. */
int loop_tasks_abandon(es_loop *loop);

#endif
