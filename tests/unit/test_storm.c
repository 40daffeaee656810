/*
 * Everything at once: four threads submit calls, timers, invocations, tasks
 * and jobs, cancel some at random and wait for others, while the loop runs
 * and while it closes.  Whatever was accepted was run or dropped, once, and
 * every wait has come back (C2, X3, X4, F7, K15).
 */

#include "tests/unit/loop_rig.h"

#define STORM_THREADS 4
#define STORM_ROUNDS 12

struct storm {
	es_loop *loop; /* one reference */
	es_executor *executor;
	unsigned short random[3];
	unsigned long accepted, refused;
	_Atomic unsigned long ran, dropped;
	pthread_t thread;
};

static struct storm storms[STORM_THREADS];
static atomic_bool storm_over;

static void
storm_run(void *arg)
{
	atomic_fetch_add(&((struct storm *)arg)->ran, 1);
}

static void
storm_drop(void *arg)
{
	atomic_fetch_add(&((struct storm *)arg)->dropped, 1);
}

static int
storm_body(void *arg, es_value *ret)
{
	storm_run(arg);
	*ret = ES_INT(1);
	return 0;
}

static int
storm_task(void *arg, es_value *ret)
{
	int r;

	storm_run(arg);
	r = es_sleep(ES_MS(1));
	es_shield_begin(ES_S(10));
	if (es_yield() < 0)
		r = -EPROTO;
	es_shield_end();
	*ret = ES_INT(2);
	return r;
}

/* A child on its parent's stack, and a job: neither outlives the wait. */
static int
storm_child(void *arg, es_value *ret)
{
	(void)ret;
	(*(int *)arg)++;
	return es_sleep(ES_MS(1));
}

static int
storm_parent(void *arg, es_value *ret)
{
	es_future *f = NULL;
	int steps = 0, r;

	(void)ret;
	storm_run(arg);
	r = es_run_in_executor(NULL, "own", storm_child, &steps, NULL);
	if (r == 0)
		r = es_spawn(
		    es_loop_current(), "child", storm_child, &steps, NULL, &f);
	if (r == 0)
		r = es_await_take(f, ES_MS(1), NULL);
	return r == -ETIMEDOUT ? 0 : r;
}

static long
storm_random(struct storm *s, long below)
{
	return nrand48(s->random) % below;
}

/* Waits for it, cancels it, or forgets it. */
static void
storm_treat(struct storm *s, es_future *f)
{
	long what = storm_random(s, 4);

	if (what == 0)
		(void)es_future_cancel(f);
	if (what == 1 && es_await(f, ES_S(100)) == -ETIMEDOUT)
		abort();
	if (what == 2) {
		if (es_await_take(f, storm_random(s, 500), NULL) == -EDEADLK)
			abort();
		return;
	}
	es_future_unref(f);
}

static int
storm_call(struct storm *s)
{
	es_call *call = NULL;
	int r =
	    storm_random(s, 2)
		? es_call_soon(s->loop, "c", storm_run, s, storm_drop, &call)
		: es_call_later(s->loop, storm_random(s, 2000), "t", storm_run,
		      s, storm_drop, &call);

	if (r == 0 && storm_random(s, 2))
		(void)es_call_cancel(call);
	es_call_unref(call);
	return r;
}

/* What came of one submit. */
static int
storm_submit(struct storm *s)
{
	es_future *f = NULL;
	int r;

	switch (storm_random(s, 5)) {
	case 0:
		return storm_call(s);
	case 1:
		r = es_loop_invoke(s->loop, "i", storm_body, s, storm_drop, &f);
		break;
	case 2:
		r = es_spawn(s->loop, "task", storm_task, s, storm_drop, &f);
		break;
	case 3:
		r = es_spawn(
		    s->loop, "parent", storm_parent, s, storm_drop, &f);
		break;
	default:
		r = es_executor_submit(s->executor,
		    (uint64_t)storm_random(s, 3), "job", storm_body, s,
		    storm_drop, s->loop, &f);
	}
	if (r == 0)
		storm_treat(s, f);
	return r;
}

static void *
storm_thread(void *arg)
{
	struct storm *s = arg;

	while (!atomic_load(&storm_over)) {
		int r = storm_submit(s);

		if (r == 0)
			s->accepted++;
		else if (r == -ESHUTDOWN || r == -EAGAIN)
			s->refused++;
		else
			abort();
	}
	es_loop_unref(s->loop);
	return NULL;
}

static void
storm_begin(es_loop *loop, es_executor *executor, unsigned round)
{
	unsigned i;

	atomic_store(&storm_over, false);
	for (i = 0; i < STORM_THREADS; i++) {
		memset(&storms[i], 0, sizeof(storms[i]));
		storms[i].loop = es_loop_ref(loop);
		storms[i].executor = executor;
		storms[i].random[0] = (unsigned short)(round * 16 + i);
		assert_int_equal(pthread_create(&storms[i].thread, NULL,
				     storm_thread, &storms[i]),
		    0);
	}
}

static void
everything_accepted_is_run_or_dropped_once(void **state)
{
	unsigned round, i;

	(void)state;
	for (round = 0; round < STORM_ROUNDS; round++) {
		unsigned fds = rig_count_fds();
		es_loop *loop = rig_loop();
		es_loop_thread *thread = NULL;
		es_executor *executor = NULL;

		assert_int_equal(
		    es_executor_new(&executor,
			&(es_executor_opts){ .threads = 2, .queue_max = 50 }),
		    0);
		assert_int_equal(es_loop_thread_start(loop, &thread), 0);
		storm_begin(loop, executor, round);
		while (atomic_load(&storms[round % 4].ran) < 50)
			usleep(100); /* it has begun */
		assert_int_equal(es_loop_thread_stop(thread, ES_S(20)), 0);
		usleep(round % 2 ? 2000 : 0); /* some more, at a closed door */
		atomic_store(&storm_over, true);
		for (i = 0; i < STORM_THREADS; i++)
			assert_int_equal(
			    pthread_join(storms[i].thread, NULL), 0);
		assert_int_equal(
		    es_executor_shutdown(executor, 0, ES_S(20)), 0);
		es_loop_unref(loop);
		for (i = 0; i < STORM_THREADS; i++)
			assert_int_equal(storms[i].ran + storms[i].dropped,
			    storms[i].accepted);
		assert_int_equal(rig_count_fds(), fds);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_accepted_is_run_or_dropped_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
