/*
 * loop_threads: executor and streams.
 *
 *   loop_threads executor WORKERS COUNT  empty jobs, until the last is over
 *   loop_threads stream ITEMS COUNT      values from one thread to another
 */

#include "tests/bench/loop_bench.h"

#include <stdatomic.h>

static _Atomic long jobs_run;

static int
empty_job(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	atomic_fetch_add_explicit(&jobs_run, 1, memory_order_relaxed);
	return 0;
}

static void
executor(unsigned workers, long count)
{
	es_executor_opts opts = { .threads = workers,
		.queue_max = (unsigned)count };
	es_executor *e = NULL;
	double began, submitted, cpu = process_cpu_ns();
	long i;

	need(es_executor_new(&e, &opts) == 0, "no threads");
	began = now_ns();
	for (i = 0; i < count; i++)
		need(es_executor_submit(
			 e, 0, "empty", empty_job, NULL, NULL, NULL, NULL) == 0,
		    "refused");
	submitted = now_ns();
	need(es_executor_shutdown(e, 0, ES_S(100)) == 0, "left over");
	put("per_s", (double)count * 1e9 / (now_ns() - began));
	put("submit_ns", (submitted - began) / (double)count);
	put("cpu_ns", (process_cpu_ns() - cpu) / (double)count);
	need(atomic_load(&jobs_run) == count, "some were lost");
}

struct sending {
	es_tx *tx;
	long count;
};

static void *
send_all(void *arg)
{
	struct sending *s = arg;
	long i;

	for (i = 0; i < s->count; i++)
		need(es_send(s->tx, ES_INT(i), 8, ES_FOREVER) == 0, "refused");
	(void)es_tx_end(s->tx, 0, NULL); /* cannot fail */
	return NULL;
}

static void
stream(unsigned items, long count)
{
	es_stream_opts opts = { .max_items = items };
	struct sending sending = { .count = count };
	es_loop *loop = bench_loop();
	es_rx *rx = NULL;
	pthread_t thread;
	double began, cpu = process_cpu_ns();
	long next = 0;

	need(es_stream_new(loop, &opts, &sending.tx, &rx) == 0, "no stream");
	began = now_ns();
	need(pthread_create(&thread, NULL, send_all, &sending) == 0,
	    "no thread");
	es_each(v, rx, ES_FOREVER) need(v.i == next++, "out of order");
	put("per_s", (double)count * 1e9 / (now_ns() - began));
	put("cpu_ns", (process_cpu_ns() - cpu) / (double)count);
	need(next == count, "some were lost");
	need(pthread_join(thread, NULL) == 0, "join");
	(void)es_rx_close(rx); /* cannot fail */
	need(es_loop_close(loop, 0) == 0, "left over");
	es_loop_unref(loop);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "executor") == 0)
		executor(
		    (unsigned)argument(argc, argv, 2), argument(argc, argv, 3));
	else if (strcmp(what, "stream") == 0)
		stream(
		    (unsigned)argument(argc, argv, 2), argument(argc, argv, 3));
	else
		need(false, "loop_threads executor | stream ...");
	return 0;
}
