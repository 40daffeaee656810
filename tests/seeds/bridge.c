/*
 * 000_c3603fa95d1d7725.txt, section 6, the complete example: asynchronous
 * functions and generators used by synchronous code, a loop in its own thread
 * between them.  As printed there, names are missing.
 *
 * > fetch_data result: 20
 * > async_gen results: [0, 1, 2]
 */

#include "tests/seeds/seeds.h"

static int
fetch_data(void *arg, es_value *ret)
{
	int r = es_sleep(SECOND);

	*ret = ES_INT((intptr_t)arg * 2);
	return r;
}

static int
async_gen(es_tx *tx, void *arg)
{
	int64_t i;
	int r = 0;

	(void)arg;
	for (i = 0; i < 3 && r == 0; i++) {
		r = es_sleep(SECOND);
		if (r == 0)
			r = es_send(tx, ES_INT(i), sizeof(i), ES_FOREVER);
	}
	return r;
}

static int64_t
get_data_sync(es_loop *loop, int x)
{
	es_value value = ES_NOTHING;

	(void)must(es_await_take(spawn(loop, "fetch_data", fetch_data,
				     (void *)(intptr_t)x),
		       ES_FOREVER, &value),
	    "fetch_data");
	return value.i;
}

static void
print_async_gen(es_loop *loop)
{
	ES_SCOPED_RX *rx = NULL;
	const char *comma = "";

	(void)must(es_stream_spawn(
		       loop, "async_gen", async_gen, NULL, NULL, NULL, &rx),
	    "async_gen");
	printf("async_gen results: [");
	es_each(v, rx, ES_S(10))
	{
		printf("%s%lld", comma, (long long)v.i);
		comma = ", ";
	}
	say("]");
}

int
main(void)
{
	es_loop *loop = new_loop();
	ES_SCOPED_THREAD *thread = NULL;

	(void)must(es_loop_thread_start(loop, &thread), "thread");
	es_loop_unref(loop); /* the thread has its own */
	say("fetch_data result: %lld", (long long)get_data_sync(loop, 10));
	print_async_gen(loop);
	return 0;
}
