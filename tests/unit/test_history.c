/* Answers with messages that are kept, as one object and as lines. */

#include "proto/history.h"
#include "proto/json.h"

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

static const struct history_head head = {
	.channel = "ticks",
	.channel_len = 5,
	.oldest = 10,
	.newest = 44,
	.position = { .epoch = UINT64_C(0xff), .offset = 41 },
	.recovered = true,
	.lag_messages = 3,
	.lag_bytes = 70,
	.lag_us = 1500000,
};

static struct message
message_of(enum message_kind kind, const char *payload)
{
	return (struct message){ .channel = "ticks",
		.channel_len = 5,
		.epoch = 0xff,
		.offset = 42,
		.time_us = INT64_C(1790000000123456),
		.kind = kind,
		.payload = (const uint8_t *)payload,
		.len = strlen(payload) };
}

static void
assert_said(struct buffer *out, const char *expected)
{
	assert_int_equal(out->len, strlen(expected));
	assert_memory_equal(out->data, expected, out->len);
	buffer_clear(out);
}

static void
head_messages_and_tail_make_one_object(void **state)
{
	struct message json = message_of(MESSAGE_JSON, "{\"a\":\n0.10}");
	struct message text = message_of(MESSAGE_TEXT, "a\n");
	struct message binary = message_of(MESSAGE_BINARY, "foob");
	struct buffer out = { 0 };

	(void)state;
	assert_int_equal(history_put_head(&out, MAX, &head), 0);
	assert_int_equal(history_put_message(&out, MAX, &json, true), 0);
	assert_int_equal(history_put_message(&out, MAX, &text, false), 0);
	assert_int_equal(history_put_message(&out, MAX, &binary, false), 0);
	assert_int_equal(history_put_tail(&out, MAX), 0);
	assert_int_equal(json_check(out.data, out.len, NULL), 0);
	assert_said(&out,
	    "{\"channel\":\"ticks\",\"epoch\":\"00000000000000ff\","
	    "\"oldest\":10,\"newest\":44,\"position\":"
	    "\"00000000000000ff:41\",\"recovered\":true,"
	    "\"lag\":{\"messages\":3,\"bytes\":70,\"seconds\":1.500},"
	    "\"messages\":[\n"
	    "{\"offset\":42,\"time\":1790000000.123,\"data\":{\"a\":\n"
	    "0.10}},\n"
	    "{\"offset\":42,\"time\":1790000000.123,\"text\":\"a\\n\"},\n"
	    "{\"offset\":42,\"time\":1790000000.123,\"base64\":\"Zm9vYg==\"}"
	    "]}\n");
	buffer_fini(&out);
}

static void
an_answer_without_messages_is_an_object(void **state)
{
	struct history_head empty = head;
	struct buffer out = { 0 };

	(void)state;
	empty.oldest = 1;
	empty.newest = 0;
	empty.position.offset = 0;
	assert_int_equal(history_put_head(&out, MAX, &empty), 0);
	assert_int_equal(history_put_tail(&out, MAX), 0);
	assert_int_equal(json_check(out.data, out.len, NULL), 0);
	assert_said(&out,
	    "{\"channel\":\"ticks\",\"epoch\":\"00000000000000ff\","
	    "\"oldest\":1,\"newest\":0,\"position\":\"00000000000000ff:0\","
	    "\"recovered\":true,"
	    "\"lag\":{\"messages\":3,\"bytes\":70,\"seconds\":1.500},"
	    "\"messages\":[]}\n");
	buffer_fini(&out);
}

static void
a_gap_is_told_in_the_head(void **state)
{
	struct history_head gap = head;
	struct buffer out = { 0 };

	(void)state;
	gap.recovered = false;
	gap.gap_from = 5;
	gap.gap_to = 9;
	assert_int_equal(history_put_head(&out, MAX, &gap), 0);
	assert_int_equal(history_put_tail(&out, MAX), 0);
	assert_int_equal(json_check(out.data, out.len, NULL), 0);
	assert_said(&out,
	    "{\"channel\":\"ticks\",\"epoch\":\"00000000000000ff\","
	    "\"oldest\":10,\"newest\":44,\"position\":"
	    "\"00000000000000ff:41\",\"recovered\":false,"
	    "\"gap\":{\"from\":5,\"to\":9},"
	    "\"lag\":{\"messages\":3,\"bytes\":70,\"seconds\":1.500},"
	    "\"messages\":[]}\n");
	buffer_fini(&out);
}

static void
a_line_is_one_line_whatever_is_in_it(void **state)
{
	static const struct {
		enum message_kind kind;
		const char *payload, *expected;
	} cases[] = {
		{ MESSAGE_JSON, "[1,\r\n\t2,\n\"a\\n\"]\n",
		    "\"data\":[1,  \t2, \"a\\n\"] }" },
		{ MESSAGE_JSON, "\r1", "\"data\": 1}" },
		{ MESSAGE_JSON, "12345678\r12345678", NULL },
		{ MESSAGE_TEXT, "a\r\nb", "\"text\":\"a\\r\\nb\"}" },
		{ MESSAGE_BINARY, "\n", "\"base64\":\"Cg==\"}" },
	};
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct message message =
		    message_of(cases[i].kind, cases[i].payload);
		char expected[256];

		assert_int_equal(history_put_line(&out, MAX, &message), 0);
		assert_ptr_equal(
		    memchr(out.data, '\n', out.len), out.data + out.len - 1);
		assert_null(memchr(out.data, '\r', out.len));
		if (cases[i].expected) {
			snprintf(expected, sizeof(expected),
			    "{\"offset\":42,\"time\":1790000000.123,%s\n",
			    cases[i].expected);
			assert_int_equal(
			    json_check(out.data, out.len, NULL), 0);
			assert_said(&out, expected);
		}
		buffer_clear(&out);
	}
	buffer_fini(&out);
}

static void
what_fails_leaves_the_buffer_as_it_was(void **state)
{
	char long_text[800];
	struct message message;
	struct buffer out = { 0 };

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	message = message_of(MESSAGE_TEXT, long_text);
	for (size_t max = 0; max < sizeof(long_text); max += 9) {
		assert_int_equal(
		    history_put_line(&out, max, &message), -EMSGSIZE);
		assert_int_equal(
		    history_put_message(&out, max, &message, false), -EMSGSIZE);
		assert_int_equal(out.len, 0);
	}
	assert_int_equal(history_put_head(&out, 20, &head), -EMSGSIZE);
	assert_int_equal(history_put_tail(&out, 2), -EMSGSIZE);
	buffer_fini(&out);
	memory_fail_nth(1);
	assert_int_equal(history_put_head(&out, MAX, &head), -ENOMEM);
	assert_true(memory_fail_seen());
	memory_fail_nth(0);
	assert_int_equal(out.len, 0);
	buffer_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_messages_and_tail_make_one_object),
		cmocka_unit_test(an_answer_without_messages_is_an_object),
		cmocka_unit_test(a_gap_is_told_in_the_head),
		cmocka_unit_test(a_line_is_one_line_whatever_is_in_it),
		cmocka_unit_test(what_fails_leaves_the_buffer_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
