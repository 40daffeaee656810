/*
 * Long lists for the control socket: channels and connections, in slices.
 *
 * The happy path: begin() writes the head -> a slice each time the socket
 * takes more -> the end.  A slice is bounded in bytes, so that looking at ten
 * thousand connections costs their consumers nothing.
 *
 * What can go wrong: what comes and goes meanwhile is in it or not; an answer
 * that has to end early has no last chunk.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SLICE_BYTES (16 * 1024)
#define SLICE_SLOTS_MAX 65536 /* most of them empty */
#define SLICE_CHANNELS 64
#define CHUNK_HEAD_BYTES 10 /* "%08x\r\n" */
#define CHANNELS_SHOWN_MAX 16
#define OUT_BYTES_MAX (4 * (size_t)LIMITS_MIB)

struct inspect {
	int (*put)(struct conn *conn, struct buffer *out);
	uint32_t next; /* UINT32_MAX: all done */
	bool first;
};

void
inspect_abandon(struct conn *conn)
{
	memory_free(conn->inspect);
	conn->inspect = NULL;
}

static int
put_comma(struct inspect *inspect, struct buffer *out)
{
	const bool first = inspect->first;

	inspect->first = false;
	return first ? 0 : buffer_append(out, ",", 1, OUT_BYTES_MAX);
}

/* Channels */

struct some {
	struct inspect *inspect;
	struct buffer *out;
	int error;
};

static void
put_channel(const struct hub_channel_stats *stats, void *arg)
{
	struct some *some = arg;

	if (some->error == 0)
		some->error = put_comma(some->inspect, some->out);
	if (some->error == 0)
		some->error = channel_put(some->out, stats);
}

static int
put_channels(struct conn *conn, struct buffer *out)
{
	struct inspect *inspect = conn->inspect;
	struct some some = { .inspect = inspect, .out = out };

	inspect->next = hub_some_channels(conn->net->hub, inspect->next,
	    SLICE_CHANNELS, clock_wall_us(), put_channel, &some);
	return some.error;
}

/* Connections */

static int
put_string(struct buffer *out, const char *text)
{
	char quoted[1024];
	const size_t len =
	    json_put_string(quoted, sizeof(quoted), text, strlen(text));

	assert(len <= sizeof(quoted));
	return buffer_append(out, quoted, len, OUT_BYTES_MAX);
}

static int
put_names(const struct conn *conn, struct buffer *out)
{
	unsigned shown = 0;
	int error = buffer_printf(out, OUT_BYTES_MAX, "\"channels\":[");

	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		const char *name = hub_consumer_channel(
		    &LIST_ENTRY(node, struct subscription, node)->consumer);

		if (error < 0 || name == NULL || shown == CHANNELS_SHOWN_MAX)
			continue;
		error = buffer_printf(out, OUT_BYTES_MAX, "%s\"%s\"",
		    shown++ > 0 ? "," : "", name);
	}
	if (error < 0)
		return error;
	return buffer_printf(out, OUT_BYTES_MAX,
	    "],\"subscriptions\":%" PRIu32 ",", conn->subscription_count);
}

static struct hub_lag
lag_of(const struct conn *conn, int64_t now_us)
{
	struct hub_lag sum = { 0 };

	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		const struct hub_lag lag = hub_consumer_lag_at(
		    &LIST_ENTRY(node, struct subscription, node)->consumer,
		    now_us);

		sum.messages += lag.messages;
		sum.bytes += lag.bytes;
		if (lag.us > sum.us)
			sum.us = lag.us;
	}
	return sum;
}

static const char *
state_of(const struct conn *conn)
{
	static const char *const names[CONN_STATES] = {
		[CONN_HANDSHAKE] = "handshake",
		[CONN_REQUEST] = "request",
		[CONN_IDLE] = "idle",
		[CONN_WS] = "websocket",
		[CONN_SSE] = "sse",
	};

	return conn->close_code != 0 || conn->cut ? "closing"
						  : names[conn->state];
}

static int
put_connection(const struct conn *conn, struct buffer *out)
{
	const struct hub_lag lag = lag_of(conn, clock_wall_us());
	const char *endpoint = conn->listener->control  ? "control"
			       : conn->endpoint != NULL ? conn->endpoint->name
							: "http";
	char peer[160];
	int error;

	error = buffer_printf(out, OUT_BYTES_MAX,
	    "{\"conn\":\"%" PRIu32 ".%" PRIu32
	    "\",\"state\":\"%s\",\"endpoint\":\"%s\",\"listener\":\"%s\","
	    "\"peer\":",
	    conn->slot, conn->generation, state_of(conn), endpoint,
	    conn->listener->conf->name);
	if (error == 0 && peer_address(conn->fd, peer, sizeof(peer)) == NULL)
		(void)strcpy(peer, "gone");
	if (error == 0)
		error = put_string(out, peer);
	if (error == 0)
		error = buffer_append(out, ",", 1, OUT_BYTES_MAX);
	if (error == 0)
		error = put_names(conn, out);
	if (error < 0)
		return error;
	return buffer_printf(out, OUT_BYTES_MAX,
	    "\"age\":%.3f,\"bytes\":%" PRIu64 ",\"lag\":{\"messages\":%" PRId64
	    ",\"bytes\":%" PRIu64 ",\"seconds\":%.3f}}",
	    (double)(clock_now_us() - conn->opened_us) / LIMITS_S,
	    conn->bytes_out, lag.messages, lag.bytes,
	    (double)lag.us / LIMITS_S);
}

/* By slot, so that nobody is missed who is there all the time. */
static int
put_connections(struct conn *conn, struct buffer *out)
{
	const struct net *net = conn->net;
	struct inspect *inspect = conn->inspect;
	uint32_t seen = 0;
	int error = 0;

	while (error == 0 && out->len < SLICE_BYTES &&
	       inspect->next < net->slot_count && seen++ < SLICE_SLOTS_MAX) {
		const struct conn *one = net->slots[inspect->next++];

		if (one == NULL)
			continue;
		error = put_comma(inspect, out);
		if (error == 0)
			error = put_connection(one, out);
	}
	if (inspect->next >= net->slot_count)
		inspect->next = UINT32_MAX;
	return error;
}

/* Slices */

static int
write_chunk(struct conn *conn, struct buffer *out, bool last) LOOP_THREAD
{
	const size_t len = out->len - CHUNK_HEAD_BYTES;
	char head[CHUNK_HEAD_BYTES + 1];
	int error = 0;

	if (len == 0) { /* an empty chunk would end the answer */
		buffer_clear(out);
	} else {
		(void)snprintf(head, sizeof(head), "%08x\r\n", (unsigned)len);
		memcpy(out->data, head, CHUNK_HEAD_BYTES);
		error = buffer_append(out, "\r\n", 2, OUT_BYTES_MAX);
	}
	if (error == 0 && last)
		error = buffer_append(out, "0\r\n\r\n", 5, OUT_BYTES_MAX);
	if (error == 0 && out->len > 0 &&
	    lws_write(conn->wsi, out->data, out->len, LWS_WRITE_HTTP) < 0)
		error = -EPIPE;
	return error;
}

static int
go_on(struct conn *conn, const char *head) LOOP_THREAD
{
	struct buffer out;
	bool last;
	int error;

	buffer_init(&out);
	error = buffer_printf(&out, OUT_BYTES_MAX, "00000000\r\n%s", head);
	if (error == 0)
		error = conn->inspect->put(conn, &out);
	last = conn->inspect->next == UINT32_MAX;
	if (error == 0 && last)
		error = buffer_append(&out, "]}\n", 3, OUT_BYTES_MAX);
	if (error == 0)
		error = write_chunk(conn, &out, last);
	buffer_fini(&out);
	if (error < 0)
		return -1; /* hang up: it must not look whole */
	if (!last) {
		conn_set_deadline(
		    conn, conn->net->conf->limits.request_timeout);
		(void)lws_callback_on_writable(conn->wsi); /* and again */
		return 0;
	}
	inspect_abandon(conn);
	conn_set_state(conn, CONN_IDLE);
	conn_set_deadline(conn, conn->net->conf->limits.keepalive_timeout);
	return http_end(conn, 1);
}

static int
begin(struct conn *conn, int (*put)(struct conn *conn, struct buffer *out),
    const char *head) LOOP_THREAD
{
	conn->inspect = memory_zalloc(sizeof(*conn->inspect));
	if (conn->inspect == NULL)
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	conn->inspect->put = put;
	conn->inspect->first = true;
	if (http_stream_headers(
		conn, "application/json", "Transfer-Encoding: chunked\r\n") < 0)
		return -1;
	return go_on(conn, head);
}

int
inspect_channels(struct conn *conn, const char *channel)
{
	(void)channel;
	return begin(conn, put_channels, "{\"channels\":[");
}

int
inspect_connections(struct conn *conn, const char *channel)
{
	(void)channel;
	return begin(conn, put_connections, "{\"connections\":[");
}

int
inspect_on_writable(struct conn *conn)
{
	return go_on(conn, "");
}
