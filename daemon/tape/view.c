/*
 * Segments and their index.  The usual append finds room in the last segment:
 * two stores of bookkeeping beside the message.
 *
 * When there is no room
 * - the array of segments gets room first, then the new segment's memory, so
 *   that a failure leaves everything as it was;
 * - the segment that ends gives back its tail if that is a large part of it:
 *   long messages leave long tails;
 * - the memory of a segment retired in the same append is taken, so a tape at
 *   its limit publishes without allocating.
 *
 * A ring mapped twice was refused: it makes every range contiguous, but has to
 * have its final size from the start, and 10 000 quiet channels would each
 * have one.
 */

#include "daemon/tape/view.h"

#include "daemon/base/memory.h"

#include <errno.h>
#include <string.h>

#define ROOM_MIN 4u /* segments */
#define ALIGN(n) (((n) + VIEW_ENTRY_BYTES - 1) & ~(VIEW_ENTRY_BYTES - 1))

_Static_assert((VIEW_ENTRY_BYTES & (VIEW_ENTRY_BYTES - 1)) == 0,
    "entries are aligned by the size of a segment");
_Static_assert(VIEW_MESSAGE_MAX + 2 * VIEW_ENTRY_BYTES < UINT32_MAX,
    "places within a segment are 32 bits");

void
view_init(struct view *view)
{
	*view = (struct view){ .next_bytes = VIEW_SEGMENT_MIN };
}

void
view_fini(struct view *view)
{
	view_drop_spare(view);
	while (view->count > 0) {
		view_retire(view);
		view_drop_spare(view);
	}
	memory_free(view->segments);
	view->memory_bytes -= view->room * sizeof(*view->segments);
	assert(view->memory_bytes == 0);
}

static struct segment *
last(struct view *view)
{
	assert(view->count > 0);
	return &view->segments[view->first + view->count - 1];
}

static bool
fits(const struct view *view, size_t bytes)
{
	const struct segment *segment = view_last(view);
	size_t taken;

	if (!segment)
		return false;
	taken = segment->used + (segment->count + 1) * VIEW_ENTRY_BYTES;
	return taken <= segment->size && bytes <= segment->size - taken;
}

static uint32_t
next_segment_bytes(const struct view *view, size_t bytes)
{
	size_t need = ALIGN(bytes) + VIEW_ENTRY_BYTES;
	uint32_t size = view->next_bytes;

	if (need > VIEW_SEGMENT_MAX)
		return (uint32_t)need;
	while (size < need)
		size *= 2;
	assert(size <= VIEW_SEGMENT_MAX);
	return size;
}

static bool
array_full(const struct view *view)
{
	return view->first + view->count == view->room;
}

/* The array is made larger, not tidied: more than half of it is in use. */
static bool
array_grows(const struct view *view)
{
	return array_full(view) && view->first <= view->room / 2;
}

static int
array_make_room(struct view *view)
{
	size_t each = sizeof(*view->segments);
	uint32_t room = view->room > 0 ? view->room * 2 : ROOM_MIN;
	struct segment *segments;

	if (!array_full(view))
		return 0;
	if (!array_grows(view)) {
		memmove(view->segments, view->segments + view->first,
		    view->count * each);
		view->first = 0;
		return 0;
	}
	segments = memory_realloc(view->segments, room * each);
	if (!segments)
		return -ENOMEM;
	view->memory_bytes += (room - view->room) * each;
	view->segments = segments;
	view->room = room;
	return 0;
}

static uint8_t *
segment_memory(struct view *view, uint32_t size)
{
	uint8_t *data;

	if (view->spare && view->spare_bytes == size) {
		data = view->spare;
		view->spare = NULL;
		return data;
	}
	view_drop_spare(view);
	data = memory_alloc(size);
	if (data)
		view->memory_bytes += size;
	return data;
}

/* Nothing will be added to it: its free tail goes, if that is worth it. */
static void
seal(struct view *view, struct segment *segment)
{
	size_t index = segment->count * VIEW_ENTRY_BYTES;
	uint32_t size = (uint32_t)(ALIGN(segment->used) + index);
	uint8_t *data = segment->data;

	assert(size <= segment->size);
	if (segment->size - size < segment->size / 8)
		return;
	memmove(data + size - index, data + segment->size - index, index);
	data = memory_realloc(segment->data, size);
	if (!data) { /* it only shrinks, yet may be refused */
		data = segment->data;
		memmove(
		    data + segment->size - index, data + size - index, index);
		return;
	}
	view->memory_bytes -= segment->size - size;
	segment->data = data;
	segment->size = size;
}

int
view_reserve(struct view *view, size_t bytes, uint8_t **ret_data)
{
	uint32_t size;
	uint8_t *data;

	assert(bytes > 0);
	assert(bytes <= VIEW_MESSAGE_MAX);
	if (!fits(view, bytes)) {
		size = next_segment_bytes(view, bytes);
		if (array_make_room(view) < 0)
			return -ENOMEM;
		data = segment_memory(view, size);
		if (!data)
			return -ENOMEM;
		if (view->count > 0)
			seal(view, last(view));
		view->count++;
		*last(view) = (struct segment){ .place = view->end,
			.offset = view->newest + 1,
			.data = data,
			.size = size };
		if (view->next_bytes < VIEW_SEGMENT_MAX)
			view->next_bytes *= 2;
	}
	*ret_data = last(view)->data + last(view)->used;
	return 0;
}

int64_t
view_commit(
    struct view *view, size_t bytes, enum message_kind kind, int64_t time_us)
{
	struct segment *segment = last(view);

	assert(fits(view, bytes));
	segment->count++;
	*segment_entry(segment, segment->count - 1) = (struct view_entry){
		.time_us = time_us,
		.begin = segment->used,
		.kind = (uint8_t)kind,
	};
	segment->used += (uint32_t)bytes;
	view->end += bytes;
	view->newest++;
	assert(segment->place + segment->used == view->end);
	return view->newest;
}

size_t
view_growth_bytes(const struct view *view, size_t bytes)
{
	size_t growth;

	if (fits(view, bytes))
		return 0;
	growth = next_segment_bytes(view, bytes);
	if (array_grows(view))
		growth += (view->room > 0 ? view->room : ROOM_MIN) *
			  sizeof(*view->segments);
	return growth;
}

void
view_retire(struct view *view)
{
	struct segment *segment = &view->segments[view->first];

	assert(view->count > 0);
	assert(!segment->blocks);
	view_drop_spare(view);
	view->spare = segment->data;
	view->spare_bytes = segment->size;
	view->first++;
	view->count--;
	view->retired++;
	if (view->count == 0) /* gone quiet: it begins small again */
		view->next_bytes = VIEW_SEGMENT_MIN;
}

void
view_drop_spare(struct view *view)
{
	if (!view->spare)
		return;
	assert(view->memory_bytes >= view->spare_bytes);
	memory_free(view->spare);
	view->memory_bytes -= view->spare_bytes;
	view->spare = NULL;
}

static uint64_t
begins(const struct segment *segment, bool by_place)
{
	return by_place ? segment->place : (uint64_t)segment->offset;
}

/* The last segment that does not begin after key; mostly it is the last. */
static inline const struct segment *
find(const struct view *view, bool by_place, uint64_t key)
{
	const struct segment *segments = view->segments + view->first;
	uint32_t low = 0, high = view->count;

	assert(view->count > 0);
	assert(key >= begins(&segments[0], by_place));
	if (key >= begins(&segments[high - 1], by_place))
		return &segments[high - 1];
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (begins(&segments[middle], by_place) <= key)
			low = middle;
		else
			high = middle;
	}
	return &segments[low];
}

const struct segment *
view_by_place(const struct view *view, uint64_t place)
{
	assert(place < view->end);
	return find(view, true, place);
}

const struct segment *
view_by_offset(const struct view *view, int64_t offset)
{
	assert(offset >= 1 && offset <= view->newest);
	return find(view, false, (uint64_t)offset);
}

uint32_t
segment_find(const struct segment *segment, uint32_t at, uint32_t from)
{
	uint32_t low = from, high = segment->count;

	assert(at < segment->used);
	assert(segment_entry(segment, from)->begin <= at);
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (segment_entry(segment, middle)->begin <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}
