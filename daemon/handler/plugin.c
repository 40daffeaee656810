/*
 * plugin: a shared object, loaded, and its callbacks on workers (round.c).
 *
 * What can go wrong: it is none, or of another version; it calls exit() while
 * it is loaded: told, and exit code 2.
 */

#include "daemon/base/log.h"
#include "daemon/handler/filter.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_START 2
#define CODE_FORBIDDEN 4403

/* Callbacks, on a worker */

static void
call_open(struct session *session)
{
	const struct es_handler *plugin = &session->handler->plugin;
	int r = 0;

	if (plugin->on_open != NULL)
		r = plugin->on_open(plugin->state, session->name,
		    &session->open, &session->user);
	if (r == 0)
		return;
	session->refuse = r >= 1000 && r <= 4999 ? (uint16_t)r : CODE_FORBIDDEN;
}

static void
call_error(struct session *session, int error, const char *text)
{
	const struct es_handler *plugin = &session->handler->plugin;

	if (plugin->on_error != NULL)
		plugin->on_error(
		    plugin->state, session->name, session->user, error, text);
}

static void
call_message(struct session *session, const struct event *event)
{
	const struct es_handler *plugin = &session->handler->plugin;
	const struct es_message message = {
		.kind = (enum es_kind)event->message_kind,
		.data = event->data,
		.len = event->len,
		.channel = session->name == 0 ? session->open.channel : NULL,
		.position = event->position,
		.time_us = event->time_us,
	};
	int r = 0;

	if (plugin->on_message != NULL)
		r = plugin->on_message(
		    plugin->state, session->name, session->user, &message);
	if (r >= 0)
		return;
	session->failed++;
	call_error(session, r, "on_message failed");
}

static void
call_close(struct session *session, const struct event *event)
{
	const struct es_handler *plugin = &session->handler->plugin;

	if (plugin->on_close != NULL)
		plugin->on_close(plugin->state, session->name, session->user,
		    event->code, (const char *)event->data);
	if (plugin->drop_user != NULL && session->user != NULL)
		plugin->drop_user(session->user);
	session->user = NULL;
	session->ended = true;
}

static void
call_back(struct session *session, struct event *event)
{
	if (session->refuse != 0 && event->kind != EVENT_CLOSE)
		return;
	switch (event->kind) {
	case EVENT_OPEN:
		call_open(session);
		break;
	case EVENT_MESSAGE:
		call_message(session, event);
		break;
	case EVENT_ERROR:
		call_error(session, event->error, (const char *)event->data);
		break;
	case EVENT_CLOSE:
		call_close(session, event);
		break;
	case EVENT_PUBLISH: /* filter_call() */
		break;
	}
}

bool
plugin_handle(struct session *session, struct event *event)
{
	bool more = true;

	session->handled++;
	session->handled_bytes += (int64_t)event->len;
	if (event->kind == EVENT_PUBLISH) {
		more = filter_call(session, event); /* keeps it */
	} else {
		call_back(session, event);
		list_append(&session->spent, &event->node);
	}
	return more;
}

/* Loading, on a worker */

typedef int (*plugin_fn)(
    const struct es_host *host, struct es_handler *handler);

struct loading {
	struct handler *handler;
	char *text;
	size_t size;
};

/* Which plugin is being loaded; on_exit() has no way to be taken back. */
static _Atomic(const char *) loading_path;

static void
on_process_exit(int status, void *arg)
{
	const char *path = atomic_load(&loading_path);

	(void)arg;
	if (path == NULL)
		return;
	log_error("plugin %s ended the process with exit(%d) while it was "
		  "loaded",
	    path, status);
	log_stop(ES_S(1));
	_exit(EXIT_START);
}

static void fault(struct loading *loading, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
fault(struct loading *loading, const char *fmt, ...)
{
	const struct conf_handler *conf = loading->handler->conf;
	va_list args;
	int len;

	len = snprintf(loading->text, loading->size,
	    "[handler%s%s] plugin: ", *conf->name ? " " : "", conf->name);
	if (len < 0 || (size_t)len >= loading->size)
		return;
	va_start(args, fmt);
	(void)vsnprintf(loading->text + len, loading->size - (size_t)len, fmt,
	    args); /* cut where it is too long */
	va_end(args);
}

static int
begin_plugin(struct loading *loading, plugin_fn fn)
{
	struct handler *handler = loading->handler;
	const int r = fn(&handler->host, &handler->plugin);

	if (r < 0) {
		fault(loading, "%s: earshot_plugin() failed: %s",
		    handler->conf->plugin, strerrordesc_np(-r) ?: "?");
		return -ECANCELED;
	}
	if (handler->plugin.version < 1 ||
	    handler->plugin.version > ES_PLUGIN_VERSION) {
		fault(loading, "%s is of version %u, expected 1 to %u",
		    handler->conf->plugin, handler->plugin.version,
		    ES_PLUGIN_VERSION);
		return -ENOEXEC;
	}
	if (handler->conf->filters.count == 0 ||
	    handler->plugin.on_publish != NULL)
		return 0;
	fault(loading, "%s has no on_publish, which filter needs",
	    handler->conf->plugin);
	return -ENOEXEC;
}

static int
load_job(void *arg, es_value *ret)
{
	struct loading *loading = arg;
	const char *path = loading->handler->conf->plugin;
	plugin_fn fn;
	void **object = &loading->handler->object;

	(void)ret;
	*object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (*object == NULL) {
		fault(loading, "%s", dlerror());
		return -ENOENT;
	}
	/* Never closed: its code may be in use up to the last instruction. */
	fn = (plugin_fn)(uintptr_t)dlsym(*object, "earshot_plugin");
	if (fn == NULL) {
		fault(loading, "%s has no symbol earshot_plugin", path);
		return -ENOEXEC;
	}
	return begin_plugin(loading, fn);
}

int
plugin_load(struct handler *handler, char *ret_text, size_t size)
{
	const struct handlers_rooms *rooms = &handler->handlers->rooms;
	struct loading loading = { handler, ret_text, size };
	es_future *f;
	int r;

	r = filters_threads(handler->handlers, handler);
	if (r < 0) {
		fault(&loading, "%s", strerrordesc_np(-r));
		return r;
	}
	bridge_init(handler);
	(void)on_exit(on_process_exit, NULL); /* without it: no message */
	atomic_store(&loading_path, handler->conf->plugin);
	r = es_executor_submit(
	    rooms->work, 0, "load plugin", load_job, &loading, NULL, NULL, &f);
	if (r == 0)
		r = es_await_take(f, ES_FOREVER, NULL);
	else
		fault(&loading, "%s", strerrordesc_np(-r));
	atomic_store(&loading_path, NULL);
	handler->loaded = r == 0;
	return r;
}

static int
unload_job(void *arg, es_value *ret)
{
	struct handler *handler = arg;

	(void)ret;
	handler->plugin.end(handler->plugin.state);
	return 0;
}

int
plugin_unload(struct handler *handler, es_usec timeout)
{
	const struct handlers_rooms *rooms = &handler->handlers->rooms;
	es_future *f;
	int r;

	if (!handler->loaded || handler->plugin.end == NULL)
		return 0;
	r = es_executor_submit(
	    rooms->work, 0, "end plugin", unload_job, handler, NULL, NULL, &f);
	if (r < 0)
		return r;
	r = es_await(f, timeout);
	es_future_unref(f);
	return r;
}
