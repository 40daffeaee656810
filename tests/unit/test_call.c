/*
 * Calls and timers: invariants C1 to C10, T1 to T6.
 */

#include "tests/unit/loop_rig.h"

static void
C1_calls_run_in_the_order_they_came(void **state)
{
	es_loop *loop = rig_loop();
	char c;

	(void)state;
	rig_forget();
	for (c = 'a'; c <= 'z'; c++)
		rig_soon(loop, rig_note, RIG_LETTER(c));
	rig_turn(loop);
	rig_expect("abcdefghijklmnopqrstuvwxyz");
	rig_end(loop);
}

struct row {
	unsigned next, wrong;
};

static struct row rows[4];

struct ticket {
	struct row *row;
	unsigned number;
};

static void
row_take(void *arg)
{
	struct ticket *ticket = arg;

	if (ticket->row->next++ != ticket->number)
		ticket->row->wrong++;
	free(ticket);
}

struct sender {
	es_loop *loop;
	struct row *row;
	unsigned count;
	pthread_t thread;
};

static void *
send_tickets(void *arg)
{
	struct sender *s = arg;
	unsigned i;

	for (i = 0; i < s->count; i++) {
		struct ticket *ticket = malloc(sizeof(*ticket));

		*ticket = (struct ticket){ .row = s->row, .number = i };
		while (es_call_soon(
			   s->loop, "row", row_take, ticket, free, NULL) < 0)
			;
	}
	return NULL;
}

static void
C1_W2_order_holds_for_each_of_four_threads(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;
	struct sender senders[4];
	es_future *f = NULL;
	size_t i;

	(void)state;
	memset(rows, 0, sizeof(rows));
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	for (i = 0; i < 4; i++) {
		senders[i] = (struct sender){
			.loop = loop, .row = &rows[i], .count = 20000
		};
		assert_int_equal(pthread_create(&senders[i].thread, NULL,
				     send_tickets, &senders[i]),
		    0);
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(rows[i].wrong, 0);
	es_future_unref(f);
	es_loop_unref(loop);
}

struct hello {
	es_loop *loop;
	struct rig_gate said;
};

static void *
say_hello(void *arg)
{
	struct hello *h = arg;

	rig_soon(h->loop, rig_note, RIG_LETTER('h'));
	rig_open(&h->said);
	return NULL;
}

static void
C1_hello_from_a_thread_before_world_from_here(void **state)
{
	struct hello h = { .loop = rig_loop(), .said = RIG_GATE };
	pthread_t thread;

	(void)state;
	rig_forget();
	assert_int_equal(pthread_create(&thread, NULL, say_hello, &h), 0);
	assert_true(rig_pass(&h.said, 1));
	rig_soon(h.loop, rig_note, RIG_LETTER('w'));
	rig_turn(h.loop);
	rig_expect("hw");
	assert_int_equal(pthread_join(thread, NULL), 0);
	rig_end(h.loop);
}

static void
C2_C5_a_cancelled_call_drops_on_the_loops_thread(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;

	(void)state;
	rig_forget();
	assert_int_equal(es_call_soon(loop, "x", rig_never, RIG_LETTER('d'),
			     rig_note, &call),
	    0);
	rig_soon(loop, rig_note, RIG_LETTER('a'));
	assert_int_equal(es_call_cancel(call), 1);
	assert_int_equal(es_call_cancel(call), 0);
	rig_expect("");
	rig_turn(loop);
	rig_expect("da");
	assert_int_equal(es_call_cancel(call), 0);
	es_call_unref(call);
	rig_end(loop);
}

static void
C2_calls_left_at_close_are_dropped_in_order(void **state)
{
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_call_soon(loop, "x", rig_never, RIG_LETTER('a'), rig_note, NULL),
	    0);
	assert_int_equal(es_call_later(loop, ES_S(9), "x", rig_never,
			     RIG_LETTER('c'), rig_note, NULL),
	    0);
	assert_int_equal(es_call_later(loop, ES_S(8), "x", rig_never,
			     RIG_LETTER('b'), rig_note, NULL),
	    0);
	assert_int_equal(es_call_at(loop, ES_FOREVER, "x", rig_never,
			     RIG_LETTER('d'), rig_note, NULL),
	    0);
	rig_end(loop);
	rig_expect("abcd");
}

static void
C3_a_refused_call_is_not_dropped(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;
	es_future *f = NULL;

	(void)state;
	rig_forget();
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_call_soon(loop, "x", rig_never, RIG_LETTER('a'),
			     rig_note, &call),
	    -ESHUTDOWN);
	assert_null(call);
	assert_int_equal(es_call_later(loop, 0, "x", rig_never, RIG_LETTER('b'),
			     rig_note, &call),
	    -ESHUTDOWN);
	assert_null(call);
	assert_int_equal(es_loop_invoke(loop, "x", rig_never_body,
			     RIG_LETTER('c'), rig_note, &f),
	    -ESHUTDOWN);
	assert_null(f);
	rig_expect("");
	es_loop_unref(loop);
}

static void
cancel_it(void *arg)
{
	assert_int_equal(es_call_cancel(*(es_call **)arg), 1);
}

static void
C4_a_later_call_of_the_same_batch_can_be_cancelled(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;

	(void)state;
	rig_forget();
	rig_soon(loop, cancel_it, &call);
	assert_int_equal(es_call_soon(loop, "x", rig_never, RIG_LETTER('d'),
			     rig_note, &call),
	    0);
	rig_turn(loop);
	rig_expect("d");
	es_call_unref(call);
	rig_end(loop);
}

static void
cancel_self(void *arg)
{
	assert_int_equal(es_call_cancel(*(es_call **)arg), 0);
	rig_note_char('s');
}

static void
forget_it(void *arg)
{
	es_call_forget(arg);
}

/* Waiting, running, over, or none at all. */
static void
a_forgotten_call_does_not_run(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;

	(void)state;
	rig_forget();
	es_call_forget(&call);
	assert_int_equal(es_call_later(loop, ES_S(3600), "x", rig_note,
			     RIG_LETTER('x'), NULL, &call),
	    0);
	rig_soon(loop, forget_it, &call);
	rig_turn(loop);
	assert_null(call);
	assert_int_equal(
	    es_call_soon(loop, "x", forget_it, &call, NULL, &call), 0);
	rig_turn(loop);
	assert_null(call);
	assert_int_equal(
	    es_call_soon(loop, "x", rig_note, RIG_LETTER('y'), NULL, &call), 0);
	rig_turn(loop);
	es_call_forget(&call);
	assert_null(call);
	rig_turn(loop);
	rig_expect("y");
	rig_end(loop);
}

static void
C4_a_running_call_is_too_late_to_cancel(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_call_soon(loop, "x", cancel_self, &call, NULL, &call), 0);
	rig_turn(loop);
	rig_expect("s");
	es_call_unref(call);
	rig_end(loop);
}

#define RACE_CALLS 2000

struct race {
	es_call *calls[RACE_CALLS];
	_Atomic unsigned ran, dropped;
	unsigned cancelled;
	es_loop *loop;
};

static struct race race;

static void
race_run(void *arg)
{
	(void)arg;
	atomic_fetch_add(&race.ran, 1);
}

static void
race_drop(void *arg)
{
	(void)arg;
	assert_true(es_loop_current() == race.loop);
	atomic_fetch_add(&race.dropped, 1);
}

static void *
race_cancel(void *arg)
{
	unsigned i;

	(void)arg;
	for (i = 0; i < RACE_CALLS; i++)
		race.cancelled += (unsigned)es_call_cancel(race.calls[i]);
	return NULL;
}

static void
C2_C4_C5_each_call_runs_or_drops_whoever_cancels(void **state)
{
	es_loop_thread *thread = NULL;
	pthread_t canceller;
	unsigned i;

	(void)state;
	memset(&race, 0, sizeof(race));
	race.loop = rig_loop();
	for (i = 0; i < RACE_CALLS; i++) {
		int r = i % 2 ? es_call_soon(race.loop, "x", race_run, NULL,
				    race_drop, &race.calls[i])
			      : es_call_later(race.loop, (es_usec)i, "x",
				    race_run, NULL, race_drop, &race.calls[i]);

		assert_int_equal(r, 0);
	}
	assert_int_equal(
	    pthread_create(&canceller, NULL, race_cancel, NULL), 0);
	assert_int_equal(es_loop_thread_start(race.loop, &thread), 0);
	assert_int_equal(pthread_join(canceller, NULL), 0);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	assert_int_equal(race.ran + race.dropped, RACE_CALLS);
	assert_true(race.cancelled <= race.dropped);
	for (i = 0; i < RACE_CALLS; i++)
		es_call_unref(race.calls[i]);
	es_loop_unref(race.loop);
}

static void
C6_cancelled_timers_do_not_pile_up(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_stats stats;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		es_call *call = NULL;

		assert_int_equal(es_call_later(loop, ES_S(1000), "x", rig_note,
				     NULL, NULL, &call),
		    0);
		assert_int_equal(es_call_cancel(call), 1);
		es_call_unref(call);
		es_loop_get_stats(loop, &stats);
		assert_int_equal(stats.timers, 0);
	}
	rig_end(loop);
}

static void
C7_calls_and_timers_run_once(void **state)
{
	es_loop *loop = rig_loop();
	int i;

	(void)state;
	rig_forget();
	rig_soon(loop, rig_note, RIG_LETTER('a'));
	rig_later(loop, 0, rig_note, RIG_LETTER('b'));
	for (i = 0; i < 100; i++)
		rig_turn(loop);
	rig_expect("ab");
	rig_end(loop);
}

static void
C8_a_million_submits_wait_for_nothing(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_stats stats;
	unsigned i;

	(void)state;
	atomic_store(&race.ran, 0);
	for (i = 0; i < 200000; i++)
		rig_soon(loop, race_run, NULL);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.queued, 200000);
	rig_turn(loop);
	assert_int_equal(race.ran, 200000);
	rig_end(loop);
}

static void
submit_many(void *arg)
{
	int i;

	for (i = 0; i < 1000; i++)
		rig_soon(arg, race_run, NULL);
	rig_later(arg, ES_MS(1), rig_stop, arg);
}

static void
C9_the_loops_own_submits_wake_nobody(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_stats stats;

	(void)state;
	rig_soon(loop, submit_many, loop);
	assert_int_equal(es_loop_run(loop), 0);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.wakeups, 0);
	rig_end(loop);
}

struct slow_taker {
	es_loop *loop;
	struct rig_gate started, go;
};

static void
wait_at_gate(void *arg)
{
	struct slow_taker *t = arg;

	rig_open(&t->started);
	(void)rig_pass(&t->go, 1);
}

static void
C9_wakeups_coalesce_one_write_per_sleep(void **state)
{
	struct slow_taker t = {
		.loop = rig_loop(), .started = RIG_GATE, .go = RIG_GATE
	};
	es_loop_thread *thread = NULL;
	es_loop_stats stats;
	int i;

	(void)state;
	assert_int_equal(es_loop_thread_start(t.loop, &thread), 0);
	rig_soon(t.loop, wait_at_gate, &t);
	assert_true(rig_pass(&t.started, 1));
	/* It is busy: nothing of this writes the eventfd. */
	for (i = 0; i < 1000; i++)
		rig_soon(t.loop, race_run, NULL);
	es_loop_get_stats(t.loop, &stats);
	assert_true(stats.wakeups <= 1);
	rig_open(&t.go);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	es_loop_get_stats(t.loop, &stats);
	assert_true(stats.wakeups <= 2); /* the gate's and the stop's */
	es_loop_unref(t.loop);
}

static int
fail_disk(void *arg, es_value *ret)
{
	*ret = ES_PTR(arg, rig_note); /* a failure's value is dropped */
	return -EIO;
}

static void
C10_a_call_tells_failure_through_its_future(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = NULL;

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_loop_invoke(loop, "disk", fail_disk, RIG_LETTER('v'), NULL, &f),
	    0);
	assert_int_equal(es_loop_run_until(loop, f), -EIO);
	rig_expect("v");
	es_future_unref(f);
	rig_end(loop);
}

static void
an_invocation_cancelled_before_it_ran_settles_at_once(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = NULL;

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_loop_invoke(loop, "x", fail_disk, RIG_LETTER('d'), rig_note, &f),
	    0);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_future_result(f, NULL), -ECANCELED);
	rig_turn(loop);
	rig_expect("d");
	es_future_unref(f);
	rig_end(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C1_calls_run_in_the_order_they_came),
		cmocka_unit_test(C1_W2_order_holds_for_each_of_four_threads),
		cmocka_unit_test(C1_hello_from_a_thread_before_world_from_here),
		cmocka_unit_test(
		    C2_C5_a_cancelled_call_drops_on_the_loops_thread),
		cmocka_unit_test(C2_calls_left_at_close_are_dropped_in_order),
		cmocka_unit_test(C3_a_refused_call_is_not_dropped),
		cmocka_unit_test(
		    C4_a_later_call_of_the_same_batch_can_be_cancelled),
		cmocka_unit_test(C4_a_running_call_is_too_late_to_cancel),
		cmocka_unit_test(
		    C2_C4_C5_each_call_runs_or_drops_whoever_cancels),
		cmocka_unit_test(C6_cancelled_timers_do_not_pile_up),
		cmocka_unit_test(C7_calls_and_timers_run_once),
		cmocka_unit_test(a_forgotten_call_does_not_run),
		cmocka_unit_test(C8_a_million_submits_wait_for_nothing),
		cmocka_unit_test(C9_the_loops_own_submits_wake_nobody),
		cmocka_unit_test(C9_wakeups_coalesce_one_write_per_sleep),
		cmocka_unit_test(C10_a_call_tells_failure_through_its_future),
		cmocka_unit_test(
		    an_invocation_cancelled_before_it_ran_settles_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
