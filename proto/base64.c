/*
 * Base64 as RFC 4648 section 4 has it: three bytes become four letters.
 *
 * Decoding takes no white space, no other alphabet, no missing padding and no
 * bits behind the last byte: each of them would be a second spelling.
 */

#include "proto/base64.h"

#include <assert.h>
#include <errno.h>

size_t
base64_bytes(size_t len)
{
	return (len / 3 + (len % 3 > 0)) * 4;
}

size_t
base64_put(char *out, const void *data, size_t len)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789+/";
	const uint8_t *in = data;
	char *to = out;

	assert(data || len == 0);

	for (; len >= 3; len -= 3, in += 3) {
		*to++ = letters[in[0] >> 2];
		*to++ = letters[(in[0] & 0x3) << 4 | in[1] >> 4];
		*to++ = letters[(in[1] & 0xf) << 2 | in[2] >> 6];
		*to++ = letters[in[2] & 0x3f];
	}
	if (len > 0) {
		uint8_t second = len == 2 ? in[1] : 0;

		*to++ = letters[in[0] >> 2];
		*to++ = letters[(in[0] & 0x3) << 4 | second >> 4];
		*to++ = len == 2 ? letters[(second & 0xf) << 2] : '=';
		*to++ = '=';
	}
	return (size_t)(to - out);
}

#define NONE 0x80 /* no letter; letters are below 64 */

/* From + to z. */
static const uint8_t values[] = { 62, NONE, NONE, NONE, 63, 52, 53, 54, 55, 56,
	57, 58, 59, 60, 61, NONE, NONE, NONE, NONE, NONE, NONE, NONE, 0, 1, 2,
	3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
	23, 24, 25, NONE, NONE, NONE, NONE, NONE, NONE, 26, 27, 28, 29, 30, 31,
	32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49,
	50, 51 };

static uint32_t
value_of(char letter)
{
	unsigned i = (uint8_t)letter - (unsigned)'+';

	return i < sizeof(values) ? values[i] : NONE;
}

/* The last four letters, where there may be padding. */
static int
get_last(uint8_t *out, const char *text)
{
	uint32_t a = value_of(text[0]), b = value_of(text[1]);
	uint32_t c = value_of(text[2]), d = value_of(text[3]);

	if (text[3] == '=') {
		d = 0;
		if (text[2] == '=')
			c = 0;
	}
	if ((a | b | c | d) & NONE)
		return -EINVAL;
	out[0] = (uint8_t)(a << 2 | b >> 4);
	if (text[2] == '=')
		return b & 0xf ? -EINVAL : 1;
	out[1] = (uint8_t)(b << 4 | c >> 2);
	if (text[3] == '=')
		return c & 0x3 ? -EINVAL : 2;
	out[2] = (uint8_t)(c << 6 | d);
	return 3;
}

int64_t
base64_get(void *out, const char *text, size_t len)
{
	uint8_t *to = out;
	size_t n = 0;
	int last;

	assert(text || len == 0);
	if (len % 4 != 0)
		return -EINVAL;
	if (len == 0)
		return 0;
	for (size_t i = 0; i + 4 < len; i += 4, n += 3) {
		uint32_t a = value_of(text[i]), b = value_of(text[i + 1]);
		uint32_t c = value_of(text[i + 2]), d = value_of(text[i + 3]);

		if ((a | b | c | d) & NONE)
			return -EINVAL;
		to[n] = (uint8_t)(a << 2 | b >> 4);
		to[n + 1] = (uint8_t)(b << 4 | c >> 2);
		to[n + 2] = (uint8_t)(c << 6 | d);
	}
	last = get_last(to + n, text + len - 4);
	if (last < 0)
		return last;
	n += (size_t)last;
	assert(n <= len / 4 * 3);
	return (int64_t)n;
}
