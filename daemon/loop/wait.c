/*
 * wait: es_await and its kin.
 *
 * - A thread sleeps on a parker that the future wakes, the home loop when it
 *   closes, or, for a job, the one who cancels it.
 * - In a call on a running loop there is nothing to sleep on: the loop
 *   itself would have to go on.  -EDEADLK, at once.
 * - Whatever ended the wait, a result that is there wins.
 */

#include "daemon/loop/wait.h"

#include <assert.h>

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"

#define WAIT_ON_STACK_MAX 8 /* more futures at once: their nodes are malloc */

/* One future that one thread waits for. */
struct wait_node {
	struct future_waiter waiter;
	struct loop_blocked blocked;
	struct parker *parker;
	bool is_blocked;
};

es_usec
wait_deadline(es_usec timeout)
{
	return loop_deadline(timeout > 0 ? timeout : 0);
}

static void
wait_node_wake(struct future_waiter *waiter)
{
	parker_wake(LIST_ENTRY(waiter, struct wait_node, waiter)->parker,
	    PARKER_SETTLED);
}

/* Its producer is its home loop, so that it can never settle once closed. */
static bool
wait_needs_home(const es_future *f)
{
	return f->home && !(f->ops && f->ops->outlives_loop);
}

/* Index of the first settled one, or n. */
static size_t
wait_find_settled(es_future *const *f, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (future_settled(f[i]))
			return i;
	return n;
}

/* 0; -ESHUTDOWN: a home loop is closed.  All nodes can be left. */
static int
wait_enter(
    es_future *const *f, size_t n, struct wait_node *node, struct parker *p)
{
	int r = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		node[i].parker = p;
		node[i].is_blocked = false;
		list_init(&node[i].waiter.node);
	}
	for (i = 0; i < n && r == 0; i++) {
		if (!future_add_waiter(f[i], &node[i].waiter, wait_node_wake))
			parker_wake(p, PARKER_SETTLED);
		if (!wait_needs_home(f[i]))
			continue;
		node[i].blocked.parker = p;
		r = loop_block(f[i]->home, &node[i].blocked);
		node[i].is_blocked = r == 0;
	}
	return r;
}

static void
wait_leave(es_future *const *f, size_t n, struct wait_node *node)
{
	size_t i;

	for (i = 0; i < n; i++) {
		future_remove_waiter(f[i], &node[i].waiter);
		if (node[i].is_blocked)
			loop_unblock(f[i]->home, &node[i].blocked);
	}
}

/* Until the parker has a reason to end it.  0, or why not. */
static int
wait_park(es_future *const *f, size_t n, struct parker *parker,
    es_usec deadline, bool regardless)
{
	struct job *job = loop_here.job;

	for (;;) {
		unsigned why = job ? job_park(job, parker, deadline)
				   : parker_wait(parker, deadline);

		if (wait_find_settled(f, n) < n)
			return 0;
		if (why & PARKER_CLOSED)
			return -ESHUTDOWN;
		if (job && !regardless && atomic_load(&job->cancelled))
			return -ECANCELED;
		if (why == 0)
			return -ETIMEDOUT;
	}
}

/* 0: one of them has settled.  This thread runs no loop. */
static int
wait_on_thread(es_future *const *f, size_t n, es_usec deadline, bool regardless)
{
	struct wait_node on_stack[WAIT_ON_STACK_MAX], *node = on_stack;
	struct job *job = loop_here.job;
	struct parker parker;
	int r;

	assert(!loop_here.loop);
	if (n > WAIT_ON_STACK_MAX)
		node = memory_alloc(n * sizeof(*node));
	if (!node)
		return -ENOMEM;
	parker_init(&parker);
	r = job ? job_wait_begin(job, n == 1 ? f[0] : NULL, &parker, regardless)
		: 0;
	if (r == 0) {
		r = wait_enter(f, n, node, &parker);
		if (r == 0)
			r = wait_park(f, n, &parker, deadline, regardless);
		wait_leave(f, n, node);
		if (job)
			job_wait_end(job);
	}
	parker_fini(&parker);
	if (node != on_stack)
		memory_free(node);
	return wait_find_settled(f, n) < n ? 0 : r;
}

/* 0: one of them has settled; else why not. */
static int
wait_any(es_future *const *f, size_t n, es_usec deadline, bool regardless)
{
	if (loop_here.loop)
		return -EDEADLK;
	return wait_on_thread(f, n, deadline, regardless);
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
	r = wait_any(&f, 1, wait_deadline(timeout), false);
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
	i = wait_find_settled(f, n);
	if (i == n) {
		if (timeout <= 0)
			return -ETIMEDOUT;
		r = wait_any(f, n, wait_deadline(timeout), false);
		if (r < 0)
			return r;
		i = wait_find_settled(f, n);
	}
	assert(i < n);
	*ret_which = i;
	return 0;
}

/*
 * f was asked to cancel because its waiter has had enough, for the reason
 * why; it is waited for all the same.  0: it has settled.
 */
static int
wait_for_end(es_future *f)
{
	if (future_settled(f))
		return 0;
	return wait_any(&f, 1, ES_FOREVER, true);
}

/* The first part of es_await_take(): 0, f has settled, or the reason. */
static int
wait_until_taken(es_future *f, es_usec timeout)
{
	int why, r;

	if (future_settled(f))
		return 0;
	why = timeout > 0 ? wait_any(&f, 1, wait_deadline(timeout), false)
			  : -ETIMEDOUT;
	if (why == 0)
		return 0;
	(void)es_future_cancel(f); /* settled meanwhile: as good */
	if (why != -ETIMEDOUT && why != -ECANCELED)
		return why;
	r = wait_for_end(f);
	if (r < 0)
		return r;
	/* A value that came all the same wins; so does f's own failure. */
	if (f->code == 0 || (why == -ETIMEDOUT && f->code != -ECANCELED))
		return 0;
	atomic_store(&f->seen, true);
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
	r = wait_until_taken(f, timeout);
	if (r == 0)
		r = es_future_take(f, &value);
	if (r == 0 && ret)
		*ret = value;
	else
		es_value_drop(&value);
	es_future_unref(f);
	return r;
}
