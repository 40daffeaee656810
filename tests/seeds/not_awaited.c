/*
 * 004_f568e1dd864b5540.txt, "remove the await task": main ends after a second,
 * and the two tasks it made never say World.  There they vanish; here they are
 * cancelled, learn of it, and have ended when es_run() returns.
 *
 * > Hello
 * > Hello
 * > main took 1 second
 * > cancelled
 * > cancelled
 * > over long before they would have been
 */

#include "tests/seeds/seeds.h"

static int
call_api(void *arg, es_value *ret)
{
	int r;

	(void)arg;
	(void)ret;
	say("Hello");
	r = es_sleep(30 * SECOND);
	if (r == 0)
		say("World");
	if (r == -ECANCELED)
		say("cancelled");
	return r;
}

static int
not_awaited(void *arg, es_value *ret)
{
	es_loop *loop = es_loop_current();
	es_usec began = now();
	int r;

	(void)arg;
	(void)ret;
	es_future_unref(spawn(loop, "task_1", call_api, NULL));
	es_future_unref(spawn(loop, "task_2", call_api, NULL));
	r = es_sleep(SECOND);
	say("main took %s", now() - began < SECOND ? "no time" : "1 second");
	return r;
}

int
main(void)
{
	es_usec began = now();

	(void)must(es_run(not_awaited, NULL, NULL), "not_awaited");
	say("over %s they would have been",
	    now() - began < 15 * SECOND ? "long before" : "when");
	return 0;
}
