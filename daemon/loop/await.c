/*
 * await: es_await and its kin, waits for futures.
 *
 * The waiter is linked in each future, and in the home loop of those that
 * only that loop can settle: when it closes, they cannot settle any more.
 */

#include <assert.h>

#include "daemon/base/memory.h"
#include "daemon/loop/wait.h"

#define AWAIT_ON_STACK_MAX 8 /* more futures at once: their nodes are malloc */

/* One future that somebody waits for. */
struct await_node {
	struct future_waiter waiter;
	struct loop_blocked blocked;
	struct wait *wait;
	bool is_blocked;
};

struct await {
	es_future *const *f;
	size_t n;
	struct await_node *nodes;
	struct wait wait;
};

static void
await_node_wake(struct future_waiter *waiter)
{
	wait_wake(LIST_ENTRY(waiter, struct await_node, waiter)->wait);
}

/*
 * Its producer is its home loop, so that it can never settle once that has
 * closed.  A task need not be told of its own loop's end: it is cancelled.
 */
static bool
await_needs_home(const struct wait *wait, const es_future *f)
{
	return f->home && !(f->ops && f->ops->outlives_loop) &&
	       !(wait->task && wait->task->loop == f->home);
}

/* Index of the first settled one, or n. */
static size_t
await_find_settled(es_future *const *f, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (future_settled(f[i]))
			return i;
	return n;
}

static bool
await_is_closed(const struct await *await)
{
	size_t i;

	for (i = 0; i < await->n; i++)
		if (await->nodes[i].is_blocked &&
		    atomic_load(&await->nodes[i].blocked.closed))
			return true;
	return false;
}

/* A wait_ready_fn. */
static bool
await_ready(void *arg)
{
	struct await *await = arg;

	return await_find_settled(await->f, await->n) < await->n ||
	       await_is_closed(await);
}

static void
await_enter(struct await *await)
{
	size_t i;

	for (i = 0; i < await->n; i++) {
		struct await_node *node = &await->nodes[i];
		es_future *f = await->f[i];

		node->wait = &await->wait;
		/* Settled already: await_ready() sees it. */
		(void)future_add_waiter(f, &node->waiter, await_node_wake);
		node->is_blocked = await_needs_home(&await->wait, f);
		if (!node->is_blocked)
			continue;
		node->blocked.task = await->wait.task;
		node->blocked.parker =
		    await->wait.task ? NULL : &await->wait.parker;
		loop_block(f->home, &node->blocked);
	}
}

static void
await_leave(struct await *await)
{
	size_t i;

	for (i = 0; i < await->n; i++) {
		struct await_node *node = &await->nodes[i];

		(void)future_remove_waiter(await->f[i], &node->waiter);
		if (node->is_blocked)
			loop_unblock(await->f[i]->home, &node->blocked);
	}
}

/* 0: one of them has settled; else why not. */
static int
await_any(es_future *const *f, size_t n, es_usec deadline, bool regardless)
{
	struct await_node on_stack[AWAIT_ON_STACK_MAX];
	struct await await = { .f = f, .n = n, .nodes = on_stack };
	bool closed = false;
	int r;

	if (n > AWAIT_ON_STACK_MAX)
		await.nodes = memory_alloc(n * sizeof(*await.nodes));
	if (!await.nodes)
		return -ENOMEM;
	r = wait_begin(&await.wait, n == 1 ? f[0] : NULL, regardless);
	if (r == 0) {
		await_enter(&await);
		r = wait_pause(&await.wait, deadline, await_ready, &await);
		closed = await_is_closed(&await);
		await_leave(&await);
		wait_end(&await.wait);
	}
	if (await.nodes != on_stack)
		memory_free(await.nodes);
	if (await_find_settled(f, n) < n)
		return 0;
	return r == 0 && closed ? -ESHUTDOWN : r;
}

/* Who was told that the home has closed knows how f will end. */
static int
await_one(es_future *f, es_usec deadline, bool regardless)
{
	int r = await_any(&f, 1, deadline, regardless);

	if (r == -ESHUTDOWN)
		atomic_store(&f->seen, true);
	return r;
}

int
es_await(es_future *f, es_usec timeout)
{
	int r;

	assert(f);
	if (future_forked(f))
		return -ECHILD;
	if (future_settled(f))
		return future_code_seen(f);
	if (timeout <= 0)
		return -ETIMEDOUT;
	r = await_one(f, wait_deadline(timeout), false);
	return r == 0 ? future_code_seen(f) : r;
}

int
es_await_any(es_future *const *f, size_t n, es_usec timeout, size_t *ret_which)
{
	size_t i;
	int r;

	assert(f && ret_which);
	if (n == 0)
		return -EINVAL;
	for (i = 0; i < n; i++)
		if (future_forked(f[i]))
			return -ECHILD;
	i = await_find_settled(f, n);
	if (i == n) {
		if (timeout <= 0)
			return -ETIMEDOUT;
		r = await_any(f, n, wait_deadline(timeout), false);
		if (r < 0)
			return r;
		i = await_find_settled(f, n);
	}
	assert(i < n);
	*ret_which = i;
	return 0;
}

/* The first part of es_await_take(): 0, f has settled, or the reason. */
static int
await_until_taken(es_future *f, es_usec timeout)
{
	int why, r;

	if (future_settled(f))
		return 0;
	why = timeout > 0 ? await_one(f, wait_deadline(timeout), false)
			  : -ETIMEDOUT;
	if (why == 0)
		return 0;
	(void)es_future_cancel(f); /* settled meanwhile: as good */
	if (why != -ETIMEDOUT && why != -ECANCELED)
		return why;
	/* It may be using our stack: now nothing but its end counts. */
	r = future_settled(f) ? 0 : await_one(f, ES_FOREVER, true);
	if (r < 0)
		return r;
	/* A value that came all the same wins; so does f's own failure. */
	if (f->code == 0 || (why == -ETIMEDOUT && f->code != -ECANCELED))
		return 0;
	(void)future_code_seen(f); /* its failure is not what is returned */
	return why;
}

int
es_await_take(es_future *f, es_usec timeout, es_value *ret)
{
	es_value value = ES_NOTHING;
	int r;

	if (!f)
		return -EINVAL;
	if (future_forked(f))
		return -ECHILD;
	r = await_until_taken(f, timeout);
	if (r == 0)
		r = es_future_take(f, &value);
	if (r == 0 && ret)
		*ret = value;
	else
		es_value_drop(&value);
	es_future_unref(f);
	return r;
}
