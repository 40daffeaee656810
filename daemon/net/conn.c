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
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CLOSE_TICK_US LIMITS_S /* below the library's five seconds */
#define REASON_BYTES_MAX 123 /* RFC 6455 section 5.5 */

static struct conn *
conn_of_consumer(struct consumer *consumer)
{
	return LIST_ENTRY(consumer, struct conn, consumer);
}

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
	conn->who.rights = net->conf->anonymous;
	conn->state = CONN_HANDSHAKE;
	buffer_init(&conn->message);
	list_init(&conn->node);
	list_init(&conn->consumer.pending);
	wheel_entry_init(&conn->deadline);
	list_append(&net->conns, &conn->node);
	net->conn_count++;
	net->state_counts[conn->state]++;
	conn_set_deadline(conn, net->conf->limits.handshake_timeout);
	*ret_conn = conn;
	return 0;
}

void
conn_free(struct conn *conn)
{
	struct net *net = conn->net;

	hub_unsubscribe(net->hub, &conn->consumer);
	wheel_clear(&net->wheel, &conn->deadline);
	conn_drop(conn, &conn->message);
	if (conn->request != NULL) {
		conn_drop(conn, &conn->request->body);
		memory_free(conn->request);
	}
	memory_free(conn->kept_answer);
	memory_free(conn->close_reason);
	list_remove(&conn->node);
	assert(net->slots[conn->slot] == conn);
	net->slots[conn->slot] = NULL;
	net->generations[conn->slot]++;
	net->conn_count--;
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

void
conn_keep_alive(struct conn *conn)
{
	conn_set_deadline(conn, conn->net->conf->limits.ping_interval);
}

/*
 * Ping and wait for anything to come back.  A consumer whose socket is full
 * is not pinged and not given up: it is slow, and what it is sent is probe
 * enough; the kernel gives up when nothing is acknowledged.  The ping has a
 * byte in it because the library does not tell of an empty pong.
 */
static void
ping_tick(struct conn *conn)
{
	const struct conf_limits *limits = &conn->net->conf->limits;
	unsigned char ping[LWS_PRE + 1] = { [LWS_PRE] = 'e' };

	if (conn->consumer.blocked || lws_partial_buffered(conn->wsi)) {
		conn->ping_sent = false;
		conn_set_deadline(conn, limits->ping_interval);
		return;
	}
	if (conn->ping_sent && !conn->heard) {
		conn->net->counts.timeouts_pong++;
		log_debug("conn=%u.%u no pong", conn->slot, conn->generation);
		conn_cut(conn);
		return;
	}
	conn->ping_sent = !conn->ping_sent;
	if (!conn->ping_sent) { /* heard; the rest of the interval */
		conn_set_deadline(
		    conn, limits->ping_interval > limits->pong_timeout
			      ? limits->ping_interval - limits->pong_timeout
			      : LIMITS_MS);
		return;
	}
	conn->heard = false;
	conn->net->counts.pings++;
	if (lws_write(conn->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0)
		conn_cut(conn);
	else
		conn_set_deadline(conn, limits->pong_timeout);
}

void
conn_on_deadline(struct wheel_entry *entry, void *arg)
{
	struct conn *conn = LIST_ENTRY(entry, struct conn, deadline);
	struct net_counts *counts = &conn->net->counts;

	(void)arg;
	glue_on_loop(conn->net->glue);
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
		assert(conn->state == CONN_WS);
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

	assert(conn->state == CONN_WS);
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
	conn->close_by_us =
	    net->closing ? INT64_MAX
			 : clock_now_us() + net->conf->limits.close_timeout;
	set_close_deadline(conn);
	(void)lws_callback_on_writable(conn->wsi); /* a dead one is cut above */
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

static int64_t
on_hub_write(struct consumer *consumer, const struct span *span,
    bool *ret_blocked, void *arg)
{
	struct conn *conn = conn_of_consumer(consumer);
	int64_t taken;

	(void)arg;
	glue_on_loop(conn->net->glue);
	/* Not open yet: its upgrade failed after it was subscribed. */
	if (conn->state != CONN_WS || conn->close_code != 0 ||
	    conn->peer_closed) {
		*ret_blocked = true;
		return 0;
	}
	taken = glue_write(conn->wsi, span->data, span->len, ret_blocked);
	if (taken < 0)
		conn_cut(conn);
	return taken;
}

/*
 * A raw stream has no place for a notice: it goes on without the messages
 * only when it was asked for, and never inside one.
 */
static bool
on_hub_overrun(struct consumer *consumer, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside, void *arg)
{
	struct conn *conn = conn_of_consumer(consumer);
	const uint64_t epoch = conn->position.epoch;

	(void)arg;
	glue_on_loop(conn->net->glue);
	if (policy == CONF_OVERRUN_CLOSE)
		conn_close(conn, 1013, "overrun");
	else if (conn->gap_silent && !inside)
		return true;
	else
		conn_close(conn, 4009, "gap %016llx:%lld-%lld",
		    (unsigned long long)epoch, (long long)from, (long long)to);
	return false;
}

const struct hub_ops *
conn_hub_ops(void)
{
	static const struct hub_ops ops = {
		.write = on_hub_write,
		.overrun = on_hub_overrun,
	};

	return &ops;
}
