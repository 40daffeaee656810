/*
 * The build for debugging, invariant D5: reports say where what they are about
 * was made, misuse aborts, what was freed is overwritten.  This test is linked
 * with daemon/loop as DEBUG=1 builds it (Makefile).
 */

#ifndef ES_DEBUG
#define ES_DEBUG 1
#endif

#include "tests/unit/loop_rig.h"

#include <signal.h>
#include <sys/wait.h>

struct told {
	unsigned count;
	es_report_kind kind;
	char what[ES_PLACE_BYTES_MAX];
};

static void
tell(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct told *told = arg;

	(void)loop;
	(void)code;
	(void)message;
	(void)took;
	told->count++;
	told->kind = kind;
	(void)snprintf(told->what, sizeof(told->what), "%s", what);
}

static es_loop *
loop_that_tells(struct told *told, es_usec slow)
{
	es_loop_opts opts = {
		.slow = slow, .report = tell, .report_arg = told
	};
	es_loop *loop = NULL;

	*told = (struct told){ 0 };
	assert_int_equal(es_loop_new(&loop, &opts), 0);
	return loop;
}

static int made_line;

/* Whatever line that is: within one macro it is the same for all. */
#define MADE(call) (made_line = __LINE__, (call))

/* One report, of what was MADE by that name. */
static void
expect_told(const struct told *told, es_report_kind kind, const char *name)
{
	char expected[ES_PLACE_BYTES_MAX];

	(void)snprintf(expected, sizeof(expected), "%s at %s:%d", name,
	    __FILE__, made_line);
	assert_int_equal(told->count, 1);
	assert_int_equal(told->kind, kind);
	assert_string_equal(told->what, expected);
}

static void
block_a_little(void *arg)
{
	(void)arg;
	usleep(2000); /* stands for blocking work */
}

static void
D5_a_slow_call_is_told_with_its_place(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_MS(1));

	(void)state;
	assert_int_equal(MADE(es_call_soon(loop, "blocker", block_a_little,
			     NULL, NULL, NULL)),
	    0);
	rig_turn(loop);
	expect_told(&told, ES_R_SLOW, "blocker");
	rig_end(loop);
}

static void
D5_a_timer_too(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_MS(1));

	(void)state;
	assert_int_equal(
	    MADE(es_call_later(loop, 0, "t", block_a_little, NULL, NULL, NULL)),
	    0);
	rig_turn(loop);
	expect_told(&told, ES_R_SLOW, "t");
	rig_end(loop);
}

struct stuck {
	struct rig_gate started, go;
};

static int
get_stuck(void *arg, es_value *ret)
{
	struct stuck *stuck = arg;

	(void)ret;
	rig_open(&stuck->started);
	(void)rig_pass(&stuck->go, 1);
	return 0;
}

static void
D5_a_stuck_task_is_told_with_its_place(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);
	struct stuck stuck = { .started = RIG_GATE, .go = RIG_GATE };
	es_loop_thread *thread = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(
	    MADE(es_spawn(loop, "hog", get_stuck, &stuck, NULL, NULL)), 0);
	assert_true(rig_pass(&stuck.started, 1));
	usleep(2000);
	assert_int_equal(es_loop_check_stuck(loop, ES_MS(1)), 1);
	expect_told(&told, ES_R_STUCK, "hog");
	rig_open(&stuck.go);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	es_loop_unref(loop);
}

static int
stay(void *arg, es_value *ret)
{
	(void)ret;
	while (es_sleep(ES_S(1000)) == -ECANCELED && !*(bool *)arg)
		es_uncancel();
	return 0;
}

static void
D5_what_is_left_over_is_told_with_its_place(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);
	bool end = false;

	(void)state;
	assert_int_equal(
	    MADE(es_spawn(loop, "stubborn", stay, &end, NULL, NULL)), 0);
	rig_turn(loop);
	assert_int_equal(es_loop_close(loop, 0), 1);
	expect_told(&told, ES_R_LEFTOVER, "stubborn");
	es_loop_unref(loop);
}

static int
go_wrong(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return -EIO;
}

static void
D5_an_unseen_error_is_told_with_its_place(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);

	(void)state;
	assert_int_equal(
	    MADE(es_spawn(loop, "wrong", go_wrong, NULL, NULL, NULL)), 0);
	rig_turn(loop);
	expect_told(&told, ES_R_ERROR, "wrong");
	rig_end(loop);
}

static void
D5_so_is_that_of_a_future_without_a_name(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);
	es_future *f = MADE(es_future_new(loop));

	(void)state;
	assert_int_equal(es_future_set_error(f, -EIO, NULL), 0);
	es_future_unref(f);
	rig_turn(loop);
	expect_told(&told, ES_R_ERROR, "future");
	rig_end(loop);
}

static void
D5_a_job_too(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);
	es_executor *executor = NULL;

	(void)state;
	assert_int_equal(es_executor_new(&executor, NULL), 0);
	assert_int_equal(MADE(es_executor_submit(executor, 0, "job", go_wrong,
			     NULL, NULL, loop, NULL)),
	    0);
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
	rig_turn(loop);
	expect_told(&told, ES_R_ERROR, "job");
	rig_end(loop);
}

/* From many threads at once; the same text each time. */
static void *
name_often(void *arg)
{
	const char **first = arg;
	int i;

	*first = es_debug_name("n", "place");
	for (i = 0; i < 1000; i++)
		if (strcmp(es_debug_name("n", "place"), "n at place") != 0)
			return arg;
	return NULL;
}

static void
D5_names_are_made_once(void **state)
{
	const char *texts[4];
	pthread_t threads[4];
	void *wrong = NULL;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, name_often, &texts[i]),
		    0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
		assert_string_equal(texts[i], "n at place");
	}
	assert_ptr_equal(
	    es_debug_name(texts[0], "here"), es_debug_name(texts[0], "here"));
	assert_string_equal(es_debug_name(NULL, "here"), "unnamed at here");
}

/* More of them than there is room for: then they are as they were given. */
static void
D5_names_are_bounded(void **state)
{
	static char names[2 * ES_PLACES_MAX][8];
	size_t i, plain = 0;

	(void)state;
	for (i = 0; i < 2 * ES_PLACES_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%zu", i);
		plain += es_debug_name(names[i], "here") == names[i];
	}
	assert_true(plain >= ES_PLACES_MAX);
	assert_true(plain < 2 * ES_PLACES_MAX);
}

static void
D5_misuse_aborts(void **state)
{
	int status = 0;
	pid_t child;

	(void)state;
	assert_int_equal(es_yield(), -EPERM);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGABRT, SIG_DFL); /* cmocka has a handler */
		(void)close(STDERR_FILENO);
		es_debug_aborts(true);
		(void)!es_yield();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* malloc() has use for some of the first bytes. */
static void
D5_what_was_freed_is_overwritten(void **state)
{
	const char *mode = getenv("EARSHOT_TEST_MODE");
	es_future *f = es_future_new(NULL);
	const volatile unsigned char *bytes = (void *)f;

	(void)state;
	es_future_unref(f);
	if (mode && (!strcmp(mode, "valgrind") || !strcmp(mode, "sanitizer")))
		skip(); /* they would tell */
	assert_int_equal(bytes[48], 0xdb);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: its child dies, with no threads' stacks yet. */
		cmocka_unit_test(D5_misuse_aborts),
		cmocka_unit_test(D5_a_slow_call_is_told_with_its_place),
		cmocka_unit_test(D5_a_timer_too),
		cmocka_unit_test(D5_a_stuck_task_is_told_with_its_place),
		cmocka_unit_test(D5_what_is_left_over_is_told_with_its_place),
		cmocka_unit_test(D5_an_unseen_error_is_told_with_its_place),
		cmocka_unit_test(D5_so_is_that_of_a_future_without_a_name),
		cmocka_unit_test(D5_a_job_too),
		cmocka_unit_test(D5_what_was_freed_is_overwritten),
		cmocka_unit_test(D5_names_are_made_once),
		cmocka_unit_test(D5_names_are_bounded), /* last: all are used */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
