/* retry: full jitter below a doubling ceiling, and a limit on attempts. */

#include "daemon/ctl/retry.h"

#include <assert.h>
#include <string.h>

#define HINT "retry_after_ms="
#define HINT_DIGITS_MAX 9

void
retry_init(struct retry *retry, int64_t allowed, int64_t allowed_at_first)
{
	assert(allowed_at_first >= 0);
	*retry = (struct retry){ .allowed = allowed,
		.allowed_at_first = allowed_at_first };
}

void
retry_opened(struct retry *retry, int64_t open_us)
{
	retry->ever_open = true;
	if (open_us >= RETRY_STABLE_US)
		retry->failures = 0;
}

static int64_t
ceiling(int64_t failures)
{
	int64_t us = RETRY_FIRST_US;

	while (failures-- > 1 && us < RETRY_MAX_US)
		us *= 2;
	return us < RETRY_MAX_US ? us : RETRY_MAX_US;
}

int64_t
retry_failed(struct retry *retry, uint64_t random)
{
	const int64_t allowed = retry->allowed >= 0 ? retry->allowed
				: retry->ever_open  ? INT64_MAX
						    : retry->allowed_at_first;
	int64_t delay;

	if (retry->failures >= allowed)
		return -1;
	retry->failures++;
	delay = (int64_t)(random % ((uint64_t)ceiling(retry->failures) + 1));
	assert(delay >= 0 && delay <= RETRY_MAX_US);
	return delay;
}

int64_t
retry_hint_us(const char *reason, uint64_t len)
{
	const char *at = memmem(reason, len, HINT, strlen(HINT));
	const char *end = reason + len;
	int64_t ms = 0;
	unsigned digits = 0;

	if (at == NULL)
		return -1;
	for (at += strlen(HINT); at < end && *at >= '0' && *at <= '9'; at++) {
		if (++digits > HINT_DIGITS_MAX)
			return -1;
		ms = ms * 10 + (*at - '0');
	}
	if (digits == 0)
		return -1;
	return ms * 1000 < RETRY_HINT_MAX_US ? ms * 1000 : RETRY_HINT_MAX_US;
}
