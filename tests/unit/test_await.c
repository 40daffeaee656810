/*
 * Waiting for futures: DL1, F7, K14 to K16, X4.
 */

#include "tests/unit/loop_rig.h"

struct waiter {
	es_future *f;
	struct rig_gate *started;
	pthread_t thread;
};

static void
answer_cancel(es_future *f, void *arg)
{
	rig_note(arg);
	assert_int_equal(es_future_set_result(f, ES_INT(1)), 0);
}

struct refusal {
	es_future *pending, *settled;
	size_t which;
	int await, poll, any, take, take_plain, of_settled;
};

static void
refusal_try(void *arg)
{
	struct refusal *r = arg;
	es_future *plain = es_future_new(NULL);

	r->await = es_await(r->pending, ES_FOREVER);
	r->poll = es_await(r->pending, 0);
	r->any = es_await_any(&r->pending, 1, ES_FOREVER, &r->which);
	r->of_settled = es_await(r->settled, ES_FOREVER);
	r->take_plain = es_await_take(plain, 0, NULL);
	r->take = es_await_take(r->pending, ES_S(1), NULL);
}

static void
DL1_waiting_in_a_call_is_refused_unless_settled(void **state)
{
	es_loop *loop = rig_loop();
	struct refusal r = { .pending = es_future_new(loop),
		.settled = es_future_new(loop) };
	es_future *kept = es_future_ref(r.pending);

	(void)state;
	assert_int_equal(es_future_set_result(r.settled, ES_NOTHING), 0);
	rig_soon(loop, refusal_try, &r);
	rig_turn(loop);
	assert_int_equal(r.await, -EDEADLK);
	assert_int_equal(r.poll, -ETIMEDOUT);
	assert_int_equal(r.any, -EDEADLK);
	assert_int_equal(r.of_settled, 0);
	/* The reference is consumed, f asked to cancel. */
	assert_int_equal(r.take, -EDEADLK);
	assert_int_equal(es_future_result(kept, NULL), -ECANCELED);
	assert_int_equal(r.take_plain, -ETIMEDOUT);
	es_future_unref(kept);
	es_future_unref(r.settled);
	rig_end(loop);
}

static void
K14_K15_await_borrows_and_take_owns_on_threads_too(void **state)
{
	es_future *f = es_future_new(NULL), *kept;
	es_value value;

	(void)state;
	assert_int_equal(es_await(f, ES_MS(1)), -ETIMEDOUT);
	assert_false(es_future_done(f));
	kept = es_future_ref(f);
	assert_int_equal(es_await_take(f, ES_MS(1), &value), -ETIMEDOUT);
	assert_int_equal(es_future_result(kept, NULL), -ECANCELED);
	es_future_unref(kept);
	assert_int_equal(es_await_take(NULL, 0, &value), -EINVAL);
}

static void
K15_a_value_that_came_all_the_same_is_returned(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;
	es_future *f = es_future_new(loop);
	es_value value;

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_future_set_cancel_hook(f, answer_cancel, RIG_LETTER('h')), 0);
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(es_await_take(f, ES_MS(5), &value), 0);
	assert_int_equal(value.i, 1);
	rig_expect("h");
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(loop);
}

static void
await_any_gives_the_lowest_settled_one(void **state)
{
	es_future *f[10];
	size_t i, which = 99;

	(void)state;
	for (i = 0; i < 10; i++)
		f[i] = es_future_new(NULL);
	assert_int_equal(es_await_any(f, 10, ES_MS(1), &which), -ETIMEDOUT);
	assert_int_equal(es_await_any(f, 0, ES_MS(1), &which), -EINVAL);
	assert_int_equal(which, 99);
	assert_int_equal(es_future_set_error(f[7], -EIO, NULL), 0);
	assert_int_equal(es_future_set_result(f[4], ES_NOTHING), 0);
	assert_int_equal(es_await_any(f, 10, ES_MS(1), &which), 0);
	assert_int_equal(which, 4);
	assert_int_equal(es_await(f[7], 0), -EIO);
	for (i = 0; i < 10; i++)
		es_future_unref(f[i]);
}

static void *
settle_soon(void *arg)
{
	struct waiter *w = arg;

	(void)rig_pass(w->started, 1);
	(void)es_future_set_result(w->f, ES_NOTHING);
	return NULL;
}

static void
await_any_is_released_by_any_of_many(void **state)
{
	struct rig_gate started = RIG_GATE;
	struct waiter w = { .started = &started };
	es_future *f[20];
	size_t i, which = 99;

	(void)state;
	for (i = 0; i < 20; i++)
		f[i] = es_future_new(NULL);
	w.f = f[13];
	assert_int_equal(pthread_create(&w.thread, NULL, settle_soon, &w), 0);
	rig_open(&started);
	assert_int_equal(es_await_any(f, 20, RIG_PATIENCE, &which), 0);
	assert_int_equal(which, 13);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	for (i = 0; i < 20; i++)
		es_future_unref(f[i]);
}

static void
the_futures_of_the_run_time_cannot_be_set_by_others(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = NULL;

	(void)state;
	assert_int_equal(
	    es_loop_invoke(loop, "x", rig_never_body, NULL, NULL, &f), 0);
	assert_int_equal(es_future_set_result(f, ES_NOTHING), -EPERM);
	assert_int_equal(es_future_set_error(f, -EIO, NULL), -EPERM);
	assert_int_equal(
	    es_future_set_cancel_hook(f, answer_cancel, NULL), -EPERM);
	rig_end(loop);
	assert_int_equal(es_await(f, 0), -ESHUTDOWN);
	es_future_unref(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    DL1_waiting_in_a_call_is_refused_unless_settled),
		cmocka_unit_test(
		    K14_K15_await_borrows_and_take_owns_on_threads_too),
		cmocka_unit_test(
		    K15_a_value_that_came_all_the_same_is_returned),
		cmocka_unit_test(await_any_gives_the_lowest_settled_one),
		cmocka_unit_test(await_any_is_released_by_any_of_many),
		cmocka_unit_test(
		    the_futures_of_the_run_time_cannot_be_set_by_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
