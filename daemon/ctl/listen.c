/*
 * The raw view of one channel.
 *
 * The happy path: the answer's Earshot-Position is where we are -> every
 * message is one further -> the connection is lost -> the next one, with
 * from=POSITION, goes on exactly there.
 *
 * What can go wrong:
 * - what we lack is gone: a 4009 close, or Earshot-Recovered: false; told, and
 *   on from where the server can serve;
 * - a server without positions: after a reconnect we hear what comes then.
 */

#include "daemon/base/memory.h"
#include "daemon/ctl/sub.h"
#include "proto/base64.h"
#include "proto/decimal.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX (SIZE_MAX / 2)
#define POSITION_HEADER "earshot-position"
#define RECOVERED_HEADER "earshot-recovered"

static struct place *
place_of(struct sub *sub)
{
	assert(sub->channel_count == 1);
	return &sub->places.list[0];
}

/* Where to go on, as an argument; none is live. */
static void
path(char *out, size_t size, void *arg)
{
	struct sub *sub = arg;
	const struct place *place = place_of(sub);
	char position[POSITION_TEXT_MAX], encoded[3 * POSITION_TEXT_MAX];
	const char *from = "";

	if (place->known) {
		(void)position_put(position, &place->position);
		from = position;
	} else if (!sub->dial.retry.ever_open && sub->options->from != NULL) {
		from = sub->options->from;
	}
	if (from[0] == '\0' ||
	    url_encode(encoded, sizeof(encoded), from, strlen(from)) < 0)
		(void)snprintf(out, size, "/ws/%s", place->channel);
	else
		(void)snprintf(
		    out, size, "/ws/%s?from=%s", place->channel, encoded);
}

static void
on_open(struct client *client, void *arg)
{
	struct sub *sub = arg;
	struct place *place = place_of(sub);
	const char *position, *recovered;
	struct position got;

	es_loop_assert(sub->session->loop);
	position = client_header(client, POSITION_HEADER);
	recovered = client_header(client, RECOVERED_HEADER);
	if (recovered != NULL && strcmp(recovered, "true") != 0)
		ctl_say("%s: some messages are gone; goes on after %s",
		    place->channel,
		    position != NULL ? position : "an unknown place");
	place->known = position != NULL &&
		       position_get(position, strlen(position), &got) == 0;
	if (place->known)
		place_move(&sub->places, place, &got);
	dial_tell(&sub->dial, "%s: listening, %s", place->channel,
	    place->known ? position : "without a position");
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
make_json(struct buffer *line, const struct place *place, enum client_kind kind,
    const void *data, size_t len)
{
	const bool text = kind == CLIENT_TEXT;
	int error;

	error = buffer_printf(
	    line, LINE_BYTES_MAX, "{\"channel\":\"%s\"", place->channel);
	if (error == 0 && place->known)
		error = buffer_printf(line, LINE_BYTES_MAX,
		    ",\"offset\":%" PRId64, place->position.offset + 1);
	if (error == 0)
		error = buffer_printf(line, LINE_BYTES_MAX,
		    text ? ",\"text\":" : ",\"base64\":\"");
	if (error == 0)
		error = text ? put_json_string(line, data, len)
			     : put_base64(line, data, len);
	if (error == 0)
		error = buffer_printf(line, LINE_BYTES_MAX, text ? "}" : "\"}");
	return error;
}

static void
on_message(enum client_kind kind, const void *data, size_t len, void *arg)
{
	struct sub *sub = arg;
	struct place *place = place_of(sub);

	es_loop_assert(sub->session->loop);
	if (!sub->options->json) {
		sub_take(sub, place, data, len);
		return;
	}
	buffer_clear(&sub->line);
	if (make_json(&sub->line, place, kind, data, len) == 0) {
		sub_take(sub, place, sub->line.data, sub->line.len);
	} else {
		ctl_say("%s", strerror(ENOMEM));
		sub_end(sub, CTL_FAILED, 1000, "");
	}
}

/* "gap EPOCH:FROM-TO": we have everything that can be had up to TO. */
static void
skip_gap(struct sub *sub, const char *reason, size_t len)
{
	struct place *place = place_of(sub);
	char text[CLIENT_REASON_MAX + 1], *dash;
	struct position from, to;

	if (len < 4 || len >= sizeof(text) || memcmp(reason, "gap ", 4) != 0)
		return;
	memcpy(text, reason + 4, len - 4);
	text[len - 4] = '\0';
	dash = strchr(text, '-');
	if (dash == NULL ||
	    position_get(text, (size_t)(dash - text), &from) < 0)
		return;
	to.epoch = from.epoch;
	if (decimal_get(dash + 1, strlen(dash + 1), &to.offset) < 0 ||
	    to.offset < from.offset)
		return;
	ctl_say("%s: messages %" PRId64 " to %" PRId64 " are gone",
	    place->channel, from.offset, to.offset);
	place_move(&sub->places, place, &to);
}

static void
on_lost(uint16_t code, const char *reason, size_t len, void *arg)
{
	struct sub *sub = arg;

	if (code == 4009 && !sub->ending)
		skip_gap(sub, reason, len);
}

void
listen_start(struct sub *sub)
{
	static const char *const wanted[] = { POSITION_HEADER, RECOVERED_HEADER,
		NULL };
	static const struct dial_ops ops = { .wanted = wanted,
		.path = path,
		.opened = on_open,
		.message = on_message,
		.lost = on_lost,
		.gave_up = sub_gave_up,
		.over = sub_over };

	dial_init(&sub->dial, sub->session, &ops, sub, sub->states);
	dial_start(&sub->dial);
}
