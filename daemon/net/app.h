#ifndef DAEMON_NET_APP_H
#define DAEMON_NET_APP_H

/*
 * app: connections that a handler is bound to.
 *
 * Life     begin (or, of a raw connection, app_session()) -> the session's
 *          events -> session_gone() in conn_free().
 * Threads  The net loop.
 */

#include "daemon/handler/handler.h"
#include "daemon/net/conn.h"

/* != 0: refused, and answered. */
int app_begin(struct conn *conn, struct handler *handler) LOOP_THREAD;
/* The same without an endpoint: channel is the one it is on, or "". */
int app_session(struct conn *conn, struct handler *handler,
    const char *channel) LOOP_THREAD;
/* As endpoint.message. */
void app_message(
    struct conn *conn, bool text, uint8_t *data, size_t len) LOOP_THREAD;

#endif
