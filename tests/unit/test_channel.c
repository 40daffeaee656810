/* Names, patterns, and the match against a slow and obvious one. */

#include "proto/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool
name(const char *text)
{
	return channel_name_valid(text, strlen(text));
}

static bool
pattern(const char *text)
{
	return channel_pattern_valid(text, strlen(text));
}

static bool
match(const char *a, const char *b)
{
	return channel_pattern_match(a, strlen(a), b, strlen(b));
}

static void
names_are_letters_digits_and_four_signs(void **state)
{
	(void)state;
	assert_true(name("a"));
	assert_true(name("7"));
	assert_true(name("vmstat"));
	assert_true(name("A-b_c.d:e9"));
	assert_true(name("a.."));
	assert_false(name(""));
	assert_false(name("-a"));
	assert_false(name("_a"));
	assert_false(name(".a"));
	assert_false(name(":a"));
	assert_false(name("a b"));
	assert_false(name("a/b"));
	assert_false(name("a*"));
	assert_false(name("gr\xc3\xbc\xc3\x9f"));
	assert_false(channel_name_valid("a\0b", 3));
	for (int c = 0; c < 256; c++) {
		char text[2] = { 'a', (char)c };
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '_' || c == '-' ||
			    c == '.' || c == ':';

		assert_int_equal(channel_name_valid(text, 2), good);
		assert_int_equal(
		    channel_pattern_valid(text, 2), good || c == '*');
	}
}

static void
a_name_has_at_most_128_characters(void **state)
{
	char text[200];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_true(channel_name_valid(text, 128));
	assert_false(channel_name_valid(text, 129));
	assert_true(channel_pattern_valid(text, 128));
	assert_false(channel_pattern_valid(text, 129));
	assert_true(channel_pattern_match("**", 2, text, 128));
	assert_false(channel_pattern_match("**", 2, text, 129));
}

static void
patterns_are_names_with_stars(void **state)
{
	(void)state;
	assert_true(pattern("*"));
	assert_true(pattern("**"));
	assert_true(pattern("a.*.b"));
	assert_true(pattern("**.log"));
	assert_true(pattern("plain"));
	assert_false(pattern(""));
	assert_false(pattern("***"));
	assert_false(pattern("a***b"));
	assert_false(pattern("-*"));
	assert_false(pattern("a ?"));
	assert_false(pattern("a/*"));
}

static void
one_star_stops_at_a_dot_and_two_do_not(void **state)
{
	(void)state;
	assert_true(match("a", "a"));
	assert_false(match("a", "b"));
	assert_false(match("a", "ab"));
	assert_false(match("ab", "a"));
	assert_true(match("*", "abc"));
	assert_true(match("*", ""));
	assert_false(match("*", "a.b"));
	assert_true(match("**", "a.b"));
	assert_true(match("**", ""));
	assert_true(match("a*", "a"));
	assert_true(match("a*", "abc"));
	assert_false(match("a*", "a.c"));
	assert_true(match("a.*", "a.b"));
	assert_true(match("a.*", "a."));
	assert_false(match("a.*", "a.b.c"));
	assert_true(match("a.**", "a.b.c"));
	assert_true(match("*.log", "x.log"));
	assert_false(match("*.log", "x.y.log"));
	assert_true(match("**.log", "x.y.log"));
	assert_true(match("*.*", "a.b"));
	assert_false(match("*.*", "a"));
	assert_true(match("a*b*c", "aXbYbZc"));
	assert_false(match("a*b*c", "aXbY.Zc"));
}

static void
stars_of_both_kinds_find_their_place_again(void **state)
{
	(void)state;
	/* The first try of the single star is wrong, the double one moves. */
	assert_true(match("**a*b", "a.ab"));
	assert_true(match("**a*b", "aa.xab"));
	assert_false(match("**a*b", "a.b"));
	assert_true(match("*a**b", "xa.y.ab"));
	assert_true(match("**.*.x", "a.b.c.x"));
	assert_false(match("*.**.x", "a.x"));
	assert_true(match("*.**.x", "a..x"));
}

/* What the words in channel.h say, as directly as can be. */
static bool
match_slowly(const char *a, const char *b)
{
	bool both = a[0] == '*' && a[1] == '*';

	if (*a == '\0')
		return *b == '\0';
	if (*a != '*')
		return *a == *b && match_slowly(a + 1, b + 1);
	if (match_slowly(a + (both ? 2 : 1), b))
		return true;
	return *b != '\0' && (both || *b != '.') && match_slowly(a, b + 1);
}

/* The number in base 3, as letters. */
static void
spell(unsigned number, const char *letters, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++, number /= 3)
		out[i] = letters[number % 3];
	out[len] = '\0';
}

static void
all_short_patterns_match_as_the_slow_way_does(void **state)
{
	char a[6], b[6];
	unsigned count = 0;

	(void)state;
	for (size_t a_len = 0; a_len <= 5; a_len++)
		for (unsigned i = 0, n = 1; i < n; i++) {
			n = (unsigned[]){ 1, 3, 9, 27, 81, 243 }[a_len];
			spell(i, "*a.", a_len, a);
			for (unsigned j = 0; j < 243 + 81; j++) {
				spell(j, "a.b", j < 243 ? 5 : 4, b);
				assert_int_equal(
				    match(a, b), match_slowly(a, b));
				count++;
			}
		}
	assert_true(count > 100000);
}

static void
many_stars_cost_no_more_than_their_product(void **state)
{
	char stars[CHANNEL_NAME_MAX], text[CHANNEL_NAME_MAX];

	(void)state;
	/* A backtracking match would not come back from this. */
	for (size_t i = 0; i < sizeof(stars); i++)
		stars[i] = i % 2 ? 'a' : '*';
	stars[sizeof(stars) - 1] = 'b';
	memset(text, 'a', sizeof(text));
	for (int i = 0; i < 1000; i++)
		assert_false(channel_pattern_match(
		    stars, sizeof(stars), text, sizeof(text)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_letters_digits_and_four_signs),
		cmocka_unit_test(a_name_has_at_most_128_characters),
		cmocka_unit_test(patterns_are_names_with_stars),
		cmocka_unit_test(one_star_stops_at_a_dot_and_two_do_not),
		cmocka_unit_test(stars_of_both_kinds_find_their_place_again),
		cmocka_unit_test(all_short_patterns_match_as_the_slow_way_does),
		cmocka_unit_test(many_stars_cost_no_more_than_their_product),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
