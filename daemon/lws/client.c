/*
 * A WebSocket connection to somewhere, spoken by libwebsockets.
 *
 * The happy path: client_open() -> the library connects, asks, checks the
 * answer -> CLIENT_ESTABLISHED: on_open -> CLIENT_RECEIVE puts messages
 * together (client_receive.c), CLIENT_WRITEABLE empties the queue -> one side
 * closes -> WSI_DESTROY: on_close.
 *
 * What can go wrong:
 * - no connection, no 101, a certificate nobody knows: what is known is noted
 *   where it happens and told by on_error;
 * - the library fails inside client_open(): on_error comes from a call of the
 *   loop, so that it never comes before client_open() has returned;
 * - a peer that never answers, or never ends: one deadline for each;
 * - client_free() inside a callback: the library's connection loses its way
 *   to us (its opaque pointer) and ends at the next opportunity.
 *
 * The end is told at WSI_DESTROY and nowhere else: it is the one callback that
 * comes exactly once for whatever connection there ever was.
 */

#include "daemon/base/memory.h"
#include "daemon/lws/client_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_HEAD_MAX 16384 /* bytes of headers we add */

void
client_note_error(struct client *client, const char *fmt, ...)
{
	va_list args;

	if (client->error[0] != '\0')
		return; /* the first is the cause */
	va_start(args, fmt);
	(void)vsnprintf(client->error, sizeof(client->error), fmt, args);
	va_end(args);
}

void
client_note_close(
    struct client *client, uint16_t code, const void *reason, size_t len)
{
	if (client->close_code != 0)
		return;
	if (len > sizeof(client->reason))
		len = sizeof(client->reason);
	client->close_code = code;
	if (len > 0)
		memcpy(client->reason, reason, len);
	client->reason_len = len;
}

void
client_clear_deadline(struct client *client)
{
	if (client->deadline == NULL)
		return;
	(void)es_call_cancel(client->deadline); /* it may be the one running */
	es_call_unref(client->deadline);
	client->deadline = NULL;
}

/* The last thing that happens to a client of itself; it may be freed here. */
void
client_tell_end(struct client *client)
{
	struct client_error error;

	assert(client->state != ENDED);
	client_clear_deadline(client);
	client->state = ENDED;
	if (client->was_open) {
		const uint16_t code =
		    client->close_code != 0 ? client->close_code : 1006;

		client->ops->on_close(client, code, client->reason,
		    client->reason_len, client->arg);
		return;
	}
	client_note_error(client, "the connection ended before it was open");
	error = (struct client_error){ .status = client->status,
		.text = client->error,
		.body = client->body.data,
		.body_len = client->body.len };
	client->ops->on_error(client, &error, client->arg);
}

static void
on_deadline(void *arg)
{
	struct client *client = arg;

	es_loop_assert(client->outbound->loop);
	if (client->state == CONNECTING)
		client_note_error(client, "no answer in time");
	if (client->wsi != NULL)
		glue_kill(client->wsi);
}

static int
set_deadline(struct client *client, es_usec timeout)
{
	assert(client->deadline == NULL);
	return es_call_later(client->outbound->loop, timeout, "client.deadline",
	    on_deadline, client, NULL, &client->deadline);
}

void
client_drop_outgoing(struct client *client, struct outgoing *outgoing)
{
	list_remove(&outgoing->node);
	client->queue_bytes -= sizeof(*outgoing) + outgoing->len;
	memory_free(outgoing);
}

static int
keep_headers(struct client *client, const char *const *wanted)
{
	struct kept_header *kept;
	int len;

	for (; wanted != NULL && *wanted != NULL; wanted++) {
		if (client->kept_count == CLIENT_WANTED_MAX)
			return -EINVAL;
		kept = &client->kept[client->kept_count++];
		len = snprintf(kept->name, sizeof(kept->name), "%s:", *wanted);
		if (len < 2 || (size_t)len >= sizeof(kept->name))
			return -EINVAL;
	}
	return 0;
}

static int
copy_headers(struct client *client, const char *const *headers)
{
	struct buffer text = { 0 };
	int error = 0;

	for (; headers != NULL && *headers != NULL; headers++) {
		if (!outbound_line_valid(*headers) ||
		    strchr(*headers, ':') == NULL)
			error = -EINVAL;
		else
			error = buffer_printf(
			    &text, CLIENT_HEAD_MAX, "%s\r\n", *headers);
		if (error < 0)
			break;
	}
	if (error == 0)
		error = buffer_append(&text, "", 1, CLIENT_HEAD_MAX);
	if (error < 0) {
		buffer_fini(&text);
		return error == -EMSGSIZE ? -EINVAL : error;
	}
	client->headers = (char *)text.data;
	return 0;
}

static void
release(struct client *client)
{
	struct list *node;

	es_loop_assert(client->outbound->loop);
	client_clear_deadline(client);
	while ((node = list_first(&client->queue)) != NULL)
		client_drop_outgoing(
		    client, LIST_ENTRY(node, struct outgoing, node));
	client_drop_held(client);
	inflate_free(client->inflate);
	buffer_fini(&client->message);
	buffer_fini(&client->body);
	memory_free(client->headers);
	memory_free(client);
}

static int
check_options(
    const struct outbound *outbound, const struct client_options *options)
{
	const struct outbound_peer *peer = &options->peer;

	if (outbound_peer_check(peer) < 0)
		return -EINVAL;
	if (peer->tls && !outbound->insecure && strchr(peer->host, ':'))
		return -EINVAL; /* the library takes "[" for its name */
	if (options->path[0] != '/' || strchr(options->path, ' ') ||
	    !outbound_line_valid(options->path))
		return -EINVAL;
	if (options->subprotocol != NULL &&
	    !outbound_line_valid(options->subprotocol))
		return -EINVAL;
	return 0;
}

static int
client_new(struct outbound *outbound, const struct client_options *options,
    struct client **ret_client)
{
	struct client *client = memory_zalloc(sizeof(*client));
	int error;

	if (client == NULL)
		return -ENOMEM;
	list_init(&client->queue);
	list_init(&client->held);
	client->offers = options->compression;
	client->outbound = outbound;
	client->message_bytes_max = options->message_bytes_max;
	client->queue_bytes_max = options->queue_bytes_max;
	client->close_timeout = options->close_timeout;
	client->wants_subprotocol = options->subprotocol != NULL;
	error = keep_headers(client, options->wanted);
	if (error == 0)
		error = copy_headers(client, options->headers);
	if (error < 0) {
		release(client);
		return error;
	}
	*ret_client = client;
	return 0;
}

static struct lws *
start(struct client *client, const struct client_options *options)
{
	struct outbound *outbound = client->outbound;
	char authority[OUTBOUND_AUTHORITY_MAX];
	struct lws_client_connect_info info = {
		.context = glue_context(outbound->glue),
		.vhost = outbound->vhost,
		.address = options->peer.address,
		.port = options->peer.port,
		.path = options->path,
		.host = authority,
		.protocol = options->subprotocol,
		.local_protocol_name = client_protocols[0].name,
		.alpn = "http/1.1",
		.ietf_version_or_minus_one = -1,
		.ssl_connection = LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
		.retry_and_idle_policy = glue_no_validity(),
		.opaque_user_data = client,
	};

	outbound_authority(&options->peer, authority);
	if (options->peer.tls) {
		outbound_trust(outbound);
		info.ssl_connection |= LCCSCF_USE_SSL;
	}
	if (outbound->insecure)
		info.ssl_connection |= LCCSCF_ALLOW_SELFSIGNED |
				       LCCSCF_ALLOW_INSECURE |
				       LCCSCF_ALLOW_EXPIRED |
				       LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
	return lws_client_connect_via_info(&info);
}

/* The library gave up inside client_open(). */
static void
on_failed(void *arg)
{
	struct client *client = arg;

	es_loop_assert(client->outbound->loop);
	client_note_error(client, "cannot connect");
	client_tell_end(client);
}

int
client_open(struct outbound *outbound, const struct client_options *options,
    const struct client_ops *ops, void *arg, struct client **ret_client)
{
	struct client *client;
	int error;

	es_loop_assert(outbound->loop);
	error = check_options(outbound, options);
	if (error == 0)
		error = client_new(outbound, options, &client);
	if (error < 0)
		return error;
	client->ops = ops;
	client->arg = arg;
	client->opening = true;
	client->wsi = start(client, options);
	client->opening = false;
	if (client->wsi != NULL)
		error = set_deadline(client, options->connect_timeout);
	else
		error = es_call_soon(outbound->loop, "client.failed", on_failed,
		    client, NULL, &client->deadline);
	if (error < 0) {
		client_free(client);
		return error;
	}
	*ret_client = client;
	return 0;
}

void
client_free(struct client *client)
{
	if (client == NULL)
		return;
	es_loop_assert(client->outbound->loop);
	if (client->wsi != NULL) {
		lws_set_opaque_user_data(client->wsi, NULL);
		glue_kill(client->wsi);
	}
	release(client);
}

int
client_send(
    struct client *client, enum client_kind kind, const void *data, size_t len)
{
	const size_t cost = sizeof(struct outgoing) + len;
	struct outgoing *outgoing;

	es_loop_assert(client->outbound->loop);
	if (client->state != OPEN)
		return -ENOTCONN;
	if (cost > client->queue_bytes_max)
		return -EMSGSIZE;
	if (kind == CLIENT_TEXT && !utf8_valid(data, len))
		return -EILSEQ;
	if (cost > client->queue_bytes_max - client->queue_bytes) {
		client->room_wanted = true;
		return -EAGAIN;
	}
	outgoing = memory_alloc(sizeof(*outgoing) + LWS_PRE + len);
	if (outgoing == NULL)
		return -ENOMEM;
	list_init(&outgoing->node);
	outgoing->kind = kind;
	outgoing->len = len;
	if (len > 0)
		memcpy(outgoing->data + LWS_PRE, data, len);
	list_append(&client->queue, &outgoing->node);
	client->queue_bytes += cost;
	(void)lws_callback_on_writable(client->wsi); /* dead ones end anyway */
	return 0;
}

void
client_close(struct client *client, uint16_t code, const char *reason)
{
	es_loop_assert(client->outbound->loop);
	if (client->state == CONNECTING) {
		client_note_error(client, "closed before it was open");
		if (client->wsi != NULL)
			glue_kill(client->wsi);
		return;
	}
	if (client->state != OPEN)
		return;
	client_note_close(client, code, reason, strlen(reason));
	client_drop_held(client);
	client_sync_reading(client); /* or its answer is never seen */
	client->state = CLOSING;
	(void)lws_callback_on_writable(client->wsi); /* dead ones end anyway */
	if (set_deadline(client, client->close_timeout) < 0)
		glue_kill(client->wsi);
}

void
client_ping(struct client *client)
{
	es_loop_assert(client->outbound->loop);
	if (client->state != OPEN)
		return;
	client->ping_wanted = true;
	(void)lws_callback_on_writable(client->wsi); /* dead ones end anyway */
}

uint64_t
client_heard(const struct client *client)
{
	es_loop_assert(client->outbound->loop);
	return client->heard;
}

const char *
client_header(const struct client *client, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; i < client->kept_count; i++) {
		const struct kept_header *kept = &client->kept[i];

		if (kept->there && strncmp(kept->name, name, len) == 0 &&
		    kept->name[len] == ':')
			return kept->value;
	}
	return NULL;
}
