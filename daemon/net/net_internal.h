#ifndef DAEMON_NET_NET_INTERNAL_H
#define DAEMON_NET_NET_INTERNAL_H

/*
 * net_internal: the room's one struct and what its files share.
 *
 * Threads  The net loop.
 */

#include "daemon/auth/token.h"
#include "daemon/loop/heap.h"
#include "daemon/net/conn.h"
#include "daemon/net/control.h"
#include "daemon/net/net.h"

#define NET_METRICS_MAX 4
/* Beyond connections_max: who looks after a full house gets in. */
#define CONTROL_CONNECTIONS_MAX 8

struct lws_process_html_args;
struct lws_protocols;
struct lws_vhost;

struct listener {
	const struct conf_listener *conf;
	struct net *net;
	struct lws_vhost *vhost;
	es_watch *watch;
	int fd;
	bool passed; /* somebody else's socket: never unlinked */
	bool unlink_path;
	bool control; /* the control socket */
};

struct net_counts {
	uint64_t accepted, closed, upgrades, requests;
	uint64_t refused_connections, refused_heads, refused_intake;
	uint64_t refused_origin, refused_requests, refused_bodies;
	uint64_t refused_message_bytes; /* of WebSockets */
	uint64_t refused_text, refused_deflate, refused_inflaters;
	uint64_t refused_head_bytes, accept_errors, accepts_cut;
	uint64_t timeouts_handshake, timeouts_request, timeouts_keepalive;
	uint64_t timeouts_close, timeouts_pong, history_limited, slices;
	uint64_t closes, pings, v1_commands, v1_errors;
	uint64_t refused_control, refused_peers; /* of the control socket */
	uint64_t refused_out, refused_subscriptions, refused_violations;
	uint64_t tokens_accepted, tokens_refused[TOKEN_FAULT_COUNT];
	uint64_t tokens_twice, tokens_expired, tokens_revoked;
};

struct net {
	struct conf *conf;
	struct keyring *keyring; /* NULL: tokens are not looked at */
	struct conf_limits born; /* as they were at the start */
	es_loop *loop;
	struct glue *glue;
	struct hub *hub;
	struct handlers *handlers; /* NULL: there are none */
	struct lws_vhost *vhost_plain, *vhost_tls;
	struct listener *listeners; /* NULL until listeners_make() */
	size_t listener_count;
	bool listening, accept_paused, closing;
	es_call *accept_retry, *tick;
	uint64_t accept_failures; /* in a row; 0: all is well */

	struct list conns;
	struct list out_waiting; /* connections with something in out */
	struct conn **slots; /* by slot; generations survive the conn */
	uint32_t *generations;
	uint32_t slot_count, slot_next;
	uint64_t conn_count, state_counts[CONN_STATES];
	struct wheel wheel;
	uint64_t intake_bytes; /* unfinished messages and bodies */
	struct buffer inflated; /* a piece of a message, while it is read */
	uint64_t inflaters, inflated_round, inflated_bytes; /* in that round */
	struct net_counts counts;
	int64_t started_us;

	struct {
		net_metrics_fn fn;
		void *arg;
	} metrics[NET_METRICS_MAX];
	unsigned metrics_count;

	struct { /* control.c */
		struct net_control roof;
		struct conf_listener conf; /* of its socket */
		uint64_t conn_count;
	} control;

	struct { /* lease.c */
		struct heap heap; /* by when a token ends */
		uint64_t seq;
		struct wheel_entry tick;
		int64_t ticked_us, budget_us;
	} leases;

	struct { /* drain.c */
		bool running;
		struct wheel_entry tick; /* needs no memory */
		int64_t ticked_us; /* monotonic */
		int64_t budget_us, handshakes_until_us;
		struct net_drained result;
		void (*done)(const struct net_drained *, void *);
		void *arg;
	} drain;
};

/* listener.c */
int listeners_open(struct net *net, const struct net_socket *sockets,
    size_t count, struct net_fault *ret_fault) LOOP_THREAD;
void listeners_close(struct net *net) LOOP_THREAD;
void listeners_resume(struct net *net) LOOP_THREAD; /* room again */
void control_close(struct net *net) LOOP_THREAD; /* its socket */

/* passed.c */
int listeners_make(struct net *net, const struct net_socket *sockets,
    size_t count, struct net_fault *ret_fault);
const char *listener_address(int fd, char *out, size_t out_size);
const char *peer_address(int fd, char *out, size_t out_size); /* or NULL */

/* tls.c */
int tls_check(const struct conf *conf, struct net_fault *ret_fault);
int vhosts_open(struct net *net, const struct lws_protocols *protocols,
    struct net_fault *ret_fault) LOOP_THREAD;
bool tls_goodbye_sent(struct lws *wsi) LOOP_THREAD;
void tls_reload(struct net *net) LOOP_THREAD; /* files that were checked */

/* ws.c; the endpoints' begin return != 0 when they have refused. */
int ws_on_upgrade(struct conn *conn) LOOP_THREAD; /* > 0: answered, refused */
int ws_on_headers(
    struct conn *conn, struct lws_process_html_args *args) LOOP_THREAD;
int ws_on_established(struct conn *conn) LOOP_THREAD;
int ws_on_receive(struct conn *conn, void *data, size_t len) LOOP_THREAD;
/* != 0: hang up; else the library answers the peer's close. */
int ws_on_peer_close(
    struct conn *conn, const uint8_t *payload, size_t len) LOOP_THREAD;
int ws_ping(struct conn *conn);
size_t ws_message_end(const uint8_t *data, size_t len);
int raw_begin(struct conn *conn, const char *channel, size_t len) LOOP_THREAD;
int v1_begin(struct conn *conn) LOOP_THREAD;

/* conn.c: as hub_publisher_ops.full, of streams. */
void conn_on_full(struct hub_publisher *publisher, bool full);

/* drain.c */
void drain_tick(struct net *net) LOOP_THREAD;
void drain_conn_gone(struct conn *conn) LOOP_THREAD;

#endif
