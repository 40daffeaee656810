/*
 * Loops on their own threads.
 */

#include "tests/unit/loop_rig.h"

static int
give_name(void *arg, es_value *ret)
{
	(void)pthread_getname_np(pthread_self(), arg, 16);
	*ret = ES_INT((int64_t)gettid());
	return 0;
}

static void
what_is_submitted_after_start_runs(void **state)
{
	es_loop *loop = NULL;
	es_loop_thread *thread = NULL;
	char name[16] = "";
	es_future *f = NULL;
	es_value value;

	(void)state;
	assert_int_equal(
	    es_loop_new(&loop, &(es_loop_opts){ .name = "net" }), 0);
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_RUNNING);
	assert_int_equal(
	    es_loop_invoke(loop, "name", give_name, name, NULL, &f), 0);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, &value), 0);
	assert_string_equal(name, "net");
	assert_true(value.i != (int64_t)gettid());
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_CLOSED);
	es_loop_unref(loop);
}

static void
start_stop_at_once_leaves_nothing(void **state)
{
	unsigned fds = rig_count_fds(), i;

	(void)state;
	for (i = 0; i < 500; i++) {
		es_loop *loop = rig_loop();
		es_loop_thread *thread = NULL;

		assert_int_equal(es_loop_thread_start(loop, &thread), 0);
		assert_int_equal(es_loop_thread_stop(thread, 0), 0);
		es_loop_unref(loop);
	}
	assert_int_equal(rig_count_fds(), fds);
}

static void
a_loop_that_runs_or_is_closed_does_not_start(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL, *again = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(es_loop_thread_start(loop, &again), -EBUSY);
	assert_null(again);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	assert_int_equal(es_loop_thread_start(loop, &again), -ESHUTDOWN);
	assert_int_equal(es_loop_thread_stop(NULL, 0), 0);
	es_loop_unref(loop);
}

static int
stop_own_thread(void *arg, es_value *ret)
{
	(void)ret;
	return es_loop_thread_stop(*(es_loop_thread **)arg, 0);
}

static void
DL6_a_loop_thread_cannot_stop_itself(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;
	es_future *f = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(
	    es_loop_invoke(loop, "stop", stop_own_thread, &thread, NULL, &f),
	    0);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, NULL), -EDEADLK);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(loop);
}

static void
a_loop_that_stopped_itself_is_still_joined(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	rig_soon(loop, rig_stop, loop);
	while (es_loop_get_state(loop) == ES_LOOP_RUNNING)
		usleep(100);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_CLOSED);
	es_loop_unref(loop);
}

static int
scoped(es_loop *loop)
{
	ES_SCOPED_THREAD *thread = NULL;

	if (es_loop_thread_start(loop, &thread) < 0)
		return -1;
	rig_soon(loop, rig_note, RIG_LETTER('s'));
	return 7;
}

static void
leaving_the_scope_joins_the_thread(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	assert_int_equal(scoped(loop), 7);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_CLOSED);
	es_loop_unref(loop);
}

struct ticks {
	es_usec worst, last;
	unsigned n;
};

static int
slow_request(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	usleep(200000); /* stands for a request that blocks */
	return 0;
}

static void
a_foreign_main_loop_ticks_while_the_loop_thread_is_busy(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;
	es_future *f = NULL;
	struct ticks t = { .last = clock_now_us() };

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(
	    es_loop_invoke(loop, "slow", slow_request, NULL, NULL, &f), 0);
	while (!es_future_done(f)) { /* its tick never waits for the loop */
		es_usec began = clock_now_us();

		assert_int_equal(es_await(f, 0), -ETIMEDOUT);
		if (clock_now_us() - began > t.worst)
			t.worst = clock_now_us() - began;
		t.n++;
		usleep(10000);
	}
	assert_true(t.n >= 2);
	assert_true(t.worst < ES_MS(150));
	es_future_unref(f);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_submitted_after_start_runs),
		cmocka_unit_test(start_stop_at_once_leaves_nothing),
		cmocka_unit_test(a_loop_that_runs_or_is_closed_does_not_start),
		cmocka_unit_test(DL6_a_loop_thread_cannot_stop_itself),
		cmocka_unit_test(a_loop_that_stopped_itself_is_still_joined),
		cmocka_unit_test(leaving_the_scope_joins_the_thread),
		cmocka_unit_test(
		    a_foreign_main_loop_ticks_while_the_loop_thread_is_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
