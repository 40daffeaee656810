/*
 * life: a handler is made, serves, retires and ends.
 *
 * The happy path: handler_new() -> change.c loads it and lets it serve ->
 * another configuration does not have it: handler_retire(): who is with it
 * stays, nobody comes -> its last session is over -> its processes end, or
 * its plugin's functions and then its end() -> it is freed.
 *
 * A plugin's stays to the end of the set: its code is never unloaded, and may
 * name its host up to its last instruction.
 *
 * What can go wrong: processes or end() do not end: it stays a former one,
 * which is counted, and looked at again with each sweep.
 */

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/change.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/former.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/session.h"
#include "daemon/handler/upstream_internal.h"

#include <assert.h>
#include <errno.h>

static void on_end(es_future *f, void *arg);

int
handler_new(struct handlers *handlers, struct conf *conf,
    const struct conf_handler *of, struct handler **ret_handler)
{
	struct handler *handler = memory_zalloc(sizeof(*handler));

	if (handler == NULL)
		return -ENOMEM;
	handler->handlers = handlers;
	handler->conf = of;
	list_init(&handler->node);
	list_init(&handler->sessions);
	list_init(&handler->paused);
	list_init(&handler->refused);
	list_init(&handler->laters);
	hub_publisher_init(&handler->publisher, &bridge_publisher, handler);
	if (of->plugin == NULL && exec_new(handler) < 0) {
		memory_free(handler);
		return -ENOMEM;
	}
	handler->whole = conf_ref(conf);
	list_append(&handlers->all, &handler->node);
	*ret_handler = handler;
	return 0;
}

/* Its numbers are its successor's from now on. */
static void
leave_chain(struct handler *handler)
{
	struct handler *later = handler->later;
	uint64_t *counts = (uint64_t *)&handler->counts;
	size_t i;

	if (handler->former != NULL)
		handler->former->later = later;
	if (later != NULL)
		later->former = handler->former;
	handler->former = handler->later = NULL;
	if (later == NULL)
		return;
	_Static_assert(sizeof(handler->counts) % sizeof(*counts) == 0,
	    "numbers and nothing else");
	for (i = 0; i < sizeof(handler->counts) / sizeof(*counts); i++)
		((uint64_t *)&later->counts)[i] += counts[i];
	atomic_fetch_add(&later->again, atomic_exchange(&handler->again, 0));
	handler->counts = (struct handler_counts){ 0 };
}

void
handler_free_sessions(struct handler *handler)
{
	struct list *node;

	while ((node = list_first(&handler->sessions)) != NULL) {
		struct session *session =
		    LIST_ENTRY(node, struct session, node);

		session->busy = false; /* its executor is shut down */
		session_free(session);
	}
}

void
handler_free(struct handler *handler)
{
	leave_chain(handler);
	list_remove(&handler->node);
	es_call_forget(&handler->retry);
	laters_drop(handler);
	handler_free_sessions(handler);
	if (handler->ending != NULL)
		(void)es_future_remove_done_callback(
		    handler->ending, on_end, handler->handlers);
	es_future_unref(handler->ending);
	exec_free(handler->exec);
	conf_free(handler->whole);
	memory_free(handler);
}

/* The end of former ones */

void
handler_retire(struct handler *handler)
{
	assert(handler->state <= HANDLER_SERVING);
	if (handler->state == HANDLER_SERVING) {
		es_loop_assert(handler->handlers->rooms.loop);
		upstream_retire(handler);
	}
	handler->state = HANDLER_RETIRED;
	handler->handlers->former_count++;
	filter_retire(handler);
	handlers_sweep_later(handler->handlers);
}

static void
on_sweep(void *arg)
{
	struct handlers *handlers = arg;

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->sweep);
	handlers->sweep = NULL;
	handlers_sweep(handlers);
}

void
handlers_sweep_later(struct handlers *handlers)
{
	if (handlers->sweep == NULL &&
	    es_call_soon(handlers->rooms.loop, "handlers sweep", on_sweep,
		handlers, NULL, &handlers->sweep) < 0)
		log_debug("no memory for a call: the next tick will do");
}

static void
has_ended(struct handler *handler) LOOP_THREAD
{
	struct handlers *handlers = handler->handlers;

	assert(handlers->former_count > 0);
	handlers->former_count--;
	if (handler->served)
		log_info("the former handler has ended handler=%s",
		    handler->conf->name);
	if (handler->object == NULL) {
		handler_free(handler);
		return;
	}
	leave_chain(handler);
	handler->state = HANDLER_ENDED;
}

static void
on_end(es_future *f, void *arg)
{
	struct handlers *handlers = arg;

	(void)f; /* the handler's */
	es_loop_assert(handlers->rooms.loop);
	handlers_sweep(handlers);
}

/* Its functions first, then end(); tried again by the next sweep. */
static void
end_plugin(struct handler *handler) LOOP_THREAD
{
	const struct handlers_rooms *rooms = &handler->handlers->rooms;

	atomic_store(&handler->disarmed, true);
	laters_drop(handler);
	if (atomic_load(&handler->jobs) > 0)
		return;
	if (!handler->loaded || handler->plugin.end == NULL) {
		has_ended(handler);
		return;
	}
	if (es_executor_submit(rooms->work, 0, "end plugin", plugin_end_job,
		handler, NULL, rooms->loop, &handler->ending) < 0)
		return;
	handler->state = HANDLER_ENDING;
	if (es_future_add_done_callback(handler->ending, rooms->loop, on_end,
		handler->handlers, NULL) < 0)
		log_debug("no memory for a callback: a tick will see it");
}

static void
sweep_one(struct handler *handler) LOOP_THREAD
{
	if (handler->state == HANDLER_ENDING &&
	    es_future_done(handler->ending)) {
		has_ended(handler);
		return;
	}
	if (handler->state != HANDLER_RETIRED ||
	    !list_empty(&handler->sessions) || handler->busy > 0)
		return;
	if (handler->conf->plugin != NULL)
		end_plugin(handler);
	else if (exec_stop(handler->exec))
		has_ended(handler);
}

void
handlers_sweep(struct handlers *handlers)
{
	if (handlers->frozen)
		return;
	changes_sweep(handlers);
	former_release(handlers);
	LIST_EACH_SAFE(node, next, &handlers->all)
	sweep_one(LIST_ENTRY(node, struct handler, node));
}
