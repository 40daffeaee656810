#ifndef DAEMON_TAPE_VIEW_H
#define DAEMON_TAPE_VIEW_H

/*
 * view: one wire encoding of a channel, in segments with an index.
 *
 * Shape    A segment is one piece of memory: bytes grow from its start, index
 *          entries of VIEW_ENTRY_BYTES from its end towards them.
 *          | message 1 | message 2 | ...free... | entry 2 | entry 1 |
 *          A message lies within one segment.  Segments are in an array used
 *          as a deque, so that one is found by place or offset in O(log n), the
 *          newest in O(1).
 * Order    Places count bytes from the view's birth without holes, offsets
 *          messages; neither ever goes back.
 * Memory   The first segment has VIEW_SEGMENT_MIN bytes, each next one twice
 *          as many up to VIEW_SEGMENT_MAX; a message longer than that has one
 *          of its own.  Nothing is zeroed.  memory_bytes is all of it.
 * Threads  Quiet: the caller serialises.
 *
 * The tape is its raw view and what decides how long that is kept.  Other
 * encodings are further views of the same offsets.
 */

#include "daemon/tape/tape.h"

#include <assert.h>

#define VIEW_SEGMENT_MIN 4096u
#define VIEW_SEGMENT_MAX (256u * 1024)
#define VIEW_MESSAGE_MAX (1u << 30) /* bytes on the wire */

struct view_entry {
	int64_t time_us;
	uint32_t begin; /* place within the segment */
	uint8_t kind; /* enum message_kind */
	uint8_t unused[3];
};

#define VIEW_ENTRY_BYTES sizeof(struct view_entry)
_Static_assert(VIEW_ENTRY_BYTES == 16, "an index entry is 16 bytes");

struct segment_blocks;

struct segment {
	uint64_t place; /* of its first byte */
	int64_t offset; /* of its first message */
	uint8_t *data;
	struct segment_blocks *blocks; /* of derived views; NULL: none */
	uint32_t size, used, count; /* bytes there, bytes and messages in it */
};

struct view {
	struct segment *segments; /* [first, first + count) of room */
	uint32_t first, count, room;
	uint32_t next_bytes; /* size of the next segment */
	uint64_t retired; /* how many segments were before the first */
	uint64_t end; /* the place after the last byte */
	int64_t newest; /* 0: no message yet */
	size_t memory_bytes;
	uint8_t *spare; /* memory of a retired segment, for the next one */
	uint32_t spare_bytes;
};

void view_init(struct view *view);
void view_fini(struct view *view);

/*
 * Room for a message of that many bytes (1 to VIEW_MESSAGE_MAX) at the end;
 * *ret_data is valid until the next call that changes the view.
 * -ENOMEM: nothing happened.
 */
int view_reserve(struct view *view, size_t bytes, uint8_t **ret_data);

/* What was reserved becomes a message.  Returns its offset. */
int64_t view_commit(
    struct view *view, size_t bytes, enum message_kind kind, int64_t time_us);

/* By how much view_reserve() would make memory_bytes grow; 0 if it fits. */
size_t view_growth_bytes(const struct view *view, size_t bytes);

/*
 * The first segment goes.  Its memory is kept for the next segment until
 * view_drop_spare().
 */
void view_retire(struct view *view);
void view_drop_spare(struct view *view);

/* The segment a place or an offset lies in.  It must be in memory. */
const struct segment *view_by_place(const struct view *view, uint64_t place);
const struct segment *view_by_offset(const struct view *view, int64_t offset);

/*
 * The message that the byte `at` of the segment belongs to, as an index into
 * it; at is below used.  It is not before message `from`.
 */
uint32_t segment_find(
    const struct segment *segment, uint32_t at, uint32_t from);

static inline const struct segment *
view_first(const struct view *view)
{
	return view->count > 0 ? &view->segments[view->first] : NULL;
}

static inline const struct segment *
view_last(const struct view *view)
{
	return view->count > 0 ? &view->segments[view->first + view->count - 1]
			       : NULL;
}

/* The first message in memory and the place where it begins. */
static inline int64_t
view_kept(const struct view *view)
{
	return view->count > 0 ? view_first(view)->offset : view->newest + 1;
}

static inline uint64_t
view_kept_place(const struct view *view)
{
	return view->count > 0 ? view_first(view)->place : view->end;
}

/* Entries stand in reverse at the end of the segment. */
static inline struct view_entry *
segment_entry(const struct segment *segment, uint32_t index)
{
	void *end = segment->data + segment->size;

	assert(index < segment->count);
	return (struct view_entry *)end - 1 - index;
}

/* Where message `index` ends within the segment. */
static inline uint32_t
segment_message_end(const struct segment *segment, uint32_t index)
{
	return index + 1 < segment->count
		   ? segment_entry(segment, index + 1)->begin
		   : segment->used;
}

#endif
