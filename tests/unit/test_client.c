/*
 * Outgoing WebSocket connections against a scripted peer: what opens, what
 * arrives, how it ends, and that it ends exactly once.
 */

#include "daemon/base/buffer.h"
#include "daemon/base/memory.h"
#include "daemon/lws/client.h"
#include "proto/frame.h"
#include "tests/lib/outbound_rig.h"
#include "tests/lib/peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEARD_MAX (1 << 20)

/* One connection, what was asked of it and everything it said. */
struct test {
	struct rig rig;
	struct peer *peer;
	struct client_options options;
	struct client *client;
	int open_result, opened, closed, failed, rooms;
	unsigned messages;
	struct buffer heard; /* 't' or 'b', the payload, '|' */
	unsigned code, status;
	char reason[256], text[OUTBOUND_TEXT_MAX], body[CLIENT_BODY_MAX + 1];
	char header[CLIENT_HEADER_VALUE_MAX];
	void (*at_open)(struct test *test);
	void (*at_message)(struct test *test);
	void (*at_room)(struct test *test);
	bool free_at_end;
};

static void
on_open(struct client *client, void *arg)
{
	struct test *test = arg;
	const char *header = client_header(client, "earshot-position");

	test->opened++;
	if (header != NULL)
		strcpy(test->header, header);
	assert_null(client_header(client, "earshot"));
	if (test->at_open != NULL)
		test->at_open(test);
}

static void
on_message(struct client *client, enum client_kind kind, const void *data,
    size_t len, void *arg)
{
	struct test *test = arg;

	(void)client;
	test->messages++;
	assert_int_equal(buffer_printf(&test->heard, HEARD_MAX, "%c",
			     kind == CLIENT_TEXT ? 't' : 'b'),
	    0);
	assert_int_equal(buffer_append(&test->heard, data, len, HEARD_MAX), 0);
	assert_int_equal(buffer_append(&test->heard, "|", 1, HEARD_MAX), 0);
	if (test->at_message != NULL)
		test->at_message(test);
}

static void
at_end(struct test *test)
{
	if (test->free_at_end) {
		client_free(test->client);
		test->client = NULL;
	}
	rig_done(&test->rig);
}

static void
on_close(struct client *client, uint16_t code, const char *reason, size_t len,
    void *arg)
{
	struct test *test = arg;

	(void)client;
	test->closed++;
	test->code = code;
	assert_true(len <= CLIENT_REASON_MAX);
	memcpy(test->reason, reason, len);
	at_end(test);
}

static void
on_error(struct client *client, const struct client_error *error, void *arg)
{
	struct test *test = arg;

	(void)client;
	test->failed++;
	test->status = error->status;
	(void)snprintf(test->text, sizeof(test->text), "%s", error->text);
	if (error->body_len > 0)
		memcpy(test->body, error->body, error->body_len);
	at_end(test);
}

static void
on_room(struct client *client, void *arg)
{
	struct test *test = arg;

	(void)client;
	test->rooms++;
	if (test->at_room != NULL)
		test->at_room(test);
}

static const struct client_ops ops = { on_open, on_message, on_close, on_error,
	on_room };

static void
begin(void *arg)
{
	struct test *test = arg;

	test->open_result = client_open(
	    test->rig.outbound, &test->options, &ops, test, &test->client);
	assert_int_equal(test->opened + test->failed, 0);
	if (test->open_result < 0)
		rig_done(&test->rig);
}

static const char *const wanted[] = { "earshot-position", "earshot", NULL };

static void
test_init(struct test *test, peer_script script, void *arg)
{
	memset(test, 0, sizeof(*test));
	test->peer =
	    peer_start(&(struct peer_options){ .script = script, .arg = arg });
	test->options = (struct client_options){
		.peer = { .address = "127.0.0.1",
		    .port = peer_port(test->peer),
		    .host = "localhost" },
		.path = "/ws/x?from=-1",
		.wanted = wanted,
		.message_bytes_max = 100000,
		.queue_bytes_max = 1000,
		.connect_timeout = ES_S(10),
		.close_timeout = ES_S(10),
	};
}

static void
end_client(void *arg)
{
	struct test *test = arg;

	client_free(test->client);
	rig_done(&test->rig);
}

/* The whole life of it; returns how many connections the peer saw. */
static int
test_run(struct test *test, const struct outbound_options *trust)
{
	int seen;

	rig_open(&test->rig, trust);
	rig_run(&test->rig, begin, test);
	rig_run(&test->rig, end_client, test);
	rig_close(&test->rig);
	seen = peer_end(test->peer);
	assert_int_equal(test->closed + test->failed, test->open_result == 0);
	assert_int_equal(test->closed, test->opened);
	return seen;
}

static void
expect_heard(struct test *test, const char *text)
{
	assert_int_equal(test->heard.len, strlen(text));
	if (test->heard.len > 0)
		assert_memory_equal(test->heard.data, text, test->heard.len);
	buffer_fini(&test->heard);
}

static void
close_with(struct peer *peer, const char *code_and_reason)
{
	char answer[125];
	unsigned opcode;

	(void)peer_write_frame(
	    peer, true, FRAME_CLOSE, code_and_reason, strlen(code_and_reason));
	while (peer_read_frame(peer, &opcode, answer, sizeof(answer)) >= 0 &&
	       opcode != FRAME_CLOSE)
		continue;
}

static void
says_hello(struct peer *peer, void *arg)
{
	(void)arg;
	if (!peer_upgrade(peer, "Earshot-Position: 0123456789abcdef:41\r\n"))
		return;
	(void)peer_write_frame(peer, true, FRAME_TEXT, "hi \xc3\xa4", 5);
	(void)peer_write_frame(peer, true, FRAME_BINARY, "\xff", 1);
	(void)peer_write_frame(peer, true, FRAME_TEXT, "", 0);
	close_with(peer, "\x03\xe9shutdown retry_after_ms=840");
}

static void
messages_arrive_whole_and_the_end_is_told(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, says_hello, NULL);
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.opened, 1);
	assert_string_equal(test.header, "0123456789abcdef:41");
	expect_heard(&test, "thi \xc3\xa4|b\xff|t|");
	assert_int_equal(test.code, 1001);
	assert_string_equal(test.reason, "shutdown retry_after_ms=840");
}

static void
says_pieces(struct peer *peer, void *arg)
{
	char big[40000];

	(void)arg;
	if (!peer_upgrade(peer, ""))
		return;
	memset(big, 'x', sizeof(big));
	(void)peer_write_frame(peer, false, FRAME_TEXT, "a\xc3", 2);
	(void)peer_write_frame(peer, true, FRAME_PING, "?", 1);
	(void)peer_write_frame(peer, false, FRAME_CONTINUATION, "", 0);
	(void)peer_write_frame(peer, true, FRAME_CONTINUATION, "\xa4z", 2);
	(void)peer_write_frame(peer, false, FRAME_BINARY, "", 0);
	(void)peer_write_frame(peer, true, FRAME_CONTINUATION, "q", 1);
	(void)peer_write_frame(peer, true, FRAME_BINARY, big, sizeof(big));
	close_with(peer, "\x03\xe8");
}

static void
fragments_and_long_frames_are_put_together(void **state)
{
	struct test test;
	char expected[40100];

	(void)state;
	test_init(&test, says_pieces, NULL);
	assert_int_equal(test_run(&test, NULL), 1);
	(void)snprintf(
	    expected, sizeof(expected), "ta\xc3\xa4z|bq|b%040000d|", 0);
	memset(strrchr(expected, 'b') + 1, 'x', 40000);
	expect_heard(&test, expected);
	assert_int_equal(test.code, 1000);
}

/* What the peer hears of us, as a script's argument. */
struct overheard {
	char head[2048];
	char text[4096];
	unsigned close_code;
};

static void
listens(struct peer *peer, void *arg)
{
	struct overheard *overheard = arg;
	char payload[2048];
	unsigned opcode;
	int64_t n;

	if (!peer_upgrade(peer, ""))
		return;
	while ((n = peer_read_frame(peer, &opcode, payload, sizeof(payload))) >=
	       0) {
		if (opcode == FRAME_CLOSE) {
			if (n >= 2)
				overheard->close_code =
				    (unsigned)((uint8_t)payload[0] << 8 |
					       (uint8_t)payload[1]);
			(void)peer_write_frame(
			    peer, true, FRAME_CLOSE, payload, (size_t)n);
			return;
		}
		(void)snprintf(overheard->text + strlen(overheard->text),
		    sizeof(overheard->text) - strlen(overheard->text),
		    "%c%.*s|", opcode == FRAME_TEXT ? 't' : 'b', (int)n,
		    payload);
	}
}

static void
send_and_close(struct test *test)
{
	struct client *client = test->client;
	char big[2000];

	memset(big, 'x', sizeof(big));
	assert_int_equal(client_send(client, CLIENT_TEXT, "one", 3), 0);
	assert_int_equal(client_send(client, CLIENT_BINARY, "\xfe", 1), 0);
	assert_int_equal(client_send(client, CLIENT_TEXT, "\xfe", 1), -EILSEQ);
	assert_int_equal(
	    client_send(client, CLIENT_BINARY, big, sizeof(big)), -EMSGSIZE);
	assert_int_equal(client_send(client, CLIENT_TEXT, "", 0), 0);
	client_close(client, 4000, "enough");
	client_close(client, 4001, "late");
	assert_int_equal(
	    client_send(client, CLIENT_TEXT, "late", 4), -ENOTCONN);
}

static void
what_is_sent_arrives_before_the_close(void **state)
{
	struct overheard overheard = { .close_code = 0 };
	struct test test;

	(void)state;
	test_init(&test, listens, &overheard);
	test.at_open = send_and_close;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_string_equal(overheard.text, "tone|b\xfe|t|");
	assert_int_equal(overheard.close_code, 4000);
	assert_int_equal(test.code, 4000);
	assert_string_equal(test.reason, "enough");
}

static void
fill_queue(struct test *test)
{
	int result, sent = 0;

	while ((result = client_send(
		    test->client, CLIENT_TEXT, "0123456789", 10)) == 0)
		sent++;
	assert_int_equal(result, -EAGAIN);
	assert_true(sent > 2 && sent < 100);
}

static void
close_at_room(struct test *test)
{
	if (test->rooms == 1)
		fill_queue(test);
	else
		client_close(test->client, 1000, "");
}

static void
a_full_queue_says_when_there_is_room(void **state)
{
	struct overheard overheard = { .close_code = 0 };
	struct test test;

	(void)state;
	test_init(&test, listens, &overheard);
	test.at_open = fill_queue;
	test.at_room = close_at_room;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.rooms, 2);
	assert_int_equal(test.code, 1000);
	assert_true(strlen(overheard.text) > 20 * 12);
}

static void
refuses(struct peer *peer, void *arg)
{
	char head[2048];

	if (peer_read_head(peer, head, sizeof(head)))
		(void)peer_puts(peer, arg);
}

static void
expect_refusal(
    const char *answer, unsigned status, const char *text, const char *body)
{
	char copy[2048];
	struct test test;

	(void)snprintf(copy, sizeof(copy), "%s", answer);
	test_init(&test, refuses, copy);
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.failed, 1);
	assert_int_equal(test.status, status);
	if (strstr(test.text, text) == NULL)
		fail_msg("not in \"%s\": %s", test.text, text);
	assert_string_equal(test.body, body);
}

static void
an_answer_that_is_no_101_is_told_with_its_words(void **state)
{
	(void)state;
	expect_refusal("HTTP/1.1 403 Forbidden\r\n"
		       "Content-Type: application/json\r\n"
		       "Content-Length: 9\r\n\r\n{\"a\":\"b\"}",
	    403, "HTTP 403 Forbidden, expected 101", "{\"a\":\"b\"}");
	expect_refusal("HTTP/1.1 503 Service Unavailable\r\n"
		       "Content-Length: 0\r\n\r\n",
	    503, "HTTP 503", "");
	expect_refusal("HTTP/1.1 401 Unauthorized\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n"
		       "3\r\nwho\r\n1\r\n?\r\n0\r\n\r\n",
	    401, "HTTP 401", "who?");
	expect_refusal("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
		       "Content-Length: 0\r\n\r\n",
	    302, "HTTP 302 Found", "");
	expect_refusal(
	    "HTTP/1.1 200 OK\r\n\r\nhello", 200, "HTTP 200 OK", "hello");
}

static void
an_answer_that_is_wrong_is_no_connection(void **state)
{
	(void)state;
	expect_refusal("HTTP/1.1 101 Switching Protocols\r\n"
		       "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		       "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"
		       "\r\n",
	    101, "", "");
	expect_refusal("HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, "", "");
	expect_refusal("SSH-2.0-OpenSSH_9.2\r\n", 0, "", "");
	expect_refusal("", 0, "", "");
}

static void
nobody_there_is_an_error(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, refuses, NULL);
	assert_int_equal(peer_end(test.peer), 0);
	test.peer = peer_start(&(struct peer_options){ .script = refuses });
	assert_int_equal(test_run(&test, NULL), 0);
	assert_int_equal(test.status, 0);
	assert_string_equal(test.text, "Connection refused");
}

static void
says_nothing(struct peer *peer, void *arg)
{
	(void)arg;
	peer_wait_end(peer);
}

static void
silence_ends_at_the_connect_timeout(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, says_nothing, NULL);
	test.options.connect_timeout = ES_MS(30);
	assert_int_equal(test_run(&test, NULL), 1);
	assert_string_equal(test.text, "no answer in time");
}

static void
opens_and_ignores(struct peer *peer, void *arg)
{
	(void)arg;
	if (peer_upgrade(peer, ""))
		peer_wait_end(peer);
}

static void
close_at_once(struct test *test)
{
	client_close(test->client, 1000, "bye");
}

static void
a_close_without_answer_ends_at_the_close_timeout(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, opens_and_ignores, NULL);
	test.options.close_timeout = ES_MS(30);
	test.at_open = close_at_once;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.code, 1000);
}

static void
says_and_listens(struct peer *peer, void *arg)
{
	struct overheard *overheard = arg;
	char payload[2048];
	unsigned opcode;
	int64_t n;

	if (!peer_upgrade(peer, "") ||
	    !peer_write(peer, overheard->head, strlen(overheard->head)))
		return;
	do
		n = peer_read_frame(peer, &opcode, payload, sizeof(payload));
	while (n >= 0 && opcode != FRAME_CLOSE);
	if (n < 2)
		return;
	overheard->close_code =
	    (unsigned)((uint8_t)payload[0] << 8 | (uint8_t)payload[1]);
	(void)peer_write_frame(peer, true, FRAME_CLOSE, payload, (size_t)n);
}

/* Those bytes (no NUL among them) make us close with that code. */
static void
expect_violation(const char *bytes, unsigned code)
{
	struct overheard overheard = { .close_code = 0 };
	struct test test;

	strcpy(overheard.head, bytes);
	test_init(&test, says_and_listens, &overheard);
	test.options.message_bytes_max = 10;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.opened, 1);
	expect_heard(&test, "");
	assert_int_equal(overheard.close_code, code);
	assert_int_equal(test.code, code);
}

static void
bad_text_and_long_messages_are_answered_with_a_close(void **state)
{
	(void)state;
	expect_violation("\x81\x02\xc3z", 1007);
	expect_violation("\x81\x01\xc3", 1007);
	expect_violation("\x01\x01\xc3\x80\x01z", 1007);
	expect_violation("\x82\x0b"
			 "01234567890",
	    1009);
	expect_violation("\x02\x06"
			 "012345\x80\x05"
			 "67890",
	    1009);
}

static void
ends_abruptly(struct peer *peer, void *arg)
{
	(void)arg;
	if (peer_upgrade(peer, ""))
		(void)peer_write_frame(peer, true, FRAME_TEXT, "so", 2);
}

static void
an_end_without_a_close_is_1006(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, ends_abruptly, NULL);
	assert_int_equal(test_run(&test, NULL), 1);
	expect_heard(&test, "tso|");
	assert_int_equal(test.code, 1006);
	test_init(&test, ends_abruptly, NULL);
	test.free_at_end = true;
	assert_int_equal(test_run(&test, NULL), 1);
	buffer_fini(&test.heard);
}

static void
closes_without_code(struct peer *peer, void *arg)
{
	(void)arg;
	if (peer_upgrade(peer, ""))
		close_with(peer, "");
}

static void
a_close_without_a_code_is_1005(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, closes_without_code, NULL);
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.code, 1005);
}

static void
remembers_head(struct peer *peer, void *arg)
{
	struct overheard *overheard = arg;

	if (peer_read_head(peer, overheard->head, sizeof(overheard->head)))
		(void)peer_puts(peer, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void
the_request_says_what_it_should(void **state)
{
	static const char *const headers[] = { "Authorization: Bearer x",
		"X-Two: 2", NULL };
	struct overheard overheard = { .close_code = 0 };
	char host[64];
	struct test test;

	(void)state;
	test_init(&test, remembers_head, &overheard);
	test.options.headers = headers;
	test.options.subprotocol = "earshot.v1";
	assert_int_equal(test_run(&test, NULL), 1);
	(void)snprintf(host, sizeof(host), "\r\nHost: localhost:%u\r\n",
	    test.options.peer.port);
	assert_non_null(
	    strstr(overheard.head, "GET /ws/x?from=-1 HTTP/1.1\r\n"));
	assert_non_null(strstr(overheard.head, host));
	assert_non_null(strstr(
	    overheard.head, "\r\nAuthorization: Bearer x\r\nX-Two: 2\r\n"));
	assert_non_null(strstr(
	    overheard.head, "\r\nSec-WebSocket-Protocol: earshot.v1\r\n"));
	assert_null(strcasestr(overheard.head, "extensions"));
	assert_null(strcasestr(overheard.head, "origin"));
}

static void
a_subprotocol_must_be_agreed_on(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, says_hello, NULL);
	test.options.subprotocol = "earshot.v1";
	assert_int_equal(test_run(&test, NULL), 1);
	assert_string_equal(
	    test.text, "the peer does not speak the subprotocol");
}

static void
bad_options_are_refused(void **state)
{
	static const char *const split[] = { "A: b\r\nC: d", NULL };
	static const char *const nameless[] = { "just words", NULL };
	static const char *const many[] = { "a", "b", "c", "d", "e", NULL };
	struct test tests[9];
	size_t i;

	(void)state;
	for (i = 0; i < 9; i++)
		test_init(&tests[i], refuses, NULL);
	tests[0].options.peer.address = "localhost";
	tests[1].options.peer.port = 0;
	tests[2].options.peer.host = "";
	tests[3].options.peer.host = "a\r\nb";
	tests[4].options.path = "x";
	tests[5].options.path = "/x y";
	tests[6].options.headers = split;
	tests[7].options.headers = nameless;
	tests[8].options.wanted = many;
	for (i = 0; i < 9; i++) {
		assert_int_equal(test_run(&tests[i], NULL), 0);
		assert_int_equal(tests[i].open_result, -EINVAL);
	}
}

static void
free_now(struct test *test)
{
	client_free(test->client);
	test->client = NULL;
	test->opened = 0; /* no end is told */
	test->open_result = -1;
	rig_done(&test->rig);
}

static void
freed_inside_its_callbacks_it_says_no_more(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, says_hello, NULL);
	test.at_open = free_now;
	assert_int_equal(test_run(&test, NULL), 1);
	test_init(&test, says_hello, NULL);
	test.at_message = free_now;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.messages, 1);
	buffer_fini(&test.heard);
}

static void
begin_and_free(void *arg)
{
	struct test *test = arg;

	begin(test);
	free_now(test);
}

static void
freed_while_connecting_it_says_nothing(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, says_nothing, NULL);
	rig_open(&test.rig, NULL);
	rig_run(&test.rig, begin_and_free, &test);
	rig_close(&test.rig);
	(void)peer_end(test.peer);
	assert_int_equal(test.failed, 0);
}

static void
on_resume(void *arg)
{
	struct test *test = arg;

	assert_int_equal(test->messages, 0);
	client_resume(test->client);
}

static void
pause_for_a_while(struct test *test)
{
	client_pause(test->client);
	assert_int_equal(es_call_later(test->rig.loop, ES_MS(50), "test",
			     on_resume, test, NULL, NULL),
	    0);
}

static void
opens_then_says(struct peer *peer, void *arg)
{
	(void)arg;
	if (!peer_upgrade(peer, ""))
		return;
	(void)usleep(10000); /* so that it is paused, mostly */
	(void)peer_write_frame(peer, true, FRAME_TEXT, "late", 4);
	close_with(peer, "\x03\xe8");
}

static void
nothing_is_lost_by_a_pause(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, opens_then_says, NULL);
	test.at_open = pause_for_a_while;
	assert_int_equal(test_run(&test, NULL), 1);
	expect_heard(&test, "tlate|");
	assert_int_equal(test.code, 1000);
}

static void
tls_run(struct test *test, const char *name, const char *host, bool trusted,
    bool insecure)
{
	struct outbound_options trust = { .insecure = insecure };

	memset(test, 0, sizeof(*test));
	test_init(test, says_hello, NULL);
	assert_int_equal(peer_end(test->peer), 0);
	test->peer = peer_start(
	    &(struct peer_options){ .script = says_hello, .tls_name = name });
	test->options.peer.port = peer_port(test->peer);
	test->options.peer.host = host;
	test->options.peer.tls = true;
	if (trusted)
		trust.ca_path = peer_certificate(test->peer);
	assert_int_equal(test_run(test, &trust), 1);
	buffer_fini(&test->heard);
}

static void
a_certificate_is_checked(void **state)
{
	struct test test;

	(void)state;
	tls_run(&test, "localhost", "localhost", true, false);
	assert_int_equal(test.code, 1001);
	assert_int_equal(test.messages, 3);
	tls_run(&test, "127.0.0.1", "127.0.0.1", true, false);
	assert_int_equal(test.code, 1001);
	tls_run(&test, "elsewhere", "localhost", true, false);
	assert_int_equal(test.failed, 1);
	if (strstr(test.text, "ostname mismatch") == NULL)
		fail_msg("not told: %s", test.text);
	tls_run(&test, "localhost", "localhost", false, false);
	assert_int_equal(test.failed, 1);
	assert_non_null(strstr(test.text, "self"));
	tls_run(&test, "elsewhere", "localhost", false, true);
	assert_int_equal(test.code, 1001);
}

static void
fail_nth(void *arg)
{
	struct test *test = arg;

	begin(test);
	memory_fail_nth(0);
}

static void
no_memory_is_an_error_and_no_leak(void **state)
{
	static const char *const headers[] = { "A: b", NULL };
	int64_t n;
	bool seen = true;

	(void)state;
	for (n = 1; seen; n++) {
		struct test test;

		test_init(&test, says_hello, NULL);
		test.options.headers = headers;
		test.options.connect_timeout = ES_MS(100);
		rig_open(&test.rig, NULL);
		memory_fail_nth(n + 2); /* the rig's own calls come first */
		rig_run(&test.rig, fail_nth, &test);
		seen = test.open_result < 0 || test.failed;
		rig_run(&test.rig, end_client, &test);
		rig_close(&test.rig);
		(void)peer_end(test.peer);
		buffer_fini(&test.heard);
		assert_true(n < 100);
	}
	assert_true(n > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_whole_and_the_end_is_told),
		cmocka_unit_test(fragments_and_long_frames_are_put_together),
		cmocka_unit_test(what_is_sent_arrives_before_the_close),
		cmocka_unit_test(a_full_queue_says_when_there_is_room),
		cmocka_unit_test(
		    an_answer_that_is_no_101_is_told_with_its_words),
		cmocka_unit_test(an_answer_that_is_wrong_is_no_connection),
		cmocka_unit_test(nobody_there_is_an_error),
		cmocka_unit_test(silence_ends_at_the_connect_timeout),
		cmocka_unit_test(
		    a_close_without_answer_ends_at_the_close_timeout),
		cmocka_unit_test(
		    bad_text_and_long_messages_are_answered_with_a_close),
		cmocka_unit_test(an_end_without_a_close_is_1006),
		cmocka_unit_test(a_close_without_a_code_is_1005),
		cmocka_unit_test(the_request_says_what_it_should),
		cmocka_unit_test(a_subprotocol_must_be_agreed_on),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(freed_inside_its_callbacks_it_says_no_more),
		cmocka_unit_test(freed_while_connecting_it_says_nothing),
		cmocka_unit_test(nothing_is_lost_by_a_pause),
		cmocka_unit_test(a_certificate_is_checked),
		cmocka_unit_test(no_memory_is_an_error_and_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
