/*
 * Tasks from spawn to end: invariants K1 to K10.
 */

#include "tests/unit/task_rig.h"

struct spawned {
	es_loop *loop;
	es_future *f;
};

static void *
spawn_elsewhere(void *arg)
{
	struct spawned *s = arg;

	if (es_spawn(s->loop, "task", task_note, RIG_LETTER('t'), NULL, &s->f) <
	    0)
		abort();
	return NULL;
}

static void
K1_the_body_starts_in_a_later_iteration(void **state)
{
	struct spawned s = { .loop = loop };
	pthread_t thread;
	es_future *f = spawn(task_note, RIG_LETTER('a'));

	(void)state;
	rig_expect("");
	assert_int_equal(pthread_create(&thread, NULL, spawn_elsewhere, &s), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	rig_expect("");
	rig_turn(loop);
	rig_expect("at");
	es_future_unref(f);
	es_future_unref(s.f);
}

static int
task_wait_note(void *arg, es_value *ret)
{
	int r = es_sleep(ES_MS(5));

	(void)ret;
	rig_note(arg);
	return r;
}

static void
K2_the_loop_keeps_a_task_nobody_else_knows(void **state)
{
	(void)state;
	assert_int_equal(es_spawn(loop, "alone", task_wait_note,
			     RIG_LETTER('k'), NULL, NULL),
	    0);
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	rig_expect("k");
}

static int
task_value(void *arg, es_value *ret)
{
	*ret = ES_PTR(arg, rig_note);
	return 0;
}

static int
task_fail(void *arg, es_value *ret)
{
	*ret = ES_PTR(arg, rig_note);
	return es_fail(-EIO, "disk %d is gone", 3);
}

static int
task_return_cancelled(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return -ECANCELED;
}

static void
K3_how_it_ends_is_how_its_future_settles(void **state)
{
	es_future *f = spawn(task_value, RIG_LETTER('v'));
	es_value value;

	(void)state;
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(es_future_take(f, &value), 0);
	es_future_unref(f);
	rig_expect("");
	es_value_drop(&value);
	rig_expect("v");
	f = spawn(task_fail, RIG_LETTER('w'));
	assert_int_equal(es_loop_run_until(loop, f), -EIO);
	assert_string_equal(es_future_error(f), "disk 3 is gone");
	rig_expect("vw"); /* a failure has no value */
	es_future_unref(f);
	assert_int_equal(run(task_return_cancelled, NULL), -ECANCELED);
}

struct shared {
	int in, out, seen_foreign;
};

static int
task_count(void *arg, es_value *ret)
{
	struct shared *s = arg;
	int i;

	(void)ret;
	for (i = 0; i < 100; i++) {
		if (s->in++ != s->out)
			s->seen_foreign++;
		s->out++; /* nobody else ran between the two */
		if (es_yield() < 0)
			return -EIO;
	}
	return 0;
}

static void
K4_a_task_runs_until_it_waits(void **state)
{
	struct shared s = { 0 };
	es_future *f[10];
	size_t i;

	(void)state;
	for (i = 0; i < 10; i++)
		f[i] = spawn(task_count, &s);
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	assert_int_equal(s.in, 1000);
	assert_int_equal(s.seen_foreign, 0);
	for (i = 0; i < 10; i++) {
		assert_int_equal(es_await(f[i], 0), 0);
		es_future_unref(f[i]);
	}
}

static int
task_thread_id(void *arg, es_value *ret)
{
	pid_t id = gettid();

	(void)arg;
	if (es_sleep(ES_MS(1)) < 0 || gettid() != id)
		return -EIO;
	*ret = ES_INT(id);
	return 0;
}

static void
K5_a_task_stays_on_its_thread(void **state)
{
	(void)state;
	assert_int_equal(run(task_thread_id, NULL), 0);
}

static void
K6_cancelled_before_its_first_step_it_only_drops(void **state)
{
	es_future *f = NULL;

	(void)state;
	assert_int_equal(
	    es_spawn(loop, "x", rig_never_body, RIG_LETTER('d'), rig_note, &f),
	    0);
	assert_int_equal(es_future_cancel(f), 1);
	assert_false(es_future_done(f)); /* it ends on its loop */
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	rig_expect("d");
	assert_int_equal(es_future_cancel(f), 0);
	es_future_unref(f);
}

static int
task_sleep_long(void *arg, es_value *ret)
{
	int r = es_sleep(ES_S(1000));

	(void)ret;
	if (arg)
		*(int *)arg = r;
	rig_note_char('w');
	return r;
}

static void
K7_F10_cancel_ends_a_wait_in_the_next_batch(void **state)
{
	int waited = 1;
	es_future *f = spawn(task_sleep_long, &waited);
	es_loop_stats stats;

	(void)state;
	rig_turn(loop);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.timers, 1);
	assert_int_equal(stats.tasks, 1);
	assert_int_equal(es_future_cancel(f), 1);
	rig_expect("");
	rig_turn(loop);
	rig_expect("w");
	assert_int_equal(waited, -ECANCELED);
	assert_int_equal(es_future_result(f, NULL), -ECANCELED);
	es_loop_get_stats(loop, &stats); /* the sleep's timer is gone */
	assert_int_equal(stats.timers, 0);
	assert_int_equal(stats.tasks, 0);
	es_future_unref(f);
}

static int
task_cancel_self(void *arg, es_value *ret)
{
	es_future **f = arg;

	(void)ret;
	if (es_future_cancel(*f) != 1)
		return -EIO;
	rig_note_char(es_cancelled() ? 'c' : '-');
	return es_sleep(ES_S(1000));
}

static void
K8_cancelled_while_running_the_next_wait_fails(void **state)
{
	es_future *f = NULL;

	(void)state;
	f = spawn(task_cancel_self, &f);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	rig_expect("c");
	es_future_unref(f);
}

static int
task_sticky(void *arg, es_value *ret)
{
	(void)ret;
	if (es_sleep(ES_S(1000)) != -ECANCELED || es_sleep(1) != -ECANCELED ||
	    es_sleep(0) != -ECANCELED || es_yield() != -ECANCELED ||
	    !es_cancelled())
		return -EIO;
	if (es_await(arg, ES_S(1000)) != -ECANCELED)
		return -EIO;
	es_uncancel();
	if (es_cancelled() || es_sleep(1) != 0 || es_yield() != 0)
		return -EIO;
	rig_note_char('u');
	return es_sleep(ES_S(1000)); /* until the next cancel */
}

static void
K9_cancellation_stays_until_it_is_acknowledged(void **state)
{
	es_future *never = es_future_new(loop);
	es_future *f = spawn(task_sticky, never);

	(void)state;
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	while (strcmp(rig_notes.text, "u") != 0)
		rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), -ECANCELED);
	es_future_unref(f);
	es_future_unref(never);
}

struct settled {
	es_future *self, *good, *bad;
};

static int
task_await_settled(void *arg, es_value *ret)
{
	struct settled *s = arg;
	size_t which;

	(void)ret;
	(void)es_future_cancel(s->self);
	if (es_await(s->good, ES_S(1)) != 0 ||
	    es_await(s->bad, ES_S(1)) != -EIO ||
	    es_await_any(&s->bad, 1, ES_S(1), &which) != 0)
		return -EPROTO;
	return es_yield() == -ECANCELED ? 0 : -EPROTO;
}

static void
K10_what_has_settled_is_returned_cancelled_or_not(void **state)
{
	struct settled s = { .good = es_future_new(NULL),
		.bad = es_future_new(NULL) };

	(void)state;
	assert_int_equal(es_future_set_result(s.good, ES_NOTHING), 0);
	assert_int_equal(es_future_set_error(s.bad, -EIO, NULL), 0);
	s.self = spawn(task_await_settled, &s);
	assert_int_equal(es_loop_run_until(loop, s.self), 0);
	es_future_unref(s.self);
	es_future_unref(s.good);
	es_future_unref(s.bad);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(K1_the_body_starts_in_a_later_iteration),
		IN_LOOP(K2_the_loop_keeps_a_task_nobody_else_knows),
		IN_LOOP(K3_how_it_ends_is_how_its_future_settles),
		IN_LOOP(K4_a_task_runs_until_it_waits),
		IN_LOOP(K5_a_task_stays_on_its_thread),
		IN_LOOP(K6_cancelled_before_its_first_step_it_only_drops),
		IN_LOOP(K7_F10_cancel_ends_a_wait_in_the_next_batch),
		IN_LOOP(K8_cancelled_while_running_the_next_wait_fails),
		IN_LOOP(K9_cancellation_stays_until_it_is_acknowledged),
		IN_LOOP(K10_what_has_settled_is_returned_cancelled_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
