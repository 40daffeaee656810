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
#include "daemon/net/stream.h"
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

struct awaited;
struct kept_answer;
struct lease;
struct session;
struct slices;

/* Everything a connection is; nothing is looked up in headers later. */
struct conn {
	struct list node; /* in net.conns */
	struct net *net;
	struct lws *wsi;
	struct listener *listener;
	uint32_t slot, generation; /* its name: "conn=SLOT.GENERATION" */
	int fd;
	enum conn_state state;
	int64_t opened_us; /* monotonic */
	uint64_t bytes_out; /* of what it hears, and replies */
	struct wheel_entry deadline;
	struct identity who;
	struct lease *lease; /* of a stream with a token; else NULL */

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
	struct session *session; /* a handler's; NULL: none is bound to it */
	struct hub_publisher publisher; /* of what it publishes */
	bool read_paused; /* by us: nothing is heard meanwhile */

	int64_t pinged_us; /* monotonic; 0: no ping is out */
	bool heard; /* since then */
	bool message_open, message_text, message_packed;
	bool frame_open; /* there is more to come of it */
	int64_t message_since_us; /* monotonic, while it is open */
	struct utf8_state utf8;
	struct buffer message; /* the message so far */
	struct inflate *inflate; /* NULL: nothing compressed has come */

	struct request *request; /* a POST under way */
	struct slices *slices; /* an answer under way */
	int64_t body_left; /* of the request's body; -1: nobody knows */
	bool body_awaited; /* the request is done with, the body is not */
	bool body_is_last; /* hang up behind it */
	bool hung_up; /* by us, all said */
	struct kept_answer *kept_answer; /* until the body is through */
	struct awaited *awaited; /* an answer that the roof gives */
	char *cors; /* headers for the request's answers, or NULL */

	uint16_t close_code; /* 0: not closing */
	bool close_sent, peer_closed, cut;
	bool forced; /* cut for being late, not for being broken */
	bool peer_ended; /* the end came from the peer */
	uint16_t peer_code; /* of the peer's close; 1005: it gave none */
	char *peer_reason;
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
void conn_on_deadline(struct wheel_entry *entry) LOOP_THREAD;
struct conn *conn_of(struct lws *wsi);

/* Of a stream: the view its subscriptions read. */
enum view_kind conn_view(const struct conn *conn);
void conn_subscribed(struct conn *conn, struct subscription *subscription);
/* One that is leaving is no more, for its peer.  NULL: none. */
struct subscription *conn_find_subscription(
    struct conn *conn, const char *channel, size_t len);
/* Ends it, in the middle of a message with that message. */
void conn_unsubscribe(
    struct conn *conn, struct subscription *subscription) LOOP_THREAD;
/* As endpoint.settle: what conn_unsubscribe() left. */
void conn_settle_leaving(struct conn *conn) LOOP_THREAD;
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
void conn_pause_reading(struct conn *conn, bool pause) LOOP_THREAD;
int conn_on_writable(struct conn *conn) LOOP_THREAD;

/* Bytes of an unfinished message; -ENOBUFS at intake_bytes_max, -ENOMEM. */
int conn_take(struct conn *conn, struct buffer *buffer, const void *data,
    size_t len, size_t max);
void conn_drop(struct conn *conn, struct buffer *buffer);

#endif
