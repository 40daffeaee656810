/*
 * POSTs against a scripted server: one connection for many, another when it
 * ended, and what is told when there is no answer.
 */

#include "daemon/base/memory.h"
#include "daemon/lws/http_client.h"
#include "tests/lib/outbound_rig.h"
#include "tests/lib/peer.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIG_BYTES (8 << 20)

struct test {
	struct rig rig;
	struct peer *peer;
	struct http_client_options options;
	struct http_client *client;
	int open_result, post_result;
	int posts_wanted, answers;
	const void *body;
	size_t len;
	unsigned status;
	char text[256], answer[256];
	bool begun, close_at_answer;
	char heads[4096]; /* of the requests, by the server's script */
	char bodies[4096];
};

static void post(struct test *test);

static void
close_client(struct test *test)
{
	es_loop_assert(test->rig.loop);
	http_client_close(test->client);
	test->client = NULL;
}

static void
on_done(const struct http_result *result, void *arg)
{
	struct test *test = arg;

	test->answers++;
	test->status = result->status;
	test->begun = result->begun;
	(void)snprintf(test->text, sizeof(test->text), "%s", result->text);
	(void)snprintf(test->answer, sizeof(test->answer), "%.*s",
	    (int)result->len,
	    result->len > 0 ? (const char *)result->body : "");
	if (test->close_at_answer)
		close_client(test);
	if (test->answers < test->posts_wanted)
		post(test);
	else
		rig_done(&test->rig);
}

static void
post(struct test *test)
{
	const int answers = test->answers;

	es_loop_assert(test->rig.loop);
	test->post_result = http_client_post(test->client, "/x?split=lines",
	    NULL, "text/plain", test->body, test->len, on_done, test);
	assert_int_equal(test->answers, answers);
	if (test->post_result < 0)
		rig_done(&test->rig);
	else
		assert_int_equal(http_client_post(test->client, "/", NULL,
				     "a/b", "", 0, on_done, test),
		    -EBUSY);
}

static void
begin(void *arg)
{
	struct test *test = arg;

	es_loop_assert(test->rig.loop);
	test->open_result =
	    http_client_open(test->rig.outbound, &test->options, &test->client);
	if (test->open_result == 0)
		post(test);
	else
		rig_done(&test->rig);
}

static void
end_client(void *arg)
{
	struct test *test = arg;

	close_client(test);
	rig_done(&test->rig);
}

static void
test_init(struct test *test, const struct peer_options *options)
{
	struct peer_options with_test = *options;

	memset(test, 0, sizeof(*test));
	with_test.arg = test;
	test->peer = peer_start(&with_test);
	test->body = "hello";
	test->len = 5;
	test->options = (struct http_client_options){
		.peer = { .address = "127.0.0.1",
		    .port = peer_port(test->peer),
		    .host = "localhost",
		    .tls = options->tls_name != NULL },
		.connect_timeout = ES_S(10),
		.answer_timeout = ES_S(10),
		.answer_bytes_max = 200,
	};
}

static int
test_run(struct test *test, const struct outbound_options *trust)
{
	rig_open(&test->rig, trust);
	rig_run(&test->rig, begin, test);
	rig_run(&test->rig, end_client, test);
	rig_close(&test->rig);
	return peer_end(test->peer);
}

/* Reads one request and keeps it. */
static bool
read_request(struct peer *peer, struct test *test)
{
	char head[2048], body[2048] = "", *length;
	size_t len;

	if (!peer_read_head(peer, head, sizeof(head)))
		return false;
	length = strstr(head, "Content-Length: ");
	len = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
	if (len >= sizeof(body) || !peer_read(peer, body, len))
		return false;
	strcat(test->heads, head);
	strcat(test->bodies, body);
	strcat(test->bodies, "|");
	return true;
}

static void
says_created(struct peer *peer, void *arg)
{
	while (read_request(peer, arg))
		if (!peer_puts(peer, "HTTP/1.1 201 Created\r\n"
				     "Content-Length: 2\r\n\r\nok"))
			break;
}

static void
posts_share_a_connection(void **state)
{
	char host[64];
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = says_created });
	test.posts_wanted = 3;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.answers, 3);
	assert_int_equal(test.status, 201);
	assert_string_equal(test.text, "Created");
	assert_string_equal(test.answer, "ok");
	assert_string_equal(test.bodies, "hello|hello|hello|");
	(void)snprintf(host, sizeof(host), "\r\nHost: localhost:%u\r\n",
	    test.options.peer.port);
	assert_non_null(strstr(test.heads, "POST /x?split=lines HTTP/1.1\r\n"));
	assert_non_null(strstr(test.heads, host));
	assert_non_null(strstr(test.heads, "\r\nContent-Type: text/plain\r\n"));
}

static void
says_one_and_ends(struct peer *peer, void *arg)
{
	if (read_request(peer, arg))
		(void)peer_puts(peer, "HTTP/1.1 201 Created\r\n"
				      "Connection: close\r\n"
				      "Content-Length: 2\r\n\r\nok");
}

static void
one_that_ended_is_replaced(void **state)
{
	struct test test;

	(void)state;
	test_init(&test,
	    &(struct peer_options){ .script = says_one_and_ends, .times = 3 });
	test.posts_wanted = 3;
	assert_int_equal(test_run(&test, NULL), 3);
	assert_int_equal(test.answers, 3);
	assert_string_equal(test.bodies, "hello|hello|hello|");
}

static void
says_extra(struct peer *peer, void *arg)
{
	if (read_request(peer, arg))
		(void)peer_puts(peer, "HTTP/1.1 201 Created\r\n"
				      "Content-Length: 2\r\n\r\nok"
				      "HTTP/1.1 500 Surprise\r\n"
				      "Content-Length: 0\r\n\r\n");
	peer_wait_end(peer);
}

static void
an_answer_nobody_asked_for_ends_the_connection(void **state)
{
	struct test test;

	(void)state;
	test_init(
	    &test, &(struct peer_options){ .script = says_extra, .times = 2 });
	test.posts_wanted = 2;
	assert_int_equal(test_run(&test, NULL), 2);
	assert_int_equal(test.answers, 2);
	assert_int_equal(test.status, 201);
}

static void
says_too_large(struct peer *peer, void *arg)
{
	char head[2048];

	(void)arg;
	if (peer_read_head(peer, head, sizeof(head)))
		(void)peer_puts(peer, "HTTP/1.1 413 Content Too Large\r\n"
				      "Content-Length: 2\r\n\r\nno");
	peer_wait_end(peer);
}

static void
an_early_answer_counts(void **state)
{
	struct test test;
	char *big = calloc(1, BIG_BYTES);

	(void)state;
	assert_non_null(big);
	test_init(&test, &(struct peer_options){ .script = says_too_large });
	test.body = big;
	test.len = BIG_BYTES;
	assert_int_equal(test_run(&test, NULL), 1);
	free(big);
	assert_int_equal(test.status, 413);
	assert_string_equal(test.answer, "no");
}

static void
reads_and_ends(struct peer *peer, void *arg)
{
	(void)read_request(peer, arg);
}

static void
ends_at_once(struct peer *peer, void *arg)
{
	(void)peer;
	(void)arg;
}

static void
says_garbage(struct peer *peer, void *arg)
{
	if (read_request(peer, arg))
		(void)peer_puts(peer, "SSH-2.0-OpenSSH_9.2\r\n");
	peer_wait_end(peer);
}

static void
says_half(struct peer *peer, void *arg)
{
	if (read_request(peer, arg))
		(void)peer_puts(
		    peer, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\no");
}

static void
says_too_much(struct peer *peer, void *arg)
{
	if (read_request(peer, arg))
		(void)peer_puts(peer,
		    "HTTP/1.1 201 Created\r\nContent-Length: 201\r\n\r\n");
	peer_wait_end(peer);
}

static void
expect_no_answer(peer_script script, const char *text)
{
	struct test test;

	test_init(&test, &(struct peer_options){ .script = script });
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.answers, 1);
	assert_int_equal(test.status, 0);
	assert_true(test.begun);
	if (text != NULL)
		assert_string_equal(test.text, text);
}

static void
no_answer_says_that_it_may_have_been_seen(void **state)
{
	(void)state;
	expect_no_answer(reads_and_ends, "the server closed the connection");
	expect_no_answer(ends_at_once, NULL);
	expect_no_answer(says_garbage, "the answer is not HTTP/1.1");
	expect_no_answer(says_half, "the answer ended in its middle");
	expect_no_answer(says_too_much, "the answer is too long");
}

static void
nobody_there_has_not_seen_it(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = ends_at_once });
	assert_int_equal(peer_end(test.peer), 0);
	test.peer =
	    peer_start(&(struct peer_options){ .script = ends_at_once });
	assert_int_equal(test_run(&test, NULL), 0);
	assert_int_equal(test.answers, 1);
	assert_int_equal(test.status, 0);
	assert_false(test.begun);
	assert_string_equal(test.text, "Connection refused");
}

static void
says_nothing(struct peer *peer, void *arg)
{
	(void)arg;
	peer_wait_end(peer);
}

static void
silence_ends_at_the_answer_timeout(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = says_nothing });
	test.options.answer_timeout = ES_MS(30);
	assert_int_equal(test_run(&test, NULL), 1);
	assert_string_equal(test.text, "no answer in time");
	assert_true(test.begun);
}

static void
closed_inside_done_it_is_gone(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = says_created });
	test.close_at_answer = true;
	assert_int_equal(test_run(&test, NULL), 1);
	assert_int_equal(test.answers, 1);
}

static void
begin_and_close(void *arg)
{
	begin(arg);
	end_client(arg);
}

static void
closed_before_the_answer_it_says_nothing(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = says_nothing });
	rig_open(&test.rig, NULL);
	rig_run(&test.rig, begin_and_close, &test);
	rig_close(&test.rig);
	(void)peer_end(test.peer);
	assert_int_equal(test.answers, 0);
}

static void
tls_run(struct test *test, const char *name, bool trusted, bool insecure)
{
	struct outbound_options trust = { .insecure = insecure };

	test_init(test,
	    &(struct peer_options){ .script = says_created, .tls_name = name });
	test->posts_wanted = 2;
	if (trusted)
		trust.ca_path = peer_certificate(test->peer);
	else
		test->posts_wanted = 1;
	assert_int_equal(test_run(test, &trust), 1);
}

static void
a_certificate_is_checked(void **state)
{
	struct test test;

	(void)state;
	tls_run(&test, "localhost", true, false);
	assert_int_equal(test.answers, 2);
	assert_int_equal(test.status, 201);
	tls_run(&test, "localhost", false, false);
	assert_int_equal(test.status, 0);
	assert_false(test.begun);
	assert_string_equal(test.text, "TLS: self-signed certificate");
	tls_run(&test, "elsewhere", false, true);
	assert_int_equal(test.status, 201);
}

static void
a_certificate_for_another_name_is_refused(void **state)
{
	struct outbound_options trust = { .insecure = false };
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){
			     .script = says_created, .tls_name = "elsewhere" });
	trust.ca_path = peer_certificate(test.peer);
	assert_int_equal(test_run(&test, &trust), 1);
	assert_int_equal(test.status, 0);
	assert_string_equal(test.text, "TLS: hostname mismatch");
}

static void
open_untrusted(void *arg)
{
	struct test *test = arg;
	char text[OUTBOUND_TEXT_MAX] = "";
	struct outbound *outbound;

	es_loop_assert(test->rig.loop);
	assert_int_equal(
	    outbound_open(test->rig.glue,
		&(struct outbound_options){ .ca_path = "/nowhere/ca.pem" },
		text, &outbound),
	    -EINVAL);
	assert_string_equal(text, "/nowhere/ca.pem: No such file or directory,"
				  " expected certificates in PEM");
	assert_int_equal(
	    outbound_open(test->rig.glue,
		&(struct outbound_options){ .ca_path = "/dev/null" }, text,
		&outbound),
	    -EINVAL);
	rig_done(&test->rig);
}

static void
a_certificate_file_that_is_none_is_told(void **state)
{
	struct test test;

	(void)state;
	rig_open(&test.rig, NULL);
	rig_run(&test.rig, open_untrusted, &test);
	rig_close(&test.rig);
}

static void
bad_options_are_refused(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = says_nothing });
	test.options.peer.address = "localhost";
	assert_int_equal(test_run(&test, NULL), 0);
	assert_int_equal(test.open_result, -EINVAL);
}

static void
post_badly(void *arg)
{
	struct test *test = arg;

	es_loop_assert(test->rig.loop);
	assert_int_equal(
	    http_client_open(test->rig.outbound, &test->options, &test->client),
	    0);
	assert_int_equal(http_client_post(test->client, "x", NULL, "a/b", "", 0,
			     on_done, test),
	    -EINVAL);
	assert_int_equal(http_client_post(test->client, "/x y", NULL, "a/b", "",
			     0, on_done, test),
	    -EINVAL);
	assert_int_equal(http_client_post(test->client, "/", NULL,
			     "a/b\r\nX: y", "", 0, on_done, test),
	    -EINVAL);
	assert_int_equal(http_client_post(test->client, "/", "X: y\r\nZ: y",
			     "a/b", "", 0, on_done, test),
	    -EINVAL);
	assert_int_equal(http_client_post(test->client, "/", "X", "a/b", "", 0,
			     on_done, test),
	    -EINVAL);
	end_client(test);
}

static void
bad_paths_are_refused(void **state)
{
	struct test test;

	(void)state;
	test_init(&test, &(struct peer_options){ .script = says_nothing });
	rig_open(&test.rig, NULL);
	rig_run(&test.rig, post_badly, &test);
	rig_close(&test.rig);
	assert_int_equal(peer_end(test.peer), 0);
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
	int64_t n;
	bool seen = true;

	(void)state;
	for (n = 1; seen; n++) {
		struct test test;

		test_init(
		    &test, &(struct peer_options){ .script = says_created });
		test.options.answer_timeout = ES_MS(100);
		test.options.connect_timeout = ES_MS(100);
		rig_open(&test.rig, NULL);
		memory_fail_nth(n + 2); /* the rig's own calls come first */
		rig_run(&test.rig, fail_nth, &test);
		seen = test.open_result < 0 || test.post_result < 0 ||
		       test.status == 0;
		rig_run(&test.rig, end_client, &test);
		rig_close(&test.rig);
		(void)peer_end(test.peer);
		assert_true(n < 100);
	}
	assert_true(n > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(posts_share_a_connection),
		cmocka_unit_test(one_that_ended_is_replaced),
		cmocka_unit_test(
		    an_answer_nobody_asked_for_ends_the_connection),
		cmocka_unit_test(an_early_answer_counts),
		cmocka_unit_test(no_answer_says_that_it_may_have_been_seen),
		cmocka_unit_test(nobody_there_has_not_seen_it),
		cmocka_unit_test(silence_ends_at_the_answer_timeout),
		cmocka_unit_test(closed_inside_done_it_is_gone),
		cmocka_unit_test(closed_before_the_answer_it_says_nothing),
		cmocka_unit_test(a_certificate_is_checked),
		cmocka_unit_test(a_certificate_for_another_name_is_refused),
		cmocka_unit_test(a_certificate_file_that_is_none_is_told),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(bad_paths_are_refused),
		cmocka_unit_test(no_memory_is_an_error_and_no_leak),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
