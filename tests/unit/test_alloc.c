/*
 * Each allocation of the run-time failed once: the n-th, for every n, until
 * a whole round passes without.  No crash, no leak, and the caller keeps
 * what it owned: what was refused is not dropped, what was accepted is run
 * or dropped once.
 */

#include "tests/unit/loop_rig.h"

static unsigned accepted, refused, ended;

static void
count_end(void *arg)
{
	(void)arg;
	ended++;
}

static int
count_body(void *arg, es_value *ret)
{
	(void)ret;
	count_end(arg);
	return 0;
}

static void
count_done(es_future *f, void *arg)
{
	(void)f;
	count_end(arg);
}

static void
count(int r)
{
	if (r == 0) {
		accepted++;
	} else {
		assert_int_equal(r, -ENOMEM);
		refused++;
	}
}

/* Fails the n-th allocation from here on; whether there was one. */
static bool
round_fails(void (*body)(void), int64_t n)
{
	unsigned fds = rig_count_fds();
	bool failed;

	accepted = refused = ended = 0;
	memory_fail_nth(n);
	body();
	failed = memory_fail_seen();
	memory_fail_nth(0);
	assert_int_equal(rig_count_fds(), fds);
	assert_int_equal(ended, accepted);
	return failed;
}

static void
all_rounds(void (*body)(void))
{
	int64_t n = 1;

	body(); /* what is made once per process is made now */
	while (round_fails(body, n))
		n++;
	assert_true(n > 1);
	assert_int_equal(refused, 0);
}

static void
make_a_loop(void)
{
	es_loop *loop = NULL;
	int r = es_loop_new(&loop, &(es_loop_opts){ .name = "x" });

	if (r < 0) {
		assert_null(loop);
		return;
	}
	rig_turn(loop);
	assert_int_equal(es_loop_close(loop, 0), 0);
	es_loop_unref(loop);
}

static void
loop_new_survives(void **state)
{
	(void)state;
	all_rounds(make_a_loop);
}

static es_loop *given;

static void
submit_everything(void)
{
	es_call *call = NULL;
	es_future *f = NULL;

	count(es_call_soon(given, "x", count_end, NULL, count_end, NULL));
	count(es_call_later(given, 1, "x", count_end, NULL, count_end, &call));
	if (call)
		(void)es_call_cancel(call);
	es_call_unref(call);
	call = NULL;
	count(es_call_later(given, 0, "x", count_end, NULL, count_end, NULL));
	count(es_loop_invoke(given, "x", count_body, NULL, count_end, &f));
	if (f)
		count(es_future_add_done_callback(
		    f, NULL, count_done, NULL, count_end));
	es_future_unref(f);
	f = es_future_new(given);
	if (f) {
		int r = es_future_set_cancel_hook(f, rig_never_done, NULL);

		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(es_future_set_error(f, -EIO, "%d", 1), 0);
		assert_int_equal(es_await(f, 0), -EIO);
	}
	es_future_unref(f);
	rig_turn(given);
	rig_turn(given);
}

static void
submits_survive(void **state)
{
	(void)state;
	given = rig_loop();
	all_rounds(submit_everything);
	rig_end(given);
}

static void
report_unseen(void)
{
	es_future *f = es_future_new(given);

	if (!f)
		return;
	assert_int_equal(es_future_set_error(f, -EIO, "gone"), 0);
	es_future_unref(f); /* told at once where it cannot be posted */
	rig_turn(given);
}

static unsigned tells;

static void
tell(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	(void)loop;
	(void)what;
	(void)message;
	(void)took;
	(void)arg;
	assert_int_equal(kind, ES_R_ERROR);
	assert_int_equal(code, -EIO);
	tells++;
}

static void
unseen_errors_are_told_all_the_same(void **state)
{
	(void)state;
	assert_int_equal(
	    es_loop_new(&given, &(es_loop_opts){ .report = tell }), 0);
	all_rounds(report_unseen);
	/* One by the warm-up, one by each round whose future was made. */
	assert_int_equal(tells, 4);
	rig_end(given);
}

static void
watch_something(void *arg)
{
	es_watch *watch = NULL;
	int r = es_watch_new(given, "x", *(int *)arg, ES_READ | ES_WRITE,
	    (es_watch_fn)(void (*)(void))rig_never, NULL, &watch);

	assert_true(r == 0 || r == -ENOMEM);
	if (watch) {
		r = es_watch_set(watch, ES_READ);
		assert_true(r == 0 || r == -ENOMEM);
	}
	es_watch_free(watch);
}

static void
make_a_watch(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	if (es_call_soon(given, "x", watch_something, &fds[0], NULL, NULL) == 0)
		rig_turn(given);
	close(fds[0]);
	close(fds[1]);
}

static void
watches_survive(void **state)
{
	(void)state;
	given = rig_loop();
	all_rounds(make_a_watch);
	rig_end(given);
}

static void
make_an_executor(void)
{
	es_executor *executor = NULL;
	es_future *f = NULL;
	int r;

	r = es_executor_new(&executor, &(es_executor_opts){ .threads = 2 });
	if (r < 0) {
		assert_null(executor);
		return;
	}
	count(es_executor_submit(
	    executor, 3, "x", count_body, NULL, count_end, given, NULL));
	count(es_executor_submit(
	    executor, 3, "x", count_body, NULL, count_end, NULL, &f));
	if (f)
		assert_int_equal(es_await(f, RIG_PATIENCE), 0);
	es_future_unref(f);
	f = NULL;
	r = es_executor_quiet(executor, NULL, &f);
	assert_true(r == 0 || r == -ENOMEM);
	if (f)
		assert_int_equal(es_await(f, RIG_PATIENCE), 0);
	es_future_unref(f);
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
}

static void
executors_survive(void **state)
{
	(void)state;
	given = rig_loop();
	all_rounds(make_an_executor);
	rig_end(given);
}

static void
make_a_thread(void)
{
	es_loop *loop = NULL;
	es_loop_thread *thread = NULL;

	if (es_loop_new(&loop, NULL) < 0)
		return;
	if (es_loop_thread_start(loop, &thread) == 0)
		assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(loop);
}

static void
threads_survive(void **state)
{
	(void)state;
	all_rounds(make_a_thread);
}

#define MANY 20 /* more than fit on the waiter's stack */

static void
await_many(void)
{
	es_future *f[MANY];
	size_t which, i;
	int r;

	for (i = 0; i < MANY; i++)
		f[i] = es_future_new(NULL);
	for (i = 0; i < MANY && f[i]; i++)
		;
	if (i == MANY) {
		r = es_await_any(f, MANY, 1, &which);
		assert_true(r == -ETIMEDOUT || r == -ENOMEM);
		assert_int_equal(es_future_set_result(f[7], ES_NOTHING), 0);
		assert_int_equal(es_await_any(f, MANY, 1, &which), 0);
		assert_int_equal(which, 7);
	}
	for (i = 0; i < MANY; i++)
		es_future_unref(f[i]);
}

static void
waits_for_many_survive(void **state)
{
	(void)state;
	all_rounds(await_many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loop_new_survives),
		cmocka_unit_test(submits_survive),
		cmocka_unit_test(unseen_errors_are_told_all_the_same),
		cmocka_unit_test(watches_survive),
		cmocka_unit_test(executors_survive),
		cmocka_unit_test(threads_survive),
		cmocka_unit_test(waits_for_many_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
