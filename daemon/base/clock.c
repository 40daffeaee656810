/*
 * clock: clock_gettime() cannot fail for these two clocks on Linux, so a
 * failure is a bug and asserted.
 */

#include <assert.h>
#include <time.h>

#include "daemon/base/clock.h"

static int64_t
clock_read_us(clockid_t id)
{
	struct timespec ts;
	int r = clock_gettime(id, &ts);

	assert(r == 0);
	(void)r;
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_now_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

int64_t
clock_wall_us(void)
{
	return clock_read_us(CLOCK_REALTIME);
}
