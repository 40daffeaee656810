/*
 * 004_f568e1dd864b5540.txt, "application scenarios": an online judge.  The
 * view answers PENDING at once and leaves the judging to a worker; results
 * come to the loop, in the order of the requests.
 *
 * > r1: PENDING
 * > r2: PENDING
 * > r3: PENDING
 * > nobody waited for the judge
 * > r1: accepted
 * > r2: accepted
 * > r3: accepted
 */

#include "tests/seeds/seeds.h"

#define REQUESTS 3

struct site {
	es_loop *loop;
	es_executor *judges;
	unsigned results;
};

struct request {
	struct site *site;
	const char *name;
};

/* client.judge(code), in the background. */
static int
judge(void *arg, es_value *ret)
{
	block_for(SECOND);
	*ret = ES_PTR(arg, NULL);
	return 0;
}

static void
show_result(es_future *f, void *arg)
{
	struct request *request = arg;

	say("%s: %s", request->name,
	    es_future_result(f, NULL) == 0 ? "accepted" : "?");
	if (++request->site->results == REQUESTS)
		es_loop_stop(request->site->loop);
}

static void
view(void *arg)
{
	struct request *request = arg;
	es_future *f = NULL;

	(void)must(es_executor_submit(request->site->judges, 0, "judge", judge,
		       request, NULL, request->site->loop, &f),
	    "judge");
	(void)must(
	    es_future_add_done_callback(f, NULL, show_result, request, NULL),
	    "callback");
	es_future_unref(f);
	say("%s: PENDING", request->name);
}

static void
look_at_clock(void *arg)
{
	es_usec began = *(const es_usec *)arg;

	say("%s waited for the judge",
	    now() - began < REQUESTS * SECOND ? "nobody" : "somebody");
}

int
main(void)
{
	struct site site = { .loop = new_loop() };
	es_executor_opts opts = { .name = "judge", .threads = 1 };
	struct request requests[REQUESTS] = { { &site, "r1" }, { &site, "r2" },
		{ &site, "r3" } };
	es_usec began = now();
	int i;

	(void)must(es_executor_new(&site.judges, &opts), "es_executor_new");
	for (i = 0; i < REQUESTS; i++)
		(void)must(es_call_soon(site.loop, "view", view, &requests[i],
			       NULL, NULL),
		    "view");
	(void)must(
	    es_call_soon(site.loop, "clock", look_at_clock, &began, NULL, NULL),
	    "clock");
	(void)must(es_loop_run(site.loop), "run");
	(void)must(es_executor_shutdown(site.judges, 0, ES_S(5)), "shutdown");
	close_loop(site.loop);
	return 0;
}
