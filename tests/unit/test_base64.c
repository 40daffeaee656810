/* The vectors of RFC 4648 section 10, and all values of a byte. */

#include "proto/base64.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
the_vectors_of_the_rfc_come_out(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char out[16];
		size_t len = strlen(cases[i][0]);

		memset(out, '#', sizeof(out));
		assert_int_equal(
		    base64_put(out, cases[i][0], len), strlen(cases[i][1]));
		assert_int_equal(base64_bytes(len), strlen(cases[i][1]));
		assert_memory_equal(out, cases[i][1], strlen(cases[i][1]));
		assert_int_equal(out[base64_bytes(len)], '#');
		assert_int_equal(
		    base64_get(out, out, strlen(cases[i][1])), len);
		assert_memory_equal(out, cases[i][0], len);
	}
	assert_int_equal(base64_put(NULL, NULL, 0), 0);
	assert_int_equal(base64_get(NULL, NULL, 0), 0);
}

static int
value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void
every_byte_at_every_place_can_be_read_back(void **state)
{
	(void)state;
	for (size_t len = 1; len <= 300; len++) {
		uint8_t in[300];
		char out[400];
		size_t n;

		for (size_t i = 0; i < len; i++)
			in[i] = (uint8_t)(i * 7 + len);
		n = base64_put(out, in, len);
		assert_int_equal(n, base64_bytes(len));
		for (size_t i = 0; i < len; i++) {
			size_t bit = i * 8, at = bit / 6, shift = bit % 6;
			int high = value_of(out[at]);
			int low = value_of(out[at + 1]);

			assert_true(high >= 0 && low >= 0);
			assert_int_equal(
			    ((high << 6 | low) >> (4 - shift)) & 0xff, in[i]);
		}
		assert_int_equal(base64_get(out, out, n), len);
		assert_memory_equal(out, in, len);
	}
}

static void
the_length_of_the_longest_does_not_overflow(void **state)
{
	(void)state;
	assert_true(base64_bytes(SIZE_MAX / 2) > SIZE_MAX / 2);
}

static void
only_the_one_spelling_is_decoded(void **state)
{
	static const char *const bad[] = {
		"Z",
		"Zg",
		"Zg=",
		"Zg===",
		"Zm9vZg",
		"=",
		"====",
		"Z===",
		"=Zg=",
		"Zg=v",
		"Zh==",
		"Zm9=",
		"Zm9vZh==",
		"Zg==Zg==",
		"Zm9vYg= ",
		" Zm9vYg=",
		"Zm9v\nYg==",
		"Zm9-",
		"Zm9_",

		"Zm9\xff",
		"Zm,v",
		"Zm:v",
		"Zm@v",
		"Zm[v",
		"Zm`v",
		"Zm{v",
		"Z*9vZm9v",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t out[8];

		if (base64_get(out, bad[i], strlen(bad[i])) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	}
	assert_int_equal(base64_get((char[4]){ 0 }, "Zm\0v", 4), -EINVAL);
}

/* A bit more or less than a letter says makes another letter or none. */
static void
each_byte_value_is_a_letter_or_refused(void **state)
{
	unsigned letters = 0;

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char text[5] = { 'A', 'A', 'A', (char)c }, back[5];
		uint8_t out[3];

		if (base64_get(out, text, 4) != 3)
			continue;
		letters++;
		assert_int_equal(out[2], value_of((char)c));
		assert_int_equal(base64_put(back, out, 3), 4);
		assert_memory_equal(back, text, 4);
	}
	assert_int_equal(letters, 64);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_the_rfc_come_out),
		cmocka_unit_test(every_byte_at_every_place_can_be_read_back),
		cmocka_unit_test(the_length_of_the_longest_does_not_overflow),
		cmocka_unit_test(only_the_one_spelling_is_decoded),
		cmocka_unit_test(each_byte_value_is_a_letter_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
