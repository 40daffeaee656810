/* Delays between attempts, when it is enough, and what a server asks for. */

#include "daemon/ctl/retry.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void
the_ceiling_doubles_up_to_its_end(void **state)
{
	static const int64_t ceilings_ms[] = { 250, 500, 1000, 2000, 4000, 8000,
		15000, 15000 };
	struct retry low, high;
	size_t i;

	(void)state;
	retry_init(&low, 100, 5);
	retry_init(&high, 100, 5);
	for (i = 0; i < sizeof(ceilings_ms) / sizeof(ceilings_ms[0]); i++) {
		const uint64_t top = (uint64_t)ceilings_ms[i] * 1000;

		assert_int_equal(retry_failed(&low, 0), 0);
		assert_int_equal(retry_failed(&high, top), top);
		high.failures--;
		assert_int_equal(retry_failed(&high, top + 1), 0);
	}
}

static void
no_random_number_leaves_the_range(void **state)
{
	unsigned seed = 1;
	int i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		struct retry retry = { .allowed = INT64_MAX,
			.failures = rand_r(&seed) % 70 };
		const uint64_t random =
		    (uint64_t)rand_r(&seed) << 33 | (uint64_t)rand_r(&seed);
		const int64_t delay = retry_failed(&retry, random);

		assert_true(delay >= 0);
		assert_true(delay <= RETRY_MAX_US);
	}
}

static void
enough_is_enough(void **state)
{
	struct retry retry;

	(void)state;
	retry_init(&retry, 0, 5);
	assert_int_equal(retry_failed(&retry, 0), -1);
	retry_init(&retry, 2, 5);
	assert_int_equal(retry_failed(&retry, 0), 0);
	retry_opened(&retry, 0);
	assert_int_equal(retry_failed(&retry, 0), 0);
	assert_int_equal(retry_failed(&retry, 0), -1);
	retry_opened(&retry, RETRY_STABLE_US);
	assert_int_equal(retry_failed(&retry, 0), 0);
}

static void
without_a_number_only_the_beginning_is_limited(void **state)
{
	struct retry retry;
	int i;

	(void)state;
	retry_init(&retry, -1, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(retry_failed(&retry, 0), 0);
	assert_int_equal(retry_failed(&retry, 0), -1);
	retry_opened(&retry, 0);
	for (i = 0; i < 1000; i++)
		assert_int_equal(retry_failed(&retry, 0), 0);
}

static int64_t
hint(const char *text)
{
	return retry_hint_us(text, strlen(text));
}

static void
a_server_may_say_when(void **state)
{
	(void)state;
	assert_int_equal(hint("shutdown retry_after_ms=840"), 840000);
	assert_int_equal(hint("retry_after_ms=0"), 0);
	assert_int_equal(hint("retry_after_ms=999999999"), RETRY_HINT_MAX_US);
	assert_int_equal(hint("retry_after_ms=9999999999"), -1);
	assert_int_equal(hint("retry_after_ms="), -1);
	assert_int_equal(hint("retry_after_ms=-1"), -1);
	assert_int_equal(hint("shutdown"), -1);
	assert_int_equal(hint(""), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ceiling_doubles_up_to_its_end),
		cmocka_unit_test(no_random_number_leaves_the_range),
		cmocka_unit_test(enough_is_enough),
		cmocka_unit_test(
		    without_a_number_only_the_beginning_is_limited),
		cmocka_unit_test(a_server_may_say_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
