/*
 * Derived views of a tape: opened, read, closed.
 *
 * Consumers of one view come to the same places, mostly all to the same one.
 * The first of them finds or builds the span, the others get what it left in a
 * memo: neither search nor index.
 *
 * A burst that crosses from one block to the next is copied together once, so
 * that it still is one write for each of its consumers: without that every
 * eighth burst of 4 KiB would be two, and a write is what a delivery costs.
 *
 * - The cursor's message is not built yet and the caller has no bytes left for
 *   that: -EAGAIN.  The block goes on where it stopped, it is the most
 *   recently read one.
 * - The block was dropped, the cursor inside of a message: it is built again,
 *   to the same bytes.
 */

#include "daemon/tape/derived.h"

#include "daemon/base/memory.h"
#include "daemon/tape/tape_internal.h"

#include <errno.h>
#include <string.h>

/* What is longer is a good write by itself. */
#define JOINT_FIRST_BYTES_MAX (VIEW_JOINT_BYTES / 2)

int
views_new(struct views **ret_views)
{
	struct views *views = memory_zalloc(sizeof(*views));

	if (!views)
		return -ENOMEM;
	list_init(&views->blocks);
	*ret_views = views;
	return 0;
}

void
views_free(struct views *views)
{
	if (!views)
		return;
	assert(views->open == 0);
	assert(list_empty(&views->blocks) && views->bytes == 0);
	assert(!views->joint.data && !views->joint_of);
	encoder_fini(&views->encoder);
	memory_free(views);
}

void
views_begin(struct views *views, uint64_t bytes_max)
{
	views->bytes_max = bytes_max;
	encoder_tidy(&views->encoder);
}

uint64_t
views_bytes(const struct views *views)
{
	return views->bytes;
}

const struct views_counts *
views_counts(const struct views *views)
{
	return &views->counts;
}

static struct derived **
derived_of(struct tape *tape, enum view_kind view)
{
	assert(view > VIEW_RAW && view < VIEW_KINDS);
	return &tape->derived[view - 1];
}

int
tape_open_view(struct tape *tape, struct views *views, enum view_kind view,
    const char *channel, size_t len)
{
	struct derived **derived;

	if (view == VIEW_RAW)
		return 0;
	derived = derived_of(tape, view);
	if (!*derived) {
		*derived = memory_alloc(sizeof(**derived));
		if (!*derived)
			return -ENOMEM;
		**derived = (struct derived){
			.views = views,
			.tape = tape,
			.channel = channel,
			.channel_len = len,
			.kind = view,
		};
	}
	assert((*derived)->views == views && (*derived)->channel == channel);
	(*derived)->readers++;
	views->open++;
	views->open_deflated += encode_deflated(view);
	return 0;
}

/* The joint is somebody else's from now on, or nobody's. */
static void
joint_give(struct views *views, struct derived *derived)
{
	if (views->joint_of)
		memos_forget(views->joint_of);
	views->joint_of = derived;
}

static void
joint_fini(struct views *views)
{
	assert(!views->joint_of);
	memory_free(views->joint.data);
	views->joint = (struct segment){ 0 };
}

static void
drop_view(struct tape *tape, struct views *views, enum view_kind view)
{
	struct view *raw = &tape->raw;

	for (uint32_t i = raw->first; i < raw->first + raw->count; i++)
		blocks_drop(views, &raw->segments[i], view);
}

void
tape_close_view(struct tape *tape, enum view_kind view)
{
	struct derived **derived;
	struct views *views;

	if (view == VIEW_RAW)
		return;
	derived = derived_of(tape, view);
	assert(*derived && (*derived)->readers > 0);
	views = (*derived)->views;
	assert(views->open > 0);
	if (--(*derived)->readers == 0) {
		drop_view(tape, views, view);
		if (views->joint_of == *derived)
			joint_give(views, NULL);
		memory_free(*derived);
		*derived = NULL;
	}
	views->open_deflated -= encode_deflated(view);
	if (views->open_deflated == 0)
		encoder_drop_deflate(&views->encoder);
	if (--views->open == 0) {
		joint_fini(views);
		encoder_fini(&views->encoder);
	}
}

void
derived_retire(struct tape *tape)
{
	struct segment *raw = &tape->raw.segments[tape->raw.first];

	for (int i = 0; i < VIEW_DERIVED_KINDS && raw->blocks; i++)
		if (tape->derived[i])
			blocks_drop(tape->derived[i]->views, raw,
			    tape->derived[i]->kind);
	assert(!raw->blocks);
}

static struct memo *
memo_find(struct derived *derived, const struct cursor *cursor)
{
	for (int i = 0; i < VIEW_MEMOS; i++) {
		struct memo *memo = &derived->memos[i];

		if (memo->from.offset == cursor->offset &&
		    memo->from.place == cursor->place && memo->span.len > 0)
			return memo;
	}
	return NULL;
}

/* Where a cursor is that takes those bytes, all of them in the segment. */
static struct cursor
after(const struct segment *out, const struct cursor *cursor, size_t bytes)
{
	uint32_t index = (uint32_t)(cursor->offset - out->offset);
	uint64_t at = segment_entry(out, index)->begin + cursor->place + bytes;
	uint64_t within = 0;

	assert(at <= out->used);
	if (at == out->used) {
		index = out->count;
	} else {
		index = segment_find(out, (uint32_t)at, index);
		within = at - segment_entry(out, index)->begin;
	}
	return (struct cursor){ out->offset + index, within, within > 0 };
}

/* Built far enough for a span of max bytes, or as far as may be. */
static int
build(struct block *block, const struct cursor *cursor, size_t max,
    int64_t *build_bytes)
{
	const struct segment *out = &block->out;
	int rc = -EAGAIN;

	for (;;) {
		if (block_has(block, cursor->offset) &&
		    out->used - segment_entry(out,
				    (uint32_t)(cursor->offset - out->offset))
				    ->begin >=
			cursor->place + max)
			return 0;
		if (*build_bytes <= 0)
			break;
		rc = block_extend(block, build_bytes);
		if (rc <= 0)
			break;
		rc = -EAGAIN;
	}
	if (block_has(block, cursor->offset))
		return 0;
	assert(rc < 0);
	return rc;
}

/* Appends the whole messages of a block from offset on, as many as fit. */
static void
joint_add(struct segment *joint, const struct block *block, int64_t offset,
    size_t max)
{
	const struct segment *out = &block->out;

	for (uint32_t i = (uint32_t)(offset - out->offset); i < out->count;
	     i++) {
		const struct view_entry *entry = segment_entry(out, i);
		uint32_t bytes = segment_message_end(out, i) - entry->begin;
		size_t index = (joint->count + 1) * VIEW_ENTRY_BYTES;

		if (joint->used + bytes > max ||
		    joint->used + bytes + index > joint->size)
			return;
		memcpy(
		    joint->data + joint->used, out->data + entry->begin, bytes);
		joint->count++;
		*segment_entry(joint, joint->count - 1) = *entry;
		segment_entry(joint, joint->count - 1)->begin = joint->used;
		joint->used += bytes;
	}
}

/*
 * Is what is left of a block short, and more behind it?  `to` is where its
 * span ends.
 */
static bool
can_join(const struct derived *derived, const struct cursor *from,
    const struct cursor *to, size_t len)
{
	return from->place == 0 && to->place == 0 &&
	       !cursor_at_end(derived->tape, to) &&
	       len <= JOINT_FIRST_BYTES_MAX;
}

/*
 * The memo's span, and what the next block has behind it.  Where that is not
 * built, or there is no memory, it stays as it is.
 */
static void
join(struct derived *derived, const struct block *block, struct memo *memo,
    int64_t *build_bytes)
{
	struct views *views = derived->views;
	struct segment *joint = &views->joint;
	int64_t offset = memo->from.offset;
	struct block *next;

	if (!joint->data) {
		joint->data = memory_alloc(VIEW_JOINT_BYTES);
		if (!joint->data)
			return;
		joint->size = VIEW_JOINT_BYTES;
	}
	joint_give(views, derived);
	joint->offset = offset;
	joint->used = joint->count = 0;
	joint_add(joint, block, offset, memo->max);
	if (joint->used != memo->span.len)
		return; /* the index of many short ones has no room */
	/* From here on the block may go, for room for the next one. */
	memo->span = (struct span){ joint->data, joint->used };
	memo->joint = true;
	if (block_get(derived, memo->to.offset, &next) == 0 &&
	    build(next, &memo->to, memo->max - joint->used, build_bytes) == 0)
		joint_add(joint, next, memo->to.offset, memo->max);
	memo->span.len = joint->used;
	memo->to.offset = offset + joint->count;
}

static struct memo *
memo_new(struct derived *derived, const struct cursor *cursor)
{
	struct memo *memo = memo_find(derived, cursor);

	return memo ? memo : &derived->memos[derived->next_memo++ % VIEW_MEMOS];
}

int
derived_span(struct tape *tape, enum view_kind view,
    const struct cursor *cursor, size_t max, int64_t *build_bytes,
    struct span *ret_span)
{
	struct derived *derived = *derived_of(tape, view);
	struct memo *memo, made;
	struct block *block;
	struct span span;
	int rc;

	assert(derived);
	memo = memo_find(derived, cursor);
	if (memo && memo->newest == tape->raw.newest && memo->max == max) {
		*ret_span = memo->span;
		return 1;
	}
	if (cursor_at_end(tape, cursor))
		return 0;
	if (cursor->offset < view_kept(&tape->raw))
		return -ESTALE;
	rc = block_get(derived, cursor->offset, &block);
	if (rc == 0)
		rc = build(block, cursor, max, build_bytes);
	if (rc < 0)
		return rc;
	span = segment_span(&block->out, cursor->offset, cursor->place, max,
	    encode_framed(view));
	made = (struct memo){
		.from = *cursor,
		.to = after(&block->out, cursor, span.len),
		.newest = tape->raw.newest,
		.max = max,
		.span = span,
	};
	if (can_join(derived, &made.from, &made.to, span.len))
		join(derived, block, &made, build_bytes);
	*memo_new(derived, cursor) = made;
	*ret_span = made.span;
	return 1;
}

int64_t
derived_advance(
    struct tape *tape, enum view_kind view, struct cursor *cursor, size_t bytes)
{
	struct derived *derived = *derived_of(tape, view);
	const struct memo *memo = memo_find(derived, cursor);
	int64_t before = cursor->offset;
	struct block *block;
	int rc;

	if (bytes == 0)
		return 0;
	if (memo && memo->span.len == bytes) {
		*cursor = memo->to;
		return cursor->offset - before;
	}
	if (memo && memo->joint) {
		*cursor = after(&derived->views->joint, cursor, bytes);
		return cursor->offset - before;
	}
	rc = block_get(derived, cursor->offset, &block);
	assert(rc == 0); /* it is where the span came from */
	*cursor = after(&block->out, cursor, bytes);
	return cursor->offset - before;
}
