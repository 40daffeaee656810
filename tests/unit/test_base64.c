/* The vectors of RFC 4648 section 10, and all values of a byte. */

#include "proto/base64.h"

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
	}
	assert_int_equal(base64_put(NULL, NULL, 0), 0);
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
	}
}

static void
the_length_of_the_longest_does_not_overflow(void **state)
{
	(void)state;
	assert_true(base64_bytes(SIZE_MAX / 2) > SIZE_MAX / 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_the_rfc_come_out),
		cmocka_unit_test(every_byte_at_every_place_can_be_read_back),
		cmocka_unit_test(the_length_of_the_longest_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
