/*
 * CPython's tests of the event loop, ported; each is named after its origin.
 * Entries 1 to 13 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_events.py and test_base_events.py.
 */

#include "tests/unit/oracle_rig.h"

#include <signal.h>
#include <sys/signalfd.h>

static void
O1_base_events_test_close(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_IDLE);
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_CLOSED);
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_loop_run(loop), -ESHUTDOWN);
	assert_int_equal(es_loop_run_until(loop, f), -ESHUTDOWN);
	es_future_unref(f);
	es_loop_unref(loop);
}

static void
never_signal(int signo, const struct signalfd_siginfo *info, void *arg)
{
	(void)signo;
	(void)info;
	rig_never(arg);
}

/* Every way to give a loop work, after it was closed. */
static int
submit_by(es_loop *loop, int way)
{
	es_future *f = NULL;

	switch (way) {
	case 0:
		return es_loop_run(loop);
	case 1:
		return es_loop_run_until_idle(loop);
	case 2:
		return es_call_soon(loop, "x", rig_never, NULL, NULL, NULL);
	case 3:
		return es_call_later(loop, 1, "x", rig_never, NULL, NULL, NULL);
	case 4:
		return es_call_at(loop, 0, "x", rig_never, NULL, NULL, NULL);
	case 5:
		return es_loop_invoke(
		    loop, "x", rig_never_body, NULL, NULL, &f);
	case 6:
		return es_spawn(loop, "x", rig_never_body, NULL, NULL, &f);
	case 7:
		return es_add_signal_handler(loop, SIGTERM, never_signal, NULL);
	case 8:
		return es_gather(loop, NULL, 0, 0, &f);
	case 9:
		return es_loop_set_hooks(loop, NULL, NULL, NULL);
	default:
		return 1;
	}
}

static void
O2_events_test_close(void **state)
{
	static const int term[] = { SIGTERM, 0 };
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;
	int r, way;

	(void)state;
	assert_int_equal(es_signals_block(term), 0);
	assert_int_equal(es_loop_close(loop, 0), 0);
	for (way = 0; (r = submit_by(loop, way)) != 1; way++) {
		if (r != -ESHUTDOWN)
			print_error("way %d: %d\n", way, r);
		assert_int_equal(r, -ESHUTDOWN);
	}
	assert_int_equal(way, 10);
	assert_int_equal(es_loop_thread_start(loop, &thread), -ESHUTDOWN);
	es_loop_unref(loop);
}

static int
close_here(void *arg, es_value *ret)
{
	(void)ret;
	return es_loop_close(arg, 0);
}

static void
O3_events_test_close_running_event_loop(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(oracle_run(loop, close_here, loop), -EBUSY);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_IDLE);
	rig_end(loop);
}

/* T1: never early, where asyncio takes one clock resolution off. */
static void
O4_events_test_run_until_complete(void **state)
{
	es_loop *loop = rig_loop();
	es_usec delay = ES_MS(100), began = es_loop_time(loop);

	(void)state;
	assert_int_equal(oracle_run(loop, oracle_sleep, &delay), 0);
	assert_true(es_loop_time(loop) - began >= delay);
	rig_end(loop);
}

static int
stop_and_sleep(void *arg, es_value *ret)
{
	(void)ret;
	es_loop_stop(arg);
	return es_sleep(ES_MS(100));
}

static void
O5_events_test_run_until_complete_stopped(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = oracle_spawn(loop, stop_and_sleep, loop);

	(void)state;
	assert_int_equal(es_loop_run_until(loop, f), -EINTR);
	assert_false(es_future_done(f));
	/* L10: it may be run again. */
	assert_int_equal(es_loop_run_until(loop, f), 0);
	es_future_unref(f);
	rig_end(loop);
}

static int
run_nested(void *arg, es_value *ret)
{
	es_loop *loop = arg;
	es_future *f = es_future_new(loop);
	int r;

	(void)ret;
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_RUNNING);
	r = es_loop_run_until(loop, f);
	es_future_unref(f);
	return r;
}

static void
O6_events_test_run_until_complete_nesting(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(oracle_run(loop, run_nested, loop), -EBUSY);
	rig_end(loop);
}

static int
run_other(void *arg, es_value *ret)
{
	(void)ret;
	return es_loop_run(arg);
}

static void
O7_base_events_test_running_loop_within_a_loop(void **state)
{
	es_loop *loop = rig_loop(), *outer = rig_loop();

	(void)state;
	assert_int_equal(oracle_run(outer, run_other, loop), -EBUSY);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_IDLE);
	rig_end(loop);
	rig_end(outer);
}

struct polls {
	unsigned count;
	es_usec wait;
};

static void
note_poll(es_usec *wait, void *arg)
{
	struct polls *polls = arg;

	polls->count++;
	polls->wait = *wait;
}

static void
O8_base_events_test_run_forever_pre_stopped(void **state)
{
	struct polls polls = { .wait = -1 };
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(es_loop_set_hooks(loop, note_poll, NULL, &polls), 0);
	es_loop_stop(loop);
	assert_int_equal(es_loop_run(loop), 0);
	assert_int_equal(polls.count, 1);
	assert_int_equal(polls.wait, 0);
	rig_end(loop);
}

static void
O9_base_events_test_run_once(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	rig_soon(loop, rig_note, RIG_LETTER('c'));
	rig_soon(loop, rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("c");
	rig_end(loop);
}

static void
expect_timers(es_loop *loop, unsigned expected)
{
	es_loop_stats stats;

	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.timers, expected);
}

static void
cancel_later(es_loop *loop, es_usec delay)
{
	es_call *call = NULL;

	assert_int_equal(
	    es_call_later(loop, delay, "x", rig_never, NULL, NULL, &call), 0);
	assert_int_equal(es_call_cancel(call), 1);
	es_call_unref(call);
}

/* C6: no thresholds here, a cancelled timer leaves at once. */
static void
O10_base_events_test__run_once_cancelled_event_cleanup(void **state)
{
	es_loop *loop = rig_loop();
	int i;

	(void)state;
	rig_later(loop, ES_S(3000), rig_never, NULL);
	for (i = 0; i < 2; i++)
		cancel_later(loop, ES_S(3600));
	for (i = 0; i < 2; i++)
		cancel_later(loop, ES_S(100));
	expect_timers(loop, 1);
	rig_turn(loop);
	expect_timers(loop, 1);
	for (i = 0; i < 49; i++)
		rig_later(loop, ES_S(3600), rig_never, NULL);
	for (i = 0; i < 51; i++)
		cancel_later(loop, ES_S(3600));
	expect_timers(loop, 50);
	rig_turn(loop);
	expect_timers(loop, 50);
	rig_end(loop);
}

struct check {
	es_loop *loop;
	struct rig_gate runs; /* the loop does */
	es_future *f;
	bool own_loop;
	int soon, watch, hooks, yield, fd, group;
	struct event_base *base;
};

static void
on_nothing(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	rig_never(arg);
}

static int
check_here(void *arg, es_value *ret)
{
	struct check *check = arg;
	es_watch *watch = NULL;
	es_group *group = NULL;

	(void)ret;
	oracle_pretend_loop();
	check->soon =
	    es_call_soon(check->loop, "x", rig_note, NULL, NULL, NULL);
	check->watch = es_watch_new(
	    check->loop, "x", 0, ES_READ, on_nothing, NULL, &watch);
	check->hooks = es_loop_set_hooks(check->loop, NULL, NULL, NULL);
	check->base = es_loop_event_base(check->loop);
	check->group = es_group_new(check->loop, &group);
	return 0;
}

static void *
check_thread(void *arg)
{
	struct check *check = arg;

	(void)rig_pass(&check->runs, 1);
	if (check->own_loop)
		assert_int_equal(es_run(check_here, check, NULL), 0);
	else
		(void)check_here(check, NULL);
	check->yield = es_yield();
	check->fd = es_await_fd(0, ES_READ, 0);
	assert_int_equal(es_future_set_result(check->f, ES_NOTHING), 0);
	return NULL;
}

static void
check_from_thread(bool own_loop)
{
	struct check check = {
		.loop = rig_loop(), .runs = RIG_GATE, .own_loop = own_loop
	};
	pthread_t thread;

	check.f = es_future_new(check.loop);
	rig_soon(check.loop, rig_open, &check.runs);
	assert_int_equal(
	    pthread_create(&thread, NULL, check_thread, &check), 0);
	assert_int_equal(es_loop_run_until(check.loop, check.f), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(check.soon, 0);
	assert_int_equal(check.watch, -EPERM);
	assert_int_equal(check.hooks, -EPERM);
	assert_int_equal(check.yield, -EPERM);
	assert_int_equal(check.fd, -EPERM);
	assert_int_equal(check.group, -EPERM);
	assert_null(check.base);
	es_future_unref(check.f);
	rig_end(check.loop);
}

/*
 * W1 and decision 2, on purpose not as there: what belongs to the loop's
 * thread is refused elsewhere always, not in a debug mode only; and the
 * call_soon that asyncio refuses simply works.
 */
static void
O11_base_events_test_check_thread(void **state)
{
	(void)state;
	check_from_thread(false);
	check_from_thread(true);
}

static void
settle(void *arg)
{
	assert_int_equal(es_future_set_result(arg, ES_INT(3)), 0);
}

/* L10, on purpose not as there: a future of another loop is as good. */
static void
O12_base_events_test_run_until_complete_loop(void **state)
{
	es_loop *loop = rig_loop(), *other = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	rig_soon(other, settle, f);
	assert_int_equal(es_loop_run_until(other, f), 0);
	oracle_expect_int(f, 3);
	es_future_unref(f);
	rig_end(loop);
	rig_end(other);
}

struct slow {
	unsigned calls, tasks;
};

static void
note_slow(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct slow *slow = arg;

	(void)loop;
	(void)code;
	(void)message;
	assert_true(kind != ES_R_SLOW || took > 0);
	if (kind == ES_R_SLOW && rig_is_name(what, "stop_loop_cb"))
		slow->calls++;
	if (kind == ES_R_SLOW && rig_is_name(what, "stop_loop_coro"))
		slow->tasks++;
}

static void
spin_and_stop(void *arg)
{
	es_usec began = clock_now_us();

	while (clock_now_us() < began + 3) /* longer than the limit */
		;
	es_loop_stop(arg);
}

static int
stop_loop_coro(void *arg, es_value *ret)
{
	(void)ret;
	spin_and_stop(arg);
	return 0;
}

/* There the limit is 0 and means always; ours is the least there is. */
static void
O13_base_events_test_log_slow_callbacks(void **state)
{
	struct slow slow = { 0 };
	es_loop_opts opts = {
		.slow = 1, .report = note_slow, .report_arg = &slow
	};
	es_loop *loop = NULL;

	(void)state;
	assert_int_equal(es_loop_new(&loop, &opts), 0);
	assert_int_equal(
	    es_call_soon(loop, "stop_loop_cb", spin_and_stop, loop, NULL, NULL),
	    0);
	assert_int_equal(es_loop_run(loop), 0);
	assert_int_equal(slow.calls, 1);
	assert_int_equal(
	    es_spawn(loop, "stop_loop_coro", stop_loop_coro, loop, NULL, NULL),
	    0);
	assert_int_equal(es_loop_run(loop), 0);
	assert_int_equal(slow.tasks, 1);
	rig_end(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(O1_base_events_test_close),
		cmocka_unit_test(O2_events_test_close),
		cmocka_unit_test(O3_events_test_close_running_event_loop),
		cmocka_unit_test(O4_events_test_run_until_complete),
		cmocka_unit_test(O5_events_test_run_until_complete_stopped),
		cmocka_unit_test(O6_events_test_run_until_complete_nesting),
		cmocka_unit_test(
		    O7_base_events_test_running_loop_within_a_loop),
		cmocka_unit_test(O8_base_events_test_run_forever_pre_stopped),
		cmocka_unit_test(O9_base_events_test_run_once),
		cmocka_unit_test(
		    O10_base_events_test__run_once_cancelled_event_cleanup),
		cmocka_unit_test(O11_base_events_test_check_thread),
		cmocka_unit_test(O12_base_events_test_run_until_complete_loop),
		cmocka_unit_test(O13_base_events_test_log_slow_callbacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
