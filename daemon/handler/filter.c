/*
 * filter: handlers that are asked about messages before those are on a tape.
 *
 * The happy path: hub_publish() -> on_ask() -> an event of the publisher's
 * session -> a worker or a process judges it -> on the loop it is published,
 * as it was or changed, or refused -> the publisher hears of it.
 *
 * What can go wrong, and never lets a message through:
 * - it is refused: counted, the publisher hears why;
 * - the process dies over it: refused as failed; what it had not read goes to
 *   its successor;
 * - no verdict comes for callback_timeout: all that the session has is refused
 *   as failed, and what comes, until a verdict does;
 * - the publisher publishes faster: it is asked to wait;
 * - the publisher goes: what it published is judged all the same;
 * - time is up at the drain: refused as closing.
 */

#include "daemon/handler/filter.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/change.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/former.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Answers, on the loop */

/* What waits and is answered need not be asked any more. */
static void
drop_answered(struct session *session)
{
	int64_t events = 0, bytes = 0;

	LIST_EACH_SAFE(node, next, &session->events)
	{
		struct event *event = LIST_ENTRY(node, struct event, node);

		if (!ask_of(event)->answered)
			continue;
		list_remove(node);
		events++;
		bytes += (int64_t)event->len;
		session_event_free(event);
	}
	/* Its place in a line; a busy one's is with its process. */
	if (!session->busy && list_empty(&session->events))
		list_remove(&session->ready);
	session_handled(session, events, bytes);
}

static void
give_up_rest(struct session *session) LOOP_THREAD
{
	struct list *node;

	while ((node = list_first(&session->asking->asks)) != NULL) {
		list_remove(node);
		LIST_ENTRY(node, struct ask, node)->answered = true;
	}
	former_drop(session->asking);
	drop_answered(session);
}

void
filter_set_full(struct session *session, bool full)
{
	struct asking *asking = session->asking;
	struct handler *handler = session->handler;
	struct hub_publisher *publisher = asking->publisher;

	if (publisher == NULL || full == asking->full)
		return;
	asking->full = full;
	if (full) {
		handler->counts.pauses++;
		list_append(&handler->paused, &session->pausing);
		publisher->full++;
	} else {
		list_remove(&session->pausing);
		publisher->full--;
	}
	/* The first that is full, the last that is not. */
	if (publisher->ops->full != NULL && publisher->full == full)
		publisher->ops->full(publisher, full);
}

void
filter_detach(struct asking *asking)
{
	struct session *session = asking->session;

	assert(list_empty(&asking->behind));
	list_remove(&asking->of_publisher);
	list_remove(&asking->through);
	asking->publisher = NULL;
	asking->former = false;
	session->gone = session->ended = true;
}

static void
answer(struct session *session, struct ask *ask, int64_t offset,
    const struct position *position, const char *text) LOOP_THREAD
{
	struct asking *asking = session->asking;
	struct hub_publisher *publisher = asking->publisher;
	const struct hub_verdict verdict = {
		.offset = offset,
		.position = *position,
		.text = text,
		.cookie = ask->cookie,
		.len = ask->event.len,
	};

	assert(!ask->answered);
	list_remove(&ask->node);
	ask->answered = true;
	if (publisher != NULL)
		publisher->ops->verdict(publisher, &verdict);
	if (offset < 0 && asking->strict)
		give_up_rest(session);
	if (asking->former && list_empty(&asking->asks))
		former_through(asking);
}

static void
fail(struct session *session, struct ask *ask, int error) LOOP_THREAD
{
	const struct position none = { 0 };

	session->handler->counts.publishes_failed++;
	answer(session, ask, error, &none, NULL);
}

static void
fail_all(struct session *session, int error) LOOP_THREAD
{
	struct asking *asking = session->asking;
	struct list *node;

	asking->stuck = session->busy;
	while ((node = list_first(&asking->asks)) != NULL)
		fail(session, LIST_ENTRY(node, struct ask, node), error);
	drop_answered(session);
	session_update(session); /* may be its end */
}

static void
refuse(struct session *session, struct ask *ask) LOOP_THREAD
{
	const struct position none = { 0 };
	const char *reason = ask->verdict.reason;

	if (reason == NULL || *reason == '\0')
		reason = "the filter does not want it";
	session->handler->counts.publishes_refused++;
	answer(session, ask, -EACCES, &none, reason);
}

static void
let_through(struct session *session, struct ask *ask) LOOP_THREAD
{
	struct handler *handler = session->handler;
	const struct es_verdict *verdict = &ask->verdict;
	const struct hub_message message = {
		.kind =
		    verdict->changed ? verdict->kind : ask->event.message_kind,
		.payload = verdict->changed ? verdict->data : ask->event.data,
		.len = verdict->changed ? verdict->len : ask->event.len,
		.checked = true, /* before it was asked, and when changed */
		.judged = true,
	};
	struct position position = { 0 };
	int64_t offset;

	handler->counts.publishes_changed += verdict->changed;
	/* It was taken before anything was closing. */
	offset = hub_publish(handler->handlers->rooms.hub, ask->channel,
	    ask->channel_len, HUB_INSIDE, &message, clock_wall_us(), &position);
	answer(session, ask, offset, &position, NULL);
}

static void
progress(struct session *session)
{
	session->asking->since_us = clock_now_us();
	session->asking->stuck = false;
}

void
filter_judged(struct session *session, struct event *event)
{
	struct ask *ask = ask_of(event);

	assert(event->kind == EVENT_PUBLISH);
	progress(session);
	if (ask->answered) /* too late, or the rest of something */
		return;
	if (ask->verdict.refused)
		refuse(session, ask);
	else
		let_through(session, ask);
}

void
filter_take(struct session *session)
{
	struct list *node;

	assert(!session->busy);
	while ((node = list_first(&session->asking->judged)) != NULL) {
		struct event *event = LIST_ENTRY(node, struct event, node);

		list_remove(node);
		filter_judged(session, event);
		session_event_free(event);
	}
	drop_answered(session); /* the worker had them when they were */
}

void
filter_lost(struct session *session, struct event *event)
{
	struct ask *ask = ask_of(event);

	progress(session);
	if (!ask->answered)
		fail(session, ask, -EIO);
}

void
filter_tick(struct handler *handler, int64_t now_us)
{
	if (handler->conf->filters.count == 0)
		return;
	LIST_EACH_SAFE(node, next, &handler->sessions)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, node);
		struct asking *asking = session->asking;

		if (asking == NULL || list_empty(&asking->asks) ||
		    now_us - asking->since_us <
			handler->conf->callback_timeout_us)
			continue;
		log_warn("no verdict within callback_timeout: messages are "
			 "refused handler=%s",
		    handler->conf->name);
		fail_all(session, -EIO);
	}
}

void
filters_hurry(struct handlers *handlers)
{
	LIST_EACH_SAFE(each, after, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(each, struct handler, node);

		LIST_EACH_SAFE(node, next, &handler->sessions)
		{
			struct session *session =
			    LIST_ENTRY(node, struct session, node);

			if (session->asking != NULL)
				fail_all(session, -ESHUTDOWN);
		}
	}
	former_release(handlers);
}

/* Sessions */

void
filter_update_full(struct session *session)
{
	const int64_t part = session->asking->full ? 2 : 1; /* half of it */

	if (!session->asking->former) /* else full until nothing waits */
		filter_set_full(session, session_queue_is_full(session, part));
}

void
filter_forget(struct session *session)
{
	struct asking *asking = session->asking;
	const struct position none = { 0 };
	struct list *node;

	assert(!session->busy);
	asking->strict = false; /* all of them are told */
	former_forget(asking);
	while ((node = list_first(&asking->asks)) != NULL)
		answer(session, LIST_ENTRY(node, struct ask, node), -ESHUTDOWN,
		    &none, NULL);
	while ((node = list_first(&asking->judged)) != NULL) {
		list_remove(node);
		session_event_free(LIST_ENTRY(node, struct event, node));
	}
	filter_set_full(session, false);
	list_remove(&asking->of_publisher);
	memory_free(asking);
	session->asking = NULL;
}

static struct asking *
asking_new(struct handler *handler, struct hub_publisher *publisher) LOOP_THREAD
{
	const struct es_open open = { .channel = "" };
	struct asking *asking = memory_zalloc(sizeof(*asking));
	struct session *session;

	if (asking == NULL)
		return NULL;
	if (session_init(handler, &open, &session) < 0) {
		memory_free(asking);
		return NULL;
	}
	list_init(&asking->asks);
	list_init(&asking->judged);
	list_init(&asking->of_publisher);
	list_init(&asking->behind);
	list_init(&asking->through);
	asking->session = session;
	asking->publisher = publisher;
	list_append(&publisher->asking, &asking->of_publisher);
	session->asking = asking;
	session->opened = true;
	return asking;
}

static struct asking *
asking_get(struct handler *handler, struct hub_publisher *publisher) LOOP_THREAD
{
	LIST_EACH_SAFE(node, next, &publisher->asking)
	{
		struct asking *asking =
		    LIST_ENTRY(node, struct asking, of_publisher);

		if (asking->session->handler == handler)
			return asking;
	}
	return asking_new(handler, publisher);
}

/* The hub's side */

static void *
on_find(const char *channel, size_t len, void *arg)
{
	struct handlers *handlers = arg;
	size_t i;

	for (i = 0; i < handlers->count; i++)
		if (handler_matches(
			&handlers->items[i]->conf->filters, channel, len))
			return handlers->items[i];
	return NULL;
}

/* Whoever a strict one waits for: its verdicts have one end. */
static struct asking *
strict_asking(const struct hub_publisher *publisher)
{
	LIST_EACH_SAFE(node, next, &publisher->asking)
	{
		struct asking *asking =
		    LIST_ENTRY(node, struct asking, of_publisher);

		if (publisher->strict && !asking->former &&
		    !list_empty(&asking->asks))
			return asking;
	}
	return NULL;
}

/* Of that name: a former one's are the handler's own, too. */
static bool
is_its_own(const struct handler *handler, const struct hub_publisher *publisher)
{
	const struct handler *owner = publisher->owner;

	return owner != NULL &&
	       strcmp(owner->conf->name, handler->conf->name) == 0;
}

static int
on_ask(void *filter, const char *channel, size_t len,
    const struct hub_message *message, int64_t now_us, void *arg)
{
	struct handlers *handlers = arg;
	struct handler *handler = filter;
	struct asking *asking;
	struct ask *ask;
	int r;

	es_loop_assert(handlers->rooms.loop);
	if (handler != NULL && is_its_own(handler, message->publisher))
		handler = NULL;
	if (handlers->hurried || handlers->frozen ||
	    (handler != NULL && handler->exec != NULL &&
		exec_is_ending(handler->exec)))
		return handler != NULL ? -ESHUTDOWN : 1;
	r = former_hold(handler, message, channel, len, now_us);
	if (r != 0)
		return r < 0 ? r : 0;
	if (handler == NULL)
		return 1;
	asking = strict_asking(message->publisher);
	if (asking == NULL)
		asking = asking_get(handler, message->publisher);
	if (asking == NULL)
		return -ENOMEM;
	handler = asking->session->handler; /* or a strict one's */
	handler->counts.publishes++;
	if (asking->stuck) {
		handler->counts.publishes_failed++;
		return -EIO;
	}
	ask = ask_new(channel, len, message, now_us);
	if (ask == NULL)
		return -ENOMEM;
	asking->strict = message->publisher->strict;
	if (list_empty(&asking->asks))
		asking->since_us = clock_now_us();
	list_append(&asking->asks, &ask->node);
	session_push(asking->session, &ask->event);
	return 0;
}

void
filter_leave(struct hub_publisher *publisher)
{
	struct list *node;

	if (former_inherit(publisher))
		return;
	while ((node = list_first(&publisher->asking)) != NULL) {
		struct asking *asking =
		    LIST_ENTRY(node, struct asking, of_publisher);
		struct session *session = asking->session;

		asking->full = false; /* nobody is to be told */
		list_remove(&session->pausing);
		filter_detach(asking);
		/* It may be a former handler's. */
		handlers_sweep_later(session->handler->handlers);
		if (session->count == 0 && !session->busy)
			session_free(session);
	}
}

static void
on_leave(struct hub_publisher *publisher, void *arg)
{
	const struct handlers *handlers = arg;

	es_loop_assert(handlers->rooms.loop);
	filter_leave(publisher);
}

void
filter_retire(struct handler *handler)
{
	LIST_EACH_SAFE(node, next, &handler->sessions)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, node);
		struct asking *asking = session->asking;

		if (asking == NULL || asking->publisher == NULL)
			continue;
		asking->retired = true;
		if (!list_empty(&asking->asks))
			former_begin(asking);
		if (asking->former)
			continue;
		filter_set_full(session, false);
		filter_detach(asking);
		if (session->count == 0 && !session->busy)
			session_free(session);
	}
}

/* Another one is asked about a channel of which it has asks, or it was so. */
static bool
has_changed(struct handlers *handlers, const struct asking *asking)
{
	if (asking->former)
		return true;
	LIST_EACH_SAFE(node, next, &asking->asks)
	{
		const struct ask *ask = LIST_ENTRY(node, struct ask, node);

		if (on_find(ask->channel, ask->channel_len, handlers) !=
		    asking->session->handler)
			return true;
	}
	return false;
}

void
filters_start(struct handlers *handlers)
{
	static const struct hub_gate gate = {
		.find = on_find,
		.ask = on_ask,
		.leave = on_leave,
	};
	size_t i;

	for (i = 0; i < handlers->count; i++)
		if (handlers->items[i]->conf->filters.count > 0)
			handlers->gated = true;
	LIST_EACH_SAFE(each, after, &handlers->all)
	{
		struct handler *handler =
		    LIST_ENTRY(each, struct handler, node);

		LIST_EACH_SAFE(node, next, &handler->sessions)
		{
			struct asking *asking =
			    LIST_ENTRY(node, struct session, node)->asking;

			if (asking != NULL && asking->publisher != NULL &&
			    has_changed(handlers, asking))
				former_begin(asking);
		}
	}
	if (handlers->gated)
		hub_set_gate(handlers->rooms.hub, &gate, handlers);
}
