#ifndef PROTO_WRITER_INTERNAL_H
#define PROTO_WRITER_INTERNAL_H

/*
 * writer: many small pieces of text into a buffer, as one.
 *
 * Life     writer_begin -> writer_* -> writer_end.  Errors are kept to the
 *          end, so that what is written reads like what comes out.
 * Memory   Small pieces are gathered in the writer, long ones are copied once.
 *          Failed: the buffer is as long as it was at writer_begin().
 */

#include "daemon/base/buffer.h"
#include "proto/message.h"
#include "proto/position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WRITER_PIECE_BYTES 512

struct writer {
	struct buffer *out;
	size_t max, start;
	size_t used; /* of piece */
	int error;
	uint8_t piece[WRITER_PIECE_BYTES];
};

void writer_begin(struct writer *writer, struct buffer *out, size_t max);
int writer_end(struct writer *writer); /* 0, -EMSGSIZE, -ENOMEM */

/* What does not fit into the piece. */
void writer_long(struct writer *writer, const void *data, size_t len);

static inline void
writer_bytes(struct writer *writer, const void *data, size_t len)
{
	if (len > WRITER_PIECE_BYTES - writer->used) {
		writer_long(writer, data, len);
		return;
	}
	if (len > 0)
		memcpy(writer->piece + writer->used, data, len);
	writer->used += len;
}

static inline void
writer_text(struct writer *writer, const char *text)
{
	writer_bytes(writer, text, strlen(text));
}

void writer_integer(struct writer *writer, int64_t value);
void writer_bool(struct writer *writer, bool value);
void writer_time(struct writer *writer, int64_t time_us); /* SECONDS.mmm */
void writer_base64(struct writer *writer, const void *data, size_t len);
void writer_position(struct writer *writer, const struct position *position);

/* text, UTF-8, as a JSON string with its quotes. */
void writer_string(struct writer *writer, const void *text, size_t len);

/* "offset":N,"time":T,"data":...; in one line: no CR and no LF in it. */
void writer_message(
    struct writer *writer, const struct message *message, bool one_line);

/* Bytes before the first CR or LF; len if there is none. */
size_t writer_line_bytes(const void *data, size_t len);

/* {"upstream":"...","state":"..."} */
void writer_notice(
    struct writer *writer, const char *upstream, const char *state);

#endif
