/*
 * The receiving end of each view: frames and fragments, inflate, earshot.v1,
 * server-sent events as EventSource reads them.
 */

#include "tests/lib/receiver.h"

#include "proto/base64.h"
#include "proto/frame.h"
#include "proto/position.h"
#include "proto/v1_event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX (1u << 30)

void
receiver_tools_init(struct receiver_tools *tools)
{
	buffer_init(&tools->plain);
	assert_int_equal(inflate_new(&tools->inflate), 0);
}

void
receiver_tools_fini(struct receiver_tools *tools)
{
	buffer_fini(&tools->plain);
	inflate_free(tools->inflate);
}

void
receiver_fini(struct receiver *receiver)
{
	buffer_fini(&receiver->text);
}

static bool
is_v1(enum view_kind view)
{
	return view == VIEW_V1 || view == VIEW_V1_DEFLATED;
}

static bool
is_deflated(enum view_kind view)
{
	return view == VIEW_RAW_DEFLATED || view == VIEW_V1_DEFLATED;
}

static struct received
read_v1(uint8_t *text, size_t len)
{
	struct v1_event event;

	assert_int_equal(v1_parse_event(text, len, &event), 0);
	assert_int_equal(event.kind, V1_EVENT_MESSAGE);
	return (struct received){ .message = event.message };
}

static struct received
read_raw(const struct receiver *receiver, const uint8_t *data, size_t len)
{
	struct received received = {
		.message.payload = data,
		.message.len = len,
		.json_or_text = receiver->opcode == FRAME_TEXT,
	};

	if (receiver->opcode == FRAME_BINARY)
		received.message.kind = MESSAGE_BINARY;
	return received;
}

/* The frames' payloads are all there. */
static struct received
read_frames(struct receiver *receiver, struct receiver_tools *tools)
{
	uint8_t *data = receiver->text.data;
	size_t len = receiver->text.len;

	if (receiver->deflated) {
		assert_true(is_deflated(receiver->view));
		buffer_clear(&tools->plain);
		assert_int_equal(inflate_put(tools->inflate, &tools->plain,
				     TEXT_MAX, data, len),
		    0);
		assert_true(tools->plain.len > len); /* or why do it */
		data = tools->plain.data;
		len = tools->plain.len;
	}
	if (!is_v1(receiver->view))
		return read_raw(receiver, data, len);
	assert_int_equal(receiver->opcode, FRAME_TEXT);
	return read_v1(data, len);
}

static void
take_frames(struct receiver *receiver, struct receiver_tools *tools,
    const uint8_t *data, size_t len,
    void (*fn)(const struct received *received, void *arg), void *arg)
{
	while (len > 0) {
		struct frame_header header;
		struct received received;
		size_t bytes;

		assert_true(frame_get_header(data, len, &header) > 0);
		assert_false(header.masked);
		bytes = header.header_bytes + (size_t)header.payload_bytes;
		assert_true(bytes <= len); /* whole frames only */
		assert_int_equal(
		    header.opcode == FRAME_CONTINUATION, receiver->inside);
		if (receiver->inside) {
			assert_int_equal(header.rsv, 0);
		} else {
			assert_true(header.rsv == 0 || header.rsv == 4);
			receiver->deflated = header.rsv == 4;
			receiver->opcode = (int)header.opcode;
		}
		assert_int_equal(
		    buffer_append(&receiver->text, data + header.header_bytes,
			(size_t)header.payload_bytes, TEXT_MAX),
		    0);
		receiver->inside = !header.fin;
		if (header.fin) {
			received = read_frames(receiver, tools);
			fn(&received, arg);
			buffer_clear(&receiver->text);
		}
		data += bytes;
		len -= bytes;
	}
}

struct event {
	struct received received;
	bool base64, data;
	struct buffer *text;
};

/* One line of an event, as WHATWG HTML 9.2.6 has it. */
static void
take_field(struct event *event, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	const char *value = colon + 1;
	struct position position;

	assert_non_null(colon);
	if (value < line + len && *value == ' ')
		value++;
	len -= (size_t)(value - line);
	if (memcmp(line, "id:", 3) == 0) {
		assert_int_equal(position_get(value, len, &position), 0);
		event->received.message.epoch = position.epoch;
		event->received.message.offset = position.offset;
	} else if (memcmp(line, "event:", 6) == 0) {
		assert_int_equal(len, 6);
		assert_memory_equal(value, "base64", 6);
		event->base64 = true;
	} else {
		assert_memory_equal(line, "data:", 5);
		if (event->data)
			assert_int_equal(
			    buffer_append(event->text, "\n", 1, TEXT_MAX), 0);
		event->data = true;
		assert_int_equal(
		    buffer_append(event->text, value, len, TEXT_MAX), 0);
	}
}

/* The event that ends at `end`, where its empty line is. */
static struct received
read_event(struct receiver_tools *tools, const char *text, const char *end)
{
	struct event event = { .text = &tools->plain };
	struct buffer *plain = &tools->plain;

	buffer_clear(plain);
	while (text < end) {
		const char *line = memchr(text, '\n', (size_t)(end - text));

		assert_non_null(line);
		assert_null(memchr(text, '\r', (size_t)(line - text)));
		take_field(&event, text, (size_t)(line - text));
		text = line + 1;
	}
	assert_true(event.data);
	event.received.lines = event.received.json_or_text = !event.base64;
	if (event.base64) {
		int64_t len =
		    base64_get(plain->data, (char *)plain->data, plain->len);

		assert_true(len >= 0);
		plain->len = (size_t)len;
		event.received.message.kind = MESSAGE_BINARY;
	}
	event.received.message.payload = plain->data;
	event.received.message.len = plain->len;
	return event.received;
}

static void
take_events(struct receiver *receiver, struct receiver_tools *tools,
    const uint8_t *data, size_t len,
    void (*fn)(const struct received *received, void *arg), void *arg)
{
	struct buffer *text = &receiver->text;
	/* Looked at before, but for an end that may be cut in two. */
	size_t from = text->len > 0 ? text->len - 1 : 0, begin = 0;

	assert_int_equal(buffer_append(text, data, len, TEXT_MAX), 0);
	for (;;) {
		const char *at = (const char *)text->data;
		const char *end =
		    text->len > from
			? memmem(at + from, text->len - from, "\n\n", 2)
			: NULL;
		struct received received;

		if (!end)
			break;
		received = read_event(tools, at + begin, end + 1);
		fn(&received, arg);
		begin = from = (size_t)(end + 2 - at);
	}
	buffer_consume(text, begin);
	receiver->inside = text->len > 0;
}

void
receiver_take(struct receiver *receiver, struct receiver_tools *tools,
    const uint8_t *data, size_t len,
    void (*fn)(const struct received *received, void *arg), void *arg)
{
	if (receiver->view == VIEW_SSE)
		take_events(receiver, tools, data, len, fn, arg);
	else
		take_frames(receiver, tools, data, len, fn, arg);
}

size_t
receiver_cut(enum view_kind view, const uint8_t *data, size_t len, size_t max)
{
	if (view == VIEW_SSE)
		return len < max ? len : max;
	return frame_whole_bytes(data, len, max);
}
