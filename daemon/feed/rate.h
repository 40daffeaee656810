#ifndef DAEMON_FEED_RATE_H
#define DAEMON_FEED_RATE_H

/*
 * rate: at most so many a second, spread evenly.
 *
 * Order    Each one taken moves the next one's time by an equal step; a tenth
 *          of a second's worth may come at once.
 * Units    Microseconds outside, nanoseconds inside; time never goes back.
 * Threads  Quiet: the caller serialises.
 */

#include <stdbool.h>
#include <stdint.h>

#define RATE_BURST_US 100000

struct rate {
	int64_t step_ns; /* 0: any number */
	int64_t next_ns; /* when the next one is due */
};

void rate_init(struct rate *rate, int64_t per_second); /* 0: any number */

/* May one be taken now?  If so it is. */
bool rate_take(struct rate *rate, int64_t now_us);

/* How long until one may; 0: now. */
int64_t rate_wait_us(const struct rate *rate, int64_t now_us);

#endif
