/* Base64 as RFC 4648 section 4 has it: three bytes become four letters. */

#include "proto/base64.h"

#include <assert.h>
#include <stdint.h>

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
