/*
 * 001_46b09f09b7115f18.txt, "asynchronous mechanism and threads": asyncio.run
 * in a new thread.  The text says in one place that it works and in another
 * that it cannot; here it does, in any thread, and the current loop is the
 * one that runs there or none.
 *
 * > before: no loop
 * > inside: the loop of this thread
 * > Coroutine finished
 * > after: no loop
 */

#include "tests/seeds/seeds.h"

#include <pthread.h>

static int
my_coroutine(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	(void)ret;
	say("inside: %s", es_loop_current() ? "the loop of this thread" : "?");
	r = es_sleep(SECOND);
	if (r == 0)
		say("Coroutine finished");
	return r;
}

static void *
run_event_loop(void *arg)
{
	say("before: %s", es_loop_current() ? "?" : "no loop");
	(void)must(es_run(my_coroutine, arg, NULL), "my_coroutine");
	say("after: %s", es_loop_current() ? "?" : "no loop");
	return NULL;
}

int
main(void)
{
	pthread_t thread;

	(void)must(-pthread_create(&thread, NULL, run_event_loop, NULL),
	    "pthread_create");
	return pthread_join(thread, NULL);
}
