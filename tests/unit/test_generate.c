/*
 * Generators: tasks that feed a stream, read synchronously; B5, B6, B9.
 */

#include "tests/unit/task_rig.h"

static int
generate(es_tx *to, void *arg)
{
	int64_t i, n = (intptr_t)arg;

	for (i = 0; i < n; i++) {
		int r = es_sleep(i % 2 ? ES_MS(1) : 0);

		if (r == 0)
			r = es_send(to, ES_INT(i), 1, ES_S(1000));
		if (r < 0) {
			es_shield_begin(ES_S(10));
			rig_note_char(es_sleep(ES_MS(1)) == 0 ? 'u' : '-');
			es_shield_end();
			return r;
		}
	}
	return n == 5 ? 0 : es_fail(-EIO, "only %d", (int)n);
}

static es_rx *
generator(intptr_t n, unsigned max_items)
{
	es_stream_opts opts = { .max_items = max_items };
	es_rx *from = NULL;

	assert_int_equal(es_stream_spawn(loop, "gen", generate, (void *)n, NULL,
			     &opts, &from),
	    0);
	return from;
}

static void
B6_a_generator_is_read_synchronously(void **state)
{
	es_loop_thread *thread = NULL;
	es_rx *rx = generator(5, 1);
	es_value value;
	int64_t next = 0;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	es_each(v, rx, RIG_PATIENCE)
	{
		assert_int_equal(v.i, next++);
	}
	assert_int_equal(next, 5);
	(void)es_rx_close(rx);
	rx = generator(1, 1);
	assert_int_equal(es_next(rx, RIG_PATIENCE, &value), 1);
	assert_int_equal(es_next(rx, RIG_PATIENCE, &value), -EIO);
	assert_string_equal(es_rx_error(rx), "only 1");
	(void)es_rx_close(rx);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
}

static int64_t
read_one_and_leave(void)
{
	ES_SCOPED_RX *from = generator(1000000, 1);
	es_value value;

	return es_next(from, RIG_PATIENCE, &value) == 1 ? value.i : -1;
}

static void
B5_leaving_a_scope_stops_the_generator_which_cleans_up(void **state)
{
	es_loop_thread *thread = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(read_one_and_leave(), 0);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	rig_expect("u");
}

static void
B6_a_generator_that_never_began_ends_its_stream(void **state)
{
	es_rx *from = NULL;

	(void)state;
	assert_int_equal(es_stream_spawn(loop, "gen", generate, RIG_LETTER('d'),
			     rig_note, NULL, &from),
	    0);
	(void)es_rx_close(from);
	rig_turn(loop);
	rig_expect("d");
}

static void
B9_open_generators_of_a_closing_loop_clean_up(void **state)
{
	es_rx *from[3];
	es_value value;
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < 3; i++)
		from[i] = generator(1000000, 4);
	rig_turn(loop);
	rig_turn(loop);
	assert_int_equal(es_loop_close(loop, ES_S(10)), 0);
	rig_expect("uuu");
	for (i = 0; i < 3; i++) {
		while ((r = es_next(from[i], 0, &value)) == 1)
			;
		assert_int_equal(r, -ESHUTDOWN);
		(void)es_rx_close(from[i]);
	}
}

static void
B9_a_closed_loop_takes_no_generator(void **state)
{
	es_rx *from = NULL;

	(void)state;
	assert_int_equal(es_loop_close(loop, 0), 0);
	assert_int_equal(es_stream_spawn(loop, "x", generate, RIG_LETTER('x'),
			     rig_note, NULL, &from),
	    -ESHUTDOWN);
	rig_expect("");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(B6_a_generator_is_read_synchronously),
		IN_LOOP(B5_leaving_a_scope_stops_the_generator_which_cleans_up),
		IN_LOOP(B6_a_generator_that_never_began_ends_its_stream),
		IN_LOOP(B9_open_generators_of_a_closing_loop_clean_up),
		IN_LOOP(B9_a_closed_loop_takes_no_generator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
