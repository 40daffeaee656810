/*
 * One channel, listened to for ever.
 *
 * The happy path: listen_start() -> on_open: the answer's Earshot-Position is
 * where we are -> every message is one further -> the connection ends -> after
 * a delay the next, with from=POSITION, goes on exactly there.
 *
 * What can go wrong:
 * - no connection: the next address at once, then full jitter (retry.h);
 * - the server says no (4xx, a policy's close code): told, exit 1;
 * - what we lack is gone: a 4009 close, or Earshot-Recovered: false; told, and
 *   on from where the server can serve;
 * - a server without positions: after a reconnect we hear what comes then.
 */

#include "daemon/ctl/sub.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POSITION_HEADER "earshot-position"
#define RECOVERED_HEADER "earshot-recovered"
#define MESSAGE_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define CLOSE_TIMEOUT ES_S(2)

static void connect_next(struct listening *listening) LOOP_THREAD;

__attribute__((format(printf, 2, 3))) static void
tell_state(const struct listening *listening, const char *fmt, ...)
{
	char text[2 * CTL_TEXT_MAX];
	va_list args;

	if (!listening->sub->states)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ctl_say("%s: %s", listening->channel, text);
}

static void
give_up(struct listening *listening, const char *text)
{
	es_loop_assert(listening->sub->session->loop);
	ctl_say("%s: %s", listening->channel, text);
	sub_end(listening->sub, CTL_FAILED);
}

static void
on_again(void *arg)
{
	struct listening *listening = arg;

	es_loop_assert(listening->sub->session->loop);
	es_call_unref(listening->again);
	listening->again = NULL;
	connect_next(listening);
}

static void
again_in(struct listening *listening, es_usec delay)
{
	es_loop_assert(listening->sub->session->loop);
	assert(listening->again == NULL);
	if (listening->sub->ending)
		return;
	if (es_call_later(listening->sub->session->loop, delay, "sub.again",
		on_again, listening, NULL, &listening->again) < 0)
		give_up(listening, "out of memory");
}

/* An attempt, or a connection, has failed for that reason. */
static void
failed(struct listening *listening, const char *text)
{
	const es_usec delay = retry_failed(&listening->retry, session_random());
	char whole[2 * CTL_TEXT_MAX];

	if (delay < 0) {
		(void)snprintf(whole, sizeof(whole), "%s: %s",
		    listening->sub->options->url_text, text);
		give_up(listening, whole);
		return;
	}
	tell_state(
	    listening, "%s; again in %" PRId64 " ms", text, delay / 1000);
	again_in(listening, delay);
}

static void
drop_client(struct listening *listening)
{
	es_loop_assert(listening->sub->session->loop);
	client_free(listening->client);
	listening->client = NULL;
	sub_closed(listening->sub);
}

static void
on_open(struct client *client, void *arg)
{
	struct listening *listening = arg;
	struct sub *sub = listening->sub;
	const char *position, *recovered;

	es_loop_assert(sub->session->loop);
	position = client_header(client, POSITION_HEADER);
	recovered = client_header(client, RECOVERED_HEADER);
	listening->opened_at = es_loop_time(sub->session->loop);
	retry_opened(&listening->retry, 0);
	if (recovered != NULL && strcmp(recovered, "true") != 0)
		ctl_say("%s: some messages are gone; goes on after %s",
		    listening->channel,
		    position != NULL ? position : "an unknown place");
	listening->has_position =
	    position != NULL &&
	    position_get(position, strlen(position), &listening->position) == 0;
	tell_state(listening, "listening, %s",
	    listening->has_position ? position : "without a position");
	if (sub->ending)
		client_close(client, 1000, "");
	else if (sub->paused)
		client_pause(client);
}

static void
on_message(struct client *client, enum client_kind kind, const void *data,
    size_t len, void *arg)
{
	struct listening *listening = arg;

	(void)client;
	es_loop_assert(listening->sub->session->loop);
	if (listening->has_position)
		listening->position.offset++;
	sub_message(listening->sub, listening->channel,
	    listening->has_position ? listening->position.offset : 0, kind,
	    data, len);
}

/* "gap EPOCH:FROM-TO": we have everything that can be had up to TO. */
static bool
skip_gap(struct listening *listening, const char *reason, size_t len)
{
	char text[CLIENT_REASON_MAX + 1], *dash;
	struct position from, to;

	if (len < 4 || len >= sizeof(text) || memcmp(reason, "gap ", 4) != 0)
		return false;
	memcpy(text, reason + 4, len - 4);
	text[len - 4] = '\0';
	dash = strchr(text, '-');
	if (dash == NULL ||
	    position_get(text, (size_t)(dash - text), &from) < 0)
		return false;
	to.epoch = from.epoch;
	to.offset = strtoll(dash + 1, &dash, 10);
	if (*dash != '\0' || to.offset < from.offset)
		return false;
	ctl_say("%s: messages %" PRId64 " to %" PRId64 " are gone",
	    listening->channel, from.offset, to.offset);
	listening->position = to;
	listening->has_position = true;
	return true;
}

/* Codes after which it would only end the same way. */
static bool
is_final(uint16_t code)
{
	switch (code) {
	case 1003:
	case 1007: /* these are ours: the server's text is not UTF-8, … */
	case 1008:
	case 1009: /* … its message is longer than we take */
	case 1010:
	case 4001:
	case 4401:
	case 4403:
		return true;
	default:
		return false;
	}
}

static void
printable(char *out, size_t size, const char *text, size_t len)
{
	size_t i, n = len < size - 1 ? len : size - 1;

	for (i = 0; i < n; i++)
		out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f
			     ? '?'
			     : text[i];
	out[n] = '\0';
}

static void
on_close(struct client *client, uint16_t code, const char *reason, size_t len,
    void *arg)
{
	struct listening *listening = arg;
	struct sub *sub = listening->sub;
	char words[CLIENT_REASON_MAX + 1], text[CTL_TEXT_MAX];
	es_usec hint;

	(void)client;
	es_loop_assert(sub->session->loop);
	printable(words, sizeof(words), reason, len);
	hint = retry_hint_us(reason, len);
	(void)snprintf(text, sizeof(text), "closed with %u%s%s", code,
	    words[0] != '\0' ? ": " : "", words);
	retry_opened(&listening->retry,
	    es_loop_time(sub->session->loop) - listening->opened_at);
	if (code == 4009 && !sub->ending)
		(void)skip_gap(listening, reason, len);
	drop_client(listening);
	if (sub->ending)
		return;
	if (is_final(code)) {
		give_up(listening, text);
	} else if (code == 1001 && hint >= 0) {
		tell_state(listening, "%s; again in %" PRId64 " ms", text,
		    hint / 1000);
		again_in(listening, hint);
	} else {
		failed(listening, text);
	}
}

static void
on_error(struct client *client, const struct client_error *error, void *arg)
{
	struct listening *listening = arg;
	const unsigned status = error->status;
	char text[CTL_TEXT_MAX];

	(void)client;
	es_loop_assert(listening->sub->session->loop);
	if (error->body_len == 0 ||
	    !session_error_text(error->body, error->body_len, text))
		(void)snprintf(text, sizeof(text), "%s", error->text);
	drop_client(listening);
	if (listening->sub->ending)
		return;
	if (status == 0 &&
	    listening->addresses.next < listening->addresses.count)
		again_in(listening, 0);
	else if (status == 0 || status >= 500 || status == 408 || status == 429)
		failed(listening, text);
	else
		give_up(listening, text);
}

static const struct client_ops client_ops = {
	.on_open = on_open,
	.on_message = on_message,
	.on_close = on_close,
	.on_error = on_error,
};

/* Where to go on, as an argument; "" is live. */
static void
from_text(const struct listening *listening, char *out, size_t size)
{
	const struct ctl_options *options = listening->sub->options;
	char position[POSITION_TEXT_MAX], encoded[3 * POSITION_TEXT_MAX];
	const char *text = "";

	if (listening->has_position) {
		(void)position_put(position, &listening->position);
		text = position;
	} else if (!listening->retry.ever_open && options->from != NULL) {
		text = options->from;
	}
	if (text[0] == '\0' ||
	    url_encode(encoded, sizeof(encoded), text, strlen(text)) < 0)
		out[0] = '\0';
	else
		(void)snprintf(out, size, "?from=%s", encoded);
}

static void
connect_next(struct listening *listening)
{
	static const char *const wanted[] = { POSITION_HEADER, RECOVERED_HEADER,
		NULL };
	struct sub *sub = listening->sub;
	const struct url *url = &sub->options->url;
	char path[sizeof(url->path) + 512], from[256], text[CTL_TEXT_MAX];
	struct client_options options = {
		.path = path,
		.wanted = wanted,
		.message_bytes_max = MESSAGE_BYTES_MAX,
		.queue_bytes_max = 4096,
		.connect_timeout = SESSION_CONNECT_TIMEOUT,
		.close_timeout = CLOSE_TIMEOUT,
	};
	int error;

	es_loop_assert(sub->session->loop);
	if (listening->addresses.next >= listening->addresses.count &&
	    !addresses_find(&listening->addresses, url, text)) {
		failed(listening, text);
		return;
	}
	(void)addresses_next(&listening->addresses, url, &options.peer);
	from_text(listening, from, sizeof(from));
	(void)snprintf(path, sizeof(path), "%s/ws/%s%s", url->path,
	    listening->channel, from);
	error = client_open(sub->session->outbound, &options, &client_ops,
	    listening, &listening->client);
	if (error < 0)
		failed(listening, strerror(-error));
	else
		sub->open++;
}

void
listen_start(struct listening *listening)
{
	connect_next(listening);
}

static void
forget_again(struct listening *listening)
{
	if (listening->again == NULL)
		return;
	(void)es_call_cancel(listening->again);
	es_call_unref(listening->again);
	listening->again = NULL;
}

void
listen_close(struct listening *listening)
{
	es_loop_assert(listening->sub->session->loop);
	forget_again(listening);
	if (listening->client != NULL)
		client_close(listening->client, 1000, "");
}

void
listen_stop(struct listening *listening)
{
	es_loop_assert(listening->sub->session->loop);
	forget_again(listening);
	client_free(listening->client);
	listening->client = NULL;
}
