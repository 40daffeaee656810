/*
 * The scanner against tables in the manner of JSONTestSuite (what must be
 * taken, what must be refused and where), and the writer of strings.
 */

#include "proto/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
static const char *const good[] = {
	"null", "true", "false", "0", "-0", "7", "\"\"", "[]", "{}",
	" null ", "\t\r\n null\n", "[ ]", "{ }", " [ ] ", "[[]]", "[{}]",
	"{\"a\":[]}", "[[],[]]", "[1,2,3]", "[ 1 , 2 ]", "[null,true,false]",
	"{\"\":0}", "{\"a\":1}", "{\"a\" : 1 , \"b\" : 2}",
	"{\"a\":1,\"a\":2}", "{\"a\":{\"b\":{\"c\":[1,{\"d\":2}]}}}",
	"[\"a\",{\"b\":\"c\"},[\"d\"]]",
	/* numbers: every part that may be there or not */
	"-1", "10", "123456789012345678901234567890", "0.0", "-0.0", "1.5",
	"0.5", "10.50", "1e1", "1E1", "1e+1", "1e-1", "0e0", "0E+00", "1.5e10",
	"-1.5E-10", "1e999", "-1e999", "1e-999", "0.1e1", "[-0]", "1 ",
	/* strings: every escape, lone surrogates, plain beyond ASCII */
	"\"a\"", "\" \"", "\"\\\"\"", "\"\\\\\"", "\"\\/\"",
	"\"\\b\\f\\n\\r\\t\"",
	"\"\\u0000\"", "\"\\u00e9\\u00E9\"", "\"\\ud83d\\ude00\"",
	"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\uDfFf x\"",
	"\"\x7f\"", "\"/\"", "\"\xc3\xbc\"", "\"\xe2\x80\xa8\"",
	"\"\xf0\x9f\x98\x80\"", "\"\xf4\x8f\xbf\xbf\"", "\"\xef\xbf\xbf\"",
	"{\"\xc3\xbc\":\"\xe2\x82\xac\"}", "\"12345678\"", "\"1234567\\n\"",
	"\"12345678\\\"12345678\"", "\"'\"", "\"//\"", "\"\\\\u0000\"",
};

static const struct {
	const char *text;
	size_t at; /* the first byte that cannot be; its length: too short */
} bad[] = {
	{ "", 0 }, { " ", 1 }, { "\n\t ", 3 },
	{ "nul", 3 }, { "nulL", 3 }, { "nulll", 4 }, { "True", 0 },
	{ "tru", 3 }, { "truE", 3 }, { "fals", 4 }, { "undefined", 0 },
	{ "NaN", 0 }, { "Infinity", 0 }, { "-Infinity", 1 }, { "a", 0 },
	{ "\xef\xbb\xbf{}", 0 }, { "'a'", 0 }, { "/**/1", 0 }, { "1//", 1 },
	{ "#1", 0 }, { "\v1", 0 }, { "\f1", 0 }, { "\xc2\xa0" "1", 0 },
	/* numbers */
	{ "-", 1 }, { "+1", 0 }, { "01", 1 }, { "-01", 2 }, { "00", 1 },
	{ "1.", 2 }, { ".5", 0 }, { "-.5", 1 }, { "1.e1", 2 }, { "1e", 2 },
	{ "1e+", 3 }, { "1e-", 3 }, { "1eE1", 2 }, { "1e1.5", 3 },
	{ "0x10", 1 }, { "1_000", 1 }, { "1 2", 2 }, { "--1", 1 },
	{ "1.2.3", 3 }, { "0e", 2 }, { "-a", 1 }, { "1a", 1 }, { "1,", 1 },
	{ "0.", 2 }, { "1e1e1", 3 }, { "1-", 1 },
	/* arrays */
	{ "[", 1 }, { "]", 0 }, { "[1", 2 }, { "[1,", 3 }, { "[1,]", 3 },
	{ "[,1]", 1 }, { "[,]", 1 }, { "[1,,2]", 3 }, { "[1 2]", 3 },
	{ "[1}", 2 }, { "[}", 1 }, { "[]]", 2 }, { "[][]", 2 }, { "[1];", 3 },
	{ "[1:2]", 2 }, { "[[]", 3 }, { "[\"a\":1]", 4 }, { "[a]", 1 },
	{ "[1]x", 3 }, { "[] []", 3 }, { "[1,[2,]]", 6 },
	/* objects */
	{ "{", 1 }, { "}", 0 }, { "{\"a\"", 4 }, { "{\"a\":", 5 },
	{ "{\"a\":1", 6 }, { "{\"a\":1,", 7 }, { "{\"a\":1,}", 7 },
	{ "{,}", 1 }, { "{a:1}", 1 }, { "{1:1}", 1 }, { "{'a':1}", 1 },
	{ "{\"a\" 1}", 5 }, { "{\"a\",1}", 4 }, { "{\"a\":}", 5 },
	{ "{\"a\":1 \"b\":2}", 7 }, { "{\"a\":1]", 6 }, { "{]", 1 },
	{ "{}}", 2 }, { "{\"a\"}", 4 }, { "{:1}", 1 }, { "{\"a\"::1}", 5 },
	{ "{\"a\":1,,\"b\":2}", 7 }, { "{null:1}", 1 }, { "{[]:1}", 1 },
	{ "{\"a\":1,1}", 7 }, { "{\"a:1}", 6 }, { "{\"a\\", 4 },
	/* strings */
	{ "\"", 1 }, { "\"a", 2 }, { "\"\\\"", 3 }, { "\"\\", 2 },
	{ "\"\\a\"", 2 }, { "\"\\x41\"", 2 }, { "\"\\0\"", 2 },
	{ "\"\\'\"", 2 }, { "\"\\ \"", 2 }, { "\"\\u\"", 3 },
	{ "\"\\u1\"", 4 }, { "\"\\u12\"", 5 }, { "\"\\u123\"", 6 },
	{ "\"\\u123", 6 }, { "\"\\u123g\"", 6 }, { "\"\\U1234\"", 2 },
	{ "\"\\u-123\"", 3 }, { "\"\n\"", 1 }, { "\"\t\"", 1 },
	{ "\"\x1f\"", 1 }, { "\"12345678\x01\"", 9 },
	{ "\"1234567\r1234567\"", 8 }, { "\"a\"\"b\"", 3 }, { "\"a\"x", 3 },
	{ "\"\\\x80\"", 2 }, { "\"\\\xc3\xbc\"", 2 },
	/* not UTF-8 */
	{ "\xff", 0 }, { "\xc3", 0 }, { "\"\x80\"", 1 }, { "\"\xc3\"", 2 },
	{ "\"\xc3", 2 },
	{ "\"\xff\"", 1 }, { "\"\xed\xa0\x80\"", 2 }, { "\"\xc0\x80\"", 1 },
	{ "\"\xf4\x90\x80\x80\"", 2 }, { "\"12345678\xe2\x82\"", 11 },
	{ "[1,\xff]", 3 }, { "{\"\xfe\":1}", 2 }, { "\xc3\xbc", 0 },
	{ "\"a\" \xff", 4 }, { "[1]\xff", 3 }, { "1\xff", 1 }, { "tr\xff", 2 },
	/* the earlier of two faults */
	{ "[1,,\"\xff\"]", 3 }, { "\"\xff\" ]", 1 },
};
/* clang-format on */

static void
what_the_grammar_has_is_taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good); i++) {
		size_t at = 99;

		if (json_check(good[i], strlen(good[i]), &at) != 0)
			fail_msg("%s refused at %zu", good[i], at);
		assert_int_equal(at, 99);
	}
}

static void
what_it_has_not_is_refused_at_the_first_bad_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(bad); i++) {
		size_t len = strlen(bad[i].text), at = 99;

		if (json_check(bad[i].text, len, &at) != -EBADMSG ||
		    at != bad[i].at)
			fail_msg("%s: at %zu", bad[i].text, at);
		assert_int_equal(json_check(bad[i].text, len, NULL), -EBADMSG);
	}
}

static void
a_text_cut_short_is_refused_at_its_end(void **state)
{
	static const char text[] = " {\"k\\u00e9\":[1.5e+3,\"\xe2\x82\xac\","
				   "true,null,{\"x\":-0.1}],\"\":false}";
	size_t len = sizeof(text) - 1;

	(void)state;
	assert_int_equal(json_check(text, len, NULL), 0);
	for (size_t part = 0; part < len; part++) {
		/* On the heap, so that a byte too many is seen. */
		char *copy = malloc(part + 1);
		size_t at = 99;

		assert_non_null(copy);
		memcpy(copy, text, part);
		copy = realloc(copy, part > 0 ? part : 1);
		assert_non_null(copy);
		assert_int_equal(json_check(copy, part, &at), -EBADMSG);
		assert_int_equal(at, part);
		free(copy);
	}
}

static void
a_nul_byte_is_not_the_end(void **state)
{
	size_t at;

	(void)state;
	assert_int_equal(json_check("1\0", 2, &at), -EBADMSG);
	assert_int_equal(at, 1);
	assert_int_equal(json_check("\"\0\"", 3, &at), -EBADMSG);
	assert_int_equal(at, 1);
	assert_int_equal(json_check("\"\\\0\"", 4, &at), -EBADMSG);
	assert_int_equal(at, 2);
	assert_int_equal(json_check(NULL, 0, &at), -EBADMSG);
	assert_int_equal(at, 0);
}

/* depth levels, of which each third is an object. */
static size_t
put_nested(char *out, unsigned depth)
{
	size_t len = 0;

	for (unsigned i = 0; i < depth; i++) {
		const char *open = i % 3 == 2 ? "{\"a\":" : "[";

		memcpy(out + len, open, strlen(open));
		len += strlen(open);
	}
	out[len++] = '1';
	for (unsigned i = depth; i-- > 0;)
		out[len++] = i % 3 == 2 ? '}' : ']';
	return len;
}

static void
nesting_ends_at_128(void **state)
{
	char text[2048];
	size_t len;

	(void)state;
	for (unsigned depth = 0; depth <= JSON_DEPTH_MAX; depth++) {
		len = put_nested(text, depth);
		assert_int_equal(json_check(text, len, NULL), 0);
		if (depth == 0)
			continue;
		/* Each bracket is remembered: the last one wrong is seen. */
		text[len - 1] = text[len - 1] == ']' ? '}' : ']';
		assert_int_equal(json_check(text, len, NULL), -EBADMSG);
	}
	len = put_nested(text, JSON_DEPTH_MAX + 1);
	assert_int_equal(json_check(text, len, NULL), -E2BIG);
	memset(text, '[', sizeof(text));
	assert_int_equal(json_check(text, sizeof(text), NULL), -E2BIG);
	assert_int_equal(json_check(text, JSON_DEPTH_MAX, NULL), -EBADMSG);
}

static void
levels_that_were_left_do_not_count(void **state)
{
	char text[5 * 1000 + 2] = "[";
	size_t len = 1;

	(void)state;
	for (int i = 0; i < 1000; i++, len += 5)
		memcpy(text + len, "[{}],", 5);
	text[len - 1] = ']'; /* for the last comma */
	assert_int_equal(json_check(text, len, NULL), 0);
}

static void
every_special_byte_in_a_string_is_seen_at_every_place(void **state)
{
	static const char special[] = { '"', '\\', 0x1f, 0x00, 0x0a };
	char text[48];

	(void)state;
	for (size_t len = 1; len <= 40; len++)
		for (size_t at = 0; at < len; at++)
			for (size_t i = 0; i < sizeof(special); i++) {
				size_t found;

				/* Neighbours just beside the special ones. */
				memset(text, "!#[]^~"[at % 6], sizeof(text));
				text[0] = '"';
				text[len + 1] = '"';
				assert_int_equal(
				    json_check(text, len + 2, NULL), 0);
				text[at + 1] = special[i];
				if (special[i] == '\\' && at + 1 < len)
					text[at + 2] = '!';
				if (json_check(text, len + 2, &found) !=
				    -EBADMSG)
					fail_msg("len %zu at %zu", len, at);
				/* Of a quote or backslash the next is wrong. */
				if (special[i] == '"')
					assert_int_equal(found, at + 2);
				else if (special[i] != '\\')
					assert_int_equal(found, at + 1);
			}
}

static void
strings_are_put_with_the_escapes_they_need(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *want;
	} cases[] = {
		{ "", 0, "\"\"" },
		{ "plain", 5, "\"plain\"" },
		{ "a\"b\\c/", 6, "\"a\\\"b\\\\c/\"" },
		{ "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"" },
		{ "\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"" },
		{ "gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\"" },
		{ "12345678\n12345678", 17, "\"12345678\\n12345678\"" },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t want = strlen(cases[i].want);
		char out[64];

		assert_int_equal(
		    json_put_string(NULL, 0, cases[i].text, cases[i].len),
		    want);
		/* Whatever the room, no byte beyond it is touched. */
		for (size_t room = 0; room <= want; room++) {
			memset(out, '#', sizeof(out));
			assert_int_equal(json_put_string(out, room,
					     cases[i].text, cases[i].len),
			    want);
			assert_memory_equal(out, cases[i].want, room);
			assert_int_equal(out[room], '#');
		}
	}
}

static void
what_is_put_is_json(void **state)
{
	char text[128], out[1024];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)i;
	for (size_t from = 0; from < sizeof(text); from++) {
		len = json_put_string(
		    out, sizeof(out), text + from, sizeof(text) - from);
		assert_true(len < sizeof(out));
		assert_int_equal(json_check(out, len, NULL), 0);
	}
}

/* Members as "key=value;", then what ended the walk; on what it begins. */
static const char *
walk(const char *text, unsigned depth_max)
{
	static char out[1024];
	size_t len = strlen(text), at = 0;
	uint8_t *copy = malloc(len + 1);
	struct json_members members;
	struct json_member member;
	int result;

	assert_non_null(copy);
	memcpy(copy, text, len + 1);
	result = json_members_begin(&members, copy, len, depth_max);
	if (result == 0) {
		while ((result = json_members_next(&members, &member)) == 1)
			at += (size_t)snprintf(out + at, sizeof(out) - at,
			    "%.*s=%.*s;", (int)member.key_len, member.key,
			    (int)member.value_len, (char *)member.value);
		snprintf(out + at, sizeof(out) - at, "%s at %zu",
		    result == 0        ? "end"
		    : result == -E2BIG ? "deep"
				       : "bad",
		    members.at);
	} else {
		strcpy(out, "no object");
	}
	free(copy);
	return out;
}

static void
members_are_walked_as_spans(void **state)
{
	static const char *const cases[][2] = {
		{ "{}", "end at 2" },
		{ " { } ", "end at 5" },
		{ "{\"a\":1}", "a=1;end at 7" },
		{ " { \"a\" : 1.50 , \"b\" : [1, {\"c\":2}] } ",
		    "a=1.50;b=[1, {\"c\":2}];end at 37" },
		{ "{\"\":\"\",\"a\":1,\"a\":2}", "=\"\";a=1;a=2;end at 19" },
		{ "{\"q\\\"\":\"\\\"\"}", "q\\\"=\"\\\"\";end at 12" },
		{ "{\"a\":nul}", "bad at 8" },
		{ "{\"a\":1,}", "a=1;bad at 7" },
		{ "{,\"a\":1}", "bad at 1" },
		{ "{\"a\":1 \"b\":2}", "a=1;bad at 7" },
		{ "{\"a\":1}}", "a=1;bad at 7" },
		{ "{\"a\":1", "a=1;bad at 6" },
		{ "{\"a\":", "bad at 5" },
		{ "{\"a\"", "bad at 4" },
		{ "{\"a", "bad at 3" },
		{ "{", "bad at 1" },
		{ "{a:1}", "bad at 1" },
		{ "{\"a\":1]", "a=1;bad at 6" },
		{ "[]", "no object" },
		{ "1", "no object" },
		{ "", "no object" },
		{ " ", "no object" },
		{ "{\"a\":[[1]]}", "a=[[1]];end at 11" },
		{ "{\"a\":[[[1]]]}", "deep at 7" },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_string_equal(walk(cases[i][0], 2), cases[i][1]);
	assert_string_equal(
	    walk("{\"a\":[1]}", JSON_DEPTH_MAX + JSON_ENVELOPE_DEPTH_MAX),
	    "a=[1];end at 9");
}

static void
what_was_given_out_may_be_overwritten(void **state)
{
	char text[] = "{\"a\":\"x\",\"b\":\"y\",\"c\":\"z\"}";
	struct json_members members;
	struct json_member member;
	int count = 0;

	(void)state;
	assert_int_equal(
	    json_members_begin(&members, text, strlen(text), 1), 0);
	while (json_members_next(&members, &member) == 1) {
		memset(member.key, '"', member.key_len);
		memset(member.value, '{', member.value_len);
		count++;
	}
	assert_int_equal(count, 3);
}

static bool
integer(const char *text, int64_t *ret_value)
{
	char copy[32];
	struct json_member member = { .value = (uint8_t *)copy,
		.value_len = strlen(text) };

	memcpy(copy, text, member.value_len);
	return json_member_integer(&member, ret_value);
}

static void
integers_have_one_spelling(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} good_ones[] = {
		{ "0", 0 },
		{ "7", 7 },
		{ "-7", -7 },
		{ "9007199254740991", INT64_C(9007199254740991) },
		{ "9223372036854775807", INT64_MAX },
		{ "-9223372036854775808", INT64_MIN },
	};
	static const char *const bad_ones[] = { "-0", "1.0", "1e3", "1E3",
		"9223372036854775808", "-9223372036854775809",
		"99999999999999999999", "\"1\"", "null", "true", "[1]", "{}" };

	(void)state;
	for (size_t i = 0; i < LENGTH(good_ones); i++) {
		int64_t value = 99;

		assert_true(integer(good_ones[i].text, &value));
		assert_true(value == good_ones[i].value);
	}
	for (size_t i = 0; i < LENGTH(bad_ones); i++) {
		int64_t value = 99;

		assert_false(integer(bad_ones[i], &value));
		assert_int_equal(value, 99);
	}
}

static void
strings_are_decoded_where_they_stand(void **state)
{
	static const struct {
		const char *text, *meant;
		int64_t len;
	} cases[] = {
		{ "", "", 0 },
		{ "plain", "plain", 5 },
		{ "a\\nb", "a\nb", 3 },
		{ "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", 8 },
		{ "\\u0000", "\0", 1 },
		{ "\\u0041\\u00e9\\u20AC", "A\xc3\xa9\xe2\x82\xac", 6 },
		{ "x\\ud83d\\uDE00y", "x\xf0\x9f\x98\x80y", 6 },
		{ "\\udbff\\udfff", "\xf4\x8f\xbf\xbf", 4 },
		{ "\\ud800\\udc00", "\xf0\x90\x80\x80", 4 },
		{ "\\u07ff\\u0800\\uffff", "\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf",
		    8 },
		{ "\\ud7ff\\ue000", "\xed\x9f\xbf\xee\x80\x80", 6 },
		{ "\\\\u0041", "\\u0041", 6 },
		{ "\xc3\xbc\\t\xc3\xbc", "\xc3\xbc\t\xc3\xbc", 5 },
		{ "\\ud800", NULL, -EILSEQ },
		{ "\\ud800x", NULL, -EILSEQ },
		{ "\\ud800\\n12345", NULL, -EILSEQ },
		{ "\\ud800\\u0041", NULL, -EILSEQ },
		{ "\\ud800\\ud800", NULL, -EILSEQ },
		{ "\\udc00", NULL, -EILSEQ },
		{ "\\udc00\\ud800", NULL, -EILSEQ },
		{ "x\\udfff", NULL, -EILSEQ },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t len = strlen(cases[i].text);
		char *text = malloc(len + 1);

		assert_non_null(text);
		memcpy(text, cases[i].text, len + 1);
		assert_int_equal(json_unescape(text, len), cases[i].len);
		if (cases[i].meant)
			assert_memory_equal(
			    text, cases[i].meant, (size_t)cases[i].len);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_grammar_has_is_taken),
		cmocka_unit_test(
		    what_it_has_not_is_refused_at_the_first_bad_byte),
		cmocka_unit_test(a_text_cut_short_is_refused_at_its_end),
		cmocka_unit_test(a_nul_byte_is_not_the_end),
		cmocka_unit_test(nesting_ends_at_128),
		cmocka_unit_test(levels_that_were_left_do_not_count),
		cmocka_unit_test(
		    every_special_byte_in_a_string_is_seen_at_every_place),
		cmocka_unit_test(strings_are_put_with_the_escapes_they_need),
		cmocka_unit_test(what_is_put_is_json),
		cmocka_unit_test(members_are_walked_as_spans),
		cmocka_unit_test(what_was_given_out_may_be_overwritten),
		cmocka_unit_test(integers_have_one_spelling),
		cmocka_unit_test(strings_are_decoded_where_they_stand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
