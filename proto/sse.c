/*
 * Server-Sent Events.
 *
 * What EventSource makes of it, and so what is kept in mind here:
 * - one space behind the colon is taken away, so we always put one;
 * - CR LF, CR and LF all end a line, within a payload as well: each begins a
 *   new `data:` line, also the last one, or a line end at the end were lost;
 * - an empty `data:` is an event with empty data, no `data:` at all is none,
 *   but its id counts;
 * - a byte order mark is taken off the very beginning of the stream only, where
 *   ours has a field name; NUL may stand in data and never in an id.
 */

#include "proto/sse.h"

#include "proto/channel.h"
#include "proto/writer_internal.h"

#include <assert.h>

static void
put_id(struct writer *writer, const struct position *position)
{
	writer_text(writer, "id: ");
	writer_position(writer, position);
	writer_text(writer, "\n");
}

static void
put_lines(struct writer *writer, const uint8_t *data, size_t len)
{
	size_t at = 0;

	for (;;) {
		size_t n = writer_line_bytes(data + at, len - at);

		writer_text(writer, "data: ");
		writer_bytes(writer, data + at, n);
		writer_text(writer, "\n");
		at += n;
		if (at == len)
			return;
		at += len - at > 1 && data[at] == '\r' && data[at + 1] == '\n'
			  ? 2
			  : 1;
	}
}

int
sse_put_message(struct buffer *out, size_t max, const struct message *message)
{
	const struct position position = { .epoch = message->epoch,
		.offset = message->offset };
	struct writer writer;

	assert(message->payload || message->len == 0);
	writer_begin(&writer, out, max);
	put_id(&writer, &position);
	if (message->kind == MESSAGE_BINARY) {
		writer_text(&writer, "event: base64\ndata: ");
		writer_base64(&writer, message->payload, message->len);
		writer_text(&writer, "\n");
	} else {
		put_lines(&writer, message->payload, message->len);
	}
	writer_text(&writer, "\n");
	return writer_end(&writer);
}

int
sse_put_position(
    struct buffer *out, size_t max, const struct position *position)
{
	struct writer writer;

	writer_begin(&writer, out, max);
	put_id(&writer, position);
	writer_text(&writer, "\n");
	return writer_end(&writer);
}

/* 0: it cannot be told. */
static void
put_end_of_gap(struct writer *writer, int64_t offset)
{
	if (offset > 0)
		writer_integer(writer, offset);
	else
		writer_text(writer, "null");
}

int
sse_put_gap(struct buffer *out, size_t max, const char *channel,
    size_t channel_len, const struct position *position, int64_t from,
    int64_t to)
{
	struct writer writer;

	assert(channel_name_valid(channel, channel_len));
	assert((from == 0 && to == 0) || (from > 0 && from <= to));
	writer_begin(&writer, out, max);
	put_id(&writer, position);
	writer_text(&writer, "event: gap\ndata: {\"channel\":\"");
	writer_bytes(&writer, channel, channel_len);
	writer_text(&writer, "\",\"from\":");
	put_end_of_gap(&writer, from);
	writer_text(&writer, ",\"to\":");
	put_end_of_gap(&writer, to);
	writer_text(&writer, "}\n\n");
	return writer_end(&writer);
}

int
sse_put_notice(
    struct buffer *out, size_t max, const char *upstream, const char *state)
{
	struct writer writer;

	assert(upstream && state);
	writer_begin(&writer, out, max);
	writer_text(&writer, "event: notice\ndata: ");
	writer_notice(&writer, upstream, state);
	writer_text(&writer, "\n\n");
	return writer_end(&writer);
}

int
sse_put_retry(struct buffer *out, size_t max, int64_t retry_ms)
{
	struct writer writer;

	assert(retry_ms >= 0); /* digits alone, or it is passed over */
	writer_begin(&writer, out, max);
	writer_text(&writer, "retry: ");
	writer_integer(&writer, retry_ms);
	writer_text(&writer, "\n\n");
	return writer_end(&writer);
}

int
sse_put_keepalive(struct buffer *out, size_t max)
{
	return buffer_append(out, ":\n\n", 3, max);
}
