/*
 * reload: the configuration read again and, when it has no fault, applied; one
 * task on the main loop.
 *
 * The happy path, S on executor sys, N on the net loop, M on the main loop:
 *   M  SIGHUP, or /control/reload: RELOADING=1, the task begins
 *   S  the files are read and checked whole, certificates too
 *   N  handlers that are new are made; plugins are loaded, by workers
 *   N  applied in one call; what needs a restart is told
 *   M  READY=1; whoever asked is answered
 *
 * What can go wrong:
 * - a fault: each is told in the log and to who asked, nothing has changed;
 * - asked again meanwhile: once more afterwards, for all who asked;
 * - a drain begins: what was read is thrown away, the drain does not wait;
 * - the files cannot be read in READ_US, plugins not be loaded in LOAD_US, the
 *   net loop does not answer in APPLY_US: given up, told.  What the net loop
 *   does later is whole, too.
 */

#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/daemon.h"
#include "daemon/feed/feed.h"
#include "daemon/net/control.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define READ_US ES_S(30)
#define LOAD_US ES_S(30) /* a plugin's own code, on threads for that */
#define APPLY_US ES_S(10)
#define CANCEL_US ES_S(3)
#define LINES_MAX 100u /* of faults, and of what needs a restart */
#define BYTES_MAX ((size_t)4 * 1024 * 1024)

/* Lines as JSON strings, with commas. */
struct told {
	struct buffer list;
	char first[512];
	unsigned count;
};

/* Goes from thread to thread; one has it at a time. */
struct reload {
	struct daemon *daemon; /* on the net loop only */
	char *path;
	struct conf *conf; /* NULL: not read */
	struct keyring *keyring; /* conf's; NULL: no keys, or not read */
	struct told faults, restart;
	int error;
	/* Who asked. */
	uint64_t requests[RELOAD_REQUESTS_MAX];
	unsigned request_count;
	struct buffer body;
	unsigned status;
};

static void
reload_free(void *arg)
{
	struct reload *reload = arg;

	conf_free(reload->conf);
	keyring_unref(reload->keyring);
	buffer_fini(&reload->faults.list);
	buffer_fini(&reload->restart.list);
	buffer_fini(&reload->body);
	memory_free(reload->path);
	memory_free(reload);
}

static void
tell(struct told *told, const char *text)
{
	struct buffer *list = &told->list;
	const size_t need = json_put_string(NULL, 0, text, strlen(text));
	char *quoted;

	if (told->count++ == 0)
		(void)snprintf(told->first, sizeof(told->first), "%s", text);
	if (told->count > LINES_MAX)
		return; /* the log has them all */
	quoted = memory_alloc(need);
	if (quoted == NULL)
		return;
	(void)json_put_string(quoted, need, text, strlen(text));
	if (list->len == 0 || buffer_append(list, ",", 1, BYTES_MAX) == 0)
		(void)buffer_append(list, quoted, need, BYTES_MAX);
	memory_free(quoted);
}

/* On sys */

static void
on_fault(const char *text, void *arg)
{
	log_error("%s", text);
	tell(arg, text);
}

static int
read_whole(struct reload *reload)
{
	struct net_fault fault;
	int files, whole, keys, error;

	reload->conf = conf_new();
	if (reload->conf == NULL)
		return -ENOMEM;
	files = conf_read_files(
	    reload->conf, reload->path, on_fault, &reload->faults);
	if (files < 0)
		return files;
	whole = conf_finish(reload->conf, on_fault, &reload->faults);
	if (whole < 0)
		return whole;
	keys = keyring_new(
	    reload->conf, on_fault, &reload->faults, &reload->keyring);
	if (keys < 0)
		return keys;
	if (reload->faults.count > 0)
		return -EINVAL;
	error = net_check(reload->conf, &fault);
	if (error == -EINVAL)
		on_fault(fault.text, &reload->faults);
	return error;
}

static int
read_job(void *arg, es_value *ret)
{
	struct reload *reload = arg;

	reload->error = read_whole(reload);
	*ret = ES_PTR(reload, reload_free);
	return 0;
}

/* On the net loop */

static void
on_restart(const char *text, void *arg)
{
	char line[640];

	log_warn("reload: %s: takes a restart", text);
	(void)snprintf(line, sizeof(line), "%s", text);
	tell(arg, line);
}

static int
apply_on_net(void *arg, es_value *ret)
{
	struct reload *reload = arg;
	struct daemon *daemon = reload->daemon;

	es_loop_assert(daemon->net_loop);
	net_apply(daemon->net, reload->conf, reload->keyring, on_restart,
	    &reload->restart);
	if (feeds_apply(daemon->feeds, reload->conf) < 0)
		on_restart("the feeds: out of memory", &reload->restart);
	handlers_apply(daemon->handlers);
	*ret = ES_PTR(reload, reload_free);
	return 0;
}

static void
answer_on_net(void *arg)
{
	struct reload *reload = arg;
	struct daemon *daemon = reload->daemon;
	unsigned i;

	es_loop_assert(daemon->net_loop);
	if (reload->status != 409) /* of a drain nothing is to be told */
		control_reloaded(
		    daemon, reload->status == 200, reload->faults.first);
	for (i = 0; i < reload->request_count; i++)
		net_control_answer(daemon->net, reload->requests[i],
		    reload->status, reload->body.data, reload->body.len);
	reload_free(reload);
}

/* On the main loop */

/* Waits for what has the reload now; < 0: somebody else frees it. */
static int
get_back(es_future *f, es_usec timeout, struct reload **ret_reload)
{
	es_value value;
	int code = es_await(f, timeout);

	if (code == 0)
		code = es_future_take(f, &value);
	if (code < 0)
		(void)es_future_cancel(f); /* or it is running: then it ends */
	es_future_unref(f);
	if (code == 0)
		*ret_reload = value.p;
	return code;
}

static int
prepare_handlers(struct daemon *daemon, struct reload *reload)
{
	char text[640];
	int code;

	if (daemon->drain.running)
		return -ESHUTDOWN;
	code = handlers_prepare(
	    daemon->handlers, reload->conf, LOAD_US, text, sizeof(text));
	if (code == 0 || *text == '\0')
		return code;
	on_fault(text, &reload->faults);
	return -EINVAL;
}

static void
on_abandon(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	handlers_abandon(daemon->handlers);
}

/* A drain began meanwhile. */
static int
abandon_handlers(struct daemon *daemon)
{
	if (es_call_soon(daemon->net_loop, "abandon handlers", on_abandon,
		daemon, NULL, NULL) < 0)
		log_debug("no memory for a call: they end with the rest");
	return -ESHUTDOWN;
}

/* *reload is NULL afterwards where somebody else frees it. */
static int
read_and_apply(struct daemon *daemon, struct reload **reload)
{
	es_future *f;
	int code;

	code = es_executor_submit(daemon->sys, 0, "reload", read_job, *reload,
	    reload_free, daemon->main_loop, &f);
	if (code < 0)
		return code;
	*reload = NULL;
	code = get_back(f, READ_US, reload);
	if (code < 0)
		return code;
	if ((*reload)->error < 0)
		return (*reload)->error;
	code = prepare_handlers(daemon, *reload);
	if (code == 0 && daemon->drain.running)
		code = abandon_handlers(daemon);
	if (code < 0)
		return code;
	code = es_loop_invoke(
	    daemon->net_loop, "reload", apply_on_net, *reload, reload_free, &f);
	if (code < 0)
		return code;
	*reload = NULL;
	return get_back(f, APPLY_US, reload);
}

static void
take_requests(struct daemon *daemon, struct reload *reload)
{
	assert(daemon->reload.request_count <= RELOAD_REQUESTS_MAX);
	memcpy(reload->requests, daemon->reload.requests,
	    sizeof(reload->requests));
	reload->request_count = daemon->reload.request_count;
	daemon->reload.request_count = 0;
	daemon->reload.again = false;
}

static int
put_body(struct reload *reload, int code, const char *why)
{
	struct told *told = code == 0 ? &reload->restart : &reload->faults;
	struct buffer *body = &reload->body;
	int error;

	reload->status = code == 0 ? 200 : code == -ESHUTDOWN ? 409 : 400;
	if (code == 0)
		error = buffer_printf(body, BYTES_MAX, "{\"restart\":[");
	else
		error = buffer_printf(body, BYTES_MAX,
		    "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"},"
		    "\"faults\":[",
		    code == -ESHUTDOWN ? "draining"
		    : code == -EINVAL  ? "bad_configuration"
				       : "not_reloaded",
		    why);
	if (error == 0)
		error = buffer_append(
		    body, told->list.data, told->list.len, BYTES_MAX);
	if (error == 0)
		error = buffer_append(body, "]}\n", 3, BYTES_MAX);
	return error;
}

static void
tell_log(const struct reload *reload, int code, const char *why)
{
	const unsigned restart = reload->restart.count;

	if (code == 0)
		log_event(LOG_LEVEL_INFO,
		    &(struct log_about){ .event = EVENT_RELOADED },
		    restart > 0 ? "reloaded; %u change%s a restart"
				: "reloaded",
		    restart, restart == 1 ? " takes" : "s take");
	else
		log_event(LOG_LEVEL_ERROR,
		    &(struct log_about){ .event = EVENT_RELOAD_FAILED },
		    "not reloaded, %s; all is as it was", why);
}

static const char *
reason(int code)
{
	if (code == -ESHUTDOWN)
		return "draining";
	if (code == -EINVAL)
		return "the configuration has faults";
	if (code == -ETIMEDOUT)
		return "it took too long";
	return code == -ECANCELED ? "draining" : strerrordesc_np(-code);
}

/* What it came to, to everybody who wants to know. */
static void
finish(struct daemon *daemon, struct reload *reload, int code)
{
	tell_log(reload, code, reason(code));
	if (code == 0) {
		log_set_level((enum log_level)reload->conf->log_level);
		conf_free(daemon->conf);
		daemon->conf = conf_ref(reload->conf);
	}
	if (put_body(reload, code == -ECANCELED ? -ESHUTDOWN : code,
		reason(code)) < 0)
		reload->status = 503; /* without a body */
	if (!daemon->drain.running)
		heartbeat_ready(daemon);
	if (es_call_soon(daemon->net_loop, "reloaded", answer_on_net, reload,
		reload_free, NULL) < 0)
		reload_free(reload); /* the loop is closed, and they are cut */
}

static struct reload *
reload_new(struct daemon *daemon)
{
	struct reload *reload = memory_zalloc(sizeof(*reload));

	if (reload == NULL)
		return NULL;
	reload->daemon = daemon;
	reload->path =
	    memory_dup(daemon->conf_path, strlen(daemon->conf_path) + 1);
	if (reload->path != NULL)
		return reload;
	memory_free(reload);
	return NULL;
}

/* The answer is kept apart: what reads may not come back. */
static int
reload_once(struct daemon *daemon)
{
	struct reload *answer = reload_new(daemon);
	struct reload *reload = answer ? reload_new(daemon) : NULL;
	int code;

	if (reload == NULL) {
		if (answer != NULL)
			reload_free(answer);
		log_error("reload: out of memory");
		return -ENOMEM; /* who asked is cut, in time */
	}
	take_requests(daemon, answer);
	(void)notify_reloading("reloading"); /* -EAGAIN: READY=1 will do */
	code = read_and_apply(daemon, &reload);
	if (reload == NULL) {
		finish(daemon, answer, code);
		return code;
	}
	memcpy(reload->requests, answer->requests, sizeof(reload->requests));
	reload->request_count = answer->request_count;
	reload_free(answer);
	finish(daemon, reload, code);
	return code;
}

static int
reload_task(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;

	(void)ret;
	do
		(void)reload_once(daemon); /* it has told everybody */
	while (daemon->reload.again && !es_cancelled());
	daemon->reload.running = false;
	return 0;
}

/* Somebody who asks when there is no reload to be had. */
static void
refuse(struct daemon *daemon, uint64_t request, int code)
{
	struct reload *reload;

	log_warn("reload: %s; nothing is reloaded", reason(code));
	if (request == RELOAD_NOBODY)
		return;
	reload = reload_new(daemon);
	if (reload == NULL)
		return; /* cut, in time */
	reload->requests[0] = request;
	reload->request_count = 1;
	if (put_body(reload, code, reason(code)) < 0)
		reload->status = 503;
	if (es_call_soon(daemon->net_loop, "not reloaded", answer_on_net,
		reload, reload_free, NULL) < 0)
		reload_free(reload);
}

void
reload_begin(struct daemon *daemon, uint64_t request)
{
	int error;

	if (daemon->drain.running) { /* READY=1 would be a lie */
		refuse(daemon, request, -ESHUTDOWN);
		return;
	}
	if (request != RELOAD_NOBODY) {
		if (daemon->reload.request_count == RELOAD_REQUESTS_MAX) {
			refuse(daemon, request, -EBUSY);
			return;
		}
		daemon->reload.requests[daemon->reload.request_count++] =
		    request;
	}
	daemon->reload.again = true;
	if (daemon->reload.running)
		return;
	es_future_unref(daemon->reload.task);
	daemon->reload.task = NULL;
	error = es_spawn(daemon->main_loop, "reload", reload_task, daemon, NULL,
	    &daemon->reload.task);
	daemon->reload.running = error == 0;
	if (error < 0)
		log_error("reload: out of memory");
}

void
reload_end(struct daemon *daemon)
{
	if (!daemon->reload.running)
		return;
	(void)es_future_cancel(daemon->reload.task);
	if (es_await(daemon->reload.task, CANCEL_US) == -ETIMEDOUT)
		log_warn("reload: does not end");
}

void
reload_fini(struct daemon *daemon)
{
	es_future_unref(daemon->reload.task);
}
