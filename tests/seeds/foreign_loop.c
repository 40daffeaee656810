/*
 * 002_1ec871e8cf518f45.txt, part 2: a window whose main loop refreshes a
 * status text, and a button that makes a request.  In the handler it hangs
 * the window, through asyncio.run() too; on a loop in a thread beside it, for
 * as long as a scope lasts, it does not.
 *
 * > blocking request: the window hangs
 * > es_run in the handler: the window hangs
 * > loop beside it: the window goes on
 * > status: idle, querying, finished
 * > the loop has gone with its scope
 */

#include "tests/seeds/seeds.h"

#define REFRESH (SECOND / 5)
#define CLICK_AT 3 /* refreshes */

struct window {
	es_loop *loop; /* beside it, or NULL */
	es_future *request;
	bool finished;
	unsigned refreshes, during;
	const char *status;
	char history[64];
};

static int
async_request(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return es_sleep(5 * SECOND);
}

static void
request_blocking(struct window *w)
{
	block_for(5 * SECOND);
	w->finished = true;
}

static void
request_by_run(struct window *w)
{
	(void)must(es_run(async_request, NULL, NULL), "async_request");
	w->finished = true;
}

static void
request_beside(struct window *w)
{
	w->request = spawn(w->loop, "request", async_request, NULL);
}

static void
set_status(struct window *w, const char *status)
{
	size_t len = strlen(w->history);

	if (w->status && strcmp(w->status, status) == 0)
		return;
	w->status = status;
	(void)snprintf(w->history + len, sizeof(w->history) - len, "%s%s",
	    len ? ", " : "", status);
}

/* One refresh; none of it waits. */
static void
refresh(struct window *w)
{
	w->refreshes++;
	if (w->request && es_await(w->request, 0) == 0)
		w->finished = true;
	if (w->refreshes > CLICK_AT && !w->finished)
		w->during++;
	set_status(w, w->finished               ? "finished"
		      : w->refreshes < CLICK_AT ? "idle"
						: "querying");
}

/* The main loop of somebody else. */
static void
mainloop(struct window *w, const char *name, void (*click)(struct window *w))
{
	while (!w->finished) {
		refresh(w);
		if (w->refreshes == CLICK_AT)
			click(w);
		block_for(REFRESH);
	}
	refresh(w);
	es_future_unref(w->request);
	say("%s: the window %s", name, w->during >= 5 ? "goes on" : "hangs");
}

static void
mainloop_with_thread(es_loop *loop)
{
	struct window w = { .loop = loop };
	ES_SCOPED_THREAD *thread = NULL;

	(void)must(es_loop_thread_start(loop, &thread), "thread");
	mainloop(&w, "loop beside it", request_beside);
	say("status: %s", w.history);
}

int
main(void)
{
	struct window blocking = { 0 }, by_run = { 0 };
	es_loop *loop = new_loop();

	mainloop(&blocking, "blocking request", request_blocking);
	mainloop(&by_run, "es_run in the handler", request_by_run);
	mainloop_with_thread(loop);
	say("the loop %s with its scope",
	    es_loop_get_state(loop) == ES_LOOP_CLOSED ? "has gone" : "stays");
	es_loop_unref(loop);
	return 0;
}
