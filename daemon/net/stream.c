/*
 * What is written to a stream: spans of tapes, and between messages what is
 * on no tape.
 *
 * The happy path: the hub gives a span -> gate() finds no other message open
 * and nothing in out -> the endpoint writes it.  conn_out() -> the connection
 * waits in net.out_waiting -> after the batch conn_flush_out().
 *
 * What can go wrong:
 * - a subscription is inside a long message: the others of its connection and
 *   out wait for its last fragment, whose writing calls for out again.  Nobody
 *   asks meanwhile: the message may never be finished;
 * - the socket is full: everything of the connection waits for it;
 * - the peer never reads its replies: out_bytes_max, close 1008.
 */

#include "daemon/base/log.h"
#include "daemon/handler/handler.h"
#include "daemon/net/net_internal.h"
#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <string.h>

#define OUT_EAGER_BYTES 4096 /* do not wait for the end of the batch */

static struct subscription *
subscription_of(struct consumer *consumer)
{
	return LIST_ENTRY(consumer, struct subscription, consumer);
}

bool
conn_inside_message(const struct conn *conn)
{
	return conn->writing != NULL &&
	       cursor_inside_message(&conn->writing->consumer.cursor);
}

static int64_t
write_bytes(struct conn *conn, const uint8_t *data, size_t len,
    bool *ret_blocked) LOOP_THREAD
{
	const int64_t taken =
	    conn->endpoint->write(conn->wsi, data, len, ret_blocked);

	if (taken < 0)
		conn_cut(conn);
	else
		conn->bytes_out += (uint64_t)taken;
	return taken;
}

bool
conn_flush_out(struct conn *conn)
{
	bool blocked = false;
	int64_t taken;

	if (conn->out.len == 0)
		return true;
	if (conn_inside_message(conn) || conn->cut || conn->close_sent)
		return false;
	taken = write_bytes(conn, conn->out.data, conn->out.len, &blocked);
	if (taken < 0)
		return false;
	buffer_consume(&conn->out, (size_t)taken);
	if (conn->session != NULL && taken > 0)
		session_written(conn->session, (size_t)taken);
	if (conn->out.len > 0)
		return false;
	buffer_fini(&conn->out); /* idle connections hold no memory */
	return !blocked;
}

void
conn_wait_for_flush(struct conn *conn)
{
	if (list_empty(&conn->out_node))
		list_append(&conn->net->out_waiting, &conn->out_node);
}

static int
put_out(struct conn *conn, const void *data, size_t len)
{
	const size_t max = (size_t)conn->net->conf->limits.out_bytes_max;
	const size_t before = conn->out.len;
	uint8_t header[FRAME_HEADER_MAX];
	size_t bytes = 0;
	int error;

	if (conn->state == CONN_WS)
		bytes = frame_put_header(header, true, 0, FRAME_TEXT, len);
	if (conn->out.len + bytes + len > max)
		return -EAGAIN;
	error = buffer_append(&conn->out, header, bytes, max);
	if (error == 0)
		error = buffer_append(&conn->out, data, len, max);
	if (error < 0) {
		conn->out.len = before; /* the header must not stay alone */
		return -ENOMEM;
	}
	return 0;
}

int
conn_out(struct conn *conn, const void *data, size_t len)
{
	int error;

	if (conn->close_code != 0 || conn->peer_closed)
		return -EAGAIN;
	error = put_out(conn, data, len);
	if (error < 0) {
		if (error == -EAGAIN)
			conn->net->counts.refused_out++;
		conn_close(conn, error == -EAGAIN ? 1008 : 1011, "%s",
		    error == -EAGAIN ? "replies are not read"
				     : "out of memory");
		return error;
	}
	if (conn->out.len < OUT_EAGER_BYTES || !conn_flush_out(conn))
		conn_wait_for_flush(conn);
	return 0;
}

/* One frame, or fragments: pongs may stand between them, and nothing else. */
static int
put_frames(struct conn *conn, bool text, const uint8_t *data, size_t len)
{
	enum frame_opcode opcode = text ? FRAME_TEXT : FRAME_BINARY;
	size_t at = 0;
	int error;

	do {
		const size_t left = len - at;
		const size_t piece =
		    left < FRAME_FRAGMENT_BYTES ? left : FRAME_FRAGMENT_BYTES;
		uint8_t header[FRAME_HEADER_MAX];
		const size_t bytes =
		    frame_put_header(header, piece == left, 0, opcode, piece);

		error = buffer_append(&conn->out, header, bytes, SIZE_MAX / 2);
		if (error == 0)
			error = buffer_append(
			    &conn->out, data + at, piece, SIZE_MAX / 2);
		at += piece;
		opcode = FRAME_CONTINUATION;
	} while (error == 0 && at < len);
	return error;
}

int64_t
conn_send(struct conn *conn, bool text, const void *data, size_t len)
{
	const size_t before = conn->out.len;
	const int error = put_frames(conn, text, data, len);
	int64_t bytes;

	if (error < 0) {
		conn->out.len = before; /* no half message stays */
		return -ENOMEM;
	}
	bytes = (int64_t)(conn->out.len - before);
	/* Many sends in a batch are one write; who has tried waits. */
	if (before >= OUT_EAGER_BYTES || conn->out.len < OUT_EAGER_BYTES ||
	    !conn_flush_out(conn))
		conn_wait_for_flush(conn);
	return bytes;
}

void
conn_flush_waiting(struct net *net)
{
	LIST_EACH_SAFE(node, next, &net->out_waiting)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, out_node);

		list_remove(node);
		if (conn_inside_message(conn))
			continue; /* on_hub_write() puts it back */
		if (conn->endpoint->settle != NULL)
			conn->endpoint->settle(conn);
		(void)conn_flush_out(conn);
	}
}

/*
 * May this subscription write?  *ret_blocked: only when the socket is ready
 * again, else in the next flush.
 */
static bool
gate(struct conn *conn, struct subscription *subscription,
    bool *ret_blocked) LOOP_THREAD
{
	struct subscription *other = conn->writing;

	*ret_blocked = true;
	/* Not open yet: its upgrade failed after it was subscribed. */
	if (!conn_is_stream(conn) || conn->close_code != 0 ||
	    conn->peer_closed || conn->cut)
		return false;
	if (conn_inside_message(conn)) {
		*ret_blocked = other->consumer.blocked;
		return other == subscription;
	}
	if (subscription->leaving)
		return false; /* v1.c takes it away after the flush */
	return conn_flush_out(conn);
}

static int64_t
on_hub_write(struct consumer *consumer, const struct span *span,
    bool *ret_blocked, void *arg)
{
	struct subscription *subscription = subscription_of(consumer);
	struct conn *conn = subscription->conn;
	size_t len;

	(void)arg;
	glue_on_loop(conn->net->glue);
	if (!gate(conn, subscription, ret_blocked))
		return 0;
	len = span->len;
	/* Something waits for the end of this message: do not run past it. */
	if (conn_inside_message(conn) &&
	    (conn->out.len > 0 || subscription->leaving)) {
		len = conn->endpoint->message_end(span->data, len);
		conn_wait_for_flush(conn);
	}
	conn->writing = subscription;
	return write_bytes(conn, span->data, len, ret_blocked);
}

static bool
on_hub_overrun(struct consumer *consumer, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside, void *arg)
{
	struct subscription *subscription = subscription_of(consumer);
	struct conn *conn = subscription->conn;

	(void)arg;
	glue_on_loop(conn->net->glue);
	if (!conn_is_stream(conn) || conn->close_code != 0)
		return false;
	if (policy == CONF_OVERRUN_CLOSE) {
		conn_close(conn, 1013, "overrun");
		return false;
	}
	return conn->endpoint->overrun(subscription, policy, from, to, inside);
}

struct notice {
	const char *upstream, *state;
};

static void
give_notice(struct consumer *consumer, void *arg)
{
	struct conn *conn = subscription_of(consumer)->conn;
	const struct notice *notice = arg;

	if (conn_is_stream(conn) && conn->endpoint->notice != NULL)
		conn->endpoint->notice(conn, notice->upstream, notice->state);
}

void
net_notice(struct net *net, const char *channel, const char *upstream,
    const char *state)
{
	struct notice notice = { upstream, state };

	hub_each_consumer(
	    net->hub, channel, strlen(channel), give_notice, &notice);
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
