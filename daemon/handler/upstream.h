#ifndef DAEMON_HANDLER_UPSTREAM_H
#define DAEMON_HANDLER_UPSTREAM_H

/*
 * upstream: connections that feeds have made, for the handlers bound to them.
 *
 * Life     upstream_open -> session_message, upstream_sent, session_error ->
 *          session_gone, once.  upstream_is_busy() until its on_close has
 *          run; then the next one.
 * Order    What happens to one upstream, over all its connections, reaches its
 *          handler in that order, one at a time.
 * Memory   One session an upstream, bounded as those of connections are.
 * Threads  LOOP_THREAD of net.
 */

#include "daemon/handler/handler.h"

/* What the handlers ask for; peer is as given to upstream_open(). */
struct handler_feeds {
	int (*send)(void *peer, bool binary, const void *data, size_t len);
	void (*close)(void *peer, uint16_t code, const char *reason);
	void (*pause)(void *peer, bool pause);
	/* upstream_is_busy() may be otherwise now; the name is lent. */
	void (*go_on)(const char *upstream, void *arg);
};
void handlers_set_feeds(struct handlers *handlers,
    const struct handler_feeds *feeds, void *arg) LOOP_THREAD;

/*
 * It is open: on_open, and messages are the session's.  open says upstream,
 * channel and peer (its url); all is copied.  -ENOENT: no handler is bound.
 * -ESHUTDOWN; -ENOMEM; -EMFILE: UPSTREAM_LINKS_MAX have sessions.
 */
int upstream_open(struct handlers *handlers, const struct es_open *open,
    void *peer, struct session **ret_session) LOOP_THREAD;

/* A message of so many bytes has left the queue of send(), in its turn. */
void upstream_sent(struct session *session, size_t len) LOOP_THREAD;

/*
 * It could not be connected to: on_error, of no connection.  Without memory
 * for it, or while the last one waits, only the feed's log tells.
 */
void upstream_failed(struct handlers *handlers, const struct es_open *open,
    int error, const char *text) LOOP_THREAD;

/*
 * Callbacks for what came so far are still to come or to end; that of a
 * connection that is gone includes its on_close.  true: go_on() will come.
 */
bool upstream_is_busy(
    struct handlers *handlers, const char *upstream) LOOP_THREAD;

#endif
