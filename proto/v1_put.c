/*
 * What earshot.v1 says, member by member in a fixed order: a cursor may stand
 * inside a message whose encoding is dropped and built again, so the bytes
 * must come out the same every time.
 */

#include "proto/v1.h"

#include "proto/channel.h"
#include "proto/writer_internal.h"

#include <assert.h>

const char *
v1_error_code(enum v1_error error)
{
	static const char *const codes[] = {
#define V1_ERROR_CODE(name, code, violation) code,
		V1_ERRORS(V1_ERROR_CODE)
#undef V1_ERROR_CODE
	};

	assert(error < V1_ERROR_MAX);
	return codes[error];
}

bool
v1_error_violation(enum v1_error error)
{
	static const bool violations[] = {
#define V1_ERROR_VIOLATION(name, code, violation) violation,
		V1_ERRORS(V1_ERROR_VIOLATION)
#undef V1_ERROR_VIOLATION
	};

	assert(error < V1_ERROR_MAX);
	return violations[error];
}

static void
put_channel(struct writer *writer, const char *channel, size_t len)
{
	assert(channel_name_valid(channel, len)); /* nothing to escape */
	writer_text(writer, "\"channel\":\"");
	writer_bytes(writer, channel, len);
	writer_text(writer, "\"");
}

int
v1_put_message(struct buffer *out, size_t max, const struct message *message)
{
	struct writer writer;

	writer_begin(&writer, out, max);
	writer_text(&writer, "{");
	put_channel(&writer, message->channel, message->channel_len);
	writer_text(&writer, ",");
	writer_message(&writer, message, false);
	writer_text(&writer, "}");
	return writer_end(&writer);
}

/* {"id":N,"what": and what follows is the caller's. */
static void
begin_with_id(struct writer *writer, struct buffer *out, size_t max, int64_t id,
    const char *what)
{
	assert(id >= V1_NO_ID && id <= V1_ID_MAX);
	writer_begin(writer, out, max);
	writer_text(writer, "{");
	if (id != V1_NO_ID) {
		writer_text(writer, "\"id\":");
		writer_integer(writer, id);
		writer_text(writer, ",");
	}
	writer_text(writer, "\"");
	writer_text(writer, what);
	writer_text(writer, "\":{");
}

static int
end_both(struct writer *writer)
{
	writer_text(writer, "}}");
	return writer_end(writer);
}

static void
put_position(struct writer *writer, const struct position *position)
{
	writer_text(writer, "\"position\":\"");
	writer_position(writer, position);
	writer_text(writer, "\"");
}

int
v1_put_subscribed(struct buffer *out, size_t max, int64_t id,
    const char *channel, size_t channel_len, const struct position *position,
    bool recovered)
{
	struct writer writer;

	assert(id != V1_NO_ID);
	begin_with_id(&writer, out, max, id, "ok");
	put_channel(&writer, channel, channel_len);
	writer_text(&writer, ",");
	put_position(&writer, position);
	writer_text(&writer, ",\"recovered\":");
	writer_bool(&writer, recovered);
	return end_both(&writer);
}

int
v1_put_unsubscribed(struct buffer *out, size_t max, int64_t id,
    const char *channel, size_t channel_len)
{
	struct writer writer;

	assert(id != V1_NO_ID);
	begin_with_id(&writer, out, max, id, "ok");
	put_channel(&writer, channel, channel_len);
	return end_both(&writer);
}

int
v1_put_published(
    struct buffer *out, size_t max, int64_t id, const struct position *position)
{
	struct writer writer;

	assert(id != V1_NO_ID);
	begin_with_id(&writer, out, max, id, "ok");
	put_position(&writer, position);
	return end_both(&writer);
}

int
v1_put_pong(struct buffer *out, size_t max, int64_t id)
{
	struct writer writer;

	assert(id != V1_NO_ID);
	begin_with_id(&writer, out, max, id, "ok");
	return end_both(&writer);
}

int
v1_put_error(struct buffer *out, size_t max, int64_t id, enum v1_error error,
    const char *text)
{
	struct writer writer;

	assert(text);
	begin_with_id(&writer, out, max, id, "error");
	writer_text(&writer, "\"code\":\"");
	writer_text(&writer, v1_error_code(error));
	writer_text(&writer, "\",\"message\":");
	writer_string(&writer, text, strlen(text));
	return end_both(&writer);
}

int
v1_put_gap(struct buffer *out, size_t max, const char *channel,
    size_t channel_len, int64_t from, int64_t to)
{
	struct writer writer;

	assert(from > 0 && from <= to);
	begin_with_id(&writer, out, max, V1_NO_ID, "gap");
	put_channel(&writer, channel, channel_len);
	writer_text(&writer, ",\"from\":");
	writer_integer(&writer, from);
	writer_text(&writer, ",\"to\":");
	writer_integer(&writer, to);
	return end_both(&writer);
}

int
v1_put_closing(
    struct buffer *out, size_t max, const char *reason, int64_t retry_after_ms)
{
	struct writer writer;

	assert(reason);
	assert(retry_after_ms >= 0);
	begin_with_id(&writer, out, max, V1_NO_ID, "closing");
	writer_text(&writer, "\"reason\":");
	writer_string(&writer, reason, strlen(reason));
	writer_text(&writer, ",\"retry_after_ms\":");
	writer_integer(&writer, retry_after_ms);
	return end_both(&writer);
}

int
v1_put_notice(
    struct buffer *out, size_t max, const char *upstream, const char *state)
{
	struct writer writer;

	assert(upstream && state);
	writer_begin(&writer, out, max);
	writer_text(&writer, "{\"notice\":");
	writer_notice(&writer, upstream, state);
	writer_text(&writer, "}");
	return writer_end(&writer);
}

static void
put_from(struct writer *writer, const struct from *from)
{
	if (from->kind == FROM_LIVE)
		return;
	writer_text(writer, ",\"from\":\"");
	switch (from->kind) {
	case FROM_LIVE:
		break;
	case FROM_OLDEST:
		writer_text(writer, "oldest");
		break;
	case FROM_LAST:
		assert(from->count >= 0);
		writer_text(writer, "-");
		writer_integer(writer, from->count);
		break;
	case FROM_POSITION:
		writer_position(writer, &from->position);
		break;
	}
	writer_text(writer, "\"");
}

static void
put_payload(struct writer *writer, const struct v1_command *command)
{
	switch (command->message_kind) {
	case MESSAGE_JSON:
		writer_text(writer, ",\"data\":");
		writer_bytes(writer, command->payload, command->payload_len);
		return;
	case MESSAGE_TEXT:
		writer_text(writer, ",\"text\":");
		writer_string(writer, command->payload, command->payload_len);
		return;
	case MESSAGE_BINARY:
		writer_text(writer, ",\"base64\":\"");
		writer_base64(writer, command->payload, command->payload_len);
		writer_text(writer, "\"");
		return;
	}
	assert(!"a kind of message");
}

int
v1_put_command(struct buffer *out, size_t max, const struct v1_command *command)
{
	static const char *const names[] = {
		[V1_SUBSCRIBE] = "subscribe",
		[V1_UNSUBSCRIBE] = "unsubscribe",
		[V1_PUBLISH] = "publish",
		[V1_PING] = "ping",
	};
	struct writer writer;

	assert(command->id >= 0);
	begin_with_id(&writer, out, max, command->id, names[command->kind]);
	if (command->kind != V1_PING)
		put_channel(&writer, command->channel, command->channel_len);
	if (command->kind == V1_SUBSCRIBE)
		put_from(&writer, &command->from);
	if (command->kind == V1_PUBLISH)
		put_payload(&writer, command);
	return end_both(&writer);
}
