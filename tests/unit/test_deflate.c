/*
 * Payloads compressed each by itself: read back by our inflater and by zlib as
 * a peer that keeps its context would; broken ones, bombs, and no memory.
 */

#include "proto/deflate.h"
#include "proto/frame.h"

#include "daemon/base/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MAX (4u << 20)

static struct deflate *deflater;
static struct inflate *inflater;
static struct buffer out, back;

static int
set_up(void **state)
{
	(void)state;
	if (deflate_new(&deflater) < 0 || inflate_new(&inflater) < 0)
		return -1;
	buffer_init(&out);
	buffer_init(&back);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	deflate_free(deflater);
	inflate_free(inflater);
	buffer_fini(&out);
	buffer_fini(&back);
	return 0;
}

/* Text like a feed's, different for each n. */
static size_t
put_ticks(char *text, size_t len, unsigned n)
{
	size_t at = 0;

	while (at < len) {
		char line[96];
		int line_len = snprintf(line, sizeof(line),
		    "{\"symbol\":\"EURUSD\",\"bid\":1.%05u,\"n\":%u}\n",
		    n * 7919u % 99999u, n);
		size_t room = len - at;

		n++;
		if ((size_t)line_len < room)
			room = (size_t)line_len;
		memcpy(text + at, line, room);
		at += room;
	}
	return len;
}

static void
what_is_compressed_is_shorter_and_comes_back(void **state)
{
	static const size_t lens[] = { 64, 100, 128, 1000, 8192, 16384, 65536,
		100000, 1000000 };
	char *text = malloc(1000000);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < LENGTH(lens); i++) {
		size_t len = put_ticks(text, lens[i], (unsigned)i);

		buffer_clear(&out);
		buffer_clear(&back);
		assert_int_equal(buffer_append(&out, "head", 4, MAX), 0);
		if (deflate_put(deflater, &out, MAX, text, len) == 0) {
			assert_true(len <= 64);
			assert_int_equal(out.len, 4);
			continue;
		}
		assert_memory_equal(out.data, "head", 4);
		assert_true(out.len - 4 < len);
		assert_int_equal(buffer_append(&back, "head", 4, MAX), 0);
		assert_int_equal(inflate_put(inflater, &back, MAX, out.data + 4,
				     out.len - 4),
		    0);
		assert_int_equal(back.len, 4 + len);
		assert_memory_equal(back.data + 4, text, len);
	}
	free(text);
}

static void
the_same_payload_gives_the_same_bytes(void **state)
{
	char one[3000], other[50000];
	struct deflate *fresh;
	struct buffer first = { 0 };

	(void)state;
	put_ticks(one, sizeof(one), 1);
	put_ticks(other, sizeof(other), 77);
	assert_int_equal(
	    deflate_put(deflater, &first, MAX, one, sizeof(one)), 1);
	for (int i = 0; i < 10; i++) {
		buffer_clear(&out);
		assert_int_equal(
		    deflate_put(deflater, &out, MAX, other, sizeof(other)), 1);
		buffer_clear(&out);
		assert_int_equal(
		    deflate_put(deflater, &out, MAX, one, sizeof(one)), 1);
		assert_int_equal(out.len, first.len);
		assert_memory_equal(out.data, first.data, first.len);
	}
	buffer_clear(&out);
	assert_int_equal(deflate_new(&fresh), 0);
	assert_int_equal(deflate_put(fresh, &out, MAX, one, sizeof(one)), 1);
	assert_int_equal(out.len, first.len);
	assert_memory_equal(out.data, first.data, first.len);
	deflate_free(fresh);
	buffer_fini(&first);
}

static void
what_would_not_be_shorter_is_left(void **state)
{
	uint8_t noise[20000];
	uint64_t x = 88172645463325252u;
	size_t lens[] = { 0, 1, 63, 64, 65, 1000, 16384, sizeof(noise) };

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		noise[i] = (uint8_t)(x >> 32);
	}
	for (size_t i = 0; i < LENGTH(lens); i++) {
		buffer_clear(&out);
		assert_int_equal(buffer_append(&out, "x", 1, MAX), 0);
		assert_int_equal(
		    deflate_put(deflater, &out, MAX, noise, lens[i]), 0);
		assert_int_equal(out.len, 1);
		assert_int_equal(out.data[0], 'x');
	}
	assert_int_equal(deflate_put(deflater, &out, MAX, NULL, 0), 0);
}

/*
 * The end where the result just fits, or just does not: random tails behind a
 * part that can be compressed.
 */
static void
the_last_byte_of_room_makes_no_half_results(void **state)
{
	uint8_t text[700];
	uint64_t x = 362436069;
	unsigned shorter = 0, left = 0;

	(void)state;
	for (size_t plain = 0; plain < 60; plain++) {
		for (size_t len = 64; len < sizeof(text); len += 3) {
			memset(text, 'a', plain);
			for (size_t i = plain; i < len; i++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				text[i] = (uint8_t)(x >> 24);
			}
			buffer_clear(&out);
			buffer_clear(&back);
			if (deflate_put(deflater, &out, MAX, text, len) == 0) {
				left++;
				continue;
			}
			shorter++;
			assert_int_equal(inflate_put(inflater, &back, MAX,
					     out.data, out.len),
			    0);
			assert_int_equal(back.len, len);
			assert_memory_equal(back.data, text, len);
		}
	}
	assert_true(shorter > 100);
	assert_true(left > 100);
}

/* Who negotiated takeover keeps its window: ours never points back into it. */
static void
a_peer_that_keeps_its_context_reads_all(void **state)
{
	static const Bytef tail[] = { 0x00, 0x00, 0xff, 0xff };
	z_stream peer = { .next_in = NULL };
	char text[3000], read_back[3000];

	(void)state;
	assert_int_equal(inflateInit2(&peer, -15), Z_OK);
	for (unsigned n = 0; n < 300; n++) {
		size_t len = put_ticks(text, 100 + n * 9, n);

		buffer_clear(&out);
		if (deflate_put(deflater, &out, MAX, text, len) == 0)
			continue;
		assert_int_equal(buffer_append(&out, tail, 4, MAX), 0);
		peer.next_in = out.data;
		peer.avail_in = (uInt)out.len;
		peer.next_out = (Bytef *)read_back;
		peer.avail_out = sizeof(read_back);
		assert_int_equal(inflate(&peer, Z_SYNC_FLUSH), Z_OK);
		assert_int_equal(sizeof(read_back) - peer.avail_out, len);
		assert_memory_equal(read_back, text, len);
	}
	(void)inflateEnd(&peer);
}

/* Of RFC 7692 section 7.2.3, and what peers do with an empty message. */
static void
the_examples_of_the_rfc_are_read(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *meant;
	} cases[] = {
		{ "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello" },
		{ "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, "Hello" },
		{ "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, "Hello" },
		{ "\xf3\x48\xcd\xc9\xc9\x07\x00", 7, "Hello" },
		{ "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13,
		    "Hello" },
		{ "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00"
		  "\x00",
		    15, "HelloHello" },
		{ "\x00", 1, "" },
		{ "\x02\x00", 2, "" },
		{ "", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		buffer_clear(&back);
		assert_int_equal(inflate_put(inflater, &back, MAX,
				     cases[i].bytes, cases[i].len),
		    0);
		assert_int_equal(back.len, strlen(cases[i].meant));
		assert_memory_equal(back.data, cases[i].meant, back.len);
	}
}

static void
what_is_not_deflate_is_refused(void **state)
{
	char text[400];

	(void)state;
	assert_int_equal(buffer_append(&back, "x", 1, MAX), 0);
	assert_int_equal(
	    inflate_put(inflater, &back, MAX, "\xff\xff\xff", 3), -EBADMSG);
	assert_int_equal(
	    inflate_put(inflater, &back, MAX, "\x07", 1), -EBADMSG);
	/* Points back before the message's own beginning. */
	assert_int_equal(
	    inflate_put(inflater, &back, MAX, "\xf2\x00\x11\x00\x00", 5),
	    -EBADMSG);
	/* Cut short, anywhere. */
	put_ticks(text, sizeof(text), 3);
	assert_int_equal(
	    deflate_put(deflater, &out, MAX, text, sizeof(text)), 1);
	for (size_t len = 1; len < out.len; len++)
		assert_int_equal(
		    inflate_put(inflater, &back, MAX, out.data, len), -EBADMSG);
	assert_int_equal(back.len, 1);
	assert_int_equal(back.data[0], 'x');
	/* And the next message is read as if nothing had been. */
	assert_int_equal(
	    inflate_put(inflater, &back, MAX, out.data, out.len), 0);
	assert_int_equal(back.len, 1 + sizeof(text));
}

static void
a_bomb_costs_no_more_than_the_limit(void **state)
{
	size_t bomb_bytes = 16u << 20;
	uint8_t *zeroes = calloc(1, bomb_bytes);

	(void)state;
	assert_non_null(zeroes);
	assert_int_equal(
	    deflate_put(deflater, &out, bomb_bytes, zeroes, bomb_bytes), 1);
	assert_true(out.len < bomb_bytes / 200);
	assert_int_equal(
	    inflate_put(inflater, &back, 100000, out.data, out.len), -EMSGSIZE);
	assert_int_equal(back.len, 0);
	assert_true(back.size <= 100000);
	assert_int_equal(
	    inflate_put(inflater, &back, bomb_bytes - 1, out.data, out.len),
	    -EMSGSIZE);
	assert_int_equal(
	    inflate_put(inflater, &back, bomb_bytes, out.data, out.len), 0);
	assert_int_equal(back.len, bomb_bytes);
	free(zeroes);
}

static void
no_room_and_no_memory_leave_all_as_it_was(void **state)
{
	char text[5000];
	struct deflate *d = NULL;
	struct inflate *f = NULL;

	(void)state;
	put_ticks(text, sizeof(text), 5);
	assert_int_equal(
	    deflate_put(deflater, &out, sizeof(text) - 1, text, sizeof(text)),
	    -EMSGSIZE);
	assert_int_equal(out.len, 0);
	for (int64_t n = 1;; n++) {
		memory_fail_nth(n);
		if (deflate_new(&d) == 0)
			break;
		assert_true(memory_fail_seen());
		assert_null(d);
	}
	memory_fail_nth(1);
	assert_int_equal(
	    deflate_put(d, &out, MAX, text, sizeof(text)), -ENOMEM);
	assert_int_equal(out.len, 0);
	memory_fail_nth(0);
	assert_int_equal(deflate_put(d, &out, MAX, text, sizeof(text)), 1);
	for (int64_t n = 1;; n++) {
		memory_fail_nth(n);
		if (inflate_new(&f) == 0)
			break;
		assert_true(memory_fail_seen());
		assert_null(f);
	}
	for (int64_t n = 1;; n++) {
		int result;

		memory_fail_nth(n);
		buffer_fini(&back);
		result = inflate_put(f, &back, MAX, out.data, out.len);
		if (result == 0)
			break;
		assert_true(memory_fail_seen());
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(back.len, 0);
	}
	memory_fail_nth(0);
	assert_int_equal(back.len, sizeof(text));
	deflate_free(d);
	inflate_free(f);
}

#define STREAM_MESSAGES 40

/*
 * A peer as zlib makes one: one stream, flushed after each message, its tail
 * cut off.  *ret_ends are the messages' in out.
 */
static void
put_stream(struct buffer *packed, int bits, bool keep, const uint8_t *plain,
    const size_t *lens, size_t *ret_ends)
{
	static uint8_t piece[200000];
	z_stream stream = { 0 };

	assert_int_equal(
	    deflateInit2(&stream, 6, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY),
	    Z_OK);
	for (size_t i = 0; i < STREAM_MESSAGES; i++) {
		size_t len;

		stream.next_in = plain;
		stream.avail_in = (uInt)lens[i];
		stream.next_out = piece;
		stream.avail_out = sizeof(piece);
		/* Nothing new to flush is no progress. */
		if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK)
			assert_int_equal(lens[i], 0);
		len = sizeof(piece) - stream.avail_out;
		if (lens[i] == 0 && len < 5) {
			piece[0] = 0;
			len = 5;
		}
		assert_int_equal(stream.avail_in, 0);
		assert_int_equal(buffer_append(packed, piece, len - 4, MAX), 0);
		ret_ends[i] = packed->len;
		plain += lens[i];
		if (!keep)
			assert_int_equal(deflateReset(&stream), Z_OK);
	}
	deflateEnd(&stream);
}

static void
stream_comes_back(int bits, bool keep, size_t piece_bytes)
{
	static uint8_t plain[STREAM_MESSAGES * 3000];
	static struct buffer packed;
	size_t lens[STREAM_MESSAGES], ends[STREAM_MESSAGES], at = 0, from = 0;
	struct inflate *f;

	for (size_t i = 0; i < STREAM_MESSAGES; i++)
		lens[i] = i * 1103515245u / 65536 % 3000;
	lens[3] = lens[4] = 0;
	put_ticks((char *)plain, sizeof(plain), 9);
	buffer_clear(&packed);
	put_stream(&packed, bits, keep, plain, lens, ends);
	assert_int_equal(inflate_new_window(bits, &f), 0);
	for (size_t i = 0; i < STREAM_MESSAGES; i++) {
		buffer_clear(&back);
		while (at < ends[i]) {
			size_t len = ends[i] - at;

			if (len > piece_bytes)
				len = piece_bytes;
			assert_int_equal(
			    inflate_feed(f, &back, MAX, packed.data + at, len),
			    0);
			at += len;
		}
		assert_int_equal(inflate_end(f, &back, MAX, keep), 0);
		assert_int_equal(back.len, lens[i]);
		if (lens[i] > 0)
			assert_memory_equal(back.data, plain + from, lens[i]);
		from += lens[i];
	}
	inflate_free(f);
}

static void
a_stream_comes_back_piece_by_piece(void **state)
{
	(void)state;
	for (int bits = 9; bits <= 15; bits++)
		for (size_t piece = 1; piece < 100000; piece = piece * 7 + 1) {
			stream_comes_back(bits, true, piece);
			stream_comes_back(bits, false, piece);
		}
}

static void
what_builds_on_a_forgotten_message_is_refused(void **state)
{
	/* "Hello" twice, the second time as a match in the first. */
	static const uint8_t one[] = { 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0 };
	static const uint8_t two[] = { 0xf2, 0x00, 0x11, 0x00, 0x00 };

	(void)state;
	for (int keep = 0; keep < 2; keep++) {
		struct inflate *f;

		assert_int_equal(inflate_new(&f), 0);
		buffer_clear(&back);
		assert_int_equal(
		    inflate_feed(f, &back, MAX, one, sizeof(one)), 0);
		assert_int_equal(inflate_end(f, &back, MAX, keep), 0);
		/* An empty message between them takes nothing away. */
		assert_int_equal(inflate_feed(f, &back, MAX, NULL, 0), 0);
		assert_int_equal(inflate_end(f, &back, MAX, keep), 0);
		assert_int_equal(inflate_feed(f, &back, MAX, two, sizeof(two)),
		    keep ? 0 : -EBADMSG);
		if (keep) {
			assert_int_equal(inflate_end(f, &back, MAX, true), 0);
			assert_int_equal(back.len, 10);
			assert_memory_equal(back.data, "HelloHello", 10);
		}
		inflate_free(f);
	}
}

/* Two ends of a stream, piece by piece: what follows one begins anew. */
static void
a_stream_may_end_between_pieces(void **state)
{
	static const uint8_t bytes[] = { 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0,
		0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0 };

	(void)state;
	for (size_t cut = 0; cut <= sizeof(bytes); cut++)
		for (int keep = 0; keep < 2; keep++) {
			buffer_clear(&back);
			assert_int_equal(
			    inflate_feed(inflater, &back, MAX, bytes, cut), 0);
			assert_int_equal(inflate_feed(inflater, &back, MAX,
					     bytes + cut, sizeof(bytes) - cut),
			    0);
			assert_int_equal(
			    inflate_end(inflater, &back, MAX, keep), 0);
			assert_int_equal(back.len, 10);
			assert_memory_equal(back.data, "HelloHello", 10);
		}
	assert_int_equal(inflate_put(inflater, &back, MAX, "", 0), 0);
}

/* RSV1 says "compressed", and says it on the first fragment alone. */
static void
the_first_fragment_alone_is_marked(void **state)
{
	size_t len = FRAME_FRAGMENT_BYTES + 10, at = 0, frames = 0;
	uint8_t *payload = calloc(1, len);
	uint8_t *bytes = malloc(frame_message_bytes(len));
	struct frame_header header;

	(void)state;
	assert_non_null(payload);
	assert_non_null(bytes);
	assert_int_equal(
	    frame_put_message_rsv(bytes, FRAME_TEXT, 4, payload, len),
	    frame_message_bytes(len));
	for (; at < frame_message_bytes(len); frames++) {
		assert_true(frame_get_header(bytes + at,
				frame_message_bytes(len) - at, &header) > 0);
		assert_int_equal(header.rsv, frames == 0 ? 4 : 0);
		assert_int_equal(header.opcode,
		    frames == 0 ? FRAME_TEXT : FRAME_CONTINUATION);
		assert_int_equal(header.fin, frames == 1);
		at += header.header_bytes + header.payload_bytes;
	}
	assert_int_equal(frames, 2);
	free(payload);
	free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_compressed_is_shorter_and_comes_back),
		TEST(the_same_payload_gives_the_same_bytes),
		TEST(what_would_not_be_shorter_is_left),
		TEST(the_last_byte_of_room_makes_no_half_results),
		TEST(a_peer_that_keeps_its_context_reads_all),
		TEST(the_examples_of_the_rfc_are_read),
		TEST(what_is_not_deflate_is_refused),
		TEST(a_stream_comes_back_piece_by_piece),
		TEST(what_builds_on_a_forgotten_message_is_refused),
		TEST(a_stream_may_end_between_pieces),
		TEST(a_bomb_costs_no_more_than_the_limit),
		TEST(no_room_and_no_memory_leave_all_as_it_was),
		TEST(the_first_fragment_alone_is_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
