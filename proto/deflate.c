/*
 * Payloads of permessage-deflate.
 *
 * The happy path: the whole payload in one call, flushed (RFC 7692 section
 * 7.2.1), without the four bytes that every flush ends with.  The stream is
 * reset before and never made again.  The room for the result is the payload's
 * own length: what does not fit is not shorter, and zlib stops there.
 *
 * - Below DEFLATE_BYTES_MIN there is next to nothing to win, and the reset of
 *   zlib's tables alone costs two microseconds.
 * - A peer may end its stream in the middle (section 7.2.3.4, BFINAL): what
 *   follows begins a new one.
 * - A peer may send nothing at all for an empty message; some do, though
 *   section 7.2.3.6 has a byte for it.
 */

#include "proto/deflate.h"

#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

/*
 * Level 3 finds more than 1 in the same time; 6 takes two to four times as
 * long for a fifth less.  Measured with JSON of 64 bytes to 1 MB.
 */
#define LEVEL 3
#define WINDOW_BITS 15
#define MEMORY_LEVEL 8
#define DEFLATE_BYTES_MIN 64
#define PIECE_BYTES 8192u

static const uint8_t tail[] = { 0x00, 0x00, 0xff, 0xff };

struct deflate {
	z_stream stream;
};

struct inflate {
	z_stream stream;
	bool begun; /* something of this message was there */
	bool ended; /* the last block said so */
	uint8_t piece[PIECE_BYTES];
};

static void *
allocate(void *opaque, uInt items, uInt size)
{
	(void)opaque; /* nothing to tell */
	/* Reads of what was never written would make results differ. */
	return memory_zalloc((size_t)items * size);
}

static void
give_back(void *opaque, void *memory)
{
	(void)opaque; /* nothing to tell */
	memory_free(memory);
}

int
deflate_new(struct deflate **ret_deflater)
{
	struct deflate *deflater = memory_zalloc(sizeof(*deflater));
	int result;

	if (!deflater)
		return -ENOMEM;
	deflater->stream.zalloc = allocate;
	deflater->stream.zfree = give_back;
	/* Negative: no zlib header. */
	result = deflateInit2(&deflater->stream, LEVEL, Z_DEFLATED,
	    -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
	if (result != Z_OK) {
		assert(result == Z_MEM_ERROR);
		memory_free(deflater);
		return -ENOMEM;
	}
	*ret_deflater = deflater;
	return 0;
}

void
deflate_free(struct deflate *deflater)
{
	if (!deflater)
		return;
	(void)deflateEnd(&deflater->stream); /* that data is left is fine */
	memory_free(deflater);
}

int
deflate_put(struct deflate *deflater, struct buffer *out, size_t max,
    const void *payload, size_t len)
{
	z_stream *stream = &deflater->stream;
	size_t start = out->len;
	int result;

	assert(payload || len == 0);
	if (len < DEFLATE_BYTES_MIN || len > UINT_MAX)
		return 0;
	/* Room for as much, to be written over. */
	result = buffer_append(out, payload, len, max);
	if (result < 0)
		return result;
	result = deflateReset(stream);
	assert(result == Z_OK);
	stream->next_in = payload;
	stream->avail_in = (uInt)len;
	stream->next_out = out->data + start;
	stream->avail_out = (uInt)len;
	result = deflate(stream, Z_SYNC_FLUSH);
	assert(result == Z_OK);
	out->len = start;
	if (stream->avail_out == 0) /* or it is not whole */
		return 0;
	assert(stream->avail_in == 0);
	len -= stream->avail_out;
	assert(len > sizeof(tail));
	out->len += len - sizeof(tail);
	assert(memcmp(out->data + out->len, tail, sizeof(tail)) == 0);
	return 1;
}

int
inflate_new(struct inflate **ret_inflater)
{
	return inflate_new_window(WINDOW_BITS, ret_inflater);
}

int
inflate_new_window(int bits, struct inflate **ret_inflater)
{
	struct inflate *inflater = memory_zalloc(sizeof(*inflater));
	int result;

	assert(bits >= 8);
	assert(bits <= WINDOW_BITS);
	if (!inflater)
		return -ENOMEM;
	inflater->stream.zalloc = allocate;
	inflater->stream.zfree = give_back;
	result = inflateInit2(&inflater->stream, -bits);
	if (result != Z_OK) {
		assert(result == Z_MEM_ERROR);
		memory_free(inflater);
		return -ENOMEM;
	}
	*ret_inflater = inflater;
	return 0;
}

void
inflate_free(struct inflate *inflater)
{
	if (!inflater)
		return;
	(void)inflateEnd(&inflater->stream); /* a stream that is there */
	memory_free(inflater);
}

/* One step; 0, or an error.  *ret_more: there may be more. */
static int
step(struct inflate *inflater, struct buffer *out, size_t max, bool *ret_more)
{
	z_stream *stream = &inflater->stream;
	int result, error;

	stream->next_out = inflater->piece;
	stream->avail_out = PIECE_BYTES;
	result = inflate(stream, Z_SYNC_FLUSH);
	error = buffer_append(
	    out, inflater->piece, PIECE_BYTES - stream->avail_out, max);
	if (error < 0)
		return error;
	inflater->ended = result == Z_STREAM_END;
	*ret_more = false;
	switch (result) {
	case Z_STREAM_END:
		if (stream->avail_in == 0)
			return 0;
		result = inflateReset(stream);
		assert(result == Z_OK);
		*ret_more = true;
		return 0;
	case Z_OK:
		*ret_more = stream->avail_in > 0 || stream->avail_out == 0;
		return 0;
	case Z_BUF_ERROR: /* all is read, nothing is left to be written */
		return stream->avail_in > 0 ? -EBADMSG : 0;
	case Z_MEM_ERROR:
		return -ENOMEM;
	default:
		return -EBADMSG;
	}
}

static int
feed(struct inflate *inflater, struct buffer *out, size_t max, const void *data,
    size_t len)
{
	bool more = len > 0;
	int error = 0;

	inflater->stream.next_in = data;
	inflater->stream.avail_in = (uInt)len;
	while (more && error == 0)
		error = step(inflater, out, max, &more);
	return error;
}

/*
 * Where the tail leads to: bit 7 says between two blocks, the low bits how many
 * of the last byte are unread (zlib.h, data_type).
 */
static bool
between_blocks(const z_stream *stream)
{
	return (stream->data_type & (128 | 63)) == 128;
}

static void
forget(struct inflate *inflater)
{
	int result = inflateReset(&inflater->stream);

	assert(result == Z_OK);
	inflater->begun = inflater->ended = false;
}

int
inflate_feed(struct inflate *inflater, struct buffer *out, size_t max,
    const void *payload, size_t len)
{
	assert(payload || len == 0);
	if (len == 0)
		return 0;
	if (len > UINT_MAX)
		return -EMSGSIZE;
	inflater->begun = true;
	return feed(inflater, out, max, payload, len);
}

int
inflate_end(
    struct inflate *inflater, struct buffer *out, size_t max, bool keep_context)
{
	int error = 0;

	if (inflater->begun && !inflater->ended) {
		error = feed(inflater, out, max, tail, sizeof(tail));
		if (error == 0 && !between_blocks(&inflater->stream))
			error = -EBADMSG;
	}
	if (!keep_context || inflater->ended)
		forget(inflater);
	inflater->begun = false;
	return error;
}

int
inflate_put(struct inflate *inflater, struct buffer *out, size_t max,
    const void *payload, size_t len)
{
	size_t start = out->len;
	int error;

	forget(inflater);
	error = inflate_feed(inflater, out, max, payload, len);
	if (error == 0)
		error = inflate_end(inflater, out, max, false);
	if (error < 0)
		out->len = start;
	return error;
}
