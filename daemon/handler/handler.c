/*
 * handler: the set of handlers, what is bound to them, and their end.
 *
 * The happy path: handlers_new() -> handlers_start() loads plugins and starts
 * processes -> sessions (session.c) -> handlers_await_idle() while the
 * connections are still there -> handlers_end() when they are gone ->
 * handlers_unload() -> handlers_free().
 *
 * Waiting for idle is waiting for two things: no session has anything to do,
 * and then the executor is quiet, which may have given sessions more to do.
 *
 * What can go wrong:
 * - a plugin cannot be loaded: the daemon does not start;
 * - callbacks do not end: handlers_hurry() ends the waiting, not them.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/session.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TICK_US_MIN ES_MS(10)
#define TICK_US_MAX ES_S(1)
#define HURRY_US ES_MS(500) /* for the last on_close, when time is up */

int
handlers_new(const struct handlers_rooms *rooms, struct handlers **ret_handlers)
{
	const struct conf *conf = rooms->conf;
	struct handlers *handlers = memory_zalloc(sizeof(*handlers));
	size_t i;

	if (handlers == NULL)
		return -ENOMEM;
	handlers->rooms = *rooms;
	handlers->refs = 1;
	handlers->count = conf->handler_count;
	list_init(&handlers->topics);
	list_init(&handlers->fresh);
	handlers->lines =
	    memory_zalloc(handlers_slots(handlers) * sizeof(*handlers->lines));
	handlers->items =
	    memory_zalloc(handlers->count * sizeof(*handlers->items));
	if (handlers->lines == NULL || handlers->items == NULL) {
		memory_free(handlers->lines);
		memory_free(handlers->items);
		memory_free(handlers);
		return -ENOMEM;
	}
	for (i = 0; i < handlers->count; i++) {
		struct handler *handler = &handlers->items[i];

		handler->conf = &conf->handlers[i];
		handler->handlers = handlers;
		list_init(&handler->sessions);
		list_init(&handler->paused);
		list_init(&handler->refused);
	}
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
		    handlers->items[i].conf->callback_timeout_us / 4;

		us = quarter < us ? quarter : us;
	}
	return us > TICK_US_MIN ? us : TICK_US_MIN;
}

static void
on_tick(void *arg)
{
	struct handlers *handlers = arg;
	const int64_t now_us = clock_now_us();
	size_t i;

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->tick);
	handlers->tick = NULL;
	for (i = 0; i < handlers->count; i++)
		if (handlers->items[i].exec == NULL)
			plugin_tick(&handlers->items[i], now_us);
	consume_tick(handlers);
	if (es_call_later(handlers->rooms.loop, tick_us(handlers),
		"handlers tick", on_tick, handlers, NULL, &handlers->tick) < 0)
		log_error("late callbacks are not told of: out of memory");
}

static int
start_on_loop(void *arg, es_value *ret)
{
	struct handlers *handlers = arg;
	int r = 0;
	size_t i;

	(void)ret;
	es_loop_assert(handlers->rooms.loop);
	for (i = 0; i < handlers->count && r == 0; i++) {
		struct handler *handler = &handlers->items[i];

		if (handler->conf->plugin == NULL)
			r = exec_start(handler);
	}
	consume_start(handlers);
	if (r == 0)
		r = es_call_later(handlers->rooms.loop, tick_us(handlers),
		    "handlers tick", on_tick, handlers, NULL, &handlers->tick);
	return r;
}

int
handlers_start(struct handlers *handlers, char *ret_text, size_t size)
{
	es_future *f;
	size_t i;
	int r;

	for (i = 0; i < handlers->count; i++) {
		struct handler *handler = &handlers->items[i];

		if (handler->conf->plugin == NULL)
			continue;
		r = plugin_load(handler, ret_text, size);
		if (r < 0)
			return r;
	}
	(void)snprintf(ret_text, size, "handlers: out of memory");
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
		const struct conf_list *paths = &handlers->items[i].conf->paths;

		for (j = 0; j < paths->count; j++)
			if (strlen(paths->items[j]) == len &&
			    memcmp(paths->items[j], path, len) == 0)
				return &handlers->items[i];
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
			&handlers->items[i].conf->channels, channel, len))
			return &handlers->items[i];
	return NULL;
}

/* The end */

static void
cancel(es_call **call)
{
	if (*call == NULL)
		return;
	(void)es_call_cancel(*call); /* on its thread: it will not run */
	es_call_unref(*call);
	*call = NULL;
}

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

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->waiting.call);
	handlers->waiting.call = NULL;
	cancel(&handlers->waiting.grace);
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

static bool
is_idle(struct handlers *handlers)
{
	return handlers->active == 0 && handlers->pull == NULL &&
	       (!handlers->waiting.end || handlers->sessions == 0);
}

static void
on_quiet(es_future *f, void *arg)
{
	struct handlers *handlers = arg;
	size_t i;
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
	for (i = 0; i < handlers->count && handlers->waiting.end; i++)
		if (handlers->items[i].exec != NULL)
			ended = exec_stop(handlers->items[i].exec) && ended;
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
	size_t i;

	if (handlers == NULL || handlers->hurried)
		return;
	handlers->hurried = true;
	for (i = 0; i < handlers->count; i++)
		if (handlers->items[i].exec != NULL)
			exec_hurry(handlers->items[i].exec);
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
	size_t i;

	for (i = 0; handlers != NULL && i < handlers->count; i++)
		left += (uint64_t)handlers->items[i].queued_events;
	return left;
}

uint32_t
handlers_stuck(const struct handlers *handlers)
{
	uint32_t stuck = 0;
	size_t i;

	for (i = 0; handlers != NULL && i < handlers->count; i++)
		stuck += handlers->items[i].late;
	return stuck;
}

int
handlers_unload(struct handlers *handlers, es_usec timeout)
{
	const es_usec until_us = clock_now_us() + timeout;
	int left = 0;
	size_t i;

	for (i = 0; handlers != NULL && i < handlers->count; i++) {
		const es_usec rest_us = until_us - clock_now_us();

		if (plugin_unload(
			&handlers->items[i], rest_us > 0 ? rest_us : 0) == 0)
			continue;
		left++;
		log_error("end() does not come back handler=%s",
		    handlers->items[i].conf->name);
	}
	return left;
}

static void
handler_fini(struct handler *handler) LOOP_THREAD
{
	struct list *node;

	cancel(&handler->retry);
	while ((node = list_first(&handler->sessions)) != NULL) {
		struct session *session =
		    LIST_ENTRY(node, struct session, node);

		session->busy = false; /* its executor is shut down */
		session_free(session);
	}
	exec_free(handler->exec);
}

void
handlers_free(struct handlers *handlers)
{
	size_t i;

	if (handlers == NULL)
		return;
	cancel(&handlers->tick);
	cancel(&handlers->pull);
	cancel(&handlers->waiting.call);
	cancel(&handlers->waiting.grace);
	if (handlers->waiting.quiet != NULL) {
		(void)es_future_remove_done_callback(
		    handlers->waiting.quiet, on_quiet, handlers);
		es_future_unref(handlers->waiting.quiet);
	}
	for (i = 0; i < handlers->count; i++)
		handler_fini(&handlers->items[i]);
	consume_end(handlers);
	memory_free(handlers->items);
	memory_free(handlers->lines);
	memory_free(handlers->links);
	handlers->items = NULL;
	handlers->lines = NULL;
	handlers_unref(handlers);
}
