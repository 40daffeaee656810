/* At most so many a second, whatever the clock does. */

#include "daemon/feed/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
without_a_rate_all_are_taken(void **state)
{
	struct rate rate;
	int i;

	(void)state;
	rate_init(&rate, 0);
	for (i = 0; i < 100000; i++)
		assert_true(rate_take(&rate, 5));
	assert_int_equal(rate_wait_us(&rate, 5), 0);
}

/* How many are taken in so many microseconds, looking each step_us. */
static int
taken(struct rate *rate, int64_t from_us, int64_t us, int64_t step_us)
{
	int64_t at;
	int n = 0;

	for (at = 0; at < us; at += step_us)
		while (rate_take(rate, from_us + at))
			n++;
	return n;
}

static void
a_second_has_its_number_and_a_tenth(void **state)
{
	static const int64_t rates[] = { 1, 7, 100, 12345, 1000000 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		struct rate rate;
		int n;

		rate_init(&rate, rates[i]);
		n = taken(&rate, 1000000000, 1000000, 100);
		assert_true(n >= rates[i]);
		assert_true(n <= rates[i] + rates[i] / 10 + 1);
		n = taken(&rate, 1001000000, 10000000, 1000);
		assert_true(n >= 10 * rates[i] - rates[i] / 10 - 1);
		assert_true(n <= 10 * rates[i] + 1);
	}
}

static void
quiet_times_are_not_saved_up(void **state)
{
	struct rate rate;

	(void)state;
	rate_init(&rate, 10);
	assert_true(rate_take(&rate, 0));
	assert_int_equal(taken(&rate, 3600000000, 1, 1), 2);
}

static void
what_has_to_wait_knows_how_long(void **state)
{
	struct rate rate;

	(void)state;
	rate_init(&rate, 1);
	assert_true(rate_take(&rate, 1000));
	assert_false(rate_take(&rate, 1000));
	assert_int_equal(rate_wait_us(&rate, 1000), 900000);
	assert_false(rate_take(&rate, 900999));
	assert_true(rate_take(&rate, 901000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_rate_all_are_taken),
		cmocka_unit_test(a_second_has_its_number_and_a_tenth),
		cmocka_unit_test(quiet_times_are_not_saved_up),
		cmocka_unit_test(what_has_to_wait_knows_how_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
