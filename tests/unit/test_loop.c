/*
 * The loop's iteration, its states and its stop: invariants L1 to L14.
 */

#include "tests/unit/loop_rig.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>

static void
L1_L2_states_change_as_said(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_IDLE);
	rig_turn(loop);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_IDLE);
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_CLOSED);
	assert_int_equal(es_loop_run(loop), -ESHUTDOWN);
	assert_int_equal(es_loop_run_until_idle(loop), -ESHUTDOWN);
	assert_int_equal(es_loop_close(loop, 0), 0);
	es_loop_unref(loop);
}

struct nested {
	es_loop *outer, *inner;
	int run_outer, run_inner, until, idle, close_outer, close_inner;
	es_loop_state seen;
	es_loop *current;
};

static void
nested_try(void *arg)
{
	struct nested *n = arg;
	es_future *f = es_future_new(NULL);

	n->seen = es_loop_get_state(n->outer);
	n->current = es_loop_current();
	n->run_outer = es_loop_run(n->outer);
	n->run_inner = es_loop_run(n->inner);
	n->until = es_loop_run_until(n->inner, f);
	n->idle = es_loop_run_until_idle(n->outer);
	n->close_outer = es_loop_close(n->outer, 0);
	n->close_inner = es_loop_close(n->inner, 0);
	es_future_unref(f);
	es_loop_stop(n->outer);
}

static void
L2_run_within_a_run_is_refused_and_harmless(void **state)
{
	struct nested n = { .outer = rig_loop(), .inner = rig_loop() };

	(void)state;
	rig_forget();
	rig_soon(n.outer, nested_try, &n);
	rig_soon(n.outer, rig_note, RIG_LETTER('b'));
	assert_null(es_loop_current());
	assert_int_equal(es_loop_run(n.outer), 0);
	assert_null(es_loop_current());
	rig_expect("b");
	assert_int_equal(n.seen, ES_LOOP_RUNNING);
	assert_ptr_equal(n.current, n.outer);
	assert_int_equal(n.run_outer, -EBUSY);
	assert_int_equal(n.run_inner, -EBUSY);
	assert_int_equal(n.until, -EBUSY);
	assert_int_equal(n.idle, -EBUSY);
	assert_int_equal(n.close_outer, -EBUSY);
	assert_int_equal(n.close_inner, -EBUSY);
	rig_end(n.outer);
	rig_end(n.inner);
}

static void
L2_DL7_a_running_loop_is_busy_for_other_threads(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(es_loop_run(loop), -EBUSY);
	assert_int_equal(es_loop_close(loop, 0), -EBUSY);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_RUNNING);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(loop);
}

static void
queue_c_note_a(void *arg)
{
	rig_note_char('a');
	rig_soon(arg, rig_note, RIG_LETTER('c'));
}

static void
L3_calls_queued_in_a_batch_wait_for_the_next(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	rig_soon(loop, queue_c_note_a, loop);
	rig_soon(loop, rig_note, RIG_LETTER('b'));
	rig_turn(loop);
	rig_expect("ab");
	rig_turn(loop);
	rig_expect("abc");
	rig_end(loop);
}

static void
stop_queue_x_note_b(void *arg)
{
	rig_note_char('b');
	es_loop_stop(arg);
	rig_soon(arg, rig_note, RIG_LETTER('x'));
}

static void
queue_y_note_c(void *arg)
{
	rig_note_char('c');
	rig_soon(arg, rig_note, RIG_LETTER('y'));
}

static void
L4_L8_stop_finishes_the_batch_then_returns(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	rig_soon(loop, rig_note, RIG_LETTER('a'));
	rig_soon(loop, stop_queue_x_note_b, loop);
	rig_soon(loop, queue_y_note_c, loop);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("abc");
	rig_soon(loop, rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("abcxy");
	rig_end(loop);
}

static void
L5_L7_stop_before_run_is_one_iteration_without_waiting(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_stats before, after;
	es_usec began = clock_now_us();

	(void)state;
	rig_forget();
	rig_later(loop, ES_S(100), rig_note, RIG_LETTER('t'));
	es_loop_stop(loop);
	es_loop_stop(loop);
	es_loop_stop(loop);
	es_loop_get_stats(loop, &before);
	assert_int_equal(es_loop_run(loop), 0);
	es_loop_get_stats(loop, &after);
	assert_int_equal(after.iterations, before.iterations + 1);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	/* Used up: the next run waits for its own stop. */
	rig_later(loop, ES_MS(10), rig_note, RIG_LETTER('a'));
	rig_later(loop, ES_MS(20), rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("a");
	rig_end(loop);
}

struct stopper {
	es_loop *loop;
	struct rig_gate sleeping;
	int signo;
};

static void *
stop_it_asleep(void *arg)
{
	struct stopper *s = arg;
	es_loop_stats stats;

	(void)rig_pass(&s->sleeping, 1);
	do /* it is polling when it is not busy */
		es_loop_get_stats(s->loop, &stats);
	while (stats.busy_since != 0);
	es_loop_stop(s->loop);
	return NULL;
}

static void
L6_stop_from_another_thread_ends_the_wait_at_once(void **state)
{
	struct stopper s = { .loop = rig_loop(), .sleeping = RIG_GATE };
	es_usec began = clock_now_us();
	pthread_t thread;

	(void)state;
	rig_soon(s.loop, rig_open, &s.sleeping);
	assert_int_equal(pthread_create(&thread, NULL, stop_it_asleep, &s), 0);
	assert_int_equal(es_loop_run(s.loop), 0);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	rig_end(s.loop);
}

static es_loop *signalled;

static void
stop_in_signal(int signo)
{
	(void)signo;
	es_loop_stop(signalled);
}

static void
L6_stop_in_a_signal_handler_ends_the_wait(void **state)
{
	struct sigaction action = { .sa_handler = stop_in_signal }, before;
	struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
	es_usec began = clock_now_us();

	(void)state;
	signalled = rig_loop();
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	assert_int_equal(es_loop_run(signalled), 0);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	rig_end(signalled);
}

static void
requeue(void *arg)
{
	rig_soon(arg, requeue, arg);
}

static void
L9_a_call_that_queues_itself_starves_no_timer(void **state)
{
	es_loop *loop = rig_loop();
	es_usec began = clock_now_us();

	(void)state;
	rig_soon(loop, requeue, loop);
	rig_later(loop, ES_MS(50), rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	assert_true(clock_now_us() - began >= ES_MS(50));
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	rig_end(loop);
}

struct slices {
	es_loop *loop;
	es_watch *watch;
	int fd, ran, seen_at, flushes;
};

static void
slices_readable(int fd, unsigned what, void *arg)
{
	struct slices *s = arg;

	(void)fd;
	assert_int_equal(what, ES_READ);
	if (s->seen_at < 0)
		s->seen_at = s->ran;
	assert_int_equal(es_watch_set(s->watch, 0), 0);
}

static void
slices_watch(void *arg)
{
	struct slices *s = arg;

	assert_int_equal(es_watch_new(s->loop, "slices", s->fd, ES_READ,
			     slices_readable, s, &s->watch),
	    0);
}

static void
slices_count(void *arg)
{
	struct slices *s = arg;

	if (++s->ran == 10)
		assert_int_equal(
		    write(s->fd, &(uint64_t){ 1 }, sizeof(uint64_t)), 8);
}

static void
slices_flush(void *arg)
{
	((struct slices *)arg)->flushes++;
}

static void
L9_descriptors_are_polled_inside_a_long_batch(void **state)
{
	struct slices s = { .seen_at = -1 };
	int i;

	(void)state;
	assert_int_equal(
	    es_loop_new(&s.loop, &(es_loop_opts){ .slice = 64 }), 0);
	assert_int_equal(es_loop_set_hooks(s.loop, NULL, slices_flush, &s), 0);
	s.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig_soon(s.loop, slices_watch, &s);
	rig_turn(s.loop);
	for (i = 0; i < 1000; i++)
		rig_soon(s.loop, slices_count, &s);
	s.flushes = 0;
	rig_turn(s.loop);
	assert_int_equal(s.ran, 1000);
	assert_int_equal(s.seen_at, 64);
	assert_int_equal(s.flushes, 1 + 1000 / 64);
	es_watch_free(s.watch);
	rig_end(s.loop);
	close(s.fd);
}

static int
give_seven(void *arg, es_value *ret)
{
	(void)arg;
	*ret = ES_INT(7);
	return 0;
}

static void
L10_run_until_runs_once_even_when_settled(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	rig_forget();
	assert_int_equal(es_future_set_error(f, -EIO, "gone"), 0);
	rig_soon(loop, rig_note, RIG_LETTER('a'));
	assert_int_equal(es_loop_run_until(loop, f), -EIO);
	rig_expect("a");
	es_future_unref(f);
	rig_end(loop);
}

static void
L10_run_until_gives_the_code_of_any_loops_future(void **state)
{
	es_loop *here = rig_loop(), *there = rig_loop();
	es_loop_thread *thread = NULL;
	es_future *f = NULL;
	es_value value;

	(void)state;
	assert_int_equal(es_loop_thread_start(there, &thread), 0);
	assert_int_equal(
	    es_loop_invoke(there, "seven", give_seven, NULL, NULL, &f), 0);
	assert_int_equal(es_loop_run_until(here, f), 0);
	assert_int_equal(es_future_take(f, &value), 0);
	assert_int_equal(value.i, 7);
	es_future_unref(f);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(there);
	rig_end(here);
}

static void
settle(void *arg)
{
	rig_note_char('s');
	assert_int_equal(es_future_set_result(arg, ES_INT(1)), 0);
}

static void
L10_L11_a_stopped_run_until_leaves_no_trace(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	rig_forget();
	rig_soon(loop, rig_stop, loop);
	assert_int_equal(es_loop_run_until(loop, f), -EINTR);
	assert_false(es_future_done(f));
	/* It settles in a later run, and that one goes on. */
	rig_soon(loop, settle, f);
	rig_later(loop, ES_MS(20), rig_note, RIG_LETTER('t'));
	rig_later(loop, ES_MS(20), rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("st");
	assert_int_equal(es_loop_run_until(loop, f), 0);
	es_future_unref(f);
	rig_end(loop);
}

static int
job_short_sleep(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	usleep(30000); /* stands for blocking work */
	rig_note_char('j');
	return 0;
}

static void
L12_run_until_idle_waits_for_timers_calls_and_jobs(void **state)
{
	es_loop *loop = rig_loop();
	struct slices s = { .loop = loop, .seen_at = -1 };
	es_executor *executor = NULL;

	(void)state;
	rig_forget();
	s.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig_soon(loop, slices_watch, &s);
	rig_later(loop, ES_MS(10), rig_note, RIG_LETTER('t'));
	assert_int_equal(es_executor_new(&executor, NULL), 0);
	assert_int_equal(es_executor_submit(executor, 0, "job", job_short_sleep,
			     NULL, NULL, loop, NULL),
	    0);
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	rig_expect("tj");
	/* Nothing but a watch: idle at once. */
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(5)), 0);
	es_watch_free(s.watch);
	rig_end(loop);
	close(s.fd);
}

static void *
cancel_asleep(void *arg)
{
	usleep(20000); /* the loop is asleep by then, or soon: both are fine */
	assert_int_equal(es_call_cancel(arg), 1);
	return NULL;
}

static void
L12_the_last_timer_cancelled_elsewhere_makes_it_idle(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;
	pthread_t thread;

	(void)state;
	assert_int_equal(es_call_later(loop, ES_S(1000), "never", rig_note,
			     RIG_LETTER('x'), NULL, &call),
	    0);
	assert_int_equal(pthread_create(&thread, NULL, cancel_asleep, call), 0);
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	es_call_unref(call);
	rig_end(loop);
}

static void *
run_here(void *arg)
{
	assert_int_equal(es_loop_run_until_idle(arg), 0);
	return NULL;
}

static void
L13_any_thread_may_run_it_one_after_the_other(void **state)
{
	es_loop *loop = rig_loop();
	pthread_t thread;
	int i;

	(void)state;
	rig_forget();
	for (i = 0; i < 3; i++) {
		rig_soon(loop, rig_note, RIG_LETTER('r'));
		assert_int_equal(
		    pthread_create(&thread, NULL, run_here, loop), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	rig_soon(loop, rig_note, RIG_LETTER('h'));
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	rig_expect("rrrh");
	rig_end(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(L1_L2_states_change_as_said),
		cmocka_unit_test(L2_run_within_a_run_is_refused_and_harmless),
		cmocka_unit_test(
		    L2_DL7_a_running_loop_is_busy_for_other_threads),
		cmocka_unit_test(L3_calls_queued_in_a_batch_wait_for_the_next),
		cmocka_unit_test(L4_L8_stop_finishes_the_batch_then_returns),
		cmocka_unit_test(
		    L5_L7_stop_before_run_is_one_iteration_without_waiting),
		cmocka_unit_test(
		    L6_stop_from_another_thread_ends_the_wait_at_once),
		cmocka_unit_test(L6_stop_in_a_signal_handler_ends_the_wait),
		cmocka_unit_test(L9_a_call_that_queues_itself_starves_no_timer),
		cmocka_unit_test(L9_descriptors_are_polled_inside_a_long_batch),
		cmocka_unit_test(L10_run_until_runs_once_even_when_settled),
		cmocka_unit_test(
		    L10_run_until_gives_the_code_of_any_loops_future),
		cmocka_unit_test(L10_L11_a_stopped_run_until_leaves_no_trace),
		cmocka_unit_test(
		    L12_run_until_idle_waits_for_timers_calls_and_jobs),
		cmocka_unit_test(
		    L12_the_last_timer_cancelled_elsewhere_makes_it_idle),
		cmocka_unit_test(L13_any_thread_may_run_it_one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
