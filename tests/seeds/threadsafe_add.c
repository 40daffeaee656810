/*
 * 000_c3603fa95d1d7725.txt, section 3.3: run_coroutine_threadsafe(), from a
 * thread without a loop to the loop of another.  As printed there it fails:
 * get_event_loop() of the main thread is not the loop that runs.
 *
 * > 3
 */

#include "tests/seeds/seeds.h"

struct numbers {
	int64_t x, y;
};

static int
async_task(void *arg, es_value *ret)
{
	const struct numbers *n = arg;
	int r = es_sleep(SECOND);

	*ret = ES_INT(n->x + n->y);
	return r;
}

static int64_t
run_async_in_sync(es_loop *loop, int64_t x, int64_t y)
{
	struct numbers n = { x, y };
	es_value sum = ES_NOTHING;

	/* It owns the task: n stays as long as the task may look at it. */
	(void)must(es_await_take(spawn(loop, "async_task", async_task, &n),
		       ES_FOREVER, &sum),
	    "async_task");
	return sum.i;
}

int
main(void)
{
	es_loop *loop = new_loop();
	es_loop_thread *thread = NULL;

	(void)must(es_loop_thread_start(loop, &thread), "thread");
	say("%lld", (long long)run_async_in_sync(loop, 1, 2));
	(void)must(es_loop_thread_stop(thread, ES_S(5)), "stop");
	es_loop_unref(loop);
	return 0;
}
