/*
 * How tasks wait: invariants K11 to K13, K17 to K20, DL2, and where waiting
 * is refused.
 */

#include "tests/unit/task_rig.h"

#include <sys/eventfd.h>

struct shielded {
	es_usec capped, nested;
	int in_shield, at_limit, in_nested, after_nested, after;
};

static int
task_shield(void *arg, es_value *ret)
{
	struct shielded *s = arg;
	es_usec began;

	(void)ret;
	if (es_sleep(ES_S(1000)) != -ECANCELED)
		return -EPROTO;
	es_shield_begin(ES_MS(500)); /* a busy machine gets by */
	s->in_shield = es_sleep(ES_MS(2)); /* clean-up may wait */
	began = clock_now_us();
	es_shield_begin(ES_MS(10));
	s->in_nested = es_sleep(ES_S(1000)); /* the earliest limit rules */
	s->nested = clock_now_us() - began;
	es_shield_end();
	s->after_nested = es_sleep(ES_MS(1));
	s->at_limit = es_sleep(ES_S(1000));
	s->capped = clock_now_us() - began;
	es_shield_end();
	s->after = es_sleep(ES_MS(1)); /* the flag counts again */
	return 0;
}

static void
K11_in_a_shield_waits_work_up_to_its_limit(void **state)
{
	struct shielded s = { 0 };
	es_future *f = spawn(task_shield, &s);

	(void)state;
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(s.in_shield, 0);
	assert_int_equal(s.in_nested, -ETIMEDOUT);
	assert_true(s.nested >= ES_MS(10) && s.nested < ES_S(100));
	assert_int_equal(s.after_nested, 0);
	assert_int_equal(s.at_limit, -ETIMEDOUT);
	assert_true(s.capped < ES_S(100));
	assert_int_equal(s.after, -ECANCELED);
	es_future_unref(f);
}

static int
task_await_result(void *arg, es_value *ret)
{
	int r = es_await(arg, ES_S(1000));

	(void)ret;
	rig_note_char(es_cancelled() ? 'c' : '-');
	return r;
}

static int
task_await_deadline(void *arg, es_value *ret)
{
	(void)ret;
	return es_await(arg, ES_MS(1));
}

static void
K12_result_before_cancel_before_deadline(void **state)
{
	es_future *plain = es_future_new(loop), *never = es_future_new(loop);
	es_future *f = spawn(task_await_result, plain);

	(void)state;
	rig_turn(loop);
	/* Both before it runs again: the result, and the flag stays. */
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_future_set_result(plain, ES_NOTHING), 0);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	rig_expect("c");
	es_future_unref(f);
	f = spawn(task_await_deadline, never);
	rig_turn(loop);
	usleep(2000); /* the deadline has passed, and is not seen yet */
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	es_future_unref(f);
	es_future_unref(plain);
	es_future_unref(never);
}

static int
task_value_although_cancelled(void *arg, es_value *ret)
{
	(void)arg;
	if (es_sleep(ES_S(1000)) != -ECANCELED)
		return -EPROTO;
	*ret = ES_INT(42);
	return 0;
}

static void
K13_F9_a_value_wins_over_a_pending_cancel(void **state)
{
	es_future *f = spawn(task_value_although_cancelled, NULL);
	es_value value;

	(void)state;
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(es_future_take(f, &value), 0);
	assert_int_equal(value.i, 42);
	es_future_unref(f);
}

static int
task_yields(void *arg, es_value *ret)
{
	int (*wait)(es_usec) = es_sleep;

	(void)ret;
	rig_note_char('1');
	rig_soon(loop, rig_note, RIG_LETTER('x'));
	if ((arg ? wait(0) : es_yield()) < 0)
		return -EPROTO;
	rig_note_char('2');
	return 0;
}

static void
K17_yield_and_sleep_0_last_exactly_one_iteration(void **state)
{
	es_future *f = spawn(task_yields, NULL);

	(void)state;
	rig_turn(loop);
	rig_expect("1");
	rig_turn(loop);
	rig_expect("1x2");
	es_future_unref(f);
	rig_forget();
	f = spawn(task_yields, loop);
	rig_turn(loop);
	rig_expect("1");
	rig_turn(loop);
	rig_expect("1x2");
	es_future_unref(f);
}

static int
task_await_self(void *arg, es_value *ret)
{
	(void)ret;
	return es_await(*(es_future **)arg, ES_FOREVER);
}

static int
task_await_it(void *arg, es_value *ret)
{
	(void)ret;
	return es_await(*(es_future **)arg, ES_S(1000));
}

static void
K18_DL2_waiting_for_oneself_is_refused(void **state)
{
	es_future *f = NULL;

	(void)state;
	f = spawn(task_await_self, &f);
	assert_int_equal(es_loop_run_until(loop, f), -EDEADLK);
	es_future_unref(f);
}

static void
K18_DL2_who_closes_a_ring_is_told_the_others_go_on(void **state)
{
	es_future *f[3] = { NULL };

	(void)state;
	f[0] = spawn(task_await_it, &f[1]);
	f[1] = spawn(task_await_it, &f[2]);
	f[2] = spawn(task_await_it, &f[0]);
	/* The last one fails, and so, one by one, do those that wait. */
	assert_int_equal(es_loop_run_until(loop, f[0]), -EDEADLK);
	assert_int_equal(es_await(f[1], 0), -EDEADLK);
	assert_int_equal(es_await(f[2], 0), -EDEADLK);
	es_future_unref(f[0]);
	es_future_unref(f[1]);
	es_future_unref(f[2]);
}

static int
deep(int depth)
{
	volatile char frame[256] = { (char)depth };

	if (depth == 0)
		return es_sleep(ES_MS(1));
	return deep(depth - 1) + frame[0] - (char)depth;
}

static int
task_deep(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return deep(40);
}

static void
K19_any_function_below_a_task_may_wait(void **state)
{
	(void)state;
	assert_int_equal(run(task_deep, NULL), 0);
}

static int
task_sleep_50(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return es_sleep(ES_MS(50));
}

static void
many_sleep_at_once(void **state)
{
	es_usec began = clock_now_us(), took;
	es_loop_stats stats;
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_int_equal(
		    es_spawn(loop, "sleeper", task_sleep_50, NULL, NULL, NULL),
		    0);
	rig_turn(loop);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.tasks, 100);
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	took = clock_now_us() - began;
	assert_true(took >= ES_MS(50) && took < ES_MS(50) * 50);
}

static int
task_await_then_sleep(void *arg, es_value *ret)
{
	int r = es_await(arg, ES_S(1000));
	es_usec began = clock_now_us();

	(void)ret;
	es_uncancel();
	/* What woke the first wait must not end this one. */
	if (es_sleep(ES_MS(10)) < 0 || clock_now_us() - began < ES_MS(10))
		return -EPROTO;
	return r;
}

static void
K20_a_wake_up_of_an_earlier_wait_is_used_up(void **state)
{
	es_future *plain = es_future_new(loop);
	es_future *f = spawn(task_await_then_sleep, plain);

	(void)state;
	rig_turn(loop);
	assert_int_equal(es_future_set_result(plain, ES_NOTHING), 0);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	/* The task is gone; nothing comes after it. */
	es_future_unref(f);
	rig_turn(loop);
	es_future_unref(plain);
}

struct reader {
	int fd, result, empty, write;
};

static int
task_read_fd(void *arg, es_value *ret)
{
	struct reader *r = arg;

	(void)ret;
	r->empty = es_await_fd(r->fd, ES_READ, ES_MS(1));
	r->write = es_await_fd(r->fd, ES_WRITE, 0);
	rig_note_char('w');
	r->result = es_await_fd(r->fd, ES_READ, ES_S(1000));
	return 0;
}

static void
a_task_can_wait_for_a_descriptor(void **state)
{
	struct reader r = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	es_future *f = spawn(task_read_fd, &r);

	(void)state;
	while (strcmp(rig_notes.text, "w") != 0)
		rig_turn(loop);
	rig_turn(loop);
	assert_int_equal(r.empty, -ETIMEDOUT);
	assert_int_equal(r.write, ES_WRITE);
	assert_int_equal(r.result, 0);
	assert_int_equal(write(r.fd, &(uint64_t){ 1 }, 8), 8);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(r.result, ES_READ);
	es_future_unref(f);
	f = spawn(task_read_fd, &r);
	r.fd = -1;
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(r.empty, -EINVAL);
	es_future_unref(f);
}

static void
W_a_tasks_waits_are_refused_elsewhere(void **state)
{
	(void)state;
	assert_int_equal(es_yield(), -EPERM);
	assert_int_equal(es_await_fd(0, ES_READ, 0), -EPERM);
	assert_null(es_task_current());
	assert_int_equal(es_sleep(ES_MS(1)), 0); /* a thread just sleeps */
	assert_int_equal(es_fail(-EIO, "nobody hears"), -EIO);
	assert_false(es_cancelled());
	es_uncancel();
	es_shield_begin(1);
	es_shield_end();
	assert_int_equal(
	    es_run_in_executor(NULL, "x", rig_never_body, NULL, NULL), -EPERM);
}

static void
call_waits(void *arg)
{
	int *r = arg;

	r[0] = es_sleep(ES_MS(1));
	r[1] = es_yield();
	r[2] = es_run_in_executor(NULL, "x", rig_never_body, NULL, NULL);
	r[3] = es_sleep(0);
}

static void
W_DL1_a_call_cannot_wait(void **state)
{
	int r[4] = { 0 };

	(void)state;
	rig_soon(loop, call_waits, r);
	rig_turn(loop);
	assert_int_equal(r[0], -EDEADLK);
	assert_int_equal(r[1], -EPERM);
	assert_int_equal(r[2], -EDEADLK);
	assert_int_equal(r[3], -EDEADLK);
}

static int
task_names(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return es_loop_current() == loop &&
		       rig_is_name(es_task_name(es_task_current()), "task")
		   ? 0
		   : -EPROTO;
}

static void
a_task_knows_its_name_and_loop(void **state)
{
	(void)state;
	assert_int_equal(run(task_names, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(K11_in_a_shield_waits_work_up_to_its_limit),
		IN_LOOP(K12_result_before_cancel_before_deadline),
		IN_LOOP(K13_F9_a_value_wins_over_a_pending_cancel),
		IN_LOOP(K17_yield_and_sleep_0_last_exactly_one_iteration),
		IN_LOOP(K18_DL2_waiting_for_oneself_is_refused),
		IN_LOOP(K18_DL2_who_closes_a_ring_is_told_the_others_go_on),
		IN_LOOP(K19_any_function_below_a_task_may_wait),
		IN_LOOP(many_sleep_at_once),
		IN_LOOP(K20_a_wake_up_of_an_earlier_wait_is_used_up),
		IN_LOOP(a_task_can_wait_for_a_descriptor),
		IN_LOOP(W_a_tasks_waits_are_refused_elsewhere),
		IN_LOOP(W_DL1_a_call_cannot_wait),
		IN_LOOP(a_task_knows_its_name_and_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
