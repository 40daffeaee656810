#ifndef DAEMON_CTL_PLACE_H
#define DAEMON_CTL_PLACE_H

/*
 * place: how far `earshot sub` is in each channel.
 *
 * Life      places_init -> places_add* -> place_move*, places_settle* ->
 *           places_fini.
 * Promise   `written` never runs ahead of stdout: whoever comes back with it
 *           may get a message twice, but misses none.
 * Memory    As many places as places_init() was told; they do not move.
 * Threads   Quiet: the caller serialises.
 */

#include "daemon/base/list.h"
#include "proto/channel.h"
#include "proto/position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place {
	char channel[CHANNEL_NAME_MAX + 1];
	size_t channel_len;
	bool known; /* position is there */
	struct position position; /* put into the output, and all before it */
	bool has_written;
	struct position written; /* stdout has taken it, and all before it */
	struct position marked; /* as of the mark */
	struct list moved_node, marked_node;
};

struct places {
	struct place *list;
	size_t count, max;
	uint32_t *slots; /* by hash, an index + 1; 0: free */
	size_t slots_mask;
	struct list moved; /* since the mark */
	struct list waiting; /* for the output to reach the mark */
	uint64_t mark; /* in bytes of the output */
	bool unsaved; /* a `written` changed; its reader clears it */
};

/* -ENOMEM. */
int places_init(struct places *places, size_t max);
void places_fini(struct places *places); /* zeroes: no-op */

/* The channel's place, a new one if it has none; the name is valid. */
struct place *places_add(
    struct places *places, const char *channel, size_t len);
/* NULL: it has none. */
struct place *places_find(
    const struct places *places, const char *channel, size_t len);

/* Known from a former run, when stdout took it. */
void place_recall(struct place *place, const struct position *position);
/*
 * What has been put into the output reaches to there.  The first time it is
 * where the channel begins, and counts as written.
 */
void place_move(struct places *places, struct place *place,
    const struct position *position);
/* By one message; it is known. */
void place_advance(struct places *places, struct place *place);

/* So many bytes were put into the output, so many has stdout taken. */
void places_settle(struct places *places, uint64_t put, uint64_t taken);

#endif
