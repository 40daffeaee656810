/*
 * Server-Sent Events: GET /sse/CHANNEL, for browsers that resume by themselves.
 *
 * The happy path: sse_begin() checks and subscribes -> the headers -> where
 * the stream begins, as an id -> spans of the channel's SSE view, until one
 * side ends the connection.
 *
 * What can go wrong: a Last-Event-ID that is no position of ours is one that
 * cannot be continued: from the oldest, told by an event `gap`.  There are no
 * close codes: what ends the stream is its end, `retry:` says for how long.
 */

#include "proto/sse.h"
#include "daemon/base/clock.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_BYTES_MAX 1024
#define LAST_EVENT_ID "last-event-id:"

/* A block is put into a buffer first. */
#define SAY(conn, call)                                                        \
	do {                                                                   \
		struct buffer block;                                           \
                                                                               \
		buffer_init(&block);                                           \
		if ((call) < 0)                                                \
			conn_close((conn), 1011, "out of memory");             \
		else                                                           \
			(void)conn_out((conn), block.data, block.len);         \
		buffer_fini(&block);                                           \
	} while (0)

/* The browser's own place is newer than the one in the address. */
static int
get_from(struct conn *conn, struct from *ret_from) LOOP_THREAD
{
	const int name_len = (int)sizeof(LAST_EVENT_ID) - 1;
	char text[64];
	int len = lws_hdr_custom_length(conn->wsi, LAST_EVENT_ID, name_len);

	if (len <= 0)
		return http_from(conn, ret_from);
	*ret_from = (struct from){ .kind = FROM_POSITION };
	len = lws_hdr_custom_copy(
	    conn->wsi, text, sizeof(text), LAST_EVENT_ID, name_len);
	if (len > 0 && position_get(text, (size_t)len, &ret_from->position) < 0)
		ret_from->position = (struct position){ 0 };
	return 0;
}

static int
write_headers(struct conn *conn) LOOP_THREAD
{
	char position[POSITION_TEXT_MAX], headers[512];
	int len;

	(void)position_put(position, &conn->position);
	len = snprintf(headers, sizeof(headers),
	    "Cache-Control: no-store\r\n"
	    "X-Accel-Buffering: no\r\n"
	    "Earshot-Position: %s\r\n"
	    "Earshot-Recovered: %s\r\n"
	    "Connection: close\r\n",
	    position, conn->recovered ? "true" : "false");
	assert(len > 0);
	assert((size_t)len < sizeof(headers));
	return http_stream_headers(conn, "text/event-stream", headers);
}

static void
on_open(struct conn *conn)
{
	const char *channel = hub_consumer_channel(&conn->first.consumer);

	glue_on_loop(conn->net->glue);
	if (conn->recovered)
		SAY(conn,
		    sse_put_position(&block, BLOCK_BYTES_MAX, &conn->position));
	else
		SAY(conn, sse_put_gap(&block, BLOCK_BYTES_MAX, channel,
			      strlen(channel), &conn->position, conn->gap_from,
			      conn->gap_to));
}

static bool
on_overrun(struct subscription *subscription, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside)
{
	struct conn *conn = subscription->conn;
	const char *channel = hub_consumer_channel(&subscription->consumer);
	const struct position position = { conn->position.epoch, to };

	(void)policy; /* skip and latest differ in `to` */
	glue_on_loop(conn->net->glue);
	if (inside) { /* the browser drops what it has of it, and comes back */
		conn_close(conn, 4009, "gap");
		return false;
	}
	SAY(conn, sse_put_gap(&block, BLOCK_BYTES_MAX, channel, strlen(channel),
		      &position, from, to));
	return conn->close_code == 0;
}

/* An event ends with an empty line, and has none inside. */
static size_t
message_end(const uint8_t *data, size_t len)
{
	const uint8_t *end = memmem(data, len, "\n\n", 2);

	return end != NULL ? (size_t)(end - data) + 2 : len;
}

static int
on_ping(struct conn *conn)
{
	glue_on_loop(conn->net->glue);
	SAY(conn, sse_put_keepalive(&block, BLOCK_BYTES_MAX));
	return 0;
}

static void
on_notice(struct conn *conn, const char *upstream, const char *state)
{
	glue_on_loop(conn->net->glue);
	SAY(conn, sse_put_notice(&block, BLOCK_BYTES_MAX, upstream, state));
}

static void
on_shutdown(struct conn *conn, unsigned retry_after_ms)
{
	glue_on_loop(conn->net->glue);
	SAY(conn, sse_put_retry(&block, BLOCK_BYTES_MAX, retry_after_ms));
	conn_close(conn, 1001, "shutdown");
}

static const struct endpoint sse_endpoint = {
	.name = "sse",
	.view = VIEW_SSE,
	.view_deflated = VIEW_SSE,
	.open = on_open,
	.overrun = on_overrun,
	.write = glue_write_stream,
	.message_end = message_end,
	.ping = on_ping,
	.notice = on_notice,
	.shutdown = on_shutdown,
};

int
sse_begin(struct conn *conn, const char *channel)
{
	struct from from;
	int result;

	if (!http_origin_allowed(conn))
		return http_end(conn, http_bad_origin(conn));
	conn->endpoint = &sse_endpoint;
	result = http_may_subscribe(conn, channel, strlen(channel));
	if (result == 0)
		result = get_from(conn, &from);
	if (result == 0)
		result = lease_begin(conn);
	if (result == 0)
		result = http_subscribe(conn, channel, strlen(channel), &from);
	if (result != 0) {
		lease_end(conn);
		conn->endpoint = NULL;
		return http_end(conn, result);
	}
	if (write_headers(conn) < 0)
		return -1;
	lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0);
	conn_open_stream(conn, CONN_SSE);
	return 0;
}
