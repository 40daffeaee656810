/*
 * 004_f568e1dd864b5540.txt, the question after asyncio.sleep() and exercise 1:
 * awaiting a coroutine directly is a plain call, a task is scheduled.  Two
 * direct calls come one after the other; of two tasks the waits overlap.
 *
 * > directly
 * > Hello
 * > World
 * > Hello
 * > World
 * > took 6 seconds
 * > as tasks
 * > Hello
 * > Hello
 * > World
 * > World
 * > took less than 6 seconds
 */

#include "tests/seeds/seeds.h"

static int
call_api(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	(void)ret;
	say("Hello");
	r = es_sleep(3 * SECOND);
	if (r == 0)
		say("World");
	return r;
}

static void
say_took(es_usec began)
{
	say("took %s6 seconds", now() - began < 6 * SECOND ? "less than " : "");
}

static int
directly(void)
{
	es_usec began = now();
	int r = call_api(NULL, NULL);

	if (r == 0)
		r = call_api(NULL, NULL);
	say_took(began);
	return r;
}

static int
as_tasks(void)
{
	es_loop *loop = es_loop_current();
	es_usec began = now();
	es_future *task_1 = spawn(loop, "task_1", call_api, NULL);
	es_future *task_2 = spawn(loop, "task_2", call_api, NULL);
	int r = es_await_take(task_1, ES_FOREVER, NULL);
	int s = es_await_take(task_2, ES_FOREVER, NULL);

	say_took(began);
	return r < 0 ? r : s;
}

static int
both_ways(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	(void)ret;
	say("directly");
	r = directly();
	say("as tasks");
	return r < 0 ? r : as_tasks();
}

int
main(void)
{
	return must(es_run(both_ways, NULL, NULL), "both_ways");
}
