#ifndef DAEMON_NET_NET_INTERNAL_H
#define DAEMON_NET_NET_INTERNAL_H

/*
 * net_internal: the connection and what the files of this room share.
 *
 * One connection: accept (listener.c) -> CONN_HANDSHAKE -> a request
 * (http.c: CONN_REQUEST, answered: CONN_IDLE, and again) or an upgrade (ws.c:
 * CONN_WS) -> conn_close() or the peer -> LWS_CALLBACK_WSI_DESTROY.
 */

#include "daemon/base/buffer.h"
#include "daemon/base/list.h"
#include "daemon/base/wheel.h"
#include "daemon/hub/hub.h"
#include "daemon/lws/lws.h"
#include "daemon/net/net.h"
#include "proto/channel.h"
#include "proto/frame.h"
#include "proto/utf8.h"

#include <libwebsockets.h>

#define NET_METRICS_MAX 4

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
	bool message_open, message_text;
	struct utf8_state utf8;
	struct buffer message; /* the message so far */

	struct request *request; /* CONN_REQUEST */

	uint16_t close_code; /* 0: not closing */
	bool close_sent, peer_closed, cut;
	int64_t close_by_us; /* monotonic */
	char *close_reason;
};

struct listener {
	const struct conf_listener *conf;
	struct net *net;
	struct lws_vhost *vhost;
	es_watch *watch;
	int fd;
	bool unlink_path;
};

struct net_counts {
	uint64_t accepted, closed, upgrades, requests;
	uint64_t refused_connections, refused_heads, refused_intake;
	uint64_t refused_origin, refused_requests, refused_bodies;
	uint64_t accept_errors;
	uint64_t accepts_cut, timeouts_handshake, timeouts_request;
	uint64_t timeouts_keepalive, timeouts_close, closes;
};

struct net {
	const struct conf *conf;
	es_loop *loop;
	struct glue *glue;
	struct hub *hub;
	struct lws_vhost *vhost_plain, *vhost_tls;
	struct listener *listeners;
	bool listening, accept_paused, closing;
	es_call *accept_retry, *tick;

	struct list conns;
	struct conn **slots; /* by slot; generations survive the conn */
	uint32_t *generations;
	uint32_t slot_count, slot_next;
	uint64_t conn_count, state_counts[CONN_STATES];
	struct wheel wheel;
	uint64_t intake_bytes; /* unfinished messages and bodies */
	struct net_counts counts;
	int64_t started_us;

	struct {
		net_metrics_fn fn;
		void *arg;
	} metrics[NET_METRICS_MAX];
	unsigned metrics_count;

	struct { /* drain.c */
		bool running, forced;
		es_call *tick;
		int64_t budget_us;
		struct net_drained result;
		void (*done)(const struct net_drained *, void *);
		void *arg;
	} drain;
};

/* conn.c */
int conn_new(
    struct net *net, struct listener *listener, int fd, struct conn **ret_conn);
void conn_free(struct conn *conn);
void conn_set_state(struct conn *conn, enum conn_state state);
void conn_set_deadline(struct conn *conn, int64_t after_us);
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

/* listener.c */
int listeners_open(struct net *net, struct net_fault *ret_fault) LOOP_THREAD;
void listeners_close(struct net *net) LOOP_THREAD;
void listeners_resume(struct net *net) LOOP_THREAD; /* room again */

/* tls.c */
int tls_check(const struct conf *conf, struct net_fault *ret_fault);
int vhosts_open(struct net *net, const struct lws_protocols *protocols,
    struct net_fault *ret_fault) LOOP_THREAD;

/* http.c */
struct answer {
	unsigned status;
	const char *type; /* NULL: application/json */
	const char *headers; /* further ones, each with CR LF; NULL: none */
	const void *body;
	size_t len;
};
int http_on_request(struct conn *conn) LOOP_THREAD;
int http_answer(struct conn *conn, const struct answer *answer) LOOP_THREAD;
/* {"error":{"code":…,"message":…}} */
int http_error(struct conn *conn, unsigned status, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5))) LOOP_THREAD;
/* After an answer outside of an upgrade: what the callback returns. */
int http_end(struct conn *conn, int result) LOOP_THREAD;
bool http_origin_allowed(struct conn *conn);
int http_header(struct conn *conn, enum lws_token_indexes token, char *out,
    size_t out_size);

/* publish.c */
int publish_begin(struct conn *conn, const char *channel) LOOP_THREAD;
int publish_body(struct conn *conn, const void *data, size_t len) LOOP_THREAD;
int publish_end(struct conn *conn) LOOP_THREAD;
int publish_on_writable(struct conn *conn) LOOP_THREAD; /* go on */

/* metrics.c */
int metrics_answer(struct conn *conn) LOOP_THREAD;

/* ws.c */
int ws_on_upgrade(struct conn *conn) LOOP_THREAD; /* > 0: answered, refused */
int ws_on_headers(
    struct conn *conn, struct lws_process_html_args *args) LOOP_THREAD;
int ws_on_established(struct conn *conn) LOOP_THREAD;
int ws_on_receive(struct conn *conn, const void *data, size_t len) LOOP_THREAD;
int ws_on_writable(struct conn *conn) LOOP_THREAD;

/* drain.c */
void drain_conn_gone(struct conn *conn) LOOP_THREAD;

#endif
