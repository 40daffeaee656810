/*
 * What earshot.v1 says, byte by byte: cursors may stand inside these bytes
 * while they are built again, so a change here is a change of the format.
 */

#include "proto/json.h"
#include "proto/v1.h"

#include "daemon/base/memory.h"

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

static struct message
message_of(enum message_kind kind, const void *payload, size_t len)
{
	return (struct message){
		.channel = "ticks!", /* one byte more than is told */
		.channel_len = 5,
		.epoch = position.epoch,
		.offset = 42,
		.time_us = INT64_C(1790000000123456),
		.kind = kind,
		.payload = payload,
		.len = len,
	};
}

static void
assert_put(struct buffer *out, int result, const char *expected)
{
	assert_int_equal(result, 0);
	assert_int_equal(json_check(out->data, out->len, NULL), 0);
	assert_int_equal(out->len, strlen(expected));
	assert_memory_equal(out->data, expected, out->len);
	buffer_clear(out);
}

static void
messages_are_envelopes_around_the_payload(void **state)
{
	static const struct {
		enum message_kind kind;
		const char *payload;
		size_t len;
		const char *expected;
	} cases[] = {
		{ MESSAGE_JSON, "{\"a\": 1e999}", 12,
		    "\"data\":{\"a\": 1e999}}" },
		{ MESSAGE_JSON, " [1,\n2] ", 8, "\"data\": [1,\n2] }" },
		{ MESSAGE_TEXT, "", 0, "\"text\":\"\"}" },
		{ MESSAGE_TEXT, "caf\xc3\xa9", 5, "\"text\":\"caf\xc3\xa9\"}" },
		{ MESSAGE_TEXT, "a\"b\\c\n\r\t\b\f\x01\x00\x7f", 13,
		    "\"text\":"
		    "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u0000\x7f\"}" },
		{ MESSAGE_BINARY, "", 0, "\"base64\":\"\"}" },
		{ MESSAGE_BINARY, "\x00\xff\x10", 3, "\"base64\":\"AP8Q\"}" },
		{ MESSAGE_BINARY, "f", 1, "\"base64\":\"Zg==\"}" },
	};
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct message message =
		    message_of(cases[i].kind, cases[i].payload, cases[i].len);
		char expected[256];

		snprintf(expected, sizeof(expected),
		    "{\"channel\":\"ticks\",\"offset\":42,"
		    "\"time\":1790000000.123,%s",
		    cases[i].expected);
		assert_put(&out, v1_put_message(&out, MAX, &message), expected);
	}
	buffer_fini(&out);
}

static void
times_have_three_decimals(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {
		{ 0, "0.000" },
		{ 999, "0.000" },
		{ 1000, "0.001" },
		{ 999999, "0.999" },
		{ 1000000, "1.000" },
		{ INT64_C(1790000000050999), "1790000000.050" },
		{ -1500000, "-1.500" },
		{ -999, "0.000" },
		{ INT64_MAX, "9223372036854.775" },
		{ INT64_MIN, "-9223372036854.775" },
	};
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct message message = message_of(MESSAGE_JSON, "0", 1);
		char expected[128];

		message.time_us = cases[i].us;
		message.offset = INT64_MAX;
		snprintf(expected, sizeof(expected),
		    "{\"channel\":\"ticks\",\"offset\":9223372036854775807,"
		    "\"time\":%s,\"data\":0}",
		    cases[i].text);
		assert_put(&out, v1_put_message(&out, MAX, &message), expected);
	}
	buffer_fini(&out);
}

static void
answers_and_notices_are_as_specified(void **state)
{
	struct buffer out = { 0 };

	(void)state;
	assert_put(&out,
	    v1_put_subscribed(&out, MAX, 1, "ticks", 5, &position, true),
	    "{\"id\":1,\"ok\":{\"channel\":\"ticks\",\"position\":"
	    "\"5f2c00000000abcd:41\",\"recovered\":true}}");
	assert_put(&out,
	    v1_put_subscribed(&out, MAX, 0, "a", 1, &position, false),
	    "{\"id\":0,\"ok\":{\"channel\":\"a\",\"position\":"
	    "\"5f2c00000000abcd:41\",\"recovered\":false}}");
	assert_put(&out, v1_put_unsubscribed(&out, MAX, 3, "ticks", 5),
	    "{\"id\":3,\"ok\":{\"channel\":\"ticks\"}}");
	assert_put(&out, v1_put_published(&out, MAX, V1_ID_MAX, &position),
	    "{\"id\":9007199254740991,\"ok\":{\"position\":"
	    "\"5f2c00000000abcd:41\"}}");
	assert_put(&out, v1_put_pong(&out, MAX, 4), "{\"id\":4,\"ok\":{}}");
	assert_put(&out,
	    v1_put_error(
		&out, MAX, 3, V1_ERROR_NOT_SUBSCRIBED, "channel \"a\"\n"),
	    "{\"id\":3,\"error\":{\"code\":\"not_subscribed\",\"message\":"
	    "\"channel \\\"a\\\"\\n\"}}");
	assert_put(&out,
	    v1_put_error(&out, MAX, V1_NO_ID, V1_ERROR_BAD_JSON, "no"),
	    "{\"error\":{\"code\":\"bad_json\",\"message\":\"no\"}}");
	assert_put(&out, v1_put_gap(&out, MAX, "ticks", 5, 43, 90),
	    "{\"gap\":{\"channel\":\"ticks\",\"from\":43,\"to\":90}}");
	assert_put(&out, v1_put_closing(&out, MAX, "shutdown", 840),
	    "{\"closing\":{\"reason\":\"shutdown\",\"retry_after_ms\":840}}");
	assert_put(&out, v1_put_notice(&out, MAX, "feed \"x\"", "reconnected"),
	    "{\"notice\":{\"upstream\":\"feed \\\"x\\\"\",\"state\":"
	    "\"reconnected\"}}");
	buffer_fini(&out);
}

static void
commands_are_as_specified(void **state)
{
	struct v1_command command = { .kind = V1_SUBSCRIBE,
		.id = 1,
		.channel = "ticks",
		.channel_len = 5 };
	struct buffer out = { 0 };

	(void)state;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"subscribe\":{\"channel\":\"ticks\"}}");
	command.from.kind = FROM_OLDEST;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"subscribe\":{\"channel\":\"ticks\","
	    "\"from\":\"oldest\"}}");
	command.from = (struct from){ .kind = FROM_LAST, .count = 10 };
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"subscribe\":{\"channel\":\"ticks\","
	    "\"from\":\"-10\"}}");
	command.from =
	    (struct from){ .kind = FROM_POSITION, .position = position };
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"subscribe\":{\"channel\":\"ticks\","
	    "\"from\":\"5f2c00000000abcd:41\"}}");
	command.kind = V1_UNSUBSCRIBE;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"unsubscribe\":{\"channel\":\"ticks\"}}");
	command.kind = V1_PUBLISH;
	command.message_kind = MESSAGE_JSON;
	command.payload = (const uint8_t *)"[0.10]";
	command.payload_len = 6;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"publish\":{\"channel\":\"ticks\","
	    "\"data\":[0.10]}}");
	command.message_kind = MESSAGE_TEXT;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"publish\":{\"channel\":\"ticks\","
	    "\"text\":\"[0.10]\"}}");
	command.message_kind = MESSAGE_BINARY;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"publish\":{\"channel\":\"ticks\","
	    "\"base64\":\"WzAuMTBd\"}}");
	command.kind = V1_PING;
	assert_put(&out, v1_put_command(&out, MAX, &command),
	    "{\"id\":1,\"ping\":{}}");
	buffer_fini(&out);
}

/* Pieces, runs and what lies between them: against json_put_string(). */
static void
texts_of_every_length_come_out_whole(void **state)
{
	struct buffer out = { 0 };
	char text[2100], expected[6 * sizeof(text) + 2];

	(void)state;
	for (size_t every = 1; every < 700; every = every * 3 + 1) {
		for (size_t len = 0; len <= sizeof(text); len += 7) {
			struct message message =
			    message_of(MESSAGE_TEXT, text, len);
			size_t n;

			for (size_t i = 0; i < len; i++)
				text[i] = i % every == every - 1
					      ? '\n'
					      : (char)('a' + i % 26);
			n = json_put_string(
			    expected, sizeof(expected), text, len);
			assert_int_equal(
			    v1_put_message(&out, MAX, &message), 0);
			assert_true(out.len > n);
			assert_memory_equal(
			    out.data + out.len - 1 - n, expected, n);
			assert_int_equal(out.data[out.len - 1], '}');
			buffer_clear(&out);
		}
	}
	buffer_fini(&out);
}

/* Every limit shorter than the result, and every allocation. */
static void
what_fails_leaves_the_buffer_as_it_was(void **state)
{
	char text[3000];
	struct message message;
	struct buffer out = { 0 };
	size_t whole;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < sizeof(text); i += 400)
		text[i] = '"';
	message = message_of(MESSAGE_TEXT, text, sizeof(text));
	assert_int_equal(v1_put_message(&out, MAX, &message), 0);
	whole = out.len;
	buffer_clear(&out);
	assert_int_equal(buffer_append(&out, "before", 6, MAX), 0);
	for (size_t max = 0; max < 6 + whole; max += max < 100 ? 1 : 37) {
		assert_int_equal(
		    v1_put_message(&out, max, &message), -EMSGSIZE);
		assert_int_equal(out.len, 6);
		assert_memory_equal(out.data, "before", 6);
	}
	assert_int_equal(v1_put_message(&out, 6 + whole, &message), 0);
	assert_int_equal(out.len, 6 + whole);
	for (int64_t n = 1;; n++) {
		int result;

		buffer_fini(&out);
		memory_fail_nth(n);
		result = v1_put_message(&out, MAX, &message);
		if (!memory_fail_seen())
			break;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(out.len, 0);
	}
	memory_fail_nth(0);
	buffer_fini(&out);
}

static void
codes_are_names_and_violations_are_the_clients_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < V1_ERROR_MAX; i++) {
		const char *code = v1_error_code((enum v1_error)i);

		assert_true(strlen(code) > 0);
		assert_int_equal(
		    strspn(code, "abcdefghijklmnopqrstuvwxyz_0123456789"),
		    strlen(code));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(
			    code, v1_error_code((enum v1_error)j));
	}
	assert_true(v1_error_violation(V1_ERROR_BAD_JSON));
	assert_true(v1_error_violation(V1_ERROR_BAD_BASE64));
	assert_false(v1_error_violation(V1_ERROR_CLOSING));
	assert_false(v1_error_violation(V1_ERROR_NO_ROOM));
	assert_false(v1_error_violation(V1_ERROR_NOT_ALLOWED));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_envelopes_around_the_payload),
		cmocka_unit_test(times_have_three_decimals),
		cmocka_unit_test(answers_and_notices_are_as_specified),
		cmocka_unit_test(commands_are_as_specified),
		cmocka_unit_test(texts_of_every_length_come_out_whole),
		cmocka_unit_test(what_fails_leaves_the_buffer_as_it_was),
		cmocka_unit_test(
		    codes_are_names_and_violations_are_the_clients_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
