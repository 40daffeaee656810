/*
 * UTF-8 against a decoder that works the other way round: it computes the code
 * point and asks whether its shortest encoding is what was read.
 */

#include "proto/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static size_t
encode(uint32_t code, uint8_t out[4])
{
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (uint8_t)(0xc0 | code >> 6);
		out[1] = (uint8_t)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (uint8_t)(0xe0 | code >> 12);
		out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | code >> 18);
	out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (code & 0x3f));
	return 4;
}

/* The bytes of the character at the start of data, 0 if there is none. */
static size_t
decode(const uint8_t *data, size_t len)
{
	static const uint8_t masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	size_t n = data[0] < 0x80       ? 1
		   : data[0] >> 5 == 6  ? 2
		   : data[0] >> 4 == 14 ? 3
		   : data[0] >> 3 == 30 ? 4
					: 0;
	uint32_t code;
	uint8_t again[4];

	if (n == 0 || n > len)
		return 0;
	code = data[0] & masks[n];
	for (size_t i = 1; i < n; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (data[i] & 0x3f);
	}
	if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return encode(code, again) == n ? n : 0;
}

static bool
valid_slowly(const uint8_t *data, size_t len)
{
	while (len > 0) {
		size_t n = decode(data, len);

		if (n == 0)
			return false;
		data += n;
		len -= n;
	}
	return true;
}

/* How many bytes are taken before one is refused; len + 1: none is. */
static size_t
refused_at(const uint8_t *data, size_t len)
{
	struct utf8_state state = UTF8_STATE_INIT;

	for (size_t i = 0; i < len; i++)
		if (!utf8_feed(&state, data + i, 1))
			return i;
	return len + 1;
}

static void
every_character_is_taken_and_none_of_its_parts(void **state)
{
	uint8_t text[4];

	(void)state;
	for (uint32_t code = 0; code <= 0x10ffff; code++) {
		bool surrogate = code >= 0xd800 && code < 0xe000;
		size_t len = encode(code, text);

		assert_int_equal(utf8_valid(text, len), !surrogate);
		for (size_t part = 1; part < len; part++)
			assert_false(utf8_valid(text, part));
	}
}

static void
all_pairs_of_bytes_agree_with_the_slow_way(void **state)
{
	static const uint8_t tails[] = { 0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff };
	unsigned valid = 0;

	(void)state;
	for (unsigned i = 0; i < 65536 * 36; i++) {
		const uint8_t text[] = { (uint8_t)(i >> 8), (uint8_t)i,
			tails[(i >> 16) % 6], tails[(i >> 16) / 6] };
		bool want = valid_slowly(text, sizeof(text));

		if (utf8_valid(text, sizeof(text)) != want)
			assert_int_equal(i, -1);
		valid += want;
	}
	assert_true(valid > 65536);
}

static void
bad_text_is_refused_at_its_first_impossible_byte(void **state)
{
	static const struct {
		const char *text;
		size_t at; /* the byte that is refused */
	} cases[] = {
		{ "\x80", 0 }, /* continuation alone */
		{ "\xbf", 0 }, { "a\x80", 1 },
		{ "\xc0\x80", 0 }, /* overlong NUL */
		{ "\xc1\xbf", 0 }, /* overlong DEL */
		{ "\xe0\x80\x80", 1 }, /* overlong, three */
		{ "\xe0\x9f\xbf", 1 },
		{ "\xf0\x80\x80\x80", 1 }, /* overlong, four */
		{ "\xf0\x8f\xbf\xbf", 1 }, { "\xed\xa0\x80", 1 }, /* U+D800 */
		{ "\xed\xbf\xbf", 1 }, /* U+DFFF */
		{ "\xed\xa0\xbd\xed\xb8\x80", 1 }, /* CESU-8 */
		{ "\xf4\x90\x80\x80", 1 }, /* U+110000 */
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xf8\x88\x80\x80\x80", 0 }, /* five bytes */
		{ "\xfc\x84\x80\x80\x80\x80", 0 }, { "\xfe", 0 }, { "\xff", 0 },
		{ "\xc3\x28", 1 }, /* cut by another */
		{ "\xe2\x82\x28", 2 }, { "\xe2\x28\xa1", 1 },
		{ "\xf0\x9f\x98\x28", 3 }, { "\xc3\xc3", 1 },
		{ "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90"
		  "\x80\x80",
		    12 }, /* Autobahn 6.3.1's place */
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const uint8_t *text = (const uint8_t *)cases[i].text;
		size_t len = strlen(cases[i].text);

		assert_int_equal(refused_at(text, len), cases[i].at);
		assert_false(utf8_valid(text, len));
	}
}

static void
good_text_may_be_cut_at_every_byte(void **state)
{
	static const char text[] = "a\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf"
				   "\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80"
				   "\xf4\x8f\xbf\xbf plain ASCII between "
				   "\xf0\x9f\x98\x80\xe2\x82\xac and behind";
	size_t len = sizeof(text) - 1;

	(void)state;
	assert_true(utf8_valid(text, len));
	for (size_t a = 0; a <= len; a++)
		for (size_t b = a; b <= len; b++) {
			struct utf8_state s = UTF8_STATE_INIT;

			assert_true(utf8_feed(&s, text, a));
			assert_int_equal(utf8_complete(&s),
			    valid_slowly((const uint8_t *)text, a));
			assert_true(utf8_feed(&s, text + a, b - a));
			assert_true(utf8_feed(&s, text + b, len - b));
			assert_true(utf8_complete(&s));
		}
}

static void
nothing_is_text(void **state)
{
	struct utf8_state s = UTF8_STATE_INIT;

	(void)state;
	assert_true(utf8_valid("", 0));
	assert_true(utf8_valid(NULL, 0));
	assert_true(utf8_feed(&s, NULL, 0));
	assert_true(utf8_complete(&s));
	assert_true(utf8_feed(&s, "\xc3", 1));
	assert_true(utf8_feed(&s, NULL, 0));
	assert_false(utf8_complete(&s));
}

static void
one_bad_byte_is_found_wherever_it_stands(void **state)
{
	uint8_t text[64];

	(void)state;
	for (size_t start = 0; start < 8; start++)
		for (size_t len = 1; len <= 40; len++)
			for (size_t at = 0; at < len; at++) {
				memset(text, 'x', sizeof(text));
				/* Behind the end stands what must not count. */
				text[start + len] = 0xff;
				assert_true(utf8_valid(text + start, len));
				text[start + at] = 0x80;
				assert_false(utf8_valid(text + start, len));
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    every_character_is_taken_and_none_of_its_parts),
		cmocka_unit_test(all_pairs_of_bytes_agree_with_the_slow_way),
		cmocka_unit_test(
		    bad_text_is_refused_at_its_first_impossible_byte),
		cmocka_unit_test(good_text_may_be_cut_at_every_byte),
		cmocka_unit_test(nothing_is_text),
		cmocka_unit_test(one_bad_byte_is_found_wherever_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
