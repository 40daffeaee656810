/* Positions have one spelling; `from=` has four forms. */

#include "proto/position.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
put_and_get_are_each_other_s_inverse(void **state)
{
	static const struct {
		struct position position;
		const char *text;
	} cases[] = {
		{ { 0, 0 }, "0000000000000000:0" },
		{ { 1, 9 }, "0000000000000001:9" },
		{ { 0x0123456789abcdef, 41 }, "0123456789abcdef:41" },
		{ { UINT64_MAX, INT64_MAX },
		    "ffffffffffffffff:9223372036854775807" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char out[POSITION_TEXT_MAX];
		size_t len = position_put(out, &cases[i].position);
		struct position got = { 5, 5 };

		assert_string_equal(out, cases[i].text);
		assert_int_equal(len, strlen(cases[i].text));
		assert_int_equal(position_get(out, len, &got), 0);
		assert_true(got.epoch == cases[i].position.epoch);
		assert_true(got.offset == cases[i].position.offset);
	}
}

static void
every_other_spelling_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		":",
		"0123456789abcdef",
		"0123456789abcdef:",
		"0123456789ABCDEF:1",
		"0123456789abcdeg:1",
		"123456789abcdef:1",
		"00123456789abcdef:1",
		"0123456789abcdef;1",
		"0123456789abcdef:01",
		"0123456789abcdef:00",
		"0123456789abcdef:+1",
		"0123456789abcdef:-1",
		"0123456789abcdef: 1",
		"0123456789abcdef:1 ",
		"0123456789abcdef:1x",
		"0123456789abcdef:0x1",
		"0123456789abcdef:9223372036854775808",
		"0123456789abcdef:99999999999999999999999999",
		" 0123456789abcdef:1",
	};
	struct position got = { 5, 6 };
	struct from from = { .kind = FROM_LAST, .count = 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i]);

		assert_int_equal(position_get(cases[i], len, &got), -EINVAL);
		if (len > 0)
			assert_int_equal(
			    from_get(cases[i], len, &from), -EINVAL);
	}
	/* A NUL is a byte like any other. */
	assert_int_equal(
	    position_get("0123456789abcdef:1\0", 19, &got), -EINVAL);
	assert_true(got.epoch == 5 && got.offset == 6);
	assert_true(from.kind == FROM_LAST && from.count == 7);
}

static void
a_position_is_not_read_beyond_its_length(void **state)
{
	struct position got;

	(void)state;
	for (size_t len = 0; len < 18; len++)
		assert_int_equal(
		    position_get("0123456789abcdef:12", len, &got), -EINVAL);
	assert_int_equal(position_get("0123456789abcdef:12", 18, &got), 0);
	assert_int_equal(got.offset, 1);
}

static void
from_is_absent_oldest_the_last_n_or_a_position(void **state)
{
	struct from from;

	(void)state;
	assert_int_equal(from_get("", 0, &from), 0);
	assert_int_equal(from.kind, FROM_LIVE);
	assert_int_equal(from_get(NULL, 0, &from), 0);
	assert_int_equal(from.kind, FROM_LIVE);
	assert_int_equal(from_get("oldest", 6, &from), 0);
	assert_int_equal(from.kind, FROM_OLDEST);
	assert_int_equal(from_get("-10", 3, &from), 0);
	assert_int_equal(from.kind, FROM_LAST);
	assert_int_equal(from.count, 10);
	assert_int_equal(from_get("-0", 2, &from), 0);
	assert_int_equal(from.count, 0);
	assert_int_equal(from_get("-9223372036854775807", 20, &from), 0);
	assert_true(from.count == INT64_MAX);
	assert_int_equal(from_get("00000000000000ff:3", 18, &from), 0);
	assert_int_equal(from.kind, FROM_POSITION);
	assert_int_equal(from.position.epoch, 255);
	assert_int_equal(from.position.offset, 3);
}

static void
other_words_for_from_are_refused(void **state)
{
	static const char *const cases[] = { "-", "--1", "-1x", "-01", "- 1",
		"-9223372036854775808", "Oldest", "oldest ", "oldes", "newest",
		"latest", "10", "+10", "0" };
	struct from from;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
		    from_get(cases[i], strlen(cases[i]), &from), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_get_are_each_other_s_inverse),
		cmocka_unit_test(every_other_spelling_is_refused),
		cmocka_unit_test(a_position_is_not_read_beyond_its_length),
		cmocka_unit_test(
		    from_is_absent_oldest_the_last_n_or_a_position),
		cmocka_unit_test(other_words_for_from_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
