/*
 * wire: JSON Lines out; in is wire_get.c.
 *
 * Payloads are embedded or pointed to, never taken apart: JSON stays the
 * bytes it was.  Text that is not UTF-8 (a header's value may be) goes out
 * with its bytes as the characters U+0080 to U+00FF.
 */

#include "daemon/handler/wire.h"
#include "daemon/handler/filter.h"
#include "proto/base64.h"
#include "proto/channel.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX (SIZE_MAX / 2)
#define BASE64_PIECE 768

/* Putting */

struct put {
	struct buffer *out;
	int error;
};

static void
put_bytes(struct put *put, const void *data, size_t len)
{
	if (put->error == 0)
		put->error = buffer_append(put->out, data, len, LINE_BYTES_MAX);
}

static void
put_text(struct put *put, const char *text)
{
	put_bytes(put, text, strlen(text));
}

/* One byte that cannot stand in a string as it is. */
static void
put_byte(struct put *put, uint8_t c)
{
	char escape[JSON_ESCAPE_MAX + 1];

	if (c < 0x80) {
		put_bytes(put, escape, json_put_escape(escape, c));
	} else {
		(void)snprintf(escape, sizeof(escape), "\\u%04x", c);
		put_text(put, escape);
	}
}

static void
put_string(struct put *put, const void *data, size_t len)
{
	const uint8_t *text = data;
	const bool valid = utf8_valid(text, len);
	size_t at = 0;

	put_bytes(put, "\"", 1);
	while (at < len) {
		size_t plain = json_plain_bytes(text + at, len - at);

		if (!valid)
			for (plain = 0; at + plain < len; plain++) {
				const uint8_t c = text[at + plain];

				if (c < 0x20 || c >= 0x7f || c == '"' ||
				    c == '\\')
					break;
			}
		put_bytes(put, text + at, plain);
		at += plain;
		if (at < len)
			put_byte(put, text[at++]);
	}
	put_bytes(put, "\"", 1);
}

static void
put_member(struct put *put, const char *key, const char *value)
{
	put_text(put, ",\"");
	put_text(put, key);
	put_text(put, "\":");
	put_string(put, value, strlen(value));
}

static void
put_base64(struct put *put, const uint8_t *data, size_t len)
{
	char piece[BASE64_PIECE / 3 * 4];

	put_bytes(put, "\"", 1);
	while (len > 0) {
		const size_t n = len < BASE64_PIECE ? len : BASE64_PIECE;

		put_bytes(put, piece, base64_put(piece, data, n));
		data += n;
		len -= n;
	}
	put_bytes(put, "\"", 1);
}

static void
put_payload(struct put *put, const struct event *event)
{
	switch (event->message_kind) {
	case MESSAGE_TEXT:
		put_text(put, ",\"text\":");
		put_string(put, event->data, event->len);
		return;
	case MESSAGE_BINARY:
		put_text(put, ",\"base64\":");
		put_base64(put, event->data, event->len);
		return;
	case MESSAGE_JSON:
		break;
	}
	put_text(put, ",\"json\":");
	/* JSON may stand in several lines, which only white space can do. */
	for (size_t at = 0; at < event->len;) {
		const uint8_t *text = event->data + at;
		size_t n = 0;

		while (
		    at + n < event->len && text[n] != '\n' && text[n] != '\r')
			n++;
		put_bytes(put, text, n);
		at += n;
		if (at < event->len)
			at++;
	}
}

static void
put_open(struct put *put, const struct es_open *open)
{
	size_t i;

	put_member(put, "path", open->path);
	put_member(put, "query", open->query);
	put_member(put, "peer", open->peer);
	if (*open->channel != '\0')
		put_member(put, "channel", open->channel);
	if (*open->upstream != '\0')
		put_member(put, "upstream", open->upstream);
	put_text(put, ",\"headers\":{");
	for (i = 0; i < open->header_count; i++) {
		const struct es_header *header = &open->headers[i];

		if (i > 0)
			put_bytes(put, ",", 1);
		put_string(put, header->name, strlen(header->name));
		put_bytes(put, ":", 1);
		put_string(put, header->value, strlen(header->value));
	}
	put_bytes(put, "}", 1);
	if (*open->claims != '\0') { /* an object already, in one line */
		put_text(put, ",\"claims\":");
		put_text(put, open->claims);
	}
}

static void
put_where(
    struct put *put, const struct session *session, const struct event *event)
{
	const struct position position = { event->position.epoch,
		event->position.offset };
	char text[POSITION_TEXT_MAX + 64];

	if (session->name != 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIu32,
		    conn_slot(session->name), conn_generation(session->name));
		put_member(put, "conn", text);
		return;
	}
	if (event->kind == EVENT_PUBLISH) {
		put_member(put, "channel", ask_of_const(event)->channel);
		return;
	}
	put_member(put, "channel", session->open.channel);
	if (*session->open.upstream != '\0')
		put_member(put, "upstream", session->open.upstream);
	if (event->kind != EVENT_MESSAGE)
		return;
	(void)position_put(text, &position);
	put_member(put, "position", text);
	(void)snprintf(text, sizeof(text), ",\"time\":%" PRId64 ".%06" PRId64,
	    event->time_us / 1000000, event->time_us % 1000000);
	put_text(put, text);
}

static void
put_error(
    struct put *put, const struct session *session, const struct event *event)
{
	char text[64];

	put_member(put, "error", strerrorname_np(-event->error));
	put_member(put, "message", (const char *)event->data);
	if (event->lost != 0) {
		(void)snprintf(
		    text, sizeof(text), ",\"lost\":%" PRIu64, event->lost);
		put_text(put, text);
	}
	if (event->code != 0) {
		(void)snprintf(text, sizeof(text), ",\"code\":%u", event->code);
		put_text(put, text);
	}
	if (event->again && session->name != 0)
		put_open(put, &session->open);
}

int
wire_put_event(struct buffer *out, const struct session *session,
    const struct event *event)
{
	static const char *const names[] = { [EVENT_OPEN] = "open",
		[EVENT_MESSAGE] = "message",
		[EVENT_ERROR] = "error",
		[EVENT_CLOSE] = "close",
		[EVENT_PUBLISH] = "publish" };
	const size_t before = out->len;
	struct put put = { .out = out };
	char text[64];

	(void)snprintf(text, sizeof(text), "{\"event\":\"%s\",\"seq\":%" PRIu64,
	    names[event->kind], event->seq);
	put_text(&put, text);
	put_where(&put, session, event);
	if (event->kind == EVENT_OPEN) {
		put_open(&put, &session->open);
		if (event->again)
			put_text(&put, ",\"retry\":true");
	} else if (event->kind == EVENT_MESSAGE ||
		   event->kind == EVENT_PUBLISH) {
		put_payload(&put, event);
	} else if (event->kind == EVENT_ERROR) {
		put_error(&put, session, event);
	} else {
		(void)snprintf(text, sizeof(text), ",\"code\":%u", event->code);
		put_text(&put, text);
		put_member(&put, "reason", (const char *)event->data);
	}
	put_text(&put, "}\n");
	if (put.error < 0)
		out->len = before;
	return put.error;
}

int
wire_put_ok(struct buffer *out, int64_t id, const struct position *position,
    const struct hub_answer *answer)
{
	const size_t before = out->len;
	struct put put = { .out = out };
	char text[POSITION_TEXT_MAX + 96];

	(void)snprintf(
	    text, sizeof(text), "{\"reply\":%" PRId64 ",\"ok\":{", id);
	put_text(&put, text);
	if (position != NULL) {
		(void)position_put(text, position);
		put_text(&put, "\"position\":\"");
		put_text(&put, text);
		put_text(&put, "\"");
	}
	if (answer != NULL)
		put_text(&put, answer->recovered ? ",\"recovered\":true"
						 : ",\"recovered\":false");
	if (answer != NULL && answer->gap_from > 0) {
		(void)snprintf(text, sizeof(text),
		    ",\"gap\":[%" PRId64 ",%" PRId64 "]", answer->gap_from,
		    answer->gap_to);
		put_text(&put, text);
	}
	put_text(&put, "}}\n");
	if (put.error < 0)
		out->len = before;
	return put.error;
}

int
wire_put_error(struct buffer *out, int64_t id, int error, const char *text)
{
	const size_t before = out->len;
	struct put put = { .out = out };

	put.error = buffer_printf(out, LINE_BYTES_MAX,
	    "{\"reply\":%" PRId64 ",\"error\":{\"code\":\"%s\"", id,
	    strerrorname_np(-error) ?: "?");
	put_member(&put, "message", text ?: strerrordesc_np(-error) ?: "?");
	put_text(&put, "}}\n");
	if (put.error < 0)
		out->len = before;
	return put.error;
}
