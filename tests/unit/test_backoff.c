/* Delays double up to their limit and are spread; a long life forgives. */

#include "daemon/base/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

static void
delays_double_up_to_the_limit_and_stay_there(void **state)
{
	static const int64_t want_ms[] = { 250, 500, 1000, 2000, 4000, 5000,
		5000, 5000 };
	struct backoff backoff;
	size_t i;

	(void)state;
	backoff_init(&backoff, 250 * MS, 5 * S);
	/* 0 draws the whole step. */
	for (i = 0; i < sizeof(want_ms) / sizeof(want_ms[0]); i++)
		assert_int_equal(backoff_next(&backoff, 0), want_ms[i] * MS);
}

static void
a_delay_is_drawn_from_half_to_full(void **state)
{
	int64_t low = INT64_MAX, high = 0;
	uint64_t random = 1;
	int i;

	(void)state;
	for (i = 0; i < 2000; i++) {
		struct backoff backoff;
		int64_t delay;

		backoff_init(&backoff, 1000 * MS, 1000 * MS);
		random = random * UINT64_C(6364136223846793005) + 1442695041;
		delay = backoff_next(&backoff, random >> 20);
		low = delay < low ? delay : low;
		high = delay > high ? delay : high;
	}
	assert_in_range(low, 500 * MS, 510 * MS);
	assert_in_range(high, 990 * MS, 1000 * MS);
}

static int64_t
step_after(int64_t min_us, int64_t max_us, int64_t ran_us)
{
	struct backoff backoff;
	int i;

	backoff_init(&backoff, min_us, max_us);
	for (i = 0; i < 20; i++)
		(void)backoff_next(&backoff, 0);
	backoff_ran(&backoff, ran_us);
	return backoff_next(&backoff, 0);
}

static void
a_long_life_begins_anew_and_a_short_one_does_not(void **state)
{
	(void)state;
	/* Ten seconds are enough, however long the limit. */
	assert_int_equal(step_after(1 * MS, 60 * S, 10 * S + 1), 1 * MS);
	assert_int_equal(step_after(1 * MS, 60 * S, 10 * S), 60 * S);
	/* A short limit: longer than that is enough. */
	assert_int_equal(step_after(1 * MS, 2 * S, 2 * S + 1), 1 * MS);
	assert_int_equal(step_after(1 * MS, 2 * S, 2 * S), 2 * S);
	assert_int_equal(step_after(1 * MS, 2 * S, 0), 2 * S);
}

static void
extreme_settings_neither_overflow_nor_spin(void **state)
{
	struct backoff backoff;
	int i;

	(void)state;
	backoff_init(&backoff, 0, 0);
	for (i = 0; i < 5; i++)
		assert_int_equal(backoff_next(&backoff, UINT64_MAX), 1);
	backoff_init(&backoff, 5 * S, 1 * S);
	assert_int_equal(backoff_next(&backoff, 0), 5 * S);
	assert_int_equal(backoff_next(&backoff, 0), 5 * S);
	backoff_init(&backoff, INT64_MAX / 2 + 2, INT64_MAX);
	assert_int_equal(backoff_next(&backoff, 0), INT64_MAX / 2 + 2);
	assert_true(backoff_next(&backoff, 0) == INT64_MAX);
	assert_true(backoff_next(&backoff, UINT64_MAX) >= INT64_MAX / 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_limit_and_stay_there),
		cmocka_unit_test(a_delay_is_drawn_from_half_to_full),
		cmocka_unit_test(
		    a_long_life_begins_anew_and_a_short_one_does_not),
		cmocka_unit_test(extreme_settings_neither_overflow_nor_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
