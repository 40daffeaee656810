/*
 * upstream: connections of feeds as sessions, in slots above those of net.
 *
 * The happy path: a feed's connection is open -> upstream_open() -> a session
 * like any other, whose operations (ops) go to the feed -> session_gone() ->
 * on_close has run -> the slot is free, and the feed is told (go_on).
 *
 * What can go wrong:
 * - it cannot be connected to: a session without a name, of one error;
 * - the handler does not keep up: its session pauses, the feed does not read;
 * - what makes no sense of a peer that is a server (subscribe): -EOPNOTSUPP.
 */

#include "daemon/handler/upstream.h"
#include "daemon/base/memory.h"
#include "daemon/handler/session.h"
#include "daemon/handler/upstream_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A slot: one upstream that somebody handles. */
struct link {
	struct session *session; /* NULL: the slot is free */
	struct handlers *handlers;
	void *peer; /* the feed's, while there is a connection */
	uint32_t generation; /* of the next one */
	bool awaited; /* the feed waits for go_on */
	bool closing; /* the handler has closed it */
};

/* Made with the first. */
struct links {
	struct link items[UPSTREAM_LINKS_MAX];
};

void
handlers_set_feeds(
    struct handlers *handlers, const struct handler_feeds *feeds, void *arg)
{
	handlers->feeds = feeds;
	handlers->feeds_arg = arg;
}

static struct handler *
handler_for(const struct handlers *handlers, const char *upstream)
{
	size_t i, j;

	for (i = 0; i < handlers->count; i++) {
		const struct conf_list *names =
		    &handlers->items[i]->conf->upstreams;

		for (j = 0; j < names->count; j++)
			if (strcmp(names->items[j], upstream) == 0)
				return handlers->items[i];
	}
	return NULL;
}

/* NULL: nobody handles anything of it. */
static struct link *
link_of(const struct handlers *handlers, const char *upstream)
{
	size_t i;

	for (i = 0; handlers->links != NULL && i < UPSTREAM_LINKS_MAX; i++) {
		struct link *link = &handlers->links->items[i];

		if (link->session != NULL &&
		    strcmp(link->session->open.upstream, upstream) == 0)
			return link;
	}
	return NULL;
}

static int
take_link(struct handlers *handlers, struct link **ret_link)
{
	size_t i;

	if (handlers->links == NULL)
		handlers->links = memory_zalloc(sizeof(*handlers->links));
	if (handlers->links == NULL)
		return -ENOMEM;
	for (i = 0; i < UPSTREAM_LINKS_MAX; i++) {
		struct link *link = &handlers->links->items[i];

		if (link->session != NULL)
			continue;
		link->handlers = handlers;
		link->closing = false;
		*ret_link = link;
		return 0;
	}
	return -EMFILE;
}

/* What sessions ask of their connection, here of a feed's */

static int64_t
op_send(void *conn, enum message_kind kind, const void *data, size_t len)
{
	const struct link *link = conn;
	const int r = link->handlers->feeds->send(
	    link->peer, kind == MESSAGE_BINARY, data, len);

	return r < 0 ? r : (int64_t)upstream_cost(len);
}

static void
op_close(void *conn, uint16_t code, const char *reason)
{
	struct link *link = conn;

	link->closing = true;
	link->handlers->feeds->close(link->peer, code, reason);
}

static bool
op_closing(void *conn)
{
	return ((const struct link *)conn)->closing;
}

static int
op_subscribe(void *conn, const char *channel, size_t len,
    const struct from *from, struct hub_answer *ret_answer)
{
	(void)conn;
	(void)channel;
	(void)len;
	(void)from;
	(void)ret_answer;
	return -EOPNOTSUPP;
}

static int
op_unsubscribe(void *conn, const char *channel, size_t len)
{
	(void)conn;
	(void)channel;
	(void)len;
	return -EOPNOTSUPP;
}

static uint32_t
op_subscriptions(void *conn)
{
	(void)conn;
	return 0;
}

static void
op_pause(void *conn, bool pause)
{
	const struct link *link = conn;

	link->handlers->feeds->pause(link->peer, pause);
}

static const struct handler_ops link_ops = {
	.send = op_send,
	.close = op_close,
	.closing = op_closing,
	.subscribe = op_subscribe,
	.unsubscribe = op_unsubscribe,
	.subscriptions = op_subscriptions,
	.pause = op_pause,
};

struct session *
upstream_find(
    const struct handlers *handlers, uint32_t index, uint32_t generation)
{
	const struct link *link;

	if (handlers->links == NULL || index >= UPSTREAM_LINKS_MAX)
		return NULL;
	link = &handlers->links->items[index];
	return link->session != NULL && link->session->conn != NULL &&
		       conn_generation(link->session->name) == generation
		   ? link->session
		   : NULL;
}

/* What the feed tells */

int
upstream_open(struct handlers *handlers, const struct es_open *open, void *peer,
    struct session **ret_session)
{
	struct handler *handler = handler_for(handlers, open->upstream);
	struct link *link;
	uint32_t slot;
	int r;

	if (handler == NULL)
		return -ENOENT;
	/* One after the other: the feed has asked upstream_is_busy(). */
	assert(link_of(handlers, open->upstream) == NULL);
	r = take_link(handlers, &link);
	if (r < 0)
		return r;
	slot =
	    handlers->rooms.slots + (uint32_t)(link - handlers->links->items);
	r = session_new(
	    handler, link, slot, link->generation, open, &link->session);
	if (r < 0)
		return r;
	link->generation++;
	link->peer = peer;
	link->session->link = link;
	link->session->ops = &link_ops;
	*ret_session = link->session;
	session_open(link->session);
	return 0;
}

void
upstream_sent(struct session *session, size_t len)
{
	assert(session->link != NULL);
	session_written(session, upstream_cost(len));
}

/* A session that has only this to tell, and then is over. */
static void
push_failed(struct session *session, int error, const char *text) LOOP_THREAD
{
	session->opened = session->gone = session->ended = true;
	session_event_free(session->open_event);
	session_event_free(session->close_event);
	session->open_event = session->close_event = NULL;
	session_error(session, error, text);
	if (session->count == 0) /* no memory for it */
		session_free(session);
}

void
upstream_failed(struct handlers *handlers, const struct es_open *open,
    int error, const char *text)
{
	struct handler *handler = handler_for(handlers, open->upstream);
	struct link *link;

	if (handler == NULL || handlers->closing ||
	    link_of(handlers, open->upstream) != NULL ||
	    take_link(handlers, &link) < 0 ||
	    session_init(handler, open, &link->session) < 0)
		return;
	link->session->link = link;
	push_failed(link->session, error, text);
}

bool
upstream_is_busy(struct handlers *handlers, const char *upstream)
{
	struct link *link = link_of(handlers, upstream);

	if (link == NULL || (!link->session->gone && !link->session->active))
		return false;
	link->awaited = true;
	return true;
}

void
upstream_retire(struct handler *handler)
{
	const struct links *links = handler->handlers->links;
	size_t i;

	for (i = 0; links != NULL && i < UPSTREAM_LINKS_MAX; i++) {
		struct session *session = links->items[i].session;

		if (session != NULL && session->handler == handler &&
		    session->conn != NULL)
			session->ops->close(session->conn, 1012,
			    "its handler is another one now");
	}
}

/* What the session tells */

static void
tell(const struct session *session)
{
	const struct handlers *handlers = session->handler->handlers;
	struct link *link = session->link;

	if (!link->awaited)
		return;
	link->awaited = false;
	handlers->feeds->go_on(session->open.upstream, handlers->feeds_arg);
}

void
upstream_on_idle(struct session *session)
{
	tell(session);
}

void
upstream_on_free(struct session *session)
{
	struct link *link = session->link;

	assert(link->session == session);
	link->session = NULL;
	link->peer = NULL;
	tell(session);
}
