/*
 * Outgoing WebSocket connections that are open: what arrives, what is sent,
 * and how they end.
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

static void
messages_arrive_whole_and_the_end_is_told(void **state)
{
	struct client_test test;

	(void)state;
	client_test_init(&test, client_peer_hello, NULL);
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_int_equal(test.opened, 1);
	assert_string_equal(test.header, "0123456789abcdef:41");
	client_test_heard(&test, "thi \xc3\xa4|b\xff|t|");
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
	client_peer_closes(peer, "\x03\xe8");
}

static void
fragments_and_long_frames_are_put_together(void **state)
{
	struct client_test test;
	char expected[40100];

	(void)state;
	client_test_init(&test, says_pieces, NULL);
	assert_int_equal(client_test_run(&test, NULL), 1);
	(void)snprintf(
	    expected, sizeof(expected), "ta\xc3\xa4z|bq|b%040000d|", 0);
	memset(strrchr(expected, 'b') + 1, 'x', 40000);
	client_test_heard(&test, expected);
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
send_and_close(struct client_test *test)
{
	struct client *client = test->client;
	char big[2000];

	es_loop_assert(test->rig.loop);
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
	struct client_test test;

	(void)state;
	client_test_init(&test, listens, &overheard);
	test.at_open = send_and_close;
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_string_equal(overheard.text, "tone|b\xfe|t|");
	assert_int_equal(overheard.close_code, 4000);
	assert_int_equal(test.code, 4000);
	assert_string_equal(test.reason, "enough");
}

#define BIG_BYTES ((size_t)1 << 20)
#define BIG_COUNT 12

static void
counts_big_ones(struct peer *peer, void *arg)
{
	struct overheard *overheard = arg;
	uint8_t *payload = malloc(BIG_BYTES);
	unsigned opcode = 0;
	int64_t n = 0;

	assert_non_null(payload);
	if (peer_upgrade(peer, ""))
		while (n >= 0 && opcode != FRAME_CLOSE) {
			n = peer_read_frame(peer, &opcode, payload, BIG_BYTES);
			if (n == (int64_t)BIG_BYTES && payload[n - 1] == 'x')
				(void)strcat(overheard->text, "x");
		}
	if (n >= 2)
		overheard->close_code =
		    (unsigned)(payload[0] << 8 | payload[1]);
	(void)peer_write_frame(peer, true, FRAME_CLOSE, "", 0);
	free(payload);
}

static void
send_big_and_close(struct client_test *test)
{
	uint8_t *payload = memory_alloc(BIG_BYTES);
	int i;

	es_loop_assert(test->rig.loop);
	assert_non_null(payload);
	memset(payload, 'x', BIG_BYTES);
	for (i = 0; i < BIG_COUNT; i++)
		assert_int_equal(client_send(test->client, CLIENT_BINARY,
				     payload, BIG_BYTES),
		    0);
	memory_free(payload);
	client_close(test->client, 4000, "");
}

static void
more_than_the_socket_takes_leaves_before_the_close(void **state)
{
	struct overheard overheard = { .close_code = 0 };
	struct client_test test;

	(void)state;
	client_test_init(&test, counts_big_ones, &overheard);
	test.options.queue_bytes_max = (BIG_COUNT + 1) * BIG_BYTES;
	test.at_open = send_big_and_close;
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_int_equal(strlen(overheard.text), BIG_COUNT);
	assert_int_equal(overheard.close_code, 4000);
	assert_int_equal(test.code, 4000);
}

static void
fill_queue(struct client_test *test)
{
	int result, sent = 0;

	es_loop_assert(test->rig.loop);
	while ((result = client_send(
		    test->client, CLIENT_TEXT, "0123456789", 10)) == 0)
		sent++;
	assert_int_equal(result, -EAGAIN);
	assert_true(sent > 2 && sent < 100);
}

static void
close_at_room(struct client_test *test)
{
	es_loop_assert(test->rig.loop);
	if (test->rooms == 1)
		fill_queue(test);
	else
		client_close(test->client, 1000, "");
}

static void
a_full_queue_says_when_there_is_room(void **state)
{
	struct overheard overheard = { .close_code = 0 };
	struct client_test test;

	(void)state;
	client_test_init(&test, listens, &overheard);
	test.at_open = fill_queue;
	test.at_room = close_at_room;
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_int_equal(test.rooms, 2);
	assert_int_equal(test.code, 1000);
	assert_true(strlen(overheard.text) > 20 * 12);
	/* Ten bytes each, and what the peer's listing puts around them. */
	assert_int_equal(test.sent_bytes / 10, strlen(overheard.text) / 12);
}

static void
opens_and_ignores(struct peer *peer, void *arg)
{
	(void)arg;
	if (peer_upgrade(peer, ""))
		peer_wait_end(peer);
}

static void
close_at_once(struct client_test *test)
{
	es_loop_assert(test->rig.loop);
	client_close(test->client, 1000, "bye");
}

static void
a_close_without_answer_ends_at_the_close_timeout(void **state)
{
	struct client_test test;

	(void)state;
	client_test_init(&test, opens_and_ignores, NULL);
	test.options.close_timeout = ES_MS(30);
	test.at_open = close_at_once;
	assert_int_equal(client_test_run(&test, NULL), 1);
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
	struct client_test test;

	strcpy(overheard.head, bytes);
	client_test_init(&test, says_and_listens, &overheard);
	test.options.message_bytes_max = 10;
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_int_equal(test.opened, 1);
	client_test_heard(&test, "");
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
	struct client_test test;

	(void)state;
	client_test_init(&test, ends_abruptly, NULL);
	assert_int_equal(client_test_run(&test, NULL), 1);
	client_test_heard(&test, "tso|");
	assert_int_equal(test.code, 1006);
	client_test_init(&test, ends_abruptly, NULL);
	test.free_at_end = true;
	assert_int_equal(client_test_run(&test, NULL), 1);
	buffer_fini(&test.heard);
}

static void
closes_without_code(struct peer *peer, void *arg)
{
	(void)arg;
	if (peer_upgrade(peer, ""))
		client_peer_closes(peer, "");
}

static void
a_close_without_a_code_is_1005(void **state)
{
	struct client_test test;

	(void)state;
	client_test_init(&test, closes_without_code, NULL);
	assert_int_equal(client_test_run(&test, NULL), 1);
	assert_int_equal(test.code, 1005);
}

static void
on_resume(void *arg)
{
	struct client_test *test = arg;

	es_loop_assert(test->rig.loop);
	assert_int_equal(test->messages, 0);
	client_resume(test->client);
}

static void
pause_for_a_while(struct client_test *test)
{
	es_loop_assert(test->rig.loop);
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
	client_peer_closes(peer, "\x03\xe8");
}

static void
nothing_is_lost_by_a_pause(void **state)
{
	struct client_test test;

	(void)state;
	client_test_init(&test, opens_then_says, NULL);
	test.at_open = pause_for_a_while;
	assert_int_equal(client_test_run(&test, NULL), 1);
	client_test_heard(&test, "tlate|");
	assert_int_equal(test.code, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_whole_and_the_end_is_told),
		cmocka_unit_test(fragments_and_long_frames_are_put_together),
		cmocka_unit_test(what_is_sent_arrives_before_the_close),
		cmocka_unit_test(
		    more_than_the_socket_takes_leaves_before_the_close),
		cmocka_unit_test(a_full_queue_says_when_there_is_room),
		cmocka_unit_test(
		    a_close_without_answer_ends_at_the_close_timeout),
		cmocka_unit_test(
		    bad_text_and_long_messages_are_answered_with_a_close),
		cmocka_unit_test(an_end_without_a_close_is_1006),
		cmocka_unit_test(a_close_without_a_code_is_1005),
		cmocka_unit_test(nothing_is_lost_by_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
