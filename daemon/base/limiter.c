/*
 * limiter: a while begins with the first line said in it, so a single line
 * after a quiet time is never held back.
 */

#include "daemon/base/limiter.h"

#include <assert.h>

void
limiter_init(struct limiter *limiter, uint32_t burst, int64_t while_us)
{
	assert(burst > 0);
	assert(while_us > 0);
	*limiter = (struct limiter){ .burst = burst, .while_us = while_us };
}

bool
limiter_allow(struct limiter *limiter, int64_t now_us, uint64_t *ret_held)
{
	assert(limiter->used <= limiter->burst);
	if (limiter->used > 0 &&
	    now_us - limiter->since_us >= limiter->while_us)
		limiter->used = 0;
	if (limiter->used == 0)
		limiter->since_us = now_us;
	if (limiter->used == limiter->burst) {
		limiter->held++;
		limiter->held_ever++;
		return false;
	}
	limiter->used++;
	*ret_held = limiter->held;
	limiter->held = 0;
	return true;
}
