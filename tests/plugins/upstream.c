/*
 * upstream: a handler of upstreams.  What comes is published in upper case on
 * the upstream's channel, but for "drop …", which is not; "to CHANNEL …" goes
 * to that channel, "answer …" back to the peer.  Opens, errors and ends are
 * told on channel `events`; option.open = TEXT is the first message; "close
 * CODE" ends the connection; option.message_ms blocks.
 */

#include "daemon/handler/earshot.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct es_host *host;

static void
block(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	if (ms > 0)
		(void)nanosleep(&time, NULL);
}

/* Too much is on its way: a little later. */
static int
publish(const char *channel, enum es_kind kind, const void *data, size_t len)
{
	int r;

	while (
	    (r = es_publish(host, channel, kind, data, len, NULL)) == -EAGAIN)
		block(1);
	return r;
}

static int
answer(es_conn conn, const char *text, size_t len)
{
	int r;

	while ((r = es_send(host, conn, ES_TEXT, text, len, NULL)) == -EAGAIN)
		block(1);
	return r;
}

static void
tell(const char *what, const char *more)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%s %s", what, more);
	(void)publish("events", ES_TEXT, text, strlen(text));
}

static int
on_open(void *state, es_conn conn, const struct es_open *open, void **user)
{
	const char *first = es_option(host, "open");

	(void)state;
	tell("open", open->upstream);
	tell("peer", open->peer);
	*user = strdup(open->channel);
	if (*user == NULL)
		return -ENOMEM;
	return first ? answer(conn, first, strlen(first)) : 0;
}

static int
shout(const char *channel, const struct es_message *message)
{
	char *text = malloc(message->len + 1);
	size_t i;
	int r;

	if (text == NULL)
		return -ENOMEM;
	for (i = 0; i < message->len; i++)
		text[i] = (char)toupper(((const char *)message->data)[i]);
	r = publish(channel, ES_TEXT, text, message->len);
	free(text);
	return r;
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	const char *ms = es_option(host, "message_ms");
	const char *data = message->data;
	size_t len = message->len;
	char channel[64] = "";
	int at = 0, code;

	(void)state;
	block(ms ? atoi(ms) : 0);
	if (message->kind == ES_BINARY)
		return publish(user, ES_BINARY, data, len);
	if (strncmp(data, "drop ", 5) == 0)
		return 0;
	if (strncmp(data, "answer ", 7) == 0)
		return answer(conn, data + 7, len - 7);
	if (sscanf(data, "close %d", &code) == 1)
		return es_close(host, conn, (uint16_t)code, "as you say");
	if (sscanf(data, "to %63s %n", channel, &at) == 1 && at > 0)
		return publish(channel, ES_TEXT, data + at, len - (size_t)at);
	return shout(user, message);
}

static void
on_error(void *state, es_conn conn, void *user, int error, const char *text)
{
	(void)state;
	(void)user;
	(void)error;
	tell(conn ? "error" : "failed", text);
}

static void
on_close(
    void *state, es_conn conn, void *user, uint16_t code, const char *reason)
{
	char both[256];

	(void)state;
	(void)conn;
	(void)user;
	(void)snprintf(both, sizeof(both), "%u %s", code, reason);
	tell("close", both);
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_open = on_open,
		.on_message = on_message,
		.on_error = on_error,
		.on_close = on_close,
		.drop_user = free,
	};
	return 0;
}
