/*
 * 002_1ec871e8cf518f45.txt, part 1: an asynchronous web application that calls
 * old, blocking services.  A pool made at start-up and destroyed at shutdown,
 * the loop's own pool (executor None), to_thread().
 *
 * > own pool: 200 200 200 200
 * > four blocking calls at once took less than four in a row
 * > the loop went on meanwhile
 * > default pool: 200 200 200 200
 * > to_thread: 200
 * > never on the loop's thread
 */

#include "tests/seeds/seeds.h"

#include <pthread.h>
#include <stdatomic.h>

#define REQUESTS 4

struct app {
	es_loop *loop;
	es_executor *executor; /* NULL: the loop's own */
	pthread_t loop_thread;
	atomic_int on_loop_thread;
	_Atomic es_usec began; /* the first of the calls; 0: none yet */
	unsigned ticks;
};

/* The old service: requests.get(), with a second of network. */
static int
get_status(void *arg, es_value *ret)
{
	struct app *app = arg;
	es_usec none = 0;

	(void)atomic_compare_exchange_strong(&app->began, &none, now());
	if (pthread_equal(pthread_self(), app->loop_thread))
		app->on_loop_thread++;
	block_for(SECOND);
	*ret = ES_INT(200);
	return 0;
}

/* A request's handler, asynchronous. */
static int
handle(void *arg, es_value *ret)
{
	struct app *app = arg;

	return es_run_in_executor(
	    app->executor, "get_status", get_status, app, ret);
}

/* What else the loop does. */
static int
tick(void *arg, es_value *ret)
{
	struct app *app = arg;
	int r;

	(void)ret;
	while ((r = es_sleep(SECOND / 20)) == 0)
		app->ticks++;
	return r;
}

static int
handle_some(struct app *app, const char *name)
{
	es_future *f[REQUESTS], *all = NULL;
	es_value value = ES_NOTHING;
	int i, r;

	for (i = 0; i < REQUESTS; i++)
		f[i] = spawn(app->loop, "handle", handle, app);
	r = es_gather(app->loop, f, REQUESTS, 0, &all);
	if (r == 0)
		r = es_await_take(all, ES_FOREVER, &value);
	if (r == 0) {
		const es_outcome *outcomes = value.p;

		printf("%s:", name);
		for (i = 0; i < REQUESTS; i++)
			printf(" %lld", (long long)outcomes[i].value.i);
		say("%s", "");
	}
	es_value_drop(&value);
	return r;
}

static int
own_pool(struct app *app)
{
	es_executor_opts opts = { .name = "pool", .threads = REQUESTS };
	unsigned ticks = app->ticks;
	int r = es_executor_new(&app->executor, &opts);

	if (r == 0)
		r = handle_some(app, "own pool");
	say("four blocking calls at once took %s than four in a row",
	    now() - app->began < REQUESTS * SECOND ? "less" : "more");
	say("the loop %s meanwhile",
	    app->ticks >= ticks + 2 ? "went on" : "stood still");
	(void)es_executor_shutdown(app->executor, 0, ES_S(5)); /* idle */
	app->executor = NULL;
	return r;
}

static int
app_main(void *arg, es_value *ret)
{
	struct app *app = arg;
	es_future *ticker = spawn(app->loop, "tick", tick, app);
	es_value status = ES_NOTHING;
	int r = own_pool(app);

	(void)ret;
	if (r == 0)
		r = handle_some(app, "default pool");
	if (r == 0)
		r = es_run_in_executor(
		    NULL, "to_thread", get_status, app, &status);
	if (r == 0)
		say("to_thread: %lld", (long long)status.i);
	(void)es_future_cancel(ticker); /* it runs */
	es_future_unref(ticker);
	return r;
}

int
main(void)
{
	struct app app = { .loop = new_loop(), .loop_thread = pthread_self() };
	es_future *f = spawn(app.loop, "app", app_main, &app);

	(void)must(es_loop_run_until(app.loop, f), "app");
	es_future_unref(f);
	close_loop(app.loop);
	say("%s on the loop's thread", app.on_loop_thread ? "once" : "never");
	return 0;
}
