/*
 * Lines of stdin as batches: kinds, limits, ends; compared with a reference
 * that knows all lines.  The command line is no part of the library, so its
 * file is included.
 */

#include "daemon/ctl/batch.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MAX 16

struct expected {
	bool binary;
	const char *bytes;
	uint64_t lines;
};

/* text, all of it there, gives these batches and nothing more. */
static void
expect(const char *text, bool ended, bool all_binary,
    const struct expected *expected, size_t count)
{
	const uint8_t *data = (const uint8_t *)text;
	size_t len = strlen(text), i;
	struct batch batch;

	for (i = 0; i < count; i++) {
		assert_true(
		    batch_take(data, len, 0, ended, all_binary, MAX, &batch));
		assert_int_equal(batch.binary, expected[i].binary);
		assert_int_equal(batch.lines, expected[i].lines);
		assert_int_equal(batch.len, strlen(expected[i].bytes));
		assert_memory_equal(data, expected[i].bytes, batch.len);
		data += batch.len;
		len -= batch.len;
	}
	assert_false(batch_take(data, len, 0, ended, all_binary, MAX, &batch));
}

static void
whole_lines_of_one_kind_go_together(void **state)
{
	const struct expected three[] = { { false, "a\n\nc\n", 3 } };
	const struct expected kinds[] = { { false, "a\n", 1 },
		{ true, "\xff\n\xc3\n", 2 }, { false, "\xc3\xa4\n", 1 } };
	const struct expected all[] = { { true, "a\n\xff\nb\n", 3 } };

	(void)state;
	expect("a\n\nc\n", false, false, three, 1);
	expect("a\n\xff\n\xc3\n\xc3\xa4\n", false, false, kinds, 3);
	expect("a\n\xff\nb\n", false, true, all, 1);
}

static void
what_has_no_end_waits_for_it(void **state)
{
	const struct expected begun[] = { { false, "a\n", 1 } };
	const struct expected ended[] = { { false, "a\nbc", 2 } };

	(void)state;
	expect("", false, false, NULL, 0);
	expect("", true, false, NULL, 0);
	expect("bc", false, false, NULL, 0);
	expect("a\nbc", false, false, begun, 1);
	expect("a\nbc", true, false, ended, 1);
}

static void
a_batch_has_an_end_and_a_long_line_is_alone(void **state)
{
	const struct expected parts[] = { { false, "0123456\n0123456\n", 2 },
		{ false, "0123456\n", 1 } };
	const struct expected tight[] = { { false, "0123456\n012345\n", 2 },
		{ false, "01\n", 1 } };
	const struct expected alone[] = { { false, "a\n", 1 },
		{ false, "01234567890123456789\n", 1 }, { false, "b\n", 1 } };

	(void)state;
	expect("0123456\n0123456\n0123456\n", false, false, parts, 2);
	expect("0123456\n012345\n01\n", false, false, tight, 2);
	expect("a\n01234567890123456789\nb\n", false, false, alone, 3);
}

static void
what_was_searched_is_not_searched_again(void **state)
{
	/* A lie about the first byte shows that it was believed. */
	const uint8_t data[] = "a\nbc\n";
	struct batch batch;

	(void)state;
	assert_true(batch_take(data, 5, 2, false, false, MAX, &batch));
	assert_int_equal(batch.len, 5);
	assert_int_equal(batch.lines, 1);
}

static void
random_streams_give_every_line_once(void **state)
{
	unsigned seed = 1, round;

	(void)state;
	for (round = 0; round < 2000; round++) {
		char text[64], lines = 0;
		size_t len, i, at = 0;
		uint64_t taken = 0;
		struct batch batch;

		len = (size_t)(rand_r(&seed) % 60);
		for (i = 0; i < len; i++)
			text[i] = "\n\na\xff"[rand_r(&seed) % 4];
		for (i = 0; i < len; i++)
			lines += text[i] == '\n';
		lines += len > 0 && text[len - 1] != '\n';
		while (batch_take((const uint8_t *)text + at, len - at, 0, true,
		    false, MAX, &batch)) {
			assert_true(batch.len > 0);
			assert_true(batch.len <= MAX || batch.lines == 1);
			at += batch.len;
			taken += batch.lines;
		}
		assert_int_equal(at, len);
		assert_int_equal(taken, lines);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_lines_of_one_kind_go_together),
		cmocka_unit_test(what_has_no_end_waits_for_it),
		cmocka_unit_test(a_batch_has_an_end_and_a_long_line_is_alone),
		cmocka_unit_test(what_was_searched_is_not_searched_again),
		cmocka_unit_test(random_streams_give_every_line_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
