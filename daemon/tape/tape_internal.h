#ifndef DAEMON_TAPE_TAPE_INTERNAL_H
#define DAEMON_TAPE_TAPE_INTERNAL_H

/*
 * tape, inside: what tape.c and cursor.c share.
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

#endif
