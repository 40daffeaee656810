/*
 * change: another configuration's handlers.
 *
 * The happy path, at the start and for a reload alike: handlers_prepare() ->
 * on the loop, one section after the other: a handler that is the same is
 * kept; one that is not is made, and its plugin loaded by a job on `load`,
 * its program looked for by one on `sys` -> all are there: handlers_apply()
 * lets them serve, and those that are in the file no more retire (life.c).
 *
 * What can go wrong:
 * - a plugin cannot be loaded, a program is not there: told with file and
 *   line, all that was made goes again, nothing has changed;
 * - a plugin takes too long, or nobody waits any more: the change is given up;
 *   the job under way ends first, then the plugin's end() is called;
 * - former handlers have connections for ever: HANDLERS_FORMER_MAX of them,
 *   then no reload that changes handlers is taken.
 */

#include "daemon/handler/change.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/consume.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct change {
	struct list node; /* in handlers.changes */
	struct handlers *handlers;
	struct conf *conf;
	struct handler **items; /* what will serve, as far as it is known */
	size_t count;
	bool given_up;
	bool looking; /* at what is there already; else loading */
	bool orphan; /* nobody tells of the job's end: looked at */
	struct loading loading; /* the job's while it runs */
	es_future *step; /* the job */
	es_future *told; /* who prepares waits for it; NULL: has been told */
};

/* What told brings where something is wrong with the configuration. */
struct verdict {
	int code;
	char text[512];
};

static void on_step(es_future *f, void *arg);
static void go_on(struct change *change) LOOP_THREAD;

/* The end of a change */

static void
change_free(struct change *change)
{
	if (change->step != NULL) /* at the end of the set: its job is over */
		(void)es_future_remove_done_callback(
		    change->step, on_step, change);
	es_future_unref(change->step);
	if (change->told != NULL)
		(void)es_future_cancel(change->told); /* nobody waits */
	es_future_unref(change->told);
	list_remove(&change->node);
	memory_free(change->items);
	conf_free(change->conf);
	memory_free(change);
}

static void
change_drop(void *change)
{
	change_free(change);
}

/* Nothing of it is kept but what a job still has; others may serve and go. */
static void
give_up(struct change *change) LOOP_THREAD
{
	struct handlers *handlers = change->handlers;
	size_t i;

	if (handlers->change == change)
		handlers->change = NULL;
	change->given_up = true;
	for (i = 0; i < change->count; i++)
		if (change->items[i]->state == HANDLER_COMING &&
		    (change->step == NULL ||
			change->items[i] != change->loading.handler))
			handler_retire(change->items[i]);
	change->count = 0;
	if (change->step != NULL)
		(void)es_future_cancel(change->step); /* or it ends */
	else
		change_free(change);
}

void
handlers_abandon(struct handlers *handlers)
{
	if (handlers->change != NULL)
		give_up(handlers->change);
}

void
changes_free(struct handlers *handlers)
{
	LIST_EACH_SAFE(node, next, &handlers->changes)
	change_free(LIST_ENTRY(node, struct change, node));
}

/* One section after the other */

/* Tells who waits; text: "" or what is wrong with the configuration. */
static void
tell(struct change *change, int code, const char *text)
{
	es_future *told = change->told;
	struct verdict *verdict;

	change->told = NULL;
	verdict = *text != '\0' ? memory_alloc(sizeof(*verdict)) : NULL;
	if (verdict != NULL) {
		verdict->code = code;
		(void)snprintf(verdict->text, sizeof(verdict->text), "%s",
		    text); /* as long as that */
		if (es_future_set_result(told, ES_PTR(verdict, memory_free)) <
		    0)
			memory_free(verdict); /* cancelled */
	} else if (code == 0) {
		(void)es_future_set_result(told, ES_NOTHING);
	} else {
		(void)es_future_set_error(told, code, "%s", text);
	}
	es_future_unref(told);
}

static void
fail(struct change *change, int code, const char *text) LOOP_THREAD
{
	tell(change, code, text);
	give_up(change);
}

static void
on_step(es_future *f, void *arg)
{
	struct change *change = arg;
	struct handlers *handlers = change->handlers;
	const int r = es_future_result(f, NULL);

	es_loop_assert(handlers->rooms.loop);
	assert(f == change->step);
	es_future_unref(change->step);
	change->step = NULL;
	if (!change->looking) {
		change->loading.handler->loaded =
		    r == 0 && change->loading.handler->object != NULL;
		handlers->copies += change->loading.copied;
		handlers->copies_refused += change->loading.refused;
		handlers->loading -= change->loading.loads;
	}
	if (change->given_up) {
		if (!change->looking)
			handler_retire(change->loading.handler);
		change_free(change);
	} else if (change->looking) {
		if (r == 0) {
			change->items[change->count++] =
			    change->loading.handler;
			change->looking = false;
		}
		go_on(change);
	} else if (r < 0) {
		fail(change, r, change->loading.text);
	} else {
		go_on(change);
	}
	handlers_check_waiting(handlers);
}

/* The job has change->loading until on_step(). */
static int
submit(struct change *change, es_executor *executor, const char *name,
    es_job_fn fn, struct handler *handler) LOOP_THREAD
{
	struct handlers *handlers = change->handlers;
	es_loop *loop = handlers->rooms.loop;
	int r;

	change->loading = (struct loading){
		.handler = handler,
		.number = ++handlers->loads,
		.loads = fn == plugin_load_job,
		.alone = handlers->loading == 0,
		.may_copy = handlers->copies < PLUGIN_COPIES_MAX,
	};
	r = es_executor_submit(
	    executor, 0, name, fn, &change->loading, NULL, loop, &change->step);
	if (r == 0)
		handlers->loading += change->loading.loads;
	if (r == 0 && es_future_add_done_callback(
			  change->step, loop, on_step, change, NULL) < 0)
		change->orphan = true; /* a tick will see it */
	return r;
}

static struct handler *
find_same(const struct handlers *handlers, const struct conf_handler *of)
{
	size_t i;

	for (i = 0; i < handlers->count; i++)
		if (conf_handler_equal(handlers->items[i]->conf, of))
			return handlers->items[i];
	return NULL;
}

static void
fault(struct change *change, const struct conf_handler *of)
{
	(void)snprintf(change->loading.text, sizeof(change->loading.text),
	    "%s:%d: [handler%s%s] is another, but %d former handlers still "
	    "have connections",
	    of->file, of->line, *of->name ? " " : "", of->name,
	    HANDLERS_FORMER_MAX); /* cut where it is too long */
}

static int
make(struct change *change, const struct conf_handler *of) LOOP_THREAD
{
	struct handlers *handlers = change->handlers;
	struct handler *handler;
	int r;

	if (handlers->former_count >= HANDLERS_FORMER_MAX) {
		fault(change, of);
		handlers->former_refused++;
		return -EUSERS;
	}
	r = handler_new(handlers, change->conf, of, &handler);
	if (r < 0)
		return r;
	change->items[change->count++] = handler;
	change->looking = false;
	if (of->plugin != NULL) {
		r = plugin_threads(handler);
		return r < 0 ? r
			     : submit(change, handlers->load, "load plugin",
				   plugin_load_job, handler);
	}
	if (!handlers->applied)
		return 0; /* at the start it may still come */
	return submit(change, handlers->rooms.sys, "look for program",
	    exec_look_job, handler);
}

static int
next_section(struct change *change) LOOP_THREAD
{
	struct handlers *handlers = change->handlers;
	const struct conf_handler *of = &change->conf->handlers[change->count];
	struct handler *same = find_same(handlers, of);

	if (same == NULL || change->looking) { /* looked: it is another file */
		change->looking = false;
		return make(change, of);
	}
	if (of->plugin == NULL) {
		change->items[change->count++] = same;
		return 0;
	}
	change->looking = true;
	return submit(change, handlers->rooms.sys, "look at plugin",
	    plugin_look_job, same);
}

static void
go_on(struct change *change)
{
	int r = 0;

	while (r == 0 && change->step == NULL &&
	       change->count < change->conf->handler_count)
		r = next_section(change);
	if (r < 0)
		fail(change, r, change->loading.text);
	else if (change->step == NULL)
		tell(change, 0, "");
}

static void
on_prepare(void *arg)
{
	struct change *change = arg;
	struct handlers *handlers = change->handlers;
	const size_t count = change->conf->handler_count;

	es_loop_assert(handlers->rooms.loop);
	handlers_abandon(handlers);
	list_append(&handlers->changes, &change->node);
	handlers->change = change;
	change->items = memory_zalloc((count + 1) * sizeof(*change->items));
	if (change->items == NULL)
		fail(change, -ENOMEM, "");
	else
		go_on(change);
}

static void
on_abandon(void *arg)
{
	struct handlers *handlers = arg;

	es_loop_assert(handlers->rooms.loop);
	handlers_abandon(handlers);
}

static int
await_verdict(struct handlers *handlers, es_future *told, es_usec timeout,
    char *ret_text, size_t size)
{
	es_value value = ES_NOTHING;
	int r = es_await(told, timeout);

	if (r == 0)
		r = es_future_result(told, &value);
	if (r == 0 && value.p != NULL) {
		const struct verdict *verdict = value.p;

		(void)snprintf(ret_text, size, "%s", verdict->text);
		r = verdict->code;
	}
	if (r < 0 && es_call_soon(handlers->rooms.loop, "abandon handlers",
			 on_abandon, handlers, NULL, NULL) < 0)
		log_debug("no memory for a call: the next change does it");
	return r;
}

int
handlers_prepare(struct handlers *handlers, struct conf *conf, es_usec timeout,
    char *ret_text, size_t size)
{
	es_loop *loop = handlers->rooms.loop;
	struct change *change = memory_zalloc(sizeof(*change));
	es_future *told = change != NULL ? es_future_new(loop) : NULL;
	int r;

	*ret_text = '\0';
	if (told == NULL) {
		memory_free(change);
		return -ENOMEM;
	}
	*change = (struct change){ .handlers = handlers,
		.conf = conf_ref(conf),
		.told = es_future_ref(told) };
	list_init(&change->node);
	r = es_call_soon(
	    loop, "prepare handlers", on_prepare, change, change_drop, NULL);
	if (r < 0)
		change_free(change);
	else
		r = await_verdict(handlers, told, timeout, ret_text, size);
	es_future_unref(told);
	return r;
}

/* All at once */

static bool
is_kept(const struct change *change, const struct handler *handler)
{
	size_t i;

	for (i = 0; i < change->count; i++)
		if (change->items[i] == handler)
			return true;
	return false;
}

/* The youngest of the former ones of its name. */
static struct handler *
find_former(struct handlers *handlers, const struct handler *handler)
{
	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		struct handler *other = LIST_ENTRY(node, struct handler, node);

		if (other->served && other->later == NULL && other != handler &&
		    other->state != HANDLER_ENDED &&
		    strcmp(other->conf->name, handler->conf->name) == 0)
			return other;
	}
	return NULL;
}

static void
serve(struct handlers *handlers, struct handler *handler) LOOP_THREAD
{
	struct handler *former = find_former(handlers, handler);

	handler->former = former;
	if (former != NULL)
		former->later = handler;
	handler->state = HANDLER_SERVING;
	handler->served = true;
	if (handler->exec != NULL)
		exec_start(handler->exec);
	if (handlers->applied)
		log_info("%s handler=%s",
		    former != NULL ? "another one serves, from now on"
				   : "new, serves from now on",
		    handler->conf->name);
}

static void
exchange_items(struct handlers *handlers, struct change *change)
{
	struct handler **items = change->items;
	const size_t count = change->count;

	change->items = handlers->items;
	change->count = handlers->count;
	handlers->items = items;
	handlers->count = count;
}

void
handlers_apply(struct handlers *handlers)
{
	struct change *change = handlers->change;
	bool changed = !handlers->applied;
	size_t i;

	if (change == NULL)
		return;
	assert(change->count == change->conf->handler_count);
	handlers_set_limits(handlers, change->conf);
	for (i = 0; i < handlers->count; i++) {
		if (is_kept(change, handlers->items[i]))
			continue;
		changed = true;
		handler_retire(handlers->items[i]);
		log_info("retires, its connections stay handler=%s",
		    handlers->items[i]->conf->name);
	}
	for (i = 0; i < change->count; i++) {
		/* The first that matches serves: their order counts, too. */
		if (i >= handlers->count ||
		    change->items[i] != handlers->items[i])
			changed = true;
		if (change->items[i]->state == HANDLER_COMING)
			serve(handlers, change->items[i]);
	}
	exchange_items(handlers, change);
	handlers->change = NULL;
	change_free(change);
	handlers->applied = true;
	if (!changed)
		return;
	consume_apply(handlers);
	filters_start(handlers);
}

void
changes_sweep(struct handlers *handlers)
{
	LIST_EACH_SAFE(node, next, &handlers->changes)
	{
		struct change *change = LIST_ENTRY(node, struct change, node);

		if (change->orphan && es_future_done(change->step))
			on_step(change->step, change);
	}
}
