#ifndef PROTO_LINES_H
#define PROTO_LINES_H

/*
 * lines: a stream of bytes, taken apart at its newlines (or NULs).
 *
 * Order    Lines come in the order of the bytes, each once, as soon as its end
 *          is there.
 * Shape    A line is what stands before a newline; everything else in it,
 *          a carriage return too, is the writer's and stays.  What stands
 *          after the last newline is a line when the stream ends.
 * Promise  Any bytes give lines of at most `max` bytes.  Of a longer one the
 *          first max bytes are told at once, as far as they are whole
 *          characters; its rest is dropped and counted.
 * Memory   At most `max` bytes, the beginning of a line whose end has not
 *          come; given back after a line above LINES_KEPT_BYTES_MAX.
 * Threads  Quiet: the caller serialises.
 */

#include "daemon/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_KEPT_BYTES_MAX (64 * 1024)

struct lines {
	struct buffer part; /* of a line that has not ended */
	size_t max;
	char end; /* of a line: '\n' unless set after lines_init() */
	bool skipping; /* the rest of a line that was told, or lost */
	uint64_t cut; /* lines longer than max */
	uint64_t dropped_bytes; /* of those, and of the lost */
	uint64_t lost; /* lines for which there was no memory */
};

/* line is good until the function returns; it must not call lines_*(). */
typedef void (*line_fn)(const uint8_t *line, size_t len, void *arg);

void lines_init(struct lines *lines, size_t max);
void lines_fini(struct lines *lines);

void lines_feed(
    struct lines *lines, const void *data, size_t len, line_fn fn, void *arg);

/* The stream is over: tells what is left, if anything; ready for another. */
void lines_end(struct lines *lines, line_fn fn, void *arg);

#endif
