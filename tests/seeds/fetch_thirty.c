/*
 * 004_f568e1dd864b5540.txt, exercise 2: 30 pages of a site.  Awaited one by
 * one in a loop the asynchronous code gains nothing; as tasks under gather()
 * the waits overlap.  (The text's corrected listing fetches 20 of the 30.)
 * The site is delay_server, 40 ms away.  Called with "ratios" it prints name,
 * value and unit of what it measured instead.
 *
 * > requests: 30 pages
 * > for ... await fetch: 30 pages
 * > as tasks, under gather: 30 pages
 * > a loop of awaits gains nothing
 * > tasks took less time
 */

#include "tests/seeds/delay_server.h"
#include "tests/seeds/http_get.h"
#include "tests/seeds/seeds.h"

#define DELAY ES_MS(40)
#define PAGES 30
#define FIRST_PID 1000

struct site {
	unsigned short port;
	int pages;
};

struct fetch {
	unsigned short port;
	int pid;
};

/* 1 if it is the page that was asked for. */
static int
fetch(const struct fetch *self)
{
	char path[64], body[64];
	int r;

	(void)snprintf(
	    path, sizeof(path), "/showproblem.php?pid=%d", self->pid);
	r = http_get(self->port, path, body, sizeof(body));
	return r < 0 ? r : strcmp(body, path) == 0;
}

/* On a thread these are requests.get(), in a task a loop of awaits. */
static int
fetch_each(void *arg, es_value *ret)
{
	struct site *site = arg;
	int i;

	(void)ret;
	for (i = 0; i < PAGES; i++) {
		struct fetch one = { site->port, FIRST_PID + i };
		int r = fetch(&one);

		if (r < 0)
			return r;
		site->pages += r;
	}
	return 0;
}

static int
fetch_task(void *arg, es_value *ret)
{
	int r = fetch(arg);

	*ret = ES_INT(r);
	return r < 0 ? r : 0;
}

static int
fetch_together(void *arg, es_value *ret)
{
	struct site *site = arg;
	es_loop *loop = es_loop_current();
	struct fetch each[PAGES];
	es_future *f[PAGES], *all = NULL;
	es_value value = ES_NOTHING;
	int i, r;

	(void)ret;
	for (i = 0; i < PAGES; i++) {
		each[i] = (struct fetch){ site->port, FIRST_PID + i };
		f[i] = spawn(loop, "fetch", fetch_task, &each[i]);
	}
	r = es_gather(loop, f, PAGES, 0, &all);
	if (r == 0)
		r = es_await_take(all, ES_FOREVER, &value);
	for (i = 0; r == 0 && i < PAGES; i++)
		site->pages += (int)((es_outcome *)value.p)[i].value.i;
	es_value_drop(&value);
	return r;
}

static es_usec
time_it(struct site *site, const char *name, int (*run)(struct site *site),
    bool quiet)
{
	es_usec began = now();

	site->pages = 0;
	(void)must(run(site), name);
	if (!quiet)
		say("%s: %d pages", name, site->pages);
	return now() - began;
}

static int
by_requests(struct site *site)
{
	return fetch_each(site, NULL);
}

static int
by_awaits(struct site *site)
{
	return es_run(fetch_each, site, NULL);
}

static int
by_tasks(struct site *site)
{
	return es_run(fetch_together, site, NULL);
}

int
main(int argc, char **argv)
{
	bool ratios = argc > 1 && strcmp(argv[1], "ratios") == 0;
	struct delay_server *server = NULL;
	struct site site = { 0 };
	es_usec sync, awaits, tasks;

	(void)must(delay_server_start(DELAY, &server), "delay_server");
	site.port = delay_server_port(server);
	sync = time_it(&site, "requests", by_requests, ratios);
	awaits = time_it(&site, "for ... await fetch", by_awaits, ratios);
	tasks = time_it(&site, "as tasks, under gather", by_tasks, ratios);
	delay_server_stop(server);
	if (ratios) {
		printf("fetch.30.sync\t%.4f\ts\nfetch.30.awaits\t%.4f\ts\n"
		       "fetch.30.async\t%.4f\ts\n",
		    (double)sync / 1e6, (double)awaits / 1e6,
		    (double)tasks / 1e6);
		return 0;
	}
	say("a loop of awaits gains %s",
	    awaits >= PAGES * DELAY ? "nothing" : "something");
	say("tasks took %s time", tasks < sync ? "less" : "more");
	return 0;
}
