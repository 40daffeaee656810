/*
 * After fork(): invariants P1 to P3.
 */

#include "tests/unit/loop_rig.h"

#include <fcntl.h>
#include <sys/wait.h>

/* Everything of the parent's, in the child. */
struct inherited {
	es_loop *loop;
	es_loop_thread *thread;
	es_call *call;
	es_future *f;
	es_executor *executor;
	es_tx *tx;
	es_rx *rx;
	es_group *group;
	es_watch *watch;
	int fds[2];
};

static void
never_signal(int signo, const struct signalfd_siginfo *info, void *arg)
{
	(void)signo;
	(void)info;
	rig_never(arg);
}

static void
never_watched(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	rig_never(arg);
}

static int
never_feeds(es_tx *tx, void *arg)
{
	(void)tx;
	rig_never(arg);
	return 0;
}

/* On the loop's thread. */
static void
make_loop_owned(void *arg)
{
	struct inherited *in = arg;

	if (es_group_new(in->loop, &in->group) < 0 ||
	    es_watch_new(in->loop, "x", in->fds[0], ES_READ, never_watched,
		NULL, &in->watch) < 0)
		abort();
}

static void
free_loop_owned(void *arg)
{
	struct inherited *in = arg;

	es_watch_free(in->watch);
	if (es_group_close(in->group, 0) < 0)
		abort();
}

#define EXPECT_CHILD(call)                                                     \
	do {                                                                   \
		if ((call) != -ECHILD)                                         \
			_exit(__LINE__ % 250 + 1);                             \
	} while (0)

static void
child_tries_streams(struct inherited *in)
{
	es_value value, *values = NULL;
	size_t n;

	EXPECT_CHILD(es_stream_new(in->loop, NULL, &in->tx, &in->rx));
	EXPECT_CHILD(es_stream_spawn(
	    in->loop, "x", never_feeds, NULL, NULL, NULL, &in->rx));
	EXPECT_CHILD(es_collect(in->rx, 1, 0, &values, &n));
	EXPECT_CHILD(es_send(in->tx, ES_NOTHING, 0, 0));
	EXPECT_CHILD(es_next(in->rx, 0, &value));
	EXPECT_CHILD(es_tx_on_room(in->tx, in->loop, rig_never, NULL));
	EXPECT_CHILD(es_rx_on_ready(in->rx, in->loop, rig_never, NULL));
	EXPECT_CHILD(es_tx_end(in->tx, 0, NULL));
	EXPECT_CHILD(es_rx_close(in->rx));
}

static void
child_tries(struct inherited *in)
{
	es_value value;
	es_executor_stats stats;
	unsigned n;
	es_future *f = NULL;
	size_t which;

	EXPECT_CHILD(es_loop_run(in->loop));
	EXPECT_CHILD(es_loop_run_until(in->loop, in->f));
	EXPECT_CHILD(es_loop_run_until_idle(in->loop));
	EXPECT_CHILD(es_loop_close(in->loop, 0));
	EXPECT_CHILD(es_loop_set_hooks(in->loop, NULL, NULL, NULL));
	EXPECT_CHILD(es_loop_check_stuck(in->loop, 0));
	EXPECT_CHILD(es_loop_thread_stop(in->thread, 0));
	EXPECT_CHILD(es_call_soon(in->loop, "x", rig_never, NULL, NULL, NULL));
	EXPECT_CHILD(
	    es_call_later(in->loop, 1, "x", rig_never, NULL, NULL, NULL));
	EXPECT_CHILD(es_call_at(in->loop, 1, "x", rig_never, NULL, NULL, NULL));
	EXPECT_CHILD(
	    es_loop_invoke(in->loop, "x", rig_never_body, NULL, NULL, &f));
	EXPECT_CHILD(es_call_cancel(in->call));
	EXPECT_CHILD(es_future_result(in->f, &value));
	EXPECT_CHILD(es_future_take(in->f, &value));
	EXPECT_CHILD(es_future_cancel(in->f));
	EXPECT_CHILD(es_future_set_result(in->f, ES_NOTHING));
	EXPECT_CHILD(es_future_set_error(in->f, -EIO, NULL));
	EXPECT_CHILD(es_future_set_cancel_hook(in->f, rig_never_done, NULL));
	EXPECT_CHILD(es_future_add_done_callback(
	    in->f, in->loop, rig_never_done, NULL, NULL));
	EXPECT_CHILD(
	    es_future_remove_done_callback(in->f, rig_never_done, NULL));
	EXPECT_CHILD(es_await(in->f, ES_FOREVER));
	EXPECT_CHILD(es_await_any(&in->f, 1, ES_FOREVER, &which));
	EXPECT_CHILD(es_await_take(in->f, ES_FOREVER, &value));
	EXPECT_CHILD(es_executor_submit(
	    in->executor, 0, "x", rig_never_body, NULL, NULL, NULL, NULL));
	EXPECT_CHILD(es_executor_load(in->executor, &n, &n));
	EXPECT_CHILD(es_executor_get_stats(in->executor, &stats));
	EXPECT_CHILD(es_executor_quiet(in->executor, NULL, &f));
	EXPECT_CHILD(es_executor_shutdown(in->executor, 0, 0));
	EXPECT_CHILD(es_add_signal_handler(in->loop, 10, never_signal, NULL));
	EXPECT_CHILD(es_remove_signal_handler(in->loop, 10));
	EXPECT_CHILD(es_spawn(in->loop, "x", rig_never_body, NULL, NULL, NULL));
	EXPECT_CHILD(es_gather(in->loop, &in->f, 1, 0, &f));
	EXPECT_CHILD(
	    es_group_spawn(in->group, "x", rig_never_body, NULL, NULL, NULL));
	EXPECT_CHILD(es_group_close(in->group, 0));
	EXPECT_CHILD(es_group_new(in->loop, &in->group));
	EXPECT_CHILD(es_watch_new(
	    in->loop, "x", 0, ES_READ, never_watched, NULL, &in->watch));
	EXPECT_CHILD(es_watch_set(in->watch, ES_WRITE));
	child_tries_streams(in);
	EXPECT_CHILD(es_loop_thread_start(in->loop, &in->thread));
	EXPECT_CHILD(
	    es_run_in_executor(in->executor, "x", rig_never_body, NULL, NULL));
	/* Void ones do nothing, and do not touch what the parent shares. */
	es_loop_stop(in->loop);
	es_group_cancel(in->group);
	es_watch_free(in->watch);
	es_call_unref(in->call);
	es_future_unref(in->f);
	es_loop_unref(in->loop);
	if (es_loop_event_base(in->loop) || es_future_new(in->loop))
		_exit(251);
}

/* What the child makes for itself works as ever. */
static void
child_makes_its_own(void)
{
	es_loop *loop = NULL;

	if (es_loop_new(&loop, NULL) < 0 ||
	    es_call_soon(loop, "x", rig_stop, loop, NULL, NULL) < 0 ||
	    es_loop_run(loop) < 0 || es_loop_close(loop, 0) != 0)
		_exit(252);
	es_loop_unref(loop);
}

static void
P1_P2_everything_answers_echild_in_the_child(void **state)
{
	struct inherited in = { .loop = rig_loop() };
	es_loop_stats before, after;
	int status = 0;
	pid_t child;

	(void)state;
	in.f = es_future_new(in.loop);
	assert_int_equal(es_executor_new(&in.executor, NULL), 0);
	assert_int_equal(es_call_later(in.loop, ES_S(1000), "x", rig_never,
			     NULL, NULL, &in.call),
	    0);
	assert_int_equal(es_stream_new(in.loop, NULL, &in.tx, &in.rx), 0);
	assert_int_equal(pipe(in.fds), 0);
	rig_soon(in.loop, make_loop_owned, &in);
	rig_turn(in.loop);
	assert_int_equal(es_loop_thread_start(in.loop, &in.thread), 0);
	es_loop_get_stats(in.loop, &before);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		child_tries(&in);
		child_makes_its_own();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* The parent's are as they were, and work. */
	es_loop_get_stats(in.loop, &after);
	assert_int_equal(after.wakeups, before.wakeups);
	assert_int_equal(es_call_cancel(in.call), 1);
	es_call_unref(in.call);
	rig_soon(in.loop, free_loop_owned, &in);
	assert_int_equal(es_tx_end(in.tx, 0, NULL), 0);
	assert_int_equal(es_rx_close(in.rx), 0);
	assert_int_equal(es_loop_thread_stop(in.thread, 0), 0);
	assert_int_equal(es_executor_shutdown(in.executor, 0, ES_S(5)), 0);
	es_future_unref(in.f);
	es_loop_unref(in.loop);
	close(in.fds[0]);
	close(in.fds[1]);
}

static void
P3_every_descriptor_is_close_on_exec(void **state)
{
	bool before[256];
	es_loop *loop;
	int fd, made = 0;

	(void)state;
	for (fd = 0; fd < 256; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	loop = rig_loop();
	rig_turn(loop);
	for (fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (before[fd] || flags < 0)
			continue;
		made++;
		assert_true(flags & FD_CLOEXEC);
	}
	assert_true(made > 0);
	rig_end(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P1_P2_everything_answers_echild_in_the_child),
		cmocka_unit_test(P3_every_descriptor_is_close_on_exec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
