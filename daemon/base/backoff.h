#ifndef DAEMON_BASE_BACKOFF_H
#define DAEMON_BASE_BACKOFF_H

/*
 * backoff: how long to wait before something that failed is tried again.
 *
 * Order    min, 2 min, 4 min … up to max; each delay is drawn between half of
 *          that and all of it, so that what failed together does not come
 *          back together.
 * Units    Microseconds.
 * Threads  Quiet: time and chance are arguments.
 */

#include <stdint.h>

/* Whoever lived this long, or max if that is less, begins anew with min. */
#define BACKOFF_LONG_ENOUGH_US INT64_C(10000000)

struct backoff {
	int64_t min_us, max_us;
	int64_t step_us; /* what the next delay is drawn from */
};

/* min is at least 1 us; a max below min counts as min. */
void backoff_init(struct backoff *backoff, int64_t min_us, int64_t max_us);

/* The next delay; random is any 64 bits.  Doubles what comes after it. */
int64_t backoff_next(struct backoff *backoff, uint64_t random);

/* What was tried has ended after ran_us: was that a success? */
void backoff_ran(struct backoff *backoff, int64_t ran_us);

#endif
