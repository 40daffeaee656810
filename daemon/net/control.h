#ifndef DAEMON_NET_CONTROL_H
#define DAEMON_NET_CONTROL_H

/*
 * control: the control socket, and what it asks of the roof.
 *
 * Life     net_open -> net_set_control -> net_listen.
 * Promise  drain() and reload() are answered by net_control_answer() or by
 *          their error; nobody waits beyond a minute.
 * Threads  The net loop, all of it.
 */

#include "daemon/net/net.h"

struct net_control {
	const char *path; /* of the socket; NULL: there is none */
	bool must; /* net_listen() fails if it cannot be had */
	/* A JSON object, or a list of them.  -ENOMEM. */
	int (*put_status)(struct buffer *out, void *arg);
	int (*put_feeds)(struct buffer *out, void *arg);
	/* Begun, to be answered by net_control_answer(); or -errno. */
	int (*drain)(uint64_t request, void *arg);
	int (*reload)(uint64_t request, void *arg);
	void *arg;
};

/* Before net_listen(); path is borrowed until net_close(). */
void net_set_control(
    struct net *net, const struct net_control *control) LOOP_THREAD;

/*
 * The answer to drain() or reload(): a JSON text.  Who asked may be gone;
 * who is not waits for it, so every request gets one.
 */
void net_control_answer(struct net *net, uint64_t request, unsigned status,
    const void *body, size_t len) LOOP_THREAD;

#endif
