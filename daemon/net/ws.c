/*
 * The raw view: GET /ws/CHANNEL upgraded; what is published is what is read,
 * and what is sent is published.
 *
 * The happy path: ws_on_upgrade() checks and subscribes -> the answer carries
 * position and recovered -> ws_on_established() lets the hub write -> spans
 * (conn.c) and ws_on_receive() until one side closes.
 *
 * What a peer can do wrong: an answer with a status before the upgrade; after
 * it a close code: 1007 text that is not UTF-8, 1008 publishing without the
 * right, 1009 a message over the limit, 1013 no room for it now.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#define WS_PREFIX "/ws/"

/* What RFC 6455 section 4.2.1 asks of the request, beyond the library. */
static int
check_handshake(struct conn *conn) LOOP_THREAD
{
	char text[160];

	if (http_header(conn, WSI_TOKEN_VERSION, text, sizeof(text)) < 0 ||
	    strcmp(text, "13") != 0) {
		static const char body[] =
		    "{\"error\":{\"code\":\"bad_version\",\"message\":"
		    "\"Sec-WebSocket-Version: expected 13\"}}\n";

		conn->net->counts.refused_requests++;
		(void)http_answer(
		    conn, &(struct answer){ .status = 426,
			      .headers = "Sec-WebSocket-Version: 13\r\n",
			      .body = body,
			      .len = sizeof(body) - 1 });
		return 1;
	}
	if (http_header(conn, WSI_TOKEN_KEY, text, sizeof(text)) != 24)
		return http_error(conn, 400, "bad_key",
		    "Sec-WebSocket-Key: expected 16 bytes in base64");
	if (http_header(conn, WSI_TOKEN_PROTOCOL, text, sizeof(text)) > 0)
		return http_error(conn, 400, "bad_subprotocol",
		    "Sec-WebSocket-Protocol: expected none for %sCHANNEL",
		    WS_PREFIX);
	return 0;
}

static int
get_arguments(struct conn *conn, struct from *ret_from) LOOP_THREAD
{
	char text[64];
	int len = http_argument(conn, "from=", text, sizeof(text));

	if (len == -ENOENT)
		len = 0; /* live */
	if (len < 0 || from_get(text, (size_t)len, ret_from) < 0)
		return http_error(conn, 400, "bad_from",
		    "from: expected oldest, -N or EPOCH:OFFSET");
	len = http_argument(conn, "gap=", text, sizeof(text));
	conn->gap_silent = len == 6 && memcmp(text, "silent", 6) == 0;
	if (len != -ENOENT && !conn->gap_silent)
		return http_error(conn, 400, "bad_gap", "gap: expected silent");
	return 0;
}

static int
subscribe_error(struct conn *conn, int error) LOOP_THREAD
{
	switch (error) {
	case -ENFILE:
		return http_error(conn, 503, "too_many_channels",
		    "limits.channels_max is reached");
	case -ESHUTDOWN:
		return http_error(
		    conn, 503, "closing", "the server is closing");
	default:
		return http_error(conn, 503, "no_memory", "out of memory");
	}
}

static int
subscribe(struct conn *conn, const char *channel, size_t len) LOOP_THREAD
{
	struct hub *hub = conn->net->hub;
	struct hub_answer answer;
	struct from from;
	int error;

	if (get_arguments(conn, &from) != 0)
		return 1;
	error = hub_subscribe(hub, &conn->consumer, channel, len, &from,
	    clock_wall_us(), &answer);
	if (error < 0)
		return subscribe_error(conn, error);
	conn->position = answer.position;
	conn->recovered = answer.recovered;
	conn->gap_from = answer.gap_from;
	conn->gap_to = answer.gap_to;
	return 0;
}

static int
refuse_method(struct conn *conn) LOOP_THREAD
{
	static const char body[] =
	    "{\"error\":{\"code\":\"bad_method\",\"message\":"
	    "\"expected GET\"}}\n";

	conn->net->counts.refused_requests++;
	return http_answer(conn, &(struct answer){ .status = 405,
				     .headers = "Allow: GET\r\n",
				     .body = body,
				     .len = sizeof(body) - 1 });
}

int
ws_on_upgrade(struct conn *conn)
{
	struct net *net = conn->net;
	char *uri;
	int len;
	const int method = lws_http_get_uri_and_method(conn->wsi, &uri, &len);
	const size_t prefix = sizeof(WS_PREFIX) - 1;

	net->counts.requests++;
	if ((size_t)len <= prefix || memcmp(uri, WS_PREFIX, prefix) != 0)
		return http_error(
		    conn, 404, "not_found", "expected %sCHANNEL", WS_PREFIX);
	if (method != LWSHUMETH_GET)
		return refuse_method(conn);
	if (check_handshake(conn) != 0)
		return 1;
	if (!http_origin_allowed(conn)) {
		net->counts.refused_origin++;
		return http_error(conn, 403, "bad_origin",
		    "Origin: expected this host, or one of the listener's "
		    "origins");
	}
	uri += prefix;
	len -= (int)prefix;
	if (!channel_name_valid(uri, (size_t)len))
		return http_error(conn, 400, "bad_channel",
		    "expected 1 to %d of A-Z a-z 0-9 _ - . :, the first a "
		    "letter or digit",
		    CHANNEL_NAME_MAX);
	if (!hub_may(net->hub, &conn->who, CONF_SUBSCRIBE, uri, (size_t)len))
		return http_error(
		    conn, 403, "not_allowed", "subscribing is not allowed");
	return subscribe(conn, uri, (size_t)len);
}

int
ws_on_headers(struct conn *conn, struct lws_process_html_args *args)
{
	char position[POSITION_TEXT_MAX];
	int len;

	if (conn->state == CONN_WS || conn->consumer.channel == NULL)
		return 0; /* an HTTP answer */
	(void)position_put(position, &conn->position);
	len = snprintf(args->p, (size_t)args->max_len,
	    "Earshot-Position: %s\r\nEarshot-Recovered: %s\r\n", position,
	    conn->recovered ? "true" : "false");
	assert(len > 0);
	if (len >= args->max_len)
		return -1;
	args->p += len;
	args->max_len -= len;
	return 0;
}

/* Browsers do not see the answer's headers, so they are told here. */
static void
close_not_recovered(struct conn *conn) LOOP_THREAD
{
	hub_unsubscribe(conn->net->hub, &conn->consumer);
	if (conn->gap_from > 0)
		conn_close(conn, 4009,
		    "gap %016" PRIx64 ":%" PRId64 "-%" PRId64,
		    conn->position.epoch, conn->gap_from, conn->gap_to);
	else
		conn_close(conn, 4009, "gap: not recovered");
}

int
ws_on_established(struct conn *conn)
{
	struct net *net = conn->net;

	conn_set_state(conn, CONN_WS);
	conn_keep_alive(conn);
	net->counts.upgrades++;
	listeners_resume(net);
	if (!conn->recovered && !conn->gap_silent)
		close_not_recovered(conn);
	return 0; /* the flush after this batch begins to write */
}

static void
refuse(struct conn *conn, uint16_t code, const char *reason) LOOP_THREAD
{
	hub_unsubscribe(conn->net->hub, &conn->consumer);
	conn_close(conn, code, "%s", reason);
}

static void
publish_failed(struct conn *conn, int error) LOOP_THREAD
{
	switch (error) {
	case -ESHUTDOWN: /* our close is on its way */
		break;
	case -EMSGSIZE:
		refuse(conn, 1009, "message over message_bytes_max");
		break;
	case -EILSEQ:
		refuse(conn, 1007, "text is not UTF-8");
		break;
	default: /* -ENOBUFS, -ENOMEM */
		refuse(conn, 1013, "no room for the message now");
		break;
	}
}

static void
publish(struct conn *conn, const void *data, size_t len) LOOP_THREAD
{
	const struct hub_message message = {
		.kind = conn->message_text ? MESSAGE_TEXT : MESSAGE_BINARY,
		.payload = data,
		.len = len,
		.checked = true, /* as it arrived */
	};
	const char *channel = hub_consumer_channel(&conn->consumer);
	int64_t offset;

	offset = hub_publish(conn->net->hub, channel, strlen(channel),
	    HUB_OUTSIDE, &message, clock_wall_us(), NULL);
	if (offset < 0)
		publish_failed(conn, (int)offset);
}

/* The first bytes of a message: may it be, and what is it? */
static bool
message_begin(struct conn *conn) LOOP_THREAD
{
	struct net *net = conn->net;
	const char *channel = hub_consumer_channel(&conn->consumer);

	if (channel == NULL) /* overrun, and its close is on its way */
		return false;
	if (!hub_may(
		net->hub, &conn->who, CONF_PUBLISH, channel, strlen(channel))) {
		refuse(conn, 1008, "publishing is not allowed");
		return false;
	}
	conn->message_open = true;
	conn->message_text = !lws_frame_is_binary(conn->wsi);
	conn->utf8 = UTF8_STATE_INIT;
	return true;
}

/* The text so far can be UTF-8, and all that is announced fits. */
static bool
message_check(
    struct conn *conn, const void *data, size_t len, bool final) LOOP_THREAD
{
	const uint64_t max =
	    (uint64_t)conn->net->conf->limits.message_bytes_max;

	if (conn->message.len + len + lws_remaining_packet_payload(conn->wsi) >
	    max) {
		conn->net->counts.refused_message_bytes++;
		refuse(conn, 1009, "message over message_bytes_max");
		return false;
	}
	if (conn->message_text && (!utf8_feed(&conn->utf8, data, len) ||
				      (final && !utf8_complete(&conn->utf8)))) {
		conn->net->counts.refused_text++;
		refuse(conn, 1007, "text is not UTF-8");
		return false;
	}
	return true;
}

int
ws_on_receive(struct conn *conn, const void *data, size_t len)
{
	const bool final = lws_is_final_fragment(conn->wsi) &&
			   lws_remaining_packet_payload(conn->wsi) == 0;
	int error;

	conn->heard = true;
	if (conn->close_code != 0 || conn->peer_closed)
		return 0;
	if (!conn->message_open && !message_begin(conn))
		return 0;
	if (!message_check(conn, data, len, final))
		return 0;
	if (final && conn->message.len == 0) { /* the common case: no copy */
		conn->message_open = false;
		publish(conn, data, len);
		return 0;
	}
	error = conn_take(conn, &conn->message, data, len,
	    (size_t)conn->net->conf->limits.message_bytes_max);
	if (error < 0) {
		publish_failed(conn, error);
		return 0;
	}
	if (final) {
		conn->message_open = false;
		publish(conn, conn->message.data, conn->message.len);
		conn_drop(conn, &conn->message);
	}
	return 0;
}

/* The library would send back what RFC 6455 section 5.5.1 forbids. */
static int
answer_bad_close(struct conn *conn, uint16_t code) LOOP_THREAD
{
	uint8_t frame[4];
	bool blocked;
	const size_t len = frame_put_header(frame, true, 0, FRAME_CLOSE, 2);

	assert(len == 2);
	frame[2] = (uint8_t)(code >> 8);
	frame[3] = (uint8_t)code;
	(void)glue_write(conn->wsi, frame, sizeof(frame), &blocked); /* last */
	return -1;
}

int
ws_on_peer_close(struct conn *conn, const uint8_t *payload, size_t len)
{
	conn->peer_closed = true;
	wheel_clear(&conn->net->wheel, &conn->deadline);
	hub_unsubscribe(conn->net->hub, &conn->consumer);
	if (len == 1)
		return answer_bad_close(conn, 1002);
	if (len > 2 && !utf8_valid(payload + 2, len - 2))
		return answer_bad_close(conn, 1007);
	return 0;
}

int
ws_on_writable(struct conn *conn)
{
	const char *reason = conn->close_reason;

	if (conn->close_code == 0) {
		hub_consumer_writable(conn->net->hub, &conn->consumer);
		return 0;
	}
	if (conn->close_sent || conn->peer_closed)
		return 0;
	assert(!lws_partial_buffered(conn->wsi));
	conn->close_sent = true;
	lws_close_reason(conn->wsi, conn->close_code,
	    (unsigned char *)conn->close_reason,
	    reason != NULL ? strlen(reason) : 0);
	return -1; /* the library sends it and waits for the peer's */
}
