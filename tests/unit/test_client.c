/*
 * Outgoing WebSocket connections: what opens, what does not and what is said
 * then, and that nothing is said after it was freed.
 */

#include "daemon/base/memory.h"
#include "tests/lib/client_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What the peer heard of us. */
struct overheard {
	char head[2048];
};

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
	struct client_test test;

	(void)snprintf(copy, sizeof(copy), "%s", answer);
	client_test_init(&test, refuses, copy);
	assert_int_equal(client_test_run(&test, NULL), 1);
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
	struct client_test test;

	(void)state;
	client_test_init(&test, refuses, NULL);
	assert_int_equal(peer_end(test.peer), 0);
	test.peer = peer_start(&(struct peer_options){ .script = refuses });
	assert_int_equal(client_test_run(&test, NULL), 0);
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
	struct client_test test;

	(void)state;
	client_test_init(&test, says_nothing, NULL);
	test.options.connect_timeout = ES_MS(30);
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_string_equal(test.text, "no answer in time");
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
	struct overheard overheard = { .head = "" };
	char host[64];
	struct client_test test;

	(void)state;
	client_test_init(&test, remembers_head, &overheard);
	test.options.headers = headers;
	test.options.subprotocol = "earshot.v1";
	assert_int_equal(client_test_run(&test, NULL), 1);
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
	struct client_test test;

	(void)state;
	client_test_init(&test, client_peer_hello, NULL);
	test.options.subprotocol = "earshot.v1";
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_string_equal(
	    test.text, "the peer does not speak the subprotocol");
}

static void
bad_options_are_refused(void **state)
{
	static const char *const split[] = { "A: b\r\nC: d", NULL };
	static const char *const nameless[] = { "just words", NULL };
	static const char *const many[] = { "a", "b", "c", "d", "e", NULL };
	struct client_test tests[9];
	size_t i;

	(void)state;
	for (i = 0; i < 9; i++)
		client_test_init(&tests[i], refuses, NULL);
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
		assert_int_equal(client_test_run(&tests[i], NULL), 0);
		assert_int_equal(tests[i].open_result, -EINVAL);
	}
}

static void
free_now(struct client_test *test)
{
	es_loop_assert(test->rig.loop);
	client_free(test->client);
	test->client = NULL;
	test->opened = 0; /* no end is told */
	test->open_result = -1;
	rig_done(&test->rig);
}

static void
freed_inside_its_callbacks_it_says_no_more(void **state)
{
	struct client_test test;

	(void)state;
	client_test_init(&test, client_peer_hello, NULL);
	test.at_open = free_now;
	assert_int_equal(client_test_run(&test, NULL), 1);
	client_test_init(&test, client_peer_hello, NULL);
	test.at_message = free_now;
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_int_equal(test.messages, 1);
	buffer_fini(&test.heard);
}

static void
begin_and_free(void *arg)
{
	struct client_test *test = arg;

	client_test_begin(test);
	free_now(test);
}

static void
freed_while_connecting_it_says_nothing(void **state)
{
	struct client_test test;

	(void)state;
	client_test_init(&test, says_nothing, NULL);
	rig_open(&test.rig, NULL);
	rig_run(&test.rig, begin_and_free, &test);
	rig_close(&test.rig);
	(void)peer_end(test.peer);
	assert_int_equal(test.failed, 0);
}

static void
tls_run(struct client_test *test, const char *name, const char *host,
    bool trusted, bool insecure)
{
	struct outbound_options trust = { .insecure = insecure };

	memset(test, 0, sizeof(*test));
	client_test_init(test, client_peer_hello, NULL);
	assert_int_equal(peer_end(test->peer), 0);
	test->peer = peer_start(&(struct peer_options){
	    .script = client_peer_hello, .tls_name = name });
	test->options.peer.port = peer_port(test->peer);
	test->options.peer.host = host;
	test->options.peer.tls = true;
	if (trusted)
		trust.ca_path = peer_certificate(test->peer);
	assert_int_equal(client_test_run(test, &trust), 1);
	buffer_fini(&test->heard);
}

static void
a_certificate_is_checked(void **state)
{
	struct client_test test;

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
	struct client_test *test = arg;

	client_test_begin(test);
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
		struct client_test test;

		client_test_init(&test, client_peer_hello, NULL);
		test.options.headers = headers;
		test.options.connect_timeout = ES_MS(100);
		rig_open(&test.rig, NULL);
		memory_fail_nth(n + 2); /* the rig's own calls come first */
		rig_run(&test.rig, fail_nth, &test);
		seen = test.open_result < 0 || test.failed;
		rig_run(&test.rig, client_test_free, &test);
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
		cmocka_unit_test(
		    an_answer_that_is_no_101_is_told_with_its_words),
		cmocka_unit_test(an_answer_that_is_wrong_is_no_connection),
		cmocka_unit_test(nobody_there_is_an_error),
		cmocka_unit_test(silence_ends_at_the_connect_timeout),
		cmocka_unit_test(the_request_says_what_it_should),
		cmocka_unit_test(a_subprotocol_must_be_agreed_on),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(freed_inside_its_callbacks_it_says_no_more),
		cmocka_unit_test(freed_while_connecting_it_says_nothing),
		cmocka_unit_test(a_certificate_is_checked),
		cmocka_unit_test(no_memory_is_an_error_and_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
