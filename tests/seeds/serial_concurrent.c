/*
 * 001_46b09f09b7115f18.txt, the listing start_ws_own_listener: in a new thread
 * with a loop of its own, two coroutines at once, two one after the other,
 * then two tasks and run_forever().  The text calls the last two serial, too;
 * tasks are not.  One of them stops the loop.
 *
 * > coro1 begins
 * > coro2 begins
 * > coro1 ends
 * > coro2 ends
 * > coro3 begins
 * > coro3 ends
 * > coro4 begins
 * > coro4 ends
 * > coro5 begins
 * > coro6 begins
 * > coro5 ends
 * > coro6 ends
 * > stopped and closed
 */

#include "tests/seeds/seeds.h"

#include <pthread.h>

struct coro {
	const char *name;
	es_loop *stops; /* or NULL */
};

static int
coro(void *arg, es_value *ret)
{
	struct coro *self = arg;
	int r;

	(void)ret;
	say("%s begins", self->name);
	r = es_sleep(SECOND);
	if (r == 0)
		say("%s ends", self->name);
	if (self->stops)
		es_loop_stop(self->stops);
	return r;
}

static void
run_until(es_loop *loop, es_future *f)
{
	(void)must(es_loop_run_until(loop, f), "run_until");
	es_future_unref(f);
}

static void *
start_ws_own_listener(void *arg)
{
	es_loop *loop = new_loop();
	struct coro coros[] = { { "coro1", NULL }, { "coro2", NULL },
		{ "coro3", NULL }, { "coro4", NULL }, { "coro5", NULL },
		{ "coro6", loop } };
	es_future *both[2], *gathered = NULL;

	both[0] = spawn(loop, "coro1", coro, &coros[0]);
	both[1] = spawn(loop, "coro2", coro, &coros[1]);
	(void)must(es_gather(loop, both, 2, 0, &gathered), "gather");
	run_until(loop, gathered);

	run_until(loop, spawn(loop, "coro3", coro, &coros[2]));
	run_until(loop, spawn(loop, "coro4", coro, &coros[3]));

	es_future_unref(spawn(loop, "coro5", coro, &coros[4]));
	es_future_unref(spawn(loop, "coro6", coro, &coros[5]));
	(void)must(es_loop_run(loop), "run");
	close_loop(loop);
	say("stopped and closed");
	return arg;
}

int
main(void)
{
	pthread_t thread;

	(void)must(-pthread_create(&thread, NULL, start_ws_own_listener, NULL),
	    "pthread_create");
	return pthread_join(thread, NULL);
}
