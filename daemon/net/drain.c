/*
 * The connections' part of a drain: every consumer gets all there is, then
 * 1001 with a hint when to come back, paced; see daemon/drain.c for the whole.
 *
 * The happy path: net_stop_intake() -> net_drain() -> a tick every
 * DRAIN_TICK_US closes those whose cursor is at its end, as many as
 * close_rate allows -> their close or end of file comes -> the last one
 * gone: done().
 *
 * What can go wrong:
 * - a consumer does not read: net_force() cuts and counts it, and says what
 *   it lacked;
 * - a client over TLS that answers the close and then keeps the socket: ended
 *   by us, it has all there is;
 * - a request whose body does not come: ended with the last consumer.
 */

#include "daemon/base/clock.h"
#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/frame.h"

#include <assert.h>
#include <inttypes.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAIN_TICK_US WHEEL_TICK_US
#define DRAIN_HANDSHAKE_US ES_MS(250)

/* A whole request, and its answer is not all with the kernel. */
static bool
being_answered(const struct conn *conn)
{
	return (conn->request != NULL && conn->request->complete) ||
	       conn->slices != NULL || conn->awaited != NULL ||
	       lws_partial_buffered(conn->wsi);
}

/*
 * Connections that carry no consumer end last: as long as there is one, what
 * is asked on them is answered, publishes with 503.  A body that is not whole
 * by then would be refused as well; an answer on its way is let through.
 *
 * Who had connected just before and has not asked yet gets a moment to do so:
 * without it a restart would hang up on him, for whom it is the first request.
 */
static void
end_others(struct net *net) LOOP_THREAD
{
	const bool early = clock_now_us() < net->drain.handshakes_until_us;

	LIST_EACH_SAFE(node, next, &net->conns)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, node);

		if (conn->cut || conn_is_stream(conn) ||
		    (early && conn->state == CONN_HANDSHAKE) ||
		    being_answered(conn))
			continue;
		conn_cut(conn);
	}
}

void
net_stop_intake(struct net *net)
{
	if (net->closing)
		return;
	net->closing = true;
	net->drain.handshakes_until_us = clock_now_us() + DRAIN_HANDSHAKE_US;
	listeners_close(net);
	hub_close_intake(net->hub);
}

/* Spread evenly, so that they do not all come back at once. */
static unsigned
retry_after_ms(const struct net *net)
{
	const int64_t spread = net->conf->drain_retry_spread_us / ES_MS(1);

	return spread > 0 ? (unsigned)(random() % (spread + 1)) : 0;
}

static void
close_some(struct net *net) LOOP_THREAD
{
	const int64_t cost_us = LIMITS_S / net->conf->drain_close_rate;
	LIST_EACH_SAFE(node, next, &net->conns)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, node);

		if (net->drain.budget_us <= 0)
			return;
		if (!conn_is_stream(conn) || conn->close_code != 0 ||
		    conn->peer_closed || conn->cut || !conn_at_end(conn))
			continue;
		conn->endpoint->shutdown(conn, retry_after_ms(net));
		net->drain.budget_us -= cost_us;
	}
}

/* Plain connections are closed by the library itself at this point. */
static void
end_goodbyes(struct net *net) LOOP_THREAD
{
	if (net->vhost_tls == NULL)
		return;
	LIST_EACH_SAFE(node, next, &net->conns)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, node);

		if (conn->state != CONN_WS || conn->cut ||
		    !tls_goodbye_sent(conn->wsi))
			continue;
		conn->peer_closed = true; /* or it would not be that far */
		conn_cut(conn);
	}
}

static void
finish(struct net *net)
{
	net->drain.running = false;
	net->drain.done(&net->drain.result, net->drain.arg);
}

void
drain_tick(struct net *net)
{
	const int64_t now_us = clock_now_us();

	if (net->conn_count == 0) {
		finish(net);
		return;
	}
	/* A late tick makes up for it, a very late one does not. */
	net->drain.budget_us += now_us - net->drain.ticked_us;
	if (net->drain.budget_us > 2 * DRAIN_TICK_US)
		net->drain.budget_us = 2 * DRAIN_TICK_US;
	net->drain.ticked_us = now_us;
	close_some(net);
	end_goodbyes(net);
	if (net->state_counts[CONN_WS] + net->state_counts[CONN_SSE] == 0) {
		control_close(net);
		end_others(net);
	}
	wheel_set(&net->wheel, &net->drain.tick, now_us + DRAIN_TICK_US);
}

void
net_drain(struct net *net,
    void (*done)(const struct net_drained *drained, void *arg), void *arg)
{
	assert(net->closing);
	assert(!net->drain.running);
	net->drain.running = true;
	net->drain.done = done;
	net->drain.arg = arg;
	net->drain.ticked_us = clock_now_us();
	net->drain.budget_us = DRAIN_TICK_US;
	wheel_set(&net->wheel, &net->drain.tick, net->drain.ticked_us);
}

/*
 * Who has everything, and was only waited with, is told why he goes; there is
 * no time left for his answer.
 */
static void
say_goodbye(struct conn *conn) LOOP_THREAD
{
	uint8_t frame[2 + 125] = { [2] = 1001 >> 8, [3] = 1001 & 0xff };
	bool blocked;
	int len;

	if (conn->state != CONN_WS || conn->close_code != 0 ||
	    conn->peer_closed || !conn_at_end(conn) ||
	    lws_partial_buffered(conn->wsi))
		return;
	len = snprintf((char *)frame + 4, sizeof(frame) - 4,
	    "shutdown retry_after_ms=%u", retry_after_ms(conn->net));
	assert(len > 0);
	assert((size_t)len < sizeof(frame) - 4);
	(void)frame_put_header(frame, true, 0, FRAME_CLOSE, (uint64_t)len + 2);
	(void)glue_write(conn->wsi, frame, (size_t)len + 4,
	    &blocked); /* where it fails nobody is left to be told */
}

static void
tell_cut(struct conn *conn)
{
	char name[32], peer[160];

	(void)snprintf(
	    name, sizeof(name), "%u.%u", conn->slot, conn->generation);
	log_event(LOG_LEVEL_INFO,
	    &(struct log_about){
		.event = EVENT_CONSUMER_CUT,
		.conn = name,
		/* A v1 connection hears several. */
		.channel = conn->first.consumer.channel != NULL
			       ? hub_consumer_channel(&conn->first.consumer)
			       : NULL,
		.peer = peer_address(conn->fd, peer, sizeof(peer)),
	    },
	    "cut, lacks %" PRId64 " messages%s", conn_lag(conn),
	    conn->close_sent ? ", did not answer the close" : "");
}

/* What was written counts; what the kernel still has is the peer's to read. */
void
net_force(struct net *net)
{
	LIST_EACH_SAFE(node, next, &net->conns)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, node);

		if (conn->cut)
			continue;
		if (conn_is_stream(conn))
			tell_cut(conn);
		say_goodbye(conn);
		conn->forced = true;
		conn_cut(conn);
	}
}

/*
 * Called once for each connection that goes, before it is freed.  Delivered
 * is what answered our close, or left of its own accord (an event stream has
 * no answer: that it was ended is all); lost is what broke.
 */
void
drain_conn_gone(struct conn *conn)
{
	struct net_drained *result = &conn->net->drain.result;

	if (!conn->net->closing || !conn_is_stream(conn))
		return;
	if (conn->forced)
		result->forced++;
	else if (conn->peer_closed ||
		 (conn->close_sent &&
		     (conn->peer_ended || conn->state == CONN_SSE)))
		result->delivered++;
	else
		result->lost++;
	result->messages_undelivered += (uint64_t)conn_lag(conn);
}
