#ifndef PROTO_SSE_H
#define PROTO_SSE_H

/*
 * sse: Server-Sent Events, as EventSource reads them (WHATWG HTML 9.2).
 *
 * Shape    Each call puts one whole block, ended by an empty line.  The id of
 *          an event is a position: a browser that comes back sends the last
 *          one as Last-Event-ID.  Line ends in a payload (CR LF, CR, LF) are
 *          what separates `data:` lines; the browser joins them with LF.
 * Promise  The same message gives the same bytes, for ever.
 * Memory   Appended to out, which then has at most max bytes; failed: out is
 *          as long as before.
 * Threads  Pure functions: any thread.
 * Errors   0, -EMSGSIZE (longer than max), -ENOMEM.
 */

#include "daemon/base/buffer.h"
#include "proto/message.h"
#include "proto/position.h"

#include <stddef.h>
#include <stdint.h>

#define SSE_CONTENT_TYPE "text/event-stream"

/* Text and JSON as they are; binary: `event: base64`. */
int sse_put_message(
    struct buffer *out, size_t max, const struct message *message);

/*
 * Where the stream begins, without an event: who is cut off before the first
 * message comes back to this place.
 */
int sse_put_position(
    struct buffer *out, size_t max, const struct position *position);

/*
 * `event: gap`, data {"channel","from","to"}.  from and to 0, 0: what is
 * missing cannot be told (another epoch), both are null.  position is the one
 * just before the first message that follows.
 */
int sse_put_gap(struct buffer *out, size_t max, const char *channel,
    size_t channel_len, const struct position *position, int64_t from,
    int64_t to);

/* `event: notice`, data {"upstream","state"}. */
int sse_put_notice(
    struct buffer *out, size_t max, const char *upstream, const char *state);

/* `retry:`, how long the browser waits before it comes back. */
int sse_put_retry(struct buffer *out, size_t max, int64_t retry_ms);

/* A comment, so that proxies and we see that the connection lives. */
int sse_put_keepalive(struct buffer *out, size_t max);

#endif
