/*
 * Lines against a reference that has the whole stream at once, for every way
 * of cutting the stream into pieces that matters; long lines, characters at
 * the cut, no memory.
 */

#include "daemon/base/memory.h"
#include "proto/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What was told, each line followed by a byte that ends it: 0xff. */
struct heard {
	uint8_t data[4096];
	size_t len;
	uint64_t lines;
};

static void
hear(const uint8_t *line, size_t len, void *arg)
{
	struct heard *heard = arg;

	assert_true(heard->len + len + 1 <= sizeof(heard->data));
	memcpy(heard->data + heard->len, line, len);
	heard->len += len;
	heard->data[heard->len++] = 0xff;
	heard->lines++;
}

/* The stream in pieces of `piece` bytes, each in memory of its own size. */
static void
feed_pieces(struct lines *lines, const char *text, size_t len, size_t piece,
    struct heard *heard)
{
	while (len > 0) {
		size_t n = len < piece ? len : piece;
		uint8_t *copy = memory_dup(text, n);

		assert_non_null(copy);
		lines_feed(lines, copy, n, hear, heard);
		memory_free(copy);
		text += n;
		len -= n;
	}
}

/* The stream gives these lines, whatever the size of its pieces. */
static void
expect(const char *text, size_t len, size_t max, const char *want, uint64_t cut)
{
	size_t piece;

	for (piece = 1; piece <= len + 1; piece++) {
		struct heard heard = { .len = 0 };
		struct lines lines;

		lines_init(&lines, max);
		feed_pieces(&lines, text, len, piece, &heard);
		lines_end(&lines, hear, &heard);
		assert_int_equal(heard.len, strlen(want));
		assert_memory_equal(heard.data, want, heard.len);
		assert_int_equal(lines.cut, cut);
		assert_int_equal(lines.lost, 0);
		lines_fini(&lines);
	}
}
#define EXPECT(text, max, want, cut)                                           \
	expect(text, sizeof(text) - 1, max, want, cut)

static void
every_line_is_told_once_in_order_however_it_arrives(void **state)
{
	(void)state;
	EXPECT("one\ntwo\nthree\n", 100, "one\377two\377three\377", 0);
	EXPECT("\n\na\n\n", 100, "\377\377a\377\377", 0);
	EXPECT("", 100, "", 0);
}

static void
the_last_line_needs_no_newline(void **state)
{
	(void)state;
	EXPECT("one\ntwo", 100, "one\377two\377", 0);
	EXPECT("x", 1, "x\377", 0);
}

static void
carriage_returns_and_zero_bytes_are_the_writers(void **state)
{
	struct heard heard = { .len = 0 };
	struct lines lines;

	(void)state;
	EXPECT("a\r\nb\r\n", 100, "a\r\377b\r\377", 0);
	lines_init(&lines, 10);
	lines_feed(&lines, "a\0b\n", 4, hear, &heard);
	assert_int_equal(heard.len, 4);
	assert_memory_equal(heard.data, "a\0b\377", 4);
	lines_fini(&lines);
}

static void
a_long_line_is_cut_off_and_the_next_is_whole(void **state)
{
	(void)state;
	EXPECT("12345\n1234\nabc\n", 4, "1234\3771234\377abc\377", 1);
	EXPECT("123456789", 4, "1234\377", 1);
	EXPECT("123456789\n\nx\n", 4, "1234\377\377x\377", 1);
	EXPECT("1234567\n1234567\n", 4, "1234\3771234\377", 2);
}

static void
the_cut_falls_between_two_characters(void **state)
{
	(void)state;
	/* The euro sign has three bytes, the smile four, the umlaut two. */
	EXPECT("ab\342\202\254cd\n", 5, "ab\342\202\254\377", 1);
	EXPECT("ab\342\202\254cd\n", 4, "ab\377", 1);
	EXPECT("ab\342\202\254cd\n", 3, "ab\377", 1);
	EXPECT("a\360\237\230\200bcd\n", 5, "a\360\237\230\200\377", 1);
	EXPECT("a\360\237\230\200bcd\n", 4, "a\377", 1);
	EXPECT("a\360\237\230\200bcd\n", 2, "a\377", 1);
	EXPECT("\303\274\303\274\n", 3, "\303\274\377", 1);
	/* Nothing would be left: bytes then, rather than no message. */
	EXPECT("\342\202\254\n", 2, "\342\202\377", 1);
	EXPECT("\342\202\254\n", 1, "\342\377", 1);
}

static void
bytes_that_are_no_text_are_cut_where_it_falls(void **state)
{
	(void)state;
	EXPECT("a\376bcdef\n", 4, "a\376bc\377", 1);
	EXPECT("a\376\342\202\254\n", 4, "a\376\342\202\377", 1);
	EXPECT("\200\200\200\200\200\200\n", 5, "\200\200\200\200\200\377", 1);
	EXPECT("ab\200\200cd\n", 4, "ab\200\200\377", 1);
}

static void
dropped_bytes_are_counted(void **state)
{
	struct heard heard = { .len = 0 };
	struct lines lines;

	(void)state;
	lines_init(&lines, 4);
	lines_feed(&lines, "12345", 5, hear, &heard);
	assert_int_equal(heard.lines, 1); /* told before its end */
	lines_feed(&lines, "67", 2, hear, &heard);
	lines_feed(&lines, "8\nab", 4, hear, &heard);
	assert_int_equal(lines.dropped_bytes, 4);
	assert_int_equal(heard.lines, 1);
	lines_feed(&lines, "\n12\342\202\254\n", 7, hear, &heard);
	assert_int_equal(lines.dropped_bytes, 7);
	assert_int_equal(lines.cut, 2);
	lines_fini(&lines);
}

static void
a_stream_without_newlines_takes_no_more_memory_than_a_line(void **state)
{
	static char block[32 * 1024];
	struct heard heard = { .len = 0 };
	struct lines lines;
	int i;

	(void)state;
	memset(block, 'x', sizeof(block));
	lines_init(&lines, 1000);
	for (i = 0; i < 1000; i++) {
		lines_feed(&lines, block, sizeof(block), hear, &heard);
		assert_true(lines.part.size <= 1000);
	}
	assert_int_equal(heard.lines, 1);
	assert_int_equal(lines.dropped_bytes, 1000 * sizeof(block) - 1000);
	lines_fini(&lines);
}

static void
count_only(const uint8_t *line, size_t len, void *arg)
{
	(void)line;
	*(size_t *)arg += len;
}

static void
memory_of_a_very_long_line_is_given_back(void **state)
{
	static char block[2 * LINES_KEPT_BYTES_MAX];
	struct lines lines;
	size_t bytes = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	lines_init(&lines, sizeof(block));
	lines_feed(&lines, block, sizeof(block) - 1, count_only, &bytes);
	assert_true(lines.part.size > LINES_KEPT_BYTES_MAX);
	lines_feed(&lines, "y\n", 2, count_only, &bytes);
	assert_int_equal(bytes, sizeof(block));
	assert_int_equal(lines.part.size, 0);
	lines_fini(&lines);
}

static void
without_memory_a_line_is_lost_whole_and_counted(void **state)
{
	struct heard heard = { .len = 0 };
	struct lines lines;

	(void)state;
	lines_init(&lines, 200);
	memory_fail_nth(1);
	lines_feed(&lines, "lost be", 7, hear, &heard);
	assert_true(memory_fail_seen());
	memory_fail_nth(0);
	lines_feed(&lines, "ginning\nwhole\n", 14, hear, &heard);
	assert_int_equal(lines.lost, 1);
	assert_int_equal(lines.dropped_bytes, 14);
	assert_int_equal(heard.len, 6);
	assert_memory_equal(heard.data, "whole\377", 6);

	/* The beginning was kept already, it goes with the rest. */
	lines_feed(&lines, "0123456789", 10, hear, &heard);
	memory_fail_nth(1);
	{
		char more[150];

		memset(more, 'm', sizeof(more));
		lines_feed(&lines, more, sizeof(more), hear, &heard);
	}
	assert_true(memory_fail_seen());
	memory_fail_nth(0);
	lines_feed(&lines, "\nnext", 5, hear, &heard);
	lines_end(&lines, hear, &heard);
	assert_int_equal(lines.lost, 2);
	assert_int_equal(heard.lines, 2);
	lines_fini(&lines);
}

static void
a_stream_that_ended_can_be_followed_by_another(void **state)
{
	struct heard heard = { .len = 0 };
	struct lines lines;

	(void)state;
	lines_init(&lines, 4);
	lines_feed(&lines, "toolong", 7, hear, &heard);
	lines_end(&lines, hear, &heard);
	lines_feed(&lines, "new\nx", 5, hear, &heard);
	lines_end(&lines, hear, &heard);
	lines_end(&lines, hear, &heard);
	assert_int_equal(heard.len, 11);
	assert_memory_equal(heard.data, "tool\377new\377x\377", 11);
	lines_fini(&lines);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    every_line_is_told_once_in_order_however_it_arrives),
		cmocka_unit_test(the_last_line_needs_no_newline),
		cmocka_unit_test(
		    carriage_returns_and_zero_bytes_are_the_writers),
		cmocka_unit_test(a_long_line_is_cut_off_and_the_next_is_whole),
		cmocka_unit_test(the_cut_falls_between_two_characters),
		cmocka_unit_test(bytes_that_are_no_text_are_cut_where_it_falls),
		cmocka_unit_test(dropped_bytes_are_counted),
		cmocka_unit_test(
		    a_stream_without_newlines_takes_no_more_memory_than_a_line),
		cmocka_unit_test(memory_of_a_very_long_line_is_given_back),
		cmocka_unit_test(
		    without_memory_a_line_is_lost_whole_and_counted),
		cmocka_unit_test(
		    a_stream_that_ended_can_be_followed_by_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
