/*
 * Time: invariants T1 to T6.
 */

#include "tests/unit/loop_rig.h"

#include <event2/event.h>
#include <sys/time.h>

struct timed {
	es_usec due;
	es_usec late_max;
	unsigned early, ran;
	es_loop *loop;
};

static struct timed timed;

static void
timed_check(void *arg)
{
	es_usec now = clock_now_us();

	(void)arg;
	if (now < timed.due)
		timed.early++;
	if (now - timed.due > timed.late_max)
		timed.late_max = now - timed.due;
	if (++timed.ran == 200) {
		es_loop_stop(timed.loop);
		return;
	}
	timed.due = clock_now_us() + ES_MS(1);
	assert_int_equal(es_call_at(timed.loop, timed.due, "timer", timed_check,
			     NULL, NULL, NULL),
	    0);
}

static void
T1_T5_a_timer_is_never_early(void **state)
{
	(void)state;
	timed = (struct timed){ .loop = rig_loop(), .due = clock_now_us() };
	rig_soon(timed.loop, timed_check, NULL);
	assert_int_equal(es_loop_run(timed.loop), 0);
	assert_int_equal(timed.early, 0);
	assert_true(timed.late_max < RIG_PATIENCE);
	rig_end(timed.loop);
}

static void
T2_equal_times_run_in_the_order_they_were_asked_for(void **state)
{
	es_loop *loop = rig_loop();
	es_usec when = clock_now_us() + ES_MS(5);
	char c;

	(void)state;
	rig_forget();
	for (c = '0'; c <= '7'; c++)
		assert_int_equal(es_call_at(loop, when, "x", rig_note,
				     RIG_LETTER(c), NULL, NULL),
		    0);
	assert_int_equal(es_loop_run_until_idle(loop), 0);
	rig_expect("01234567");
	rig_end(loop);
}

static void
T3_past_times_are_due_now_by_time(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	rig_later(loop, -1, rig_note, RIG_LETTER('a'));
	rig_later(loop, -ES_S(1000), rig_note, RIG_LETTER('b'));
	rig_later(loop, INT64_MIN, rig_note, RIG_LETTER('c'));
	rig_turn(loop);
	rig_expect("cba");
	rig_end(loop);
}

static void
T4_queued_calls_run_before_timers_that_became_due(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	rig_later(loop, 0, rig_note, RIG_LETTER('t'));
	rig_soon(loop, rig_note, RIG_LETTER('a'));
	rig_turn(loop);
	rig_expect("at");
	rig_end(loop);
}

static void
T6_for_ever_never_comes_and_sums_saturate(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_stats stats;

	(void)state;
	rig_forget();
	rig_later(loop, ES_FOREVER, rig_note, RIG_LETTER('x'));
	rig_later(loop, ES_FOREVER - 1, rig_note, RIG_LETTER('y'));
	rig_later(loop, ES_MS(2), rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.timers, 2);
	rig_expect("");
	rig_end(loop);
}

static int
find_timeout(
    const struct event_base *base, const struct event *event, void *arg)
{
	struct timeval now, tv;
	es_usec *least = arg, left;

	(void)base;
	(void)gettimeofday(&now, NULL);
	if (!event_pending(event, EV_TIMEOUT, &tv))
		return 0;
	left = ES_S(tv.tv_sec - now.tv_sec) + tv.tv_usec - now.tv_usec;
	*least = left < *least ? left : *least;
	return 0;
}

struct polls {
	es_loop *loop;
	es_usec most; /* how long a poll that began now would wait */
	struct rig_gate looked;
};

static void
look_at_poll(void *arg)
{
	struct polls *polls = arg;
	struct event_base *base = es_loop_event_base(polls->loop);

	polls->most = ES_FOREVER;
	(void)event_base_foreach_event(base, find_timeout, &polls->most);
	rig_open(&polls->looked);
}

/* There is a timer for later than one poll may wait: it is not for ever. */
static void
T6_one_poll_waits_a_day_at_most(void **state)
{
	struct polls polls = { .loop = rig_loop() };
	es_loop_thread *thread = NULL;
	es_loop_stats stats = { 0 };

	(void)state;
	rig_later(polls.loop, ES_S(30 * 3600), rig_never, NULL);
	assert_int_equal(es_loop_thread_start(polls.loop, &thread), 0);
	while (stats.wakeups == 0) { /* until one ended a sleep */
		polls.looked = (struct rig_gate)RIG_GATE;
		rig_soon(polls.loop, look_at_poll, &polls);
		assert_true(rig_pass(&polls.looked, 1));
		assert_true(polls.most <= ES_LOOP_WAIT_MAX + ES_S(60));
		es_loop_get_stats(polls.loop, &stats);
	}
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(polls.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T1_T5_a_timer_is_never_early),
		cmocka_unit_test(
		    T2_equal_times_run_in_the_order_they_were_asked_for),
		cmocka_unit_test(T3_past_times_are_due_now_by_time),
		cmocka_unit_test(
		    T4_queued_calls_run_before_timers_that_became_due),
		cmocka_unit_test(T6_for_ever_never_comes_and_sums_saturate),
		cmocka_unit_test(T6_one_poll_waits_a_day_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
