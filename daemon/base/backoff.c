/* backoff: a delay that doubles, drawn between its half and its whole. */

#include "daemon/base/backoff.h"

#include <assert.h>

void
backoff_init(struct backoff *backoff, int64_t min_us, int64_t max_us)
{
	assert(backoff);
	*backoff = (struct backoff){
		.min_us = min_us > 0 ? min_us : 1,
	};
	backoff->max_us = max_us > backoff->min_us ? max_us : backoff->min_us;
	backoff->step_us = backoff->min_us;
}

int64_t
backoff_next(struct backoff *backoff, uint64_t random)
{
	int64_t step = backoff->step_us, half = step / 2;
	int64_t delay = step - (int64_t)(random % ((uint64_t)half + 1));

	assert(step >= backoff->min_us && step <= backoff->max_us);
	backoff->step_us =
	    step > backoff->max_us / 2 ? backoff->max_us : step * 2;
	assert(delay >= half && delay <= step);
	return delay;
}

void
backoff_ran(struct backoff *backoff, int64_t ran_us)
{
	int64_t enough = backoff->max_us < BACKOFF_LONG_ENOUGH_US
			     ? backoff->max_us
			     : BACKOFF_LONG_ENOUGH_US;

	assert(ran_us >= 0);
	if (ran_us > enough)
		backoff->step_us = backoff->min_us;
}
