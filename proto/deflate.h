#ifndef PROTO_DEFLATE_H
#define PROTO_DEFLATE_H

/*
 * deflate: payloads of permessage-deflate (RFC 7692).
 *
 * Promise  Every message is compressed with a fresh context, so one result
 *          serves everybody who negotiated the extension; the same payload
 *          gives the same bytes (as long as zlib is the same).  What others
 *          compressed may build on what came before.
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

/* -ENOMEM.  A window of 15 bits; _window: of 8 to 15, as was agreed on. */
int inflate_new(struct inflate **ret_inflater);
int inflate_new_window(int bits, struct inflate **ret_inflater);
void inflate_free(struct inflate *inflater); /* NULL: no-op */

/*
 * The reverse, for a peer without context takeover.  0, or
 * -EMSGSIZE: out would be longer than max, a bomb costs no more than that;
 * -EBADMSG: not deflate, or it ends too early; -ENOMEM.  out is then as long as
 * before.
 */
int inflate_put(struct inflate *inflater, struct buffer *out, size_t max,
    const void *payload, size_t len);

/*
 * A message as it arrives: feed* -> end, then the next one's.  The peer may
 * build on the messages before if they all ended with keep_context.
 * Errors as inflate_put(), but the context is of no more use, and out has what
 * came before the fault.
 */
int inflate_feed(struct inflate *inflater, struct buffer *out, size_t max,
    const void *payload, size_t len);
int inflate_end(struct inflate *inflater, struct buffer *out, size_t max,
    bool keep_context);

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

/*
 * What we offer as a client.  A server may limit the window of what we send,
 * which we do not compress: any limit is kept to.
 */
#define DEFLATE_OFFER "permessage-deflate; client_max_window_bits"

struct deflate_agreement {
	bool keep_context; /* of the server's messages */
	int window_bits; /* of theirs: 8 to 15 */
};

/*
 * Reads Sec-WebSocket-Extensions of an answer; offered: DEFLATE_OFFER was asked
 * for, else nothing was.  1: *ret_agreement; 0: no extension is in use.
 * -EPROTO: more or other than RFC 7692 section 7.1 and RFC 6455 section 9.1
 * allow, the connection has to fail; *ret_why says what it has, a static text.
 */
int deflate_answer_read(const char *text, size_t len, bool offered,
    struct deflate_agreement *ret_agreement, const char **ret_why);

#endif
