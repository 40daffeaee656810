#ifndef TESTS_BENCH_LOOP_BENCH_H
#define TESTS_BENCH_LOOP_BENCH_H

/*
 * loop_bench: what the benches of daemon/loop share.
 *
 * One run of a program measures one thing once and prints "name<TAB>value"
 * lines; loop.py repeats, compares and names the units.
 */

#include "daemon/loop/loop.h"
#include "tests/bench/sample.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A bench that cannot measure what it says ends. */
static inline void
need(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "%s\n", what);
	exit(1);
}

static inline void
put(const char *name, double value)
{
	printf("%s\t%.9g\n", name, value);
}

static inline double
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* What this thread has used: what something costs, whoever has the core. */
static inline double
cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* cannot fail */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The same of all threads. */
static inline double
process_cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* cannot fail */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* This thread, and those it starts from now on. */
static inline void
pin_to(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)core, &set);
	need(sched_setaffinity(0, sizeof(set), &set) == 0, "no such core");
}

static inline es_loop *
bench_loop(void)
{
	es_loop *loop = NULL;

	need(es_loop_new(&loop, NULL) == 0, "no loop");
	return loop;
}

static inline es_loop_thread *
bench_start(es_loop *loop)
{
	es_loop_thread *thread = NULL;

	need(es_loop_thread_start(loop, &thread) == 0, "no thread");
	return thread;
}

static inline void
bench_stop(es_loop *loop, es_loop_thread *thread)
{
	need(es_loop_thread_stop(thread, ES_S(10)) == 0, "something is left");
	es_loop_unref(loop);
}

static inline long
argument(int argc, char **argv, int i)
{
	need(i < argc, "an argument is missing: see loop.py");
	return strtol(argv[i], NULL, 10);
}

#endif
