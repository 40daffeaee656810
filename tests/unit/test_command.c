/*
 * How a command lives and ends: what it is given, what becomes of one that
 * fails, of one that will not end, and of those it leaves behind.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "tests/lib/feed_rig.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

static bool
is(const struct rig *rig, size_t n, const char *state)
{
	return strcmp(rig->stats[n].state, state) == 0;
}

static bool
runs(struct rig *rig)
{
	return is(rig, 0, "running");
}

static bool
heard_1(struct rig *rig)
{
	return rig->heard_messages >= 1;
}

static bool
has_ended(struct rig *rig)
{
	return is(rig, 0, "backoff");
}

static bool
restarted_3_times(struct rig *rig)
{
	return rig->stats[0].restarts >= 3;
}

static struct rig *
rig_of(const char *script)
{
	struct rig *rig = rig_new();

	rig_add(rig, "c", script);
	return rig;
}

static void
wait_an_hour(struct conf_command *command)
{
	command->feed.backoff_min_us = command->feed.backoff_max_us =
	    3600000000;
}

static void
end(struct rig *rig)
{
	rig_stop(rig, NULL);
	assert_int_equal(rig->dones, 1);
	rig_free(rig);
}

static void
a_command_gets_nothing_of_ours(void **state)
{
	/* libc ignores the two signals it keeps for itself, 32 and 33. */
	static const char script[] =
	    "cat; ls /proc/$$/fd;"
	    "echo ${NOTIFY_SOCKET-none} ${LISTEN_FDS-none} ${RIG-none};"
	    "read a b c d pgrp rest < /proc/$$/stat;"
	    "[ $pgrp = $$ ] && echo leads;"
	    "while read k v; do case $k$v in"
	    " SigBlk:0000000000000000) echo unblocked;;"
	    " SigIgn:0000000[01][08]0000000) echo default; esac;"
	    "done < /proc/$$/status; echo end";
	struct rig *rig = rig_of(script);
	int fd = dup(STDERR_FILENO); /* not close-on-exec */
	sigset_t some, before;

	(void)state;
	assert_true(fd > STDERR_FILENO);
	setenv("NOTIFY_SOCKET", "/x", 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("RIG", "kept", 1);
	sigemptyset(&some);
	sigaddset(&some, SIGTERM);
	sigaddset(&some, SIGUSR1);
	sigprocmask(SIG_BLOCK, &some, &before);
	signal(SIGPIPE, SIG_IGN);
	wait_an_hour(&rig->commands[0]);
	rig_start(rig);
	rig_wait(rig, has_ended);
	rig_heard(rig, "T:0\nT:1\nT:2\nT:none none kept\nT:leads\n"
		       "T:unblocked\nT:default\nT:end\n");
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, SIG_DFL);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_FDS");
	unsetenv("RIG");
	close(fd);
	end(rig);
}

static void
a_command_that_does_not_exist_is_tried_again(void **state)
{
	struct rig *rig;

	(void)state;
	/* Its vfork() is a fork(): the errno stays in a child it reports. */
	if (RUNNING_ON_VALGRIND)
		skip();
	rig = rig_of("");
	strcpy(rig->args[0][0], "/x"); /* as long as "sh" */
	rig_add(rig, "other", "exec sleep 1000");
	rig_start(rig);
	rig_wait(rig, restarted_3_times);
	assert_string_equal(
	    rig->errors[0], "cannot be started: No such file or directory");
	assert_true(is(rig, 1, "running"));
	assert_int_equal(rig->stats[1].restarts, 0);
	end(rig);
}

static void
a_command_that_dies_at_once_is_tried_again(void **state)
{
	struct rig *rig = rig_of("echo x; exit 3");

	(void)state;
	rig_start(rig);
	rig_wait(rig, restarted_3_times);
	assert_string_equal(rig->errors[0], "ended with status 3");
	assert_true(rig->stats[0].messages >= 3);
	end(rig);
}

static void
success_is_an_end_as_well(void **state)
{
	struct rig *rig = rig_of("echo x");

	(void)state;
	rig_start(rig);
	rig_wait(rig, restarted_3_times);
	assert_string_equal(rig->errors[0], "ended with status 0");
	end(rig);
}

static void
a_signal_is_told_by_name(void **state)
{
	struct rig *rig = rig_of("kill -SEGV $$");

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig_start(rig);
	rig_wait(rig, has_ended);
	assert_string_equal(rig->errors[0], "was ended by SIGSEGV");
	end(rig);
}

static void
an_ignored_sigchld_of_our_parent_does_no_harm(void **state)
{
	struct rig *rig = rig_of("exit 7");

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	rig_start(rig);
	rig_wait(rig, restarted_3_times);
	assert_string_equal(rig->errors[0], "ended with status 7");
	end(rig);
	signal(SIGCHLD, SIG_DFL);
}

static void
a_stop_ends_the_whole_group_and_hears_its_last_words(void **state)
{
	/* The child speaks when it no longer has its parent's trap. */
	struct rig *rig = rig_of("trap 'echo bye; exit' TERM;"
				 "sh -c 'echo $$; exec sleep 1000' & wait");
	long child;

	(void)state;
	rig_start(rig);
	rig_wait(rig, heard_1);
	child = rig_number(rig, 0);
	assert_false(rig_is_gone(child));
	rig_stop(rig, NULL);
	assert_true(rig_is_gone(child));
	rig_look(rig);
	assert_true(is(rig, 0, "stopped"));
	assert_memory_equal(rig->heard + rig->heard_len - 6, "T:bye\n", 6);
	rig_free(rig);
}

/* Ends on SIGKILL only. */
#define STUBBORN "trap '' TERM; echo $$; while :; do sleep 1; done"

static void
who_ignores_sigterm_is_killed_after_stop_timeout(void **state)
{
	struct rig *rig = rig_of(STUBBORN);
	int64_t before_us;
	long pid;

	(void)state;
	rig->commands[0].stop_timeout_us = 100000;
	rig_start(rig);
	rig_wait(rig, heard_1);
	pid = rig_number(rig, 0);
	before_us = clock_now_us();
	rig_stop(rig, NULL);
	assert_true(clock_now_us() - before_us >= 100000);
	assert_true(rig_is_gone(pid));
	rig_look(rig);
	assert_string_equal(rig->errors[0], "was ended by SIGKILL");
	rig_free(rig);
}

static void
do_hurry(struct rig *rig)
{
	es_loop_assert(rig->net);
	feeds_hurry(rig->feeds);
}

static void
a_second_signal_does_not_wait(void **state)
{
	struct rig *rig = rig_of(STUBBORN);
	long pid;

	(void)state;
	rig_start(rig);
	rig_wait(rig, heard_1);
	pid = rig_number(rig, 0);
	rig_stop(rig, do_hurry); /* stop_timeout is a minute */
	assert_true(rig_is_gone(pid));
	assert_int_equal(rig->dones, 1);
	rig_free(rig);
}

static void
children_left_with_the_pipe_are_ended(void **state)
{
	struct rig *rig = rig_of("sleep 1000 & echo $!");

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig_start(rig);
	rig_wait(rig, has_ended);
	assert_true(rig_is_gone(rig_number(rig, 0)));
	end(rig);
}

static void
children_that_ignore_sigterm_are_killed(void **state)
{
	struct rig *rig =
	    rig_of("sh -c 'trap \"\" TERM; echo $$; kill -9 $PPID;"
		   "while :; do sleep 1; done' & wait");

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig->commands[0].stop_timeout_us = 50000;
	rig_start(rig);
	rig_wait(rig, has_ended);
	assert_true(rig_is_gone(rig_number(rig, 0)));
	assert_string_equal(rig->errors[0], "was ended by SIGKILL");
	end(rig);
}

static void
children_without_the_pipe_are_ended_too(void **state)
{
	struct rig *rig = rig_of("sleep 1000 >/dev/null 2>&1 & echo $!");

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig_start(rig);
	rig_wait(rig, has_ended);
	assert_true(rig_is_gone(rig_number(rig, 0)));
	end(rig);
}

static void
who_left_the_group_keeps_no_feed_waiting(void **state)
{
	/* The leader stays until its child is in a session of its own. */
	struct rig *rig = rig_of(
	    "setsid sh -c 'echo $$; kill -9 $PPID; exec sleep 1000' & wait");

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig->commands[0].stop_timeout_us = 50000;
	rig_start(rig);
	rig_wait(rig, has_ended);
	assert_int_equal(kill((pid_t)rig_number(rig, 0), SIGKILL), 0);
	end(rig);
}

static void
a_leader_that_went_to_another_group_is_ended(void **state)
{
	/* The child makes a group, the leader follows; both end together. */
	struct rig *rig =
	    rig_of("exec python3 -c 'import os, time\n"
		   "r, w = os.pipe()\n"
		   "child = os.fork()\n"
		   "if child == 0:\n"
		   "  os.close(w); os.setpgid(0, 0); os.read(r, 1)\n"
		   "else:\n"
		   "  os.setpgid(child, child)\n"
		   "  os.setpgid(0, child)\n"
		   "  print(os.getpid(), flush=True)\n"
		   "  time.sleep(1000)'");

	(void)state;
	rig_start(rig);
	rig_wait(rig, heard_1);
	end(rig);
}

static void
who_closes_stdout_and_lives_on_is_replaced(void **state)
{
	struct rig *rig = rig_of("echo $$; exec sleep 1000 >&-");
	int64_t before_us = clock_now_us();
	long pid;

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig->commands[0].stop_timeout_us = 1; /* a second at least is given */
	rig_start(rig);
	rig_wait(rig, heard_1);
	pid = rig_number(rig, 0);
	assert_true(is(rig, 0, "running"));
	rig_wait(rig, has_ended);
	assert_true(clock_now_us() - before_us >= 1000000);
	assert_true(rig_is_gone(pid));
	end(rig);
}

static void
a_stop_during_the_back_off_is_done_at_once(void **state)
{
	struct rig *rig = rig_of("exit 1");

	(void)state;
	wait_an_hour(&rig->commands[0]);
	rig_start(rig);
	rig_wait(rig, has_ended);
	end(rig);
}

static void
no_feeds_are_stopped_too(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_start(rig);
	rig_look(rig);
	end(rig);
}

static int
hold_the_worker(void *arg, es_value *ret)
{
	char c;

	(void)ret;
	assert_int_equal(read(*(int *)arg, &c, 1), 1);
	return 0;
}

static void
a_stop_before_the_start_was_tried_starts_nothing(void **state)
{
	struct rig *rig = rig_of("echo x; exec sleep 1000");
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(es_executor_submit(rig->sys, 0, "hold",
			     hold_the_worker, &fds[0], NULL, NULL, NULL),
	    0);
	rig_start(rig);
	rig_look(rig);
	assert_true(is(rig, 0, "starting"));
	rig_stop(rig, NULL);
	rig_look(rig);
	assert_true(is(rig, 0, "stopped"));
	assert_int_equal(write(fds[1], "x", 1), 1);
	rig_free(rig);
	close(fds[0]);
	close(fds[1]);
}

/* The start is at any point of its way when the stop or the end comes. */
static void
a_stop_at_any_point_of_the_start_leaves_nothing(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 60; i++) {
		struct rig *rig = rig_of("exec sleep 1000");
		int64_t until_us;

		rig_start(rig);
		until_us = clock_now_us() + i * 30;
		while (clock_now_us() < until_us)
			rig_look(rig);
		rig_stop(rig, i % 3 == 0 ? do_hurry : NULL);
		rig_free(rig);
	}
}

static void
never(void *arg)
{
	(void)arg;
	fail_msg("done() after feeds_free()");
}

static void
do_ask_to_stop(struct rig *rig)
{
	es_loop_assert(rig->net);
	feeds_stop(rig->feeds, never, rig);
}

static void
freeing_at_any_point_leaves_nothing(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 60; i++) {
		struct rig *rig = rig_of("trap '' TERM; sleep 1000 & wait");
		int64_t until_us;

		rig_add(rig, "d", "exit 1");
		rig_start(rig);
		until_us = clock_now_us() + i * 50;
		while (clock_now_us() < until_us)
			rig_look(rig);
		if (i % 4 == 0)
			rig_do(rig, do_ask_to_stop);
		rig_free(rig);
	}
}

static void
one_that_will_not_end_does_not_hold_the_others(void **state)
{
	struct rig *rig = rig_of(STUBBORN);

	(void)state;
	rig->commands[0].stop_timeout_us = 100000;
	rig_add(rig, "fine", "exec sleep 1000");
	rig_add(rig, "dead", "exit 1");
	wait_an_hour(&rig->commands[2]);
	rig_start(rig);
	rig_wait(rig, heard_1);
	rig_wait(rig, runs);
	end(rig);
}

static bool
runs_or_was_refused(struct rig *rig)
{
	return rig->feeds == NULL || runs(rig);
}

static void
any_allocation_may_fail(void **state)
{
	int64_t n;
	bool seen = true;

	(void)state;
	for (n = 1; seen; n++) {
		struct rig *rig = rig_of("echo x; exec sleep 1000");

		rig->fail_nth = n;
		rig_start(rig);
		rig_wait(rig, runs_or_was_refused);
		if (rig->feeds) {
			rig_stop(rig, NULL);
			assert_int_equal(rig->dones, 1);
		}
		seen = memory_fail_seen();
		memory_fail_nth(0);
		rig_free(rig);
	}
	assert_true(n > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_gets_nothing_of_ours),
		cmocka_unit_test(a_command_that_does_not_exist_is_tried_again),
		cmocka_unit_test(a_command_that_dies_at_once_is_tried_again),
		cmocka_unit_test(success_is_an_end_as_well),
		cmocka_unit_test(a_signal_is_told_by_name),
		cmocka_unit_test(an_ignored_sigchld_of_our_parent_does_no_harm),
		cmocka_unit_test(
		    a_stop_ends_the_whole_group_and_hears_its_last_words),
		cmocka_unit_test(
		    who_ignores_sigterm_is_killed_after_stop_timeout),
		cmocka_unit_test(a_second_signal_does_not_wait),
		cmocka_unit_test(children_left_with_the_pipe_are_ended),
		cmocka_unit_test(children_that_ignore_sigterm_are_killed),
		cmocka_unit_test(children_without_the_pipe_are_ended_too),
		cmocka_unit_test(who_left_the_group_keeps_no_feed_waiting),
		cmocka_unit_test(a_leader_that_went_to_another_group_is_ended),
		cmocka_unit_test(who_closes_stdout_and_lives_on_is_replaced),
		cmocka_unit_test(a_stop_during_the_back_off_is_done_at_once),
		cmocka_unit_test(no_feeds_are_stopped_too),
		cmocka_unit_test(
		    a_stop_before_the_start_was_tried_starts_nothing),
		cmocka_unit_test(
		    a_stop_at_any_point_of_the_start_leaves_nothing),
		cmocka_unit_test(freeing_at_any_point_leaves_nothing),
		cmocka_unit_test(
		    one_that_will_not_end_does_not_hold_the_others),
		cmocka_unit_test(any_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
