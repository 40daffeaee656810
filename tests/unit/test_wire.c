/*
 * The lines of exec handlers: events as they are written, commands as they are
 * read, and everything that is no command.
 */

#include "daemon/base/memory.h"
#include "daemon/handler/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct session
a_session(void)
{
	static const struct es_header headers[] = { { "host", "h\"" },
		{ "x-old", "\xe4" } };

	return (struct session){
		.name = conn_name(12, 7),
		.open = {
			.path = "/app",
			.query = "a=1",
			.peer = "192.0.2.1:1",
			.channel = "",
			.headers = headers,
			.header_count = 2,
			.upstream = "",
			.claims = "",
		},
	};
}

static void
check_event(
    const struct session *session, struct event *event, const char *wanted)
{
	struct buffer out;

	buffer_init(&out);
	assert_int_equal(wire_put_event(&out, session, event), 0);
	assert_int_equal(out.len, strlen(wanted));
	assert_memory_equal(out.data, wanted, out.len);
	buffer_fini(&out);
	session_event_free(event);
}

static struct event *
an_event(enum event_kind kind, enum message_kind message, const char *text)
{
	struct event *event = session_event_new(kind, text, strlen(text));

	assert_non_null(event);
	event->seq = 3;
	event->message_kind = message;
	return event;
}

static void
events_are_lines(void **state)
{
	struct session session = a_session();
	struct event *event;

	(void)state;
	event = an_event(EVENT_OPEN, MESSAGE_TEXT, "");
	check_event(&session, event,
	    "{\"event\":\"open\",\"seq\":3,\"conn\":\"12.7\",\"path\":\"/app\","
	    "\"query\":\"a=1\",\"peer\":\"192.0.2.1:1\",\"headers\":{\"host\":"
	    "\"h\\\"\",\"x-old\":\"\\u00e4\"}}\n");
	check_event(&session, an_event(EVENT_MESSAGE, MESSAGE_TEXT, "h\ni"),
	    "{\"event\":\"message\",\"seq\":3,\"conn\":\"12.7\",\"text\":"
	    "\"h\\ni\"}\n");
	check_event(&session, an_event(EVENT_MESSAGE, MESSAGE_BINARY, "hi"),
	    "{\"event\":\"message\",\"seq\":3,\"conn\":\"12.7\",\"base64\":"
	    "\"aGk=\"}\n");
	event = an_event(EVENT_CLOSE, MESSAGE_TEXT, "why");
	event->code = 4000;
	check_event(&session, event,
	    "{\"event\":\"close\",\"seq\":3,\"conn\":\"12.7\",\"code\":4000,"
	    "\"reason\":\"why\"}\n");
	event = an_event(EVENT_ERROR, MESSAGE_TEXT, "gone");
	event->error = -ECONNRESET;
	event->lost = 2;
	check_event(&session, event,
	    "{\"event\":\"error\",\"seq\":3,\"conn\":\"12.7\",\"error\":"
	    "\"ECONNRESET\",\"message\":\"gone\",\"lost\":2}\n");
}

/* As they were signed; a process that follows another is told as well. */
static void
claims_are_embedded(void **state)
{
	struct session session = a_session();
	struct event *event;

	(void)state;
	session.open.claims = "{\"sub\":\"n\\u00e9\", \"n\":1e400}";
	check_event(&session, an_event(EVENT_OPEN, MESSAGE_TEXT, ""),
	    "{\"event\":\"open\",\"seq\":3,\"conn\":\"12.7\",\"path\":\"/app\","
	    "\"query\":\"a=1\",\"peer\":\"192.0.2.1:1\",\"headers\":{\"host\":"
	    "\"h\\\"\",\"x-old\":\"\\u00e4\"},"
	    "\"claims\":{\"sub\":\"n\\u00e9\", \"n\":1e400}}\n");
	event = an_event(EVENT_ERROR, MESSAGE_TEXT, "gone");
	event->error = -ECONNRESET;
	event->again = true;
	check_event(&session, event,
	    "{\"event\":\"error\",\"seq\":3,\"conn\":\"12.7\",\"error\":"
	    "\"ECONNRESET\",\"message\":\"gone\",\"path\":\"/app\","
	    "\"query\":\"a=1\",\"peer\":\"192.0.2.1:1\",\"headers\":{\"host\":"
	    "\"h\\\"\",\"x-old\":\"\\u00e4\"},"
	    "\"claims\":{\"sub\":\"n\\u00e9\", \"n\":1e400}}\n");
}

static void
a_consumed_message_is_one_line_whatever_its_json(void **state)
{
	struct session session = { .open = {
				       .channel = "jobs", .upstream = "" } };
	struct event *event =
	    an_event(EVENT_MESSAGE, MESSAGE_JSON, "{\n\"a\":\r\n1 }\n");

	(void)state;
	event->position = (struct es_position){ 0xab, 41 };
	event->time_us = 1790000000000123;
	check_event(&session, event,
	    "{\"event\":\"message\",\"seq\":3,\"channel\":\"jobs\","
	    "\"position\":\"00000000000000ab:41\",\"time\":1790000000.000123,"
	    "\"json\":{\"a\":1 }}\n");
}

static void
events_of_an_upstream_name_it(void **state)
{
	struct session session = {
		.name = conn_name(12, 7),
		.open = { .path = "",
		    .query = "",
		    .peer = "wss://h/",
		    .channel = "ticks",
		    .upstream = "u",
		    .claims = "" },
	};
	struct event *event;

	(void)state;
	check_event(&session, an_event(EVENT_OPEN, MESSAGE_TEXT, ""),
	    "{\"event\":\"open\",\"seq\":3,\"conn\":\"12.7\",\"path\":\"\","
	    "\"query\":\"\",\"peer\":\"wss://h/\",\"channel\":\"ticks\","
	    "\"upstream\":\"u\",\"headers\":{}}\n");
	check_event(&session, an_event(EVENT_MESSAGE, MESSAGE_TEXT, "x"),
	    "{\"event\":\"message\",\"seq\":3,\"conn\":\"12.7\","
	    "\"text\":\"x\"}\n");
	session.name = 0;
	event = an_event(EVENT_ERROR, MESSAGE_TEXT, "no");
	event->error = -ENOTCONN;
	check_event(&session, event,
	    "{\"event\":\"error\",\"seq\":3,\"channel\":\"ticks\","
	    "\"upstream\":\"u\",\"error\":\"ENOTCONN\","
	    "\"message\":\"no\"}\n");
}

static void
an_event_without_memory_leaves_nothing(void **state)
{
	struct session session = a_session();
	struct event *event = an_event(EVENT_OPEN, MESSAGE_TEXT, "");
	struct buffer out;
	int64_t n = 1;
	int r;

	(void)state;
	do {
		buffer_init(&out);
		memory_fail_nth(n++);
		r = wire_put_event(&out, &session, event);
		if (memory_fail_seen())
			assert_int_equal(r, -ENOMEM);
		if (r < 0)
			assert_int_equal(out.len, 0);
		buffer_fini(&out);
	} while (memory_fail_seen());
	memory_fail_nth(0);
	assert_int_equal(r, 0);
	session_event_free(event);
}

static int
get(const char *text, struct wire_command *command, char *fault)
{
	static uint8_t line[4096];
	const size_t len = strlen(text);

	assert_true(len <= sizeof(line));
	memcpy(line, text, len);
	return wire_get_command(line, len, command, fault);
}

static void
commands_are_read(void **state)
{
	char fault[WIRE_FAULT_BYTES_MAX] = "";
	struct wire_command c;

	(void)state;
	assert_int_equal(get("{\"done\":9007199254740993}", &c, fault), 0);
	assert_int_equal(c.kind, WIRE_DONE);
	assert_true(c.done == 9007199254740993);
	assert_int_equal(c.id, -1);
	assert_int_equal(get("{\"send\":{\"conn\":\"12.7\",\"text\":"
			     "\"\\u0048i\"},\"id\":5}",
			     &c, fault),
	    0);
	assert_int_equal(c.kind, WIRE_SEND);
	assert_int_equal(c.id, 5);
	assert_true(c.conn == conn_name(12, 7));
	assert_int_equal(c.payload_len, 2);
	assert_memory_equal(c.payload, "Hi", 2);
	assert_int_equal(get("{\"publish\":{\"channel\":\"a.b\",\"json\":"
			     "{\"x\": [1e400, {}]}}}",
			     &c, fault),
	    0);
	assert_int_equal(c.message_kind, MESSAGE_JSON);
	assert_memory_equal(c.payload, "{\"x\": [1e400, {}]}", c.payload_len);
	assert_int_equal(get("{\"subscribe\":{\"conn\":\"0.0\",\"channel\":"
			     "\"c\",\"from\":\"-3\"}}",
			     &c, fault),
	    0);
	assert_int_equal(c.from.kind, FROM_LAST);
	assert_true(c.conn == conn_name(0, 0));
	assert_true(c.conn != 0);
	assert_int_equal(get("{\"close\":{\"conn\":\"1.2\",\"code\":4999,"
			     "\"reason\":\"\"}}",
			     &c, fault),
	    0);
	assert_int_equal(c.code, 4999);
	assert_int_equal(c.reason_len, 0);
}

static void
what_is_no_command_is_named(void **state)
{
	static const struct {
		const char *text, *fault;
	} lines[] = {
		{ "", "not a JSON object" },
		{ "\xff", "not a JSON object" },
		{ "{", "not JSON" },
		{ "{\"done\":1} x", "not JSON" },
		{ "{\"done\":-1}", "bad value: done" },
		{ "{\"done\":1.0}", "bad value: done" },
		{ "{\"id\":1}", "no command in it" },
		{ "{\"send\":{}}", "missing field: conn" },
		{ "{\"send\":{\"conn\":\"4294967296.0\",\"text\":\"\"}}",
		    "bad value: conn" },
		{ "{\"send\":{\"conn\":\"1.4294967295\",\"text\":\"\"}}",
		    "bad value: conn" },
		{ "{\"send\":{\"conn\":\"1.\",\"text\":\"\"}}",
		    "bad value: conn" },
		{ "{\"send\":{\"conn\":\"1.2.3\",\"text\":\"\"}}",
		    "bad value: conn" },
		{ "{\"send\":{\"conn\":\"1.2\",\"text\":\"\\ud800\"}}",
		    "bad value: text" },
		{ "{\"close\":{\"conn\":\"1.2\",\"code\":1005}}",
		    "bad value: code" },
	};
	char fault[WIRE_FAULT_BYTES_MAX];
	struct wire_command c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		assert_int_equal(get(lines[i].text, &c, fault), -EBADMSG);
		assert_string_equal(fault, lines[i].fault);
	}
}

static void
names_never_are_the_zero_that_means_none(void **state)
{
	(void)state;
	assert_true(conn_name(0, 0) != 0);
	assert_true(conn_name(0, UINT32_MAX - 1) != 0);
	assert_int_equal(conn_slot(conn_name(7, 9)), 7);
	assert_int_equal(conn_generation(conn_name(7, 9)), 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_lines),
		cmocka_unit_test(
		    a_consumed_message_is_one_line_whatever_its_json),
		cmocka_unit_test(claims_are_embedded),
		cmocka_unit_test(events_of_an_upstream_name_it),
		cmocka_unit_test(an_event_without_memory_leaves_nothing),
		cmocka_unit_test(commands_are_read),
		cmocka_unit_test(what_is_no_command_is_named),
		cmocka_unit_test(names_never_are_the_zero_that_means_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
