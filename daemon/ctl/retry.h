#ifndef DAEMON_CTL_RETRY_H
#define DAEMON_CTL_RETRY_H

/*
 * retry: when to try again, and whether.
 *
 * Shape     The n-th failure in a row is followed by a delay drawn between 0
 *           and 250 ms * 2^(n-1), at most 15 s ("full jitter": those who lost
 *           the same server do not come back together).
 * Threads   Quiet: time and chance are arguments.
 */

#include <stdbool.h>
#include <stdint.h>

#define RETRY_FIRST_US INT64_C(250000)
#define RETRY_MAX_US INT64_C(15000000)
#define RETRY_STABLE_US INT64_C(5000000) /* open so long: begins anew */
#define RETRY_HINT_MAX_US INT64_C(300000000)

struct retry {
	int64_t allowed; /* failures in a row; -1: see retry_failed() */
	int64_t allowed_at_first;
	int64_t failures; /* in a row */
	bool ever_open;
};

/* allowed < 0: allowed_at_first until one succeeded, without limit then. */
void retry_init(struct retry *retry, int64_t allowed, int64_t allowed_at_first);

/* It was open for that long. */
void retry_opened(struct retry *retry, int64_t open_us);

/* The delay before the next attempt, or -1: enough. */
int64_t retry_failed(struct retry *retry, uint64_t random);

/* "retry_after_ms=N" somewhere in a close reason: that delay, or -1. */
int64_t retry_hint_us(const char *reason, uint64_t len);

#endif
