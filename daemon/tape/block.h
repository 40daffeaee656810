#ifndef DAEMON_TAPE_BLOCK_H
#define DAEMON_TAPE_BLOCK_H

/*
 * block: a piece of a derived view.
 *
 * Shape    A raw segment is cut every VIEW_BLOCK_BYTES; the messages that
 *          begin between two cuts are a block.  What is encoded of it, always
 *          from its first message on, is a segment like the raw ones: bytes
 *          from the start, index entries from the end.
 * Life     block_get -> block_extend* -> dropped with its raw segment, with
 *          its view, or for room.
 * Memory   Everything here is counted in views.bytes.
 * Threads  Quiet, as the tape.
 */

#include "daemon/base/list.h"
#include "daemon/tape/encode.h"
#include "daemon/tape/view.h"

#define VIEW_BLOCK_BYTES (32u * 1024) /* of the raw view */
#define VIEW_SEGMENT_BLOCKS (VIEW_SEGMENT_MAX / VIEW_BLOCK_BYTES)
#define VIEW_DERIVED_KINDS (VIEW_KINDS - 1) /* all but the raw one */
#define VIEW_MEMOS 2
#define VIEW_JOINT_BYTES (32u * 1024) /* with its index */

struct derived;

struct views {
	uint64_t bytes, bytes_max;
	struct list blocks; /* the least recently read first */
	uint32_t open, open_deflated; /* readers of views, of deflated ones */
	struct encoder encoder;
	struct views_counts counts;
	/* What two blocks have on either side of a cut, whole messages. */
	struct segment joint;
	struct derived *joint_of; /* whose memos may name it */
};

/* The span at a place: who comes to the same place need not search. */
struct memo {
	struct cursor from, to; /* to: when all of it is taken */
	int64_t newest; /* as it was then: more makes spans longer */
	size_t max;
	struct span span; /* len 0: nothing */
	bool joint; /* it is of views.joint */
};

/* One derived view of one tape. */
struct derived {
	struct views *views;
	struct tape *tape;
	const char *channel;
	size_t channel_len;
	enum view_kind kind;
	uint32_t readers;
	uint32_t next_memo;
	struct memo memos[VIEW_MEMOS];
};

static inline void
memos_forget(struct derived *derived)
{
	for (int i = 0; i < VIEW_MEMOS; i++)
		derived->memos[i].span.len = 0;
}

struct block {
	struct list node; /* in views.blocks */
	struct derived *derived;
	uint64_t segment; /* the raw one's number since the tape's birth */
	uint32_t number; /* of the block within that */
	struct segment out; /* place and blocks are not used */
};

/* What is there of a raw segment. */
struct segment_blocks {
	uint32_t count;
	struct block *at[VIEW_DERIVED_KINDS][VIEW_SEGMENT_BLOCKS];
};

/*
 * The block of a message that is in memory, now the most recently read; it may
 * be without that message yet.  -ENOMEM.
 */
int block_get(
    struct derived *derived, int64_t offset, struct block **ret_block);

/* The message is encoded in it. */
static inline bool
block_has(const struct block *block, int64_t offset)
{
	assert(offset >= block->out.offset);
	return offset - block->out.offset < block->out.count;
}

/*
 * Encodes its next message; *build_bytes loses what that cost.  1: done; 0:
 * there is none (yet); -ENOMEM.
 */
int block_extend(struct block *block, int64_t *build_bytes);

/* All blocks of a raw segment; only those of one view, VIEW_RAW: of all. */
void blocks_drop(struct views *views, struct segment *raw, enum view_kind kind);

#endif
