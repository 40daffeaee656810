/*
 * hooks: between an upstream's connection and the handler bound to it.
 *
 * The happy path: the connection is open -> the handler's session -> each
 * message is the session's, and nothing is published -> on_close, once,
 * however it ended -> is_busy() until that is handled -> the next connection.
 *
 * What can go wrong:
 * - no handler is bound: messages are published as they are;
 * - there is no room for a session or a message: the connection is ended, and
 *   tried again with the back-off;
 * - the session asks for patience: the socket is not read.
 */

#include "daemon/feed/upstream_internal.h"

#include <assert.h>
#include <errno.h>

/* NULL: none.  What a mirror hears is no message but a protocol. */
static const struct feed_hooks *
hooks_of(const struct upstream *upstream)
{
	return upstream->conf->mirror ? NULL
				      : upstream->feed.host->options.hooks;
}

static struct feed_peer
peer_of(struct upstream *upstream)
{
	return (struct feed_peer){
		.upstream = upstream->feed.conf->name,
		.channel = upstream->feed.conf->channel,
		.url = upstream->url,
		.feed = &upstream->feed,
	};
}

void
hooks_open(struct upstream *upstream)
{
	const struct feed_hooks *hooks = hooks_of(upstream);
	const struct feed_peer peer = peer_of(upstream);
	int r = -ENOENT;

	assert(!upstream->session);
	upstream->error_told = false;
	if (hooks)
		r = hooks->on_open(&peer, upstream->feed.host->options.arg,
		    &upstream->session);
	if (r == -ESHUTDOWN)
		connection_fall(upstream, 1001, "the handlers are ending");
	else if (r < 0 && r != -ENOENT)
		connection_fall(upstream, 1013, "no room for its handler");
}

void
hooks_message(
    struct upstream *upstream, bool binary, const void *data, size_t len)
{
	int r;

	assert(upstream->session);
	r = hooks_of(upstream)->on_message(
	    upstream->session, binary, data, len);
	if (r == 0) {
		upstream->given++;
		upstream->given_bytes += len;
	} else if (r != -ESHUTDOWN) { /* then we are leaving */
		connection_fall(upstream, 1013, "no memory for a message");
	}
}

void
hooks_sent(struct upstream *upstream, size_t len)
{
	if (upstream->session)
		hooks_of(upstream)->on_sent(upstream->session, len);
}

void
hooks_error(struct upstream *upstream, int error)
{
	if (upstream->session && !upstream->error_told)
		hooks_of(upstream)->on_error(
		    upstream->session, error, upstream->feed.error);
	upstream->error_told = true;
}

void
hooks_over(
    struct upstream *upstream, uint16_t code, const char *reason, size_t len)
{
	void *session = upstream->session;

	upstream->session = NULL;
	if (session)
		hooks_of(upstream)->on_close(session, code, reason, len);
}

void
hooks_failed(struct upstream *upstream)
{
	const struct feed_hooks *hooks = hooks_of(upstream);
	const struct feed_peer peer = peer_of(upstream);

	if (hooks)
		hooks->on_failed(&peer, upstream->feed.error,
		    upstream->feed.host->options.arg);
}

bool
hooks_is_busy(const struct upstream *upstream)
{
	const struct feed_hooks *hooks = hooks_of(upstream);

	return hooks && hooks->is_busy(upstream->feed.conf->name,
			    upstream->feed.host->options.arg);
}

/* What the handler asks for */

int
feed_send(struct feed *feed, bool binary, const void *data, size_t len)
{
	struct upstream *upstream = (struct upstream *)feed;

	assert(feed->type == &upstream_type);
	if (!upstream->client || !upstream->opened || upstream->ended)
		return -ENOTCONN;
	return client_send(
	    upstream->client, binary ? CLIENT_BINARY : CLIENT_TEXT, data, len);
}

void
feed_close(struct feed *feed, uint16_t code, const char *reason)
{
	struct upstream *upstream = (struct upstream *)feed;

	assert(feed->type == &upstream_type);
	if (!upstream->client || upstream->ended || upstream->fallen)
		return;
	feed_set_error(feed, "was closed by its handler with %u%s%s", code,
	    reason[0] ? ": " : "", reason);
	upstream->fallen = upstream->error_told = true;
	client_close(upstream->client, code, reason);
}

void
feed_pause(struct feed *feed, bool pause)
{
	struct upstream *upstream = (struct upstream *)feed;

	assert(feed->type == &upstream_type);
	upstream->asked_to_rest = pause;
	connection_set_reading(upstream);
}

void
upstream_go_on(struct feed *feed)
{
	upstream_tell((struct upstream *)feed);
}
