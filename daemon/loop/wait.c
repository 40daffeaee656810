/*
 * wait: how a task, a job or a thread waits for what becomes true elsewhere.
 *
 * - A thread sleeps on a parker, a job too; a task is suspended, and its
 *   loop goes on.
 * - In a call on a running loop there is nothing to sleep on: the loop
 *   itself would have to go on.  -EDEADLK, at once.
 * - Being woken says nothing: what was waited for is looked at again.  So
 *   nothing is lost to a cancel that comes between wake-up and taking.
 */

#include "daemon/loop/wait.h"

#include <assert.h>

#include "daemon/base/clock.h"

es_usec
wait_deadline(es_usec timeout)
{
	return loop_deadline(timeout > 0 ? timeout : 0);
}

int
wait_begin(struct wait *wait, es_future *f, bool regardless)
{
	int r;

	wait->task = loop_here.task;
	wait->job = NULL;
	wait->regardless = regardless;
	if (wait->task) {
		if (f && task_closes_ring(wait->task, f))
			return -EDEADLK;
		wait->task->waits_for = f;
		return 0;
	}
	if (loop_here.loop)
		return -EDEADLK;
	parker_init(&wait->parker);
	wait->job = loop_here.job;
	r = wait->job ? job_wait_begin(wait->job, f, &wait->parker) : 0;
	if (r < 0)
		parker_fini(&wait->parker);
	return r;
}

void
wait_end(struct wait *wait)
{
	if (wait->task) {
		wait->task->waits_for = NULL;
		return;
	}
	if (wait->job)
		job_wait_end(wait->job);
	parker_fini(&wait->parker);
}

void
wait_wake(struct wait *wait)
{
	if (wait->task)
		task_wake(wait->task);
	else
		parker_wake(&wait->parker);
}

static bool
wait_cancelled(const struct wait *wait)
{
	if (wait->regardless)
		return false;
	if (wait->task)
		return wait->task->shield_count == 0 &&
		       atomic_load(&wait->task->cancelled);
	return wait->job && atomic_load(&wait->job->cancelled);
}

/* Until something may have changed, or the deadline. */
static void
wait_sleep(struct wait *wait, es_usec deadline, wait_ready_fn ready, void *arg)
{
	if (wait->job) {
		(void)job_park(wait->job, &wait->parker, deadline);
	} else if (!wait->task) {
		(void)parker_wait(&wait->parker, deadline);
	} else {
		task_arm(wait->task, deadline);
		/* What came before it was armed has woken nobody. */
		if (ready(arg) || wait_cancelled(wait))
			task_wake(wait->task);
		task_suspend(wait->task);
	}
}

int
wait_pause(struct wait *wait, es_usec deadline, wait_ready_fn ready, void *arg)
{
	if (wait->task && !wait->regardless) {
		es_usec limit = task_shield_until(wait->task);

		deadline = limit < deadline ? limit : deadline;
	}
	for (;;) {
		if (ready(arg))
			return 0;
		if (wait_cancelled(wait))
			return -ECANCELED;
		if (deadline != ES_FOREVER && clock_now_us() >= deadline)
			return -ETIMEDOUT;
		wait_sleep(wait, deadline, ready, arg);
	}
}
