/*
 * gather: several futures as one.
 *
 * A member that settles is counted under the gather's lock, on whichever
 * thread that is; what follows - cancelling the others, settling the whole -
 * is done by a call on the home loop, where no future's lock is held.  When
 * the home closes before, it leaves its members alone, for they may never
 * settle, and the whole gets -ESHUTDOWN.
 */

#include <assert.h>
#include <stdio.h>

#include "daemon/base/memory.h"
#include "daemon/loop/group_internal.h"
#include "daemon/loop/task_internal.h"

#define GATHER_DEPTH_MAX 16 /* of gathers of gathers, when looking for rings */

struct gather_member {
	struct future_waiter waiter;
	struct gather *gather;
	es_future *f; /* one reference */
};

/* What the whole's value points into: it keeps the members' values. */
struct gather_value {
	size_t n;
	es_future **f; /* one reference each */
	es_outcome outcomes[];
};

struct gather {
	_Atomic unsigned refs; /* the whole's, the pending members', later's */
	struct loop_item item;
	struct loop_later later; /* how it hears of the home's close */
	es_loop *home; /* held by the whole */
	es_future *whole; /* one reference, until it has settled */
	struct gather_value *value;
	unsigned flags;

	/* Covers the next four.  Free: posted says whether item is queued. */
	pthread_mutex_t lock;
	size_t pending;
	bool posted;
	bool failed;
	int first_failure;

	size_t n;
	struct gather_member members[];
};

static void
gather_unref(struct gather *gather)
{
	size_t i;

	if (!refs_drop(&gather->refs))
		return;
	assert(gather->pending == 0);
	for (i = 0; i < gather->n; i++)
		es_future_unref(gather->members[i].f);
	(void)pthread_mutex_destroy(&gather->lock); /* nobody holds it */
	memory_free(gather->value);
	loop_free_object(gather, sizeof(*gather));
}

static void
gather_value_drop(void *p)
{
	struct gather_value *value =
	    LIST_ENTRY(p, struct gather_value, outcomes);
	size_t i;

	for (i = 0; i < value->n; i++)
		es_future_unref(value->f[i]);
	memory_free(value);
}

/* All have settled.  The outcomes in order, with references of their own. */
static es_value
gather_take_value(struct gather *gather)
{
	struct gather_value *value = gather->value;
	size_t i;

	gather->value = NULL;
	for (i = 0; i < value->n; i++) {
		es_outcome *outcome = &value->outcomes[i];

		value->f[i] = es_future_ref(gather->members[i].f);
		outcome->value = ES_NOTHING;
		outcome->code = es_future_result(value->f[i], &outcome->value);
		if (outcome->code == -EALREADY)
			outcome->code = 0; /* taken by somebody else */
	}
	return ES_PTR(value->outcomes, gather_value_drop);
}

static void
gather_finish(struct gather *gather)
{
	es_future *whole = gather->whole;
	es_value value = gather_take_value(gather);
	int code = gather->failed ? gather->first_failure : 0;
	struct loop_failure failure = { 0 };
	size_t i;

	for (i = 0; code < 0 && i < gather->n; i++) {
		const char *text = es_future_error(gather->members[i].f);

		if (gather->members[i].f->code != code || !text)
			continue;
		(void)snprintf(failure.text, sizeof(failure.text), "%s",
		    text); /* cut on purpose */
		break;
	}
	gather->whole = NULL;
	(void)future_settle_body(whole, code, &value, &failure);
	es_future_unref(whole);
	if (loop_remove_later(gather->home, &gather->later))
		gather_unref(gather); /* the caller has another */
}

/* The home has closed, and did not finish it. */
static void
gather_give_up(struct gather *gather)
{
	es_future *whole = NULL;

	pthread_mutex_lock(&gather->lock);
	if (gather->pending == 0) {
		whole = gather->whole;
		gather->whole = NULL;
	}
	pthread_mutex_unlock(&gather->lock);
	if (!whole)
		return;
	(void)future_settle_code(whole, -ESHUTDOWN); /* nobody else does */
	es_future_unref(whole);
}

/* Each member is left by whoever takes its waiter out. */
static void
gather_leave_members(struct gather *gather)
{
	size_t i;

	for (i = 0; i < gather->n; i++) {
		struct gather_member *member = &gather->members[i];

		if (!future_remove_waiter(member->f, &member->waiter))
			continue;
		pthread_mutex_lock(&gather->lock);
		gather->pending--;
		pthread_mutex_unlock(&gather->lock);
		gather_unref(gather);
	}
	gather_give_up(gather);
}

static void
gather_home_closes(struct loop_item *item, bool closing)
{
	struct gather *gather = LIST_ENTRY(item, struct gather, later.item);

	assert(closing);
	(void)closing;
	gather_leave_members(gather);
	gather_unref(gather);
}

static void
gather_cancel_members(struct gather *gather)
{
	size_t i;

	for (i = 0; i < gather->n; i++)
		(void)es_future_cancel(
		    gather->members[i].f); /* or it is over */
}

/* On the home loop; or, when it closes, on the thread that closes it. */
static void
gather_run(struct loop_item *item, bool closing)
{
	struct gather *gather = LIST_ENTRY(item, struct gather, item);
	bool failed, over;

	loop_item_begin(gather->home, item);
	pthread_mutex_lock(&gather->lock);
	gather->posted = false;
	failed = gather->failed;
	over = gather->pending == 0;
	pthread_mutex_unlock(&gather->lock);
	if (over)
		gather_finish(gather);
	else if (failed && !closing)
		gather_cancel_members(gather);
	gather_unref(gather); /* the queue's */
}

/* The lock is held. */
static void
gather_post(struct gather *gather)
{
	if (gather->posted)
		return;
	refs_take(&gather->refs);
	gather->posted = loop_post(gather->home, &gather->item) == 0;
	if (gather->posted)
		return;
	(void)refs_drop(&gather->refs); /* the member's is still there */
}

static void
gather_member_done(struct gather *gather, int code)
{
	bool failed = code < 0 && !(gather->flags & ES_GATHER_ALL), over;

	pthread_mutex_lock(&gather->lock);
	assert(gather->pending > 0);
	gather->pending--;
	if (failed && !gather->failed) {
		gather->failed = true;
		gather->first_failure = code;
		gather_post(gather);
	} else if (gather->pending == 0) {
		gather_post(gather);
	}
	over = gather->pending == 0 && !gather->posted;
	pthread_mutex_unlock(&gather->lock);
	if (over)
		gather_give_up(gather);
	gather_unref(gather);
}

/* Under the member's lock. */
static void
gather_member_wake(struct future_waiter *waiter)
{
	struct gather_member *member =
	    LIST_ENTRY(waiter, struct gather_member, waiter);

	gather_member_done(member->gather, member->f->code);
}

static int
gather_on_cancel(es_future *whole, void *producer)
{
	struct gather *gather = producer;
	bool over;

	(void)whole;
	pthread_mutex_lock(&gather->lock);
	over = gather->pending == 0;
	pthread_mutex_unlock(&gather->lock);
	if (over)
		return 0;
	gather_cancel_members(gather);
	return 1;
}

static void
gather_release(void *producer)
{
	gather_unref(producer);
}

const struct future_ops gather_future_ops = {
	.cancel = gather_on_cancel,
	.release = gather_release,
};

static bool
gather_leads_to_within(
    const struct gather *gather, const es_task *task, unsigned depth)
{
	size_t i;

	/* A failure may yet cancel the others: then it is no ring. */
	if (!(gather->flags & ES_GATHER_ALL) || depth == 0)
		return false;
	for (i = 0; i < gather->n; i++) {
		const es_future *f = gather->members[i].f;
		bool leads =
		    f->ops == &gather_future_ops
			? gather_leads_to_within(f->producer, task, depth - 1)
			: !future_settled(f) && task_closes_ring(task, f);

		if (leads)
			return true;
	}
	return false;
}

bool
gather_leads_to(const struct gather *gather, const es_task *task)
{
	return gather_leads_to_within(gather, task, GATHER_DEPTH_MAX);
}

static struct gather_value *
gather_value_new(size_t n)
{
	struct gather_value *value = memory_zalloc(
	    sizeof(*value) +
	    n * (sizeof(value->outcomes[0]) + sizeof(es_future *)));

	if (!value)
		return NULL;
	value->n = n;
	value->f = (es_future **)(void *)&value->outcomes[n];
	return value;
}

/* It never came to be: what it has is freed, its members are not touched. */
static void
gather_free_unused(struct gather *gather)
{
	if (gather->whole)
		gather->whole->ops = NULL;
	es_future_unref(gather->whole);
	memory_free(gather->value);
	memory_free(gather);
}

static struct gather *
gather_new(es_loop *home, size_t n, unsigned flags)
{
	struct gather *gather =
	    memory_zalloc(sizeof(*gather) + n * sizeof(gather->members[0]));

	if (!gather)
		return NULL;
	gather->value = gather_value_new(n);
	gather->whole = future_new(home, "gather", &gather_future_ops, gather);
	if (!gather->value || !gather->whole) {
		gather_free_unused(gather);
		return NULL;
	}
	refs_are_atomic(&gather->refs, sizeof(gather->refs));
	gather->refs = 3; /* the whole's, later's, and es_gather()'s own */
	gather->home = home;
	gather->flags = flags;
	gather->item.name = "gather";
	gather->item.run = gather_run;
	gather->later.item.name = "gather";
	gather->later.item.run = gather_home_closes;
	list_init(&gather->later.node);
	(void)pthread_mutex_init(&gather->lock, NULL); /* cannot fail */
	return gather;
}

static void
gather_take_members(struct gather *gather, es_future **f, size_t n)
{
	size_t i;

	gather->n = n;
	gather->pending = n;
	for (i = 0; i < n; i++) {
		list_init(&gather->members[i].waiter.node);
		gather->members[i].gather = gather;
		gather->members[i].f = f[i];
	}
}

int
es_gather(es_loop *home, es_future **f, size_t n, unsigned flags,
    es_future **ret_future)
{
	struct gather *gather;
	size_t i;

	assert((f || n == 0) && ret_future);
	if (!home || (flags & ~ES_GATHER_ALL))
		return -EINVAL;
	if (loop_forked(home))
		return -ECHILD;
	gather = gather_new(home, n, flags);
	if (!gather)
		return -ENOMEM;
	gather_take_members(gather, f, n);
	if (loop_add_later(home, &gather->later) < 0) {
		(void)pthread_mutex_destroy(&gather->lock); /* unused */
		gather_free_unused(gather);
		return -ESHUTDOWN;
	}
	*ret_future = es_future_ref(gather->whole);
	if (n == 0)
		gather_finish(gather);
	/* Each may settle, and everything be over, while we go on. */
	for (i = 0; i < n; i++) {
		refs_take(&gather->refs);
		if (!future_add_waiter(
			f[i], &gather->members[i].waiter, gather_member_wake))
			gather_member_done(gather, f[i]->code);
	}
	if (loop_is_closed(home)) /* meanwhile, it may have missed some */
		gather_leave_members(gather);
	gather_unref(gather);
	return 0;
}
