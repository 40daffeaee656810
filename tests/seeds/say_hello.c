/*
 * 000_c3603fa95d1d7725.txt, sections 2.3 and 3.1, and
 * 001_46b09f09b7115f18.txt, "use example": asyncio.run() of a coroutine that
 * sleeps, and of one that awaits it.
 *
 * > Hello
 * > World
 * > Start
 * > End
 */

#include "tests/seeds/seeds.h"

static int
say_hello(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	(void)ret;
	say("Hello");
	r = es_sleep(SECOND);
	if (r == 0)
		say("World");
	return r;
}

/* Awaiting a coroutine is calling a function. */
static int
hello_main(void *arg, es_value *ret)
{
	return say_hello(arg, ret);
}

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

int
main(void)
{
	(void)must(es_run(hello_main, NULL, NULL), "hello_main");
	(void)must(es_run(start_end, NULL, NULL), "start_end");
	return 0;
}
