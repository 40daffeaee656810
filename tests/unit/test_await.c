/*
 * Waiting for futures: DL1, F7, K14 to K16, X4.
 */

#include "tests/unit/task_rig.h"

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
	es_future *f = NULL;

	(void)state;
	assert_int_equal(
	    es_loop_invoke(loop, "x", rig_never_body, NULL, NULL, &f), 0);
	assert_int_equal(es_future_set_result(f, ES_NOTHING), -EPERM);
	assert_int_equal(es_future_set_error(f, -EIO, NULL), -EPERM);
	assert_int_equal(
	    es_future_set_cancel_hook(f, answer_cancel, NULL), -EPERM);
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_await(f, 0), -ESHUTDOWN);
	es_future_unref(f);
}

struct borrower {
	es_future *f;
	es_usec timeout;
	int result;
};

static int
task_borrow(void *arg, es_value *ret)
{
	struct borrower *b = arg;

	(void)ret;
	b->result = es_await(b->f, b->timeout);
	return b->result;
}

static int
task_clean_up_slowly(void *arg, es_value *ret)
{
	int r = es_sleep(ES_S(1000));

	(void)ret;
	es_shield_begin(ES_S(10));
	if (es_sleep(ES_MS(10)) < 0)
		r = -EPROTO;
	es_shield_end();
	rig_note(arg);
	return r;
}

static void
K14_await_borrows_timeout_and_cancel_leave_it_alone(void **state)
{
	struct borrower b = { .timeout = ES_MS(1) };
	es_future *f;

	(void)state;
	b.f = spawn(task_clean_up_slowly, RIG_LETTER('x'));
	assert_int_equal(run(task_borrow, &b), -ETIMEDOUT);
	assert_false(es_future_done(b.f));
	b.timeout = ES_S(1000);
	f = spawn(task_borrow, &b);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	es_future_unref(f);
	assert_false(es_future_done(b.f));
	rig_expect("");
	assert_int_equal(es_future_cancel(b.f), 1);
	assert_int_equal(es_loop_run_until(loop, b.f), -ECANCELED);
	rig_expect("x");
	es_future_unref(b.f);
}

struct owner {
	es_future *f;
	es_usec timeout;
	int result;
	int64_t value;
	bool flag;
};

static int
task_own(void *arg, es_value *ret)
{
	struct owner *o = arg;
	es_value value = ES_NOTHING;

	(void)ret;
	o->result = es_await_take(o->f, o->timeout, &value);
	o->value = value.i;
	o->flag = es_cancelled();
	rig_note_char('o');
	return o->result;
}

static void
K15_take_comes_back_only_when_the_child_has_ended(void **state)
{
	struct owner o = { .timeout = ES_MS(1) };
	es_future *f;

	(void)state;
	o.f = spawn(task_clean_up_slowly, RIG_LETTER('c'));
	assert_int_equal(run(task_own, &o), -ETIMEDOUT);
	rig_expect("co"); /* the clean-up first */
	rig_forget();
	o.timeout = ES_S(1000);
	o.f = spawn(task_clean_up_slowly, RIG_LETTER('c'));
	f = spawn(task_own, &o);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	rig_expect("co");
	assert_true(o.flag);
	es_future_unref(f);
}

static int
task_value_at_cancel(void *arg, es_value *ret)
{
	(void)arg;
	if (es_sleep(ES_S(1000)) == -ECANCELED)
		*ret = ES_INT(9);
	return 0;
}

static int
task_fail_at_cancel(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return es_sleep(ES_S(1000)) == -ECANCELED ? -ENOSPC : 0;
}

static void
K15_a_late_value_wins_a_late_failure_is_told(void **state)
{
	struct owner o = { .timeout = ES_MS(1) };
	es_future *f;

	(void)state;
	o.f = spawn(task_value_at_cancel, NULL);
	assert_int_equal(run(task_own, &o), 0);
	assert_int_equal(o.value, 9);
	o.f = spawn(task_fail_at_cancel, NULL);
	assert_int_equal(run(task_own, &o), -ENOSPC);
	/* Cancelled: the value, and the flag stays; a failure is not it. */
	o.timeout = ES_S(1000);
	o.f = spawn(task_value_at_cancel, NULL);
	f = spawn(task_own, &o);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(o.value, 9);
	assert_true(o.flag);
	es_future_unref(f);
	o.f = spawn(task_fail_at_cancel, NULL);
	f = spawn(task_own, &o);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	es_future_unref(f);
}

static int
task_take_at_once(void *arg, es_value *ret)
{
	struct owner *o = arg;
	es_future *settled = es_future_new(NULL);
	es_value value;

	(void)ret;
	if (es_spawn(loop, "x", rig_never_body, RIG_LETTER('d'), rig_note,
		&o->f) < 0)
		return -EPROTO;
	o->result = es_await_take(o->f, 0, NULL);
	if (es_future_set_result(settled, ES_INT(3)) < 0 ||
	    es_await_take(settled, 0, &value) != 0 || value.i != 3)
		return -EPROTO;
	return 0;
}

static void
K16_time_out_0_cancels_what_has_not_settled(void **state)
{
	struct owner o = { 0 };

	(void)state;
	assert_int_equal(run(task_take_at_once, &o), 0);
	assert_int_equal(o.result, -ETIMEDOUT);
	rig_expect("d"); /* it never started */
}

static void *
borrow_on_thread(void *arg)
{
	struct borrower *b = arg;

	b->result = es_await(b->f, RIG_PATIENCE);
	return NULL;
}

static void
F7_tasks_and_threads_wait_for_the_same_future(void **state)
{
	es_future *plain = es_future_new(loop), *f[3];
	struct borrower b[6];
	pthread_t threads[3];
	size_t i;

	(void)state;
	for (i = 0; i < 6; i++)
		b[i] = (struct borrower){
			.f = plain, .timeout = ES_S(1000), .result = 1
		};
	for (i = 0; i < 3; i++) {
		assert_int_equal(
		    pthread_create(&threads[i], NULL, borrow_on_thread, &b[i]),
		    0);
		f[i] = spawn(task_borrow, &b[3 + i]);
	}
	rig_turn(loop);
	assert_int_equal(es_future_set_result(plain, ES_NOTHING), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(es_loop_run_until(loop, f[i]), 0);
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		es_future_unref(f[i]);
	}
	for (i = 0; i < 6; i++)
		assert_int_equal(b[i].result, 0);
	es_future_unref(plain);
}

static void
a_task_may_await_another_loops_task(void **state)
{
	es_loop *other = rig_loop();
	es_loop_thread *thread = NULL;
	struct borrower b = { .timeout = RIG_PATIENCE };

	(void)state;
	assert_int_equal(es_loop_thread_start(other, &thread), 0);
	assert_int_equal(
	    es_spawn(other, "far", task_note, RIG_LETTER('f'), NULL, &b.f), 0);
	assert_int_equal(run(task_borrow, &b), 0);
	rig_expect("f");
	es_future_unref(b.f);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	es_loop_unref(other);
}

static void
X4_a_task_is_released_when_the_other_loop_closes(void **state)
{
	es_loop *other = rig_loop();
	struct borrower b = { .timeout = ES_FOREVER };
	es_future *f;

	(void)state;
	b.f = es_future_new(other);
	f = spawn(task_borrow, &b);
	rig_turn(loop);
	rig_end(other);
	assert_int_equal(es_loop_run_until(loop, f), -ESHUTDOWN);
	es_future_unref(f);
	es_future_unref(b.f);
}

struct some {
	es_future **f;
	size_t n, which;
};

static int
task_await_some(void *arg, es_value *ret)
{
	struct some *s = arg;

	(void)ret;
	return es_await_any(s->f, s->n, ES_S(1000), &s->which);
}

static void
a_task_may_await_any_of_many(void **state)
{
	es_future *plain[20], *f;
	struct some s = { .f = plain, .n = 20, .which = 99 };
	size_t i;

	(void)state;
	for (i = 0; i < 20; i++)
		plain[i] = es_future_new(loop);
	f = spawn(task_await_some, &s);
	rig_turn(loop);
	assert_int_equal(es_future_set_error(plain[11], -EIO, NULL), 0);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(s.which, 11);
	es_future_unref(f);
	s.n = 0;
	assert_int_equal(run(task_await_some, &s), -EINVAL);
	for (i = 0; i < 20; i++)
		es_future_unref(plain[i]);
}

struct ping {
	es_loop *to;
	es_future *stop;
	unsigned count;
};

static int
task_ping(void *arg, es_value *ret)
{
	struct ping *p = arg;

	(void)ret;
	while (!es_future_done(p->stop)) {
		es_future *f;
		int r;

		r = es_spawn(
		    p->to, "pong", task_note, RIG_LETTER('.'), NULL, &f);
		if (r == 0)
			r = es_await_take(f, RIG_PATIENCE, NULL);
		if (r < 0)
			return r;
		p->count++;
	}
	return 0;
}

static void
D6_two_loops_tasks_await_each_others(void **state)
{
	es_loop *a = rig_loop(), *b = rig_loop();
	es_loop_thread *thread_a = NULL, *thread_b = NULL;
	es_future *stop = es_future_new(NULL), *f[4];
	struct ping p[4];
	size_t i;

	(void)state;
	assert_int_equal(es_loop_thread_start(a, &thread_a), 0);
	assert_int_equal(es_loop_thread_start(b, &thread_b), 0);
	for (i = 0; i < 4; i++) {
		p[i] = (struct ping){ .to = i % 2 ? a : b, .stop = stop };
		assert_int_equal(es_spawn(i % 2 ? b : a, "ping", task_ping,
				     &p[i], NULL, &f[i]),
		    0);
	}
	usleep(50000); /* a while of traffic, not a wait for anything */
	assert_int_equal(es_future_set_result(stop, ES_NOTHING), 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(es_await_take(f[i], RIG_PATIENCE, NULL), 0);
		assert_true(p[i].count > 0);
	}
	es_future_unref(stop);
	assert_int_equal(es_loop_thread_stop(thread_a, ES_S(5)), 0);
	assert_int_equal(es_loop_thread_stop(thread_b, ES_S(5)), 0);
	es_loop_unref(a);
	es_loop_unref(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(DL1_waiting_in_a_call_is_refused_unless_settled),
		IN_LOOP(K14_K15_await_borrows_and_take_owns_on_threads_too),
		IN_LOOP(K15_a_value_that_came_all_the_same_is_returned),
		IN_LOOP(await_any_gives_the_lowest_settled_one),
		IN_LOOP(await_any_is_released_by_any_of_many),
		IN_LOOP(the_futures_of_the_run_time_cannot_be_set_by_others),
		IN_LOOP(K14_await_borrows_timeout_and_cancel_leave_it_alone),
		IN_LOOP(K15_take_comes_back_only_when_the_child_has_ended),
		IN_LOOP(K15_a_late_value_wins_a_late_failure_is_told),
		IN_LOOP(K16_time_out_0_cancels_what_has_not_settled),
		IN_LOOP(F7_tasks_and_threads_wait_for_the_same_future),
		IN_LOOP(a_task_may_await_another_loops_task),
		IN_LOOP(X4_a_task_is_released_when_the_other_loop_closes),
		IN_LOOP(a_task_may_await_any_of_many),
		IN_LOOP(D6_two_loops_tasks_await_each_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
