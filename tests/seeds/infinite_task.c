/*
 * 001_46b09f09b7115f18.txt, the listing infinite_task and what is said of
 * stop() and close(): a task that never ends stops the loop on a condition;
 * the loop can be run again, until it is closed, and then never.
 *
 * > stopped at 3
 * > stopped at 6
 * > infinite_task was cancelled
 * > closed
 * > run: the loop is closed
 * > call_soon: the loop is closed
 * > closing it again: fine
 */

#include "tests/seeds/seeds.h"

static int count;

static int
infinite_task(void *arg, es_value *ret)
{
	int r;

	(void)ret;
	while ((r = es_sleep(ES_MS(1))) == 0)
		if (++count % 3 == 0) {
			es_loop_stop(arg);
			r = es_yield(); /* where the loop stands still */
			if (r < 0)
				break;
		}
	say("infinite_task was %s", r == -ECANCELED ? "cancelled" : "?");
	return r;
}

static void
never(void *arg)
{
	(void)arg;
	say("after the close");
}

static const char *
verdict(int r)
{
	return r == -ESHUTDOWN ? "the loop is closed" : r == 0 ? "fine" : "?";
}

int
main(void)
{
	es_loop *loop = new_loop();

	es_future_unref(spawn(loop, "infinite_task", infinite_task, loop));
	(void)must(es_loop_run(loop), "run");
	say("stopped at %d", count);
	(void)must(es_loop_run(loop), "run");
	say("stopped at %d", count);
	(void)must(es_loop_close(loop, ES_S(5)), "close");
	say("closed");
	say("run: %s", verdict(es_loop_run(loop)));
	say("call_soon: %s",
	    verdict(es_call_soon(loop, "never", never, NULL, NULL, NULL)));
	say("closing it again: %s", verdict(es_loop_close(loop, 0)));
	es_loop_unref(loop);
	return 0;
}
