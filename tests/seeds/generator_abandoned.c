/*
 * 000_c3603fa95d1d7725.txt, section 4.2, method 2, "hidden problem": who reads
 * a generator leaves early, and the generator never hears of it; "no better
 * solution".  Here leaving the scope of the reader is enough: the generator
 * is cancelled where it waits, and its clean-up, which waits too, finishes.
 *
 * > got 0
 * > got 1
 * > leaving early
 * > generator: Operation canceled
 * > generator: clean-up begins
 * > generator: clean-up finished
 * > got 0
 * > leaving while it waits for room
 * > sender: Broken pipe
 * > nothing is left
 */

#include "tests/seeds/seeds.h"

#define ITEM_TIME (SECOND / 10)

/* Told by the generator, waited for by the reader, to keep lines in order. */
static es_future *cleaned;

static int
async_gen(es_tx *tx, void *arg)
{
	int64_t i;
	int r = 0;

	(void)arg;
	for (i = 0; r == 0; i++) {
		/* After two it waits for so long that it has to be told. */
		r = es_sleep(i < 2 ? ITEM_TIME : ES_S(1000));
		if (r == 0)
			r = es_send(tx, ES_INT(i), sizeof(i), ES_FOREVER);
	}
	say("generator: %s", strerror(-r));
	es_shield_begin(ES_S(5)); /* finally: */
	say("generator: clean-up begins");
	if (es_sleep(SECOND) == 0)
		say("generator: clean-up finished");
	es_shield_end();
	(void)es_future_set_result(cleaned, ES_NOTHING); /* the only one */
	return r;
}

static void
read_two(es_loop *loop)
{
	ES_SCOPED_RX *rx = NULL;
	int64_t n = 0;

	(void)must(es_stream_spawn(
		       loop, "generator", async_gen, NULL, NULL, NULL, &rx),
	    "es_stream_spawn");
	es_each(v, rx, ES_FOREVER)
	{
		say("got %lld", (long long)v.i);
		if (++n == 2)
			break;
	}
	say("leaving early");
}

static int
send_for_ever(es_tx *tx, void *arg)
{
	int64_t i;
	int r = 0;

	(void)arg;
	for (i = 0; r == 0; i++)
		r = es_send(tx, ES_INT(i), sizeof(i), ES_FOREVER);
	say("sender: %s", strerror(-r));
	return r;
}

static void
read_one(es_loop *loop)
{
	es_stream_opts opts = { .max_items = 1 };
	es_rx *rx = NULL;
	es_value v;

	(void)must(es_stream_spawn(
		       loop, "sender", send_for_ever, NULL, NULL, &opts, &rx),
	    "es_stream_spawn");
	(void)must(es_next(rx, ES_FOREVER, &v), "es_next");
	say("got %lld", (long long)v.i);
	say("leaving while it waits for room");
	(void)es_rx_close(rx);
}

int
main(void)
{
	es_loop *loop = new_loop();
	es_loop_thread *thread = NULL;

	cleaned = es_future_new(loop);
	(void)must(es_loop_thread_start(loop, &thread), "thread");
	read_two(loop);
	(void)must(es_await(cleaned, ES_S(10)), "clean-up");
	read_one(loop);
	(void)must(es_loop_thread_stop(thread, ES_S(5)), "stop");
	say("nothing is left");
	es_future_unref(cleaned);
	es_loop_unref(loop);
	return 0;
}
