#ifndef DAEMON_CTL_BATCH_H
#define DAEMON_CTL_BATCH_H

/*
 * batch: a run of lines that one request can carry.
 *
 * Shape     Whole lines of one kind, text (UTF-8) or binary (others, or all),
 *           as they stand in the stream.  Only what stands before the newline
 *           is a message; what stands after the last newline is one when the
 *           stream has ended.
 * Promise   A batch is at most max bytes, but for one of a single line.
 * Threads   Quiet: pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch {
	bool binary;
	size_t len; /* bytes of the stream it takes */
	uint64_t lines;
};

/*
 * The batch at the start of data; false when there is no whole line there.
 * ended: nothing comes after data.  all_binary: do not look at the lines.
 * searched: how many bytes at the start are known to hold no newline.
 */
bool batch_take(const uint8_t *data, size_t len, size_t searched, bool ended,
    bool all_binary, size_t max, struct batch *ret_batch);

#endif
