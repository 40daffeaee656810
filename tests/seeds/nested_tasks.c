/*
 * 001_46b09f09b7115f18.txt, "nested execution": coro4 makes a task of coro5
 * and ends, and with it run_until_complete().  The text goes on with
 * run_forever(), which does not end; es_loop_run_until_idle() does.
 *
 * > coro4 finished
 * > run_until returned, coro5 is not done
 * > coro5 finished
 * > nothing is left to run
 */

#include "tests/seeds/seeds.h"

static es_future *task;

static int
coro5(void *arg, es_value *ret)
{
	int r = es_sleep(SECOND);

	(void)arg;
	(void)ret;
	if (r == 0)
		say("coro5 finished");
	return r;
}

static int
coro4(void *arg, es_value *ret)
{
	(void)ret;
	task = spawn(arg, "coro5", coro5, NULL);
	say("coro4 finished");
	return 0;
}

int
main(void)
{
	es_loop *loop = new_loop();
	es_future *f = spawn(loop, "coro4", coro4, loop);

	(void)must(es_loop_run_until(loop, f), "coro4");
	es_future_unref(f);
	say("run_until returned, coro5 is %sdone",
	    es_future_done(task) ? "" : "not ");
	(void)must(es_loop_run_until_idle(loop), "idle");
	say("nothing is left to run");
	(void)must(es_future_result(task, NULL), "coro5");
	es_future_unref(task);
	close_loop(loop);
	return 0;
}
