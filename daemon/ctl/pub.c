/*
 * earshot pub: stdin to a channel, a message a line.
 *
 * The happy path: on_data() gathers -> next() takes the longest run of lines
 * of one kind and posts it -> while the server works on it, the next is
 * gathered -> on_answer() -> next(), until stdin has ended and all is
 * answered.
 *
 * Every line is sent at most once.  What can go wrong:
 * - nobody there, and nothing of the batch was sent: tried again (retry.h);
 * - the connection is lost after that: nobody knows which of the batch's lines
 *   were taken; the first of them is named;
 * - the server refuses a line: it is named, the ones before were taken.
 */

#include "daemon/base/buffer.h"
#include "daemon/ctl/batch.h"
#include "daemon/ctl/input.h"
#include "daemon/ctl/retry.h"
#include "daemon/ctl/session.h"
#include "daemon/lws/http_client.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BATCH_BYTES_MAX ((size_t)256 * 1024)
#define GATHERED_BYTES_MAX ((size_t)1024 * 1024) /* then stdin waits */
#define MESSAGE_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define ANSWER_BYTES_MAX 65536
#define ANSWER_TIMEOUT ES_S(60)

struct pub {
	struct session *session;
	const struct ctl_options *options;
	struct input input;
	struct buffer gathered; /* begins with the batch under way */
	size_t searched; /* of it, no newline is in there */
	bool ended;
	uint64_t line; /* number of the first gathered one */
	uint64_t accepted;

	struct addresses addresses;
	struct http_client *http;
	struct retry retry;
	es_call *again;
	bool busy; /* a batch is under way, or waits to be tried again */
	struct batch batch;
	struct buffer body; /* its bytes */
};

static void next(struct pub *pub) LOOP_THREAD;
static void post(struct pub *pub) LOOP_THREAD;

static void
finish(struct pub *pub, int exit_code)
{
	session_finish(pub->session, exit_code);
}

/* "line 4711: …", or without the number where the whole is one message. */
__attribute__((format(printf, 3, 4))) static void
fail_at(struct pub *pub, uint64_t line, const char *fmt, ...)
{
	char text[2 * CTL_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (pub->options->whole)
		ctl_say("%s", text);
	else
		ctl_say("line %" PRIu64 ": %s", line, text);
	finish(pub, CTL_FAILED);
}

static void
on_again(void *arg)
{
	struct pub *pub = arg;

	es_loop_assert(pub->session->loop);
	es_call_unref(pub->again);
	pub->again = NULL;
	post(pub);
}

/* Nothing of the batch was sent: elsewhere at once, or here again later. */
static void
not_connected(struct pub *pub, const char *text)
{
	es_usec delay = 0;

	es_loop_assert(pub->session->loop);
	http_client_close(pub->http);
	pub->http = NULL;
	if (pub->addresses.next >= pub->addresses.count) {
		delay = retry_failed(&pub->retry, session_random());
		if (delay >= 0 && pub->options->verbosity > 0)
			ctl_say("%s: %s; again in %" PRId64 " ms",
			    pub->options->url_text, text, delay / 1000);
	}
	if (delay < 0) {
		fail_at(pub, pub->line, "not sent: %s: %s",
		    pub->options->url_text, text);
		return;
	}
	if (es_call_later(pub->session->loop, delay, "pub.again", on_again, pub,
		NULL, &pub->again) < 0)
		fail_at(pub, pub->line, "not sent: out of memory");
}

/* How many lines of the batch the answer says were taken. */
static uint64_t
accepted_lines(
    const struct pub *pub, const struct http_result *result, bool all)
{
	json_t *root = json_loadb(result->body, result->len, 0, NULL);
	json_int_t accepted;
	uint64_t lines = all ? pub->batch.lines : 0;

	if (json_unpack(root, "{s:I}", "accepted", &accepted) == 0 &&
	    accepted >= 0 && (uint64_t)accepted <= pub->batch.lines)
		lines = (uint64_t)accepted;
	json_decref(root);
	return lines;
}

static void
refused(struct pub *pub, const struct http_result *result)
{
	const uint64_t line = pub->line + accepted_lines(pub, result, false);
	char text[CTL_TEXT_MAX];

	if (session_error_text(result->body, result->len, text))
		fail_at(pub, line, "%s", text);
	else
		fail_at(pub, line, "HTTP %u %s", result->status, result->text);
}

static void
lost(struct pub *pub, const char *text)
{
	if (pub->options->whole || pub->batch.lines == 1)
		fail_at(pub, pub->line,
		    "no answer: %s; it may have been published", text);
	else
		fail_at(pub, pub->line,
		    "no answer: %s; this and the lines up to %" PRIu64
		    " may have been published",
		    text, pub->line + pub->batch.lines - 1);
}

static void
taken(struct pub *pub, const struct http_result *result)
{
	const uint64_t lines = accepted_lines(pub, result, true);

	es_loop_assert(pub->session->loop);
	if (lines < pub->batch.lines) {
		fail_at(pub, pub->line + lines, "not accepted");
		return;
	}
	pub->retry.ever_open = true;
	pub->retry.failures = 0;
	pub->line += lines;
	pub->accepted += lines;
	pub->busy = false;
	next(pub);
	if (!pub->busy || pub->gathered.len < GATHERED_BYTES_MAX)
		input_resume(&pub->input);
}

static void
on_answer(const struct http_result *result, void *arg)
{
	struct pub *pub = arg;

	if (result->status == 0 && !result->begun)
		not_connected(pub, result->text);
	else if (result->status == 0)
		lost(pub, result->text);
	else if (result->status / 100 == 2)
		taken(pub, result);
	else
		refused(pub, result);
}

static bool
connect_somewhere(struct pub *pub)
{
	struct http_client_options options = {
		.connect_timeout = SESSION_CONNECT_TIMEOUT,
		.answer_timeout = ANSWER_TIMEOUT,
		.answer_bytes_max = ANSWER_BYTES_MAX,
	};
	char text[CTL_TEXT_MAX];
	int error;

	es_loop_assert(pub->session->loop);
	if (pub->addresses.next >= pub->addresses.count &&
	    !addresses_find(&pub->addresses, &pub->options->url, text)) {
		not_connected(pub, text);
		return false;
	}
	(void)addresses_next(
	    &pub->addresses, &pub->options->url, &options.peer);
	error = http_client_open(pub->session->outbound, &options, &pub->http);
	if (error < 0)
		not_connected(pub, strerror(-error));
	return error == 0;
}

static void
post(struct pub *pub)
{
	char path[sizeof(pub->options->url.path) + 256];
	int error;

	es_loop_assert(pub->session->loop);
	assert(pub->busy);
	if (pub->http == NULL && !connect_somewhere(pub))
		return;
	(void)snprintf(path, sizeof(path), "%s/channels/%s/messages%s",
	    pub->options->url.path, pub->options->channels[0],
	    pub->options->whole ? "" : "?split=lines");
	bearer_again(&pub->session->bearer);
	error = http_client_post(pub->http, path,
	    bearer_header(&pub->session->bearer),
	    pub->batch.binary ? "application/octet-stream"
			      : "text/plain; charset=utf-8",
	    pub->body.data, pub->body.len, on_answer, pub);
	if (error < 0)
		fail_at(pub, pub->line, "not sent: %s", strerror(-error));
}

/* The whole is handed over, not copied. */
static bool
take_whole(struct pub *pub)
{
	if (!pub->ended || pub->accepted > 0)
		return false;
	assert(pub->body.len == 0);
	pub->body = pub->gathered;
	buffer_init(&pub->gathered);
	pub->batch = (struct batch){
		.binary = pub->options->binary ||
			  !utf8_valid(pub->body.data, pub->body.len),
		.len = pub->body.len,
		.lines = 1,
	};
	return true;
}

static bool
take_lines(struct pub *pub)
{
	struct buffer *gathered = &pub->gathered;

	if (gathered->len == 0)
		return false;
	if (!batch_take(gathered->data, gathered->len, pub->searched,
		pub->ended, pub->options->binary, BATCH_BYTES_MAX,
		&pub->batch)) {
		pub->searched = gathered->len;
		return false;
	}
	buffer_clear(&pub->body);
	if (buffer_append(&pub->body, gathered->data, pub->batch.len,
		MESSAGE_BYTES_MAX) < 0) {
		fail_at(pub, pub->line, "out of memory");
		return false;
	}
	buffer_consume(gathered, pub->batch.len);
	pub->searched = 0;
	return true;
}

/* What happens next, unless a batch is under way. */
static void
next(struct pub *pub)
{
	es_loop_assert(pub->session->loop);
	if (pub->busy)
		return;
	if (pub->options->whole ? take_whole(pub) : take_lines(pub)) {
		pub->busy = true;
		post(pub);
		return;
	}
	if (!pub->ended || pub->gathered.len > 0)
		return;
	if (pub->options->verbosity > 0)
		ctl_say("%" PRIu64 " published", pub->accepted);
	finish(pub, CTL_OK);
}

static void
on_data(const void *data, size_t len, void *arg)
{
	struct pub *pub = arg;
	int error;

	es_loop_assert(pub->session->loop);
	error = buffer_append(&pub->gathered, data, len, MESSAGE_BYTES_MAX);
	if (error == -EMSGSIZE)
		fail_at(
		    pub, pub->line, "longer than %zu bytes", MESSAGE_BYTES_MAX);
	else if (error < 0)
		fail_at(pub, pub->line, "out of memory");
	if (error < 0) {
		input_stop(&pub->input);
		return;
	}
	next(pub);
	/* Of one long message everything must come, of many lines not. */
	if (pub->busy && pub->gathered.len >= GATHERED_BYTES_MAX)
		input_pause(&pub->input);
}

static void
on_end(int error, void *arg)
{
	struct pub *pub = arg;

	es_loop_assert(pub->session->loop);
	if (error < 0) {
		ctl_say("stdin: %s", strerror(-error));
		finish(pub, CTL_FAILED);
		return;
	}
	pub->ended = true;
	next(pub);
}

static const struct input_ops input_ops = { on_data, on_end };

static void
start(struct session *session, void *arg)
{
	struct pub *pub = arg;
	int error;

	es_loop_assert(session->loop);
	pub->session = session;
	error = input_start(
	    &pub->input, session->loop, STDIN_FILENO, &input_ops, pub);
	if (error < 0)
		on_end(error, pub);
}

static void
end(void *arg)
{
	struct pub *pub = arg;

	if (pub->session == NULL) /* it never started */
		return;
	es_loop_assert(pub->session->loop);
	input_stop(&pub->input);
	if (pub->again != NULL) {
		(void)es_call_cancel(pub->again);
		es_call_unref(pub->again);
	}
	http_client_close(pub->http);
	buffer_fini(&pub->gathered);
	buffer_fini(&pub->body);
}

int
pub_run(const struct ctl_options *options)
{
	static const struct session_task task = { .start = start, .end = end };
	struct pub pub = { .options = options, .line = 1 };

	retry_init(&pub.retry, options->retries, CTL_RETRIES_DEFAULT);
	return session_run(options, &task, &pub);
}
