/*
 * Cursors.  A live one lies in the last segment and takes all that is left of
 * it: a span is then a subtraction and an advance a copy of two numbers; the
 * index is read by those only who lag by more than one span.
 *
 * A cursor that lags finds its segment by place, and the end of its span by the
 * last message boundary within reach; behind that boundary only the fragments
 * of a message that is itself too long are walked.
 */

#include "daemon/tape/tape.h"
#include "daemon/tape/tape_internal.h"

#include "proto/frame.h"

#include <errno.h>

/* A full fragment on the wire: its header has four bytes. */
#define FRAGMENT_BYTES (FRAME_FRAGMENT_BYTES + 4)

void
cursor_to_newest(const struct tape *tape, struct cursor *cursor)
{
	*cursor = (struct cursor){
		.offset = tape->raw.newest + 1,
		.place = tape->raw.end,
	};
}

int
cursor_to(const struct tape *tape, int64_t offset, struct cursor *cursor)
{
	const struct view *raw = &tape->raw;
	const struct segment *segment;
	uint32_t index;

	if (offset < 1 || offset > raw->newest + 1)
		return -ERANGE;
	if (offset < view_kept(raw))
		return -ESTALE;
	if (offset == raw->newest + 1) {
		cursor_to_newest(tape, cursor);
		return 0;
	}
	segment = view_by_offset(raw, offset);
	index = (uint32_t)(offset - segment->offset);
	*cursor = (struct cursor){
		.offset = offset,
		.place = segment->place + segment_entry(segment, index)->begin,
	};
	return 0;
}

/* The longest run of whole frames from `at` on within max bytes. */
static size_t
span_bytes(const struct segment *segment, const struct cursor *cursor,
    uint32_t at, size_t max)
{
	uint32_t index = (uint32_t)(cursor->offset - segment->offset);
	uint32_t cut = (uint32_t)(at + max);
	uint32_t begin =
	    segment_entry(segment, segment_find(segment, cut, index))->begin;

	assert(cut < segment->used);
	if (begin < at)
		begin = at; /* inside a message that goes on beyond max */
	return begin - at +
	       frame_whole_bytes(
		   segment->data + begin, segment->used - begin, cut - begin);
}

int
cursor_span(const struct tape *tape, const struct cursor *cursor, size_t max,
    struct span *ret_span)
{
	const struct view *raw = &tape->raw;
	const struct segment *segment;
	uint32_t at;
	size_t len;

	assert(max >= FRAME_FRAGMENT_BYTES + FRAME_HEADER_MAX);
	assert(cursor->place <= raw->end);
	if (cursor->place == raw->end)
		return 0;
	if (cursor->place < view_kept_place(raw))
		return -ESTALE;
	segment = view_by_place(raw, cursor->place);
	at = (uint32_t)(cursor->place - segment->place);
	len = segment->used - at;
	if (len > max)
		len = span_bytes(segment, cursor, at, max);
	assert(len > 0);
	ret_span->data = segment->data + at;
	ret_span->len = len;
	return 1;
}

int64_t
cursor_advance(const struct tape *tape, struct cursor *cursor, size_t bytes)
{
	const struct view *raw = &tape->raw;
	const struct segment *segment;
	int64_t before = cursor->offset;
	uint32_t at, index, from;
	uint32_t within;

	assert(cursor->place >= view_kept_place(raw));
	assert(bytes <= raw->end - cursor->place);
	if (bytes == 0)
		return 0;
	cursor->place += bytes;
	if (cursor->place == raw->end) {
		cursor->offset = raw->newest + 1;
		cursor->inside = false;
		return cursor->offset - before;
	}
	segment = view_by_place(raw, cursor->place);
	at = (uint32_t)(cursor->place - segment->place);
	from =
	    before > segment->offset ? (uint32_t)(before - segment->offset) : 0;
	index = segment_find(segment, at, from);
	within = at - segment_entry(segment, index)->begin;
	assert(within % FRAGMENT_BYTES == 0);
	cursor->offset = segment->offset + index;
	cursor->inside = within > 0;
	return cursor->offset - before;
}

bool
cursor_at_end(const struct tape *tape, const struct cursor *cursor)
{
	return cursor->place == tape->raw.end;
}

bool
cursor_inside_message(const struct cursor *cursor)
{
	return cursor->inside;
}

int64_t
cursor_lag_messages(const struct tape *tape, const struct cursor *cursor)
{
	int64_t kept = view_kept(&tape->raw);
	int64_t from = cursor->offset > kept ? cursor->offset : kept;

	assert(from <= tape->raw.newest + 1);
	return tape->raw.newest + 1 - from;
}

uint64_t
cursor_lag_bytes(const struct tape *tape, const struct cursor *cursor)
{
	uint64_t kept = view_kept_place(&tape->raw);
	uint64_t from = cursor->place > kept ? cursor->place : kept;

	assert(from <= tape->raw.end);
	return tape->raw.end - from;
}

int64_t
cursor_lag_since_us(const struct tape *tape, const struct cursor *cursor)
{
	int64_t kept = view_kept(&tape->raw);
	int64_t from = cursor->offset > kept ? cursor->offset : kept;
	const struct segment *segment = view_by_offset(&tape->raw, from);

	return segment_entry(segment, (uint32_t)(from - segment->offset))
	    ->time_us;
}
