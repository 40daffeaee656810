/*
 * Closing a loop: invariants X1 to X8.
 */

#include "tests/unit/loop_rig.h"

#include <sched.h>

static void
X1_closing_twice_is_fine(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_loop_close(loop, ES_S(1)), 0);
	es_loop_unref(loop);
}

struct tries {
	es_loop *loop;
	es_watch *watch;
	int soon, later, invoke, callback, watching, signal, hooks;
};

static void
tries_all(void *arg)
{
	struct tries *t = arg;
	es_future *f = es_future_new(NULL), *g = NULL;

	t->soon = es_call_soon(t->loop, "x", rig_stop, NULL, NULL, NULL);
	t->later = es_call_later(t->loop, 1, "x", rig_stop, NULL, NULL, NULL);
	t->invoke =
	    es_loop_invoke(t->loop, "x", rig_never_body, NULL, NULL, &g);
	t->callback =
	    es_future_add_done_callback(f, t->loop, rig_never_done, NULL, NULL);
	t->hooks = es_loop_set_hooks(t->loop, NULL, NULL, NULL);
	es_future_unref(f);
}

static void
X2_X3_every_submit_after_close_is_refused(void **state)
{
	struct tries t = { .loop = rig_loop() };

	(void)state;
	assert_int_equal(es_loop_close(t.loop, 0), 0);
	tries_all(&t);
	assert_int_equal(t.soon, -ESHUTDOWN);
	assert_int_equal(t.later, -ESHUTDOWN);
	assert_int_equal(t.invoke, -ESHUTDOWN);
	assert_int_equal(t.callback, -ESHUTDOWN);
	assert_int_equal(t.hooks, -ESHUTDOWN);
	es_loop_unref(t.loop);
}

static void
X3_drops_at_close_cannot_submit_either(void **state)
{
	struct tries t = { .loop = rig_loop() };

	(void)state;
	assert_int_equal(
	    es_call_soon(t.loop, "x", rig_never, &t, tries_all, NULL), 0);
	assert_int_equal(es_loop_close(t.loop, 0), 0);
	assert_int_equal(t.soon, -ESHUTDOWN);
	assert_int_equal(t.later, -ESHUTDOWN);
	assert_int_equal(t.invoke, -ESHUTDOWN);
	assert_int_equal(t.callback, -ESHUTDOWN);
	es_loop_unref(t.loop);
}

struct waiter {
	es_future *f;
	struct rig_gate started;
	int result;
	pthread_t thread;
};

static void *
wait_for_ever(void *arg)
{
	struct waiter *w = arg;

	rig_open(&w->started);
	w->result = es_await(w->f, ES_FOREVER);
	return NULL;
}

static void
X4_no_thread_is_left_waiting(void **state)
{
	es_loop *loop = rig_loop();
	struct waiter waiters[3];
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		waiters[i] = (struct waiter){ .started = RIG_GATE };
		if (i < 2)
			waiters[i].f = es_future_new(loop);
		else
			assert_int_equal(
			    es_loop_invoke(loop, "x", rig_never_body, NULL,
				NULL, &waiters[i].f),
			    0);
		assert_int_equal(pthread_create(&waiters[i].thread, NULL,
				     wait_for_ever, &waiters[i]),
		    0);
		assert_true(rig_pass(&waiters[i].started, 1));
	}
	assert_int_equal(es_loop_close(loop, 0), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
		assert_int_equal(waiters[i].result, -ESHUTDOWN);
		/* Nor does a late one begin to wait. */
		assert_int_equal(
		    es_await(waiters[i].f, ES_FOREVER), -ESHUTDOWN);
		es_future_unref(waiters[i].f);
	}
	es_loop_unref(loop);
}

static int
give_one(void *arg, es_value *ret)
{
	struct rig_gate *gate = arg;

	(void)rig_pass(gate, 1);
	*ret = ES_INT(1);
	return 0;
}

static void
note_done(es_future *f, void *arg)
{
	(void)f;
	rig_note(arg);
}

static void
X8_a_jobs_result_outlives_the_loop(void **state)
{
	struct rig_gate gate = RIG_GATE;
	es_loop *loop = rig_loop();
	es_executor *executor = NULL;
	es_future *f = NULL;
	es_value value;

	(void)state;
	rig_forget();
	assert_int_equal(es_executor_new(&executor, NULL), 0);
	assert_int_equal(es_executor_submit(executor, 0, "one", give_one, &gate,
			     NULL, loop, &f),
	    0);
	assert_int_equal(es_future_add_done_callback(
			     f, NULL, note_done, RIG_LETTER('x'), rig_note),
	    0);
	assert_int_equal(es_loop_close(loop, 0), 0);
	rig_expect("x"); /* dropped, by the thread that closes */
	rig_forget();
	rig_open(&gate);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, &value), 0);
	assert_int_equal(value.i, 1);
	rig_expect("");
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
	es_loop_unref(loop);
}

static void
X6_descriptors_are_as_before(void **state)
{
	unsigned fds = rig_count_fds(), i;

	(void)state;
	for (i = 0; i < 50; i++) {
		es_loop *loop = rig_loop();

		rig_turn(loop);
		assert_true(rig_count_fds() > fds);
		assert_int_equal(es_loop_close(loop, 0), 0);
		assert_int_equal(rig_count_fds(), fds);
		es_loop_unref(loop);
	}
}

struct late {
	es_loop *loop; /* one reference */
	_Atomic unsigned accepted, ran, dropped;
	pthread_t thread;
};

static struct late late[4];

static void
late_run(void *arg)
{
	atomic_fetch_add(&((struct late *)arg)->ran, 1);
}

static void
late_drop(void *arg)
{
	atomic_fetch_add(&((struct late *)arg)->dropped, 1);
}

static void *
late_submit(void *arg)
{
	struct late *l = arg;
	int r;

	while ((r = es_call_soon(
		    l->loop, "late", late_run, l, late_drop, NULL)) == 0) {
		atomic_fetch_add(&l->accepted, 1);
		/* No flood: the loop has to get to its close. */
		while (l->accepted - l->ran - l->dropped > 1000)
			sched_yield();
	}
	assert_int_equal(r, -ESHUTDOWN);
	es_loop_unref(l->loop);
	return NULL;
}

static void
X3_X7_C2_four_threads_submit_while_it_closes(void **state)
{
	unsigned round, i;

	(void)state;
	for (round = 0; round < 20; round++) {
		es_loop *loop = rig_loop();
		es_loop_thread *thread = NULL;

		assert_int_equal(es_loop_thread_start(loop, &thread), 0);
		for (i = 0; i < 4; i++) {
			memset(&late[i], 0, sizeof(late[i]));
			late[i].loop = es_loop_ref(loop);
			assert_int_equal(pthread_create(&late[i].thread, NULL,
					     late_submit, &late[i]),
			    0);
		}
		while (atomic_load(&late[round % 4].ran) < 100)
			;
		assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
		es_loop_unref(loop);
		for (i = 0; i < 4; i++) {
			assert_int_equal(pthread_join(late[i].thread, NULL), 0);
			assert_int_equal(
			    late[i].ran + late[i].dropped, late[i].accepted);
		}
	}
}

static void
F13_a_future_keeps_its_homes_struct(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	es_loop_unref(loop);
	assert_int_equal(es_await(f, ES_FOREVER), -ESHUTDOWN);
	assert_int_equal(es_future_set_result(f, ES_INT(3)), 0);
	assert_int_equal(es_await(f, 0), 0);
	es_future_unref(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(X1_closing_twice_is_fine),
		cmocka_unit_test(X2_X3_every_submit_after_close_is_refused),
		cmocka_unit_test(X3_drops_at_close_cannot_submit_either),
		cmocka_unit_test(X4_no_thread_is_left_waiting),
		cmocka_unit_test(X8_a_jobs_result_outlives_the_loop),
		cmocka_unit_test(X6_descriptors_are_as_before),
		cmocka_unit_test(X3_X7_C2_four_threads_submit_while_it_closes),
		cmocka_unit_test(F13_a_future_keeps_its_homes_struct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
