#ifndef DAEMON_NET_CONN_H
#define DAEMON_NET_CONN_H

/*
 * conn: one connection, all that it is, its deadline and its close.
 *
 * Life     accept (listener.c): CONN_HANDSHAKE -> a request (http.c):
 *          CONN_REQUEST, answered: CONN_IDLE, and again; or an upgrade (ws.c):
 *          CONN_WS -> conn_close() or the peer -> LWS_CALLBACK_WSI_DESTROY.
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
	CONN_STATES
};

/* A POST under way; its body is gathered here. */
struct request {
	char channel[CHANNEL_NAME_MAX + 1];
	enum message_kind kind;
	bool lines; /* a message a line */
	bool skip_empty; /* ndjson: an empty line is not a message */
	bool complete; /* the body is here */
	struct buffer body;
	size_t done; /* bytes of it published */
	uint64_t line, accepted; /* lines done, messages of them */
	struct position position; /* of the last message accepted */
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

	struct consumer consumer; /* CONN_WS */
	bool gap_silent, recovered;
	struct position position; /* told in the answer to the upgrade */
	int64_t gap_from, gap_to; /* what was asked for and is gone; or 0, 0 */
	bool ping_sent, heard; /* since then */
	bool message_open, message_text;
	struct utf8_state utf8;
	struct buffer message; /* the message so far */

	struct request *request; /* CONN_REQUEST */
	int64_t body_left; /* of the request's body; -1: nobody knows */
	bool body_awaited; /* the request is done with, the body is not */
	bool body_is_last; /* hang up behind it */
	bool hung_up; /* by us, all said */
	struct kept_answer *kept_answer; /* until the body is through */

	uint16_t close_code; /* 0: not closing */
	bool close_sent, peer_closed, cut;
	bool forced; /* cut for being late, not for being broken */
	bool peer_ended; /* the end came from the peer */
	int64_t close_by_us; /* monotonic */
	char *close_reason;
};

int conn_new(
    struct net *net, struct listener *listener, int fd, struct conn **ret_conn);
void conn_free(struct conn *conn);
void conn_set_state(struct conn *conn, enum conn_state state);
void conn_set_deadline(struct conn *conn, int64_t after_us);
/* An open consumer: begin to ping it. */
void conn_keep_alive(struct conn *conn) LOOP_THREAD;
void conn_on_deadline(struct wheel_entry *entry, void *arg);
struct conn *conn_of(struct lws *wsi);
/*
 * Close with that code and reason once the socket takes it; nothing more is
 * written before.  The first call counts, later ones do nothing.
 */
void conn_close(struct conn *conn, uint16_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) LOOP_THREAD;
void conn_cut(struct conn *conn) LOOP_THREAD;
/* Bytes of an unfinished message; -ENOBUFS at intake_bytes_max, -ENOMEM. */
int conn_take(struct conn *conn, struct buffer *buffer, const void *data,
    size_t len, size_t max);
void conn_drop(struct conn *conn, struct buffer *buffer);
const struct hub_ops *conn_hub_ops(void);

#endif
