/*
 * WebSocket upgrades, and messages as they arrive; raw.c and v1.c are what is
 * spoken then.
 *
 * The happy path: ws_on_upgrade() checks the request and lets the endpoint
 * begin -> the answer carries what the endpoint has to say -> the stream is
 * open -> ws_on_receive() puts messages together, checks text as it arrives
 * and hands them over whole.
 *
 * What a peer can do wrong: an answer with a status before the upgrade; after
 * it a close code: 1002 reserved bits, 1003 binary where there is none, 1007
 * text that is not UTF-8 or deflate that is none, 1009 a message over the
 * limit, inflated or not, 1013 no room for it now.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/net/access.h"
#include "daemon/net/app.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/deflate.h"
#include "proto/frame.h"
#include "proto/v1.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#define WS_PATH "/ws"
#define INFLATED_KEPT_BYTES 65536 /* of memory, between two pieces */
#define INFLATED_PER_ITERATION_MAX (1u << 19) /* then others read */
#define RSV1 0x40 /* of lws_get_reserved_bits() */
#define EXTENSIONS_BYTES_MAX 254 /* more than that the library hangs up on */

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
	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_EXTENSIONS) >
	    EXTENSIONS_BYTES_MAX)
		return http_error(conn, 400, "bad_extensions",
		    "Sec-WebSocket-Extensions: expected at most %d bytes",
		    EXTENSIONS_BYTES_MAX);
	return 0;
}

/* Is earshot.v1 among the subprotocols offered? */
static bool
offers_v1(const char *offer)
{
	const size_t len = strlen(V1_SUBPROTOCOL);
	const char *p = offer;

	while ((p = strstr(p, V1_SUBPROTOCOL)) != NULL) {
		const char after = p[len];
		const char before = p == offer ? ',' : p[-1];

		if ((after == '\0' || after == ',' || after == ' ') &&
		    (before == ',' || before == ' '))
			return true;
		p += len;
	}
	return false;
}

/*
 * Would we keep to the client's offer of permessage-deflate?  The library
 * looks at the first offer only and cannot answer one that wants a value
 * back, so neither do we.  It hangs up where a second offer follows one
 * without parameters that was accepted.
 */
static bool
can_deflate(struct conn *conn)
{
	struct deflate_answer answer;
	char offer[EXTENSIONS_BYTES_MAX + 1];
	size_t first;

	if (!conn->listener->conf->compression ||
	    http_header(conn, WSI_TOKEN_EXTENSIONS, offer, sizeof(offer)) <= 0)
		return false;
	first = strcspn(offer, ",");
	if (memchr(offer, ';', first) == NULL &&
	    strstr(offer + first, "permessage-deflate") != NULL)
		return false;
	return deflate_offer_accept(offer, first, &answer) == 1 &&
	       !answer.window_bits;
}

/* Which endpoint do path and subprotocol name? */
static int
choose(struct conn *conn, const char *channel, size_t len) LOOP_THREAD
{
	char offer[256];
	const bool offered =
	    http_header(conn, WSI_TOKEN_PROTOCOL, offer, sizeof(offer)) > 0;

	if (channel != NULL) {
		if (offered)
			return http_error(conn, 400, "bad_subprotocol",
			    "Sec-WebSocket-Protocol: expected none for "
			    "/ws/CHANNEL");
		return raw_begin(conn, channel, len);
	}
	if (!offered || !offers_v1(offer))
		return http_error(conn, 400, "bad_subprotocol",
		    "Sec-WebSocket-Protocol: expected " V1_SUBPROTOCOL
		    " for /ws");
	return v1_begin(conn);
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

static int
choose_app(struct conn *conn, struct handler *handler) LOOP_THREAD
{
	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_PROTOCOL) > 0)
		return http_error(conn, 400, "bad_subprotocol",
		    "Sec-WebSocket-Protocol: expected none here");
	if (handler_wants_token(handler) && access_require(conn) != 0)
		return 1;
	return app_begin(conn, handler);
}

int
ws_on_upgrade(struct conn *conn)
{
	struct net *net = conn->net;
	char *uri;
	int len;
	const int method = lws_http_get_uri_and_method(conn->wsi, &uri, &len);
	const size_t path = sizeof(WS_PATH) - 1;
	const char *channel = NULL;
	struct handler *handler =
	    handlers_for_path(net->handlers, uri, (size_t)len);
	int r;

	access_forget(conn);
	net->counts.requests++;
	if (http_check_names(conn) != 0)
		return 1;
	if (conn->listener->control ||
	    (handler == NULL &&
		((size_t)len < path || memcmp(uri, WS_PATH, path) != 0 ||
		    ((size_t)len > path && uri[path] != '/'))))
		return http_error(
		    conn, 404, "not_found", "expected /ws or /ws/CHANNEL");
	if (method != LWSHUMETH_GET)
		return refuse_method(conn);
	if (check_handshake(conn) != 0)
		return 1;
	if (!http_origin_allowed(conn))
		return http_bad_origin(conn);
	if (access_identify(conn) != 0)
		return 1;
	conn->deflated = can_deflate(conn);
	if ((size_t)len > path + 1)
		channel = uri + path + 1;
	r = handler != NULL ? choose_app(conn, handler)
			    : choose(conn, channel, (size_t)len - path - 1);
	return r != 0 ? r : lease_begin(conn);
}

int
ws_on_headers(struct conn *conn, struct lws_process_html_args *args)
{
	char position[POSITION_TEXT_MAX];
	int len;

	/* An HTTP answer, or an endpoint without a place of its own. */
	if (conn_is_stream(conn) || conn->endpoint == NULL ||
	    conn->subscription_count == 0)
		return 0;
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

int
ws_on_established(struct conn *conn)
{
	conn->net->counts.upgrades++;
	conn_open_stream(conn, CONN_WS);
	return 0; /* the flush after this batch begins to write */
}

static size_t
message_bytes_max(const struct conn *conn)
{
	if (conn->endpoint->message_bytes_max != NULL)
		return conn->endpoint->message_bytes_max(conn);
	return (size_t)conn->net->conf->limits.message_bytes_max;
}

static void
no_room(struct conn *conn, int error) LOOP_THREAD
{
	if (error == -EMSGSIZE)
		conn_close(conn, 1009, "message over message_bytes_max");
	else
		conn_close(conn, 1013, "no room for the message now");
}

/* The text so far can be UTF-8, and all that is announced fits. */
static bool
message_check(
    struct conn *conn, const void *data, size_t len, bool final) LOOP_THREAD
{
	const uint64_t max = message_bytes_max(conn);
	/* What a compressed frame announces says nothing of its content. */
	const uint64_t announced =
	    conn->message_packed ? 0 : lws_remaining_packet_payload(conn->wsi);

	if (conn->message.len + len + announced > max) {
		conn->net->counts.refused_message_bytes++;
		no_room(conn, -EMSGSIZE);
		return false;
	}
	if (conn->message_text && (!utf8_feed(&conn->utf8, data, len) ||
				      (final && !utf8_complete(&conn->utf8)))) {
		conn->net->counts.refused_text++;
		conn_close(conn, 1007, "text is not UTF-8");
		return false;
	}
	return true;
}

static bool
message_begin(struct conn *conn) LOOP_THREAD
{
	if (!conn->endpoint->begin(conn))
		return false;
	conn->message_open = true;
	conn->message_since_us = clock_now_us();
	conn->message_text = !lws_frame_is_binary(conn->wsi);
	conn->utf8 = UTF8_STATE_INIT;
	return true;
}

/* RSV1 says "compressed" on the first frame of a message, and nothing else. */
static bool
check_bits(struct conn *conn) LOOP_THREAD
{
	const unsigned bits = lws_get_reserved_bits(conn->wsi);
	const bool begins = !conn->frame_open;

	conn->frame_open = lws_remaining_packet_payload(conn->wsi) > 0;
	if (!begins)
		return true;
	if (!conn->message_open)
		conn->message_packed = conn->deflated && (bits & RSV1) != 0;
	if (bits == 0 ||
	    (bits == RSV1 && conn->message_packed && !conn->message_open))
		return true;
	conn_close(conn, 1002, "reserved bits without a meaning");
	return false;
}

/* From the first compressed message to the connection's end. */
static int
need_inflater(struct conn *conn) LOOP_THREAD
{
	struct net *net = conn->net;
	int error = 0;

	if (conn->inflate != NULL)
		return 0;
	if (net->inflaters >= (uint64_t)net->conf->limits.inflaters_max) {
		net->counts.refused_inflaters++;
		return -ENOBUFS;
	}
	error = inflate_new(&conn->inflate);
	net->inflaters += error == 0;
	return error;
}

/*
 * What a piece of a compressed message says, in net->inflated.  A client may
 * build on the messages before, so each connection has a context of its own.
 */
static bool
message_inflate(
    struct conn *conn, const void *data, size_t len, bool final) LOOP_THREAD
{
	struct buffer *out = &conn->net->inflated;
	const size_t most = message_bytes_max(conn);
	const size_t max =
	    most > conn->message.len ? most - conn->message.len : 0;
	int error = need_inflater(conn);

	buffer_clear(out);
	if (error == 0)
		error = inflate_feed(conn->inflate, out, max, data, len);
	if (error == 0 && final)
		error = inflate_end(conn->inflate, out, max, true);
	if (error == -EBADMSG) {
		conn->net->counts.refused_deflate++;
		conn_close(conn, 1007, "the message is not deflate");
	} else if (error < 0) {
		conn->net->counts.refused_message_bytes += error == -EMSGSIZE;
		no_room(conn, error);
	}
	return error == 0;
}

/* A read's kilobyte may be a megabyte: 64 of those are for 64 iterations. */
static void
count_inflated(struct net *net) LOOP_THREAD
{
	const uint64_t round = glue_round(net->glue);

	if (net->inflated_round != round)
		net->inflated_bytes = 0;
	net->inflated_round = round;
	net->inflated_bytes += net->inflated.len;
	if (net->inflated_bytes < INFLATED_PER_ITERATION_MAX)
		return;
	net->inflated_bytes = 0;
	glue_read_enough(net->glue);
}

static void
message_take(struct conn *conn, void *data, size_t len, bool final) LOOP_THREAD
{
	int error;

	if (!message_check(conn, data, len, final))
		return;
	if (final && conn->message.len == 0) { /* the common case: no copy */
		conn->message_open = false;
		conn->endpoint->message(conn, conn->message_text, data, len);
		return;
	}
	error =
	    conn_take(conn, &conn->message, data, len, message_bytes_max(conn));
	if (error < 0) {
		no_room(conn, error);
		return;
	}
	if (!final)
		return;
	conn->message_open = false;
	conn->endpoint->message(
	    conn, conn->message_text, conn->message.data, conn->message.len);
	conn_drop(conn, &conn->message);
}

int
ws_on_receive(struct conn *conn, void *data, size_t len)
{
	const bool final = lws_is_final_fragment(conn->wsi) &&
			   lws_remaining_packet_payload(conn->wsi) == 0;
	static char nothing[1];
	struct buffer *inflated = &conn->net->inflated;

	conn->heard = true;
	if (conn->close_code != 0 || conn->peer_closed || conn->cut)
		return 0;
	if (!check_bits(conn) || (!conn->message_open && !message_begin(conn)))
		return 0;
	if (!conn->message_packed) {
		message_take(conn, data, len, final);
		return 0;
	}
	const bool good = message_inflate(conn, data, len, final);

	count_inflated(conn->net);
	if (good)
		message_take(conn,
		    inflated->len > 0 ? (void *)inflated->data : nothing,
		    inflated->len, final);
	if (inflated->size > INFLATED_KEPT_BYTES)
		buffer_fini(inflated);
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
	conn->peer_code = 1005;
	if (len >= 2)
		conn->peer_code = (uint16_t)(payload[0] << 8 | payload[1]);
	if (len > 2 && conn->session != NULL) {
		conn->peer_reason = memory_zalloc(len - 1);
		if (conn->peer_reason != NULL) /* else "" */
			memcpy(conn->peer_reason, payload + 2, len - 2);
	}
	wheel_clear(&conn->net->wheel, &conn->deadline);
	conn_unsubscribe_all(conn);
	if (len == 1)
		return answer_bad_close(conn, 1002);
	if (len > 2 && !utf8_valid(payload + 2, len - 2))
		return answer_bad_close(conn, 1007);
	return 0;
}

/* One byte of payload, because the library does not tell of an empty pong. */
int
ws_ping(struct conn *conn)
{
	unsigned char ping[LWS_PRE + 1] = { [LWS_PRE] = 'e' };

	return lws_write(conn->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING);
}

size_t
ws_message_end(const uint8_t *data, size_t len)
{
	struct frame_header header;
	size_t end = 0;

	while (end < len) {
		const int got =
		    frame_get_header(data + end, len - end, &header);

		assert(got > 0); /* a span is whole frames, and ours */
		end += header.header_bytes + (size_t)header.payload_bytes;
		if (header.fin)
			break;
	}
	assert(end <= len);
	return end;
}
