/*
 * Compressed messages on outgoing WebSocket connections: what is offered,
 * which answers are taken, what arrives whatever the pieces are and what a
 * peer may not do.
 */

#include "proto/deflate.h"
#include "tests/lib/packed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define HEADER "Sec-WebSocket-Extensions: "
#define P "permessage-deflate"
#define AGREED HEADER P "\r\n"

static void
was_agreed_on(struct client_test *opened)
{
	es_loop_assert(opened->rig.loop);
	assert_true(client_compresses(opened->client));
}

static void
compression_is_offered_if_asked_for(void **state)
{

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct wire wire;

		wire_init(&wire, "");
		wire_close(&wire);
		wire_begin(&wire_test, &wire);
		wire_test.options.compression = i == 0;
		assert_int_equal(client_test_once(&wire_test), 1);
		assert_int_equal(wire_test.code, 1000);
		assert_int_equal(strstr(wire.head, "\r\n" HEADER DEFLATE_OFFER
						   "\r\n") != NULL,
		    i == 0);
		assert_int_equal(
		    strcasestr(wire.head, "extensions") != NULL, i == 0);
		wire_fini(&wire);
	}
}

static void
no_answer_is_no_compression(void **state)
{
	struct wire wire;

	(void)state;
	wire_init(&wire, "");
	wire_frame(&wire, true, 0, FRAME_TEXT, "as ever", 7);
	wire_close(&wire);
	wire_begin(&wire_test, &wire);
	assert_int_equal(client_test_once(&wire_test), 1);
	client_test_heard(&wire_test, "tas ever|");
	wire_fini(&wire);
}

/* Every answer that is allowed, and the window that it gives. */
static void
answers_that_are_allowed_are_kept_to(void **state)
{
	static const struct {
		const char *answer;
		int bits;
		bool keep;
	} cases[] = {
		{ P, 15, true },
		{ P "; server_no_context_takeover", 15, false },
		{ P "; client_no_context_takeover", 15, true },
		{ P "; server_max_window_bits=9", 9, true },
		{ P "; server_max_window_bits=8", 9, true },
		{ P ";server_max_window_bits=\"12\";client_max_window_bits=8",
		    12, true },
		{ P "; server_no_context_takeover; client_no_context_takeover; "
		    "client_max_window_bits=15; server_max_window_bits=10",
		    10, false },
	};
	static char text[20000], expected[4 * sizeof(text)];

	(void)state;
	for (size_t n = 0; n + 20 < sizeof(text); n += strlen(text + n))
		(void)sprintf(text + n, "%zu,", n * 7919 % 100003);
	(void)sprintf(expected, "t%s|t%s|b%s|", text, text, text);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char header[256];
		struct wire wire;

		(void)snprintf(
		    header, sizeof(header), HEADER "%s\r\n", cases[i].answer);
		wire_init(&wire, header);
		wire_window(&wire, cases[i].bits, cases[i].keep);
		wire_packed(&wire, FRAME_TEXT, text, strlen(text));
		wire_packed(&wire, FRAME_TEXT, text, strlen(text));
		wire_packed(&wire, FRAME_BINARY, text, strlen(text));
		wire_close(&wire);
		wire_begin(&wire_test, &wire);
		wire_test.at_open = was_agreed_on;
		assert_int_equal(client_test_once(&wire_test), 1);
		client_test_heard(&wire_test, expected);
		assert_int_equal(wire_test.code, 1000);
		wire_fini(&wire);
	}
}

static void
answers_that_are_not_allowed_are_errors(void **state)
{
	static const char *const cases[][2] = {
		{ P "; mode=fast", "an unknown parameter" },
		{ P "; server_max_window_bits=9; server_max_window_bits=9",
		    "a parameter twice" },
		{ P "; server_max_window_bits=16", "window bits" },
		{ P "; server_max_window_bits", "window bits" },
		{ P "; client_max_window_bits", "window bits" },
		{ P "; server_no_context_takeover=1", "a value" },
		{ P ", " P, "twice" },
		{ P "\r\n" HEADER P, "twice" },
		{ P ";", "words" },
		{ "x-webkit-deflate-frame", "not offered" },
		{ P ", permessage-bzip2", "not offered" },
	};

	(void)state;
	for (size_t i = 0; i <= LENGTH(cases); i++) {
		const bool offered = i < LENGTH(cases);
		char header[256];
		struct wire wire;

		(void)snprintf(header, sizeof(header), HEADER "%s\r\n",
		    offered ? cases[i][0] : P);
		wire_init(&wire, header);
		wire_begin(&wire_test, &wire);
		wire_test.options.compression = offered;
		assert_int_equal(client_test_once(&wire_test), 1);
		assert_int_equal(wire_test.failed, 1);
		assert_int_equal(wire_test.opened, 0);
		if (!strstr(
			wire_test.text, "answer's Sec-WebSocket-Extensions") ||
		    !strstr(
			wire_test.text, offered ? cases[i][1] : "not offered"))
			fail_msg("%s: %s", header, wire_test.text);
		wire_fini(&wire);
	}
}

/* A bit of everything; expected is what of it is heard. */
static void
put_exchange(struct wire *wire, char *expected)
{
	static const char text[] = "Gr\xc3\xbc\xc3\x9f"
				   "e \xe2\x82\xac\xf0\x9f\x8e\xa7";
	uint8_t packed[256], noise[64];
	size_t len, i;

	for (i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * i * 37 + 1);
	len = wire_pack(wire, text, strlen(text), packed, sizeof(packed));
	assert_true(len > 12);
	wire_frame(wire, false, FRAME_RSV1, FRAME_TEXT, packed, 5);
	wire_frame(wire, true, 0, FRAME_PING, "?", 1);
	wire_frame(wire, false, 0, FRAME_CONTINUATION, "", 0);
	wire_frame(wire, false, 0, FRAME_CONTINUATION, packed + 5, 1);
	wire_frame(wire, true, 0, FRAME_PONG, "!", 1);
	wire_frame(wire, true, 0, FRAME_CONTINUATION, packed + 6, len - 6);
	wire_packed(wire, FRAME_TEXT, text, strlen(text));
	wire_frame(wire, true, 0, FRAME_TEXT, "plain", 5);
	wire_frame(wire, false, 0, FRAME_TEXT, "in ", 3);
	wire_frame(wire, true, 0, FRAME_CONTINUATION, "two", 3);
	wire_packed(wire, FRAME_BINARY, noise, sizeof(noise));
	wire_frame(wire, true, FRAME_RSV1, FRAME_TEXT, "\0", 1);
	wire_frame(wire, true, FRAME_RSV1, FRAME_BINARY, "", 0);
	wire_frame(wire, false, FRAME_RSV1, FRAME_TEXT, "", 0);
	wire_frame(wire, true, 0, FRAME_CONTINUATION, "\0", 1);
	wire_packed(wire, FRAME_TEXT, text, strlen(text));
	/* Of RFC 7692 section 7.2.3.4: the stream ends, and begins anew. */
	wire_frame(wire, true, FRAME_RSV1, FRAME_TEXT,
	    "\xf3\x48\xcd\xc9\xc9\x07\0", 7);
	wire_window(wire, 15, true);
	wire_packed(wire, FRAME_TEXT, text, strlen(text));
	wire_packed(wire, FRAME_TEXT, text, strlen(text));
	wire_close(wire);
	(void)sprintf(expected,
	    "t%s|t%s|tplain|tin two|b%.64s|t|b|t|t%s|"
	    "tHello|t%s|t%s|",
	    text, text, (const char *)noise, text, text, text);
}

static void
messages_arrive_whatever_the_pieces_are(void **state)
{
	char expected[512];
	size_t cut = 0, len;

	(void)state;
	do {
		struct wire wire;

		wire_init(&wire, AGREED);
		put_exchange(&wire, expected);
		wire.cut = cut++;
		len = wire.bytes.len;
		wire_begin(&wire_test, &wire);
		assert_int_equal(client_test_once(&wire_test), 1);
		client_test_heard(&wire_test, expected);
		assert_int_equal(wire_test.code, 1000);
		assert_true(wire.was_cut);
		wire_fini(&wire);
	} while (cut < len);
	assert_true(len > 150);
}

/* Ends of frames, of reads and of the inflater's room fall together. */
static void
no_length_is_special(void **state)
{
	static uint8_t noise[70000], zeroes[100000];
	static struct buffer expected;
	uint64_t x = 88172645463325252u;
	struct wire wire;

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		noise[i] = (uint8_t)(x >> 32);
	}
	wire_init(&wire, AGREED);
	for (size_t of = 8192; of <= 65536; of *= 2)
		for (size_t len = of - 24; len < of + 4; len++)
			wire_expect(&wire, &expected, noise, len);
	for (size_t of = 4096; of <= 98304; of += of < 32768 ? of : 32768)
		for (size_t len = of - 260; len < of + 260; len += 13)
			wire_expect(&wire, &expected, zeroes, len);
	wire_expect(&wire, &expected, zeroes, sizeof(zeroes));
	wire_close(&wire);
	wire_begin(&wire_test, &wire);
	wire_test.options.message_bytes_max = sizeof(zeroes);
	assert_int_equal(client_test_once(&wire_test), 1);
	assert_int_equal(wire_test.code, 1000);
	assert_int_equal(wire_test.heard.len, expected.len);
	assert_memory_equal(wire_test.heard.data, expected.data, expected.len);
	buffer_fini(&wire_test.heard);
	buffer_fini(&expected);
	wire_fini(&wire);
}

/* What is on the wire is answered with that code. */
static void
expect_violation(struct wire *wire, const char *heard, unsigned code)
{

	wire_begin(&wire_test, wire);
	wire_test.options.message_bytes_max = 100;
	assert_int_equal(client_test_once(&wire_test), 1);
	if (wire_test.opened != 1)
		fail_msg("not open: %s", wire_test.text);
	client_test_heard(&wire_test, heard);
	assert_int_equal(wire->close_code, code);
	assert_int_equal(wire_test.code, code);
	wire_fini(wire);
}

static void
expect_frame(const char *header, bool fin, unsigned rsv, unsigned opcode,
    const char *payload, size_t len, unsigned code)
{
	struct wire wire;

	wire_init(&wire, header);
	wire_frame(&wire, true, 0, FRAME_TEXT, "so", 2);
	wire_frame(&wire, fin, rsv, opcode, payload, len);
	expect_violation(&wire, "tso|", code);
}

static void
what_is_not_deflate_is_answered_with_1007(void **state)
{
	const unsigned rsv1 = FRAME_RSV1;

	(void)state;
	expect_frame(AGREED, true, rsv1, FRAME_BINARY, "\xff\xff", 2, 1007);
	expect_frame(AGREED, false, rsv1, FRAME_TEXT, "\x07", 1, 1007);
	/* It ends too early; it builds on what never was; not UTF-8. */
	expect_frame(AGREED, true, rsv1, FRAME_TEXT, "\xf2\x48", 2, 1007);
	expect_frame(
	    AGREED, true, rsv1, FRAME_TEXT, "\xf2\x00\x11\x00\x00", 5, 1007);
	expect_frame(AGREED, true, rsv1, FRAME_TEXT,
	    "\x00\x02\x00\xfd\xff\xc3z\x00", 8, 1007);
	expect_frame(AGREED, true, rsv1, FRAME_TEXT,
	    "\x00\x01\x00\xfe\xff\xc3\x00", 7, 1007);
}

static void
a_context_that_was_to_be_dropped_is_gone(void **state)
{
	struct wire wire;

	(void)state;
	wire_init(&wire, HEADER P "; server_no_context_takeover\r\n");
	wire_packed(&wire, FRAME_TEXT, "one and one and two", 19);
	wire_packed(&wire, FRAME_TEXT, "one and one and two", 19);
	expect_violation(&wire, "tone and one and two|", 1007);
}

static void
reserved_bits_have_their_place(void **state)
{
	struct wire wire;

	(void)state;
	for (unsigned rsv = 1; rsv < 8; rsv++) {
		if (rsv != FRAME_RSV1)
			expect_frame(
			    AGREED, true, rsv, FRAME_TEXT, "", 0, 1002);
		expect_frame(AGREED, true, rsv, FRAME_PONG, "", 0, 1002);
		expect_frame("", true, rsv, FRAME_BINARY, "x", 1, 1002);
		wire_init(&wire, AGREED);
		wire_frame(&wire, false, FRAME_RSV1, FRAME_TEXT, "\xf2", 1);
		wire_frame(&wire, true, rsv, FRAME_CONTINUATION, "\x48", 1);
		expect_violation(&wire, "", 1002);
		wire_init(&wire, AGREED);
		wire_frame(&wire, false, 0, FRAME_TEXT, "x", 1);
		wire_frame(&wire, true, rsv, FRAME_CONTINUATION, "", 0);
		expect_violation(&wire, "", 1002);
	}
}

static void
the_longest_message_is_measured_inflated(void **state)
{
	static const uint8_t zeroes[101];
	char expected[110] = "b";
	struct wire wire;

	(void)state;
	wire_init(&wire, AGREED);
	wire_packed(&wire, FRAME_BINARY, zeroes, 101);
	expect_violation(&wire, "", 1009);
	memset(expected + 1, 'x', 100);
	strcpy(expected + 101, "|");
	wire_init(&wire, AGREED);
	wire_packed(&wire, FRAME_BINARY, expected + 1, 100);
	wire_packed(&wire, FRAME_BINARY, zeroes, 101);
	expect_violation(&wire, expected, 1009);
}

#define MIB ((size_t)1 << 20)

/* A gigabyte of zeros in one of a thousandth of that. */
static void
a_bomb_costs_no_memory(void **state)
{
	struct rusage before, after;
	uint8_t *zeroes = calloc(1, MIB), *packed = malloc(MIB * 2);
	size_t len = 0, one;
	struct wire wire;

	(void)state;
	assert_non_null(zeroes);
	assert_non_null(packed);
	wire_init(&wire, AGREED);
	wire_window(&wire, 15, false);
	one = wire_pack(&wire, zeroes, MIB, packed, MIB);
	for (int i = 0; i < 1024; i++) {
		if (len > 0)
			memcpy(packed + len, packed, one);
		len += one;
		memcpy(packed + len, "\0\0\xff\xff", 4);
		len += 4;
	}
	assert_true(len > MIB && len < MIB * 5 / 4);
	wire_frame(&wire, true, FRAME_RSV1, FRAME_BINARY, packed, len);
	free(packed);
	free(zeroes);
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	expect_violation(&wire, "", 1009);
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_true(after.ru_maxrss - before.ru_maxrss < 40 * 1024);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compression_is_offered_if_asked_for),
		cmocka_unit_test(no_answer_is_no_compression),
		cmocka_unit_test(answers_that_are_allowed_are_kept_to),
		cmocka_unit_test(answers_that_are_not_allowed_are_errors),
		cmocka_unit_test(messages_arrive_whatever_the_pieces_are),
		cmocka_unit_test(no_length_is_special),
		cmocka_unit_test(what_is_not_deflate_is_answered_with_1007),
		cmocka_unit_test(a_context_that_was_to_be_dropped_is_gone),
		cmocka_unit_test(reserved_bits_have_their_place),
		cmocka_unit_test(the_longest_message_is_measured_inflated),
		cmocka_unit_test(a_bomb_costs_no_memory),
	};

	return cmocka_run_group_tests(tests, wire_set_up, wire_tear_down);
}
