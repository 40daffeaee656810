/*
 * 000_c3603fa95d1d7725.txt, sections 3.2 and 3.4: run_until_complete(), and
 * nest_asyncio.  A loop does not run within itself: what its users want is a
 * plain function, called from a callback's depths, that waits; below a task
 * every function may.
 *
 * > Start
 * > End
 * > es_run inside a task: Device or resource busy
 * > es_loop_run_until inside a task: Device or resource busy
 * > plain functions, four deep: begin
 * > plain functions, four deep: end
 */

#include "tests/seeds/seeds.h"

static int
start_end(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	(void)ret;
	say("Start");
	r = es_sleep(SECOND);
	if (r == 0)
		say("End");
	return r;
}

static int
four_deep(unsigned depth)
{
	int r;

	if (depth < 4)
		return four_deep(depth + 1);
	say("plain functions, four deep: begin");
	r = es_sleep(SECOND);
	if (r == 0)
		say("plain functions, four deep: end");
	return r;
}

static int
nested(void *arg, es_value *ret)
{
	es_loop *loop = es_loop_current();
	es_future *f = spawn(loop, "start_end", start_end, NULL);

	(void)arg;
	say("es_run inside a task: %s",
	    strerror(-es_run(start_end, NULL, ret)));
	say("es_loop_run_until inside a task: %s",
	    strerror(-es_loop_run_until(loop, f)));
	(void)es_future_cancel(f); /* it never begins */
	es_future_unref(f);
	return four_deep(1);
}

int
main(void)
{
	es_loop *loop = new_loop();
	es_future *f = spawn(loop, "start_end", start_end, NULL);

	(void)must(es_loop_run_until(loop, f), "start_end");
	es_future_unref(f);
	f = spawn(loop, "nested", nested, NULL);
	(void)must(es_loop_run_until(loop, f), "nested");
	es_future_unref(f);
	close_loop(loop);
	return 0;
}
