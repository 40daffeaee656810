/*
 * Cursors.  A live one lies in the last segment and takes all that is left of
 * it: a span is then a subtraction and an advance a copy of two numbers; the
 * index is read by those only who lag by more than one span.
 *
 * A cursor that lags finds its segment by place, and the end of its span by the
 * last message boundary within reach; behind that boundary only the fragments
 * of a message that is itself too long are walked.
 */

#include "daemon/tape/derived.h"
#include "daemon/tape/tape_internal.h"

#include "proto/frame.h"

#include <errno.h>

/* A full fragment on the wire: its header has four bytes. */
#define FRAGMENT_BYTES (FRAME_FRAGMENT_BYTES + 4)

/* Where a message that is in memory, or the next one, begins. */
static uint64_t
raw_place(const struct view *raw, int64_t offset)
{
	const struct segment *segment;

	if (offset > raw->newest)
		return raw->end;
	segment = view_by_offset(raw, offset);
	return segment->place +
	       segment_entry(segment, (uint32_t)(offset - segment->offset))
		   ->begin;
}

/* The longest run of whole frames from `at` on within max bytes. */
static size_t
whole_bytes(
    const struct segment *segment, uint32_t index, uint32_t at, size_t max)
{
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
cursor_to(const struct tape *tape, enum view_kind view, int64_t offset,
    struct cursor *cursor)
{
	const struct view *raw = &tape->raw;
	uint64_t place = 0; /* within the message, but of the raw view */

	if (offset < 1 || offset > raw->newest + 1)
		return -ERANGE;
	if (offset < view_kept(raw))
		return -ESTALE;
	if (view == VIEW_RAW)
		place = raw_place(raw, offset);
	*cursor = (struct cursor){ .offset = offset, .place = place };
	return 0;
}

struct span
segment_span(const struct segment *segment, int64_t offset, uint64_t within,
    size_t max, bool framed)
{
	uint32_t index = (uint32_t)(offset - segment->offset);
	uint32_t at = segment_entry(segment, index)->begin + (uint32_t)within;
	struct span span = { segment->data + at, segment->used - at };

	assert(at < segment->used);
	if (span.len > max)
		span.len = framed ? whole_bytes(segment, index, at, max) : max;
	assert(span.len > 0);
	return span;
}

int
cursor_span(struct tape *tape, enum view_kind view, const struct cursor *cursor,
    size_t max, int64_t *build_bytes, struct span *ret_span)
{
	const struct view *raw = &tape->raw;
	const struct segment *segment;
	uint32_t at;
	size_t len;

	assert(max >= FRAME_FRAGMENT_BYTES + FRAME_HEADER_MAX);
	if (view != VIEW_RAW)
		return derived_span(
		    tape, view, cursor, max, build_bytes, ret_span);
	assert(cursor->place <= raw->end);
	if (cursor->place == raw->end)
		return 0;
	if (cursor->place < view_kept_place(raw))
		return -ESTALE;
	segment = view_by_place(raw, cursor->place);
	at = (uint32_t)(cursor->place - segment->place);
	len = segment->used - at;
	if (len > max)
		len = whole_bytes(segment,
		    (uint32_t)(cursor->offset - segment->offset), at, max);
	assert(len > 0);
	ret_span->data = segment->data + at;
	ret_span->len = len;
	return 1;
}

int64_t
cursor_advance(
    struct tape *tape, enum view_kind view, struct cursor *cursor, size_t bytes)
{
	const struct view *raw = &tape->raw;
	const struct segment *segment;
	int64_t before = cursor->offset;
	uint32_t at, index, from;
	uint32_t within;

	if (view != VIEW_RAW)
		return derived_advance(tape, view, cursor, bytes);
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
	return cursor->offset > tape->raw.newest;
}

bool
cursor_inside_message(const struct cursor *cursor)
{
	return cursor->inside;
}

/* The first message that it lacks and that is in memory. */
static int64_t
lacked(const struct tape *tape, const struct cursor *cursor)
{
	int64_t kept = view_kept(&tape->raw);

	assert(cursor->offset <= tape->raw.newest + 1);
	return cursor->offset > kept ? cursor->offset : kept;
}

int64_t
cursor_lag_messages(const struct tape *tape, const struct cursor *cursor)
{
	return tape->raw.newest + 1 - lacked(tape, cursor);
}

uint64_t
cursor_lag_bytes(const struct tape *tape, const struct cursor *cursor)
{
	return tape->raw.end - raw_place(&tape->raw, lacked(tape, cursor));
}

int64_t
cursor_lag_since_us(const struct tape *tape, const struct cursor *cursor)
{
	int64_t offset = lacked(tape, cursor);
	const struct segment *segment = view_by_offset(&tape->raw, offset);

	return segment_entry(segment, (uint32_t)(offset - segment->offset))
	    ->time_us;
}
