/*
 * CPython's tests of gather, task groups and runners, ported; each is named
 * after its origin.  Entries 59 to 64 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_tasks.py, test_taskgroups.py, test_runners.py.
 */

#include "tests/unit/oracle_rig.h"
#include "tests/unit/task_rig.h"

#define MEMBERS_MAX 6

/* Futures, and the gather of them; we keep a reference on each. */
struct gathered {
	es_future *f[MEMBERS_MAX], *whole;
	size_t n;
	unsigned called;
};

static void
count_called(es_future *f, void *arg)
{
	assert_true(es_future_done(f));
	++*(unsigned *)arg;
}

static void
gathered_new(struct gathered *g, size_t n, unsigned flags)
{
	es_future *given[MEMBERS_MAX];
	size_t i;

	*g = (struct gathered){ .n = n };
	for (i = 0; i < n; i++) {
		g->f[i] = es_future_new(loop);
		given[i] = es_future_ref(g->f[i]);
	}
	assert_int_equal(es_gather(loop, given, n, flags, &g->whole), 0);
	assert_int_equal(es_future_add_done_callback(
			     g->whole, NULL, count_called, &g->called, NULL),
	    0);
}

static void
gathered_free(struct gathered *g)
{
	size_t i;

	for (i = 0; i < g->n; i++)
		es_future_unref(g->f[i]);
	es_future_unref(g->whole);
}

static void
expect_outcome(struct gathered *g, size_t i, int code, int64_t value)
{
	const es_outcome *outcomes;
	es_value v = ES_NOTHING;

	assert_int_equal(es_future_result(g->whole, &v), 0);
	outcomes = v.p;
	assert_int_equal(outcomes[i].code, code);
	if (code == 0)
		assert_int_equal(outcomes[i].value.i, value);
}

static void
check_success(unsigned flags)
{
	struct gathered g;

	gathered_new(&g, 3, flags);
	assert_int_equal(es_future_set_result(g.f[1], ES_INT(1)), 0);
	assert_int_equal(es_future_set_result(g.f[0], ES_INT(2)), 0);
	oracle_run_briefly(loop);
	assert_int_equal(g.called, 0);
	assert_false(es_future_done(g.whole));
	assert_int_equal(es_future_set_result(g.f[2], ES_INT(3)), 0);
	oracle_run_briefly(loop);
	assert_int_equal(g.called, 1);
	expect_outcome(&g, 0, 0, 2);
	expect_outcome(&g, 1, 0, 1);
	expect_outcome(&g, 2, 0, 3);
	gathered_free(&g);
}

static void
O59_tasks_test_success(void **state)
{
	(void)state;
	check_success(0);
	check_success(ES_GATHER_ALL);
}

static void
O60_tasks_test_return_exceptions(void **state)
{
	struct gathered g;

	(void)state;
	gathered_new(&g, 4, ES_GATHER_ALL);
	assert_int_equal(es_future_set_result(g.f[1], ES_INT(1)), 0);
	assert_int_equal(es_future_set_error(g.f[2], -EDOM, NULL), 0);
	assert_int_equal(es_future_set_result(g.f[0], ES_INT(3)), 0);
	oracle_run_briefly(loop);
	assert_false(es_future_done(g.whole));
	assert_int_equal(es_future_set_error(g.f[3], -EIO, NULL), 0);
	oracle_run_briefly(loop);
	assert_int_equal(g.called, 1);
	expect_outcome(&g, 0, 0, 3);
	expect_outcome(&g, 1, 0, 1);
	expect_outcome(&g, 2, -EDOM, 0);
	expect_outcome(&g, 3, -EIO, 0);
	gathered_free(&g);
}

static void
O60_tasks_test_result_exception_one_cancellation(void **state)
{
	struct gathered g;

	(void)state;
	gathered_new(&g, 6, ES_GATHER_ALL);
	assert_int_equal(es_future_set_result(g.f[0], ES_INT(1)), 0);
	assert_int_equal(es_future_set_error(g.f[1], -EDOM, NULL), 0);
	assert_int_equal(es_future_cancel(g.f[2]), 1);
	oracle_run_briefly(loop);
	assert_false(es_future_done(g.whole));
	assert_int_equal(es_future_set_result(g.f[3], ES_INT(3)), 0);
	assert_int_equal(es_future_cancel(g.f[4]), 1);
	assert_int_equal(es_future_set_error(g.f[5], -EIO, NULL), 0);
	assert_int_equal(es_loop_run_until(loop, g.whole), 0);
	expect_outcome(&g, 0, 0, 1);
	expect_outcome(&g, 1, -EDOM, 0);
	expect_outcome(&g, 2, -ECANCELED, 0);
	expect_outcome(&g, 3, 0, 3);
	expect_outcome(&g, 4, -ECANCELED, 0);
	expect_outcome(&g, 5, -EIO, 0);
	oracle_run_briefly(loop);
	assert_int_equal(g.called, 1);
	gathered_free(&g);
}

static int
slow_to_end(void *arg, es_value *ret)
{
	int r = es_sleep(ORACLE_LONG);

	(void)ret;
	es_shield_begin(ES_S(5));
	assert_int_equal(es_sleep(ORACLE_EPSILON), 0);
	es_shield_end();
	*(bool *)arg = true;
	return r;
}

static int
fail_soon(void *arg, es_value *ret)
{
	int r = es_sleep(ES_MS(1));

	(void)arg;
	(void)ret;
	return r < 0 ? r : es_fail(-EDOM, "division by zero");
}

/*
 * G3, on purpose not as there: the first failure cancels the others, and is
 * the result only when they have ended.  There it is the result at once and
 * the rest runs on, with nobody waiting.
 */
static void
O61_tasks_test_one_exception(void **state)
{
	bool ended = false;
	es_future *f[3], *whole = NULL, *kept;

	(void)state;
	f[0] = es_future_new(loop);
	f[1] = spawn(fail_soon, NULL);
	f[2] = spawn(slow_to_end, &ended);
	kept = es_future_ref(f[0]);
	assert_int_equal(es_gather(loop, f, 3, 0, &whole), 0);
	assert_int_equal(es_loop_run_until(loop, whole), -EDOM);
	assert_string_equal(es_future_error(whole), "division by zero");
	assert_true(ended);
	assert_int_equal(es_future_result(kept, NULL), -ECANCELED);
	es_future_unref(kept);
	es_future_unref(whole);
}

struct broadcast {
	es_future *waiter, *children[2], *gatherer;
	int proof;
};

static int
broadcast_inner(void *arg, es_value *ret)
{
	struct broadcast *b = arg;
	int r = es_await(b->waiter, ES_FOREVER);

	(void)ret;
	if (r == 0)
		b->proof += 1;
	return r;
}

static int
broadcast_outer(void *arg, es_value *ret)
{
	struct broadcast *b = arg;
	es_future *given[] = { es_future_ref(b->children[0]),
		es_future_ref(b->children[1]) };
	int r;

	assert_int_equal(es_gather(loop, given, 2, 0, &b->gatherer), 0);
	r = es_await_take(es_future_ref(b->gatherer), ES_FOREVER, ret);
	if (r == 0)
		b->proof += 100;
	return r;
}

static void
O62_tasks_test_cancellation_broadcast(void **state)
{
	struct broadcast b = { .waiter = es_future_new(loop) };
	es_future *f;
	int i;

	(void)state;
	for (i = 0; i < 2; i++)
		b.children[i] = spawn(broadcast_inner, &b);
	f = spawn(broadcast_outer, &b);
	oracle_run_briefly(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	assert_int_equal(es_future_cancel(b.gatherer), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    es_future_result(b.children[i], NULL), -ECANCELED);
	/* K14: the children had borrowed what they waited for. */
	assert_false(es_future_done(b.waiter));
	oracle_run_briefly(loop);
	assert_int_equal(b.proof, 0);
	for (i = 0; i < 2; i++)
		es_future_unref(b.children[i]);
	es_future_unref(b.gatherer);
	es_future_unref(b.waiter);
	es_future_unref(f);
}

struct runner {
	int sum, cancelled;
};

static int
group_foo(void *arg, es_value *ret)
{
	struct runner *runner = arg;
	int r = es_sleep(ES_S(5));

	(void)ret;
	if (r == -ECANCELED)
		runner->cancelled++;
	else
		runner->sum += 1;
	return r;
}

static void
group_add(es_group *g, es_body_fn fn, void *arg, es_future **ret) LOOP_THREAD
{
	assert_int_equal(es_group_spawn(g, "member", fn, arg, NULL, ret), 0);
}

/* There the body is cancelled too; C: it learns of it from the close. */
static int
run_failing_group(void *arg, es_value *ret)
{
	struct runner *runner = arg;
	es_group *g = NULL;
	int r;

	(void)ret;
	es_loop_assert(loop);
	assert_int_equal(es_group_new(loop, &g), 0);
	group_add(g, fail_soon, NULL, NULL);
	group_add(g, fail_soon, NULL, NULL);
	group_add(g, fail_soon, NULL, NULL);
	group_add(g, group_foo, runner, NULL);
	r = es_group_close(g, ES_FOREVER);
	if (r == 0)
		runner->sum += 10;
	return r;
}

static void
O63_taskgroups_test_cancel_children_on_child_error(void **state)
{
	struct runner runner = { 0 };

	(void)state;
	assert_int_equal(run(run_failing_group, &runner), -EDOM);
	assert_int_equal(runner.sum, 0);
	assert_int_equal(runner.cancelled, 1);
}

static int
run_group_of_five(void *arg, es_value *ret)
{
	es_group *g = NULL;
	int i;

	(void)ret;
	es_loop_assert(loop);
	assert_int_equal(es_group_new(loop, &g), 0);
	for (i = 0; i < 5; i++)
		group_add(g, group_foo, arg, NULL);
	return es_group_close(g, ES_FOREVER);
}

static void
O63_taskgroups_test_cancellation(void **state)
{
	struct runner runner = { 0 };
	es_future *r = spawn(run_group_of_five, &runner);

	(void)state;
	oracle_run_briefly(loop);
	assert_false(es_future_done(r));
	assert_int_equal(es_future_cancel(r), 1);
	assert_int_equal(es_loop_run_until(loop, r), -ECANCELED);
	assert_int_equal(runner.cancelled, 5);
	es_future_unref(r);
}

static int
give_11(void *arg, es_value *ret)
{
	int r = es_sleep(ES_MS(20));

	(void)arg;
	*ret = ES_INT(11);
	return r;
}

static int
run_group_03(void *arg, es_value *ret)
{
	es_future **t = arg;
	es_group *g = NULL;

	(void)ret;
	es_loop_assert(loop);
	assert_int_equal(es_group_new(loop, &g), 0);
	group_add(g, group_foo, &(struct runner){ 0 }, &t[0]);
	assert_int_equal(es_sleep(ES_MS(15)), 0);
	/* One alone is cancelled: the others go on. */
	assert_int_equal(es_future_cancel(t[0]), 1);
	group_add(g, give_11, NULL, &t[1]);
	return es_group_close(g, ES_FOREVER);
}

static void
O63_taskgroups_test_taskgroup_03(void **state)
{
	es_future *t[2] = { NULL };

	(void)state;
	assert_int_equal(run(run_group_03, t), 0);
	assert_int_equal(es_future_result(t[0], NULL), -ECANCELED);
	oracle_expect_int(t[1], 11);
	es_future_unref(t[0]);
	es_future_unref(t[1]);
}

static int
return_42(void *arg, es_value *ret)
{
	int r = es_sleep(0);

	(void)arg;
	*ret = ES_INT(42);
	return r;
}

static void
O64_runners_test_asyncio_run_return(void **state)
{
	es_value value = ES_NOTHING;

	(void)state;
	assert_int_equal(es_run(return_42, NULL, &value), 0);
	assert_int_equal(value.i, 42);
}

static void
O64_runners_test_asyncio_run_raises(void **state)
{
	es_value value = ES_INT(7);

	(void)state;
	assert_int_equal(es_run(fail_soon, NULL, &value), -EDOM);
	assert_int_equal(value.i, 7); /* untouched */
}

static int
run_inside(void *arg, es_value *ret)
{
	return es_run(return_42, arg, ret);
}

static void
O64_runners_test_asyncio_run_from_running_loop(void **state)
{
	(void)state;
	assert_int_equal(es_run(run_inside, NULL, NULL), -EBUSY);
}

struct leftover {
	es_future *f;
	bool fails, ended;
};

static int
leftover(void *arg, es_value *ret)
{
	struct leftover *left = arg;
	int r = es_sleep(ES_MS(100));

	(void)ret;
	left->ended = true;
	return left->fails ? es_fail(-EDOM, "division by zero") : r;
}

static int
leave_over(void *arg, es_value *ret)
{
	struct leftover *left = arg;

	assert_int_equal(es_spawn(es_loop_current(), "leftover", leftover, left,
			     NULL, left->fails ? NULL : &left->f),
	    0);
	*ret = ES_INT(123);
	return es_yield();
}

static void
O64_runners_test_asyncio_run_cancels_hanging_tasks(void **state)
{
	struct leftover left = { 0 };
	es_value value = ES_NOTHING;

	(void)state;
	assert_int_equal(es_run(leave_over, &left, &value), 0);
	assert_int_equal(value.i, 123);
	assert_true(left.ended);
	assert_int_equal(es_future_result(left.f, NULL), -ECANCELED);
	es_future_unref(left.f);
}

static void
note_report(es_loop *from, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	(void)from;
	(void)took;
	if (kind != ES_R_ERROR)
		return;
	rig_expect_name(what, "leftover");
	assert_int_equal(code, -EDOM);
	assert_string_equal(message, "division by zero");
	++*(unsigned *)arg;
}

/* es_run() has no place for a report function; what it does has. */
static void
O64_runners_test_asyncio_run_reports_hanging_tasks_errors(void **state)
{
	unsigned reports = 0;
	es_loop_opts opts = { .report = note_report, .report_arg = &reports };
	struct leftover left = { .fails = true };
	es_loop *own = NULL;
	es_future *f = NULL;

	(void)state;
	assert_int_equal(es_loop_new(&own, &opts), 0);
	assert_int_equal(es_spawn(own, "main", leave_over, &left, NULL, &f), 0);
	assert_int_equal(es_loop_run_until(own, f), 0);
	oracle_expect_int(f, 123);
	es_future_unref(f);
	rig_end(own);
	assert_true(left.ended);
	assert_int_equal(reports, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(O59_tasks_test_success),
		IN_LOOP(O60_tasks_test_return_exceptions),
		IN_LOOP(O60_tasks_test_result_exception_one_cancellation),
		IN_LOOP(O61_tasks_test_one_exception),
		IN_LOOP(O62_tasks_test_cancellation_broadcast),
		IN_LOOP(O63_taskgroups_test_cancel_children_on_child_error),
		IN_LOOP(O63_taskgroups_test_cancellation),
		IN_LOOP(O63_taskgroups_test_taskgroup_03),
		cmocka_unit_test(O64_runners_test_asyncio_run_return),
		cmocka_unit_test(O64_runners_test_asyncio_run_raises),
		cmocka_unit_test(
		    O64_runners_test_asyncio_run_from_running_loop),
		cmocka_unit_test(
		    O64_runners_test_asyncio_run_cancels_hanging_tasks),
		cmocka_unit_test(
		    O64_runners_test_asyncio_run_reports_hanging_tasks_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
