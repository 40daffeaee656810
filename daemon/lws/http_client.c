/*
 * POST, and POST again, on one connection.
 *
 * The happy path: http_client_post() writes the head -> connects if there is
 * no connection -> on_ready(): sends, reads, until the answer is complete ->
 * done, and the connection waits for the next.
 *
 * What can go wrong:
 * - the server answers before it has read everything: the answer counts, the
 *   connection does not stay;
 * - the connection breaks while we send: what it may have answered is read
 *   first, so that "413" is not lost behind "broken pipe";
 * - an idle connection ends or says something: it is dropped, the next post
 *   makes another;
 * - nothing moves: a deadline that every byte puts off.
 */

#include "daemon/lws/http_client.h"
#include "daemon/base/buffer.h"
#include "daemon/base/memory.h"
#include "daemon/lws/http_answer.h"
#include "daemon/lws/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES_MAX 16384
#define READ_BYTES 16384
#define TEXT_MAX 200

struct http_client {
	struct outbound *outbound;
	struct http_client_options options;
	char *address, *host; /* options.peer's */
	struct link *link; /* NULL: none now */
	bool was_open; /* the link, since the post */
	int connect_error;
	es_usec idle_since;

	bool busy;
	struct buffer head;
	const uint8_t *body;
	size_t body_len, sent; /* of head and body together */
	bool send_failed;
	struct http_answer answer;
	http_done_fn done;
	void *arg;

	es_call *deadline, *failed;
	es_usec moved; /* when a byte was sent or received last */
};

static void
forget_call(es_call **call)
{
	if (*call == NULL)
		return;
	(void)es_call_cancel(*call); /* it may be the one running */
	es_call_unref(*call);
	*call = NULL;
}

static void
drop_link(struct http_client *client)
{
	es_loop_assert(client->outbound->loop);
	link_close(client->link);
	client->link = NULL;
}

/* The last thing that happens; the client may be gone when it returns. */
static void
finish(struct http_client *client, const struct http_result *result)
{
	struct http_answer answer = client->answer;

	es_loop_assert(client->outbound->loop);
	assert(client->busy);
	forget_call(&client->deadline);
	client->busy = false;
	client->body = NULL;
	buffer_clear(&client->head);
	http_answer_init(&client->answer, client->options.answer_bytes_max);
	client->idle_since = es_loop_time(client->outbound->loop);
	client->done(result, client->arg);
	http_answer_fini(&answer);
}

static void
fail(struct http_client *client, const char *text)
{
	char copy[TEXT_MAX];
	struct http_result result = { .text = copy, .begun = client->sent > 0 };

	(void)snprintf(copy, sizeof(copy), "%s", text);
	drop_link(client);
	finish(client, &result);
}

static void
succeed(struct http_client *client)
{
	const bool all_sent =
	    client->sent == client->head.len + client->body_len;
	char text[HTTP_ANSWER_REASON_MAX];
	const struct http_result result = { .status = client->answer.status,
		.text = text,
		.body = client->answer.body.data,
		.len = client->answer.body.len };

	memcpy(text, client->answer.reason, sizeof(text));
	if (!client->answer.keeps_alive || !all_sent || client->send_failed)
		drop_link(client);
	finish(client, &result);
}

/* Sends what the connection takes.  A fault is kept until reading said why. */
static void
send_some(struct http_client *client)
{
	const size_t total = client->head.len + client->body_len;
	const uint8_t *data;
	size_t len;
	int64_t n;

	es_loop_assert(client->outbound->loop);
	while (client->sent < total && !client->send_failed) {
		const bool in_head = client->sent < client->head.len;

		if (in_head) {
			data = client->head.data + client->sent;
			len = client->head.len - client->sent;
		} else {
			data = client->body + client->sent - client->head.len;
			len = total - client->sent;
		}
		n = link_write(
		    client->link, data, len, in_head && client->body_len > 0);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			client->send_failed = true;
			return;
		}
		client->sent += (size_t)n;
		client->moved = es_loop_time(client->outbound->loop);
	}
}

static const char *
answer_fault(int error)
{
	switch (error) {
	case -EMSGSIZE:
		return "the answer is too long";
	case -ENOMEM:
		return "out of memory";
	default:
		return "the answer is not HTTP/1.1";
	}
}

/* The connection is over: with an answer, or with whatever is missing. */
static void
on_end(struct http_client *client, int64_t n)
{
	if (n == 0 && http_answer_end(&client->answer) == 1)
		succeed(client);
	else if (n < 0)
		fail(client, link_text(client->link));
	else if (http_answer_untouched(&client->answer))
		fail(client, "the server closed the connection");
	else
		fail(client, "the answer ended in its middle");
}

/* Reads until nothing is there; true while the post is not finished. */
static void
receive(struct http_client *client)
{
	uint8_t data[READ_BYTES];
	size_t used;
	int64_t n;
	int result;

	es_loop_assert(client->outbound->loop);
	for (;;) {
		n = link_read(client->link, data, sizeof(data));
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			on_end(client, n);
			return;
		}
		client->moved = es_loop_time(client->outbound->loop);
		result =
		    http_answer_feed(&client->answer, data, (size_t)n, &used);
		if (result < 0) {
			fail(client, answer_fault(result));
			return;
		}
		if (result == 1) {
			if (used < (size_t)n) /* an answer to no question */
				client->answer.keeps_alive = false;
			succeed(client);
			return;
		}
	}
}

static void on_deadline(void *arg);

/* The post has until `after` from now on, unless something moves. */
static int
arm(struct http_client *client, es_usec after)
{
	es_loop *loop = client->outbound->loop;

	forget_call(&client->deadline);
	return es_call_later(loop, after, "http.deadline", on_deadline, client,
	    NULL, &client->deadline);
}

static void
on_deadline(void *arg)
{
	struct http_client *client = arg;
	es_usec left = client->moved - es_loop_time(client->outbound->loop);

	es_loop_assert(client->outbound->loop);
	assert(client->busy);
	if (client->was_open)
		left += client->options.answer_timeout;
	if (client->was_open && left > 0 && arm(client, left) == 0)
		return;
	fail(client,
	    client->was_open ? "no answer in time" : "no connection in time");
}

static void
on_ready(void *arg)
{
	struct http_client *client = arg;

	es_loop_assert(client->outbound->loop);
	if (!client->busy) { /* it ended, or says what nobody asked */
		drop_link(client);
		return;
	}
	if (!client->was_open && link_is_open(client->link)) {
		client->was_open = true;
		client->moved = es_loop_time(client->outbound->loop);
		if (arm(client, client->options.answer_timeout) < 0) {
			fail(client, "out of memory");
			return;
		}
	}
	send_some(client);
	receive(client);
}

int
http_client_open(struct outbound *outbound,
    const struct http_client_options *options, struct http_client **ret_client)
{
	struct http_client *client;

	es_loop_assert(outbound->loop);
	if (outbound_peer_check(&options->peer) < 0)
		return -EINVAL;
	client = memory_zalloc(sizeof(*client));
	if (client == NULL)
		return -ENOMEM;
	client->outbound = outbound;
	client->options = *options;
	client->address = memory_dup(
	    options->peer.address, strlen(options->peer.address) + 1);
	client->host =
	    memory_dup(options->peer.host, strlen(options->peer.host) + 1);
	client->options.peer.address = client->address;
	client->options.peer.host = client->host;
	http_answer_init(&client->answer, options->answer_bytes_max);
	if (client->address == NULL || client->host == NULL) {
		http_client_close(client);
		return -ENOMEM;
	}
	*ret_client = client;
	return 0;
}

void
http_client_close(struct http_client *client)
{
	if (client == NULL)
		return;
	es_loop_assert(client->outbound->loop);
	forget_call(&client->deadline);
	forget_call(&client->failed);
	drop_link(client);
	http_answer_fini(&client->answer);
	buffer_fini(&client->head);
	memory_free(client->address);
	memory_free(client->host);
	memory_free(client);
}

static int
make_head(struct http_client *client, const char *path, const char *header,
    const char *type, size_t len)
{
	char authority[OUTBOUND_AUTHORITY_MAX];
	int error;

	if (path[0] != '/' || strchr(path, ' ') != NULL ||
	    !outbound_line_valid(path) || !outbound_line_valid(type) ||
	    (header != NULL &&
		(!outbound_line_valid(header) || strchr(header, ':') == NULL)))
		return -EINVAL;
	outbound_authority(&client->options.peer, authority);
	buffer_clear(&client->head);
	error = buffer_printf(&client->head, HEAD_BYTES_MAX,
	    "POST %s HTTP/1.1\r\n"
	    "Host: %s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Length: %zu\r\n"
	    "%s%s"
	    "\r\n",
	    path, authority, type, len, header != NULL ? header : "",
	    header != NULL ? "\r\n" : "");
	return error == -EMSGSIZE ? -EINVAL : error;
}

/* connect(2) said no at once. */
static void
on_failed(void *arg)
{
	struct http_client *client = arg;

	es_loop_assert(client->outbound->loop);
	es_call_unref(client->failed);
	client->failed = NULL;
	fail(client, strerror(-client->connect_error));
}

static int
begin(struct http_client *client)
{
	es_loop *loop = client->outbound->loop;
	int error;

	es_loop_assert(loop);
	client->moved = es_loop_time(loop);
	if (client->link != NULL &&
	    client->moved - client->idle_since > HTTP_CLIENT_IDLE_MAX)
		drop_link(client);
	client->was_open = client->link != NULL;
	error = arm(client, client->was_open ? client->options.answer_timeout
					     : client->options.connect_timeout);
	if (error < 0 || client->link != NULL)
		return error;
	client->connect_error = link_open(client->outbound,
	    &client->options.peer, on_ready, client, &client->link);
	if (client->connect_error == 0)
		return 0;
	error = es_call_soon(
	    loop, "http.failed", on_failed, client, NULL, &client->failed);
	if (error < 0)
		forget_call(&client->deadline);
	return error;
}

int
http_client_post(struct http_client *client, const char *path,
    const char *header, const char *type, const void *body, size_t len,
    http_done_fn done, void *arg)
{
	int error;

	es_loop_assert(client->outbound->loop);
	if (client->busy)
		return -EBUSY;
	error = make_head(client, path, header, type, len);
	if (error == 0)
		error = begin(client);
	if (error < 0)
		return error;
	client->busy = true;
	client->send_failed = false;
	client->sent = 0;
	client->body = body;
	client->body_len = len;
	client->done = done;
	client->arg = arg;
	if (client->link != NULL)
		send_some(client); /* what fails is seen by on_ready() */
	return 0;
}
