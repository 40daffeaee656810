/* Frame headers byte by byte, messages in fragments, runs of whole frames. */

#include "proto/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FULL FRAME_FRAGMENT_BYTES

static void
a_header_is_as_short_as_its_length_allows(void **state)
{
	(void)state;
	assert_int_equal(frame_header_bytes(0), 2);
	assert_int_equal(frame_header_bytes(125), 2);
	assert_int_equal(frame_header_bytes(126), 4);
	assert_int_equal(frame_header_bytes(65535), 4);
	assert_int_equal(frame_header_bytes(65536), 10);
	assert_int_equal(frame_header_bytes(INT64_MAX), 10);
}

static void
headers_are_the_bytes_of_the_rfc(void **state)
{
	uint8_t out[FRAME_HEADER_MAX];

	(void)state;
	/* Section 5.7: "Hello", a ping of five, 256 bytes, 64 KiB. */
	assert_int_equal(frame_put_header(out, true, 0, FRAME_TEXT, 5), 2);
	assert_memory_equal(out, "\x81\x05", 2);
	assert_int_equal(frame_put_header(out, false, 0, FRAME_TEXT, 3), 2);
	assert_memory_equal(out, "\x01\x03", 2);
	assert_int_equal(frame_put_header(out, true, 0, FRAME_PING, 5), 2);
	assert_memory_equal(out, "\x89\x05", 2);
	assert_int_equal(frame_put_header(out, true, 0, FRAME_BINARY, 256), 4);
	assert_memory_equal(out, "\x82\x7e\x01\x00", 4);
	assert_int_equal(
	    frame_put_header(out, true, 0, FRAME_BINARY, 65536), 10);
	assert_memory_equal(out, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
	assert_int_equal(frame_put_header(out, true, 4, FRAME_TEXT, 1), 2);
	assert_memory_equal(out, "\xc1\x01", 2);
}

static void
what_was_put_is_got_again_and_not_before_it_is_whole(void **state)
{
	static const uint64_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536,
		INT64_MAX };
	uint8_t out[FRAME_HEADER_MAX];
	struct frame_header header;

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len =
		    frame_put_header(out, i & 1, 7, FRAME_BINARY, lengths[i]);

		for (size_t part = 0; part < len; part++)
			assert_int_equal(
			    frame_get_header(out, part, &header), -EAGAIN);
		assert_int_equal(frame_get_header(out, len, &header), len);
		assert_int_equal(header.header_bytes, len);
		assert_int_equal(header.payload_bytes, lengths[i]);
		assert_int_equal(header.fin, i & 1);
		assert_int_equal(header.rsv, 7);
		assert_int_equal(header.opcode, FRAME_BINARY);
		assert_false(header.masked);
	}
}

static void
a_mask_is_part_of_the_header(void **state)
{
	static const uint8_t hello[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f";
	struct frame_header header;

	(void)state;
	for (size_t part = 0; part < 6; part++)
		assert_int_equal(
		    frame_get_header(hello, part, &header), -EAGAIN);
	assert_int_equal(frame_get_header(hello, 8, &header), 6);
	assert_true(header.masked);
	assert_memory_equal(header.mask, "\x37\xfa\x21\x3d", 4);
	assert_int_equal(header.payload_bytes, 5);
}

static void
control_frames_may_have_125_bytes(void **state)
{
	struct frame_header header;

	(void)state;
	assert_int_equal(
	    frame_get_header((const uint8_t *)"\x8a\x7d", 2, &header), 2);
	assert_int_equal(header.opcode, FRAME_PONG);
	assert_int_equal(header.payload_bytes, 125);
	assert_int_equal(
	    frame_get_header((const uint8_t *)"\x88\x00", 2, &header), 2);
	assert_int_equal(header.opcode, FRAME_CLOSE);
}

static void
what_is_forbidden_is_refused_at_the_first_byte_of_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t len; /* all of them */
		size_t shows; /* so many are enough to know */
	} cases[] = {
		{ "\x83\x00", 2, 1 }, /* reserved opcodes */
		{ "\x87\x00", 2, 1 }, { "\x8b\x00", 2, 1 },
		{ "\x8f\x00", 2, 1 },
		{ "\x08\x00", 2, 1 }, /* fragmented controls */
		{ "\x09\x00", 2, 1 }, { "\x0a\x00", 2, 1 },
		{ "\x88\x7e\x00\x7e", 4, 2 }, /* long controls */
		{ "\x89\x7f\0\0\0\0\0\1\0\0", 10, 2 },
		{ "\x82\x7e\x00\x7d", 4, 4 }, /* not minimal */
		{ "\x82\x7e\x00\x00", 4, 4 },
		{ "\x82\x7f\0\0\0\0\0\0\xff\xff", 10, 10 },
		{ "\x82\x7f\0\0\0\0\0\0\0\x01", 10, 10 },
		{ "\x82\x7f\x80\0\0\0\0\1\0\0", 10, 3 }, /* top bit */
	};
	struct frame_header header = { .payload_bytes = 77 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t *bytes = (const uint8_t *)cases[i].bytes;

		for (size_t part = 0; part <= cases[i].len; part++)
			assert_int_equal(frame_get_header(bytes, part, &header),
			    part < cases[i].shows ? -EAGAIN : -EPROTO);
	}
	assert_int_equal(header.payload_bytes, 77);
}

/* A message of len bytes is put, and read back frame by frame. */
static void
check_message(size_t len)
{
	size_t bytes = frame_message_bytes(len), at = 0, got = 0, frames = 0;
	uint8_t *payload = malloc(len + 1), *out = malloc(bytes + 1);

	assert_non_null(payload);
	assert_non_null(out);
	for (size_t i = 0; i < len; i++)
		payload[i] = (uint8_t)(i * 31 + i / 255);
	out[bytes] = 0x5a;
	assert_int_equal(
	    frame_put_message(out, FRAME_TEXT, payload, len), bytes);
	assert_int_equal(out[bytes], 0x5a);
	while (at < bytes) {
		struct frame_header header;
		int n = frame_get_header(out + at, bytes - at, &header);

		assert_true(n > 0);
		assert_int_equal(header.rsv, 0);
		assert_int_equal(header.opcode,
		    frames == 0 ? FRAME_TEXT : FRAME_CONTINUATION);
		assert_int_equal(frame_first_bytes(out + at, bytes - at),
		    (size_t)n + header.payload_bytes);
		at += (size_t)n;
		assert_memory_equal(
		    out + at, payload + got, (size_t)header.payload_bytes);
		at += (size_t)header.payload_bytes;
		got += (size_t)header.payload_bytes;
		frames++;
		assert_int_equal(header.fin, got == len);
		assert_true(header.fin || header.payload_bytes == FULL);
	}
	assert_int_equal(at, bytes);
	assert_int_equal(got, len);
	assert_int_equal(frames, len == 0 ? 1 : (len + FULL - 1) / FULL);
	free(payload);
	free(out);
}

static void
messages_are_fragments_of_which_only_the_last_is_shorter(void **state)
{
	static const size_t lengths[] = { 0, 1, 125, 126, FULL - 1, FULL,
		FULL + 1, FULL + 125, FULL + 126, 2 * FULL, 2 * FULL + 1,
		10 * FULL + 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		check_message(lengths[i]);
}

static void
an_empty_message_needs_no_payload(void **state)
{
	uint8_t out[2];

	(void)state;
	assert_int_equal(frame_put_message(out, FRAME_BINARY, NULL, 0), 2);
	assert_memory_equal(out, "\x82\x00", 2);
}

static void
a_run_of_whole_frames_ends_before_one_that_does_not_fit(void **state)
{
	/* Frames of 2, 7, 130 and 4 bytes, so they end at 2, 9, 139, 143. */
	static const size_t ends[] = { 0, 2, 9, 139, 143 };
	uint8_t data[256];
	size_t len = 0;

	(void)state;
	len += frame_put_message(data + len, FRAME_TEXT, "", 0);
	len += frame_put_message(data + len, FRAME_TEXT, "hello", 5);
	memset(data + len, 0, 130);
	len += frame_put_header(data + len, true, 0, FRAME_BINARY, 126) + 126;
	len += frame_put_message(data + len, FRAME_TEXT, "hi", 2);
	assert_int_equal(len, 143);

	for (size_t max = 0; max <= len + 5; max++) {
		size_t want = 0;

		for (size_t i = 0; i < 5; i++)
			if (ends[i] <= max)
				want = ends[i];
		assert_int_equal(frame_whole_bytes(data, len, max), want);
		/* The same when it is the bytes that end there. */
		if (max <= len)
			assert_int_equal(
			    frame_whole_bytes(data, max, SIZE_MAX), want);
	}
}

static void
a_length_beyond_all_memory_is_no_whole_frame(void **state)
{
	uint8_t data[16] = { 0 };

	(void)state;
	(void)frame_put_header(data, true, 0, FRAME_BINARY, INT64_MAX);
	assert_int_equal(frame_whole_bytes(data, sizeof(data), SIZE_MAX), 0);
	assert_true(frame_first_bytes(data, sizeof(data)) > INT64_MAX);
	assert_int_equal(frame_first_bytes(data, 9), 0);
	assert_int_equal(frame_first_bytes(data, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_as_short_as_its_length_allows),
		cmocka_unit_test(headers_are_the_bytes_of_the_rfc),
		cmocka_unit_test(
		    what_was_put_is_got_again_and_not_before_it_is_whole),
		cmocka_unit_test(a_mask_is_part_of_the_header),
		cmocka_unit_test(control_frames_may_have_125_bytes),
		cmocka_unit_test(
		    what_is_forbidden_is_refused_at_the_first_byte_of_it),
		cmocka_unit_test(
		    messages_are_fragments_of_which_only_the_last_is_shorter),
		cmocka_unit_test(an_empty_message_needs_no_payload),
		cmocka_unit_test(
		    a_run_of_whole_frames_ends_before_one_that_does_not_fit),
		cmocka_unit_test(a_length_beyond_all_memory_is_no_whole_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
