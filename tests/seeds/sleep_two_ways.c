/*
 * 004_f568e1dd864b5540.txt, "compare time.sleep() and asyncio.sleep()": two
 * calls of call_api() under gather().  One that blocks holds up the loop, and
 * is reported by its name; one that suspends does not.
 *
 * > time.sleep
 * > Hello
 * > World
 * > Hello
 * > World
 * > took 6 seconds
 * > slow: call_api
 * > slow: call_api
 * > asyncio.sleep
 * > Hello
 * > Hello
 * > World
 * > World
 * > took less than 6 seconds
 * > slow: nothing
 */

#include "tests/seeds/seeds.h"

struct slow {
	unsigned count;
	const char *names[8];
};

static void
note_slow(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct slow *slow = arg;

	(void)loop;
	(void)code;
	(void)message;
	(void)took;
	if (kind == ES_R_SLOW && slow->count < 8)
		slow->names[slow->count++] = what;
}

static int
call_api(void *arg, es_value *ret)
{
	int r = 0;

	(void)ret;
	say("Hello");
	if (*(const bool *)arg)
		block_for(3 * SECOND);
	else
		r = es_sleep(3 * SECOND);
	if (r == 0)
		say("World");
	return r;
}

static int
sleep_main(void *arg, es_value *ret)
{
	es_loop *loop = es_loop_current();
	es_future *f[2], *both = NULL;
	es_usec began = now();
	int r;

	f[0] = spawn(loop, "call_api", call_api, arg);
	f[1] = spawn(loop, "call_api", call_api, arg);
	r = es_gather(loop, f, 2, 0, &both);
	if (r == 0)
		r = es_await_take(both, ES_FOREVER, ret);
	say("took %s6 seconds", now() - began < 6 * SECOND ? "less than " : "");
	return r;
}

static void
try_it(bool blocking)
{
	struct slow slow = { 0 };
	/* Far above what anything else takes, far below the blocking. */
	es_loop_opts opts = {
		.slow = 2 * SECOND, .report = note_slow, .report_arg = &slow
	};
	es_loop *loop = NULL;
	es_future *f;
	unsigned i;

	(void)must(es_loop_new(&loop, &opts), "es_loop_new");
	say("%s", blocking ? "time.sleep" : "asyncio.sleep");
	f = spawn(loop, "main", sleep_main, &blocking);
	(void)must(es_loop_run_until(loop, f), "main");
	es_future_unref(f);
	close_loop(loop);
	for (i = 0; i < slow.count; i++)
		say("slow: %s", slow.names[i]);
	if (slow.count == 0)
		say("slow: nothing");
}

int
main(void)
{
	try_it(true);
	try_it(false);
	return 0;
}
