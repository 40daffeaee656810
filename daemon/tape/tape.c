/*
 * The tape: its raw view, and how long what is kept.
 *
 * An append frames the message at the end of the raw view and moves `oldest`
 * on over what history_messages and history_bytes no longer keep: with a full
 * history one message in, one out.  `oldest` remembers its segment, so that
 * needs no search.
 *
 * Segments are retired where the next one is born, not where their last
 * message leaves the history: then the new segment takes the old one's memory,
 * and the work stands in one place.  tape_trim() retires as well, so that a
 * tape nobody publishes to gives back what grew too old.
 *
 * - No memory: the append fails before anything is written.
 * - A cursor may lie in what is retired.  It is not asked and not told; its
 *   place is smaller than what is kept, that is how it finds out.
 */

#include "daemon/tape/derived.h"
#include "daemon/tape/tape_internal.h"

#include "daemon/base/memory.h"
#include "proto/frame.h"

#include <errno.h>

int
tape_new(
    const struct tape_limits *limits, uint64_t epoch, struct tape **ret_tape)
{
	struct tape *tape = memory_alloc(sizeof(*tape));

	if (!tape)
		return -ENOMEM;
	*tape = (struct tape){
		.epoch = epoch,
		.oldest = 1,
		.held = TAPE_HOLD_NONE,
	};
	tape_set_limits(tape, limits);
	view_init(&tape->raw);
	*ret_tape = tape;
	return 0;
}

void
tape_free(struct tape *tape)
{
	if (!tape)
		return;
	for (int i = 0; i < VIEW_KINDS - 1; i++)
		assert(!tape->derived[i]);
	view_fini(&tape->raw);
	memory_free(tape);
}

void
tape_set_limits(struct tape *tape, const struct tape_limits *limits)
{
	assert(limits->history_messages >= 0 && limits->history_bytes >= 0);
	assert(limits->history_age_us >= 0 && limits->buffer_bytes >= 0);
	tape->limits = *limits;
}

/* The segment of the oldest message; NULL when the history is empty. */
static const struct segment *
oldest_segment(struct tape *tape)
{
	const struct view *raw = &tape->raw;
	const struct segment *segment;

	if (tape->oldest > raw->newest)
		return NULL;
	if (tape->oldest_segment < raw->retired)
		tape->oldest_segment = raw->retired;
	for (;;) {
		assert(tape->oldest_segment - raw->retired < raw->count);
		segment =
		    view_first(raw) + (tape->oldest_segment - raw->retired);
		if (tape->oldest < segment->offset + segment->count)
			return segment;
		tape->oldest_segment++;
	}
}

/* Moves oldest on while its message is over a limit; before_us: by age. */
static void
trim_history(struct tape *tape, int64_t before_us)
{
	const struct tape_limits *limits = &tape->limits;
	const struct view *raw = &tape->raw;
	const struct segment *segment;

	while ((segment = oldest_segment(tape))) {
		const struct view_entry *entry = segment_entry(
		    segment, (uint32_t)(tape->oldest - segment->offset));
		uint64_t bytes = raw->end - segment->place - entry->begin;

		if (raw->newest - tape->oldest < limits->history_messages &&
		    bytes <= (uint64_t)limits->history_bytes &&
		    entry->time_us >= before_us)
			break;
		tape->oldest++;
	}
	assert(tape->oldest <= raw->newest + 1);
}

/* Segments with nothing of the history nor of the buffer are let go. */
static void
retire(struct tape *tape)
{
	struct view *raw = &tape->raw;
	const struct segment *segment;

	while ((segment = view_first(raw))) {
		uint64_t after = segment->place + segment->used;
		int64_t next = segment->offset + segment->count;

		if (next > tape->oldest || next > tape->held ||
		    raw->end - after < (uint64_t)tape->limits.buffer_bytes)
			break;
		derived_retire(tape);
		view_retire(raw);
	}
	assert(view_kept(raw) <= tape->oldest);
}

int64_t
tape_append(struct tape *tape, const struct message_meta *meta,
    const void *payload, size_t len)
{
	enum frame_opcode opcode =
	    meta->kind == MESSAGE_BINARY ? FRAME_BINARY : FRAME_TEXT;
	struct view *raw = &tape->raw;
	uint8_t *data;
	size_t bytes;
	int64_t offset;
	int rc;

	assert(payload || len == 0);
	if (len > TAPE_PAYLOAD_BYTES_MAX)
		return -EMSGSIZE;
	bytes = frame_message_bytes(len);
	if (view_growth_bytes(raw, bytes) > 0)
		retire(tape);
	rc = view_reserve(raw, bytes, &data);
	view_drop_spare(raw);
	if (rc < 0)
		return rc;
	(void)frame_put_message(data, opcode, payload, len);
	offset = view_commit(raw, bytes, meta->kind, meta->time_us);
	trim_history(tape, INT64_MIN);
	return offset;
}

void
tape_hold(struct tape *tape, int64_t offset)
{
	assert(offset >= 1);
	tape->held = offset;
}

size_t
tape_growth_bytes(const struct tape *tape, size_t len)
{
	if (len > TAPE_PAYLOAD_BYTES_MAX)
		return 0;
	return view_growth_bytes(&tape->raw, frame_message_bytes(len));
}

void
tape_trim(struct tape *tape, int64_t now_us)
{
	int64_t age_us = tape->limits.history_age_us;

	/* A clock before 1970 expires nothing; neither can this wrap. */
	trim_history(tape, now_us > 0 ? now_us - age_us : INT64_MIN);
	retire(tape);
	view_drop_spare(&tape->raw);
}

uint64_t
tape_epoch(const struct tape *tape)
{
	return tape->epoch;
}

int64_t
tape_newest(const struct tape *tape)
{
	return tape->raw.newest;
}

int64_t
tape_oldest(const struct tape *tape)
{
	return tape->oldest;
}

int64_t
tape_kept(const struct tape *tape)
{
	return view_kept(&tape->raw);
}

size_t
tape_memory_bytes(const struct tape *tape)
{
	return tape->raw.memory_bytes;
}

/* The payloads of fragments, one behind the other. */
static int
gather(struct buffer *scratch, const uint8_t *data, size_t len)
{
	struct frame_header header;

	buffer_clear(scratch);
	for (size_t at = 0; at < len; at += (size_t)header.payload_bytes) {
		int rc = frame_get_header(data + at, len - at, &header);

		assert(rc > 0);
		at += header.header_bytes;
		assert(header.payload_bytes <= len - at);
		rc = buffer_append(scratch, data + at,
		    (size_t)header.payload_bytes, TAPE_PAYLOAD_BYTES_MAX);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The segment a message lies in; NULL when it is not in memory. */
static const struct segment *
find(const struct tape *tape, int64_t offset)
{
	const struct view *raw = &tape->raw;

	if (offset < view_kept(raw) || offset > raw->newest)
		return NULL;
	return view_by_offset(raw, offset);
}

static struct span
frames(const struct segment *segment, uint32_t index)
{
	uint32_t begin = segment_entry(segment, index)->begin;

	return (struct span){
		.data = segment->data + begin,
		.len = segment_message_end(segment, index) - begin,
	};
}

int
tape_message(const struct tape *tape, int64_t offset,
    struct message_meta *ret_meta, struct span *ret_frames)
{
	const struct segment *segment = find(tape, offset);
	uint32_t index;

	if (!segment)
		return -ENOENT;
	index = (uint32_t)(offset - segment->offset);
	ret_meta->kind = segment_entry(segment, index)->kind;
	ret_meta->time_us = segment_entry(segment, index)->time_us;
	*ret_frames = frames(segment, index);
	return 0;
}

int
tape_read_at(const struct tape *tape, const struct segment *segment,
    uint32_t index, struct buffer *scratch, struct message *ret_message)
{
	const struct view_entry *entry = segment_entry(segment, index);
	struct span span = frames(segment, index);
	struct frame_header header;
	int rc = frame_get_header(span.data, span.len, &header);

	assert(rc > 0);
	if (header.fin) {
		span.data += header.header_bytes;
		span.len -= header.header_bytes;
	} else {
		rc = gather(scratch, span.data, span.len);
		if (rc < 0)
			return rc;
		span = (struct span){ scratch->data, scratch->len };
	}
	*ret_message = (struct message){
		.epoch = tape->epoch,
		.offset = segment->offset + index,
		.time_us = entry->time_us,
		.kind = entry->kind,
		.payload = span.data,
		.len = span.len,
	};
	return 0;
}

int
tape_read(const struct tape *tape, int64_t offset, struct buffer *scratch,
    struct message *ret_message)
{
	const struct segment *segment = find(tape, offset);

	if (!segment)
		return -ENOENT;
	return tape_read_at(tape, segment, (uint32_t)(offset - segment->offset),
	    scratch, ret_message);
}
