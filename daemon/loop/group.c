/*
 * group: tasks that end together.
 *
 * A member's end is a done callback on the loop; the group's own fields
 * belong to the loop's thread, so there is nothing to lock.
 */

#include "daemon/loop/group.h"

#include <assert.h>

#include "daemon/base/memory.h"
#include "daemon/loop/wait.h"

struct group_member {
	struct list in_group;
	es_group *group;
	es_future *f; /* one reference */
	es_task_fn fn;
	void *arg;
	es_drop drop;
};

struct es_group {
	es_loop *loop; /* held */
	struct list members LOOP_OWNED;
	size_t count LOOP_OWNED;
	struct wait *closer LOOP_OWNED; /* who waits for the end, or NULL */
	bool cancelled LOOP_OWNED;
	bool closing LOOP_OWNED;
	int first_failure LOOP_OWNED;
	es_future *failed LOOP_OWNED; /* whose that was, one reference */
};

int
es_group_new(es_loop *loop, es_group **ret_group)
{
	es_group *group;

	assert(loop && ret_group);
	if (loop_forked(loop))
		return -ECHILD;
	if (!loop_is_here(loop))
		return loop_misuse("es_group_new");
	group = memory_zalloc(sizeof(*group));
	if (!group)
		return -ENOMEM;
	group->loop = loop_hold(loop);
	list_init(&group->members);
	*ret_group = group;
	return 0;
}

/* The member's body has run, or never will. */
static void
group_member_gone(struct group_member *member)
{
	es_group *group = member->group;

	es_loop_assert(group->loop);
	list_remove(&member->in_group);
	group->count--;
	if (group->count == 0 && group->closer)
		wait_wake(group->closer);
	es_future_unref(member->f);
	memory_free(member);
}

/* The first one is what close returns: its future is kept until then. */
static void
group_member_failed(struct group_member *member, int code)
{
	es_group *group = member->group;

	es_loop_assert(group->loop);
	if (group->first_failure == 0) {
		group->first_failure = code;
		group->failed = es_future_ref(member->f);
	}
	es_group_cancel(group);
}

/* A task's body; its end is the member's. */
static int
group_member_body(void *arg, es_value *ret)
{
	struct group_member *member = arg;
	int r = member->fn(member->arg, ret);

	if (r < 0 && r != -ECANCELED)
		group_member_failed(member, r);
	group_member_gone(member);
	return r;
}

/* Cancelled before it began; or there was no stack for it. */
static void
group_member_drop(void *arg)
{
	struct group_member *member = arg;
	const es_task *task = member->f->producer;

	if (member->drop)
		member->drop(member->arg);
	if (task->code == -ENOMEM)
		group_member_failed(member, -ENOMEM);
	group_member_gone(member);
}

int
es_group_spawn(es_group *group, const char *name, es_task_fn fn, void *arg,
    es_drop drop, es_future **ret_future)
{
	struct group_member *member;
	int r;

	assert(group && fn);
	if (loop_forked(group->loop))
		return -ECHILD;
	if (!loop_is_here(group->loop))
		return loop_misuse("es_group_spawn");
	if (group->closing || group->cancelled)
		return -ESHUTDOWN;
	member = memory_zalloc(sizeof(*member));
	if (!member)
		return -ENOMEM;
	member->group = group;
	member->fn = fn;
	member->arg = arg;
	member->drop = drop;
	list_init(&member->in_group);
	r = es_spawn(group->loop, name, group_member_body, member,
	    group_member_drop, &member->f);
	if (r < 0) {
		memory_free(member);
		return r;
	}
	list_append(&group->members, &member->in_group);
	group->count++;
	if (ret_future)
		*ret_future = es_future_ref(member->f);
	return 0;
}

void
es_group_cancel(es_group *group)
{
	assert(group);
	if (loop_forked(group->loop))
		return;
	es_loop_assert(group->loop);
	group->cancelled = true;
	/* A cancel only asks: no member goes before we are back. */
	LIST_EACH_SAFE(node, next, &group->members)
	(void)es_future_cancel(
	    LIST_ENTRY(node, struct group_member, in_group)->f);
}

/* A wait_ready_fn. */
static bool
group_is_empty(void *arg)
{
	es_group *group = arg;

	es_loop_assert(group->loop);
	return group->count == 0;
}

static bool
group_has_member(const es_group *group, const es_task *task) LOOP_THREAD
{
	LIST_EACH_SAFE(node, next, &group->members)
	if (LIST_ENTRY(node, struct group_member, in_group)->f == task->f)
		return true;
	return false;
}

/* Why the wait ended before all had; they have now. */
static int
group_wait(es_group *group, es_usec timeout) LOOP_THREAD
{
	struct wait wait;
	int why = wait_begin(&wait, NULL, false);

	assert(why == 0); /* a task, and for no future */
	group->closer = &wait;
	why = wait_pause(&wait, wait_deadline(timeout), group_is_empty, group);
	if (why < 0) {
		es_group_cancel(group);
		/* They may be using our stack: nothing but their end counts. */
		wait.regardless = true;
		(void)wait_pause(&wait, ES_FOREVER, group_is_empty, group);
	}
	group->closer = NULL;
	wait_end(&wait);
	return why;
}

int
es_group_close(es_group *group, es_usec timeout)
{
	int why = 0;

	assert(group);
	if (loop_forked(group->loop))
		return -ECHILD;
	if (!loop_is_here(group->loop))
		return loop_misuse("es_group_close");
	if (group->count > 0) {
		if (!loop_here.task || group_has_member(group, loop_here.task))
			return -EDEADLK;
		group->closing = true;
		why = group_wait(group, timeout);
	}
	if (why != -ECANCELED && group->first_failure < 0) {
		why = group->first_failure;
		/* Returned here it is seen; any other is for the reports. */
		atomic_store(&group->failed->seen, true);
	}
	assert(group->count == 0);
	es_future_unref(group->failed);
	loop_release(group->loop);
	loop_free_object(group, sizeof(*group));
	return why;
}
