#ifndef DAEMON_NET_NET_H
#define DAEMON_NET_NET_H

/*
 * net: listeners, connections and what they speak: HTTP and raw WebSocket.
 *
 * Life     net_open -> net_listen -> (work) -> net_drain -> net_close.
 * Order    A connection's requests are answered in order; a consumer gets its
 *          channel in offset order.  Flushes follow every batch of the loop.
 * Promise  Every connection is bounded in time by a deadline of ours until it
 *          is a consumer, and again from its close frame on.
 * Memory   Limits of conf/limits.h; a connection is a struct conn.
 * Threads  Everything on the net loop, except where a function says ANY_THREAD.
 */

#include "conf/conf.h"
#include "daemon/base/buffer.h"
#include "daemon/base/threads.h"
#include "daemon/hub/hub.h"
#include "daemon/loop/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct glue;
struct net;
struct handlers;
struct handler_ops;
struct keyring;

/* Adds lines to /metrics (Prometheus text); -ENOMEM ends the answer. */
typedef int (*net_metrics_fn)(struct buffer *out, void *arg);

struct net_fault {
	char text[512]; /* what cannot be done, and what was expected */
	bool configuration; /* exit code 1 rather than 2 */
};

struct net_drained {
	uint64_t delivered; /* consumers that answered our close, or left */
	uint64_t lost; /* whose connections broke meanwhile */
	uint64_t forced; /* cut: by the deadline, or without an answer */
	uint64_t messages_undelivered; /* what those lacked, summed up */
};

/*
 * The hub, the glue and the TLS contexts; takes the loop's hooks.  fds_max:
 * descriptors the process may have.  It keeps a reference to conf, and to
 * keyring, which is conf's and may be NULL: tokens are not looked at.
 * -EINVAL (certificate, key), -EIO, -ENOMEM, with *ret_fault filled.
 */
int net_open(struct conf *conf, struct keyring *keyring, es_loop *loop,
    unsigned fds_max, struct net **ret_net,
    struct net_fault *ret_fault) LOOP_THREAD;

/* What net_open() would not take: certificate and key.  As net_open(). */
int net_check(const struct conf *conf, struct net_fault *ret_fault) MAY_BLOCK;

/*
 * From now on next holds, and its keyring, of which it keeps references;
 * net_check() had nothing against it.  What cannot change while the daemon
 * runs is put into next as it is and told, a line each.  No connection is
 * touched but those with a token that the keyring does not know: 4001.
 */
void net_apply(struct net *net, struct conf *next, struct keyring *keyring,
    void (*tell)(const char *text, void *arg), void *arg) LOOP_THREAD;

/* A listening stream socket that somebody else made and keeps. */
struct net_socket {
	int fd; /* non-blocking, close-on-exec */
	const char *name; /* "" where it has none */
};

/*
 * Accepts on every listener: on the sockets passed for it, by name or by
 * address, or on one it binds.  The sockets are the room's from now on, also
 * when it fails.  -errno of the first that fails; -EINVAL: a socket of a
 * listener's name is of another kind than its address.
 */
int net_listen(struct net *net, const struct net_socket *sockets, size_t count,
    struct net_fault *ret_fault) LOOP_THREAD;

/* Every connection is gone when it returns.  NULL: no-op. */
void net_close(struct net *net) LOOP_THREAD;

struct hub *net_hub(struct net *net);
struct glue *net_glue(struct net *net); /* for outgoing connections */

/* What handlers ask of connections, net being the ops' net. */
const struct handler_ops *net_handler_ops(void);
uint32_t net_slots(const struct net *net); /* names are below that */
/* Borrowed until net_close(); before net_listen(). */
void net_set_handlers(struct net *net, struct handlers *handlers) LOOP_THREAD;
void net_add_metrics(struct net *net, net_metrics_fn fn, void *arg) LOOP_THREAD;

/*
 * Tells the channel's consumers that can be told (earshot.v1, SSE) that the
 * upstream behind it is in another state, e.g. "reconnected".
 */
void net_notice(struct net *net, const char *channel, const char *upstream,
    const char *state) LOOP_THREAD;

/* For STATUS and the control socket: right now, and counters. */
struct net_status {
	uint64_t connections, consumers, channels;
	uint64_t messages_in, messages_out, bytes_in, bytes_out;
	uint64_t tapes_bytes, views_bytes, intake_bytes;
	int64_t started_us; /* monotonic */
	bool closing;
};
void net_status(struct net *net, struct net_status *ret_status) LOOP_THREAD;
const struct conf *net_conf(const struct net *net) LOOP_THREAD;
/* The listeners' addresses, each through put. */
void net_each_listener(struct net *net,
    void (*put)(const char *address, void *arg), void *arg) LOOP_THREAD;

/*
 * Stop taking in: listeners closed, /readyz 503, publishes from outside and
 * new consumers refused.
 */
void net_stop_intake(struct net *net) LOOP_THREAD;

/*
 * Close every consumer with 1001 as soon as it has all there is, at most
 * drain.close_rate a second; done is called, once, later, from outside of the
 * library, when no connection is left.  net_stop_intake() came before.
 */
void net_drain(struct net *net,
    void (*done)(const struct net_drained *drained, void *arg),
    void *arg) LOOP_THREAD;

/* The deadline, or a second signal: what is left is cut and counted. */
void net_force(struct net *net) LOOP_THREAD;

#endif
