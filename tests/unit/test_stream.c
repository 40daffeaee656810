/*
 * Streams: invariants B1 to B11, DL8.
 */

#include "tests/unit/task_rig.h"

static es_tx *tx;
static es_rx *rx;

static void
open_stream(unsigned max_items, size_t max_bytes)
{
	es_stream_opts opts = { .max_items = max_items,
		.max_bytes = max_bytes };

	assert_int_equal(es_stream_new(loop, &opts, &tx, &rx), 0);
}

static int
send_int(int64_t i)
{
	return es_send(tx, ES_INT(i), 1, 0);
}

static int64_t
next_int(void)
{
	es_value value;

	assert_int_equal(es_next(rx, RIG_PATIENCE, &value), 1);
	return value.i;
}

static void
B1_B11_values_come_in_order_also_nothing_and_0(void **state)
{
	es_value value;

	(void)state;
	open_stream(0, 0);
	assert_int_equal(send_int(1), 0);
	assert_int_equal(es_send(tx, ES_NOTHING, 0, 0), 0);
	assert_int_equal(send_int(0), 0);
	assert_int_equal(send_int(3), 0);
	assert_int_equal(es_tx_end(tx, 0, NULL), 0);
	assert_int_equal(next_int(), 1);
	assert_int_equal(es_next(rx, 0, &value), 1);
	assert_null(value.p);
	assert_int_equal(next_int(), 0);
	assert_int_equal(next_int(), 3);
	assert_int_equal(es_next(rx, 0, &value), 0);
	assert_int_equal(es_next(rx, ES_FOREVER, &value), 0); /* B4 */
	assert_int_equal(es_rx_close(rx), 0);
}

static void
B2_B3_bounded_by_items_and_bytes(void **state)
{
	(void)state;
	open_stream(3, 100);
	assert_int_equal(es_send(tx, ES_INT(1), 1000, 0), 0); /* alone it may */
	assert_int_equal(es_send(tx, ES_INT(2), 1, 0), -EAGAIN);
	assert_int_equal(next_int(), 1);
	assert_int_equal(es_send(tx, ES_INT(2), 60, 0), 0);
	assert_int_equal(es_send(tx, ES_INT(3), 41, 0), -EAGAIN);
	assert_int_equal(es_send(tx, ES_INT(3), 40, 0), 0);
	assert_int_equal(es_send(tx, ES_INT(4), 1, 0), -EAGAIN);
	assert_int_equal(es_send(tx, ES_INT(4), 0, 0), 0);
	assert_int_equal(es_send(tx, ES_INT(5), 0, 0), -EAGAIN);
	assert_int_equal(es_send(tx, ES_INT(5), 0, ES_MS(1)), -ETIMEDOUT);
	assert_int_equal(next_int(), 2);
	assert_int_equal(next_int(), 3);
	assert_int_equal(next_int(), 4);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

static void
B4_a_failure_comes_after_the_last_value_every_time(void **state)
{
	es_value value;

	(void)state;
	open_stream(0, 0);
	assert_int_equal(send_int(1), 0);
	assert_null(es_rx_error(rx));
	assert_int_equal(es_tx_end(tx, -EIO, "disk 3 is gone"), 0);
	assert_null(es_rx_error(rx));
	assert_int_equal(next_int(), 1);
	assert_int_equal(es_next(rx, 0, &value), -EIO);
	assert_int_equal(es_next(rx, ES_FOREVER, &value), -EIO);
	assert_string_equal(es_rx_error(rx), "disk 3 is gone");
	(void)es_rx_close(rx);
}

static void
B5_a_reader_that_leaves_drops_and_tells(void **state)
{
	es_value noted = ES_PTR(RIG_LETTER('d'), rig_note);

	(void)state;
	open_stream(0, 0);
	assert_int_equal(es_send(tx, noted, 1, 0), 0);
	assert_int_equal(es_send(tx, noted, 1, 0), 0);
	rig_expect("");
	(void)es_rx_close(rx);
	rig_expect("dd");
	assert_int_equal(es_send(tx, noted, 1, ES_S(1000)), -EPIPE);
	rig_expect("dd"); /* it stays ours */
	(void)es_tx_end(tx, 0, NULL);
	assert_int_equal(es_rx_close(NULL), 0);
	assert_int_equal(es_tx_end(NULL, 0, NULL), 0);
}

static void
B7_a_time_out_loses_nothing(void **state)
{
	es_value value;

	(void)state;
	open_stream(0, 0);
	assert_int_equal(es_next(rx, 0, &value), -ETIMEDOUT);
	assert_int_equal(es_next(rx, ES_MS(1), &value), -ETIMEDOUT);
	assert_int_equal(send_int(5), 0);
	assert_int_equal(next_int(), 5);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

#define MANY 20000

static void *
send_many(void *arg)
{
	int64_t i;

	(void)arg;
	for (i = 0; i < MANY; i++)
		if (es_send(tx, ES_INT(i), 1, RIG_PATIENCE) < 0)
			abort();
	(void)es_tx_end(tx, 0, NULL);
	return NULL;
}

static int
task_send_many(void *arg, es_value *ret)
{
	(void)ret;
	(void)send_many(arg);
	return 0;
}

static int
task_read_many(void *arg, es_value *ret)
{
	int64_t next = 0;

	(void)arg;
	es_each(v, rx, RIG_PATIENCE)
	{
		if (v.i != next++)
			return -EPROTO;
	}
	*ret = ES_INT(next);
	return 0;
}

static void
B1_B3_from_a_thread_to_a_task_and_back(void **state)
{
	es_loop_thread *thread = NULL;
	es_future *f = NULL;
	pthread_t sender;
	es_value value;
	int64_t next = 0;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	open_stream(8, 0);
	assert_int_equal(pthread_create(&sender, NULL, send_many, NULL), 0);
	f = spawn(task_read_many, NULL);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, &value), 0);
	assert_int_equal(value.i, MANY);
	assert_int_equal(pthread_join(sender, NULL), 0);
	(void)es_rx_close(rx);
	open_stream(8, 0);
	f = spawn(task_send_many, NULL);
	while (es_next(rx, RIG_PATIENCE, &value) == 1)
		assert_int_equal(value.i, next++);
	assert_int_equal(next, MANY);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, NULL), 0);
	(void)es_rx_close(rx);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
}

static void *
send_some(void *arg)
{
	int64_t i;

	for (i = 0; i < 1000; i++)
		if (es_send(tx, ES_INT((intptr_t)arg * 1000 + i), 1,
			RIG_PATIENCE) < 0)
			abort();
	return NULL;
}

static void
B1_several_senders_keep_their_order(void **state)
{
	int64_t next[4] = { 0 }, i;
	pthread_t senders[4];

	(void)state;
	open_stream(4, 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&senders[i], NULL, send_some,
				     (void *)(intptr_t)i),
		    0);
	for (i = 0; i < 4000; i++) {
		int64_t v = next_int();

		assert_int_equal(v % 1000, next[v / 1000]++);
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_join(senders[i], NULL), 0);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

static void
B9_a_closed_loop_gives_the_rest_then_says_so(void **state)
{
	es_value value;

	(void)state;
	open_stream(0, 0);
	assert_int_equal(send_int(1), 0);
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(next_int(), 1);
	assert_int_equal(es_next(rx, 0, &value), -ESHUTDOWN);
	assert_int_equal(es_next(rx, ES_FOREVER, &value), -ESHUTDOWN);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
	assert_int_equal(es_stream_new(loop, NULL, &tx, &rx), -ESHUTDOWN);
}

static void *
read_for_ever(void *arg)
{
	es_value value;

	*(int *)arg = es_next(rx, ES_FOREVER, &value);
	return NULL;
}

static void
B9_X4_a_blocked_reader_is_released_by_the_close(void **state)
{
	pthread_t reader;
	int result = 1;

	(void)state;
	open_stream(0, 0);
	assert_int_equal(
	    pthread_create(&reader, NULL, read_for_ever, &result), 0);
	usleep(5000); /* it waits by then, or soon: both are fine */
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(pthread_join(reader, NULL), 0);
	assert_int_equal(result, -ESHUTDOWN);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

static int
task_read_one(void *arg, es_value *ret)
{
	int r = es_next(arg, ES_S(1000), ret);

	return r == 1 ? 0 : r < 0 ? r : -EPROTO;
}

static void
B8_a_cancelled_reader_loses_no_value(void **state)
{
	es_future *first, *second;
	es_value value;

	(void)state;
	open_stream(0, 0);
	first = spawn(task_read_one, rx);
	rig_turn(loop);
	/* Woken and cancelled before it runs: what is there, it takes. */
	assert_int_equal(send_int(1), 0);
	assert_int_equal(es_future_cancel(first), 1);
	assert_int_equal(es_loop_run_until(loop, first), 0);
	es_future_unref(first);
	/* Cancelled first: the next reader finds the value. */
	first = spawn(task_read_one, rx);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(first), 1);
	assert_int_equal(es_loop_run_until(loop, first), -ECANCELED);
	assert_int_equal(send_int(2), 0);
	second = spawn(task_read_one, rx);
	assert_int_equal(es_loop_run_until(loop, second), 0);
	assert_int_equal(es_future_take(second, &value), 0);
	assert_int_equal(value.i, 2);
	es_future_unref(first);
	es_future_unref(second);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

static int
task_send_one(void *arg, es_value *ret)
{
	(void)ret;
	return es_send(tx, ES_INT((intptr_t)arg), 1, ES_S(1000));
}

static void
B8_a_cancelled_sender_leaves_the_room_to_the_next(void **state)
{
	es_future *first, *second;
	es_value value;

	(void)state;
	open_stream(1, 0);
	assert_int_equal(send_int(1), 0);
	first = spawn(task_send_one, (void *)2);
	second = spawn(task_send_one, (void *)3);
	rig_turn(loop);
	/* Only the first was woken; it is cancelled before it runs again. */
	assert_int_equal(es_future_cancel(first), 1);
	assert_int_equal(es_loop_run_until(loop, first), -ECANCELED);
	assert_int_equal(next_int(), 1);
	assert_int_equal(es_loop_run_until(loop, second), 0);
	assert_int_equal(next_int(), 3);
	assert_int_equal(es_next(rx, 0, &value), -ETIMEDOUT);
	es_future_unref(first);
	es_future_unref(second);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

static void
B10_collect_is_bounded(void **state)
{
	es_value *values = NULL;
	es_value noted = ES_PTR(RIG_LETTER('d'), rig_note);
	size_t n = 99, i;

	(void)state;
	open_stream(0, 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(send_int((int64_t)i), 0);
	(void)es_tx_end(tx, 0, NULL);
	assert_int_equal(es_collect(rx, 3, 0, &values, &n), 0);
	assert_int_equal(n, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(values[i].i, i);
	free(values);
	values = NULL;
	open_stream(0, 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(es_send(tx, noted, 1, 0), 0);
	assert_int_equal(es_collect(rx, 3, 0, &values, &n), -EMSGSIZE);
	rig_expect("dddd");
	assert_null(values);
	assert_int_equal(send_int(1), -EPIPE);
	(void)es_tx_end(tx, 0, NULL);
	open_stream(0, 0);
	assert_int_equal(es_send(tx, noted, 1, 0), 0);
	assert_int_equal(es_collect(rx, 3, ES_MS(1), &values, &n), -ETIMEDOUT);
	rig_expect("ddddd");
	(void)es_tx_end(tx, 0, NULL);
}

struct in_call {
	int next, next_0, send, send_0, ready;
};

static void
call_tries(void *arg)
{
	struct in_call *c = arg;
	es_value value;

	c->next = es_next(rx, ES_S(1), &value);
	c->next_0 = es_next(rx, 0, &value);
	c->ready = es_send(tx, ES_INT(1), 1, ES_S(1)); /* can go on at once */
	c->send = es_send(tx, ES_INT(2), 1, ES_S(1));
	c->send_0 = es_send(tx, ES_INT(2), 1, 0);
}

static void
DL8_waiting_in_a_call_is_refused(void **state)
{
	struct in_call c = { 0 };

	(void)state;
	open_stream(1, 0);
	rig_soon(loop, call_tries, &c);
	rig_turn(loop);
	assert_int_equal(c.next, -EDEADLK);
	assert_int_equal(c.next_0, -ETIMEDOUT);
	assert_int_equal(c.ready, 0);
	assert_int_equal(c.send, -EDEADLK);
	assert_int_equal(c.send_0, -EAGAIN);
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

static void
B3_notices_come_once_on_their_loop(void **state)
{
	(void)state;
	open_stream(1, 0);
	assert_int_equal(
	    es_rx_on_ready(rx, loop, rig_note, RIG_LETTER('r')), 0);
	assert_int_equal(
	    es_rx_on_ready(rx, loop, rig_note, RIG_LETTER('x')), -EALREADY);
	rig_turn(loop);
	rig_expect("");
	assert_int_equal(send_int(1), 0);
	rig_expect("");
	assert_int_equal(es_tx_on_room(tx, loop, rig_note, RIG_LETTER('t')), 0);
	rig_turn(loop);
	rig_expect("r");
	assert_int_equal(next_int(), 1);
	rig_turn(loop);
	rig_expect("rt");
	assert_int_equal(send_int(2), 0);
	rig_turn(loop);
	rig_expect("rt"); /* once */
	/* What is so already is told at once; the end and a leaver count. */
	assert_int_equal(
	    es_rx_on_ready(rx, loop, rig_note, RIG_LETTER('s')), 0);
	rig_turn(loop);
	rig_expect("rts");
	assert_int_equal(es_tx_on_room(tx, loop, rig_note, RIG_LETTER('u')), 0);
	(void)es_rx_close(rx);
	rig_turn(loop);
	rig_expect("rtsu");
	(void)es_tx_end(tx, 0, NULL);
}

static void
an_end_that_is_gone_hears_no_notice(void **state)
{
	es_loop *other = rig_loop();

	(void)state;
	open_stream(1, 0);
	assert_int_equal(
	    es_rx_on_ready(rx, loop, rig_note, RIG_LETTER('x')), 0);
	assert_int_equal(send_int(1), 0);
	assert_int_equal(
	    es_tx_on_room(tx, other, rig_note, RIG_LETTER('y')), 0);
	(void)es_rx_close(rx); /* its notice was queued, and is forgotten */
	(void)es_tx_end(tx, 0, NULL);
	rig_turn(loop);
	rig_turn(other);
	rig_expect("");
	open_stream(1, 0);
	assert_int_equal(
	    es_rx_on_ready(rx, other, rig_note, RIG_LETTER('z')), 0);
	rig_end(other); /* with the notice pending */
	assert_int_equal(send_int(1), 0);
	rig_expect("");
	(void)es_tx_end(tx, 0, NULL);
	(void)es_rx_close(rx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(B1_B11_values_come_in_order_also_nothing_and_0),
		IN_LOOP(B2_B3_bounded_by_items_and_bytes),
		IN_LOOP(B4_a_failure_comes_after_the_last_value_every_time),
		IN_LOOP(B5_a_reader_that_leaves_drops_and_tells),
		IN_LOOP(B7_a_time_out_loses_nothing),
		IN_LOOP(B1_B3_from_a_thread_to_a_task_and_back),
		IN_LOOP(B1_several_senders_keep_their_order),
		IN_LOOP(B9_a_closed_loop_gives_the_rest_then_says_so),
		IN_LOOP(B9_X4_a_blocked_reader_is_released_by_the_close),
		IN_LOOP(B8_a_cancelled_reader_loses_no_value),
		IN_LOOP(B8_a_cancelled_sender_leaves_the_room_to_the_next),
		IN_LOOP(B10_collect_is_bounded),
		IN_LOOP(DL8_waiting_in_a_call_is_refused),
		IN_LOOP(B3_notices_come_once_on_their_loop),
		IN_LOOP(an_end_that_is_gone_hears_no_notice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
