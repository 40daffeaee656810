/*
 * Any bytes as a payload to compress, which come back, and as a compressed
 * one, which costs no more than the limit whatever it says, and says the same
 * in pieces.
 */

#include "proto/deflate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define LIMIT 100000u

static void
in_pieces(struct inflate *inflater, const uint8_t *data, size_t len,
    const struct buffer *whole, int result)
{
	struct buffer out = { 0 };
	size_t at = 0, n = len > 0 ? 1 + data[0] : 1;
	int error = 0;

	for (; at < len && error == 0; at += n)
		error = inflate_feed(inflater, &out, LIMIT, data + at,
		    len - at < n ? len - at : n);
	if (error == 0)
		error = inflate_end(inflater, &out, LIMIT, false);
	assert(error == result);
	assert(error < 0 ||
	       (out.len == whole->len &&
		   (out.len == 0 || !memcmp(out.data, whole->data, out.len))));
	assert(out.size <= LIMIT);
	buffer_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct deflate *deflater;
	static struct inflate *inflater;
	struct buffer out = { 0 }, back = { 0 };
	int result;

	if (!deflater && (deflate_new(&deflater) || inflate_new(&inflater)))
		abort();
	result = inflate_put(inflater, &out, LIMIT, data, len);
	if (result < 0)
		assert(out.len == 0);
	assert(inflate_put(inflater, &back, 0, NULL, 0) == 0); /* forgets */
	in_pieces(inflater, data, len, &out, result);
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
