/*
 * HTTP answers, cut into pieces of every size: what is taken, what is refused
 * and how much of the stream belongs to the answer.
 */

#include "daemon/base/memory.h"
#include "daemon/lws/http_answer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BODY_MAX 64

/* What the parser says of text in pieces of that size, each in own memory. */
static int
feed_pieces(
    struct http_answer *answer, const char *text, size_t piece, size_t *ret_at)
{
	const size_t len = strlen(text);
	size_t at = 0, used;
	int result = 0;

	while (at < len && result == 0) {
		const size_t n = len - at < piece ? len - at : piece;
		char *copy = memory_dup(text + at, n);

		assert_non_null(copy);
		used = 0;
		result = http_answer_feed(answer, copy, n, &used);
		memory_free(copy);
		assert_true(used <= n);
		if (result == 0)
			assert_int_equal(used, n);
		at += used;
	}
	*ret_at = at;
	return result;
}

struct expected {
	unsigned status;
	const char *body;
	bool keeps_alive;
	size_t left; /* bytes at the end of the text that are not its */
};

static void
expect_answer(const char *text, const struct expected *expected)
{
	size_t piece, at;

	for (piece = 1; piece <= strlen(text); piece++) {
		struct http_answer answer;
		int result;

		http_answer_init(&answer, BODY_MAX);
		assert_true(http_answer_untouched(&answer));
		result = feed_pieces(&answer, text, piece, &at);
		assert_false(http_answer_untouched(&answer));
		if (result == 0)
			result = http_answer_end(&answer);
		assert_int_equal(result, 1);
		assert_int_equal(answer.status, expected->status);
		assert_int_equal(answer.body.len, strlen(expected->body));
		if (answer.body.len > 0)
			assert_memory_equal(
			    answer.body.data, expected->body, answer.body.len);
		assert_int_equal(answer.keeps_alive, expected->keeps_alive);
		assert_int_equal(strlen(text) - at, expected->left);
		http_answer_fini(&answer);
	}
}

static void
expect_fault(const char *text, int fault)
{
	size_t piece, at;

	for (piece = 1; piece <= strlen(text); piece++) {
		struct http_answer answer;
		int result;

		http_answer_init(&answer, BODY_MAX);
		result = feed_pieces(&answer, text, piece, &at);
		if (result == 0)
			result = http_answer_end(&answer);
		assert_int_equal(result, fault);
		http_answer_fini(&answer);
	}
}

static void
a_length_ends_the_body(void **state)
{
	(void)state;
	expect_answer("HTTP/1.1 201 Created\r\n"
		      "Content-Type: application/json\r\n"
		      "content-LENGTH:\t5 \r\n\r\nhelloHTTP/1.1",
	    &(struct expected){ 201, "hello", true, 8 });
	expect_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	    &(struct expected){ 200, "", true, 0 });
	expect_answer("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
	    &(struct expected){ 200, "x", true, 0 });
}

static void
chunks_are_put_together(void **state)
{
	(void)state;
	expect_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
		      "3\r\nabc\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\n"
		      "Trailer: of no interest\r\n\r\nnext",
	    &(struct expected){ 200, "abc0123456789", true, 4 });
	expect_answer("HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n"
		      "0\r\n\r\n",
	    &(struct expected){ 200, "", true, 0 });
}

static void
without_a_length_the_end_of_the_connection_counts(void **state)
{
	(void)state;
	expect_answer("HTTP/1.1 502 Bad Gateway\r\nServer: x\r\n\r\nsorry\r\n",
	    &(struct expected){ 502, "sorry\r\n", false, 0 });
	expect_answer(
	    "HTTP/1.0 200 OK\r\n\r\n", &(struct expected){ 200, "", false, 0 });
}

static void
connection_says_whether_it_stays(void **state)
{
	(void)state;
	expect_answer("HTTP/1.1 200 OK\r\nConnection: x , Close\r\n"
		      "Content-Length: 0\r\n\r\n",
	    &(struct expected){ 200, "", false, 0 });
	expect_answer("HTTP/1.1 200 OK\r\nConnection: not-close\r\n"
		      "Content-Length: 0\r\n\r\n",
	    &(struct expected){ 200, "", true, 0 });
	expect_answer("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
	    &(struct expected){ 200, "", false, 0 });
	expect_answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
		      "Content-Length: 0\r\n\r\n",
	    &(struct expected){ 200, "", true, 0 });
}

static void
interim_answers_are_skipped(void **state)
{
	(void)state;
	expect_answer("HTTP/1.1 100 Continue\r\n\r\n"
		      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
		      "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
	    &(struct expected){ 201, "ok", true, 0 });
	expect_answer("HTTP/1.1 204 No Content\r\n\r\nHTTP",
	    &(struct expected){ 204, "", true, 4 });
	expect_answer("HTTP/1.1 101 Switching Protocols\r\n\r\nxx",
	    &(struct expected){ 101, "", true, 2 });
}

static void
what_is_no_answer_is_refused(void **state)
{
	static const char *const texts[] = {
		"SSH-2.0-OpenSSH_9.2\r\n",
		"HTTP/2 200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000\r\n\r\n",
		"HTTP/1.1 099 no\r\n\r\n",
		"HTTP/1.1 600 no\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/1.1 200 \x01\r\n\r\n",
		"\r\n",
		"HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 200 OK\r\nServer: x\n\r\n",
		"HTTP/1.1 200 OK\r\nServer : x\r\n\r\n",
		"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
		"HTTP/1.1 200 OK\r\nServer: x\r\n folded\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\nServer: a\rb\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n"
		"\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n"
		"\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		"0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1x\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		"00000000000000001\r\nx\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		"1\r\nxy\r\n0\r\n\r\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		expect_fault(texts[i], -EPROTO);
}

static void
an_end_in_the_middle_is_refused(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
				   "\r\nabc";
	char part[sizeof(text)];
	size_t n, at;

	(void)state;
	for (n = 0; n + 1 < sizeof(text) - 1; n++) {
		struct http_answer answer;

		memcpy(part, text, n);
		part[n] = '\0';
		http_answer_init(&answer, BODY_MAX);
		assert_int_equal(feed_pieces(&answer, part, n + 1, &at), 0);
		assert_int_equal(http_answer_end(&answer), -EPROTO);
		http_answer_fini(&answer);
	}
}

static void
everything_has_an_end(void **state)
{
	char text[2 * HTTP_ANSWER_HEAD_MAX];
	size_t at, len;
	struct http_answer answer;

	(void)state;
	expect_fault(
	    "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", -EMSGSIZE);
	expect_fault("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "3c\r\n"
		     "0123456789012345678901234567890123456789"
		     "01234567890123456789\r\n5\r\n",
	    -EMSGSIZE);
	expect_fault("HTTP/1.1 200 OK\r\n\r\n"
		     "0123456789012345678901234567890123456789"
		     "01234567890123456789abcde",
	    -EMSGSIZE);

	memset(text, 'x', sizeof(text));
	text[HTTP_ANSWER_LINE_MAX + 1] = '\0';
	http_answer_init(&answer, BODY_MAX);
	assert_int_equal(feed_pieces(&answer, text, 1000, &at), -EMSGSIZE);
	http_answer_fini(&answer);

	strcpy(text, "HTTP/1.1 200 OK\r\n");
	for (len = strlen(text); len < sizeof(text) - 1000; len += 902) {
		strcpy(text + len, "n: ");
		memset(text + len + 3, 'v', 897);
		strcpy(text + len + 900, "\r\n");
	}
	http_answer_init(&answer, BODY_MAX);
	assert_int_equal(feed_pieces(&answer, text, 1000, &at), -EMSGSIZE);
	http_answer_fini(&answer);
}

static void
interim_answers_for_ever_are_refused(void **state)
{
	struct http_answer answer;
	size_t used;
	int i, result = 0;

	(void)state;
	http_answer_init(&answer, BODY_MAX);
	for (i = 0; i < HTTP_ANSWER_HEAD_MAX && result == 0; i++)
		result = http_answer_feed(
		    &answer, "HTTP/1.1 100 Continue\r\n\r\n", 25, &used);
	assert_int_equal(result, -EMSGSIZE);
	http_answer_fini(&answer);
}

static void
no_memory_is_told(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
				   "\r\nabc";
	int64_t n;

	(void)state;
	for (n = 1;; n++) {
		struct http_answer answer;
		size_t used = 0;
		bool failed;
		int result;

		http_answer_init(&answer, BODY_MAX);
		memory_fail_nth(n);
		result =
		    http_answer_feed(&answer, text, sizeof(text) - 1, &used);
		failed = memory_fail_seen();
		memory_fail_nth(0);
		http_answer_fini(&answer);
		if (!failed) {
			assert_int_equal(result, 1);
			break;
		}
		assert_int_equal(result, -ENOMEM);
	}
	assert_true(n > 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_length_ends_the_body),
		cmocka_unit_test(chunks_are_put_together),
		cmocka_unit_test(
		    without_a_length_the_end_of_the_connection_counts),
		cmocka_unit_test(connection_says_whether_it_stays),
		cmocka_unit_test(interim_answers_are_skipped),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(an_end_in_the_middle_is_refused),
		cmocka_unit_test(everything_has_an_end),
		cmocka_unit_test(interim_answers_for_ever_are_refused),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
