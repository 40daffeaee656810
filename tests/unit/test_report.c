/*
 * Reports and what other threads can see: invariants D1 to D4.
 * D5 has a build, and a test, of its own: test_debug.
 */

#include "tests/unit/loop_rig.h"

#include "daemon/base/log.h"

#include <fcntl.h>

struct told {
	struct rig_gate gate;
	es_report_kind kind;
	char what[32];
	es_usec took;
	unsigned count;
};

static void
tell(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct told *told = arg;

	(void)loop;
	(void)code;
	(void)message;
	told->kind = kind;
	told->took = took;
	told->count++;
	(void)snprintf(told->what, sizeof(told->what), "%s", what);
	rig_open(&told->gate);
}

static es_loop *
loop_that_tells(struct told *told, es_usec slow)
{
	es_loop_opts opts = {
		.name = "told", .slow = slow, .report = tell, .report_arg = told
	};
	es_loop *loop = NULL;

	*told = (struct told){ .gate = RIG_GATE };
	assert_int_equal(es_loop_new(&loop, &opts), 0);
	return loop;
}

static void
block_a_little(void *arg)
{
	usleep(*(unsigned *)arg); /* stands for blocking work */
}

static void
D1_D2_a_slow_call_is_reported_by_name(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_MS(5));
	unsigned us = 10000;
	es_loop_stats stats;

	(void)state;
	assert_int_equal(
	    es_call_soon(loop, "blocker", block_a_little, &us, NULL, NULL), 0);
	rig_turn(loop);
	es_loop_get_stats(loop, &stats);
	assert_true(told.count >= 1);
	assert_int_equal(told.kind, ES_R_SLOW);
	rig_expect_name(told.what, "blocker");
	assert_true(told.took >= ES_MS(10));
	assert_int_equal(stats.slow_calls, told.count);
	assert_true(stats.longest >= ES_MS(10));
	assert_true(stats.longest_iteration >= ES_MS(10));
	es_loop_reset_longest(loop);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.longest, 0);
	assert_int_equal(stats.longest_iteration, 0);
	rig_end(loop);
}

static void
never_slow_reports_nothing(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);
	unsigned us = 2000;

	(void)state;
	rig_soon(loop, block_a_little, &us);
	rig_turn(loop);
	assert_int_equal(told.count, 0);
	rig_end(loop);
}

struct stuck {
	struct rig_gate started, go;
};

static void
get_stuck(void *arg)
{
	struct stuck *stuck = arg;

	rig_open(&stuck->started);
	(void)rig_pass(&stuck->go, 1);
}

static void
D3_a_stuck_call_is_seen_while_it_is_stuck(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told, ES_FOREVER);
	struct stuck stuck = { .started = RIG_GATE, .go = RIG_GATE };
	es_loop_thread *thread = NULL;
	es_loop_stats stats;

	(void)state;
	assert_int_equal(es_loop_check_stuck(loop, 0), 0);
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(
	    es_call_soon(loop, "hog", get_stuck, &stuck, NULL, NULL), 0);
	assert_true(rig_pass(&stuck.started, 1));
	es_loop_get_stats(loop, &stats);
	assert_true(stats.busy_since > 0);
	rig_expect_name(stats.busy_with, "hog");
	assert_int_equal(es_loop_check_stuck(loop, ES_S(3600)), 0);
	assert_int_equal(told.count, 0);
	usleep(2000);
	assert_int_equal(es_loop_check_stuck(loop, ES_MS(1)), 1);
	assert_int_equal(es_loop_check_stuck(loop, ES_MS(1)), 1);
	assert_int_equal(told.count, 1); /* once per call */
	assert_int_equal(told.kind, ES_R_STUCK);
	rig_expect_name(told.what, "hog");
	rig_open(&stuck.go);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	assert_int_equal(es_loop_check_stuck(loop, 0), 0);
	es_loop_unref(loop);
}

static void
D4_without_a_handler_it_goes_to_the_log(void **state)
{
	char text[512] = "";
	es_loop *loop = NULL;
	unsigned us = 2000;
	int fds[2], saved;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(
	    es_loop_new(&loop, &(es_loop_opts){ .name = "l", .slow = 1000 }),
	    0);
	assert_int_equal(
	    es_call_soon(loop, "blocker", block_a_little, &us, NULL, NULL), 0);
	rig_turn(loop);
	rig_end(loop);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	assert_non_null(strstr(text, "loop=l slow=\"blocker"));
	close(fds[0]);
	close(fds[1]);
	close(saved);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(D1_D2_a_slow_call_is_reported_by_name),
		cmocka_unit_test(never_slow_reports_nothing),
		cmocka_unit_test(D3_a_stuck_call_is_seen_while_it_is_stuck),
		cmocka_unit_test(D4_without_a_handler_it_goes_to_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
