/*
 * Any bytes as a payload to compress, which come back, and as a compressed
 * one, which costs no more than the limit whatever it says.
 */

#include "proto/deflate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define LIMIT 100000u

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct deflate *deflater;
	static struct inflate *inflater;
	struct buffer out = { 0 }, back = { 0 };

	if (!deflater && (deflate_new(&deflater) || inflate_new(&inflater)))
		abort();
	if (inflate_put(inflater, &out, LIMIT, data, len) < 0)
		assert(out.len == 0);
	assert(out.len <= LIMIT && out.size <= LIMIT);
	buffer_clear(&out);
	if (deflate_put(deflater, &out, 2 * len, data, len) == 1) {
		assert(out.len < len);
		assert(
		    inflate_put(inflater, &back, len, out.data, out.len) == 0);
		assert(back.len == len && !memcmp(back.data, data, len));
	} else {
		assert(out.len == 0);
	}
	buffer_fini(&out);
	buffer_fini(&back);
	return 0;
}
