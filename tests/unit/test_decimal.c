/* Numbers are digits alone. */

#include "proto/decimal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
digits_are_a_number(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} cases[] = {
		{ "0", 0 },
		{ "7", 7 },
		{ "0010", 10 },
		{ "9223372036854775807", INT64_MAX },
		{ "00000000000000000000000000001", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t value = -1;

		assert_int_equal(
		    decimal_get(cases[i].text, strlen(cases[i].text), &value),
		    0);
		assert_true(value == cases[i].value);
	}
}

static void
everything_else_is_none(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		int error;
	} cases[] = {
		{ "", 0, -EINVAL },
		{ "10\0", 3, -EINVAL },
		{ "10\0"
		  "0",
		    4, -EINVAL },
		{ " 10", 3, -EINVAL },
		{ "10 ", 3, -EINVAL },
		{ "+10", 3, -EINVAL },
		{ "-10", 3, -EINVAL },
		{ "0x1", 3, -EINVAL },
		{ "1e3", 3, -EINVAL },
		{ "9223372036854775808", 19, -ERANGE },
		{ "99999999999999999999999", 23, -ERANGE },
		{ "99999999999999999999999x", 24, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t value = 5;

		assert_int_equal(
		    decimal_get(cases[i].text, cases[i].len, &value),
		    cases[i].error);
		assert_int_equal(value, 5);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_are_a_number),
		cmocka_unit_test(everything_else_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
