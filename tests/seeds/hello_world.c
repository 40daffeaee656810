/*
 * 004_f568e1dd864b5540.txt, the listing before "Application scenarios":
 * call_soon, run_forever, stop from the callback, close in any case.
 *
 * > Hello World
 */

#include "tests/seeds/seeds.h"

/* A callback to print 'Hello World' and stop the event loop. */
static void
hello_world(void *arg)
{
	say("Hello World");
	es_loop_stop(arg);
}

int
main(void)
{
	es_loop *loop = new_loop();
	int r;

	r = es_call_soon(loop, "hello_world", hello_world, loop, NULL, NULL);
	if (r == 0)
		r = es_loop_run(loop); /* until hello_world() stops it */
	close_loop(loop);
	return r == 0 ? 0 : 1;
}
