/*
 * consume: every message of a channel is an event, one session for each
 * handler and channel.
 *
 * The happy path: a message is published -> on_news() notes the channel's
 * topic once -> on_pull(), once an iteration, reads from the tape what the
 * queue has room for -> events -> the next are read when some are handled.
 * The place is the session's offset: a process that dies is followed by one
 * that goes on there, and a handler of the same name that a reload brings.
 *
 * What can go wrong:
 * - messages are gone before their turn: on_error, and on from the oldest;
 * - the channel vanished and came again: the same, with its new epoch;
 * - no memory for a topic: told, the channel is tried again with the next
 *   message.
 */

#include "daemon/handler/consume.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A channel that somebody consumes. */
struct topic {
	struct list node; /* in handlers.topics */
	struct list fresh; /* in handlers.fresh: something was published */
	struct list sessions; /* by session.of_topic */
	bool unfilled; /* a session of it waits for memory */
	size_t len;
	char name[];
};

/* Topics */

static int
add_session(struct topic *topic, struct handler *handler,
    struct session *former) LOOP_THREAD
{
	const struct es_open open = { .channel = topic->name };
	struct session *session;

	if (session_init(handler, &open, &session) < 0)
		return -ENOMEM;
	session->opened = session->known = true;
	session->topic = topic;
	session->after = former;
	list_append(&topic->sessions, &session->of_topic);
	return 0;
}

/* Its session there; and the last one of a former handler of its name. */
static bool
has_session(struct topic *topic, const struct handler *handler,
    struct session **ret_former)
{
	*ret_former = NULL;
	LIST_EACH_SAFE(node, next, &topic->sessions)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, of_topic);

		if (session->handler == handler)
			return true;
		if (session->leaving && strcmp(session->handler->conf->name,
					    handler->conf->name) == 0)
			*ret_former = session;
	}
	return false;
}

/* Sessions for all who serve and want the channel. */
static void
topic_fill(struct handlers *handlers, struct topic *topic) LOOP_THREAD
{
	struct session *former;
	size_t i;

	topic->unfilled = false;
	for (i = 0; i < handlers->count; i++) {
		struct handler *handler = handlers->items[i];

		if (handler_matches(
			&handler->conf->consumes, topic->name, topic->len) &&
		    !has_session(topic, handler, &former) &&
		    add_session(topic, handler, former) < 0)
			topic->unfilled = true;
	}
	if (topic->unfilled)
		log_error("messages wait for memory channel=%s", topic->name);
}

static void
topic_free(struct topic *topic) LOOP_THREAD
{
	struct list *node;

	while ((node = list_first(&topic->sessions)) != NULL)
		session_free(LIST_ENTRY(node, struct session, of_topic));
	list_remove(&topic->node);
	list_remove(&topic->fresh);
	memory_free(topic);
}

/* NULL: no memory. */
static struct topic *
topic_new(struct handlers *handlers, const char *name, size_t len) LOOP_THREAD
{
	struct topic *topic = memory_zalloc(sizeof(*topic) + len + 1);

	if (topic == NULL)
		return NULL;
	memcpy(topic->name, name, len);
	topic->len = len;
	list_init(&topic->fresh);
	list_init(&topic->sessions);
	list_init(&topic->node);
	list_append(&handlers->topics, &topic->node);
	topic_fill(handlers, topic);
	return topic;
}

static bool
is_wanted(const struct handlers *handlers, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < handlers->count; i++)
		if (handler_matches(
			&handlers->items[i]->conf->consumes, name, len))
			return true;
	return false;
}

/* The topic of a channel that was made; it may be there from before. */
static struct topic *
topic_get(struct handlers *handlers, const char *name, size_t len) LOOP_THREAD
{
	struct topic *topic;

	LIST_EACH_SAFE(node, next, &handlers->topics)
	{
		topic = LIST_ENTRY(node, struct topic, node);
		if (topic->len == len && memcmp(topic->name, name, len) == 0)
			return topic;
	}
	topic = topic_new(handlers, name, len);
	if (topic == NULL)
		log_error(
		    "messages wait for memory channel=%.*s", (int)len, name);
	return topic;
}

/* Pulling */

/* What is missing is told, and where it goes on. */
static void
tell_gap(struct session *session, const struct hub_history *history) LOOP_THREAD
{
	const int64_t from = session->offset + 1;
	char text[96];

	if (session->epoch == history->answer.position.epoch)
		(void)snprintf(text, sizeof(text),
		    "gap %016" PRIx64 ":%" PRId64 "-%" PRId64, session->epoch,
		    from, history->first - 1);
	else
		(void)snprintf(text, sizeof(text),
		    "the channel began anew after %016" PRIx64 ":%" PRId64,
		    session->epoch, session->offset);
	session->handler->counts.gaps++;
	session->epoch = history->answer.position.epoch;
	session->offset = history->first - 1;
	session_error(session, -EPIPE, text);
}

/* What follows on the tape; 0, or why there is nothing. */
static int
look(struct session *session, struct hub_history *ret_history)
{
	struct hub *hub = session->handler->handlers->rooms.hub;
	const char *channel = session->open.channel;
	const int64_t limit = session->handler->conf->queue_messages;
	struct from from = { .kind = FROM_OLDEST };
	int r;

	if (session->epoch == 0) { /* from its first message on */
		r = hub_history(hub, channel, strlen(channel), &from, limit,
		    clock_wall_us(), ret_history);
		if (r < 0)
			return r;
		session->epoch = ret_history->answer.position.epoch;
	}
	from.kind = FROM_POSITION;
	from.position.epoch = session->epoch;
	from.position.offset = session->offset;
	return hub_history(hub, channel, strlen(channel), &from, limit,
	    clock_wall_us(), ret_history);
}

static int
pull_one(
    struct session *session, int64_t offset, struct buffer *scratch) LOOP_THREAD
{
	const char *channel = session->open.channel;
	struct message message;
	struct event *event;
	const int r = hub_read(session->handler->handlers->rooms.hub, channel,
	    strlen(channel), session->epoch, offset, scratch, &message);

	if (r < 0)
		return r;
	event = session_event_new(EVENT_MESSAGE, message.payload, message.len);
	if (event == NULL)
		return -ENOMEM;
	event->message_kind = message.kind;
	event->position = (struct es_position){ message.epoch, offset };
	event->time_us = message.time_us;
	session->offset = offset;
	session_push(session, event);
	return 0;
}

static bool
has_room(const struct session *session)
{
	const struct handler *handler = session->handler;
	const struct conf_handler *conf = handler->conf;

	return session->count < conf->queue_messages &&
	       session->bytes < conf->queue_bytes &&
	       (session->count == 0 ||
		   handler->queued_bytes < conf->queue_bytes_total);
}

static bool
is_for_nobody(const struct session *session) LOOP_THREAD
{
	const struct handler *handler = session->handler;

	return handler->exec != NULL && exec_is_ending(handler->exec);
}

void
consume_more(struct session *session)
{
	struct hub_history history;
	struct buffer scratch;
	int64_t offset;
	int r = 0;

	if (list_empty(&session->of_topic)) /* an upstream's failure */
		return;
	if (is_for_nobody(session)) /* a drain would wait for them */
		return;
	if (session->leaving || session->after != NULL || !has_room(session) ||
	    look(session, &history) < 0)
		return;
	if (!history.answer.recovered)
		tell_gap(session, &history);
	buffer_init(&scratch);
	for (offset = session->offset + 1;
	     r == 0 && offset <= history.last && has_room(session); offset++)
		r = pull_one(session, offset, &scratch);
	buffer_fini(&scratch);
	if (r == -ENOMEM)
		log_error("messages wait for memory channel=%s",
		    session->open.channel);
}

/* Of a former handler, and whoever was before it has ended: so may it. */
static struct session *
find_leaving(struct topic *topic)
{
	LIST_EACH_SAFE(node, next, &topic->sessions)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, of_topic);

		if (session->leaving && session->after == NULL &&
		    !session->gone)
			return session;
	}
	return NULL;
}

/* What they have is handled; then they are over, and others go on there. */
static void
let_leave(struct topic *topic) LOOP_THREAD
{
	struct session *session;

	while (!topic->unfilled && (session = find_leaving(topic)) != NULL) {
		session->gone = session->ended = true;
		session_update(session); /* may be its end */
	}
}

static void
on_pull(void *arg)
{
	struct handlers *handlers = arg;
	struct list *node;

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->pull);
	handlers->pull = NULL;
	while ((node = list_first(&handlers->fresh)) != NULL) {
		struct topic *topic = LIST_ENTRY(node, struct topic, fresh);

		list_remove(node);
		if (topic->unfilled)
			topic_fill(handlers, topic);
		let_leave(topic);
		LIST_EACH_SAFE(each, next, &topic->sessions)
		consume_more(LIST_ENTRY(each, struct session, of_topic));
	}
	handlers_check_waiting(handlers);
}

/* Its sessions have something to read, or to do. */
static void
refresh(struct handlers *handlers, struct topic *topic)
{
	if (list_empty(&topic->fresh))
		list_append(&handlers->fresh, &topic->fresh);
	if (handlers->pull == NULL &&
	    es_call_soon(handlers->rooms.loop, "consume", on_pull, handlers,
		NULL, &handlers->pull) < 0)
		log_debug("no memory for a call: the next tick will do");
}

/* Inside a publish: only noted. */
static void *
on_news(const char *channel, size_t len, void *token, void *arg)
{
	struct handlers *handlers = arg;
	struct topic *topic = token;

	es_loop_assert(handlers->rooms.loop);
	if (topic == NULL && !is_wanted(handlers, channel, len))
		return HUB_NO_NEWS;
	if (topic == NULL)
		topic = topic_get(handlers, channel, len);
	else if (list_empty(&topic->sessions) && /* since a reload */
		 !is_wanted(handlers, channel, len)) {
		topic_free(topic);
		return HUB_NO_NEWS;
	}
	if (topic != NULL)
		refresh(handlers, topic);
	return topic;
}

static bool
is_busy(const struct topic *topic)
{
	bool busy = false;

	LIST_EACH_SAFE(node, next, &topic->sessions)
	{
		const struct session *session =
		    LIST_ENTRY(node, struct session, of_topic);

		busy = busy || session->busy || session->count > 0;
	}
	return busy;
}

/* A channel that is there has its topic as a token, sessions or not. */
static bool
has_vanished(const struct handlers *handlers, const struct topic *topic)
{
	const struct from from = { .kind = FROM_OLDEST };
	struct hub_history history;

	return hub_history(handlers->rooms.hub, topic->name, topic->len, &from,
		   1, clock_wall_us(), &history) == -ENOENT;
}

/* Channels come and go; what nobody consumes any more is forgotten. */
void
consume_tick(struct handlers *handlers)
{
	struct list *first = list_first(&handlers->fresh);

	if (first != NULL) /* there was no memory for the call */
		refresh(handlers, LIST_ENTRY(first, struct topic, fresh));
	LIST_EACH_SAFE(node, next, &handlers->topics)
	{
		struct topic *topic = LIST_ENTRY(node, struct topic, node);

		if (!is_busy(topic) && has_vanished(handlers, topic))
			topic_free(topic);
	}
}

/* Others serve */

void
consume_over(struct session *session)
{
	struct topic *topic = session->topic;

	assert(session->leaving && session->after == NULL);
	LIST_EACH_SAFE(node, next, &topic->sessions)
	{
		struct session *other =
		    LIST_ENTRY(node, struct session, of_topic);

		if (other->after != session)
			continue;
		other->after = NULL;
		other->epoch = session->epoch;
		other->offset = session->offset;
		refresh(session->handler->handlers, topic);
	}
}

static void
apply_on_topic(struct handlers *handlers, struct topic *topic) LOOP_THREAD
{
	LIST_EACH_SAFE(node, next, &topic->sessions)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, of_topic);

		if (session->handler->state != HANDLER_SERVING)
			session->leaving = true;
	}
	topic_fill(handlers, topic);
	let_leave(topic);
}

void
consume_apply(struct handlers *handlers)
{
	size_t i;

	LIST_EACH_SAFE(node, next, &handlers->topics)
	apply_on_topic(handlers, LIST_ENTRY(node, struct topic, node));
	for (i = 0; i < handlers->count && !handlers->watching; i++)
		if (handlers->items[i]->conf->consumes.count > 0) {
			hub_watch(handlers->rooms.hub, on_news, handlers);
			handlers->watching = true;
		}
	if (handlers->watching)
		hub_ask_watcher(handlers->rooms.hub);
}

int64_t
consume_left(struct handlers *handlers)
{
	struct hub_history history;
	int64_t left = 0;

	LIST_EACH_SAFE(node, next, &handlers->topics)
	{
		struct topic *topic = LIST_ENTRY(node, struct topic, node);

		LIST_EACH_SAFE(each, after, &topic->sessions)
		{
			struct session *session =
			    LIST_ENTRY(each, struct session, of_topic);

			if (is_for_nobody(session) &&
			    look(session, &history) == 0)
				left += history.newest - session->offset;
		}
	}
	return left;
}

void
consume_end(struct handlers *handlers)
{
	struct list *node;

	while ((node = list_first(&handlers->topics)) != NULL)
		topic_free(LIST_ENTRY(node, struct topic, node));
}
