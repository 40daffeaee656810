/*
 * The loop of a command, with libwebsockets on it.
 *
 * Names are resolved on the loop's thread: a command has nothing else to do
 * while it does not know where to go.
 */

#include "daemon/ctl/session.h"
#include "daemon/base/log.h"
#include "daemon/ctl/words.h"

#include <arpa/inet.h>
#include <assert.h>
#include <jansson.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define FDS_MAX 64
#define HEADS_MAX 4
#define HEAD_BYTES_MAX 16384

void
ctl_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)fputs("earshot: ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
	va_end(args);
}

uint64_t
session_random(void)
{
	uint64_t random = 0;

	(void)getrandom(&random, sizeof(random), 0); /* 8 bytes always come */
	return random;
}

void
session_finish(struct session *session, int exit_code)
{
	if (session->finished)
		return;
	session->finished = true;
	session->exit_code = exit_code;
	es_loop_stop(session->loop);
}

static void
before_poll(es_usec *wait, void *arg)
{
	struct session *session = arg;

	es_loop_assert(session->loop);
	if (session->glue == NULL)
		return;
	if (session->task->before_wait != NULL)
		session->task->before_wait(session->arg);
	glue_before_poll(session->glue, wait);
}

static void
after_batch(void *arg)
{
	struct session *session = arg;

	es_loop_assert(session->loop);
	if (session->glue != NULL)
		glue_after_batch(session->glue);
}

/* Blocking here is nobody's business but the user's. */
static void
on_report(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	(void)loop;
	(void)kind;
	(void)arg;
	log_debug("%s: code=%d took_us=%lld %s", what, code, (long long)took,
	    message != NULL ? message : "");
}

static void
start(void *arg)
{
	const struct glue_options options = { .fds_max = FDS_MAX,
		.heads_max = HEADS_MAX,
		.head_bytes_max = HEAD_BYTES_MAX,
		.request_timeout_s = 60,
		.client_only = true };
	struct session *session = arg;
	char text[OUTBOUND_TEXT_MAX] = "";
	int error;

	es_loop_assert(session->loop);
	error = glue_open(session->loop, &options, &session->glue);
	if (error == 0)
		error = outbound_open(session->glue, &session->options->trust,
		    text, &session->outbound);
	if (error < 0) {
		ctl_say("%s", text[0] != '\0' ? text : strerror(-error));
		session_finish(session, CTL_FAILED);
		return;
	}
	session->task->start(session, session->arg);
}

static void
end(void *arg)
{
	struct session *session = arg;
	struct glue *glue = session->glue;

	es_loop_assert(session->loop);
	session->task->end(session->arg);
	outbound_close(session->outbound);
	session->glue = NULL; /* the hooks still come */
	glue_close(glue);
	es_loop_stop(session->loop);
}

static int
turn(struct session *session, const char *name, es_fn fn)
{
	int error = es_call_soon(session->loop, name, fn, session, NULL, NULL);

	return error < 0 ? error : es_loop_run(session->loop);
}

int
session_run(const struct ctl_options *options, const struct session_task *task,
    void *arg)
{
	const es_loop_opts loop_options = { .name = "earshot",
		.report = on_report };
	struct session session = { .options = options,
		.task = task,
		.arg = arg,
		.exit_code = CTL_FAILED };
	char text[CTL_TEXT_MAX];
	int error;

	if (!bearer_init(&session.bearer, options, text)) {
		ctl_say("%s", text);
		return CTL_FAILED;
	}
	log_set_level(
	    options->verbosity > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	error = es_loop_new(&session.loop, &loop_options);
	if (error < 0) {
		ctl_say("%s", strerror(-error));
		return CTL_FAILED;
	}
	error =
	    es_loop_set_hooks(session.loop, before_poll, after_batch, &session);
	if (error == 0)
		error = turn(&session, "start", start);
	if (error == 0)
		error = turn(&session, "end", end);
	if (error < 0)
		ctl_say("%s", strerror(-error));
	(void)es_loop_close(session.loop, 0); /* nothing of ours is left */
	es_loop_unref(session.loop);
	bearer_fini(&session.bearer);
	return error < 0 ? CTL_FAILED : session.exit_code;
}

bool
addresses_find(struct addresses *addresses, const struct url *url,
    char text[static CTL_TEXT_MAX])
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list, *one;
	int error = getaddrinfo(url->host, NULL, &hints, &list);

	addresses->count = addresses->next = 0;
	if (error != 0) {
		(void)snprintf(text, CTL_TEXT_MAX, "%s: %s", url->host,
		    gai_strerror(error));
		return false;
	}
	for (one = list; one != NULL; one = one->ai_next) {
		if (addresses->count == SESSION_ADDRESSES_MAX)
			break;
		if (getnameinfo(one->ai_addr, one->ai_addrlen,
			addresses->text[addresses->count], INET6_ADDRSTRLEN,
			NULL, 0, NI_NUMERICHOST) == 0)
			addresses->count++;
	}
	freeaddrinfo(list);
	if (addresses->count == 0)
		(void)snprintf(text, CTL_TEXT_MAX, "%s: no address", url->host);
	return addresses->count > 0;
}

bool
addresses_next(struct addresses *addresses, const struct url *url,
    struct outbound_peer *ret_peer)
{
	if (addresses->next >= addresses->count)
		return false;
	*ret_peer = (struct outbound_peer){
		.address = addresses->text[addresses->next++],
		.port = url->port,
		.host = url->host,
		.tls = url->tls,
	};
	return true;
}

bool
session_error_text(const void *body, size_t len, char out[static CTL_TEXT_MAX])
{
	json_t *root = json_loadb(body, len, 0, NULL);
	const char *code, *message;
	char text[CTL_TEXT_MAX];
	bool is_error;

	is_error = json_unpack(root, "{s:{s:s,s:s}}", "error", "code", &code,
		       "message", &message) == 0;
	if (is_error) {
		(void)snprintf(text, sizeof(text), "%s: %s", code, message);
		words_printable(out, CTL_TEXT_MAX, text, strlen(text));
	}
	json_decref(root);
	return is_error;
}
