/*
 * former: what a publisher says next waits for what a former filter has of it.
 *
 * The happy path: a filter retires, or another one is asked about a channel of
 * its -> former_begin() -> what the publisher says of channels that were or are
 * filtered is held -> the last ask is answered -> the next sweep publishes what
 * is held as if it came now, and so asks whoever is asked by then.
 *
 * What can go wrong:
 * - the publisher goes: what is held is published all the same, by an heir;
 * - another reload comes: nothing was decided for what is held, and all that
 *   follows is, for who knows what of it was filtered meanwhile;
 * - no verdict comes: the asks fail at callback_timeout, and that was the last;
 * - no memory to hold one: it is refused at once.
 */

#include "daemon/handler/former.h"
#include "daemon/base/clock.h"
#include "daemon/handler/change.h"

#include <assert.h>
#include <errno.h>

static struct ask *
first_behind(const struct asking *asking)
{
	struct list *node = list_first(&asking->behind);

	return node != NULL ? LIST_ENTRY(node, struct ask, node) : NULL;
}

void
former_begin(struct asking *asking)
{
	struct hub_publisher *publisher = asking->publisher;

	assert(publisher != NULL);
	if (!asking->former) { /* behind those that were before it */
		publisher->former++;
		list_remove(&asking->of_publisher);
		list_append(&publisher->asking, &asking->of_publisher);
	}
	asking->former = true;
	asking->all = asking->all || !list_empty(&asking->behind);
	filter_set_full(asking->session, true);
}

/* Its end as a former one, or as one at all. */
static void
end(struct asking *asking) LOOP_THREAD
{
	struct hub_publisher *publisher = asking->publisher;

	assert(asking->former);
	assert(list_empty(&asking->behind));
	asking->former = asking->all = false;
	list_remove(&asking->through);
	publisher->former--;
	if (asking->retired)
		filter_set_full(asking->session, false);
	else
		filter_update_full(asking->session);
	if (publisher == &asking->heir)
		filter_leave(publisher); /* or another one inherits it */
	else if (asking->retired)
		filter_detach(asking);
}

/* Holding */

static bool
holds(const struct asking *asking, const struct handler *filter,
    const char *channel, size_t len)
{
	if (!asking->former || asking->passing)
		return false;
	return asking->all || filter != NULL ||
	       handler_matches(
		   &asking->session->handler->conf->filters, channel, len);
}

int
former_hold(const struct handler *filter, const struct hub_message *message,
    const char *channel, size_t len, int64_t now_us)
{
	struct hub_publisher *publisher = message->publisher;
	struct asking *found = NULL;
	struct ask *ask;

	if (publisher->former == 0)
		return 0;
	LIST_EACH_SAFE(node, next, &publisher->asking)
	{
		struct asking *asking =
		    LIST_ENTRY(node, struct asking, of_publisher);

		if (found == NULL && holds(asking, filter, channel, len))
			found = asking;
	}
	if (found == NULL)
		return 0;
	ask = ask_new(channel, len, message, now_us);
	if (ask == NULL)
		return -ENOMEM;
	found->strict = publisher->strict;
	list_append(&found->behind, &ask->node);
	session_more(found->session, 1, (int64_t)message->len);
	session_update(found->session);
	return 1;
}

/* Letting go */

void
former_through(struct asking *asking)
{
	struct handlers *handlers = asking->session->handler->handlers;

	assert(asking->former);
	assert(list_empty(&asking->asks));
	if (list_empty(&asking->behind)) {
		end(asking);
	} else if (list_empty(&asking->through)) {
		asking->all = true;
		list_append(&handlers->through, &asking->through);
		handlers_sweep_later(handlers);
	}
}

static int64_t
publish(struct asking *asking, const struct ask *ask) LOOP_THREAD
{
	const struct handlers *handlers = asking->session->handler->handlers;
	struct hub_publisher *publisher = asking->publisher;
	const struct hub_message message = {
		.kind = ask->event.message_kind,
		.payload = ask->event.data,
		.len = ask->event.len,
		.checked = true, /* before it was held */
		.publisher = publisher,
		.cookie = ask->cookie,
	};
	struct hub_verdict verdict = {
		.cookie = ask->cookie,
		.len = ask->event.len,
	};

	asking->passing = true;
	/* It was taken before anything was closing. */
	verdict.offset =
	    hub_publish(handlers->rooms.hub, ask->channel, ask->channel_len,
		HUB_INSIDE, &message, clock_wall_us(), &verdict.position);
	asking->passing = false;
	if (verdict.offset == -EINPROGRESS)
		return 0;
	publisher->ops->verdict(publisher, &verdict);
	return verdict.offset;
}

static void
release(struct asking *asking) LOOP_THREAD
{
	struct session *session = asking->session;
	int64_t events = 0, bytes = 0;
	struct ask *ask;
	bool failed = false;

	/* What is counted keeps the session from being freed. */
	while ((ask = first_behind(asking)) != NULL) {
		list_remove(&ask->node);
		events++;
		bytes += (int64_t)ask->event.len;
		if (!failed)
			failed = publish(asking, ask) < 0 && asking->strict;
		ask_free(ask);
	}
	if (asking->former) /* its publisher has not ended with the last one */
		end(asking);
	session_less(session, events, bytes);
	session_update(session); /* may be its end */
}

void
former_release(struct handlers *handlers)
{
	struct list *node;

	while ((node = list_first(&handlers->through)) != NULL)
		release(LIST_ENTRY(node, struct asking, through));
}

void
former_drop(struct asking *asking)
{
	int64_t events = 0, bytes = 0;
	struct ask *ask;

	while ((ask = first_behind(asking)) != NULL) {
		list_remove(&ask->node);
		events++;
		bytes += (int64_t)ask->event.len;
		ask_free(ask);
	}
	session_less(asking->session, events, bytes);
}

void
former_forget(struct asking *asking)
{
	struct ask *ask;

	if (!asking->former)
		return;
	asking->former = false;
	asking->publisher->former--;
	list_remove(&asking->through);
	while ((ask = first_behind(asking)) != NULL) {
		const struct hub_verdict verdict = {
			.offset = -ESHUTDOWN,
			.cookie = ask->cookie,
			.len = ask->event.len,
		};

		struct hub_publisher *publisher = asking->publisher;

		list_remove(&ask->node);
		publisher->ops->verdict(publisher, &verdict); /* may end it */
		ask_free(ask);
	}
	if (asking->publisher != &asking->heir)
		return;
	list_remove(&asking->of_publisher);
	asking->publisher = NULL;
	filter_leave(&asking->heir);
}

/* Heirs */

static void
on_verdict(struct hub_publisher *heir, const struct hub_verdict *verdict)
{
	(void)heir; /* who wanted to know has gone */
	(void)verdict;
}

static const struct hub_publisher_ops heir_ops = { .verdict = on_verdict };

bool
former_inherit(struct hub_publisher *publisher)
{
	const struct handler *owner = publisher->owner;
	struct asking *holder = NULL;
	struct list *node;

	LIST_EACH_SAFE(each, next, &publisher->asking)
	{
		struct asking *asking =
		    LIST_ENTRY(each, struct asking, of_publisher);

		if (holder == NULL && !list_empty(&asking->behind))
			holder = asking;
	}
	if (holder == NULL)
		return false;
	/* Plugins' handlers stay, the others' may be freed before. */
	if (owner != NULL && owner->exec != NULL)
		owner = NULL;
	hub_publisher_init(&holder->heir, &heir_ops, owner);
	holder->heir.strict = publisher->strict;
	holder->heir.former = publisher->former;
	publisher->former = 0;
	while ((node = list_first(&publisher->asking)) != NULL) {
		struct asking *asking =
		    LIST_ENTRY(node, struct asking, of_publisher);

		list_remove(node);
		list_append(&holder->heir.asking, node);
		asking->publisher = &holder->heir;
		asking->full = false; /* nobody is to be told */
		list_remove(&asking->session->pausing);
	}
	return true;
}
