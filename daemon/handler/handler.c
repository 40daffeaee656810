/*
 * handler: the set of handlers, what is bound to them, and their end.
 *
 * The happy path: handlers_new() -> handlers_start() loads plugins and starts
 * processes (change.c) -> sessions (session.c) -> handlers_await_idle() while
 * the connections are still there -> handlers_end() when they are gone ->
 * handlers_unload() -> handlers_free().
 *
 * Waiting for idle is waiting for two things: no session has anything to do,
 * and then the executor is quiet, which may have given sessions more to do.
 *
 * What can go wrong:
 * - a plugin cannot be loaded: the daemon does not start;
 * - callbacks do not end: handlers_hurry() ends the waiting, not them;
 * - a peer reads nothing while messages of its wait for that: in a drain they
 *   wait a second, then its handler is told -EAGAIN as its sends are.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/change.h"
#include "daemon/handler/consume.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/session.h"
#include "daemon/handler/upstream_internal.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TICK_US_MIN ES_MS(10)
#define TICK_US_MAX ES_S(1)
#define STILL_US_MAX ES_S(1) /* in a drain: its peer reads nothing */
#define HURRY_US ES_MS(500) /* for the last on_close, when time is up */

static void
on_drained(void *arg)
{
	struct handlers *handlers = arg;

	if (handlers->waiting.done != NULL)
		handlers_check_waiting(handlers);
}

void
handlers_set_limits(struct handlers *handlers, const struct conf *conf)
{
	atomic_store(
	    &handlers->message_bytes_max, conf->limits.message_bytes_max);
	atomic_store(
	    &handlers->history_limit_max, conf->limits.history_limit_max);
}

int
handlers_new(const struct handlers_rooms *rooms, struct handlers **ret_handlers)
{
	struct handlers *handlers = memory_zalloc(sizeof(*handlers));

	if (handlers == NULL)
		return -ENOMEM;
	handlers->rooms = *rooms;
	handlers->refs = 1;
	handlers_set_limits(handlers, rooms->conf);
	list_init(&handlers->all);
	list_init(&handlers->changes);
	list_init(&handlers->topics);
	list_init(&handlers->fresh);
	list_init(&handlers->ready);
	list_init(&handlers->spare);
	list_init(&handlers->through);
	handlers->outbox = outbox_new(rooms->loop, on_drained, handlers);
	handlers->lines =
	    memory_zalloc(handlers_slots(handlers) * sizeof(*handlers->lines));
	if (handlers->lines == NULL || handlers->outbox == NULL) {
		outbox_free(handlers->outbox);
		memory_free(handlers->lines);
		memory_free(handlers);
		return -ENOMEM;
	}
	plugin_init();
	*ret_handlers = handlers;
	return 0;
}

static es_usec
tick_us(const struct handlers *handlers)
{
	es_usec us = TICK_US_MAX;
	size_t i;

	for (i = 0; i < handlers->count; i++) {
		const es_usec quarter =
		    handlers->items[i]->conf->callback_timeout_us / 4;

		us = quarter < us ? quarter : us;
	}
	return us > TICK_US_MIN ? us : TICK_US_MIN;
}

/*
 * What was on its way and held it may have been cancelled.  A drain waits for
 * what is queued: who reads nothing holds it no longer than STILL_US_MAX.
 */
static void
tick_session(struct session *session, int64_t now_us) LOOP_THREAD
{
	const bool held = session->handler->handlers->closing &&
			  !list_empty(&session->events) &&
			  session_is_held(session);

	if (!held) {
		session->still_us = 0;
	} else if (session->still_us == 0 ||
		   session->still != session->written) {
		session->still_us = now_us;
		session->still = session->written;
	} else if (now_us - session->still_us >= STILL_US_MAX) {
		atomic_store(&session->let, true);
	}
	session_go_on(session);
}

static void
on_tick(void *arg)
{
	struct handlers *handlers = arg;
	const int64_t now_us = clock_now_us();

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->tick);
	handlers->tick = NULL;
	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(node, struct handler, node);

		if (handler->exec == NULL)
			plugin_tick(handler, now_us);
		filter_tick(handler, now_us);
		LIST_EACH_SAFE(each, after, &handler->sessions)
		tick_session(LIST_ENTRY(each, struct session, node), now_us);
	}
	consume_tick(handlers);
	outbox_tick(handlers->outbox);
	handlers_sweep(handlers);
	if (es_call_later(handlers->rooms.loop, tick_us(handlers),
		"handlers tick", on_tick, handlers, NULL, &handlers->tick) < 0)
		log_error("late callbacks are not told of: out of memory");
}

static int
start_on_loop(void *arg, es_value *ret)
{
	struct handlers *handlers = arg;

	(void)ret;
	es_loop_assert(handlers->rooms.loop);
	handlers_apply(handlers);
	handlers->rooms.conf = NULL; /* others follow */
	return es_call_later(handlers->rooms.loop, tick_us(handlers),
	    "handlers tick", on_tick, handlers, NULL, &handlers->tick);
}

int
handlers_start(struct handlers *handlers, char *ret_text, size_t size)
{
	es_future *f;
	int r;

	outbox_open(handlers->outbox);
	r = handlers_prepare(
	    handlers, handlers->rooms.conf, ES_FOREVER, ret_text, size);
	if (*ret_text == '\0')
		(void)snprintf(ret_text, size, "handlers: out of memory");
	if (r == 0)
		r = es_loop_invoke(handlers->rooms.loop, "start handlers",
		    start_on_loop, handlers, NULL, &f);
	return r < 0 ? r : es_await_take(f, ES_FOREVER, NULL);
}

/* Bindings */

struct handler *
handlers_for_path(struct handlers *handlers, const char *path, size_t len)
{
	size_t i, j;

	if (handlers == NULL)
		return NULL;
	for (i = 0; i < handlers->count; i++) {
		const struct conf_list *paths =
		    &handlers->items[i]->conf->paths;

		for (j = 0; j < paths->count; j++)
			if (strlen(paths->items[j]) == len &&
			    memcmp(paths->items[j], path, len) == 0)
				return handlers->items[i];
	}
	return NULL;
}

bool
handler_matches(const struct conf_list *patterns, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < patterns->count; i++)
		if (channel_pattern_match(patterns->items[i],
			strlen(patterns->items[i]), name, len))
			return true;
	return false;
}

struct handler *
handlers_for_channel(struct handlers *handlers, const char *channel, size_t len)
{
	size_t i;

	if (handlers == NULL)
		return NULL;
	for (i = 0; i < handlers->count; i++)
		if (handler_matches(
			&handlers->items[i]->conf->channels, channel, len))
			return handlers->items[i];
	return NULL;
}

bool
handler_wants_token(const struct handler *handler)
{
	return handler->conf->token_required;
}

/* The end */

void
handlers_stop_intake(struct handlers *handlers)
{
	if (handlers != NULL)
		handlers->closing = true;
}

static void
on_waited(void *arg)
{
	struct handlers *handlers = arg;
	void (*done)(void *) = handlers->waiting.done;
	int64_t left;

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->waiting.call);
	handlers->waiting.call = NULL;
	es_call_forget(&handlers->waiting.grace);
	left = handlers->waiting.end ? consume_left(handlers) : 0;
	if (left > 0)
		log_warn("%" PRId64 " messages are not consumed: their "
			 "processes were ending",
		    left);
	handlers->waiting.done = NULL;
	done(handlers->waiting.arg);
}

static void
finish_waiting(struct handlers *handlers)
{
	if (handlers->waiting.call != NULL)
		return;
	if (es_call_soon(handlers->rooms.loop, "handlers waited", on_waited,
		handlers, NULL, &handlers->waiting.call) < 0)
		on_waited(handlers); /* no memory for a call: at once */
}

/* What is being loaded serves nobody any more: awaited at the end only. */
static bool
is_idle(struct handlers *handlers)
{
	return handlers->active == 0 && list_empty(&handlers->fresh) &&
	       outbox_is_empty(handlers->outbox) &&
	       (!handlers->waiting.end ||
		   (handlers->sessions == 0 && handlers->loading == 0));
}

static bool
stop_processes(struct handlers *handlers) LOOP_THREAD
{
	bool ended = true;

	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(node, struct handler, node);

		if (handler->exec != NULL)
			ended = exec_stop(handler->exec) && ended;
	}
	return ended;
}

static void
on_quiet(es_future *f, void *arg)
{
	struct handlers *handlers = arg;
	bool ended = true;

	es_loop_assert(handlers->rooms.loop);
	es_future_unref(f);
	handlers->waiting.quiet = NULL;
	if (handlers->waiting.done == NULL)
		return;
	if (!is_idle(handlers)) {
		handlers_check_waiting(handlers);
		return;
	}
	if (handlers->waiting.end)
		ended = stop_processes(handlers);
	if (ended)
		finish_waiting(handlers);
}

void
handlers_check_waiting(struct handlers *handlers)
{
	es_future *f;

	if (handlers->waiting.done == NULL || handlers->waiting.call != NULL ||
	    handlers->waiting.quiet != NULL)
		return;
	if (handlers->hurried && !handlers->waiting.end) {
		finish_waiting(handlers);
		return;
	}
	if (!is_idle(handlers))
		return;
	if (es_executor_quiet(handlers->rooms.work, handlers->rooms.loop, &f) <
	    0) {
		finish_waiting(handlers); /* shut down already, or no memory */
		return;
	}
	handlers->waiting.quiet = f;
	if (es_future_add_done_callback(
		f, handlers->rooms.loop, on_quiet, handlers, NULL) < 0) {
		handlers->waiting.quiet = NULL;
		es_future_unref(f);
		finish_waiting(handlers);
	}
}

static void
on_grace(void *arg)
{
	struct handlers *handlers = arg;

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->waiting.grace);
	handlers->waiting.grace = NULL;
	if (handlers->waiting.done != NULL)
		finish_waiting(handlers);
}

/* Time is up: the callbacks of the connections that were cut have a moment. */
static void
arm_grace(struct handlers *handlers)
{
	if (handlers->waiting.grace == NULL &&
	    es_call_later(handlers->rooms.loop, HURRY_US, "handlers grace",
		on_grace, handlers, NULL, &handlers->waiting.grace) < 0)
		finish_waiting(handlers);
}

static void
await(struct handlers *handlers, bool end, void (*done)(void *arg), void *arg)
{
	assert(handlers->waiting.done == NULL);
	handlers->waiting.done = done;
	handlers->waiting.arg = arg;
	handlers->waiting.end = end;
	if (end && handlers->hurried)
		arm_grace(handlers);
	handlers_check_waiting(handlers);
}

void
handlers_await_idle(
    struct handlers *handlers, void (*done)(void *arg), void *arg)
{
	await(handlers, false, done, arg);
}

void
handlers_end(struct handlers *handlers, void (*done)(void *arg), void *arg)
{
	await(handlers, true, done, arg);
}

void
handlers_hurry(struct handlers *handlers)
{
	if (handlers == NULL || handlers->hurried)
		return;
	handlers->hurried = true;
	filters_hurry(handlers); /* what they say reaches processes */
	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(node, struct handler, node);

		if (handler->exec != NULL)
			exec_hurry(handler->exec);
	}
	if (handlers->waiting.done == NULL)
		return;
	if (handlers->waiting.end)
		arm_grace(handlers);
	else
		finish_waiting(handlers);
}

void
handlers_unref(struct handlers *handlers)
{
	if (atomic_fetch_sub(&handlers->refs, 1) == 1)
		memory_free(handlers);
}

void
handlers_disarm(struct handlers *handlers)
{
	if (handlers != NULL)
		handlers->ended = true;
}

uint64_t
handlers_left(const struct handlers *handlers)
{
	uint64_t left = 0;

	if (handlers == NULL)
		return 0;
	LIST_EACH_SAFE(node, next, &handlers->all)
	left += (uint64_t)LIST_ENTRY(node, struct handler, node)->queued_events;
	return left;
}

uint32_t
handlers_stuck(const struct handlers *handlers)
{
	uint32_t stuck = 0;

	if (handlers == NULL)
		return 0;
	LIST_EACH_SAFE(node, next, &handlers->all)
	stuck += LIST_ENTRY(node, struct handler, node)->late;
	return stuck;
}

/*
 * From now on the list of all is whoever's who unloads, no plugin's function
 * is begun, and no filter is asked.
 */
static int
freeze_on_loop(void *arg, es_value *ret)
{
	struct handlers *handlers = arg;

	(void)ret;
	es_loop_assert(handlers->rooms.loop);
	handlers->frozen = true;
	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(node, struct handler, node);

		atomic_store(&handler->disarmed, true);
		laters_drop(handler);
	}
	filters_hurry(handlers);
	return 0;
}

static int
await_quiet(struct handlers *handlers, es_executor *executor, es_usec timeout)
{
	es_future *f;
	const int r = es_executor_quiet(executor, handlers->rooms.loop, &f);

	return r < 0 ? r : es_await_take(f, timeout, NULL);
}

/* false: somebody is in a plugin's code, where end() is not for it. */
static bool
freeze(struct handlers *handlers, es_usec timeout)
{
	es_future *f;
	int r = es_loop_invoke(handlers->rooms.loop, "freeze handlers",
	    freeze_on_loop, handlers, NULL, &f);

	if (r == 0)
		r = es_await_take(f, timeout, NULL);
	if (r == 0)
		r = await_quiet(handlers, handlers->rooms.work, timeout);
	if (r == 0 && handlers->filter != NULL)
		r = await_quiet(handlers, handlers->filter, timeout);
	if (r == 0 && handlers->load != NULL)
		r = await_quiet(handlers, handlers->load, timeout);
	if (r < 0)
		log_debug("handlers: %s", strerrordesc_np(-r));
	return r == 0;
}

int
handlers_unload(struct handlers *handlers, es_usec timeout)
{
	const es_usec until_us = clock_now_us() + timeout;
	int left = 0;

	if (handlers == NULL)
		return 0;
	if (!freeze(handlers, timeout))
		return 0; /* the executor's end tells of it */
	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(node, struct handler, node);
		const es_usec rest_us = until_us - clock_now_us();

		if (plugin_unload(handler, rest_us > 0 ? rest_us : 0) == 0)
			continue;
		left++;
		log_error(
		    "end() does not come back handler=%s", handler->conf->name);
	}
	return left;
}

void
handlers_free(struct handlers *handlers)
{
	struct list *node;

	if (handlers == NULL)
		return;
	es_call_forget(&handlers->tick);
	es_call_forget(&handlers->sweep);
	es_call_forget(&handlers->pull);
	es_call_forget(&handlers->start);
	es_call_forget(&handlers->waiting.call);
	es_call_forget(&handlers->waiting.grace);
	if (handlers->waiting.quiet != NULL) {
		(void)es_future_remove_done_callback(
		    handlers->waiting.quiet, on_quiet, handlers);
		es_future_unref(handlers->waiting.quiet);
	}
	outbox_free(handlers->outbox);
	changes_free(handlers);
	LIST_EACH_SAFE(each, next, &handlers->all) /* may be publishers: last */
	handler_free_sessions(LIST_ENTRY(each, struct handler, node));
	while ((node = list_first(&handlers->all)) != NULL)
		handler_free(LIST_ENTRY(node, struct handler, node));
	consume_end(handlers);
	session_free_spare(handlers);
	memory_free(handlers->items);
	memory_free(handlers->lines);
	memory_free(handlers->links);
	handlers->items = NULL;
	handlers->lines = NULL;
	handlers_unref(handlers);
}
