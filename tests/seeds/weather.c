/*
 * 003_b829acf418663ef6.txt, the benchmark at its end: the weather at 8 random
 * places, one request after the other and all at once, 4 times; then at 32
 * places, once.  The service is delay_server, 40 ms away.  Called with
 * "ratios" it prints name, value and unit of what it measured instead.
 *
 * > [SYNC] done 8 API calls, all repeated 4 times: 32 right
 * > [ASYNC] done 8 API calls, all repeated 4 times: 32 right
 * > [ASYNC] took less time
 * > [SYNC] done 32 API calls, all repeated 1 times: 32 right
 * > [ASYNC] done 32 API calls, all repeated 1 times: 32 right
 * > [ASYNC] took less time
 * > there were several at once
 */

#include "tests/seeds/delay_server.h"
#include "tests/seeds/http_get.h"
#include "tests/seeds/seeds.h"

#define DELAY ES_MS(40)
#define PLACES_MAX 32

static bool print_ratios;

struct place {
	unsigned short port;
	double lat, lon;
};

struct api {
	struct place places[PLACES_MAX];
	int n, right;
};

static double
uniform(double from, double to)
{
	return from + (to - from) * rand() / RAND_MAX;
}

/* Somewhere in Europe, more or less. */
static void
random_places(struct api *api, unsigned short port, int n)
{
	int i;

	*api = (struct api){ .n = n };
	for (i = 0; i < n; i++)
		api->places[i] = (struct place){ .port = port,
			.lat = uniform(45.6, 52.3),
			.lon = uniform(-2.3, 29.4) };
}

/* 1 if the answer is the right one.  On a thread, and in a task. */
static int
weather(const struct place *place)
{
	char path[128], body[256];
	int r;

	(void)snprintf(path, sizeof(path),
	    "/weather?lat=%f&lon=%f&units=metric", place->lat, place->lon);
	r = http_get(place->port, path, body, sizeof(body));
	return r < 0 ? r : strcmp(body, path) == 0;
}

static void
get_weather_sync(struct api *api)
{
	int i;

	for (i = 0; i < api->n; i++)
		api->right += must(weather(&api->places[i]), "weather");
}

static int
weather_task(void *arg, es_value *ret)
{
	int r = weather(arg);

	*ret = ES_INT(r);
	return r < 0 ? r : 0;
}

static int
get_weather_async(void *arg, es_value *ret)
{
	struct api *api = arg;
	es_loop *loop = es_loop_current();
	es_future *f[PLACES_MAX], *all = NULL;
	es_value value = ES_NOTHING;
	int i, r;

	(void)ret;
	for (i = 0; i < api->n; i++)
		f[i] = spawn(loop, "weather", weather_task, &api->places[i]);
	r = es_gather(loop, f, (size_t)api->n, 0, &all);
	if (r == 0)
		r = es_await_take(all, ES_FOREVER, &value);
	for (i = 0; r == 0 && i < api->n; i++)
		api->right += (int)((es_outcome *)value.p)[i].value.i;
	es_value_drop(&value);
	return r;
}

static es_usec
time_job(struct api *api, bool async, int repeat)
{
	es_usec began = now();
	int i;

	for (i = 0; i < repeat; i++) {
		if (async)
			(void)must(es_run(get_weather_async, api, NULL),
			    "get_weather_async");
		else
			get_weather_sync(api);
	}
	if (!print_ratios)
		say("[%s] done %d API calls, all repeated %d times: %d right",
		    async ? "ASYNC" : "SYNC", api->n, repeat, api->right);
	api->right = 0;
	return now() - began;
}

static void
compare(unsigned short port, int n, int repeat)
{
	struct api api;
	es_usec sync, async;

	random_places(&api, port, n);
	sync = time_job(&api, false, repeat);
	async = time_job(&api, true, repeat);
	if (print_ratios)
		printf("weather.%dx%d.sync\t%.4f\ts\n"
		       "weather.%dx%d.async\t%.4f\ts\n",
		    n, repeat, (double)sync / 1e6, n, repeat,
		    (double)async / 1e6);
	else
		say("[ASYNC] took %s time", async < sync ? "less" : "more");
}

int
main(int argc, char **argv)
{
	struct delay_server *server = NULL;

	print_ratios = argc > 1 && strcmp(argv[1], "ratios") == 0;
	(void)must(delay_server_start(DELAY, &server), "delay_server");
	compare(delay_server_port(server), 8, 4);
	compare(delay_server_port(server), 32, 1);
	if (!print_ratios)
		say("there were %s at once",
		    delay_server_at_once_max(server) > 3 ? "several" : "few");
	delay_server_stop(server);
	return 0;
}
