#ifndef DAEMON_TAPE_TAPE_H
#define DAEMON_TAPE_TAPE_H

/*
 * tape: a channel's messages, kept as the bytes that go on the wire.
 *
 * Shape    Segments of contiguous frames and an index entry per message.  A
 *          message (one frame, or several fragments) lies within one segment.
 * Order    Offsets are dense, from 1, in the order of tape_append().
 * Life     tape_new -> tape_append*, cursors (cursor.h) -> tape_free.
 * Memory   History is trimmed message by message, memory a segment at a time;
 *          the newest limits->buffer_bytes are kept in any case.  A cursor
 *          holds no reference between writes: trimming may overtake it, and
 *          cursor_span() says so.
 * Units    *_us microseconds; message times are wall clock.
 * Threads  Quiet: no thread, no lock, no clock; the caller serialises.
 * Errors   int results: 0 or -errno, outputs untouched on failure.
 */

#include "daemon/base/buffer.h"
#include "daemon/tape/cursor.h"
#include "daemon/tape/views.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One payload; the limits of a daemon are far below it. */
#define TAPE_PAYLOAD_BYTES_MAX (1u << 29)

struct tape;

struct message_meta {
	enum message_kind kind;
	int64_t time_us; /* when it was published, wall clock */
};

struct tape_limits {
	int64_t history_messages, history_bytes, history_age_us;
	int64_t buffer_bytes;
};

/* An empty tape.  *ret_tape is the caller's, ended by tape_free().  -ENOMEM. */
int tape_new(
    const struct tape_limits *limits, uint64_t epoch, struct tape **ret_tape);
void tape_free(struct tape *tape); /* NULL: no-op */

/*
 * From now on; what they no longer keep goes with the next tape_append() or
 * tape_trim(), what is gone does not come back.
 */
void tape_set_limits(struct tape *tape, const struct tape_limits *limits);

/*
 * Frames the payload at the end of the tape and trims what its limits no longer
 * keep.  Returns the message's offset, for ever; -ENOMEM, -EMSGSIZE (over
 * TAPE_PAYLOAD_BYTES_MAX): no message was lost or added.
 */
int64_t tape_append(struct tape *tape, const struct message_meta *meta,
    const void *payload, size_t len);

/* By how much tape_append() of len bytes may make the memory grow. */
size_t tape_growth_bytes(const struct tape *tape, size_t len);

/*
 * Messages from that offset on stay in memory, whatever the limits say, until
 * it is called again; TAPE_HOLD_NONE: as the limits say.
 */
#define TAPE_HOLD_NONE INT64_MAX
void tape_hold(struct tape *tape, int64_t offset);

/* Trims by age as well; now_us is wall clock. */
void tape_trim(struct tape *tape, int64_t now_us);

uint64_t tape_epoch(const struct tape *tape);
int64_t tape_newest(const struct tape *tape); /* 0: no message yet */
int64_t tape_oldest(const struct tape *tape); /* what `oldest` replays first;
						 newest + 1 if nothing */
int64_t tape_kept(const struct tape *tape); /* <= oldest: first in memory */
size_t tape_memory_bytes(const struct tape *tape); /* segments, index */

/*
 * One message, but for the channel's name.  Its payload is lent until the next
 * tape_append() or _trim(), in scratch if it has several fragments.  -ENOENT:
 * it is not in memory; -ENOMEM.
 */
int tape_read(const struct tape *tape, int64_t offset, struct buffer *scratch,
    struct message *ret_message);

#endif
