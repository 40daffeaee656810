#ifndef DAEMON_TAPE_TAPE_INTERNAL_H
#define DAEMON_TAPE_TAPE_INTERNAL_H

/*
 * tape, inside: what the files of this room share.
 *
 * Shape    kept <= oldest <= newest + 1: what is in memory begins at or before
 *          what history replays.
 */

#include "daemon/tape/view.h"

struct derived;

struct tape {
	struct tape_limits limits;
	uint64_t epoch;
	int64_t oldest;
	int64_t held; /* the first that stays; TAPE_HOLD_NONE */
	/* Where oldest lies, counted from the first segment ever. */
	uint64_t oldest_segment;
	struct view raw;
	struct derived *derived[VIEW_KINDS - 1]; /* NULL: nobody reads it */
};

/* One message as it goes on the wire; -ENOENT when it is not in memory. */
int tape_message(const struct tape *tape, int64_t offset,
    struct message_meta *ret_meta, struct span *ret_frames);

/* tape_read() of a message whose place in the index is known.  -ENOMEM. */
int tape_read_at(const struct tape *tape, const struct segment *segment,
    uint32_t index, struct buffer *scratch, struct message *ret_message);

/*
 * At most max bytes from `within` message `offset` on; framed: whole frames.
 */
struct span segment_span(const struct segment *segment, int64_t offset,
    uint64_t within, size_t max, bool framed);

#endif
