/*
 * CPython's tests of time-outs, ported; each is named after its origin.
 * Entries 53 to 58 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_waitfor.py.  wait_for() is es_await_take().
 */

#include "tests/unit/oracle_rig.h"
#include "tests/unit/task_rig.h"

/* wait_for(): a task's time-out for another one. */
struct wait_for {
	es_body_fn fn;
	void *arg;
	es_usec timeout;
	bool starts_first; /* the inner task runs before it is waited for */
	es_value value;
};

static int
wait_for(void *arg, es_value *ret)
{
	struct wait_for *w = arg;
	es_future *inner = spawn(w->fn, w->arg);

	(void)ret;
	if (w->starts_first)
		assert_int_equal(es_yield(), 0);
	return es_await_take(inner, w->timeout, &w->value);
}

/* A task that ignores cancels for its time; arg: when it has ended. */
static int
slow_task(void *arg, es_value *ret)
{
	es_usec exit_at = clock_now_us() + ES_MS(200);

	(void)ret;
	while (clock_now_us() < exit_at)
		if (es_sleep(exit_at - clock_now_us()) == -ECANCELED)
			es_uncancel();
	*(bool *)arg = true;
	return 0;
}

static void
O53_waitfor_test_asyncio_wait_for_timeout(void **state)
{
	bool exited = false;
	struct wait_for w = {
		.fn = slow_task, .arg = &exited, .timeout = ES_MS(100)
	};

	(void)state;
	/* It returned after all, and K15 gives what came. */
	assert_int_equal(run(wait_for, &w), 0);
	assert_true(exited);
}

/* What the foo of several tests notes. */
struct foo {
	bool started, running, done;
	int woken;
};

static int
foo(void *arg, es_value *ret)
{
	struct foo *foo = arg;

	foo->started = foo->running = true;
	foo->woken = es_sleep(ORACLE_LONG);
	foo->running = false;
	if (foo->woken < 0)
		return foo->woken;
	*ret = ES_INT(1);
	return 0;
}

static void
O53_waitfor_test_wait_for(void **state)
{
	struct foo f = { 0 };
	struct wait_for w = { .fn = foo, .arg = &f, .timeout = ES_MS(100) };

	(void)state;
	assert_int_equal(run(wait_for, &w), -ETIMEDOUT);
	assert_true(f.started);
	assert_false(f.running);
	assert_int_equal(f.woken, -ECANCELED);
}

static int
take_settled(void *arg, es_value *ret)
{
	return es_await_take(arg, 0, ret);
}

/* test_wait_for_timeout_less_then_0_or_0_future_done */
static void
O54_waitfor_test_wait_for_timeout_0_or_less_future_done(void **state)
{
	es_future *f = es_future_new(loop), *t;

	(void)state;
	assert_int_equal(es_future_set_result(f, ES_INT(5)), 0);
	t = spawn(take_settled, f);
	assert_int_equal(es_loop_run_until(loop, t), 0);
	oracle_expect_int(t, 5);
	es_future_unref(t);
}

/*
 * test_wait_for_timeout_less_then_0_or_0_coroutine_do_not_started
 * K16: what never started never starts.
 */
static void
O54_waitfor_test_wait_for_timeout_0_or_less_do_not_started(void **state)
{
	struct foo f = { 0 };
	struct wait_for w = { .fn = foo, .arg = &f, .timeout = 0 };

	(void)state;
	assert_int_equal(run(wait_for, &w), -ETIMEDOUT);
	assert_false(f.started);
}

/* test_wait_for_timeout_less_then_0_or_0 */
static void
O54_waitfor_test_wait_for_timeout_0_or_less(void **state)
{
	es_usec timeouts[] = { 0, -1 };
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct foo f = { 0 };
		struct wait_for w = { .fn = foo,
			.arg = &f,
			.timeout = timeouts[i],
			.starts_first = true };

		assert_int_equal(run(wait_for, &w), -ETIMEDOUT);
		assert_true(f.started);
		assert_false(f.running);
		assert_int_equal(f.woken, -ECANCELED);
	}
}

static int
clean_up_slowly(void *arg, es_value *ret)
{
	struct foo *foo = arg;

	(void)ret;
	foo->started = true;
	foo->woken = es_sleep(ES_S(10));
	if (foo->woken == -ECANCELED) {
		es_shield_begin(ES_S(5));
		assert_int_equal(es_sleep(ORACLE_EPSILON), 0);
		es_shield_end();
	}
	foo->done = true;
	return foo->woken;
}

static void
O55_waitfor_test_wait_for_waits_for_task_cancellation(void **state)
{
	struct foo f = { 0 };
	struct wait_for w = {
		.fn = clean_up_slowly, .arg = &f, .timeout = ORACLE_EPSILON
	};

	(void)state;
	assert_int_equal(run(wait_for, &w), -ETIMEDOUT);
	assert_true(f.done);
	assert_int_equal(f.woken, -ECANCELED);
}

/* test_wait_for_waits_for_task_cancellation_w_timeout_0 */
static void
O55_waitfor_test_wait_for_waits_for_task_w_timeout_0(void **state)
{
	struct foo f = { 0 };
	struct wait_for w = { .fn = clean_up_slowly,
		.arg = &f,
		.timeout = 0,
		.starts_first = true };

	(void)state;
	assert_int_equal(run(wait_for, &w), -ETIMEDOUT);
	assert_true(f.done);
	assert_int_equal(f.woken, -ECANCELED);
}

static int
return_42_when_cancelled(void *arg, es_value *ret)
{
	int r = es_sleep(ES_S(10));

	(void)arg;
	*ret = ES_INT(42);
	return r == -ECANCELED ? 0 : -EPROTO;
}

static void
O56_waitfor_test_wait_for_cancellation_race_condition(void **state)
{
	struct wait_for w = { .fn = return_42_when_cancelled,
		.timeout = ORACLE_EPSILON };

	(void)state;
	assert_int_equal(run(wait_for, &w), 0);
	assert_int_equal(w.value.i, 42);
}

/* The same, and the waiter is cancelled instead of out of time: K15. */
static void
O56_waitfor_test_wait_for_cancel_suppressed(void **state)
{
	struct wait_for w = { .fn = return_42_when_cancelled,
		.timeout = ORACLE_LONG };
	es_future *t = spawn(wait_for, &w);

	(void)state;
	oracle_run_briefly(loop);
	assert_int_equal(es_future_cancel(t), 1);
	assert_int_equal(es_loop_run_until(loop, t), 0);
	assert_int_equal(w.value.i, 42);
	es_future_unref(t);

	w = (struct wait_for){ .fn = return_42_when_cancelled,
		.timeout = ES_MS(100) };
	assert_int_equal(run(wait_for, &w), 0);
	assert_int_equal(w.value.i, 42);
}

struct late {
	es_future *inner; /* given away */
	int waited, slept;
	bool reached_end;
};

static int
wait_then_sleep(void *arg, es_value *ret)
{
	struct late *late = arg;

	(void)ret;
	late->waited = es_await_take(late->inner, ES_S(100), NULL);
	late->slept = es_sleep(ES_S(1));
	if (late->slept < 0)
		return late->slept;
	late->reached_end = true;
	return 0;
}

/*
 * K12: the value and the cancel come together.  The wait gives the value, the
 * cancel stays for the next wait; wait_for() had lost it.
 */
static void
O57_waitfor_test_wait_for_issue86296(void **state)
{
	struct late late = { .inner = es_future_new(loop) };
	es_future *inner = es_future_ref(late.inner), *t;

	(void)state;
	t = spawn(wait_then_sleep, &late);
	rig_turn(loop); /* it waits */
	assert_int_equal(es_future_set_result(inner, ES_INT(1)), 0);
	assert_int_equal(es_future_cancel(t), 1);
	assert_int_equal(es_loop_run_until(loop, t), -ECANCELED);
	assert_int_equal(late.waited, 0);
	assert_int_equal(late.slept, -ECANCELED);
	assert_false(late.reached_end);
	es_future_unref(inner);
	es_future_unref(t);
}

struct blocking {
	es_future *task;
	es_usec timeout;
};

static int
block(void *arg, es_value *ret)
{
	es_future *f = es_future_new(loop);
	int r = es_await(f, ES_FOREVER); /* its result is never set */

	(void)arg;
	(void)ret;
	es_future_unref(f);
	return r;
}

static int
wait_for_blocking(void *arg, es_value *ret)
{
	struct blocking *b = arg;

	return es_await_take(es_future_ref(b->task), b->timeout, ret);
}

static void
cancel_future(void *arg)
{
	assert_int_equal(es_future_cancel(arg), 1);
}

/* Cancelling the wait cancels the task, too. */
static void
check_cancel_wait_for(es_usec timeout)
{
	struct blocking b = { .task = spawn(block, NULL), .timeout = timeout };
	es_future *wait = spawn(wait_for_blocking, &b);

	rig_soon(loop, cancel_future, wait);
	rig_turn(loop);
	if (!es_future_done(wait))
		assert_int_equal(es_loop_run_until(loop, wait), -ECANCELED);
	assert_int_equal(es_future_result(wait, NULL), -ECANCELED);
	assert_int_equal(es_future_result(b.task, NULL), -ECANCELED);
	es_future_unref(wait);
	es_future_unref(b.task);
}

static void
O58_waitfor_test_cancel_blocking_wait_for(void **state)
{
	(void)state;
	check_cancel_wait_for(ES_FOREVER);
}

static void
O58_waitfor_test_cancel_wait_for(void **state)
{
	(void)state;
	check_cancel_wait_for(ES_S(60));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(O53_waitfor_test_asyncio_wait_for_timeout),
		IN_LOOP(O53_waitfor_test_wait_for),
		IN_LOOP(
		    O54_waitfor_test_wait_for_timeout_0_or_less_future_done),
		IN_LOOP(
		    O54_waitfor_test_wait_for_timeout_0_or_less_do_not_started),
		IN_LOOP(O54_waitfor_test_wait_for_timeout_0_or_less),
		IN_LOOP(O55_waitfor_test_wait_for_waits_for_task_cancellation),
		IN_LOOP(O55_waitfor_test_wait_for_waits_for_task_w_timeout_0),
		IN_LOOP(O56_waitfor_test_wait_for_cancellation_race_condition),
		IN_LOOP(O56_waitfor_test_wait_for_cancel_suppressed),
		IN_LOOP(O57_waitfor_test_wait_for_issue86296),
		IN_LOOP(O58_waitfor_test_cancel_blocking_wait_for),
		IN_LOOP(O58_waitfor_test_cancel_wait_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
