/*
 * loop_submit: from other threads onto a loop that runs.
 *
 *   loop_submit calls THREADS COUNT   es_call_soon, until the last has run
 *   loop_submit spawn THREADS COUNT   es_spawn, until each has settled
 *   loop_submit trip COUNT CORE CORE  invoke and wait: loop's core, caller's
 *
 * Submitters take the numbers of their calls along, and the loop checks that
 * each one's arrive in order.
 */

#include "tests/bench/loop_bench.h"

#include <stdatomic.h>

#define THREADS_MAX 16

struct submitter {
	es_loop *loop;
	long first, count;
	uint64_t next; /* of the loop's thread */
	double began_ns, submitted_ns; /* its first submit, its last */
	es_future **futures;
	pthread_t thread;
};

static pthread_barrier_t barrier;
static _Atomic long left;
static struct submitter submitters[THREADS_MAX];
static es_future *all_ran;
static double ended_ns;

/* A call's argument: the submitter and the number. */
#define NUMBER_BITS 32

static void
call_runs(void *arg)
{
	uint64_t ticket = (uint64_t)(uintptr_t)arg;
	struct submitter *s = &submitters[ticket >> NUMBER_BITS];

	need((ticket & UINT32_MAX) == s->next++, "out of order");
	if (atomic_fetch_sub_explicit(&left, 1, memory_order_relaxed) > 1)
		return;
	ended_ns = now_ns();
	need(es_future_set_result(all_ran, ES_NOTHING) == 0, "twice");
}

static void *
submit_calls(void *arg)
{
	struct submitter *s = arg;
	uint64_t who = (uint64_t)(s - submitters) << NUMBER_BITS;
	long i;

	(void)pthread_barrier_wait(&barrier);
	s->began_ns = now_ns();
	for (i = 0; i < s->count; i++)
		need(es_call_soon(s->loop, "call", call_runs,
			 (void *)(uintptr_t)(who | (uint64_t)i), NULL,
			 NULL) == 0,
		    "refused");
	s->submitted_ns = now_ns();
	return NULL;
}

static int
empty_task(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return 0;
}

static void *
submit_tasks(void *arg)
{
	struct submitter *s = arg;
	long i;

	(void)pthread_barrier_wait(&barrier);
	s->began_ns = now_ns();
	for (i = 0; i < s->count; i++)
		need(es_spawn(s->loop, "task", empty_task, NULL, NULL,
			 &s->futures[i]) == 0,
		    "refused");
	s->submitted_ns = now_ns();
	for (i = 0; i < s->count; i++)
		need(es_await_take(s->futures[i], ES_FOREVER, NULL) == 0,
		    "not settled");
	return NULL;
}

static void
submit(long threads, long count, bool tasks)
{
	es_loop *loop = bench_loop();
	es_loop_thread *thread = bench_start(loop);
	double began = 0, submitted = 0, cpu = process_cpu_ns();
	es_loop_stats stats;
	long i;

	need(threads > 0 && threads <= THREADS_MAX, "too many threads");
	all_ran = es_future_new(loop);
	atomic_store(&left, count / threads * threads);
	(void)pthread_barrier_init(&barrier, NULL, (unsigned)threads);
	for (i = 0; i < threads; i++) {
		struct submitter *s = &submitters[i];

		s->loop = loop;
		s->count = count / threads;
		s->futures = tasks
				 ? calloc((size_t)s->count, sizeof(es_future *))
				 : NULL;
		need(pthread_create(&s->thread, NULL,
			 tasks ? submit_tasks : submit_calls, s) == 0,
		    "no thread");
	}
	for (i = 0; i < threads; i++) {
		struct submitter *s = &submitters[i];

		need(pthread_join(s->thread, NULL) == 0, "join");
		if (i == 0 || s->began_ns < began)
			began = s->began_ns;
		if (s->submitted_ns > submitted)
			submitted = s->submitted_ns;
		free(s->futures);
	}
	if (tasks)
		ended_ns = now_ns();
	else
		need(es_await(all_ran, ES_S(100)) == 0, "some were lost");
	cpu = process_cpu_ns() - cpu;
	es_loop_get_stats(loop, &stats);
	bench_stop(loop, thread);
	es_future_unref(all_ran); /* not before who settled it has ended */
	put("per_s", (double)count * 1e9 / (ended_ns - began));
	put("submit_ns", (submitted - began) / (double)count);
	put("cpu_ns", cpu / (double)count);
	put("calls_per_turn", (double)count / (double)stats.iterations);
	put("calls_per_wakeup", (double)count / (double)(stats.wakeups + 1));
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
trip(long count, int loop_core, int caller_core)
{
	double *took = calloc((size_t)count, sizeof(*took));
	es_loop *loop = bench_loop();
	es_loop_thread *thread;
	long i;

	need(took && count > 0, "how many?");
	pin_to(loop_core);
	thread = bench_start(loop);
	pin_to(caller_core);
	for (i = -count / 10; i < count; i++) { /* some to warm up */
		double began = now_ns();
		es_future *f = NULL;

		need(es_loop_invoke(loop, "trip", empty_task, NULL, NULL, &f) ==
			 0,
		    "refused");
		need(es_await_take(f, ES_FOREVER, NULL) == 0, "not settled");
		if (i >= 0)
			took[i] = (now_ns() - began) / 1e3;
	}
	bench_stop(loop, thread);
	qsort(took, (size_t)count, sizeof(*took), compare);
	put("p50_us", took[count / 2]);
	put("p99_us", took[count * 99 / 100]);
	free(took);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "calls") == 0 || strcmp(what, "spawn") == 0)
		submit(argument(argc, argv, 2), argument(argc, argv, 3),
		    what[0] == 's');
	else if (strcmp(what, "trip") == 0)
		trip(argument(argc, argv, 2), (int)argument(argc, argv, 3),
		    (int)argument(argc, argv, 4));
	else
		need(false, "loop_submit calls | spawn | trip ...");
	return 0;
}
