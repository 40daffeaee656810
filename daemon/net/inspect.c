/*
 * Long lists, in slices: channels, and for the control socket connections.
 *
 * What can go wrong: what comes and goes meanwhile is in it or not.
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

/* At once; a slice is as many times that as fit. */
#define SLOTS_MAX 1024 /* most of them empty */
#define CONNECTIONS_MAX 16
#define CHANNELS_MAX 16
#define CHANNELS_SHOWN_MAX 16
#define OUT_BYTES_MAX (4 * (size_t)LIMITS_MIB)

struct inspect {
	struct slices slices;
	int (*put_some)(
	    struct conn *conn, struct inspect *inspect, struct buffer *out);
	const char *name;
	uint32_t next; /* UINT32_MAX: all done */
	bool begun, some; /* the head is there, an element */
};

static void
inspect_free(struct slices *slices)
{
	memory_free(LIST_ENTRY(slices, struct inspect, slices));
}

static int
put(struct conn *conn, struct slices *slices, struct buffer *out)
{
	struct inspect *inspect = LIST_ENTRY(slices, struct inspect, slices);
	int error = 0;

	if (!inspect->begun)
		error = buffer_printf(
		    out, OUT_BYTES_MAX, "{\"%s\":[", inspect->name);
	inspect->begun = true;
	if (error == 0)
		error = inspect->put_some(conn, inspect, out);
	if (error < 0)
		return error;
	if (inspect->next != UINT32_MAX)
		return 1;
	return buffer_append(out, "]}\n", 3, OUT_BYTES_MAX);
}

static int
put_comma(struct inspect *inspect, struct buffer *out)
{
	const bool some = inspect->some;

	inspect->some = true;
	return some ? buffer_append(out, ",", 1, OUT_BYTES_MAX) : 0;
}

/* Channels */

struct some {
	const struct identity *who; /* NULL: of the house, sees all */
	struct inspect *inspect;
	struct buffer *out;
	int error;
};

static void
put_channel(const struct hub_channel_stats *stats, void *arg)
{
	struct some *some = arg;

	if (some->who != NULL && !identity_may(some->who, CONF_SUBSCRIBE,
				     stats->name, strlen(stats->name)))
		return;
	if (some->error == 0)
		some->error = put_comma(some->inspect, some->out);
	if (some->error == 0)
		some->error = channel_put(some->out, stats);
}

static int
put_channels(struct conn *conn, struct inspect *inspect, struct buffer *out)
{
	struct some some = {
		.who = conn->listener->control ? NULL : &conn->who,
		.inspect = inspect,
		.out = out,
	};

	inspect->next = hub_some_channels(conn->net->hub, inspect->next,
	    CHANNELS_MAX, clock_wall_us(), put_channel, &some);
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

/* What its token says of whom it is for. */
static int
put_subject(const struct conn *conn, struct buffer *out)
{
	const char *subject =
	    conn->who.token != NULL ? token_subject(conn->who.token) : "";
	const size_t len = strlen(subject);
	const size_t need = json_put_string(NULL, 0, subject, len);
	char *quoted;
	int error;

	if (len == 0)
		return 0;
	quoted = memory_alloc(need);
	if (quoted == NULL)
		return -ENOMEM;
	(void)json_put_string(quoted, need, subject, len);
	error = buffer_append(out, "\"subject\":", 10, OUT_BYTES_MAX);
	if (error == 0)
		error = buffer_append(out, quoted, need, OUT_BYTES_MAX);
	if (error == 0)
		error = buffer_append(out, ",", 1, OUT_BYTES_MAX);
	memory_free(quoted);
	return error;
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
		error = put_subject(conn, out);
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
put_connections(struct conn *conn, struct inspect *inspect, struct buffer *out)
{
	const struct net *net = conn->net;
	uint32_t seen = 0, shown = 0;
	int error = 0;

	while (error == 0 && inspect->next < net->slot_count &&
	       seen++ < SLOTS_MAX && shown < CONNECTIONS_MAX) {
		const struct conn *one = net->slots[inspect->next++];

		if (one == NULL)
			continue;
		shown++;
		error = put_comma(inspect, out);
		if (error == 0)
			error = put_connection(one, out);
	}
	if (inspect->next >= net->slot_count)
		inspect->next = UINT32_MAX;
	return error;
}

/* The list of that, {"NAME":[...]}. */
static int
begin(struct conn *conn,
    int (*put_some)(
	struct conn *conn, struct inspect *inspect, struct buffer *out),
    const char *name) LOOP_THREAD
{
	struct inspect *inspect = memory_zalloc(sizeof(*inspect));

	if (inspect == NULL)
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	inspect->slices.put = put;
	inspect->slices.free = inspect_free;
	inspect->put_some = put_some;
	inspect->name = name;
	return slices_begin(conn, &inspect->slices, "application/json", "");
}

int
inspect_channels(struct conn *conn, const char *channel)
{
	(void)channel;
	return begin(conn, put_channels, "channels");
}

int
inspect_connections(struct conn *conn, const char *channel)
{
	(void)channel;
	return begin(conn, put_connections, "connections");
}
