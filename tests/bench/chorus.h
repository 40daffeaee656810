#ifndef TESTS_BENCH_CHORUS_H
#define TESTS_BENCH_CHORUS_H

/*
 * chorus: many consumers that must get the very same bytes, in any view.
 *
 * The first to get a byte says it, everybody else is compared with it; what is
 * said is decoded once, and each message in it compared with what was
 * published.  So all are checked byte for byte, and a delivery costs the
 * loader a memcmp(), which leaves the server as what is measured.
 *
 * Life     init -> (take)* -> fini.
 * Memory   The last CHORUS_BYTES are kept: nobody may be further behind.
 * Errors   0, or run_fault()'s -EBADMSG.
 * Threads  One.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buffer.h"
#include "proto/deflate.h"
#include "tests/bench/source.h"

#define CHORUS_BYTES (UINT64_C(8) << 20)

enum chorus_view {
	CHORUS_RAW,
	CHORUS_RAW_DEFLATED,
	CHORUS_V1,
	CHORUS_V1_DEFLATED,
	CHORUS_SSE,
	CHORUS_VIEWS,
};

struct chorus {
	enum chorus_view view;
	struct source *source;
	uint8_t *said; /* a ring */
	uint64_t end; /* bytes said */
	uint64_t decoded; /* of them */
	uint64_t greeting_end; /* the answer to subscribe, or the first id */
	uint64_t messages;
	uint64_t *ends; /* by message: where it ended */
	struct buffer rest; /* what is not a whole message yet */
	struct buffer plain; /* one message inflated */
	struct inflate *inflate;
};

int chorus_init(
    struct chorus *chorus, enum chorus_view view, struct source *source);
void chorus_fini(struct chorus *chorus);

/* Bytes of the one that is at *pos, which is moved behind them. */
int chorus_take(
    struct chorus *chorus, uint64_t *pos, const uint8_t *data, size_t len);

/* Where message `sequence` ended; it was said and is not too long ago. */
uint64_t chorus_message_end(const struct chorus *chorus, uint64_t sequence);

/* Whether who is at pos may be counted on: subscribed, and told so. */
bool chorus_is_greeted(const struct chorus *chorus, uint64_t pos);

#endif
