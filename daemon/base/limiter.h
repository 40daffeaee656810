#ifndef DAEMON_BASE_LIMITER_H
#define DAEMON_BASE_LIMITER_H

/*
 * limiter: at most so many lines to the log in a while; the rest is counted.
 *
 * Units    Microseconds; time is an argument and never goes back.
 * Threads  Quiet: the caller serialises.
 */

#include <stdbool.h>
#include <stdint.h>

struct limiter {
	int64_t while_us;
	uint32_t burst; /* lines in each while */
	uint32_t used; /* of those */
	int64_t since_us;
	uint64_t held, held_ever; /* since the last allowed; ever */
};

void limiter_init(struct limiter *limiter, uint32_t burst, int64_t while_us);

/*
 * May this one be said?  If so *ret_held is how many could not, since the
 * last that could.
 */
bool limiter_allow(struct limiter *limiter, int64_t now_us, uint64_t *ret_held);

#endif
