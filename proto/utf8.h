#ifndef PROTO_UTF8_H
#define PROTO_UTF8_H

/*
 * utf8: is this UTF-8 (RFC 3629)?  Streaming, across fragments.
 *
 * Promise  Fails at the first byte that no valid text can have at that place,
 *          as RFC 6455 section 8.1 wants it ("fail fast").
 * Threads  Pure functions: any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct utf8_state {
	uint32_t state; /* 0: between characters */
};

#define UTF8_STATE_INIT ((struct utf8_state){ 0 })

/* false: not UTF-8, whatever follows; the state is then of no more use. */
bool utf8_feed(struct utf8_state *state, const void *data, size_t len);

/* true when what was fed ends at the end of a character. */
bool utf8_complete(const struct utf8_state *state);

/* The whole of it at once. */
bool utf8_valid(const void *data, size_t len);

#endif
