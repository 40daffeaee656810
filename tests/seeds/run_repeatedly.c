/*
 * 003_b829acf418663ef6.txt, the question: asyncio.run() of a gather, again and
 * again from synchronous code; and from several threads at once.
 *
 * > run 1: [url1, url2]
 * > run 2: [url1, url2]
 * > run 3: [url1, url2]
 * > run 4: [url1, url2]
 * > 4 threads, 4 runs each: 16 right
 */

#include "tests/seeds/seeds.h"

#include <pthread.h>

#define THREADS 4
#define RUNS 4

struct results {
	const char *url[2];
};

static int
my_task(void *arg, es_value *ret)
{
	/* The second ends first: the order is that of the arguments. */
	int r = es_sleep(strcmp(arg, "url1") == 0 ? SECOND : SECOND / 2);

	*ret = ES_PTR(arg, NULL);
	return r;
}

static int
gather_tasks(void *arg, es_value *ret)
{
	static char url1[] = "url1", url2[] = "url2";
	es_loop *loop = es_loop_current();
	struct results *results = arg;
	es_value value = ES_NOTHING;
	es_future *f[2], *all = NULL;
	int r;

	(void)ret;
	f[0] = spawn(loop, "my_task", my_task, url1);
	f[1] = spawn(loop, "my_task", my_task, url2);
	r = es_gather(loop, f, 2, 0, &all);
	if (r == 0)
		r = es_await_take(all, ES_FOREVER, &value);
	if (r == 0) {
		const es_outcome *outcomes = value.p;

		results->url[0] = outcomes[0].value.p;
		results->url[1] = outcomes[1].value.p;
	}
	es_value_drop(&value);
	return r;
}

static struct results
complete_integrations(void)
{
	struct results results = { .url = { "?", "?" } };

	(void)must(es_run(gather_tasks, &results, NULL), "gather_tasks");
	return results;
}

static void *
run_some(void *arg)
{
	int *right = arg, i;

	for (i = 0; i < RUNS; i++) {
		struct results results = complete_integrations();

		if (strcmp(results.url[0], "url1") == 0 &&
		    strcmp(results.url[1], "url2") == 0)
			++*right;
	}
	return NULL;
}

int
main(void)
{
	int right[THREADS] = { 0 }, sum = 0, i;
	pthread_t threads[THREADS];

	for (i = 1; i <= RUNS; i++) {
		struct results results = complete_integrations();

		say("run %d: [%s, %s]", i, results.url[0], results.url[1]);
	}
	for (i = 0; i < THREADS; i++)
		(void)must(
		    -pthread_create(&threads[i], NULL, run_some, &right[i]),
		    "pthread_create");
	for (i = 0; i < THREADS; i++) {
		(void)pthread_join(threads[i], NULL); /* ours */
		sum += right[i];
	}
	say("%d threads, %d runs each: %d right", THREADS, RUNS, sum);
	return 0;
}
