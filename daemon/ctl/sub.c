/*
 * earshot sub: what is published on channels, to stdout.
 *
 * The happy path: one listening for each channel (listen.c) -> sub_message()
 * makes a line of each message -> before the loop waits, what goes without
 * waiting is written -> the count is reached, or a signal comes: everything
 * closes, the rest is written.
 *
 * What can go wrong:
 * - the reader is slow: above a limit the connections are not read, the
 *   server keeps our place;
 * - the reader is gone: that is how `| head -1` ends, and no fault;
 * - a connection that does not close: it has its own deadline.  A second
 *   signal does not wait for it, nor for the reader.
 */

#include "daemon/ctl/sub.h"
#include "daemon/base/memory.h"
#include "proto/base64.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX (SIZE_MAX / 2)

/* Both must be done before the run is over. */
static void
end_if_done(struct sub *sub)
{
	if (sub->open > 0 || sub->output.buffer.len > 0)
		return;
	session_finish(sub->session, sub->exit_code);
}

void
sub_end(struct sub *sub, int exit_code)
{
	size_t i;

	es_loop_assert(sub->session->loop);
	if (sub->ending)
		return;
	sub->ending = true;
	sub->exit_code = exit_code;
	for (i = 0; i < sub->options->channel_count; i++)
		listen_close(&sub->listening[i]);
	output_drain(&sub->output);
	end_if_done(sub);
}

void
sub_closed(struct sub *sub)
{
	assert(sub->open > 0);
	sub->open--;
	if (sub->ending)
		end_if_done(sub);
}

/* Quotes and escapes, into the line. */
static int
put_json_string(struct buffer *line, const char *text, size_t len)
{
	const size_t bytes = json_put_string(NULL, 0, text, len);
	char *quoted = memory_alloc(bytes);
	int error;

	if (quoted == NULL)
		return -ENOMEM;
	(void)json_put_string(quoted, bytes, text, len);
	error = buffer_append(line, quoted, bytes, LINE_BYTES_MAX);
	memory_free(quoted);
	return error;
}

static int
put_base64(struct buffer *line, const void *data, size_t len)
{
	const size_t bytes = base64_bytes(len);
	char *text = memory_alloc(bytes);
	int error;

	if (text == NULL)
		return -ENOMEM;
	error = buffer_append(
	    line, text, base64_put(text, data, len), LINE_BYTES_MAX);
	memory_free(text);
	return error;
}

/* {"channel":"ticks","offset":42,"text":"…"}; binary: "base64". */
static int
make_json(struct buffer *line, const char *channel, int64_t offset,
    enum client_kind kind, const void *data, size_t len)
{
	const bool text = kind == CLIENT_TEXT;
	int error;

	error =
	    buffer_printf(line, LINE_BYTES_MAX, "{\"channel\":\"%s\"", channel);
	if (error == 0 && offset > 0)
		error = buffer_printf(
		    line, LINE_BYTES_MAX, ",\"offset\":%" PRId64, offset);
	if (error == 0)
		error = buffer_printf(line, LINE_BYTES_MAX,
		    text ? ",\"text\":" : ",\"base64\":\"");
	if (error == 0)
		error = text ? put_json_string(line, data, len)
			     : put_base64(line, data, len);
	if (error == 0)
		error =
		    buffer_printf(line, LINE_BYTES_MAX, text ? "}\n" : "\"}\n");
	return error;
}

static int
print(struct sub *sub, const char *channel, int64_t offset,
    enum client_kind kind, const void *data, size_t len)
{
	int error;

	if (!sub->options->json) {
		error = output_put(&sub->output, data, len);
		return error == 0 ? output_put(&sub->output, "\n", 1) : error;
	}
	buffer_clear(&sub->line);
	error = make_json(&sub->line, channel, offset, kind, data, len);
	if (error == 0)
		error = output_put(&sub->output, sub->line.data, sub->line.len);
	return error;
}

void
sub_message(struct sub *sub, const char *channel, int64_t offset,
    enum client_kind kind, const void *data, size_t len)
{
	es_loop_assert(sub->session->loop);
	if (sub->ending)
		return;
	if (print(sub, channel, offset, kind, data, len) < 0) {
		ctl_say("out of memory");
		sub_end(sub, CTL_FAILED);
		return;
	}
	sub->count++;
	if (sub->count == sub->options->count)
		sub_end(sub, CTL_OK);
}

static void
on_full(void *arg)
{
	struct sub *sub = arg;
	size_t i;

	es_loop_assert(sub->session->loop);
	sub->paused = true;
	for (i = 0; i < sub->options->channel_count; i++)
		if (sub->listening[i].client != NULL)
			client_pause(sub->listening[i].client);
}

static void
on_room(void *arg)
{
	struct sub *sub = arg;
	size_t i;

	es_loop_assert(sub->session->loop);
	sub->paused = false;
	for (i = 0; i < sub->options->channel_count; i++)
		if (sub->listening[i].client != NULL)
			client_resume(sub->listening[i].client);
}

static void
on_empty(void *arg)
{
	end_if_done(arg);
}

static void
on_broken(int error, void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	if (error != -EPIPE)
		ctl_say("stdout: %s", strerror(-error));
	if (error != -EPIPE && sub->ending)
		sub->exit_code = CTL_FAILED; /* what was to come is lost */
	sub_end(sub, error == -EPIPE ? CTL_OK : CTL_FAILED);
	end_if_done(sub);
}

static const struct output_ops output_ops = { on_full, on_room, on_empty,
	on_broken };

static void
on_signal(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct sub *sub = arg;

	(void)signo;
	(void)info;
	es_loop_assert(sub->session->loop);
	if (sub->ending)
		session_finish(sub->session, sub->exit_code);
	else
		sub_end(sub, CTL_OK);
}

static int
start_listening(struct sub *sub)
{
	const struct ctl_options *options = sub->options;
	size_t i;

	es_loop_assert(sub->session->loop);
	sub->listening =
	    memory_zalloc(options->channel_count * sizeof(*sub->listening));
	if (sub->listening == NULL)
		return -ENOMEM;
	for (i = 0; i < options->channel_count; i++) {
		struct listening *listening = &sub->listening[i];

		listening->sub = sub;
		listening->channel = options->channels[i];
		retry_init(
		    &listening->retry, options->retries, CTL_RETRIES_DEFAULT);
	}
	for (i = 0; i < options->channel_count && !sub->ending; i++)
		listen_start(&sub->listening[i]);
	return 0;
}

static void
start(struct session *session, void *arg)
{
	struct sub *sub = arg;
	int error;

	es_loop_assert(session->loop);
	sub->session = session;
	output_init(
	    &sub->output, session->loop, STDOUT_FILENO, &output_ops, sub);
	error = es_add_signal_handler(session->loop, SIGINT, on_signal, sub);
	if (error == 0)
		error = es_add_signal_handler(
		    session->loop, SIGTERM, on_signal, sub);
	if (error == 0)
		error = start_listening(sub);
	if (error < 0) {
		ctl_say("%s", strerror(-error));
		session_finish(session, CTL_FAILED);
	}
}

static void
before_wait(void *arg)
{
	struct sub *sub = arg;

	if (sub->session == NULL)
		return;
	es_loop_assert(sub->session->loop);
	output_flush(&sub->output);
}

static void
end(void *arg)
{
	struct sub *sub = arg;
	size_t i;

	if (sub->session == NULL) /* it never started */
		return;
	es_loop_assert(sub->session->loop);
	for (i = 0; sub->listening != NULL && i < sub->options->channel_count;
	     i++)
		listen_stop(&sub->listening[i]);
	memory_free(sub->listening);
	output_fini(&sub->output);
	buffer_fini(&sub->line);
}

int
sub_run(const struct ctl_options *options)
{
	static const struct session_task task = { start, before_wait, end };
	struct sub sub = { .options = options };

	sub.states = options->verbosity > 0 || isatty(STDERR_FILENO);
	return session_run(options, &task, &sub);
}
