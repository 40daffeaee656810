#ifndef DAEMON_NET_ROUTES_H
#define DAEMON_NET_ROUTES_H

/*
 * routes: which request goes where; a table for everybody, one for control.
 *
 * Threads  The net loop.
 */

#include "daemon/net/http.h"

/* What goes back to the library; channel is "" where the path names none. */
typedef int (*route_fn)(struct conn *conn, const char *channel);

struct route {
	const char *path; /* `*`: a channel's name */
	bool head; /* answers HEAD as well */
	bool asks; /* who it is: the request's token is looked at */
	route_fn get, post;
};

/* control.c */
const struct route *control_routes(size_t *ret_count);

int http_text(struct conn *conn, unsigned status, const char *text) LOOP_THREAD;

#endif
