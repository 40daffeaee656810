/* Answers with messages that are kept: one JSON object, or a line for each. */

#include "proto/history.h"

#include "proto/channel.h"
#include "proto/writer_internal.h"

#include <assert.h>

#define EPOCH_DIGITS 16

/* The epoch is what a position begins with. */
static void
put_epoch(struct writer *writer, const struct position *position)
{
	char text[POSITION_TEXT_MAX];
	size_t len = position_put(text, position);

	assert(len > EPOCH_DIGITS && text[EPOCH_DIGITS] == ':');
	writer_bytes(writer, text, EPOCH_DIGITS);
}

static void
put_gap(struct writer *writer, int64_t from, int64_t to)
{
	assert(from <= to);
	writer_text(writer, ",\"gap\":{\"from\":");
	writer_integer(writer, from);
	writer_text(writer, ",\"to\":");
	writer_integer(writer, to);
	writer_text(writer, "}");
}

static void
put_lag(struct writer *writer, const struct history_head *head)
{
	writer_text(writer, ",\"lag\":{\"messages\":");
	writer_integer(writer, head->lag_messages);
	writer_text(writer, ",\"bytes\":");
	writer_integer(writer, head->lag_bytes);
	writer_text(writer, ",\"seconds\":");
	writer_time(writer, head->lag_us);
	writer_text(writer, "}");
}

int
history_put_head(
    struct buffer *out, size_t max, const struct history_head *head)
{
	struct writer writer;

	assert(channel_name_valid(head->channel, head->channel_len));
	assert(head->position.offset <= head->newest);
	writer_begin(&writer, out, max);
	writer_text(&writer, "{\"channel\":\"");
	writer_bytes(&writer, head->channel, head->channel_len);
	writer_text(&writer, "\",\"epoch\":\"");
	put_epoch(&writer, &head->position);
	writer_text(&writer, "\",\"oldest\":");
	writer_integer(&writer, head->oldest);
	writer_text(&writer, ",\"newest\":");
	writer_integer(&writer, head->newest);
	writer_text(&writer, ",\"position\":\"");
	writer_position(&writer, &head->position);
	writer_text(&writer, "\",\"recovered\":");
	writer_bool(&writer, head->recovered);
	if (head->gap_from > 0)
		put_gap(&writer, head->gap_from, head->gap_to);
	put_lag(&writer, head);
	writer_text(&writer, ",\"messages\":[");
	return writer_end(&writer);
}

static void
put_object(struct writer *writer, const struct message *message, bool one_line)
{
	writer_text(writer, "{");
	writer_message(writer, message, one_line);
	writer_text(writer, "}");
}

int
history_put_message(
    struct buffer *out, size_t max, const struct message *message, bool first)
{
	struct writer writer;

	writer_begin(&writer, out, max);
	writer_text(&writer, first ? "\n" : ",\n");
	put_object(&writer, message, false);
	return writer_end(&writer);
}

int
history_put_tail(struct buffer *out, size_t max)
{
	return buffer_append(out, "]}\n", 3, max);
}

int
history_put_line(struct buffer *out, size_t max, const struct message *message)
{
	struct writer writer;

	writer_begin(&writer, out, max);
	put_object(&writer, message, true);
	writer_text(&writer, "\n");
	return writer_end(&writer);
}
