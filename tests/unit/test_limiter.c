/* A burst in a while, the rest counted and told with the next one said. */

#include "daemon/base/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
a_burst_is_said_and_the_rest_is_counted(void **state)
{
	struct limiter limiter;
	uint64_t held = 99;
	int i;

	(void)state;
	limiter_init(&limiter, 3, 1000);
	for (i = 0; i < 3; i++) {
		assert_true(limiter_allow(&limiter, 5000 + i, &held));
		assert_int_equal(held, 0);
	}
	for (i = 0; i < 4; i++)
		assert_false(limiter_allow(&limiter, 5999, &held));
	assert_true(limiter_allow(&limiter, 6000, &held));
	assert_int_equal(held, 4);
	assert_true(limiter_allow(&limiter, 6999, &held));
	assert_int_equal(held, 0);
	assert_int_equal(limiter.held_ever, 4);
}

static void
a_while_begins_with_its_first_line(void **state)
{
	struct limiter limiter;
	uint64_t held;

	(void)state;
	limiter_init(&limiter, 1, 1000);
	assert_true(limiter_allow(&limiter, 900, &held));
	assert_false(limiter_allow(&limiter, 1100, &held));
	assert_true(limiter_allow(&limiter, 1900, &held));
	assert_false(limiter_allow(&limiter, 2899, &held));
	assert_true(limiter_allow(&limiter, 100000, &held));
	assert_false(limiter_allow(&limiter, 100999, &held));
}

static void
the_first_line_is_said_whatever_the_time(void **state)
{
	static const int64_t times[] = { 0, 1, INT64_MAX - 1 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct limiter limiter;
		uint64_t held;

		limiter_init(&limiter, 1, 1000);
		assert_true(limiter_allow(&limiter, times[i], &held));
		assert_false(limiter_allow(&limiter, times[i], &held));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_is_said_and_the_rest_is_counted),
		cmocka_unit_test(a_while_begins_with_its_first_line),
		cmocka_unit_test(the_first_line_is_said_whatever_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
