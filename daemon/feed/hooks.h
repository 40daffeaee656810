#ifndef DAEMON_FEED_HOOKS_H
#define DAEMON_FEED_HOOKS_H

/*
 * hooks: the messages of an upstream for a handler, and its way back.
 *
 * Life     on_open -> (on_message, on_sent, on_error)* -> on_close, once;
 *          on_failed on its own.  The next on_open not before is_busy() says
 *          no.
 * Memory   What feed_send() takes waits here until it is sent; how much that
 *          may be is for who calls it to limit, by on_sent.
 * Threads  LOOP_THREAD of the net loop, all of it.
 */

#include "daemon/feed/feed.h"

struct feed;

/* The peer of an upstream; the strings are lent. */
struct feed_peer {
	const char *upstream, *channel, *url;
	struct feed *feed; /* to be named by, from on_open to on_close */
};

/*
 * What a handler bound to an upstream hears, from calls on the loop.  None
 * may block, nor stop or free feeds.
 */
struct feed_hooks {
	/*
	 * 0: what comes is for *ret_session alone, until on_close, once.
	 * -ENOENT: no handler is bound, messages are published.  Else the
	 * connection is closed.
	 */
	int (*on_open)(
	    const struct feed_peer *peer, void *arg, void **ret_session);
	/* 0; -ENOMEM; -ESHUTDOWN: it takes no more, dropped. */
	int (*on_message)(
	    void *session, bool binary, const void *data, size_t len);
	/* One message of feed_send() has left its queue, in its turn. */
	void (*on_sent)(void *session, size_t len);
	void (*on_error)(void *session, int error, const char *text);
	void (*on_close)(
	    void *session, uint16_t code, const char *reason, size_t len);
	/* No url could be connected to; all were tried. */
	void (*on_failed)(
	    const struct feed_peer *peer, const char *text, void *arg);
	/*
	 * It is at what has come, or an on_close is not handled yet: the next
	 * connection, or our good-bye, waits for feeds_go_on().
	 */
	bool (*is_busy)(const char *upstream, void *arg);
};

/*
 * For handlers, from on_open to on_close: a message to the peer (-ENOTCONN:
 * it is closing; -EILSEQ: text that is not UTF-8; -ENOMEM); the end of this
 * connection; whether its reading rests until it is told otherwise.
 */
int feed_send(
    struct feed *feed, bool binary, const void *data, size_t len) LOOP_THREAD;
void feed_close(
    struct feed *feed, uint16_t code, const char *reason) LOOP_THREAD;
void feed_pause(struct feed *feed, bool pause) LOOP_THREAD;
/* What is_busy() said of it may be otherwise now. */
void feeds_go_on(struct feeds *feeds, const char *upstream) LOOP_THREAD;

#endif
