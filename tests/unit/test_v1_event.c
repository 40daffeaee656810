/*
 * What a server says, as a client reads it: our own encoder's words come back,
 * what a later server adds is passed over.
 */

#include "proto/json.h"
#include "proto/v1.h"
#include "proto/v1_event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MAX 65536

static const struct position position = { .epoch = UINT64_C(0x5f2c00000000abcd),
	.offset = 41 };

/* Reads what lies in out; the event points into out. */
static struct v1_event
event_of(struct buffer *out)
{
	struct v1_event event;

	assert_int_equal(v1_parse_event(out->data, out->len, &event), 0);
	out->len = 0; /* memory is kept */
	return event;
}

static int
parse(const char *text, struct v1_event *ret_event)
{
	static char copy[8192];

	assert_true(strlen(text) < sizeof(copy));
	strcpy(copy, text);
	return v1_parse_event((uint8_t *)copy, strlen(copy), ret_event);
}

static void
assert_text(struct v1_text text, const char *expected)
{
	assert_non_null(text.text);
	assert_int_equal(text.len, strlen(expected));
	assert_memory_equal(text.text, expected, text.len);
}

static void
messages_come_back_as_they_were(void **state)
{
	static const struct {
		enum message_kind kind;
		const char *payload;
		size_t len;
	} cases[] = {
		{ MESSAGE_JSON, "{\"a\": 1e999}", 12 },
		{ MESSAGE_JSON, "\"\\u00e9\"", 8 },
		{ MESSAGE_TEXT, "", 0 },
		{ MESSAGE_TEXT, "a\"b\\\n\x01\x00 caf\xc3\xa9", 13 },
		{ MESSAGE_BINARY, "", 0 },
		{ MESSAGE_BINARY, "\x00\xff\x10\x80", 4 },
	};
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct message message = { .channel = "ticks",
			.channel_len = 5,
			.offset = 42 + (int64_t)i,
			.time_us = INT64_C(1790000000123456),
			.kind = cases[i].kind,
			.payload = (const uint8_t *)cases[i].payload,
			.len = cases[i].len };
		struct v1_event event;

		assert_int_equal(v1_put_message(&out, MAX, &message), 0);
		event = event_of(&out);
		assert_int_equal(event.kind, V1_EVENT_MESSAGE);
		assert_int_equal(event.message.kind, message.kind);
		assert_int_equal(event.message.offset, message.offset);
		assert_int_equal(
		    event.message.time_us, INT64_C(1790000000123000));
		assert_int_equal(event.message.channel_len, 5);
		assert_memory_equal(event.message.channel, "ticks", 5);
		assert_int_equal(event.message.len, message.len);
		assert_memory_equal(
		    event.message.payload, message.payload, message.len);
		assert_int_equal(event.id, V1_NO_ID);
	}
	buffer_fini(&out);
}

static void
answers_come_back(void **state)
{
	struct buffer out = { 0 };
	struct v1_event event;

	(void)state;
	assert_int_equal(
	    v1_put_subscribed(&out, MAX, 1, "ticks", 5, &position, true), 0);
	event = event_of(&out);
	assert_int_equal(event.kind, V1_EVENT_OK);
	assert_int_equal(event.id, 1);
	assert_text(event.channel, "ticks");
	assert_true(event.has_position && event.recovered);
	assert_true(event.position.epoch == position.epoch);
	assert_int_equal(event.position.offset, 41);

	assert_int_equal(v1_put_pong(&out, MAX, 0), 0);
	event = event_of(&out);
	assert_int_equal(event.kind, V1_EVENT_OK);
	assert_int_equal(event.id, 0);
	assert_false(event.has_position || event.recovered);
	assert_null(event.channel.text);

	assert_int_equal(
	    v1_put_error(&out, MAX, 7, V1_ERROR_BAD_FROM, "a\n"), 0);
	event = event_of(&out);
	assert_int_equal(event.kind, V1_EVENT_ERROR);
	assert_int_equal(event.id, 7);
	assert_text(event.code, "bad_from");
	assert_text(event.text, "a\n");

	assert_int_equal(
	    v1_put_error(&out, MAX, V1_NO_ID, V1_ERROR_BAD_JSON, ""), 0);
	event = event_of(&out);
	assert_int_equal(event.id, V1_NO_ID);
	assert_text(event.text, "");
	buffer_fini(&out);
}

static void
what_nobody_asked_for_comes_back(void **state)
{
	struct buffer out = { 0 };
	struct v1_event event;

	(void)state;
	assert_int_equal(v1_put_gap(&out, MAX, "ticks", 5, 43, 90), 0);
	event = event_of(&out);
	assert_int_equal(event.kind, V1_EVENT_GAP);
	assert_text(event.channel, "ticks");
	assert_int_equal(event.gap_from, 43);
	assert_int_equal(event.gap_to, 90);

	assert_int_equal(v1_put_closing(&out, MAX, "shutdown", 840), 0);
	event = event_of(&out);
	assert_int_equal(event.kind, V1_EVENT_CLOSING);
	assert_text(event.reason, "shutdown");
	assert_int_equal(event.retry_after_ms, 840);

	assert_int_equal(v1_put_notice(&out, MAX, "u\"p", "reconnected"), 0);
	event = event_of(&out);
	assert_int_equal(event.kind, V1_EVENT_NOTICE);
	assert_text(event.upstream, "u\"p");
	assert_text(event.state, "reconnected");
	buffer_fini(&out);
}

static void
what_a_later_server_says_is_passed_over(void **state)
{
	static const struct {
		const char *text;
		enum v1_event_kind kind;
	} cases[] = {
		{ "{}", V1_EVENT_UNKNOWN },
		{ "{\"presence\":{\"channel\":7}}", V1_EVENT_UNKNOWN },
		{ "{\"presence\":[[[[]]]],\"v\":2.5e3}", V1_EVENT_UNKNOWN },
		{ "{\"channel\":\"a\",\"offset\":1}", V1_EVENT_UNKNOWN },
		{ "{\"offset\":1,\"data\":1}", V1_EVENT_UNKNOWN },
		{ "{\"channel\":\"a\",\"offset\":0,\"data\":1}",
		    V1_EVENT_UNKNOWN },
		{ "{\"tags\":{\"a\":1},\"channel\":\"a\",\"offset\":1,"
		  "\"data\":1}",
		    V1_EVENT_MESSAGE },
		{ "{\"ok\":{\"more\":[1]},\"id\":1,\"and\":null}",
		    V1_EVENT_OK },
		{ "{\"closing\":{}}", V1_EVENT_CLOSING },
		{ "{\"notice\":{\"job\":7}}", V1_EVENT_NOTICE },
		{ "{\"gap\":{\"to\":2,\"from\":2,\"channel\":\"a\","
		  "\"why\":\"overrun\"}}",
		    V1_EVENT_GAP },
	};
	struct v1_event event;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		if (parse(cases[i].text, &event) != 0)
			fail_msg("refused: %s", cases[i].text);
		if (event.kind != cases[i].kind)
			fail_msg("kind %d: %s", event.kind, cases[i].text);
	}
	assert_int_equal(parse("{\"closing\":{}}", &event), 0);
	assert_int_equal(event.retry_after_ms, -1);
	assert_null(event.reason.text);
}

static void
what_is_no_such_protocol_is_refused(void **state)
{
	static const char *const cases[] = { "", "hello", "1", "[]", "null",
		"{", "{\"id\":1,\"ok\":{}", "{\"id\":1,\"ok\":{}}x",
		"{\"id\":\"1\",\"ok\":{}}", "{\"id\":-1,\"ok\":{}}",
		"{\"id\":1.5,\"ok\":{}}", "{\"ok\":{}}",
		"{\"id\":1,\"ok\":true}", "{\"id\":1,\"ok\":[]}",
		"{\"id\":1,\"ok\":{\"position\":\"41\"}}",
		"{\"id\":1,\"ok\":{\"position\":41}}",
		"{\"id\":1,\"ok\":{\"recovered\":1}}",
		"{\"id\":1,\"ok\":{\"channel\":\"\\ud800\"}}", "{\"error\":{}}",
		"{\"error\":\"no\"}", "{\"error\":{\"code\":1}}",
		"{\"gap\":{}}",
		"{\"gap\":{\"channel\":\"a\",\"from\":5,\"to\":4}}",
		"{\"gap\":{\"channel\":\"a\",\"from\":0,\"to\":4}}",
		"{\"gap\":{\"from\":4,\"to\":4}}",
		"{\"closing\":{\"retry_after_ms\":-5}}",
		"{\"notice\":{\"upstream\":[]}}",
		"{\"channel\":1,\"offset\":1,\"data\":1}",
		"{\"channel\":\"a\",\"offset\":\"1\",\"data\":1}",
		"{\"channel\":\"a\",\"offset\":1,\"text\":1}",
		"{\"channel\":\"a\",\"offset\":1,\"base64\":\"Zg\"}",
		"{\"channel\":\"a\",\"offset\":1,\"text\":\"\xff\"}",
		"{\"channel\":\"a\",\"offset\":1,\"time\":\"1\",\"data\":1}",
		"{\"channel\":\"a\",\"offset\":1,\"time\":-1,\"data\":1}",
		"{\"channel\":\"a\",\"offset\":1,\"time\":1e3,\"data\":1}",
		"{\"channel\":\"a\",\"offset\":1,\"time\":1.12345678e3,"
		"\"data\":1}",
		"{\"channel\":\"a\",\"offset\":1,\"time\":9223372036855,"
		"\"data\":1}" };
	struct v1_event event;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		if (parse(cases[i], &event) != -EBADMSG)
			fail_msg("taken: %s", cases[i]);
}

static void
times_are_read_to_the_microsecond(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{ "0", 0 },
		{ "0.000", 0 },
		{ "1", 1000000 },
		{ "1.5", 1500000 },
		{ "1.000001", 1000001 },
		{ "1.0000019", 1000001 },
		{ "1790000000.123", INT64_C(1790000000123000) },
		{ "9223372036854.775807", INT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct v1_event event;
		char text[128];

		snprintf(text, sizeof(text),
		    "{\"channel\":\"a\",\"offset\":1,\"time\":%s,\"data\":1}",
		    cases[i].text);
		assert_int_equal(parse(text, &event), 0);
		assert_int_equal(event.message.time_us, cases[i].us);
	}
}

/* The envelope is a level that the payload's limit does not know of. */
static void
the_deepest_payload_is_read(void **state)
{
	char payload[2 * JSON_DEPTH_MAX];
	struct message message = { .channel = "a",
		.channel_len = 1,
		.offset = 1,
		.kind = MESSAGE_JSON,
		.payload = (uint8_t *)payload,
		.len = sizeof(payload) };
	struct buffer out = { 0 };

	(void)state;
	memset(payload, '[', JSON_DEPTH_MAX);
	memset(payload + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_int_equal(json_check(payload, sizeof(payload), NULL), 0);
	assert_int_equal(v1_put_message(&out, MAX, &message), 0);
	assert_int_equal(event_of(&out).kind, V1_EVENT_MESSAGE);
	buffer_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_come_back_as_they_were),
		cmocka_unit_test(answers_come_back),
		cmocka_unit_test(what_nobody_asked_for_comes_back),
		cmocka_unit_test(what_a_later_server_says_is_passed_over),
		cmocka_unit_test(what_is_no_such_protocol_is_refused),
		cmocka_unit_test(times_are_read_to_the_microsecond),
		cmocka_unit_test(the_deepest_payload_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
