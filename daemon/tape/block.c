/*
 * Blocks: found, extended, dropped.
 *
 * The usual call comes from a consumer that is live: its block is the last one
 * of the last raw segment, has room, and gets what was published since.
 *
 * - There is no room under views.bytes_max: the least recently read blocks
 *   go, whoever's they are, but never the one that is being extended.
 * - No memory: the block stays as it is, maybe empty.
 * - A message is longer than all room there is: it gets it.
 *
 * Blocks are smaller than segments so that a consumer that begins somewhere
 * costs 32 KiB encoded in vain at most, and 256 KiB nowhere.
 */

#include "daemon/tape/block.h"

#include "daemon/base/memory.h"
#include "daemon/tape/tape_internal.h"

#include <errno.h>
#include <string.h>

#define BLOCK_BYTES_MIN 512u
#define ALIGN(n) (((n) + VIEW_ENTRY_BYTES - 1) & ~(VIEW_ENTRY_BYTES - 1))

_Static_assert(VIEW_SEGMENT_MAX % VIEW_BLOCK_BYTES == 0,
    "a segment is cut into whole blocks");

static struct segment *
raw_segment(const struct block *block)
{
	struct view *raw = &block->derived->tape->raw;

	assert(block->segment >= raw->retired);
	assert(block->segment - raw->retired < raw->count);
	return &raw->segments[raw->first + (block->segment - raw->retired)];
}

static uint32_t
block_number(const struct segment *raw, uint32_t index)
{
	uint32_t number = segment_entry(raw, index)->begin / VIEW_BLOCK_BYTES;

	/* A message that is alone in a longer segment begins at 0. */
	assert(number < VIEW_SEGMENT_BLOCKS);
	return number;
}

/* The first message that begins in the block; some message does. */
static uint32_t
block_first(const struct segment *raw, uint32_t number)
{
	uint32_t cut = number * VIEW_BLOCK_BYTES;
	uint32_t index = segment_find(raw, cut, 0);

	return segment_entry(raw, index)->begin < cut ? index + 1 : index;
}

static void
block_free(struct views *views, struct segment *raw, struct block *block)
{
	struct segment_blocks *blocks = raw->blocks;
	struct block **slot =
	    &blocks->at[block->derived->kind - 1][block->number];

	assert(*slot == block);
	assert(blocks->count > 0);
	*slot = NULL;
	memos_forget(block->derived);
	list_remove(&block->node);
	views->bytes -= sizeof(*block) + block->out.size;
	memory_free(block->out.data);
	memory_free(block);
	if (--blocks->count == 0) {
		views->bytes -= sizeof(*blocks);
		memory_free(blocks);
		raw->blocks = NULL;
	}
}

/* Others go until there is room, or nothing but keep is left. */
static void
make_room(struct views *views, size_t bytes, const struct block *keep)
{
	while (views->bytes + bytes > views->bytes_max &&
	       !list_empty(&views->blocks)) {
		struct block *block =
		    LIST_ENTRY(list_first(&views->blocks), struct block, node);

		if (block == keep)
			break;
		block_free(views, raw_segment(block), block);
		views->counts.evicted++;
	}
}

static int
block_new(struct derived *derived, struct segment *raw, uint64_t segment,
    uint32_t number, struct block **ret_block)
{
	struct views *views = derived->views;
	struct block *block = memory_alloc(sizeof(*block));

	if (!block)
		return -ENOMEM;
	if (!raw->blocks) {
		raw->blocks = memory_zalloc(sizeof(*raw->blocks));
		if (!raw->blocks) {
			memory_free(block);
			return -ENOMEM;
		}
		views->bytes += sizeof(*raw->blocks);
	}
	*block = (struct block){
		.derived = derived,
		.segment = segment,
		.number = number,
		.out.offset = raw->offset + block_first(raw, number),
	};
	list_init(&block->node);
	list_append(&views->blocks, &block->node);
	views->bytes += sizeof(*block);
	raw->blocks->at[derived->kind - 1][number] = block;
	raw->blocks->count++;
	*ret_block = block;
	return 0;
}

int
block_get(struct derived *derived, int64_t offset, struct block **ret_block)
{
	struct views *views = derived->views;
	struct view *view = &derived->tape->raw;
	const struct segment *found = view_by_offset(view, offset);
	uint32_t at = (uint32_t)(found - view->segments);
	struct segment *raw = &view->segments[at];
	uint32_t number = block_number(raw, (uint32_t)(offset - raw->offset));
	struct block *block =
	    raw->blocks ? raw->blocks->at[derived->kind - 1][number] : NULL;

	assert(derived->kind != VIEW_RAW);
	if (block) {
		list_remove(&block->node);
		list_append(&views->blocks, &block->node);
		*ret_block = block;
		return 0;
	}
	make_room(views, sizeof(*block) + sizeof(*raw->blocks), NULL);
	return block_new(
	    derived, raw, view->retired + at - view->first, number, ret_block);
}

/* Moves what is in it to memory of another size; no memo points there. */
static int
resize(struct block *block, size_t size)
{
	struct views *views = block->derived->views;
	struct segment *out = &block->out;
	size_t index = out->count * VIEW_ENTRY_BYTES;
	uint8_t *data;

	assert(size % VIEW_ENTRY_BYTES == 0);
	assert(size >= out->used + index);
	if (size > out->size)
		make_room(views, size - out->size, block);
	data = memory_alloc(size);
	if (!data)
		return -ENOMEM;
	if (out->count > 0) {
		memcpy(data, out->data, out->used);
		memcpy(
		    data + size - index, out->data + out->size - index, index);
	}
	memory_free(out->data);
	views->bytes += size;
	views->bytes -= out->size;
	out->data = data;
	out->size = (uint32_t)size;
	return 0;
}

static int
reserve(struct block *block, size_t bytes)
{
	const struct segment *out = &block->out;
	size_t need = ALIGN(out->used + bytes) +
		      ((size_t)out->count + 1) * VIEW_ENTRY_BYTES;
	size_t size = out->size > 0 ? (size_t)out->size * 2 : BLOCK_BYTES_MIN;

	if (need <= out->size)
		return 0;
	if (need > UINT32_MAX - VIEW_ENTRY_BYTES)
		return -ENOMEM;
	return resize(block, need < size && size < UINT32_MAX ? size : need);
}

/* Nothing will be added to it: what was reserved in vain goes. */
static void
seal(struct block *block)
{
	const struct segment *out = &block->out;
	size_t need = ALIGN((size_t)out->used) + out->count * VIEW_ENTRY_BYTES;

	if (out->size - need >= out->size / 8)
		(void)resize(block, need); /* else it stays as it is */
}

static int
append(struct block *block, const struct segment *raw, uint32_t index,
    int64_t *build_bytes)
{
	struct derived *derived = block->derived;
	struct views *views = derived->views;
	struct segment *out = &block->out;
	struct message message;
	struct encoded encoded;
	int rc = tape_read_at(
	    derived->tape, raw, index, &views->encoder.payload, &message);

	if (rc < 0)
		return rc;
	memos_forget(derived); /* spans get longer, or move */
	message.channel = derived->channel;
	message.channel_len = derived->channel_len;
	rc = encode(&views->encoder, derived->kind, &message, &encoded);
	if (rc == 0)
		rc = reserve(block, encoded.bytes);
	if (rc < 0)
		return rc;
	encoded_put(&encoded, out->data + out->used);
	out->count++;
	*segment_entry(out, out->count - 1) = (struct view_entry){
		.time_us = message.time_us,
		.begin = out->used,
		.kind = (uint8_t)message.kind,
	};
	out->used += (uint32_t)encoded.bytes;
	*build_bytes -= (int64_t)encoded.cost;
	views->counts.built++;
	views->counts.bytes_built += encoded.bytes;
	views->counts.compressed += encoded.compressed;
	return 0;
}

int
block_extend(struct block *block, int64_t *build_bytes)
{
	const struct segment *raw = raw_segment(block);
	uint32_t index =
	    (uint32_t)(block->out.offset - raw->offset) + block->out.count;
	int rc;

	if (index == raw->count || block_number(raw, index) != block->number)
		return 0;
	rc = append(block, raw, index, build_bytes);
	if (rc < 0)
		return rc;
	/* The next one, should it come, begins behind the cut. */
	if (segment_message_end(raw, index) >=
	    (block->number + 1) * VIEW_BLOCK_BYTES)
		seal(block);
	return 1;
}

void
blocks_drop(struct views *views, struct segment *raw, enum view_kind kind)
{
	for (int i = 0; i < VIEW_DERIVED_KINDS; i++) {
		if (kind != VIEW_RAW && (int)kind - 1 != i)
			continue;
		for (uint32_t j = 0; j < VIEW_SEGMENT_BLOCKS; j++)
			if (raw->blocks && raw->blocks->at[i][j])
				block_free(views, raw, raw->blocks->at[i][j]);
	}
}
