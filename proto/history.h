#ifndef PROTO_HISTORY_H
#define PROTO_HISTORY_H

/*
 * history: the answer to GET /channels/CHANNEL/messages, JSON and ndjson.
 *
 * Shape    JSON: head, message*, tail make one object.  ndjson: a message a
 *          line, nothing else; the head's facts go in headers.
 * Memory   Appended to out, which then has at most max bytes; failed: out is
 *          as long as before.
 * Threads  Pure functions: any thread.
 * Errors   0, -EMSGSIZE (longer than max), -ENOMEM.
 */

#include "daemon/base/buffer.h"
#include "proto/message.h"
#include "proto/position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_JSON_TYPE "application/json"
#define HISTORY_LINES_TYPE "application/x-ndjson"

struct history_head {
	const char *channel; /* not NUL-terminated */
	size_t channel_len;
	int64_t oldest, newest;
	struct position position; /* just before the first that follows */
	bool recovered;
	int64_t gap_from, gap_to; /* 0, 0: none, or it cannot be told */
	/* Of the channel's consumer that is furthest behind: what it lacks. */
	int64_t lag_messages, lag_bytes;
	int64_t lag_us; /* how old the first of that is */
};

/*
 * {"channel","epoch","oldest","newest","position","recovered","gap"?,
 * "lag":{"messages","bytes","seconds"},"messages":[
 */
int history_put_head(
    struct buffer *out, size_t max, const struct history_head *head);

/* {"offset","time","data" | "text" | "base64"}; not first: after a comma. */
int history_put_message(
    struct buffer *out, size_t max, const struct message *message, bool first);

/* ]} and a line end. */
int history_put_tail(struct buffer *out, size_t max);

/*
 * The message and a line end.  Line ends inside JSON become spaces, which
 * says the same.
 */
int history_put_line(
    struct buffer *out, size_t max, const struct message *message);

#endif
