#ifndef DAEMON_TAPE_CURSOR_H
#define DAEMON_TAPE_CURSOR_H

/*
 * cursor: a consumer's place on a view of a tape.
 *
 * Shape    offset is the message that the next byte belongs to; inside: its
 *          first bytes are taken.  place is where the next byte is: on the
 *          raw view counted from the tape's birth, on others from the
 *          message's first byte.  Plain numbers, so a cursor can be written
 *          down and read back in another process.
 * Order    A cursor of a derived view is used while that view is open.
 * Life     Part of the tape's door: tape.h includes it.
 */

#include "daemon/tape/views.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	int64_t offset;
	uint64_t place;
	bool inside;
};

struct span {
	const uint8_t *data; /* valid until the next tape_append or _trim, and
				the next cursor_span of a derived view */
	size_t len;
};

/*
 * Before message `offset`, 1 to newest + 1: what is published from now on.
 * -ESTALE: not in memory any more; -ERANGE: beyond that or below 1.
 */
int cursor_to(const struct tape *tape, enum view_kind view, int64_t offset,
    struct cursor *cursor);

/*
 * The next bytes to write, at most max: whole frames (max is at least
 * FRAME_FRAGMENT_BYTES + FRAME_HEADER_MAX), of a view without frames any.  A
 * derived view is built as far as it takes while *build_bytes is above 0; what
 * that cost is taken off, and may be a message more than was left.  A message
 * costs what it has in bytes, before it is compressed or after, and compressing
 * one no less than 1 KiB.
 * 1: a span; 0: at the end; -ESTALE: overtaken, see cursor_inside_message();
 * -EAGAIN: not built yet, with *build_bytes used up; -ENOMEM.
 */
int cursor_span(struct tape *tape, enum view_kind view,
    const struct cursor *cursor, size_t max, int64_t *build_bytes,
    struct span *ret_span);

/*
 * bytes of the span were taken, before anything else was asked; they end where
 * a span may end.  Returns how many messages that completed.
 */
int64_t cursor_advance(struct tape *tape, enum view_kind view,
    struct cursor *cursor, size_t bytes);

bool cursor_at_end(const struct tape *tape, const struct cursor *cursor);

/*
 * Some of the message is written and not all: nothing else may be written
 * before the rest.  Also answers for an overtaken cursor.
 */
bool cursor_inside_message(const struct cursor *cursor);

/*
 * What a consumer lacks, whatever its view: messages, bytes of the raw view,
 * since when (it is not at the end).  A message that is begun is lacked; of an
 * overtaken cursor it is what the tape still has.
 */
int64_t cursor_lag_messages(
    const struct tape *tape, const struct cursor *cursor);
uint64_t cursor_lag_bytes(const struct tape *tape, const struct cursor *cursor);
int64_t cursor_lag_since_us(
    const struct tape *tape, const struct cursor *cursor);

#endif
