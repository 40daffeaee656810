/*
 * The life of a connection: its name, its deadline, its close.
 *
 * The happy path: conn_new() at accept -> states and deadlines set by http.c
 * and ws.c -> the peer closes, or conn_close() -> WSI_DESTROY -> conn_free().
 *
 * Closing, and what may go wrong:
 * - the close frame is sent from the next SERVER_WRITEABLE, when the library
 *   holds no remainder; with one it would drop the close frame;
 * - the library gives sending and answering five seconds each, on timers of
 *   its own: they are put off every second, ours decides (close_timeout, or
 *   the drain's deadline);
 * - the peer never answers: cut, counted;
 * - reading goes on meanwhile, what comes is discarded.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/handler.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/deflate.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CLOSE_TICK_US LIMITS_S /* below the library's five seconds */
#define REASON_BYTES_MAX 123 /* RFC 6455 section 5.5 */

struct conn *
conn_of(struct lws *wsi)
{
	return lws_get_opaque_user_data(wsi);
}

/* The first free slot from the last one on: a name comes back late. */
static uint32_t
slot_take(struct net *net, struct conn *conn)
{
	uint32_t slot = net->slot_next, i;

	for (i = 0; i < net->slot_count; i++) {
		if (net->slots[slot] == NULL)
			break;
		slot = (slot + 1) % net->slot_count;
	}
	assert(net->slots[slot] == NULL);
	net->slots[slot] = conn;
	net->slot_next = (slot + 1) % net->slot_count;
	return slot;
}

int
conn_new(
    struct net *net, struct listener *listener, int fd, struct conn **ret_conn)
{
	struct conn *conn;

	assert(net->conn_count < net->slot_count);
	conn = memory_zalloc(sizeof(*conn));
	if (conn == NULL)
		return -ENOMEM;
	conn->net = net;
	conn->listener = listener;
	conn->fd = fd;
	conn->slot = slot_take(net, conn);
	conn->generation = net->generations[conn->slot];
	conn->who.rights = net->conf->auth.anonymous;
	conn->state = CONN_HANDSHAKE;
	conn->opened_us = clock_now_us();
	buffer_init(&conn->message);
	list_init(&conn->node);
	list_init(&conn->subscriptions);
	list_init(&conn->out_node);
	hub_publisher_init(&conn->publisher, NULL, NULL);
	buffer_init(&conn->out);
	wheel_entry_init(&conn->deadline);
	list_append(&net->conns, &conn->node);
	net->conn_count++;
	net->control.conn_count += listener->control;
	net->state_counts[conn->state]++;
	conn_set_deadline(conn, net->conf->limits.handshake_timeout);
	*ret_conn = conn;
	return 0;
}

/* With what did it end?  As the peer said, or we, or it broke. */
static void
tell_session(struct conn *conn) LOOP_THREAD
{
	uint16_t code = 1006;
	const char *reason = "";

	if (conn->session == NULL)
		return;
	if (conn->peer_code != 0) {
		code = conn->peer_code;
		reason = conn->peer_reason != NULL ? conn->peer_reason : "";
	} else if (conn->close_sent) {
		code = conn->close_code;
		reason = conn->close_reason != NULL ? conn->close_reason : "";
	}
	session_gone(conn->session, code, reason);
	conn->session = NULL;
}

void
conn_free(struct conn *conn)
{
	struct net *net = conn->net;

	tell_session(conn);
	lease_end(conn);
	access_forget(conn);
	hub_publisher_end(net->hub, &conn->publisher);
	conn_unsubscribe_all(conn);
	wheel_clear(&net->wheel, &conn->deadline);
	conn_drop(conn, &conn->message);
	net->inflaters -= conn->inflate != NULL;
	inflate_free(conn->inflate);
	publish_abandon(conn);
	slices_abandon(conn);
	control_abandon(conn);
	buffer_fini(&conn->out);
	list_remove(&conn->out_node);
	memory_free(conn->kept_answer);
	memory_free(conn->cors);
	memory_free(conn->close_reason);
	memory_free(conn->peer_reason);
	list_remove(&conn->node);
	assert(net->slots[conn->slot] == conn);
	net->slots[conn->slot] = NULL;
	net->generations[conn->slot]++;
	net->conn_count--;
	net->control.conn_count -= conn->listener->control;
	net->state_counts[conn->state]--;
	memory_free(conn);
}

void
conn_set_state(struct conn *conn, enum conn_state state)
{
	conn->net->state_counts[conn->state]--;
	conn->net->state_counts[state]++;
	conn->state = state;
}

void
conn_set_deadline(struct conn *conn, int64_t after_us)
{
	assert(after_us >= 0);
	wheel_set(
	    &conn->net->wheel, &conn->deadline, clock_now_us() + after_us);
}

void
conn_cut(struct conn *conn)
{
	conn->cut = true;
	glue_kill(conn->wsi);
}

/* Its filter has enough for now.  A closing one is read, for the close. */
void
conn_on_full(struct hub_publisher *publisher, bool full)
{
	struct conn *conn = LIST_ENTRY(publisher, struct conn, publisher);

	glue_on_loop(conn->net->glue);
	conn_pause_reading(
	    conn, full && conn->close_code == 0 && !conn->peer_closed);
}

void
conn_pause_reading(struct conn *conn, bool pause)
{
	if (pause == conn->read_paused)
		return;
	conn->read_paused = pause;
	if (pause)
		glue_pause_reading(conn->net->glue, conn->fd);
	else
		glue_resume_reading(conn->net->glue, conn->fd);
}

static void
set_close_deadline(struct conn *conn)
{
	const int64_t left_us = conn->close_by_us - clock_now_us();

	if (left_us > CLOSE_TICK_US)
		conn_set_deadline(conn, CLOSE_TICK_US);
	else
		conn_set_deadline(conn, left_us > 0 ? left_us : 0);
}

/* Late with its close: go on waiting, or cut it. */
static void
close_tick(struct conn *conn) LOOP_THREAD
{
	if (clock_now_us() >= conn->close_by_us) {
		conn->net->counts.timeouts_close++;
		conn->forced = true;
		conn_cut(conn);
		return;
	}
	lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0);
	set_close_deadline(conn);
}

bool
conn_is_stream(const struct conn *conn)
{
	return conn->state == CONN_WS || conn->state == CONN_SSE;
}

void
conn_open_stream(struct conn *conn, enum conn_state state)
{
	assert(conn->endpoint != NULL);
	conn_set_state(conn, state);
	assert(conn_is_stream(conn));
	conn_set_deadline(conn, conn->net->conf->limits.ping_interval);
	listeners_resume(conn->net);
	conn->endpoint->open(conn);
}

enum view_kind
conn_view(const struct conn *conn)
{
	return conn->deflated ? conn->endpoint->view_deflated
			      : conn->endpoint->view;
}

void
conn_subscribed(struct conn *conn, struct subscription *subscription)
{
	subscription->conn = conn;
	list_init(&subscription->node);
	list_append(&conn->subscriptions, &subscription->node);
	conn->subscription_count++;
}

struct subscription *
conn_find_subscription(struct conn *conn, const char *channel, size_t len)
{
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);
		const char *name =
		    hub_consumer_channel(&subscription->consumer);

		if (!subscription->leaving && strlen(name) == len &&
		    memcmp(name, channel, len) == 0)
			return subscription;
	}
	return NULL;
}

static void
forget(struct subscription *subscription)
{
	struct conn *conn = subscription->conn;

	if (conn->writing == subscription)
		conn->writing = NULL;
	hub_unsubscribe(conn->net->hub, &subscription->consumer);
	list_remove(&subscription->node);
	conn->subscription_count--;
	if (subscription != &conn->first)
		memory_free(subscription);
}

void
conn_unsubscribe(struct conn *conn, struct subscription *subscription)
{
	if (conn->writing == subscription && conn_inside_message(conn)) {
		subscription->leaving = true;
		conn_wait_for_flush(conn);
	} else {
		forget(subscription);
	}
}

void
conn_settle_leaving(struct conn *conn)
{
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);

		if (subscription->leaving)
			forget(subscription);
	}
}

void
conn_unsubscribe_all(struct conn *conn)
{
	conn->writing = NULL;
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);

		hub_unsubscribe(conn->net->hub, &subscription->consumer);
		list_remove(node);
		if (subscription != &conn->first)
			memory_free(subscription);
	}
	conn->subscription_count = 0;
}

bool
conn_at_end(const struct conn *conn)
{
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		const struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);

		if (!hub_consumer_at_end(&subscription->consumer))
			return false;
	}
	return conn->out.len == 0;
}

int64_t
conn_lag(const struct conn *conn)
{
	int64_t lag = 0;

	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		const struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);

		lag += hub_consumer_lag(&subscription->consumer);
	}
	return lag;
}

/* Some subscription waits for the socket. */
static bool
is_blocked(const struct conn *conn)
{
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		const struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);

		if (subscription->consumer.blocked)
			return true;
	}
	return conn->out.len > 0 || conn->read_paused ||
	       lws_partial_buffered(conn->wsi);
}

/* Halves of messages take of what all have, so they may not stay for ever. */
static bool
message_is_late(const struct conn *conn)
{
	const int64_t most_us = conn->net->conf->limits.request_timeout;

	return conn->message_open &&
	       clock_now_us() - conn->message_since_us >= most_us;
}

static void
ping(struct conn *conn) LOOP_THREAD
{
	const struct conf_limits *limits = &conn->net->conf->limits;
	const bool answers = conn->state == CONN_WS;

	conn->heard = !answers;
	conn->pinged_us = clock_now_us();
	conn->net->counts.pings++;
	if (conn->endpoint->ping(conn) < 0)
		conn_cut(conn);
	else if (answers && limits->pong_timeout < limits->ping_interval)
		conn_set_deadline(conn, limits->pong_timeout);
	else
		conn_set_deadline(conn, limits->ping_interval);
}

/*
 * Ping and wait for anything to come back.  A stream whose socket is full is
 * not pinged and not given up: it is slow, and what it is sent is probe
 * enough; the kernel gives up when nothing is acknowledged.  Nor is one that
 * we do not read at present, whose pong would not be heard.  An event stream
 * answers nothing: what it is sent is its sign of life, to proxies as well.
 */
static void
ping_tick(struct conn *conn) LOOP_THREAD
{
	const struct conf_limits *limits = &conn->net->conf->limits;
	int64_t wait_us = 0; /* for the pong, or for the next ping */

	if (message_is_late(conn)) {
		conn->net->counts.timeouts_request++;
		conn_close(conn, 1008, "the message does not end");
		return;
	}
	if (is_blocked(conn)) {
		conn->pinged_us = 0;
		conn_set_deadline(conn, limits->ping_interval);
		return;
	}
	if (conn->pinged_us > 0)
		wait_us = conn->pinged_us - clock_now_us() +
			  (conn->heard ? limits->ping_interval
				       : limits->pong_timeout);
	if (wait_us > 0) {
		conn_set_deadline(conn, wait_us);
	} else if (conn->pinged_us > 0 && !conn->heard) {
		conn->net->counts.timeouts_pong++;
		log_debug("conn=%u.%u no pong", conn->slot, conn->generation);
		conn_cut(conn);
	} else {
		ping(conn);
	}
}

void
conn_on_deadline(struct wheel_entry *entry)
{
	struct conn *conn = LIST_ENTRY(entry, struct conn, deadline);
	struct net_counts *counts = &conn->net->counts;

	switch (conn->state) {
	case CONN_HANDSHAKE:
		counts->timeouts_handshake++;
		break;
	case CONN_REQUEST:
		counts->timeouts_request++;
		break;
	case CONN_IDLE:
		counts->timeouts_keepalive++;
		break;
	default:
		assert(conn_is_stream(conn));
		if (conn->close_code != 0)
			close_tick(conn);
		else
			ping_tick(conn);
		return;
	}
	conn_cut(conn);
}

void
conn_close(struct conn *conn, uint16_t code, const char *fmt, ...)
{
	struct net *net = conn->net;
	char reason[REASON_BYTES_MAX + 1];
	va_list args;

	assert(conn_is_stream(conn));
	assert(code >= 1000);
	if (conn->close_code != 0 || conn->peer_closed)
		return;
	va_start(args, fmt);
	(void)vsnprintf(reason, sizeof(reason), fmt, args); /* cut is fine */
	va_end(args);
	conn->close_code = code;
	conn->close_reason = memory_dup(reason, strlen(reason) + 1);
	net->counts.closes++;
	log_debug("conn=%u.%u closing %u %s", conn->slot, conn->generation,
	    code, reason);
	conn_drop(conn, &conn->message);
	conn_pause_reading(conn, false);
	conn->close_by_us =
	    net->closing ? INT64_MAX
			 : clock_now_us() + net->conf->limits.close_timeout;
	set_close_deadline(conn);
	(void)lws_callback_on_writable(conn->wsi); /* a dead one is cut above */
}

static void
wake_subscriptions(struct conn *conn)
{
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		struct subscription *subscription =
		    LIST_ENTRY(node, struct subscription, node);

		hub_consumer_writable(conn->net->hub, &subscription->consumer);
	}
}

static int
send_close(struct conn *conn)
{
	const char *reason = conn->close_reason;

	assert(!lws_partial_buffered(conn->wsi));
	conn->close_sent = true;
	if (conn->state == CONN_SSE)
		return -1; /* its end is all it has */
	lws_close_reason(conn->wsi, conn->close_code,
	    (unsigned char *)conn->close_reason,
	    reason != NULL ? strlen(reason) : 0);
	return -1; /* the library sends it and waits for the peer's */
}

/* The socket takes bytes, and the library holds none. */
int
conn_on_writable(struct conn *conn)
{
	const bool flushed = conn_flush_out(conn);

	if (conn->close_code == 0) {
		wake_subscriptions(conn);
		return 0;
	}
	if (conn->close_sent || conn->peer_closed || conn->cut)
		return 0;
	/* A message that will not be finished: out has no place any more. */
	if (!flushed && !conn_inside_message(conn))
		return 0;
	return send_close(conn);
}

int
conn_take(struct conn *conn, struct buffer *buffer, const void *data,
    size_t len, size_t max)
{
	struct net *net = conn->net;
	int error;

	if (net->intake_bytes + len >
	    (uint64_t)net->conf->limits.intake_bytes_max) {
		net->counts.refused_intake++;
		return -ENOBUFS;
	}
	error = buffer_append(buffer, data, len, max);
	if (error == 0)
		net->intake_bytes += len;
	return error;
}

void
conn_drop(struct conn *conn, struct buffer *buffer)
{
	assert(conn->net->intake_bytes >= buffer->len);
	conn->net->intake_bytes -= buffer->len;
	buffer_fini(buffer);
}
