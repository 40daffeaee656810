/*
 * es_run, es_run_in_executor, and loops that close with tasks: E10, K19,
 * X2, X5.
 */

#include "tests/unit/task_rig.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

struct told {
	unsigned leftover;
	char what[32];
};

static void
tell(es_loop *l, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct told *told = arg;

	(void)l;
	(void)code;
	(void)message;
	(void)took;
	if (kind != ES_R_LEFTOVER)
		return;
	told->leftover++;
	(void)snprintf(told->what, sizeof(told->what), "%s", what);
}

static int
body_seven(void *arg, es_value *ret)
{
	int r = es_sleep(ES_MS(1));

	(void)arg;
	*ret = ES_INT(7);
	return r;
}

static int
body_fail(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return -EIO;
}

static void
a_run_gives_code_and_value_and_leaves_nothing(void **state)
{
	unsigned fds = rig_count_fds(), i;
	es_value value;

	(void)state;
	for (i = 0; i < 100; i++) {
		assert_int_equal(es_run(body_seven, NULL, &value), 0);
		assert_int_equal(value.i, 7);
	}
	assert_int_equal(es_run(body_fail, NULL, NULL), -EIO);
	assert_int_equal(es_run(body_seven, NULL, NULL), 0);
	assert_int_equal(rig_count_fds(), fds);
}

static void *
run_four_times(void *arg)
{
	unsigned *right = arg, i;
	es_value value;

	for (i = 0; i < 4; i++)
		*right += es_run(body_seven, NULL, &value) == 0 && value.i == 7;
	return NULL;
}

static void
four_threads_run_four_times_each(void **state)
{
	unsigned right[4] = { 0 }, i;
	pthread_t threads[4];

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
				     run_four_times, &right[i]),
		    0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(right[i], 4);
	}
}

static int
body_nested(void *arg, es_value *ret)
{
	(void)arg;
	return es_run(body_seven, NULL, ret);
}

static void
a_run_within_a_run_is_refused(void **state)
{
	(void)state;
	assert_int_equal(es_run(body_nested, NULL, NULL), -EBUSY);
}

static int
body_cleans_up(void *arg, es_value *ret)
{
	int r = es_sleep(ES_S(1000));

	(void)ret;
	es_shield_begin(ES_S(10));
	if (es_sleep(ES_MS(2)) == 0)
		rig_note(arg);
	es_shield_end();
	return r;
}

static int
body_leaves_tasks(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	if (es_spawn(es_loop_current(), "left", body_cleans_up, RIG_LETTER('a'),
		NULL, NULL) < 0 ||
	    es_spawn(es_loop_current(), "left", body_cleans_up, RIG_LETTER('b'),
		NULL, NULL) < 0)
		return -EPROTO;
	return es_yield();
}

static int
body_stops_the_loop(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	es_loop_stop(es_loop_current());
	r = es_sleep(ES_S(1000));
	*ret = ES_INT(1);
	return r;
}

static void
what_a_run_left_is_cancelled_and_ends(void **state)
{
	(void)state;
	rig_forget();
	assert_int_equal(es_run(body_leaves_tasks, NULL, NULL), 0);
	rig_expect("ab");
	assert_int_equal(es_run(body_stops_the_loop, NULL, NULL), -ECANCELED);
}

struct on_stack {
	int in, out;
	pid_t thread;
};

static int
job_double(void *arg, es_value *ret)
{
	struct on_stack *s = arg;

	s->out = s->in * 2;
	s->thread = gettid();
	*ret = ES_INT(s->out);
	return 0;
}

static int
task_to_thread(void *arg, es_value *ret)
{
	struct on_stack s = { .in = 21 };
	int r = es_run_in_executor(arg, "double", job_double, &s, ret);

	return r < 0 ? r : s.out == 42 && s.thread != gettid() ? 0 : -EPROTO;
}

static void
E10_a_task_runs_blocking_code_with_no_set_up(void **state)
{
	unsigned before = rig_count_in("/proc/self/task");
	es_executor *executor = NULL;

	(void)state;
	assert_int_equal(run(task_to_thread, NULL), 0);
	assert_true(rig_count_in("/proc/self/task") > before);
	assert_int_equal(es_loop_close(loop, ES_S(10)), 0);
	while (rig_count_in("/proc/self/task") > before)
		sched_yield(); /* joined; the kernel takes its time */
	assert_int_equal(es_executor_new(&executor, NULL), 0);
	assert_int_equal(es_run_in_executor(executor, "double", job_double,
			     &(struct on_stack){ .in = 1 }, NULL),
	    0);
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
}

struct slow_job {
	struct rig_gate started, go;
	bool told;
};

static int
job_slow(void *arg, es_value *ret)
{
	struct slow_job *j = arg;

	(void)ret;
	rig_open(&j->started);
	(void)rig_pass(&j->go, 1);
	j->told = es_job_cancelled();
	rig_note_char('j');
	return 0;
}

static int
task_slow_job(void *arg, es_value *ret)
{
	int r = es_run_in_executor(NULL, "slow", job_slow, arg, NULL);

	(void)ret;
	rig_note_char('t');
	return r;
}

static void
K15_E5_a_cancelled_task_waits_for_its_job(void **state)
{
	struct slow_job j = { .started = RIG_GATE, .go = RIG_GATE };
	es_future *f = spawn(task_slow_job, &j);

	(void)state;
	rig_turn(loop);
	assert_true(rig_pass(&j.started, 1));
	assert_int_equal(es_future_cancel(f), 1);
	rig_turn(loop);
	rig_turn(loop);
	assert_false(es_future_done(f));
	rig_open(&j.go);
	assert_int_equal(es_loop_run_until(loop, f), 0); /* a value came */
	rig_expect("jt");
	assert_true(j.told);
	es_future_unref(f);
}

static int
job_spawn_and_wait(void *arg, es_value *ret)
{
	es_future *f = NULL;
	int r = es_spawn(arg, "add", body_seven, NULL, NULL, &f);

	return r < 0 ? r : es_await_take(f, RIG_PATIENCE, ret);
}

static void
a_worker_spawns_on_the_loop_and_waits(void **state)
{
	es_executor *executor = NULL;
	es_future *f = NULL;
	es_value value;

	(void)state;
	assert_int_equal(
	    es_executor_new(&executor, &(es_executor_opts){ .threads = 1 }), 0);
	assert_int_equal(es_executor_submit(executor, 0, "x",
			     job_spawn_and_wait, loop, NULL, loop, &f),
	    0);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(es_future_take(f, &value), 0);
	assert_int_equal(value.i, 7);
	es_future_unref(f);
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
}

static int
job_sleep(void *arg, es_value *ret)
{
	(void)ret;
	rig_open(arg);
	return es_sleep(ES_S(1000));
}

static void
E4_a_jobs_sleep_ends_at_its_cancel(void **state)
{
	struct rig_gate started = RIG_GATE;
	es_executor *executor = NULL;
	es_future *f = NULL;

	(void)state;
	assert_int_equal(es_executor_new(&executor, NULL), 0);
	assert_int_equal(es_executor_submit(executor, 0, "x", job_sleep,
			     &started, NULL, NULL, &f),
	    0);
	assert_true(rig_pass(&started, 1));
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, NULL), -ECANCELED);
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
}

static void
X2_close_cancels_tasks_and_lets_them_clean_up(void **state)
{
	es_future *f = spawn(body_cleans_up, RIG_LETTER('a')), *g = NULL;

	(void)state;
	rig_turn(loop);
	assert_int_equal(
	    es_spawn(loop, "x", rig_never_body, RIG_LETTER('d'), rig_note, &g),
	    0);
	assert_int_equal(es_loop_close(loop, ES_S(10)), 0);
	rig_expect("da");
	assert_int_equal(es_await(f, 0), -ECANCELED);
	assert_int_equal(es_await(g, 0), -ECANCELED);
	es_future_unref(f);
	es_future_unref(g);
	assert_int_equal(
	    es_spawn(loop, "x", rig_never_body, RIG_LETTER('x'), rig_note, &f),
	    -ESHUTDOWN);
	rig_expect("da");
}

static int
body_submits_while_closing(void *arg, es_value *ret)
{
	int r = es_sleep(ES_S(1000));

	(void)ret;
	if (es_call_soon(arg, "x", rig_note, RIG_LETTER('c'), NULL, NULL) < 0)
		return -EPROTO;
	if (es_spawn(
		arg, "x", rig_never_body, RIG_LETTER('d'), rig_note, NULL) < 0)
		return -EPROTO;
	return r;
}

static void
X2_clean_ups_may_submit_and_what_they_spawn_is_cancelled(void **state)
{
	es_future *f = spawn(body_submits_while_closing, loop);

	(void)state;
	rig_turn(loop);
	assert_int_equal(es_loop_close(loop, ES_S(10)), 0);
	rig_expect("cd");
	assert_int_equal(es_await(f, 0), -ECANCELED);
	es_future_unref(f);
}

static int
task_parent(void *arg, es_value *ret)
{
	es_future *f = NULL;
	int r = es_spawn(loop, "child", body_cleans_up, arg, NULL, &f);

	r = r < 0 ? r : es_await_take(f, ES_FOREVER, ret);
	rig_note_char('p');
	return r;
}

static int
task_parent_quick(void *arg, es_value *ret)
{
	es_future *f = NULL;
	int r = es_spawn(loop, "child", arg ? task_parent_quick : body_seven,
	    NULL, NULL, &f);

	r = r < 0 ? r : es_await_take(f, ES_FOREVER, ret);
	if (r == 0)
		r = es_sleep(ES_S(1000));
	rig_note_char('q');
	return r;
}

static void
X2_without_grace_what_need_not_wait_still_ends(void **state)
{
	es_future *f = spawn(task_parent_quick, loop);

	(void)state;
	while (!es_future_done(f) && rig_notes.len == 0) {
		es_loop_stats stats;

		rig_turn(loop);
		es_loop_get_stats(loop, &stats);
		if (stats.tasks == 2 && stats.timers == 1)
			break; /* the child sleeps long, the parent waits */
	}
	assert_int_equal(es_loop_close(loop, 0), 0);
	rig_expect("qq");
	assert_int_equal(es_await(f, 0), -ECANCELED);
	es_future_unref(f);
}

static void
X2_parents_and_children_end_within_grace(void **state)
{
	es_future *f = spawn(task_parent, RIG_LETTER('c'));

	(void)state;
	rig_turn(loop);
	rig_turn(loop);
	assert_int_equal(es_loop_close(loop, ES_S(10)), 0);
	rig_expect("cp");
	assert_int_equal(es_await(f, 0), -ECANCELED);
	es_future_unref(f);
}

static int
body_will_not_end(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	es_shield_begin(ES_FOREVER);
	while (es_sleep(ES_MS(1)) == 0)
		;
	return 0;
}

static void
X5_X4_what_will_not_end_is_counted_and_named(void **state)
{
	struct told told = { 0 };
	es_loop *l = NULL;
	es_future *f = NULL;
	es_usec began = clock_now_us();

	(void)state;
	assert_int_equal(es_loop_new(&l, &(es_loop_opts){ .report = tell,
					     .report_arg = &told }),
	    0);
	assert_int_equal(
	    es_spawn(l, "stubborn", body_will_not_end, NULL, NULL, &f), 0);
	rig_turn(l);
	assert_int_equal(es_loop_close(l, ES_MS(20)), 1);
	assert_true(clock_now_us() - began >= ES_MS(20));
	assert_int_equal(told.leftover, 1);
	rig_expect_name(told.what, "stubborn");
	assert_int_equal(es_await(f, ES_FOREVER), -ESHUTDOWN);
	es_future_unref(f);
	es_loop_unref(l);
}

static void
X5_X2_a_stuck_job_of_the_own_executor_is_counted(void **state)
{
	static struct slow_job j = { .started = RIG_GATE, .go = RIG_GATE };
	unsigned before = rig_count_in("/proc/self/task");
	struct told told = { 0 };
	es_loop *l = NULL;

	(void)state;
	assert_int_equal(es_loop_new(&l, &(es_loop_opts){ .report = tell,
					     .report_arg = &told }),
	    0);
	assert_int_equal(
	    es_spawn(l, "waits", task_slow_job, &j, NULL, NULL), 0);
	rig_turn(l);
	assert_true(rig_pass(&j.started, 1));
	assert_int_equal(es_loop_close(l, ES_MS(20)), 2); /* task and job */
	assert_int_equal(told.leftover, 2);
	es_loop_unref(l);
	rig_open(&j.go);
	while (rig_count_in("/proc/self/task") > before)
		sched_yield(); /* what was left behind ends by itself */
}

static int
overflow(volatile char *above, unsigned depth)
{
	volatile char frame[512]; /* less than a page: none is stepped over */

	frame[0] = *above;
	return depth == 0 ? 0 : overflow(frame, depth - 1) + frame[0];
}

static int
body_overflows(void *arg, es_value *ret)
{
	volatile char c = 1;

	(void)arg;
	(void)ret;
	return overflow(&c, 1000000);
}

static void
die_of_it(int signo)
{
	(void)signo;
	_exit(42);
}

/* In a child, where there is another stack for the handler. */
static void
overflow_and_die(void)
{
	static char other_stack[64 * 1024];
	stack_t other = { .ss_sp = other_stack,
		.ss_size = sizeof(other_stack) };
	struct sigaction action = { .sa_handler = die_of_it,
		.sa_flags = SA_ONSTACK };

	if (sigaltstack(&other, NULL) < 0 ||
	    sigaction(SIGSEGV, &action, NULL) < 0)
		_exit(1);
	(void)es_run(body_overflows, NULL, NULL);
	_exit(0);
}

static void
K19_a_stack_that_overflows_meets_the_guard_page(void **state)
{
	int status = 0;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		overflow_and_die();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_gives_code_and_value_and_leaves_nothing),
		cmocka_unit_test(four_threads_run_four_times_each),
		cmocka_unit_test(a_run_within_a_run_is_refused),
		cmocka_unit_test(what_a_run_left_is_cancelled_and_ends),
		IN_LOOP(E10_a_task_runs_blocking_code_with_no_set_up),
		IN_LOOP(K15_E5_a_cancelled_task_waits_for_its_job),
		IN_LOOP(a_worker_spawns_on_the_loop_and_waits),
		cmocka_unit_test(E4_a_jobs_sleep_ends_at_its_cancel),
		IN_LOOP(X2_close_cancels_tasks_and_lets_them_clean_up),
		IN_LOOP(
		    X2_clean_ups_may_submit_and_what_they_spawn_is_cancelled),
		IN_LOOP(X2_without_grace_what_need_not_wait_still_ends),
		IN_LOOP(X2_parents_and_children_end_within_grace),
		cmocka_unit_test(X5_X4_what_will_not_end_is_counted_and_named),
		cmocka_unit_test(
		    X5_X2_a_stuck_job_of_the_own_executor_is_counted),
		cmocka_unit_test(
		    K19_a_stack_that_overflows_meets_the_guard_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
