/*
 * upstreams: between the feeds, which connect, and the handlers, which get
 * what comes: neither knows of the other.
 */

#include "daemon/daemon.h"
#include "daemon/feed/hooks.h"
#include "daemon/handler/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REASON_BYTES_MAX 123 /* RFC 6455 section 5.5 */
#define TEXT_BYTES_MAX 512

/* From a feed to a handler */

static struct es_open
open_of(const struct feed_peer *peer)
{
	return (struct es_open){
		.peer = peer->url,
		.channel = peer->channel,
		.upstream = peer->upstream,
	};
}

static int
on_open(const struct feed_peer *peer, void *arg, void **ret_session)
{
	struct daemon *daemon = arg;
	const struct es_open open = open_of(peer);
	struct session *session;
	int r;

	es_loop_assert(daemon->net_loop);
	r = upstream_open(daemon->handlers, &open, peer->feed, &session);
	if (r == 0)
		*ret_session = session;
	return r;
}

static int
on_message(void *session, bool binary, const void *data, size_t len) LOOP_THREAD
{
	return session_message(
	    session, binary ? MESSAGE_BINARY : MESSAGE_TEXT, data, len);
}

static void
on_sent(void *session, size_t len) LOOP_THREAD
{
	upstream_sent(session, len);
}

static void
on_error(void *session, int error, const char *text) LOOP_THREAD
{
	session_error(session, error, text);
}

static void
on_close(
    void *session, uint16_t code, const char *reason, size_t len) LOOP_THREAD
{
	char text[REASON_BYTES_MAX + 1];

	if (len > REASON_BYTES_MAX)
		len = REASON_BYTES_MAX;
	memcpy(text, reason, len);
	text[len] = '\0';
	session_gone(session, code, text);
}

static void
on_failed(const struct feed_peer *peer, const char *text, void *arg)
{
	struct daemon *daemon = arg;
	const struct es_open open = open_of(peer);
	char whole[TEXT_BYTES_MAX];

	es_loop_assert(daemon->net_loop);
	(void)snprintf(whole, sizeof(whole), "upstream %s %s", peer->upstream,
	    text); /* cut where it is too long */
	upstream_failed(daemon->handlers, &open, -ENOTCONN, whole);
}

static bool
is_busy(const char *upstream, void *arg)
{
	const struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	return upstream_is_busy(daemon->handlers, upstream);
}

/* From a handler to a feed */

static int
to_peer(void *peer, bool binary, const void *data, size_t len) LOOP_THREAD
{
	return feed_send(peer, binary, data, len);
}

static void
end_peer(void *peer, uint16_t code, const char *reason) LOOP_THREAD
{
	feed_close(peer, code, reason);
}

static void
rest_peer(void *peer, bool pause) LOOP_THREAD
{
	feed_pause(peer, pause);
}

static void
go_on(const char *upstream, void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	if (daemon->feeds != NULL)
		feeds_go_on(daemon->feeds, upstream);
}

const struct feed_hooks *
upstreams_hooks(struct daemon *daemon)
{
	static const struct feed_hooks hooks = {
		.on_open = on_open,
		.on_message = on_message,
		.on_sent = on_sent,
		.on_error = on_error,
		.on_close = on_close,
		.on_failed = on_failed,
		.is_busy = is_busy,
	};
	static const struct handler_feeds feeds = {
		.send = to_peer,
		.close = end_peer,
		.pause = rest_peer,
		.go_on = go_on,
	};

	handlers_set_feeds(daemon->handlers, &feeds, daemon);
	return &hooks;
}
