/*
 * task: from spawn to end.
 *
 * - A task is an item of its loop's queue whenever it is to go on.  It gets
 *   its stack when it runs for the first time, so a million that end at the
 *   first go need one.
 * - Armed, it can be woken, once, from any thread, and then it is suspended:
 *   what woke it is used up when it goes on.  Its timer has a promised slot
 *   in the heap, so a wait cannot fail.
 * - It ends back on the loop's own stack, where its future settles.
 * - A task that does not end by the time its loop is closed is left as it
 *   is, with its stack: others may hold pointers into it.
 */

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/group_internal.h"
#include "daemon/loop/task_internal.h"

#define TASK_RING_STEPS_MAX 1000

/* What outlived its loop: out of use, but not forgotten by leak checkers. */
static struct {
	pthread_mutex_t lock; /* covers tasks */
	struct list tasks;
} task_abandoned = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.tasks = { &task_abandoned.tasks, &task_abandoned.tasks },
};

es_task *
task_ref(es_task *task)
{
	refs_take(&task->refs);
	return task;
}

void
task_unref(es_task *task)
{
	if (!refs_drop(&task->refs))
		return;
	assert(task->state == TASK_ENDED && !task->context.stack);
	loop_free_object(task, sizeof(*task));
}

static int
task_on_cancel(es_future *f, void *producer)
{
	es_task *task = producer;

	(void)f;
	atomic_store(&task->cancelled, true);
	task_wake(task);
	return 1;
}

static void
task_release(void *producer)
{
	task_unref(producer);
}

const struct future_ops task_future_ops = {
	.cancel = task_on_cancel,
	.release = task_release,
};

void
task_wake(es_task *task)
{
	es_loop *loop = task->loop;

	pthread_mutex_lock(&loop->lock);
	if (task->armed && !task->resume.queued && !loop->closed)
		loop_append(loop, &task->resume);
	loop_unlock(loop);
}

void
task_arm(es_task *task, es_usec deadline)
{
	es_loop *loop = task->loop;

	assert(task == loop_here.task);
	pthread_mutex_lock(&loop->lock);
	assert(!task->armed && !task->resume.queued);
	task->armed = true;
	if (deadline < ES_FOREVER)
		loop_arm_timer(loop, &task->timer, deadline);
	pthread_mutex_unlock(&loop->lock);
}

void
task_suspend(es_task *task)
{
	assert(task == loop_here.task && task->armed);
	context_leave(&task->context);
	assert(task == loop_here.task && !task->armed);
}

es_usec
task_shield_until(const es_task *task)
{
	es_usec until = ES_FOREVER;
	unsigned i;

	for (i = 0; i < task->shield_count; i++)
		if (task->shields[i] < until)
			until = task->shields[i];
	return until;
}

bool
task_closes_ring(const es_task *task, const es_future *f)
{
	unsigned steps = TASK_RING_STEPS_MAX;

	while (f && steps-- > 0) {
		const es_task *other = f->producer;

		if (f->ops == &gather_future_ops)
			return gather_leads_to(f->producer, task);
		if (f->ops != &task_future_ops)
			return false;
		if (other == task)
			return true;
		if (other->loop != task->loop || future_settled(f))
			return false;
		f = other->waits_for;
	}
	return false;
}

/* Runs on the task's own stack. */
static void
task_main(void *arg)
{
	struct loop_failure failure = { 0 };
	es_task *task = arg;

	task->failure = loop_here.failure = &failure;
	task->code = task->fn(task->arg, &task->value);
	task->state = TASK_ENDED;
	context_end(&task->context);
}

/* It has ended, or never began; back on the loop's stack. */
static void
task_finish(es_task *task, int code)
{
	es_loop *loop = task->loop;
	es_future *f = task->f;

	es_loop_assert(loop);
	task->state = TASK_ENDED;
	task->f = NULL;
	pthread_mutex_lock(&loop->lock);
	assert(!task->armed && !task->resume.queued);
	list_remove(&task->in_loop);
	heap_unreserve(&loop->timers);
	pthread_mutex_unlock(&loop->lock);
	atomic_fetch_sub(&loop->task_count, 1);
	/* Nobody else settles it.  The failure is still on the stack. */
	(void)future_settle_body(f, code, &task->value, task->failure);
	context_release(&task->context, &loop->stacks);
	es_future_unref(f);
	task_unref(task);
}

/* The body will not run.  The drop may look at the code. */
static void
task_refuse(es_task *task, int code)
{
	task->code = code;
	if (task->drop)
		task->drop(task->arg);
	task_finish(task, code);
}

static void
task_go_on(es_task *task)
{
	loop_here.task = task;
	loop_here.failure = task->failure;
	context_enter(&task->context);
	loop_here.task = NULL;
	loop_here.failure = NULL;
	if (task->state == TASK_ENDED)
		task_finish(task, task->code);
}

static void
task_run(struct loop_item *item, bool closing)
{
	es_task *task = LIST_ENTRY(item, es_task, resume);
	es_loop *loop = task->loop;
	int r;

	es_loop_assert(loop);
	pthread_mutex_lock(&loop->lock);
	item->queued = false;
	task->armed = false;
	loop_disarm_timer(loop, &task->timer);
	pthread_mutex_unlock(&loop->lock);
	if (task->state == TASK_ALIVE) {
		if (!closing)
			task_go_on(task);
		return;
	}
	assert(task->state == TASK_NEW);
	r = closing ? -ESHUTDOWN
	    : atomic_load(&task->cancelled)
		? -ECANCELED
		: context_start(&task->context, &loop->stacks, task_main, task);
	if (r < 0) {
		task_refuse(task, r);
		return;
	}
	task->state = TASK_ALIVE;
	task_go_on(task);
}

/* Into the queue, with all a task will need of its loop. */
static int
task_enlist(es_task *task)
{
	es_loop *loop = task->loop;
	int r = -ESHUTDOWN;

	pthread_mutex_lock(&loop->lock);
	if (!loop_refuses(loop))
		r = heap_reserve(&loop->timers);
	if (r == 0) {
		list_append(&loop->tasks, &task->in_loop);
		atomic_fetch_add(&loop->task_count, 1);
		loop_append(loop, &task->resume);
	}
	loop_unlock(loop);
	return r;
}

static es_task *
task_new(
    es_loop *loop, const char *name, es_task_fn fn, void *arg, es_drop drop)
{
	es_task *task = memory_zalloc(sizeof(*task));

	if (!task)
		return NULL;
	refs_are_atomic(&task->refs, sizeof(task->refs));
	refs_are_atomic(&task->cancelled, sizeof(task->cancelled));
	task->refs = 2;
	task->loop = loop;
	task->name = name;
	task->fn = fn;
	task->arg = arg;
	task->drop = drop;
	task->value = ES_NOTHING;
	task->resume.name = name;
	task->resume.run = task_run;
	list_init(&task->in_loop);
	heap_node_init(&task->timer.node);
	task->timer.item = &task->resume;
	task->timer.reserved = true;
	task->f = future_new(loop, name, &task_future_ops, task);
	if (!task->f) {
		memory_free(task);
		return NULL;
	}
	return task;
}

int
es_spawn(es_loop *loop, const char *name, es_task_fn fn, void *arg,
    es_drop drop, es_future **ret_future)
{
	es_task *task;
	es_future *f;
	int r;

	assert(loop && fn);
	if (loop_forked(loop))
		return -ECHILD;
	task = task_new(loop, name, fn, arg, drop);
	if (!task)
		return -ENOMEM;
	f = es_future_ref(task->f); /* it may be over before we return */
	r = task_enlist(task);
	if (r < 0) {
		task->state = TASK_ENDED;
		es_future_unref(f);
		es_future_unref(f);
		task_unref(task);
		return r;
	}
	if (ret_future)
		*ret_future = f;
	else
		es_future_unref(f);
	return 0;
}

es_task *
es_task_current(void)
{
	return loop_here.task;
}

const char *
es_task_name(const es_task *task)
{
	assert(task);
	return task->name;
}

int
es_fail(int code, const char *fmt, ...)
{
	va_list ap;

	assert(code < 0 && fmt);
	if (!loop_here.failure)
		return code;
	va_start(ap, fmt);
	(void)vsnprintf(loop_here.failure->text,
	    sizeof(loop_here.failure->text), fmt, ap); /* cut on purpose */
	va_end(ap);
	return code;
}

bool
es_cancelled(void)
{
	if (loop_here.task)
		return atomic_load(&loop_here.task->cancelled);
	return es_job_cancelled();
}

void
es_uncancel(void)
{
	es_task *task = loop_here.task;

	if (!task)
		return;
	atomic_store(&task->cancelled, false);
	future_forget_asked(task->f);
}

void
es_shield_begin(es_usec most)
{
	es_task *task = loop_here.task;

	assert(most >= 0);
	if (!task)
		return;
	assert(task->shield_count < ES_SHIELDS_MAX);
	task->shields[task->shield_count++] = loop_deadline(most);
}

void
es_shield_end(void)
{
	es_task *task = loop_here.task;

	if (!task)
		return;
	assert(task->shield_count > 0);
	task->shield_count--;
}

void
loop_tasks_cancel(es_loop *loop)
{
	es_loop_assert(loop);
	pthread_mutex_lock(&loop->lock);
	LIST_EACH_SAFE(node, next, &loop->tasks)
	{
		es_task *task = LIST_ENTRY(node, es_task, in_loop);

		if (task->told)
			continue;
		task->told = true;
		atomic_store(&task->cancelled, true);
		if (task->armed && !task->resume.queued)
			loop_append(loop, &task->resume);
	}
	pthread_mutex_unlock(&loop->lock);
}

int
loop_tasks_abandon(es_loop *loop)
{
	struct list *node;
	int left = 0;

	es_loop_assert(loop);
	/* Closed, and this is its thread: nobody else looks at the list. */
	while ((node = list_first(&loop->tasks))) {
		es_task *task = LIST_ENTRY(node, es_task, in_loop);

		list_remove(node);
		pthread_mutex_lock(&task_abandoned.lock);
		list_append(&task_abandoned.tasks, node);
		pthread_mutex_unlock(&task_abandoned.lock);
		loop_report(loop, ES_R_LEFTOVER, task->name, 0, NULL, 0);
		/* Its references stay: with them the loop's struct. */
		(void)future_settle_code(task->f, -ESHUTDOWN);
		left++;
	}
	return left;
}
