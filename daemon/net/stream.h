#ifndef DAEMON_NET_STREAM_H
#define DAEMON_NET_STREAM_H

/*
 * stream: what connections speak after HTTP, and how it is written.
 *
 * Order    What is on no tape (replies, notices, the hint before a close)
 *          goes into the connection's out and stands between messages, before
 *          the next span; never inside a message.
 * Memory   out has at most out_bytes_max, and none while it is empty.
 * Threads  The net loop.
 */

#include "daemon/hub/hub.h"
#include "daemon/lws/lws.h"

struct conn;
struct net;

/* What a connection hears of one channel. */
struct subscription {
	struct list node; /* in conn.subscriptions */
	struct conn *conn;
	struct consumer consumer;
	bool leaving; /* ends with the message that is being written */
};

/* What a stream speaks; one table each for raw.c, v1.c, sse.c. */
struct endpoint {
	const char *name;
	enum view_kind view, view_deflated;
	/* The stream is open.  What it says first goes into out. */
	void (*open)(struct conn *conn);
	/* A message begins: false, it was refused.  NULL: none may. */
	bool (*begin)(struct conn *conn);
	/* The longest message that may arrive; NULL: message_bytes_max. */
	size_t (*message_bytes_max)(const struct conn *conn);
	/* It is whole, text is UTF-8, and data may be written on. */
	void (*message)(
	    struct conn *conn, bool text, uint8_t *data, size_t len);
	/* As hub_ops.overrun, inside a flush. */
	bool (*overrun)(struct subscription *subscription,
	    enum conf_overrun policy, int64_t from, int64_t to, bool inside);
	/* As glue_write(). */
	int64_t (*write)(struct lws *wsi, const uint8_t *data, size_t len,
	    bool *ret_blocked);
	/* Bytes of a span that begins inside a message, up to its end. */
	size_t (*message_end)(const uint8_t *data, size_t len);
	/* To keep it alive; a ws client answers.  < 0: it is broken. */
	int (*ping)(struct conn *conn);
	/* Something about the channel's source.  NULL: it has no place here. */
	void (*notice)(
	    struct conn *conn, const char *upstream, const char *state);
	/* Between messages, after conn_wait_for_flush().  May be NULL. */
	void (*settle)(struct conn *conn);
	/* Say when to come back, and close. */
	void (*shutdown)(struct conn *conn, unsigned retry_after_ms);
};

/*
 * conn_out() puts bytes (for ws: the
 * payload of a text message) between messages, soon.  -EAGAIN: out_bytes_max;
 * -ENOMEM; both close the stream, with 1008 or 1011.
 */
int conn_out(struct conn *conn, const void *data, size_t len) LOOP_THREAD;
void conn_wait_for_flush(struct conn *conn); /* after this batch */
void conn_flush_waiting(struct net *net) LOOP_THREAD;
/* Some fragments of a message are written and not all. */
bool conn_inside_message(const struct conn *conn);
/* Writes what is in out unless a message is open; false: not all of it. */
bool conn_flush_out(struct conn *conn) LOOP_THREAD;
const struct hub_ops *conn_hub_ops(void);

#endif
