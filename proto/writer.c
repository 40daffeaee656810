/*
 * The pieces that all texts of ours are made of.
 *
 * Most messages are shorter than the piece, so the usual message is put
 * together on the stack and appended once.  A long payload goes straight from
 * its place into the buffer, in the runs that its escapes leave.
 */

#include "proto/writer_internal.h"

#include "proto/base64.h"
#include "proto/json.h"

#include <assert.h>
#include <endian.h>

#define US_PER_MS 1000
#define MS_PER_S 1000
#define EACH_BYTE UINT64_C(0x0101010101010101)
#define TOP_BITS UINT64_C(0x8080808080808080)

void
writer_begin(struct writer *writer, struct buffer *out, size_t max)
{
	assert(out);
	writer->out = out;
	writer->max = max;
	writer->start = out->len;
	writer->used = 0;
	writer->error = 0;
}

static void
append(struct writer *writer, const void *data, size_t len)
{
	if (writer->error == 0)
		writer->error =
		    buffer_append(writer->out, data, len, writer->max);
}

int
writer_end(struct writer *writer)
{
	append(writer, writer->piece, writer->used);
	assert(writer->out->len >= writer->start);
	if (writer->error < 0)
		writer->out->len = writer->start;
	return writer->error;
}

void
writer_long(struct writer *writer, const void *data, size_t len)
{
	append(writer, writer->piece, writer->used);
	writer->used = 0;
	if (len <= WRITER_PIECE_BYTES / 2)
		writer_bytes(writer, data, len);
	else
		append(writer, data, len);
}

void
writer_integer(struct writer *writer, int64_t value)
{
	char digits[20];
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (value < 0)
		digits[--at] = '-';
	writer_bytes(writer, digits + at, sizeof(digits) - at);
}

void
writer_bool(struct writer *writer, bool value)
{
	writer_text(writer, value ? "true" : "false");
}

/* Cut, not rounded: the next second is never told before it has come. */
void
writer_time(struct writer *writer, int64_t time_us)
{
	int64_t ms = time_us / US_PER_MS;
	unsigned rest;

	if (ms < 0) {
		writer_text(writer, "-");
		ms = -ms;
	}
	rest = (unsigned)(ms % MS_PER_S);
	writer_integer(writer, ms / MS_PER_S);
	writer_bytes(writer,
	    (char[4]){ '.', (char)('0' + rest / 100),
		(char)('0' + rest / 10 % 10), (char)('0' + rest % 10) },
	    4);
}

void
writer_base64(struct writer *writer, const void *data, size_t len)
{
	enum { IN = WRITER_PIECE_BYTES / 4 * 3 };
	const uint8_t *bytes = data;
	char letters[WRITER_PIECE_BYTES];

	/* IN is made of threes: only the last piece is padded. */
	for (size_t at = 0; at < len; at += IN) {
		size_t n = len - at < IN ? len - at : IN;

		n = base64_put(letters, bytes + at, n);
		writer_bytes(writer, letters, n);
	}
}

void
writer_position(struct writer *writer, const struct position *position)
{
	char text[POSITION_TEXT_MAX];
	size_t len = position_put(text, position);

	writer_bytes(writer, text, len);
}

void
writer_string(struct writer *writer, const void *text, size_t len)
{
	const uint8_t *bytes = text;
	size_t at = 0;

	assert(text || len == 0);
	writer_text(writer, "\"");
	while (at < len) {
		size_t plain = json_plain_bytes(bytes + at, len - at);
		char escape[JSON_ESCAPE_MAX];

		writer_bytes(writer, bytes + at, plain);
		at += plain;
		if (at == len)
			break;
		plain = json_put_escape(escape, bytes[at++]);
		writer_bytes(writer, escape, plain);
	}
	writer_text(writer, "\"");
}

/* The top bit of the first byte that is CR or LF, as in json.c. */
static uint64_t
line_end_bytes(uint64_t word)
{
	uint64_t cr = word ^ EACH_BYTE * '\r';
	uint64_t lf = word ^ EACH_BYTE * '\n';

	return ((cr - EACH_BYTE) | (lf - EACH_BYTE)) & ~word & TOP_BITS;
}

size_t
writer_line_bytes(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint64_t word;
	size_t i = 0;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		word = line_end_bytes(le64toh(word));
		if (word)
			return i + (size_t)__builtin_ctzll(word) / 8;
	}
	while (i < len && bytes[i] != '\r' && bytes[i] != '\n')
		i++;
	return i;
}

/* JSON has line ends between its values only, where a space says the same. */
static void
put_one_line(struct writer *writer, const uint8_t *data, size_t len)
{
	size_t at = 0;

	for (;;) {
		size_t n = writer_line_bytes(data + at, len - at);

		writer_bytes(writer, data + at, n);
		at += n;
		if (at == len)
			break;
		writer_text(writer, " ");
		at++;
	}
}

void
writer_message(
    struct writer *writer, const struct message *message, bool one_line)
{
	assert(message->offset > 0);
	assert(message->payload || message->len == 0);

	writer_text(writer, "\"offset\":");
	writer_integer(writer, message->offset);
	writer_text(writer, ",\"time\":");
	writer_time(writer, message->time_us);
	switch (message->kind) {
	case MESSAGE_JSON:
		writer_text(writer, ",\"data\":");
		if (one_line)
			put_one_line(writer, message->payload, message->len);
		else
			writer_bytes(writer, message->payload, message->len);
		return;
	case MESSAGE_TEXT:
		writer_text(writer, ",\"text\":");
		writer_string(writer, message->payload, message->len);
		return;
	case MESSAGE_BINARY:
		writer_text(writer, ",\"base64\":\"");
		writer_base64(writer, message->payload, message->len);
		writer_text(writer, "\"");
		return;
	}
	assert(!"a kind of message");
}

void
writer_notice(struct writer *writer, const char *upstream, const char *state)
{
	writer_text(writer, "{\"upstream\":");
	writer_string(writer, upstream, strlen(upstream));
	writer_text(writer, ",\"state\":");
	writer_string(writer, state, strlen(state));
	writer_text(writer, "}");
}
