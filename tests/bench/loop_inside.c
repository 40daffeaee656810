/*
 * loop_inside: what happens on the loop's own thread, in CPU time.
 *
 *   loop_inside switch COUNT         to a task's stack and back, nothing else
 *   loop_inside yield TASKS COUNT    es_yield: through the queue, and on
 *   loop_inside timers PENDING COUNT cancel any of PENDING, set another
 *   loop_inside asleep TASKS         memory of tasks that sleep
 */

#include "daemon/loop/context.h"
#include "tests/bench/loop_bench.h"

#include <unistd.h>

static void
leave_for_ever(void *arg)
{
	for (;;)
		context_leave(arg);
}

static void
switches(long count)
{
	struct context_cache cache = { 0 };
	struct context context;
	double began;
	long i;

	need(context_start(&context, &cache, leave_for_ever, &context) == 0,
	    "no stack");
	context_enter(&context);
	began = cpu_ns();
	for (i = 0; i < count; i++)
		context_enter(&context);
	/* There and back are two. */
	put("ns", (cpu_ns() - began) / (double)count / 2);
	context_release(&context, &cache); /* it never goes on */
	context_cache_clear(&cache);
}

static long yields;

static int
yield_often(void *arg, es_value *ret)
{
	long i;

	(void)arg;
	(void)ret;
	for (i = 0; i < yields; i++)
		need(es_yield() == 0, "cancelled");
	return 0;
}

static void
yielding(long tasks, long count)
{
	es_loop *loop = bench_loop();
	double began;
	long i;

	yields = count / tasks;
	for (i = 0; i < tasks; i++)
		need(
		    es_spawn(loop, "yield", yield_often, NULL, NULL, NULL) == 0,
		    "no task");
	began = cpu_ns();
	need(es_loop_run_until_idle(loop) == 0, "refused");
	put("ns", (cpu_ns() - began) / (double)(yields * tasks));
	need(es_loop_close(loop, 0) == 0, "left over");
	es_loop_unref(loop);
}

struct timing {
	es_loop *loop;
	long pending, count;
	uint64_t state; /* of the random numbers */
	double set_and_cancel_ns, fill_ns;
	es_call **calls;
};

static void
never(void *arg)
{
	need(arg != NULL, "a timer came early");
}

/* Far away, in no order: xorshift. */
static es_usec
some_time(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return ES_S(1000) + (es_usec)(*state % (uint64_t)ES_S(1000));
}

static void
set_timer(struct timing *t, size_t i)
{
	need(es_call_later(t->loop, some_time(&t->state), "far", never, NULL,
		 NULL, &t->calls[i]) == 0,
	    "refused");
}

static void
cancel_timer(struct timing *t, size_t i)
{
	need(es_call_cancel(t->calls[i]) == 1, "gone");
	es_call_unref(t->calls[i]);
}

/* Any of those pending goes, and another comes: as many pending as before. */
static void
time_timers(void *arg)
{
	struct timing *t = arg;
	double began = cpu_ns();
	size_t pending = (size_t)t->pending, i;
	long n;

	for (i = 0; i < pending; i++)
		set_timer(t, i);
	t->fill_ns = (cpu_ns() - began) / (double)t->pending;
	began = cpu_ns();
	for (n = 0; n < t->count; n++) {
		i = (size_t)some_time(&t->state) % pending;
		cancel_timer(t, i);
		set_timer(t, i);
	}
	t->set_and_cancel_ns = (cpu_ns() - began) / (double)t->count;
	for (i = 0; i < pending; i++)
		cancel_timer(t, i);
	es_loop_stop(t->loop);
}

static void
timers(long pending, long count)
{
	struct timing t = { .loop = bench_loop(),
		.pending = pending,
		.count = count,
		.state = 88172645463325252 };

	t.calls = calloc((size_t)pending, sizeof(es_call *));
	need(t.calls && es_call_soon(
			    t.loop, "timers", time_timers, &t, NULL, NULL) == 0,
	    "no memory");
	need(es_loop_run(t.loop) == 0, "refused");
	put("ns", t.set_and_cancel_ns);
	put("fill_ns", t.fill_ns);
	need(es_loop_close(t.loop, 0) == 0, "left over");
	es_loop_unref(t.loop);
	free(t.calls);
}

static int
sleep_long(void *arg, es_value *ret)
{
	int r = es_sleep(ES_S(1000));

	(void)arg;
	(void)ret;
	return r == -ECANCELED ? 0 : r;
}

static void
asleep(long tasks)
{
	es_loop *loop = bench_loop();
	int64_t before, after;
	es_loop_stats stats;
	double began;
	long i;

	es_loop_stop(loop);
	need(es_loop_run(loop) == 0, "refused");
	before = sample_rss_bytes(getpid());
	began = cpu_ns();
	for (i = 0; i < tasks; i++)
		need(es_spawn(loop, "sleeper", sleep_long, NULL, NULL, NULL) ==
			 0,
		    "no task");
	es_loop_stop(loop); /* one iteration: each begins, and sleeps */
	need(es_loop_run(loop) == 0, "refused");
	put("spawn_ns", (cpu_ns() - began) / (double)tasks);
	after = sample_rss_bytes(getpid());
	es_loop_get_stats(loop, &stats);
	need(stats.tasks == (uint64_t)tasks && stats.timers == stats.tasks,
	    "not all are asleep");
	put("bytes", (double)(after - before) / (double)tasks);
	began = cpu_ns();
	need(es_loop_close(loop, ES_S(100)) == 0, "left over");
	put("close_ns", (cpu_ns() - began) / (double)tasks);
	es_loop_unref(loop);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "switch") == 0)
		switches(argument(argc, argv, 2));
	else if (strcmp(what, "yield") == 0)
		yielding(argument(argc, argv, 2), argument(argc, argv, 3));
	else if (strcmp(what, "timers") == 0)
		timers(argument(argc, argv, 2), argument(argc, argv, 3));
	else if (strcmp(what, "asleep") == 0)
		asleep(argument(argc, argv, 2));
	else
		need(false, "loop_inside switch | yield | timers | asleep ...");
	return 0;
}
