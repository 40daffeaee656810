/*
 * What libwebsockets calls for a WebSocket connection of ours; client.c tells
 * the whole story.
 */

#include "daemon/lws/client_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CLIENT_READ_BYTES 16384 /* of one read, and of one fragment */
#define CLIENT_WRITE_BYTES 262144 /* of one write; more is copied */
#define CLIENT_EXTENSIONS_MAX 512 /* bytes of an answer's, at most */

/* NULL when its owner has freed it. */
static struct client *
client_of(struct lws *wsi)
{
	return lws_get_opaque_user_data(wsi);
}

/* The number after a mark in the library's words, 0 when it is not there. */
static int
number_after(const char *text, const char *mark)
{
	const char *at = strstr(text, mark);

	return at != NULL ? atoi(at + strlen(mark)) : 0;
}

/* Some are for its developers: "conn fail: 111", "X509_V_ERR = 62". */
static void
note_library_error(struct client *client, const char *text, size_t len)
{
	char copy[OUTBOUND_TEXT_MAX] = "";
	int number;

	if (len >= sizeof(copy))
		len = sizeof(copy) - 1;
	if (text != NULL)
		memcpy(copy, text, len);
	if ((number = number_after(copy, "conn fail: ")) > 0)
		client_note_error(client, "%s", strerror(number));
	else if ((number = number_after(copy, "X509_V_ERR = ")) > 0)
		client_note_error(
		    client, "TLS: %s", X509_verify_cert_error_string(number));
	else if (strncmp(copy, "tls: ", 5) == 0)
		client_note_error(client, "TLS: %s", copy + 5);
	else if (copy[0] != '\0')
		client_note_error(client, "%s", copy);
}

/*
 * The library takes what it knows of the extensions and passes over the rest:
 * they are judged before it sees them.
 */
static int
on_extensions(struct client *client, struct lws *wsi)
{
	const int len = lws_hdr_total_length(wsi, WSI_TOKEN_EXTENSIONS);
	char text[CLIENT_EXTENSIONS_MAX] = "";
	struct deflate_agreement agreement;
	const char *why = "too many words";
	int result = -EPROTO;

	if (len == 0)
		return 0;
	if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_EXTENSIONS) >= 0)
		result = deflate_answer_read(
		    text, strlen(text), client->offers, &agreement, &why);
	if (result < 0) {
		client_note_error(client,
		    "the answer's Sec-WebSocket-Extensions has %s: %s", why,
		    text);
		return -1;
	}
	if (result == 0)
		return 0;
	client->keep_context = agreement.keep_context;
	if (inflate_new_window(agreement.window_bits, &client->inflate) < 0) {
		client_note_error(client, "out of memory");
		return -1;
	}
	return 0;
}

/*
 * The answer is there, and libwebsockets is about to throw away any but 101:
 * the time to take its status and as much of its body as came with it.
 */
static int
on_answer(struct client *client, struct lws *wsi)
{
	char text[64], *data;
	int len, rounds;

	client->status = lws_http_client_http_response(wsi);
	if (client->status == 101)
		return on_extensions(client, wsi);
	if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP) <= 0)
		(void)snprintf(text, sizeof(text), "%u", client->status);
	client_note_error(client, "the answer was HTTP %s, expected 101", text);
	for (rounds = 0; rounds < 4; rounds++) {
		data = NULL;
		len = 0;
		if (lws_http_client_read(wsi, &data, &len) != 0 || len == 0)
			break;
	}
	return -1;
}

/* More than fits is cut: it is a message for people. */
static int
on_body(struct client *client, const void *data, size_t len)
{
	const size_t room = CLIENT_BODY_MAX - client->body.len;

	if (buffer_append(&client->body, data, len < room ? len : room,
		CLIENT_BODY_MAX) < 0)
		return -1;
	return 0;
}

static int
on_upgrade(struct client *client, struct lws *wsi)
{
	size_t i;

	if (client->wants_subprotocol &&
	    lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) == 0) {
		client_note_error(
		    client, "the peer does not speak the subprotocol");
		return -1;
	}
	for (i = 0; i < client->kept_count; i++) {
		struct kept_header *kept = &client->kept[i];

		kept->there =
		    lws_hdr_custom_copy(wsi, kept->value, sizeof(kept->value),
			kept->name, (int)strlen(kept->name)) >= 0;
	}
	return 0;
}

static int
on_head(struct client *client, char **at, size_t room)
{
	const size_t len =
	    client->headers != NULL ? strlen(client->headers) : 0;

	if (len > room)
		return -1;
	if (len > 0)
		memcpy(*at, client->headers, len);
	*at += len;
	return 0;
}

static int
on_established(struct client *client, struct lws *wsi)
{
	es_loop_assert(client->outbound->loop);
	assert(client->state == CONNECTING);
	client_clear_deadline(client);
	client->state = OPEN;
	client->was_open = true;
	client->ops->on_open(client, client->arg);
	return client_of(wsi) != NULL ? 0 : -1;
}

static int
on_peer_close(
    struct client *client, struct lws *wsi, const uint8_t *data, size_t len)
{
	es_loop_assert(client->outbound->loop);
	if (client_take_held(client, wsi) < 0) /* it came before */
		return -1;
	if (len >= 2)
		client_note_close(client, (uint16_t)(data[0] << 8 | data[1]),
		    data + 2, len - 2);
	else
		client_note_close(client, 1005, NULL, 0);
	client->state = CLOSING;
	client->close_sent = true; /* the library echoes it */
	return 0;
}

/* Has it neither ended nor said that it will? */
static bool
peer_is_there(struct lws *wsi)
{
	SSL *tls = lws_get_ssl(wsi);
	ssize_t n;
	char byte;

	if (tls != NULL && (SSL_get_shutdown(tls) & SSL_RECEIVED_SHUTDOWN))
		return false;
	n = recv(lws_get_socket_fd(wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool
write_close(struct lws *wsi, uint16_t code, const char *reason) LOOP_THREAD
{
	const size_t len = strlen(reason);
	uint8_t frame[2 + 4 + 2 + CLIENT_REASON_MAX], *mask = frame + 2;
	uint8_t *payload = mask + 4;
	bool blocked;
	size_t i;

	assert(len <= CLIENT_REASON_MAX);
	frame[0] = 0x88;
	frame[1] = (uint8_t)(0x80 | (2 + len));
	if (lws_get_random(lws_get_context(wsi), mask, 4) != 4)
		return false;
	payload[0] = (uint8_t)(code >> 8);
	payload[1] = (uint8_t)code;
	memcpy(payload + 2, reason, len);
	for (i = 0; i < 2 + len; i++)
		payload[i] ^= mask[i % 4];
	return glue_write_stream(wsi, frame, 8 + len, &blocked) ==
	       (int64_t)(8 + len);
}

/*
 * The library leaves without a word whoever sends what is no frame, or no
 * frame in this place; and it tells of that as of an end.
 */
static int
on_drop(struct client *client, struct lws *wsi)
{
	static const char why[] = "frames that RFC 6455 does not allow";

	es_loop_assert(client->outbound->loop);
	if (client->state != OPEN ||
	    !glue_serving_read(client->outbound->glue) || !peer_is_there(wsi))
		return 0;
	if (client_take_held(client, wsi) < 0 || client->state != OPEN)
		return 0;
	if (write_close(wsi, 1002, why))
		client_note_close(client, 1002, why, sizeof(why) - 1);
	return 0;
}

/* Returns the client, NULL if on_room has freed it. */
static struct client *
tell_room(struct client *client, struct lws *wsi)
{
	if (!client->room_wanted ||
	    client->queue_bytes > client->queue_bytes_max / 2)
		return client;
	client->room_wanted = false;
	if (client->ops->on_room != NULL)
		client->ops->on_room(client, client->arg);
	return client_of(wsi);
}

/* Its payload is ASCII: the library compares PONGs with its text rules. */
static int
send_ping(struct client *client, struct lws *wsi)
{
	uint8_t data[LWS_PRE + 7];

	if (!client->ping_wanted)
		return 0;
	client->ping_wanted = false;
	memcpy(data + LWS_PRE, "earshot", 7);
	return lws_write(wsi, data + LWS_PRE, 7, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* The queue's first message.  < 0: the connection is dead, or freed. */
static int
write_first(struct client *client, struct lws *wsi)
{
	struct outgoing *outgoing =
	    LIST_ENTRY(list_first(&client->queue), struct outgoing, node);
	const size_t len = outgoing->len;
	const int n = lws_write(wsi, outgoing->data + LWS_PRE, len,
	    outgoing->kind == CLIENT_TEXT ? LWS_WRITE_TEXT : LWS_WRITE_BINARY);

	client_drop_outgoing(client, outgoing);
	if (n < 0)
		return -1;
	if (client->ops->on_sent != NULL)
		client->ops->on_sent(client, len, client->arg);
	return client_of(wsi) != NULL ? 0 : -1;
}

static int
on_writable(struct client *client, struct lws *wsi)
{
	if (client->state == OPEN && send_ping(client, wsi) < 0)
		return -1;
	while (!list_empty(&client->queue)) {
		if (write_first(client, wsi) < 0)
			return -1;
		if (lws_partial_buffered(wsi) || lws_send_pipe_choked(wsi))
			break;
	}
	client = tell_room(client, wsi);
	if (client == NULL)
		return -1;
	/* With a remainder in its buffer it would drop the close frame. */
	if (!list_empty(&client->queue) || lws_partial_buffered(wsi)) {
		(void)lws_callback_on_writable(wsi); /* dead ones end anyway */
		return 0;
	}
	if (client->state != CLOSING || client->close_sent)
		return 0;
	client->close_sent = true;
	lws_close_reason(wsi, (enum lws_close_status)client->close_code,
	    (unsigned char *)client->reason, client->reason_len);
	return -1;
}

/* Its bits the library lets pass, with an extension; a ping's we never see. */
static int
on_pong(struct client *client, struct lws *wsi)
{
	es_loop_assert(client->outbound->loop);
	client->heard++;
	if (lws_get_reserved_bits(wsi) != 0)
		client_fail(client, 1002, "reserved bits without a meaning");
	else if (client->ops->on_pong != NULL)
		client->ops->on_pong(client, client->arg);
	return client_of(wsi) != NULL ? 0 : -1;
}

/* Callbacks that belong to one connection, and its client if it has one. */
static int
dispatch(struct client *client, struct lws *wsi,
    enum lws_callback_reasons reason, void *in, size_t len)
{
	es_loop_assert(client->outbound->loop);
	switch (reason) {
	case LWS_CALLBACK_CLIENT_CONFIRM_EXTENSION_SUPPORTED:
		return client->offers ? 0 : 1;
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return on_head(client, in, len);
	case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
		return on_answer(client, wsi);
	case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
		return on_body(client, in, len);
	case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
		return on_upgrade(client, wsi);
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		note_library_error(client, in, len);
		return 0;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		return on_established(client, wsi);
	case LWS_CALLBACK_CLIENT_RECEIVE:
		client->heard++;
		return client_receive(client, wsi, in, len);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return on_peer_close(client, wsi, in, len);
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return on_writable(client, wsi);
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
		return on_pong(client, wsi);
	case LWS_CALLBACK_WS_CLIENT_DROP_PROTOCOL:
		return on_drop(client, wsi);
	case LWS_CALLBACK_WSI_DESTROY:
		client->wsi = NULL;
		if (!client->opening) /* else client_open() sees to it */
			client_tell_end(client);
		return 0;
	default:
		return 0;
	}
}

static int
client_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
	struct client *client;

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
		return -1; /* a refusal has been read: no more of it */
	case LWS_CALLBACK_CLIENT_CONFIRM_EXTENSION_SUPPORTED:
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
	case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
	case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
	case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
	case LWS_CALLBACK_CLIENT_RECEIVE:
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
	case LWS_CALLBACK_CLIENT_WRITEABLE:
	case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
	case LWS_CALLBACK_WS_CLIENT_DROP_PROTOCOL:
	case LWS_CALLBACK_WSI_DESTROY:
		client = client_of(wsi);
		if (client == NULL) /* freed: end it */
			return reason == LWS_CALLBACK_WSI_DESTROY ? 0 : -1;
		return dispatch(client, wsi, reason, in, len);
	default:
		return 0; /* of the vhost, or of no interest */
	}
}

const struct lws_protocols client_protocols[] = {
	{ .name = "earshot-client",
	    .callback = client_callback,
	    .per_session_data_size = 1, /* or there is no DROP_PROTOCOL */
	    .rx_buffer_size = CLIENT_READ_BYTES,
	    .tx_packet_size = CLIENT_WRITE_BYTES },
	{ .name = NULL },
};

/*
 * The library offers it, lets RSV1 pass and hands the payload over as it came:
 * client_receive.c inflates.  The answer's parameters were read before; with an
 * empty table the library's own parser passes over them.
 */
static int
on_extension(struct lws_context *context, const struct lws_extension *extension,
    struct lws *wsi, enum lws_extension_callback_reasons reason, void *user,
    void *in, size_t len)
{
	static const struct lws_ext_options none[] = { { NULL, EXTARG_NONE } };

	(void)context;
	(void)extension;
	(void)wsi;
	(void)user;
	(void)len;
	if (reason == LWS_EXT_CB_CLIENT_CONSTRUCT)
		*(const struct lws_ext_options **)in = none;
	return 0;
}

const struct lws_extension client_extensions[] = {
	{ "permessage-deflate", on_extension, DEFLATE_OFFER },
	{ NULL, NULL, NULL },
};
