/*
 * Server-sent events: the bytes, and what a browser makes of them, by a slow
 * reader that follows the standard word by word.
 */

#include "proto/sse.h"
#include "tests/lib/eventsource.h"

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
#define ID "5f2c00000000abcd:42"

static const struct position position = { .epoch = UINT64_C(0x5f2c00000000abcd),
	.offset = 42 };

static struct message
message_of(enum message_kind kind, const void *payload, size_t len)
{
	return (struct message){ .channel = "ticks",
		.channel_len = 5,
		.epoch = position.epoch,
		.offset = position.offset,
		.time_us = 7,
		.kind = kind,
		.payload = payload,
		.len = len };
}

static void
assert_put(struct buffer *out, int result, const char *expected, size_t len)
{
	assert_int_equal(result, 0);
	assert_int_equal(out->len, len);
	assert_memory_equal(out->data, expected, len);
	buffer_clear(out);
}

static void
every_line_of_a_payload_is_a_line_of_data(void **state)
{
	static const struct {
		enum message_kind kind;
		const char *payload;
		size_t len;
		const char *expected;
		size_t expected_len;
	} cases[] = {
#define CASE(kind, payload, expected)                                          \
	{ kind, payload, sizeof(payload) - 1, "id: " ID "\n" expected "\n",    \
		sizeof("id: " ID "\n" expected "\n") - 1 }
		CASE(MESSAGE_TEXT, "", "data: \n"),
		CASE(MESSAGE_TEXT, "a", "data: a\n"),
		CASE(MESSAGE_TEXT, " a ", "data:  a \n"),
		CASE(MESSAGE_TEXT, "a:b", "data: a:b\n"),
		CASE(MESSAGE_TEXT, "a\nb", "data: a\ndata: b\n"),
		CASE(MESSAGE_TEXT, "a\r\nb", "data: a\ndata: b\n"),
		CASE(MESSAGE_TEXT, "a\rb", "data: a\ndata: b\n"),
		CASE(MESSAGE_TEXT, "a\n\rb", "data: a\ndata: \ndata: b\n"),
		CASE(MESSAGE_TEXT, "a\r\r\nb", "data: a\ndata: \ndata: b\n"),
		CASE(MESSAGE_TEXT, "\n", "data: \ndata: \n"),
		CASE(MESSAGE_TEXT, "\r\n", "data: \ndata: \n"),
		CASE(MESSAGE_TEXT, "a\n", "data: a\ndata: \n"),
		CASE(MESSAGE_TEXT, "a\r", "data: a\ndata: \n"),
		CASE(MESSAGE_TEXT, "12345678\n12345678\r1234567\n",
		    "data: 12345678\ndata: 12345678\ndata: 1234567\ndata: \n"),
		CASE(MESSAGE_TEXT, "a\0b", "data: a\0b\n"),
		CASE(MESSAGE_TEXT,
		    "\xef\xbb\xbf"
		    "a",
		    "data: \xef\xbb\xbf"
		    "a\n"),
		CASE(MESSAGE_TEXT, "\v\f\xc2\x85\xe2\x80\xa8",
		    "data: \v\f\xc2\x85\xe2\x80\xa8\n"),
		CASE(MESSAGE_JSON, "{\"a\":\n1}", "data: {\"a\":\ndata: 1}\n"),
		CASE(MESSAGE_BINARY, "", "event: base64\ndata: \n"),
		CASE(MESSAGE_BINARY, "\n\0\xff", "event: base64\ndata: CgD/\n"),
#undef CASE
	};
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct message message =
		    message_of(cases[i].kind, cases[i].payload, cases[i].len);

		assert_put(&out, sse_put_message(&out, MAX, &message),
		    cases[i].expected, cases[i].expected_len);
	}
	buffer_fini(&out);
}

static void
what_is_not_a_message_is_as_specified(void **state)
{
	struct buffer out = { 0 };

	(void)state;
#define ASSERT_PUT(call, text) assert_put(&out, call, text, sizeof(text) - 1)
	ASSERT_PUT(sse_put_position(&out, MAX, &position), "id: " ID "\n\n");
	ASSERT_PUT(sse_put_gap(&out, MAX, "ticks", 5, &position, 7, 42),
	    "id: " ID "\nevent: gap\n"
	    "data: {\"channel\":\"ticks\",\"from\":7,\"to\":42}\n\n");
	ASSERT_PUT(sse_put_gap(&out, MAX, "ticks", 5, &position, 0, 0),
	    "id: " ID "\nevent: gap\n"
	    "data: {\"channel\":\"ticks\",\"from\":null,\"to\":null}\n\n");
	ASSERT_PUT(sse_put_notice(&out, MAX, "u\n\"", "reconnected"),
	    "event: notice\n"
	    "data: {\"upstream\":\"u\\n\\\"\",\"state\":\"reconnected\"}\n\n");
	ASSERT_PUT(sse_put_retry(&out, MAX, 840), "retry: 840\n\n");
	ASSERT_PUT(sse_put_retry(&out, MAX, 0), "retry: 0\n\n");
	ASSERT_PUT(sse_put_keepalive(&out, MAX), ":\n\n");
#undef ASSERT_PUT
	buffer_fini(&out);
}

struct seen {
	char text[8192];
	size_t at;
};

static void
note(const struct eventsource *source, void *arg)
{
	struct seen *seen = arg;

	seen->at += (size_t)snprintf(seen->text + seen->at,
	    sizeof(seen->text) - seen->at, "%s|%s|%.*s;", source->last_id.text,
	    source->type.text, (int)source->data.len, source->data.text);
}

static void
a_browser_hears_what_was_put(void **state)
{
	struct seen seen = { .at = 0 };
	struct eventsource source = { .dispatch = note, .arg = &seen };
	struct buffer out = { 0 };
	struct message message = message_of(MESSAGE_TEXT, "", 0);
	struct position before = { position.epoch, 40 };

	(void)state;
	assert_int_equal(sse_put_keepalive(&out, MAX), 0);
	assert_int_equal(sse_put_position(&out, MAX, &before), 0);
	assert_int_equal(sse_put_notice(&out, MAX, "u", "lost"), 0);
	before.offset = 41;
	assert_int_equal(
	    sse_put_gap(&out, MAX, "ticks", 5, &before, 41, 41), 0);
	assert_int_equal(sse_put_message(&out, MAX, &message), 0);
	message.offset++;
	message.payload = (const uint8_t *)" two\r\nlines\n";
	message.len = 12;
	assert_int_equal(sse_put_message(&out, MAX, &message), 0);
	message.offset++;
	message.kind = MESSAGE_BINARY;
	assert_int_equal(sse_put_message(&out, MAX, &message), 0);
	assert_int_equal(sse_put_retry(&out, MAX, 840), 0);
	eventsource_feed(&source, out.data, out.len);
	assert_string_equal(seen.text,
	    "5f2c00000000abcd:40|notice|{\"upstream\":\"u\",\"state\":"
	    "\"lost\"};"
	    "5f2c00000000abcd:41|gap|{\"channel\":\"ticks\",\"from\":41,"
	    "\"to\":41};"
	    "5f2c00000000abcd:42|message|;"
	    "5f2c00000000abcd:43|message| two\nlines\n;"
	    "5f2c00000000abcd:44|base64|IHR3bw0KbGluZXMK;");
	assert_int_equal(source.retry_ms, 840);
	eventsource_fini(&source);
	buffer_fini(&out);
}

/* Cut off before the first message, it comes back to where it began. */
static void
a_position_alone_is_remembered_and_no_event(void **state)
{
	struct seen seen = { .at = 0 };
	struct eventsource source = { .dispatch = note, .arg = &seen };
	struct buffer out = { 0 };

	(void)state;
	assert_int_equal(sse_put_position(&out, MAX, &position), 0);
	eventsource_feed(&source, out.data, out.len);
	assert_int_equal(seen.at, 0);
	assert_string_equal(source.last_id.text, ID);
	eventsource_fini(&source);
	buffer_fini(&out);
}

static void
what_fails_leaves_the_buffer_as_it_was(void **state)
{
	char text[1500];
	struct message message = message_of(MESSAGE_TEXT, text, sizeof(text));
	struct buffer out = { 0 };
	size_t whole;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[700] = '\n';
	assert_int_equal(sse_put_message(&out, MAX, &message), 0);
	whole = out.len;
	buffer_clear(&out);
	for (size_t max = 0; max < whole; max += 13) {
		assert_int_equal(
		    sse_put_message(&out, max, &message), -EMSGSIZE);
		assert_int_equal(out.len, 0);
	}
	for (int64_t n = 1;; n++) {
		int result;

		buffer_fini(&out);
		memory_fail_nth(n);
		result = sse_put_message(&out, MAX, &message);
		if (!memory_fail_seen())
			break;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(out.len, 0);
	}
	memory_fail_nth(0);
	buffer_fini(&out);
	assert_int_equal(sse_put_retry(&out, 3, 840), -EMSGSIZE);
	assert_int_equal(sse_put_position(&out, 3, &position), -EMSGSIZE);
	assert_int_equal(sse_put_keepalive(&out, 2), -EMSGSIZE);
	assert_int_equal(out.len, 0);
	buffer_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_of_a_payload_is_a_line_of_data),
		cmocka_unit_test(what_is_not_a_message_is_as_specified),
		cmocka_unit_test(a_browser_hears_what_was_put),
		cmocka_unit_test(a_position_alone_is_remembered_and_no_event),
		cmocka_unit_test(what_fails_leaves_the_buffer_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
