/* Lines: sections, keys, comments, and what is none of these. */

#include "conf/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A bounded place for what the items of a text look like, one after another. */
static char seen[1024];

static const char *
items_of_bytes(const char *text, size_t len)
{
	struct parse parse = { .left = { text, len } };
	struct item item;
	size_t at = 0;

	seen[0] = '\0';
	while (parse_next(&parse, &item)) {
		bool section = item.kind == ITEM_SECTION;

		if (item.kind == ITEM_FAULT)
			at += (size_t)snprintf(seen + at, sizeof(seen) - at,
			    "%d!%.*s", item.line, (int)strcspn(item.fault, ","),
			    item.fault);
		else
			at += (size_t)snprintf(seen + at, sizeof(seen) - at,
			    "%d%c%.*s|%.*s%c", item.line, section ? '[' : '<',
			    (int)item.word.len, item.word.at,
			    (int)item.rest.len, item.rest.at,
			    section ? ']' : '>');
		assert_true(at < sizeof(seen));
	}
	assert_int_equal(parse.left.len, 0);
	return seen;
}

static const char *
items(const char *text)
{
	return items_of_bytes(text, strlen(text));
}

static void
sections_and_keys_are_trimmed(void **state)
{
	(void)state;
	assert_string_equal(items("[tls]"), "1[tls|]");
	assert_string_equal(items("  [ tls ]\t"), "1[tls|]");
	assert_string_equal(items("[listener a]"), "1[listener|a]");
	assert_string_equal(items("[ listener \t a b ]"), "1[listener|a b]");
	assert_string_equal(items("[channel a.*]"), "1[channel|a.*]");
	assert_string_equal(items("a=b"), "1<a|b>");
	assert_string_equal(items("\t a \t= b c \t"), "1<a|b c>");
	assert_string_equal(items("a="), "1<a|>");
	assert_string_equal(items("a=b=c"), "1<a|b=c>");
	assert_string_equal(items("a = [b]"), "1<a|[b]>");
	assert_string_equal(items("a b = c"), "1<a b|c>");
	assert_string_equal(items("[]"), "1[|]");
}

static void
comments_and_empty_lines_are_counted_and_nothing_else(void **state)
{
	(void)state;
	assert_string_equal(items(""), "");
	assert_string_equal(items("\n\n  \n\t"), "");
	assert_string_equal(items("# a=b\n;c=d\n  # [x]\n\na=b"), "5<a|b>");
	/* Comments take whole lines only. */
	assert_string_equal(items("a = b # c\n"), "1<a|b # c>");
	assert_string_equal(items("a = b ; c\n"), "1<a|b ; c>");
	/* No line goes on in the next one. */
	assert_string_equal(items("a = b \\\nc = d"), "1<a|b \\>2<c|d>");
}

static void
lines_end_as_on_every_system(void **state)
{
	(void)state;
	assert_string_equal(items("a=b\nc=d\n"), "1<a|b>2<c|d>");
	assert_string_equal(
	    items("[x]\r\na=b\r\nc=d\r\n"), "1[x|]2<a|b>3<c|d>");
	assert_string_equal(items("a=b \r"), "1<a|b>");
	assert_string_equal(items("\r\n\r\na=b"), "3<a|b>");
	/* One in the middle is no line end. */
	assert_string_equal(items("a=b\rc"), "1<a|b\rc>");
}

static void
a_bad_line_costs_itself_only(void **state)
{
	(void)state;
	assert_string_equal(
	    items("what\na=b"), "1!neither section nor key2<a|b>");
	assert_string_equal(items("=b\na=b"), "1!nothing before the =2<a|b>");
	assert_string_equal(items("[x\n[y] z\n["),
	    "1!section without its bracket"
	    "2!section without its bracket"
	    "3!section without its bracket");
	assert_string_equal(
	    items_of_bytes("a=\0\nb=c", 7), "1!a NUL byte2<b|c>");
	assert_string_equal(items("a=\xff\n\xc3\nb=\xc3\xbc\n#\x80"),
	    "1!not UTF-82!not UTF-83<b|\xc3\xbc>4!not UTF-8");
}

static void
every_fault_says_what_was_expected(void **state)
{
	static const char text[] = "x\n=\n[\n\xff\n\0";
	struct parse parse = { .left = { text, sizeof(text) - 1 } };
	struct item item;
	int faults = 0;

	(void)state;
	for (; parse_next(&parse, &item); faults++) {
		assert_int_equal(item.kind, ITEM_FAULT);
		assert_non_null(strstr(item.fault, ", expected "));
	}
	assert_int_equal(faults, 5);
}

static void
a_text_is_not_read_beyond_its_length(void **state)
{
	(void)state;
	assert_string_equal(items_of_bytes("a=bcd", 3), "1<a|b>");
	assert_string_equal(
	    items_of_bytes("[ab]", 3), "1!section without its bracket");
	assert_string_equal(items_of_bytes("a=b", 0), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_and_keys_are_trimmed),
		cmocka_unit_test(
		    comments_and_empty_lines_are_counted_and_nothing_else),
		cmocka_unit_test(lines_end_as_on_every_system),
		cmocka_unit_test(a_bad_line_costs_itself_only),
		cmocka_unit_test(every_fault_says_what_was_expected),
		cmocka_unit_test(a_text_is_not_read_beyond_its_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
