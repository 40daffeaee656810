#ifndef DAEMON_TAPE_VIEWS_H
#define DAEMON_TAPE_VIEWS_H

/*
 * views: the encodings of a tape, and what the derived ones share.
 *
 * Shape    VIEW_RAW is the tape itself.  The others are derived from it when
 *          somebody reads them, a block (32 KiB of the raw view) at a time.
 * Promise  The same message gives the same bytes, so a block may be dropped
 *          and made again at any time, also under a cursor inside of one of
 *          its messages.
 * Life     views_new -> tape_open_view -> cursors -> tape_close_view
 *          -> views_free.  Part of the tape's door: tape.h includes it.
 * Memory   Blocks of all tapes: bytes_max, or one block where that is
 *          longer; the least recently read goes first.  Beside them one
 *          compressor while a deflated view is open, scratch for one
 *          message, and 32 KiB for spans of two blocks.
 * Threads  Quiet, as the tape.
 */

#include <stddef.h>
#include <stdint.h>

enum view_kind {
	VIEW_RAW, /* WebSocket frames of the payloads */
	VIEW_RAW_DEFLATED, /* the same, compressed where that is smaller */
	VIEW_V1, /* frames of earshot.v1 envelopes */
	VIEW_V1_DEFLATED,
	VIEW_SSE, /* Server-Sent Events; may be cut anywhere */
	VIEW_KINDS
};

struct tape;
struct views;

/* Never reset. */
struct views_counts {
	uint64_t built, bytes_built; /* messages encoded */
	uint64_t compressed; /* of those, tried to compress */
	uint64_t evicted; /* blocks, for room */
};

/* -ENOMEM. */
int views_new(struct views **ret_views);
void views_free(struct views *views); /* NULL: no-op; no view is open */

/* A new iteration: the limit in force; no more scratch than is usual. */
void views_begin(struct views *views, uint64_t bytes_max);
uint64_t views_bytes(const struct views *views);
const struct views_counts *views_counts(const struct views *views);

/*
 * One more cursor reads that view of the tape.  channel is the name that
 * stands in it, borrowed while the view is open; every call names the same
 * views and channel.  -ENOMEM.
 */
int tape_open_view(struct tape *tape, struct views *views, enum view_kind view,
    const char *channel, size_t len);

/* One less; the last one's view is dropped. */
void tape_close_view(struct tape *tape, enum view_kind view);

#endif
