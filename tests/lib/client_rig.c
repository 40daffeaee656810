/* A connection to a scripted peer, from client_open() to client_free(). */

#include "tests/lib/client_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEARD_MAX (16 << 20)

static void
on_open(struct client *client, void *arg)
{
	struct client_test *test = arg;
	const char *header;

	es_loop_assert(test->rig.loop);
	header = client_header(client, "earshot-position");
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
	struct client_test *test = arg;

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
at_end(struct client_test *test)
{
	es_loop_assert(test->rig.loop);
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
	struct client_test *test = arg;

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
	struct client_test *test = arg;

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
	struct client_test *test = arg;

	(void)client;
	test->rooms++;
	if (test->at_room != NULL)
		test->at_room(test);
}

static void
on_sent(struct client *client, size_t len, void *arg)
{
	struct client_test *test = arg;

	(void)client;
	test->sent_bytes += len;
}

static const struct client_ops ops = { on_open, on_message, on_close, on_error,
	on_room, NULL, on_sent };

void
client_test_begin(void *arg)
{
	struct client_test *test = arg;

	es_loop_assert(test->rig.loop);
	test->open_result = client_open(
	    test->rig.outbound, &test->options, &ops, test, &test->client);
	assert_int_equal(test->opened + test->failed, 0);
	if (test->open_result < 0)
		rig_done(&test->rig);
}

static const char *const wanted[] = { "earshot-position", "earshot", NULL };

void
client_test_next(struct client_test *test, peer_script script, void *arg)
{
	const struct rig rig = test->rig;

	*test = (struct client_test){ .rig = rig };
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

void
client_test_init(struct client_test *test, peer_script script, void *arg)
{
	memset(test, 0, sizeof(*test));
	client_test_next(test, script, arg);
}

void
client_test_free(void *arg)
{
	struct client_test *test = arg;

	es_loop_assert(test->rig.loop);
	client_free(test->client);
	rig_done(&test->rig);
}

int
client_test_run(struct client_test *test, const struct outbound_options *trust)
{
	int seen;

	rig_open(&test->rig, trust);
	seen = client_test_once(test);
	rig_close(&test->rig);
	return seen;
}

int
client_test_once(struct client_test *test)
{
	int seen;

	rig_run(&test->rig, client_test_begin, test);
	rig_run(&test->rig, client_test_free, test);
	seen = peer_end(test->peer);
	assert_int_equal(test->closed + test->failed, test->open_result == 0);
	assert_int_equal(test->closed, test->opened);
	return seen;
}

void
client_test_heard(struct client_test *test, const char *text)
{
	assert_int_equal(test->heard.len, strlen(text));
	if (test->heard.len > 0)
		assert_memory_equal(test->heard.data, text, test->heard.len);
	buffer_fini(&test->heard);
}

void
client_peer_closes(struct peer *peer, const char *code_and_reason)
{
	char answer[125];
	unsigned opcode;

	(void)peer_write_frame(
	    peer, true, FRAME_CLOSE, code_and_reason, strlen(code_and_reason));
	while (peer_read_frame(peer, &opcode, answer, sizeof(answer)) >= 0 &&
	       opcode != FRAME_CLOSE)
		continue;
}

void
client_peer_hello(struct peer *peer, void *arg)
{
	(void)arg;
	if (!peer_upgrade(peer, "Earshot-Position: 0123456789abcdef:41\r\n"))
		return;
	(void)peer_write_frame(peer, true, FRAME_TEXT, "hi \xc3\xa4", 5);
	(void)peer_write_frame(peer, true, FRAME_BINARY, "\xff", 1);
	(void)peer_write_frame(peer, true, FRAME_TEXT, "", 0);
	client_peer_closes(peer, "\x03\xe9shutdown retry_after_ms=840");
}
