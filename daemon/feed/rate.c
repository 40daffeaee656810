/*
 * rate: one moment instead of a bucket of tokens (GCRA).  What is due later
 * than the burst from now has to wait; quiet times are not saved up.
 */

#include "daemon/feed/rate.h"

#include <assert.h>

#define NS_PER_S INT64_C(1000000000)
#define BURST_NS (RATE_BURST_US * INT64_C(1000))

void
rate_init(struct rate *rate, int64_t per_second)
{
	assert(per_second >= 0);
	assert(per_second <= NS_PER_S);
	*rate = (struct rate){ 0 };
	if (per_second > 0)
		rate->step_ns = NS_PER_S / per_second;
}

int64_t
rate_wait_us(const struct rate *rate, int64_t now_us)
{
	int64_t wait_ns = rate->next_ns - now_us * 1000 - BURST_NS;

	if (rate->step_ns == 0 || wait_ns <= 0)
		return 0;
	return (wait_ns + 999) / 1000;
}

bool
rate_take(struct rate *rate, int64_t now_us)
{
	int64_t now_ns = now_us * 1000;

	if (rate->step_ns == 0)
		return true;
	if (rate_wait_us(rate, now_us) > 0)
		return false;
	if (rate->next_ns < now_ns)
		rate->next_ns = now_ns;
	rate->next_ns += rate->step_ns;
	return true;
}
