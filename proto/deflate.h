#ifndef PROTO_DEFLATE_H
#define PROTO_DEFLATE_H

/*
 * deflate: payloads of permessage-deflate (RFC 7692), each by itself.
 *
 * Promise  Every message is compressed with a fresh context, so one result
 *          serves everybody who negotiated the extension; the same payload
 *          gives the same bytes (as long as zlib is the same).
 * Life     deflate_new -> deflate_put* -> deflate_free; inflate_* likewise.
 *          One object serves any number of messages, one at a time.
 * Memory   About 270 KiB a deflate, 45 KiB an inflate, and what is in out.
 * Threads  Quiet: the caller serialises.
 */

#include "daemon/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deflate;
struct inflate;

/* -ENOMEM. */
int deflate_new(struct deflate **ret_deflater);
void deflate_free(struct deflate *deflater); /* NULL: no-op */

/*
 * Appends the payload of a message whose first frame has RSV1 set.  1: it is
 * there and shorter than len; 0: it would not be shorter, nothing was put,
 * send the message as it is (an empty one always).
 * -EMSGSIZE: out would be longer than max; -ENOMEM: out is as long as before.
 */
int deflate_put(struct deflate *deflater, struct buffer *out, size_t max,
    const void *payload, size_t len);

/* -ENOMEM. */
int inflate_new(struct inflate **ret_inflater);
void inflate_free(struct inflate *inflater); /* NULL: no-op */

/*
 * The reverse, for a peer without context takeover.  0, or
 * -EMSGSIZE: out would be longer than max, a bomb costs no more than that;
 * -EBADMSG: not deflate, or it ends too early; -ENOMEM.  out is then as long as
 * before.
 */
int inflate_put(struct inflate *inflater, struct buffer *out, size_t max,
    const void *payload, size_t len);

#define DEFLATE_ANSWER_MAX 112

/* The answer to an offer; text is for Sec-WebSocket-Extensions. */
struct deflate_answer {
	bool window_bits; /* server_max_window_bits=15 was asked for */
	char text[DEFLATE_ANSWER_MAX];
};

/*
 * Reads Sec-WebSocket-Extensions of a request (several headers: joined by
 * commas) and takes the first permessage-deflate offer we can keep to.
 * Neither side takes its context over: the answer always says so.
 * 1: *ret_answer; 0: none acceptable, go on without;
 * -EINVAL: not as RFC 6455 section 9.1 has it, refuse the request (400).
 */
int deflate_offer_accept(
    const char *text, size_t len, struct deflate_answer *ret_answer);

#endif
