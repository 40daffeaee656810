/*
 * Signals as calls: invariants S1 to S7.  S8 is the daemon's.
 */

#include "tests/unit/loop_rig.h"

#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static int
block_some(void **state)
{
	static const int signos[] = { SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, 0 };

	(void)state;
	return es_signals_block(signos);
}

struct seen {
	es_loop *loop;
	unsigned calls;
	int signo;
	pid_t from;
	bool on_loop;
};

static void
see(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->signo = signo;
	seen->from = (pid_t)info->ssi_pid;
	seen->on_loop = es_loop_current() == seen->loop;
	es_loop_stop(seen->loop);
}

static void
S1_S2_a_handler_is_a_call_on_its_loop(void **state)
{
	struct seen seen = { .loop = rig_loop() };

	(void)state;
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGTERM, see, &seen), 0);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	assert_int_equal(seen.calls, 0);
	assert_int_equal(es_loop_run(seen.loop), 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.signo, SIGTERM);
	assert_int_equal(seen.from, getpid());
	assert_true(seen.on_loop);
	rig_end(seen.loop);
}

static void
S1_any_loop_on_any_thread(void **state)
{
	struct seen seen = { .loop = rig_loop() };
	es_loop_thread *thread = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(seen.loop, &thread), 0);
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGUSR2, see, &seen), 0);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	/* The handler stops the loop; only then it can be run again. */
	while (es_loop_get_state(seen.loop) == ES_LOOP_RUNNING)
		usleep(100);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	assert_int_equal(seen.calls, 1);
	assert_true(seen.on_loop);
	es_loop_unref(seen.loop);
}

static void
S3_equal_signals_that_wait_are_one_call(void **state)
{
	struct seen seen = { .loop = rig_loop() };
	int i;

	(void)state;
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGUSR1, see, &seen), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(kill(getpid(), SIGUSR1), 0);
	rig_turn(seen.loop);
	rig_turn(seen.loop);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	rig_turn(seen.loop);
	assert_int_equal(seen.calls, 2);
	rig_end(seen.loop);
}

static void *
kill_soon(void *arg)
{
	usleep(20000); /* the loop waits by then, or soon: both are fine */
	(void)kill(getpid(), *(int *)arg);
	return NULL;
}

static void
S4_a_signal_ends_the_wait(void **state)
{
	struct seen seen = { .loop = rig_loop() };
	es_usec began = clock_now_us();
	int signo = SIGHUP;
	pthread_t thread;

	(void)state;
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGHUP, see, &seen), 0);
	assert_int_equal(pthread_create(&thread, NULL, kill_soon, &signo), 0);
	assert_int_equal(es_loop_run(seen.loop), 0);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	rig_end(seen.loop);
}

static void
S5_removed_once_and_still_blocked(void **state)
{
	struct seen seen = { .loop = rig_loop() };
	sigset_t mask;

	(void)state;
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGUSR1, see, &seen), 0);
	assert_int_equal(es_remove_signal_handler(seen.loop, SIGUSR1), 1);
	assert_int_equal(es_remove_signal_handler(seen.loop, SIGUSR1), 0);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGUSR1), 1);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	rig_turn(seen.loop);
	assert_int_equal(seen.calls, 0);
	/* It waited, and the next handler gets it. */
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGUSR1, see, &seen), 0);
	rig_turn(seen.loop);
	assert_int_equal(seen.calls, 1);
	rig_end(seen.loop);
}

static void
remove_usr1(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct seen *seen = arg;

	(void)info;
	seen->calls++;
	assert_int_equal(es_remove_signal_handler(seen->loop, signo), 1);
}

static void
S5_a_handler_may_remove_itself(void **state)
{
	struct seen seen = { .loop = rig_loop() };

	(void)state;
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGUSR1, remove_usr1, &seen), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	rig_turn(seen.loop);
	assert_int_equal(seen.calls, 1);
	rig_end(seen.loop);
}

static void
S5_close_removes_all(void **state)
{
	struct seen seen = { .loop = rig_loop() }, next;

	(void)state;
	assert_int_equal(
	    es_add_signal_handler(seen.loop, SIGUSR1, see, &seen), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	rig_end(seen.loop);
	assert_int_equal(seen.calls, 0);
	next = (struct seen){ .loop = rig_loop() };
	assert_int_equal(
	    es_add_signal_handler(next.loop, SIGUSR1, see, &next), 0);
	rig_turn(next.loop);
	assert_int_equal(next.calls, 1);
	rig_end(next.loop);
}

static void
S6_what_cannot_be_handled_is_refused(void **state)
{
	es_loop *loop = rig_loop(), *other = rig_loop();
	struct seen seen = { .loop = loop };
	static const int bad[] = { SIGKILL, SIGSTOP, 0, -1, INT_MIN, 65, 1000,
		INT_MAX };
	static const int none[] = { 0 };
	size_t i;

	(void)state;
	/* Not blocked: it would never come to the signalfd. */
	assert_int_equal(
	    es_add_signal_handler(loop, SIGALRM, see, &seen), -EINVAL);
	assert_int_equal(es_add_signal_handler(loop, SIGHUP, see, &seen), 0);
	assert_int_equal(
	    es_add_signal_handler(loop, SIGHUP, see, &seen), -EALREADY);
	assert_int_equal(
	    es_add_signal_handler(other, SIGHUP, see, &seen), -EALREADY);
	assert_int_equal(es_remove_signal_handler(other, SIGHUP), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const int list[] = { bad[i], 0 };

		assert_int_equal(
		    es_add_signal_handler(loop, bad[i], see, &seen), -EINVAL);
		assert_int_equal(
		    es_remove_signal_handler(loop, bad[i]), -EINVAL);
		if (bad[i] != 0) /* that ends the list */
			assert_int_equal(es_signals_block(list), -EINVAL);
	}
	assert_int_equal(es_signals_block(none), 0);
	rig_end(loop);
	rig_end(other);
}

static void
S6_a_closed_loop_takes_no_handler(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(
	    es_add_signal_handler(loop, SIGHUP, see, NULL), -ESHUTDOWN);
	es_loop_unref(loop);
}

static void
S7_a_child_starts_with_defaults_and_an_empty_mask(void **state)
{
	pid_t child = fork();
	int status = 0;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		struct sigaction action;
		sigset_t mask;

		es_signals_reset();
		(void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
		(void)sigaction(SIGPIPE, NULL, &action);
		_exit(sigismember(&mask, SIGTERM) == 0 &&
			      action.sa_handler == SIG_DFL
			  ? 0
			  : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void
sigpipe_is_ignored(void **state)
{
	struct sigaction action;

	(void)state;
	assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
	assert_true(action.sa_handler == SIG_IGN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S1_S2_a_handler_is_a_call_on_its_loop),
		cmocka_unit_test(S1_any_loop_on_any_thread),
		cmocka_unit_test(S3_equal_signals_that_wait_are_one_call),
		cmocka_unit_test(S4_a_signal_ends_the_wait),
		cmocka_unit_test(S5_removed_once_and_still_blocked),
		cmocka_unit_test(S5_a_handler_may_remove_itself),
		cmocka_unit_test(S5_close_removes_all),
		cmocka_unit_test(S6_what_cannot_be_handled_is_refused),
		cmocka_unit_test(S6_a_closed_loop_takes_no_handler),
		cmocka_unit_test(
		    S7_a_child_starts_with_defaults_and_an_empty_mask),
		cmocka_unit_test(sigpipe_is_ignored),
	};

	return cmocka_run_group_tests(tests, block_some, NULL);
}
