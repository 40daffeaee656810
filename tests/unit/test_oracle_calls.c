/*
 * CPython's tests of calls and timers, ported; each is named after its origin.
 * Entries 16 to 21 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_events.py and test_base_events.py.
 */

#include "tests/unit/loop_rig.h"

struct words {
	es_loop *loop;
	char said[8][16];
	unsigned n, stop_at;
};

struct word {
	struct words *words;
	const char *text;
};

/* Said; the last one wanted stops the loop. */
static void
say(void *arg)
{
	struct word *word = arg;
	struct words *words = word->words;

	(void)snprintf(
	    words->said[words->n], sizeof(words->said[0]), "%s", word->text);
	if (++words->n >= words->stop_at)
		es_loop_stop(words->loop);
}

static void
O16_events_test_call_soon(void **state)
{
	struct words words = { .loop = rig_loop(), .stop_at = 1 };
	struct word word = { &words, "hello world" };

	(void)state;
	rig_soon(words.loop, say, &word);
	assert_int_equal(words.n, 0);
	assert_int_equal(es_loop_run(words.loop), 0);
	assert_int_equal(words.n, 1);
	assert_string_equal(words.said[0], "hello world");
	rig_end(words.loop);
}

static void
O17_events_test_call_later(void **state)
{
	struct words words = { .loop = rig_loop(), .stop_at = 1 };
	struct word word = { &words, "hello world" };
	es_usec began = es_loop_time(words.loop);

	(void)state;
	rig_later(words.loop, ES_MS(100), say, &word);
	assert_int_equal(es_loop_run(words.loop), 0);
	assert_int_equal(words.n, 1);
	assert_string_equal(words.said[0], "hello world");
	/* T1: asyncio allows one clock resolution less, we do not. */
	assert_true(es_loop_time(words.loop) - began >= ES_MS(100));
	rig_end(words.loop);
}

static void
O18_base_events_test_time_and_call_at(void **state)
{
	es_loop *loop = rig_loop();
	es_usec began = es_loop_time(loop), when = began + ES_MS(100);

	(void)state;
	assert_int_equal(
	    es_call_at(loop, when, "cb", rig_stop, loop, NULL, NULL), 0);
	assert_int_equal(es_loop_run(loop), 0);
	assert_true(es_loop_time(loop) >= when);
	/* "when cannot be None": times are numbers here, all of them good. */
	assert_int_equal(
	    es_call_at(loop, INT64_MIN, "cb", rig_stop, loop, NULL, NULL), 0);
	assert_int_equal(es_loop_run(loop), 0);
	rig_end(loop);
}

struct speaker {
	struct word word;
	struct rig_gate said;
};

static void *
say_from_thread(void *arg)
{
	struct speaker *speaker = arg;

	rig_soon(speaker->word.words->loop, say, &speaker->word);
	rig_open(&speaker->said);
	return NULL;
}

static void
O19_events_test_call_soon_threadsafe(void **state)
{
	struct words words = { .loop = rig_loop(), .stop_at = 2 };
	struct speaker hello = { { &words, "hello" }, RIG_GATE };
	struct word world = { &words, "world" };
	pthread_t thread;

	(void)state;
	assert_int_equal(
	    pthread_create(&thread, NULL, say_from_thread, &hello), 0);
	assert_true(rig_pass(&hello.said, 1));
	rig_soon(words.loop, say, &world);
	assert_int_equal(es_loop_run(words.loop), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(words.n, 2);
	assert_string_equal(words.said[0], "hello");
	assert_string_equal(words.said[1], "world");
	rig_end(words.loop);
}

static void
O20_events_test_call_soon_threadsafe_same_thread(void **state)
{
	struct words words = { .loop = rig_loop(), .stop_at = 2 };
	struct word hello = { &words, "hello" }, world = { &words, "world" };

	(void)state;
	rig_soon(words.loop, say, &hello);
	rig_soon(words.loop, say, &world);
	assert_int_equal(es_loop_run(words.loop), 0);
	assert_int_equal(words.n, 2);
	assert_string_equal(words.said[0], "hello");
	assert_string_equal(words.said[1], "world");
	rig_end(words.loop);
}

/* The handle remembers that it was cancelled; C: drop runs once. */
static void
O21_events_test_handle(void **state)
{
	es_loop *loop = rig_loop();
	es_call *call = NULL;

	(void)state;
	rig_forget();
	assert_int_equal(es_call_soon(loop, "callback", rig_never,
			     RIG_LETTER('d'), rig_note, &call),
	    0);
	assert_int_equal(es_call_cancel(call), 1);
	assert_int_equal(es_call_cancel(call), 0);
	rig_turn(loop);
	rig_turn(loop);
	rig_expect("d");
	es_call_unref(call);
	rig_end(loop);
	rig_expect("d");
}

static void
O21_base_events_test__add_callback_cancelled_handle(void **state)
{
	es_loop *loop = rig_loop();
	es_call *soon = NULL, *later = NULL;
	es_loop_stats stats;

	(void)state;
	assert_int_equal(
	    es_call_soon(loop, "soon", rig_never, NULL, NULL, &soon), 0);
	assert_int_equal(
	    es_call_later(loop, 0, "later", rig_never, NULL, NULL, &later), 0);
	assert_int_equal(es_call_cancel(soon), 1);
	assert_int_equal(es_call_cancel(later), 1);
	rig_turn(loop);
	es_loop_get_stats(loop, &stats);
	assert_int_equal(stats.queued, 0);
	assert_int_equal(stats.timers, 0);
	es_call_unref(soon);
	es_call_unref(later);
	rig_end(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(O16_events_test_call_soon),
		cmocka_unit_test(O17_events_test_call_later),
		cmocka_unit_test(O18_base_events_test_time_and_call_at),
		cmocka_unit_test(O19_events_test_call_soon_threadsafe),
		cmocka_unit_test(
		    O20_events_test_call_soon_threadsafe_same_thread),
		cmocka_unit_test(O21_events_test_handle),
		cmocka_unit_test(
		    O21_base_events_test__add_callback_cancelled_handle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
