#ifndef DAEMON_TAPE_TAPE_INTERNAL_H
#define DAEMON_TAPE_TAPE_INTERNAL_H

/*
 * tape, inside: what the files of this room share.
 *
 * Shape    kept <= oldest <= newest + 1: what is in memory begins at or before
 *          what history replays.
 */

#include "daemon/tape/view.h"

struct tape {
	struct tape_limits limits;
	uint64_t epoch;
	int64_t oldest;
	/* Where oldest lies, counted from the first segment ever. */
	uint64_t oldest_segment;
	struct view raw;
};

/* One message as it goes on the wire; -ENOENT when it is not in memory. */
int tape_message(const struct tape *tape, int64_t offset,
    struct message_meta *ret_meta, struct span *ret_frames);

#endif
