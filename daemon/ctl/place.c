/*
 * place: channels by name, and what of them stdout has taken.
 *
 * A message counts as written when stdout has taken all bytes that were in
 * the output when it was put there.  Instead of remembering a byte count for
 * each message, the places that moved are marked all at once, with the
 * output's length; when stdout has taken that much they are written, and the
 * next mark is set.
 */

#include "daemon/ctl/place.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* FNV-1a */
static uint64_t
hash(const char *name, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037);
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * UINT64_C(1099511628211);
	return h ^ h >> 32;
}

int
places_init(struct places *places, size_t max)
{
	size_t slots = 2;

	assert(max > 0 && max < UINT32_MAX / 2);
	while (slots < 2 * max)
		slots *= 2;
	*places = (struct places){ .max = max, .slots_mask = slots - 1 };
	list_init(&places->moved);
	list_init(&places->waiting);
	places->list = memory_zalloc(max * sizeof(*places->list));
	places->slots = memory_zalloc(slots * sizeof(*places->slots));
	if (places->list == NULL || places->slots == NULL) {
		places_fini(places);
		return -ENOMEM;
	}
	return 0;
}

void
places_fini(struct places *places)
{
	memory_free(places->list);
	memory_free(places->slots);
	*places = (struct places){ 0 };
}

/* Where it is, or would be. */
static uint32_t *
slot_of(const struct places *places, const char *channel, size_t len)
{
	uint64_t at = hash(channel, len);

	for (;; at++) {
		uint32_t *slot = &places->slots[at & places->slots_mask];
		const struct place *place;

		if (*slot == 0)
			return slot;
		place = &places->list[*slot - 1];
		if (place->channel_len == len &&
		    memcmp(place->channel, channel, len) == 0)
			return slot;
	}
}

struct place *
places_find(const struct places *places, const char *channel, size_t len)
{
	const uint32_t *slot = slot_of(places, channel, len);

	return *slot != 0 ? &places->list[*slot - 1] : NULL;
}

struct place *
places_add(struct places *places, const char *channel, size_t len)
{
	uint32_t *slot = slot_of(places, channel, len);
	struct place *place;

	assert(channel_name_valid(channel, len));
	if (*slot != 0)
		return &places->list[*slot - 1];
	assert(places->count < places->max);
	place = &places->list[places->count++];
	*slot = (uint32_t)places->count;
	memcpy(place->channel, channel, len);
	place->channel_len = len;
	list_init(&place->moved_node);
	list_init(&place->marked_node);
	return place;
}

void
place_recall(struct place *place, const struct position *position)
{
	assert(!place->known);
	place->known = place->has_written = true;
	place->position = place->written = *position;
}

static void
note_move(struct places *places, struct place *place)
{
	if (list_empty(&place->moved_node))
		list_append(&places->moved, &place->moved_node);
}

void
place_move(
    struct places *places, struct place *place, const struct position *position)
{
	place->known = true;
	place->position = *position;
	note_move(places, place);
	if (place->has_written)
		return;
	place->has_written = true; /* nothing of it was put before */
	place->written = *position;
	places->unsaved = true;
}

void
place_advance(struct places *places, struct place *place)
{
	assert(place->known);
	assert(place->position.offset < INT64_MAX);
	place->position.offset++;
	note_move(places, place);
}

static void
set_mark(struct places *places, uint64_t put)
{
	struct list *node;

	assert(list_empty(&places->waiting));
	while ((node = list_first(&places->moved)) != NULL) {
		struct place *place =
		    LIST_ENTRY(node, struct place, moved_node);

		list_remove(node);
		place->marked = place->position;
		list_append(&places->waiting, &place->marked_node);
	}
	places->mark = put;
}

static void
reach_mark(struct places *places)
{
	struct list *node;

	while ((node = list_first(&places->waiting)) != NULL) {
		struct place *place =
		    LIST_ENTRY(node, struct place, marked_node);

		assert(place->has_written);
		list_remove(node);
		place->written = place->marked;
		places->unsaved = true;
	}
}

void
places_settle(struct places *places, uint64_t put, uint64_t taken)
{
	assert(taken <= put);
	if (taken >= places->mark)
		reach_mark(places);
	if (!list_empty(&places->waiting) || list_empty(&places->moved))
		return;
	set_mark(places, put);
	if (taken >= put)
		reach_mark(places);
}
