/*
 * Comparing consumers with each other, and what they agree on with what was
 * published.
 */

#include "tests/bench/chorus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "tests/bench/run.h"

#define TEXT "\"text\":\""
#define OK "{\"id\":1,\"ok\":"
#define REST_MAX (SOURCE_BYTES_MAX * 2)

static bool
is_deflated(enum chorus_view view)
{
	return view == CHORUS_RAW_DEFLATED || view == CHORUS_V1_DEFLATED;
}

static bool
is_v1(enum chorus_view view)
{
	return view == CHORUS_V1 || view == CHORUS_V1_DEFLATED;
}

int
chorus_init(struct chorus *chorus, enum chorus_view view, struct source *source)
{
	*chorus = (struct chorus){ .view = view, .source = source };
	chorus->said = malloc(CHORUS_BYTES);
	chorus->ends = calloc(SOURCE_LAG_MAX, sizeof(*chorus->ends));
	if (!chorus->said || !chorus->ends ||
	    (is_deflated(view) && inflate_new(&chorus->inflate) < 0))
		return run_fault("no memory");
	return 0;
}

void
chorus_fini(struct chorus *chorus)
{
	inflate_free(chorus->inflate);
	buffer_fini(&chorus->rest);
	buffer_fini(&chorus->plain);
	free(chorus->said);
	free(chorus->ends);
	*chorus = (struct chorus){ 0 };
}

uint64_t
chorus_message_end(const struct chorus *chorus, uint64_t sequence)
{
	assert(sequence < chorus->messages);
	assert(chorus->messages - sequence <= SOURCE_LAG_MAX);
	return chorus->ends[sequence % SOURCE_LAG_MAX];
}

bool
chorus_is_greeted(const struct chorus *chorus, uint64_t pos)
{
	if (chorus->view == CHORUS_RAW || chorus->view == CHORUS_RAW_DEFLATED)
		return true;
	return chorus->greeting_end > 0 && pos >= chorus->greeting_end;
}

/* --- decoding --- */

static int
decoded_message(struct chorus *chorus, const void *payload, size_t len)
{
	uint64_t sequence = chorus->messages++;

	if (len != chorus->source->message_bytes ||
	    !source_check(chorus->source, sequence, 0, payload, len))
		return run_fault("message %llu came as \"%.*s\"",
		    (unsigned long long)sequence, len > 200 ? 200 : (int)len,
		    (const char *)payload);
	chorus->ends[sequence % SOURCE_LAG_MAX] = chorus->decoded;
	return 0;
}

static int
decoded_object(struct chorus *chorus, const uint8_t *text, size_t len)
{
	size_t payload_len = chorus->source->message_bytes;
	const uint8_t *at = memmem(text, len, TEXT, sizeof(TEXT) - 1);
	size_t head;

	if (chorus->greeting_end == 0) {
		if (len < sizeof(OK) || memcmp(text, OK, sizeof(OK) - 1) != 0)
			return run_fault("subscribe was answered %.*s",
			    (int)len, (const char *)text);
		chorus->greeting_end = chorus->decoded;
		return 0;
	}
	head = at ? (size_t)(at - text) + sizeof(TEXT) - 1 : 0;
	/* The source's letters need no escape. */
	if (!at || len != head + payload_len + 2 ||
	    memcmp(text + len - 2, "\"}", 2) != 0)
		return run_fault("this is no message: %.*s",
		    len > 200 ? 200 : (int)len, (const char *)text);
	return decoded_message(chorus, text + head, payload_len);
}

/* Bytes taken, 0: not whole, or a fault. */
static ssize_t
decode_frame(struct chorus *chorus, const uint8_t *data, size_t len)
{
	struct frame_header frame;
	int header = frame_get_header(data, len, &frame);
	const uint8_t *text;
	size_t whole;
	int r;

	if (header == -EAGAIN)
		return 0;
	if (header < 0 || frame.masked || frame.opcode != FRAME_TEXT ||
	    !frame.fin || frame.payload_bytes > REST_MAX ||
	    (frame.rsv & ~(is_deflated(chorus->view) ? 4 : 0)) != 0)
		return run_fault("no frame of a message at byte %llu",
		    (unsigned long long)chorus->decoded);
	whole = (size_t)header + (size_t)frame.payload_bytes;
	if (len < whole)
		return 0;
	chorus->decoded += whole;
	text = data + header;
	len = whole - (size_t)header;
	if (frame.rsv != 0) {
		buffer_clear(&chorus->plain);
		if (inflate_put(chorus->inflate, &chorus->plain, REST_MAX, text,
			len) < 0)
			return run_fault("a message does not inflate");
		text = chorus->plain.data;
		len = chorus->plain.len;
	}
	r = is_v1(chorus->view) ? decoded_object(chorus, text, len)
				: decoded_message(chorus, text, len);
	return r < 0 ? r : (ssize_t)whole;
}

/* An event: "id: POSITION\ndata: PAYLOAD\n\n"; the first has no data. */
static ssize_t
decode_event(struct chorus *chorus, const uint8_t *data, size_t len)
{
	static const char name[] = "\ndata: ";
	const uint8_t *end = memmem(data, len, "\n\n", 2);
	const uint8_t *payload;
	size_t whole;
	int r;

	if (!end)
		return 0;
	whole = (size_t)(end - data) + 2;
	chorus->decoded += whole;
	if (chorus->greeting_end == 0) {
		chorus->greeting_end = chorus->decoded;
		return (ssize_t)whole;
	}
	payload = memmem(data, whole, name, sizeof(name) - 1);
	if (!payload || memcmp(data, "id: ", 4) != 0)
		return run_fault("this is no event: %.*s",
		    whole > 200 ? 200 : (int)whole, (const char *)data);
	payload += sizeof(name) - 1;
	r = decoded_message(chorus, payload, (size_t)(end - payload));
	return r < 0 ? r : (ssize_t)whole;
}

static int
decode(struct chorus *chorus, const uint8_t *data, size_t len)
{
	size_t at = 0;
	int r = buffer_append(&chorus->rest, data, len, REST_MAX);

	if (r < 0)
		return run_fault("a message has no end");
	for (;;) {
		const uint8_t *from = chorus->rest.data + at;
		size_t left = chorus->rest.len - at;
		ssize_t n = left == 0 ? 0
			    : chorus->view == CHORUS_SSE
				? decode_event(chorus, from, left)
				: decode_frame(chorus, from, left);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	buffer_consume(&chorus->rest, at);
	return 0;
}

/* --- comparing --- */

static size_t
least(size_t a, uint64_t b)
{
	return a < b ? a : (size_t)b;
}

int
chorus_take(
    struct chorus *chorus, uint64_t *pos, const uint8_t *data, size_t len)
{
	while (len > 0) {
		uint64_t place = *pos % CHORUS_BYTES;
		size_t n = least(len, CHORUS_BYTES - place);
		int r = 0;

		assert(*pos <= chorus->end);
		if (chorus->end - *pos > CHORUS_BYTES)
			return run_fault("a consumer is 8 MiB behind");
		if (*pos < chorus->end) {
			n = least(n, chorus->end - *pos);
			if (memcmp(chorus->said + place, data, n) != 0)
				return run_fault(
				    "consumers differ after byte %llu",
				    (unsigned long long)*pos);
		} else {
			memcpy(chorus->said + place, data, n);
			chorus->end += n;
			r = decode(chorus, data, n);
		}
		if (r < 0)
			return r;
		*pos += n;
		data += n;
		len -= n;
	}
	return 0;
}
