/*
 * plugin: a shared object, loaded, and its callbacks on workers (round.c).
 *
 * What is loaded already, by another handler or a former one, is loaded again
 * as a copy of its file: each has variables of its own, and of another file
 * under the same name the loader would give back the old one.
 *
 * What can go wrong: it is none, or of another version; it calls exit() while
 * it is loaded: told, and exit code 2.
 */

#include "daemon/handler/plugin.h"
#include "daemon/base/log.h"
#include "daemon/handler/filter.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_START 2
#define COPY_NAME_BYTES_MAX 128 /* a bit of its number is two of them */
#define COPY_BYTES_MAX (1024 * 1024) /* at a time */
#define CODE_FORBIDDEN 4403
#define LOADS_MAX 4 /* at a time; more of them wait */
#define FILTER_JOBS_MAX 1024 /* of feeds and handlers, beside connections */

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

/* Threads */

int
plugin_threads(const struct handler *handler)
{
	struct handlers *handlers = handler->handlers;
	const unsigned threads = (unsigned)handler->whole->limits.work_threads;
	int r = 0;

	if (handlers->ended)
		return -ESHUTDOWN;
	if (handlers->load == NULL)
		r = es_executor_new(&handlers->load,
		    &(es_executor_opts){
			.name = "load",
			.background = true, /* the loops go first */
			.threads = LOADS_MAX,
		    });
	if (r == 0 && handlers->filter == NULL &&
	    handler->conf->filters.count > 0)
		r = es_executor_new(&handlers->filter,
		    &(es_executor_opts){
			.name = "filter",
			.background = true,
			.threads = threads,
			.queue_max = handlers->rooms.slots + FILTER_JOBS_MAX,
		    });
	return r;
}

int
handlers_stop_threads(struct handlers *handlers, es_usec timeout)
{
	int left;

	if (handlers == NULL)
		return 0;
	left = es_executor_shutdown(handlers->filter, ES_EXEC_CANCEL, timeout);
	left += es_executor_shutdown(handlers->load, ES_EXEC_CANCEL, timeout);
	handlers->filter = handlers->load = NULL;
	return left;
}

/* Loading, on a thread of `load` */

typedef int (*plugin_fn)(
    const struct es_host *host, struct es_handler *handler);

/*
 * Which plugins are being loaded, and where; on_exit() has no way to be taken
 * back.  A thread that waits for a future may have another one beside it.
 */
static struct place {
	_Atomic(const char *) path; /* NULL: free */
	_Atomic pid_t thread;
} places[2 * LOADS_MAX];

/* NULL: exit() in there would not be told of. */
static struct place *
take_place(const char *path)
{
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const char *none = NULL;

		if (!atomic_compare_exchange_strong(
			&places[i].path, &none, path))
			continue;
		atomic_store(&places[i].thread, gettid());
		return &places[i];
	}
	return NULL;
}

static void
leave_place(struct place *place)
{
	if (place == NULL)
		return;
	atomic_store(&place->thread, 0);
	atomic_store(&place->path, NULL);
}

/* Another thread than these may be the plugin's, too. */
static const char *
find_path(pid_t thread)
{
	const char *any = NULL;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const char *path = atomic_load(&places[i].path);

		if (path != NULL && atomic_load(&places[i].thread) == thread)
			return path;
		any = path != NULL ? path : any;
	}
	return any;
}

static void
on_process_exit(int status, void *arg)
{
	const char *path = find_path(gettid());

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

	len = snprintf(loading->text, sizeof(loading->text),
	    "%s:%d: [handler%s%s] plugin: ", conf->file, conf->line,
	    *conf->name ? " " : "", conf->name);
	if (len < 0 || (size_t)len >= sizeof(loading->text))
		return;
	va_start(args, fmt);
	(void)vsnprintf(loading->text + len,
	    sizeof(loading->text) - (size_t)len, fmt,
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
	if (handler->plugin.version != ES_PLUGIN_VERSION) {
		fault(loading, "%s is of version %u, expected %u",
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

/*
 * A name that no object had before: the loader goes by names, and numbers of
 * descriptors come again.  What stands for a bit means nothing to the kernel.
 */
static void
put_copy_name(char out[static COPY_NAME_BYTES_MAX], int fd, unsigned number)
{
	char *at = stpcpy(out, "/proc/self");

	for (; number != 0; number >>= 1)
		at = stpcpy(at, number & 1 ? "/." : "/");
	(void)snprintf(
	    at, COPY_NAME_BYTES_MAX - (size_t)(at - out), "/fd/%d", fd);
}

static int
copy_file(int from, int to)
{
	ssize_t n;

	do
		n = sendfile(to, from, NULL, COPY_BYTES_MAX);
	while (n > 0);
	return n < 0 ? -errno : 0;
}

/* The same object again, with variables of its own.  NULL: told. */
static void *
load_copy(struct loading *loading, int file)
{
	const char *path = loading->handler->conf->plugin;
	char name[COPY_NAME_BYTES_MAX];
	void *object = NULL;
	int fd, r;

	loading->refused = !loading->may_copy;
	if (loading->refused) {
		fault(
		    loading, "%s: loaded too often, a restart is needed", path);
		return NULL;
	}
	fd = memfd_create("plugin", MFD_CLOEXEC);
	r = fd < 0 ? -errno : copy_file(file, fd);
	if (r < 0)
		fault(loading, "%s: not copied: %s", path, strerrordesc_np(-r));
	if (r == 0) {
		put_copy_name(name, fd, loading->number);
		object = dlopen(name, RTLD_NOW | RTLD_LOCAL);
		if (object == NULL)
			fault(loading, "%s: %s", path, dlerror());
	}
	if (fd >= 0)
		(void)close(fd); /* the loader has mapped it */
	loading->copied = object != NULL;
	return object;
}

static struct plugin_file
identity(const struct stat *stat)
{
	return (struct plugin_file){ stat->st_dev, stat->st_ino, stat->st_size,
		stat->st_mtim };
}

static bool
same_file(const struct plugin_file *a, const struct plugin_file *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

static int
load_object(struct loading *loading)
{
	struct handler *handler = loading->handler;
	const char *path = handler->conf->plugin;
	const int file = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	void *there;

	if (file < 0) { /* the loader may still know it by name */
		fault(loading, "%s: %s", path, strerrordesc_np(errno));
		return -ENOENT;
	}
	if (fstat(file, &stat) == 0)
		handler->file = identity(&stat);
	there = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
	/* Another thread may be about to load the same one. */
	if (there == NULL && loading->alone) {
		handler->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (handler->object == NULL)
			fault(loading, "%s", dlerror());
	} else {
		handler->object = load_copy(loading, file);
	}
	if (there != NULL)
		(void)dlclose(there); /* only looked for; it stays loaded */
	(void)close(file);
	return handler->object == NULL ? -ENOENT : 0;
}

int
plugin_load_job(void *arg, es_value *ret)
{
	struct loading *loading = arg;
	struct handler *handler = loading->handler;
	struct place *place = take_place(handler->conf->plugin);
	plugin_fn fn;
	int r;

	(void)ret;
	bridge_init(handler);
	r = load_object(loading);
	/* Never closed: its code may be in use up to the last instruction. */
	fn = r < 0 ? NULL
		   : (plugin_fn)(uintptr_t)dlsym(
			 handler->object, "earshot_plugin");
	if (r == 0 && fn == NULL) {
		fault(loading, "%s has no symbol earshot_plugin",
		    handler->conf->plugin);
		r = -ENOEXEC;
	}
	if (r == 0)
		r = begin_plugin(loading, fn);
	leave_place(place);
	return r;
}

int
plugin_look_job(void *arg, es_value *ret)
{
	const struct loading *loading = arg;
	struct plugin_file now;
	struct stat found;

	(void)ret;
	if (stat(loading->handler->conf->plugin, &found) < 0)
		return -ESTALE;
	now = identity(&found);
	return same_file(&now, &loading->handler->file) ? 0 : -ESTALE;
}

void
plugin_init(void)
{
	(void)on_exit(on_process_exit, NULL); /* without it: no message */
}

/* The end */

int
plugin_end_job(void *arg, es_value *ret)
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

	if (handler->state == HANDLER_ENDING)
		return es_await(handler->ending, timeout);
	if (!handler->loaded || handler->plugin.end == NULL ||
	    handler->state == HANDLER_ENDED)
		return 0;
	r = es_executor_submit(rooms->work, 0, "end plugin", plugin_end_job,
	    handler, NULL, NULL, &f);
	if (r < 0)
		return r;
	r = es_await(f, timeout);
	es_future_unref(f);
	return r;
}
