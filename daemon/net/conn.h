#ifndef DAEMON_NET_CONN_H
#define DAEMON_NET_CONN_H

/*
 * conn: one connection, all that it is, its deadline and its close.
 *
 * Life     accept (listener.c): CONN_HANDSHAKE -> a request (http.c):
 *          CONN_REQUEST, answered: CONN_IDLE, and again; or a stream, spoken
 *          by an endpoint: an upgrade (ws.c: CONN_WS, endpoints raw and v1) or
 *          events (sse.c: CONN_SSE) -> conn_close() or the peer ->
 *          LWS_CALLBACK_WSI_DESTROY.
 * Order    What is not on a tape (replies, notices, the hint before a close)
 *          goes into `out` and stands between messages, before the next span.
 * Memory   Nothing is looked up in request headers later: the struct is the
 *          whole record.
 * Threads  The net loop.
 */

#include "daemon/base/buffer.h"
#include "daemon/base/list.h"
#include "daemon/base/wheel.h"
#include "daemon/hub/hub.h"
#include "daemon/lws/lws.h"
#include "proto/channel.h"
#include "proto/utf8.h"

struct net;
struct listener;

enum conn_state {
	CONN_HANDSHAKE, /* accepted, no complete request yet */
	CONN_REQUEST, /* a request's body is being read */
	CONN_IDLE, /* answered, kept alive */
	CONN_WS, /* upgraded */
	CONN_SSE, /* an event stream, until it is closed */
	CONN_STATES
};

/* What a connection hears of one channel. */
struct subscription {
	struct list node; /* in conn.subscriptions */
	struct conn *conn;
	struct consumer consumer;
	bool leaving; /* ends with the message that is being written */
};

struct history;

/* What a stream speaks; one table each for raw.c, v1.c, sse.c. */
struct endpoint {
	const char *name;
	enum view_kind view, view_deflated;
	/* The stream is open.  What it says first goes into out. */
	void (*open)(struct conn *conn);
	/* A message begins to arrive: false, it was refused.  NULL: none may. */
	bool (*begin)(struct conn *conn);
	/* It is whole, text is UTF-8, and data may be written on. */
	void (*message)(
	    struct conn *conn, bool text, uint8_t *data, size_t len);
	/* As hub_ops.overrun, inside a flush. */
	bool (*overrun)(struct subscription *subscription,
	    enum conf_overrun policy, int64_t from, int64_t to, bool inside);
	/* As glue_write(). */
	int64_t (*write)(struct lws *wsi, const uint8_t *data, size_t len,
	    bool *ret_blocked);
	/* Something to keep it alive and, for ws, to be answered; < 0: broken. */
	int (*ping)(struct conn *conn);
	/* Between messages, after conn_wait_for_flush().  May be NULL. */
	void (*settle)(struct conn *conn);
	/* Say when to come back, and close. */
	void (*shutdown)(struct conn *conn, unsigned retry_after_ms);
};

/* Everything a connection is; nothing is looked up in headers later. */
struct conn {
	struct list node; /* in net.conns */
	struct net *net;
	struct lws *wsi;
	struct listener *listener;
	uint32_t slot, generation; /* its name: "conn=SLOT.GENERATION" */
	int fd;
	enum conn_state state;
	struct wheel_entry deadline;
	struct identity who;

	const struct endpoint *endpoint; /* NULL: plain HTTP */
	struct list subscriptions;
	uint32_t subscription_count;
	struct subscription first; /* of endpoints that have one only */
	struct subscription *writing; /* wrote last, maybe part of a message */
	struct buffer out; /* replies and notices, whole frames or events */
	struct list out_node; /* in net.out_waiting */
	bool deflated, gap_silent, recovered;
	struct position position; /* told when the stream begins */
	int64_t gap_from, gap_to; /* what was asked for and is gone; or 0, 0 */
	uint32_t violations;

	bool ping_sent, heard; /* since then */
	bool message_open, message_text;
	struct utf8_state utf8;
	struct buffer message; /* the message so far */

	struct request *request; /* a POST under way */
	struct history *history; /* an answer under way */
	int64_t body_left; /* of the request's body; -1: nobody knows */
	bool body_awaited; /* the request is done with, the body is not */
	bool body_is_last; /* hang up behind it */
	struct kept_answer *kept_answer; /* until the body is through */
	char *cors; /* headers for the request's answers, or NULL */

	uint16_t close_code; /* 0: not closing */
	bool close_sent, peer_closed, cut;
	bool forced; /* cut for being late, not for being broken */
	bool peer_ended; /* the end came from the peer */
	int64_t close_by_us; /* monotonic */
	char *close_reason;
};

int conn_new(
    struct net *net, struct listener *listener, int fd, struct conn **ret_conn);
void conn_free(struct conn *conn) LOOP_THREAD;
void conn_set_state(struct conn *conn, enum conn_state state);
void conn_set_deadline(struct conn *conn, int64_t after_us);
/* The stream begins: the endpoint speaks, and is pinged from now on. */
void conn_open_stream(struct conn *conn, enum conn_state state) LOOP_THREAD;
bool conn_is_stream(const struct conn *conn);
void conn_on_deadline(struct wheel_entry *entry, void *arg);
struct conn *conn_of(struct lws *wsi);

/* Of a stream: the view its subscriptions read. */
enum view_kind conn_view(const struct conn *conn);
void conn_subscribed(struct conn *conn, struct subscription *subscription);
/* Gone at once, also in the middle of a message: the stream ends here. */
void conn_unsubscribe_all(struct conn *conn) LOOP_THREAD;
bool conn_at_end(const struct conn *conn); /* nothing is left to write */
/* What its subscriptions lack, in messages. */
int64_t conn_lag(const struct conn *conn);

/*
 * Close with that code and reason (a stream without codes just ends) once the
 * socket takes what is in out.  The first call counts, later ones do nothing.
 */
void conn_close(struct conn *conn, uint16_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) LOOP_THREAD;
void conn_cut(struct conn *conn) LOOP_THREAD;
int conn_on_writable(struct conn *conn) LOOP_THREAD;

/* Bytes of an unfinished message; -ENOBUFS at intake_bytes_max, -ENOMEM. */
int conn_take(struct conn *conn, struct buffer *buffer, const void *data,
    size_t len, size_t max);
void conn_drop(struct conn *conn, struct buffer *buffer);

/*
 * stream.c: what is written to a stream.  conn_out() puts bytes (for ws: the
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
