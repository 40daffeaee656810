/*
 * CPython's tests of tasks, ported; each is named after its origin.  Entries
 * 41 to 52 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_tasks.py.
 */

#include "tests/unit/oracle_rig.h"
#include "tests/unit/task_rig.h"

static es_usec
timers_pending(void)
{
	es_loop_stats stats;

	es_loop_get_stats(loop, &stats);
	return (es_usec)stats.timers;
}

static int
sleep_then_12(void *arg, es_value *ret)
{
	int r = es_sleep(*(es_usec *)arg);

	*ret = ES_INT(12);
	return r;
}

static void
cancel_future(void *arg)
{
	assert_int_equal(es_future_cancel(arg), 1);
}

static void
O41_tasks_test_cancel(void **state)
{
	es_usec ten = ES_S(10);
	es_future *t = spawn(sleep_then_12, &ten);

	(void)state;
	rig_soon(loop, cancel_future, t);
	assert_int_equal(es_loop_run_until(loop, t), -ECANCELED);
	assert_true(es_future_done(t));
	assert_int_equal(es_future_result(t, NULL), -ECANCELED);
	assert_int_equal(es_future_cancel(t), 0);
	es_future_unref(t);
}

static int
yield_twice_then_12(void *arg, es_value *ret)
{
	int r = es_yield();

	(void)arg;
	if (r == 0)
		r = es_yield();
	*ret = ES_INT(12);
	return r;
}

static void
O41_tasks_test_cancel_yield(void **state)
{
	es_future *t = spawn(yield_twice_then_12, NULL);

	(void)state;
	rig_turn(loop); /* it begins */
	assert_int_equal(es_future_cancel(t), 1);
	assert_int_equal(es_loop_run_until(loop, t), -ECANCELED);
	assert_int_equal(es_future_cancel(t), 0);
	es_future_unref(t);
}

static int
await_then_12(void *arg, es_value *ret)
{
	int r = es_await(arg, ES_FOREVER);

	*ret = ES_INT(12);
	return r;
}

static void
O41_tasks_test_cancel_inner_future(void **state)
{
	es_future *f = es_future_new(loop), *t = spawn(await_then_12, f);

	(void)state;
	rig_turn(loop); /* it waits */
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, t), -ECANCELED);
	assert_int_equal(es_future_result(f, NULL), -ECANCELED);
	assert_int_equal(es_future_result(t, NULL), -ECANCELED);
	es_future_unref(f);
	es_future_unref(t);
}

/* The futures that a task of the originals awaits, one after the other. */
struct chain {
	es_future *f[3];
	bool uncancels;
	int second, third;
};

static void
chain_new(struct chain *chain)
{
	int i;

	*chain = (struct chain){ .second = 1, .third = 1 };
	for (i = 0; i < 3; i++)
		chain->f[i] = es_future_new(loop);
}

static void
chain_free(struct chain *chain)
{
	int i;

	for (i = 0; i < 3; i++)
		es_future_unref(chain->f[i]);
}

/* await fut: cancelling the waiter cancels it, so it is handed over. */
static int
own(es_future *f)
{
	return es_await_take(es_future_ref(f), ES_FOREVER, NULL);
}

static int
catch_cancel(void *arg, es_value *ret)
{
	struct chain *chain = arg;

	if (own(chain->f[0]) < 0)
		return -EPROTO;
	chain->second = own(chain->f[1]);
	if (chain->second == -ECANCELED)
		*ret = ES_INT(42);
	return 0;
}

static void
O42_tasks_test_cancel_task_catching(void **state)
{
	struct chain chain;
	es_future *t;

	(void)state;
	chain_new(&chain);
	t = spawn(catch_cancel, &chain);
	rig_turn(loop);
	assert_int_equal(es_future_set_result(chain.f[0], ES_NOTHING), 0);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(t), 1);
	assert_int_equal(es_loop_run_until(loop, t), 0);
	assert_int_equal(es_future_result(chain.f[1], NULL), -ECANCELED);
	oracle_expect_int(t, 42);
	es_future_unref(t);
	chain_free(&chain);
}

static int
ignore_cancel(void *arg, es_value *ret)
{
	struct chain *chain = arg;

	if (own(chain->f[0]) < 0)
		return -EPROTO;
	chain->second = own(chain->f[1]);
	if (chain->uncancels)
		es_uncancel();
	chain->third = own(chain->f[2]);
	if (chain->third == 0)
		*ret = ES_INT(42);
	return chain->third;
}

static int
run_ignoring(struct chain *chain)
{
	es_future *t = spawn(ignore_cancel, chain);
	int r;

	rig_turn(loop);
	assert_int_equal(es_future_set_result(chain->f[0], ES_NOTHING), 0);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(t), 1);
	oracle_run_briefly(loop);
	(void)es_future_set_result(chain->f[2], ES_INT(42)); /* or too late */
	r = es_loop_run_until(loop, t);
	es_future_unref(t);
	return r;
}

/*
 * K9, on purpose not as there: a cancel cannot be swallowed by accident.
 * Every further wait fails too, until the task says es_uncancel().
 */
static void
O43_tasks_test_cancel_task_ignoring(void **state)
{
	struct chain chain;

	(void)state;
	chain_new(&chain);
	assert_int_equal(run_ignoring(&chain), -ECANCELED);
	assert_int_equal(chain.second, -ECANCELED);
	assert_int_equal(chain.third, -ECANCELED);
	chain_free(&chain);

	chain_new(&chain);
	chain.uncancels = true;
	assert_int_equal(run_ignoring(&chain), 0);
	assert_int_equal(chain.second, -ECANCELED);
	assert_int_equal(chain.third, 0);
	chain_free(&chain);
}

static int
cancel_self_then_sleep(void *arg, es_value *ret)
{
	es_usec began = clock_now_us();
	int r;

	assert_int_equal(es_future_cancel(*(es_future **)arg), 1);
	assert_true(es_cancelled());
	r = es_sleep(ES_S(100));
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	*ret = ES_INT(12);
	return r;
}

static void
O44_tasks_test_cancel_current_task(void **state)
{
	es_future *t = NULL;

	(void)state;
	t = spawn(cancel_self_then_sleep, &t);
	assert_int_equal(es_loop_run_until(loop, t), -ECANCELED);
	assert_int_equal(es_future_cancel(t), 0);
	es_future_unref(t);
}

static int
cancel_self_then_12(void *arg, es_value *ret)
{
	assert_int_equal(es_future_cancel(*(es_future **)arg), 1);
	*ret = ES_INT(12);
	return 0;
}

/* K13, on purpose not as there: the value has come, so it wins. */
static void
O45_tasks_test_cancel_at_end(void **state)
{
	es_future *t = NULL;

	(void)state;
	t = spawn(cancel_self_then_12, &t);
	assert_int_equal(es_loop_run_until(loop, t), 0);
	oracle_expect_int(t, 12);
	assert_int_equal(es_future_cancel(t), 0);
	es_future_unref(t);
}

static void
O46_tasks_test_sleep_cancel(void **state)
{
	es_usec ten = ES_S(10);
	es_future *t = spawn(oracle_sleep, &ten);

	(void)state;
	rig_turn(loop);
	assert_int_equal(timers_pending(), 1);
	assert_int_equal(es_future_cancel(t), 1);
	rig_turn(loop);
	assert_int_equal(timers_pending(), 0);
	assert_int_equal(es_future_result(t, NULL), -ECANCELED);
	es_future_unref(t);
}

static int
await_sleeper(void *arg, es_value *ret)
{
	es_usec very_long = ES_S(5000);
	es_future *sleeper = spawn(oracle_sleep, &very_long);
	int r;

	(void)arg;
	rig_later(loop, ES_MS(100), cancel_future, sleeper);
	r = es_await(sleeper, ES_FOREVER);
	*ret = ES_INT(r == -ECANCELED ? 'c' : 's');
	es_future_unref(sleeper);
	return 0;
}

static void
O47_tasks_test_task_cancel_sleeping_task(void **state)
{
	es_usec began = clock_now_us();
	es_future *t = spawn(await_sleeper, NULL);

	(void)state;
	assert_int_equal(es_loop_run_until(loop, t), 0);
	oracle_expect_int(t, 'c');
	assert_true(clock_now_us() - began >= ES_MS(100));
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	es_future_unref(t);
}

static int
await_pointed_to(void *arg, es_value *ret)
{
	(void)ret;
	return es_await(*(es_future **)arg, ES_FOREVER);
}

/* DL2 */
static void
O48_tasks_test_task_awaits_on_itself(void **state)
{
	es_future *t = NULL;

	(void)state;
	t = spawn(await_pointed_to, &t);
	assert_int_equal(es_loop_run_until(loop, t), -EDEADLK);
	es_future_unref(t);
}

/* Whoever settles a future holds it: the one that waits may let it go. */
static void
settle_far(void *arg)
{
	assert_int_equal(es_future_set_result(arg, ES_INT(7)), 0);
	es_future_unref(arg);
}

/* Row 34 and L10, on purpose not as there: any future can be awaited. */
static void
O49_tasks_test_other_loop_future(void **state)
{
	es_loop *other = rig_loop();
	es_loop_thread *thread = NULL;
	es_future *f = es_future_new(other);
	es_future *t = spawn(await_pointed_to, &f);

	(void)state;
	assert_int_equal(es_loop_thread_start(other, &thread), 0);
	rig_soon(other, settle_far, es_future_ref(f));
	assert_int_equal(es_loop_run_until(loop, t), 0);
	oracle_expect_int(f, 7);
	es_future_unref(t);
	es_future_unref(f);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(other);
}

static int
sleep_uncancel_sleep(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	if (es_sleep(ES_S(10)) != -ECANCELED)
		return -EPROTO;
	assert_true(es_cancelled());
	es_uncancel();
	assert_false(es_cancelled());
	return es_sleep(ES_S(10));
}

static void
O50_tasks_test_uncancel_basic(void **state)
{
	es_future *t = spawn(sleep_uncancel_sleep, NULL);
	es_usec little = ORACLE_EPSILON;

	(void)state;
	assert_int_equal(run(oracle_sleep, &little), 0);
	assert_int_equal(es_future_cancel(t), 1);
	assert_false(es_future_done(t)); /* asked, not yet cancelled */
	assert_int_equal(run(oracle_sleep, &little), 0);
	assert_false(es_future_done(t));
	assert_int_equal(es_future_cancel(t), 1);
	assert_int_equal(es_loop_run_until(loop, t), -ECANCELED);
	assert_true(es_future_done(t));
	es_future_unref(t);
}

static int
await_first(void *arg, es_value *ret)
{
	size_t which = 99;
	int r = es_await_any(arg, 2, ES_FOREVER, &which);

	*ret = ES_INT((int64_t)which);
	return r;
}

static void
O51_tasks_test_wait_first_completed(void **state)
{
	es_usec ten = ES_S(10), tenth = ES_MS(100);
	es_future *a = spawn(oracle_sleep, &ten);
	es_future *b = spawn(oracle_sleep, &tenth);
	es_future *both[] = { b, a }, *t = spawn(await_first, both);

	(void)state;
	assert_int_equal(es_loop_run_until(loop, t), 0);
	oracle_expect_int(t, 0);
	assert_true(es_future_done(b));
	assert_int_equal(es_future_result(b, NULL), 0);
	assert_false(es_future_done(a));
	assert_int_equal(es_future_cancel(a), 1);
	es_future_unref(a);
	es_future_unref(b);
	es_future_unref(t);
}

struct proof {
	es_future *waiter, *inner;
	int sum;
};

static int
prove_inner(void *arg, es_value *ret)
{
	struct proof *proof = arg;
	int r = es_await(proof->waiter, ES_FOREVER);

	(void)ret;
	if (r == 0)
		proof->sum += 1;
	return r;
}

static int
prove_outer(void *arg, es_value *ret)
{
	struct proof *proof = arg;
	int r = es_await(proof->inner, ES_FOREVER); /* borrows: a shield */

	(void)ret;
	if (r == 0)
		proof->sum += 100;
	return r;
}

/* K14 */
static void
O52_tasks_test_shield_effect(void **state)
{
	struct proof proof = { .waiter = es_future_new(loop) };
	es_future *f;

	(void)state;
	proof.inner = spawn(prove_inner, &proof);
	f = spawn(prove_outer, &proof);
	oracle_run_briefly(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	assert_false(es_future_done(proof.inner));
	assert_int_equal(es_future_set_result(proof.waiter, ES_NOTHING), 0);
	oracle_run_briefly(loop);
	assert_int_equal(proof.sum, 1);
	assert_int_equal(es_future_result(proof.inner, NULL), 0);
	es_future_unref(f);
	es_future_unref(proof.inner);
	es_future_unref(proof.waiter);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(O41_tasks_test_cancel),
		IN_LOOP(O41_tasks_test_cancel_yield),
		IN_LOOP(O41_tasks_test_cancel_inner_future),
		IN_LOOP(O42_tasks_test_cancel_task_catching),
		IN_LOOP(O43_tasks_test_cancel_task_ignoring),
		IN_LOOP(O44_tasks_test_cancel_current_task),
		IN_LOOP(O45_tasks_test_cancel_at_end),
		IN_LOOP(O46_tasks_test_sleep_cancel),
		IN_LOOP(O47_tasks_test_task_cancel_sleeping_task),
		IN_LOOP(O48_tasks_test_task_awaits_on_itself),
		IN_LOOP(O49_tasks_test_other_loop_future),
		IN_LOOP(O50_tasks_test_uncancel_basic),
		IN_LOOP(O51_tasks_test_wait_first_completed),
		IN_LOOP(O52_tasks_test_shield_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
