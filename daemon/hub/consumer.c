/*
 * Consumers: where each begins, and the two ways of waiting.  One that is
 * behind waits in hub.pending for its turn; one whose socket is full waits
 * for the socket and is in no list.
 */

#include "daemon/hub/hub_internal.h"

#include <errno.h>

/* The first message that follows, and what is to be told about it. */
static int64_t
first_for(
    const struct tape *tape, const struct from *from, struct hub_answer *answer)
{
	const struct position *position = &from->position;
	int64_t newest = tape_newest(tape), oldest = tape_oldest(tape);

	assert(oldest <= newest + 1);
	answer->recovered = true;
	answer->gap_from = answer->gap_to = 0;
	switch (from->kind) {
	case FROM_LIVE:
		return newest + 1;
	case FROM_OLDEST:
		return oldest;
	case FROM_LAST:
		assert(from->count >= 0);
		return newest + 1 - from->count > oldest
			   ? newest + 1 - from->count
			   : oldest;
	case FROM_POSITION:
		if (position->epoch == tape_epoch(tape) &&
		    position->offset >= tape_kept(tape) - 1 &&
		    position->offset <= newest)
			return position->offset + 1;
		answer->recovered = false;
		if (position->epoch == tape_epoch(tape) &&
		    position->offset >= 0 && position->offset < newest) {
			answer->gap_from = position->offset + 1;
			answer->gap_to = oldest - 1;
		}
		return oldest;
	}
	assert(!"a kind of from");
	return newest + 1;
}

int64_t
channel_first_for(const struct channel *channel, const struct from *from,
    struct hub_answer *ret_answer)
{
	int64_t first = first_for(channel->tape, from, ret_answer);

	ret_answer->position.epoch = tape_epoch(channel->tape);
	ret_answer->position.offset = first - 1;
	return first;
}

void
hub_set_interest(struct hub *hub, hub_interest_fn fn, void *arg)
{
	hub->interest = fn;
	hub->interest_arg = arg;
}

static void
tell_interest(struct hub *hub, const struct channel *channel, bool wanted)
{
	if (hub->interest)
		hub->interest(channel->name, channel->name_len, wanted,
		    hub->interest_arg);
}

int
hub_subscribe(struct hub *hub, struct consumer *consumer, const char *name,
    size_t len, enum view_kind view, const struct from *from, int64_t now_us,
    struct hub_answer *ret_answer)
{
	struct channel *channel;
	int64_t first;
	int rc;

	assert(!consumer->channel);
	if (hub->closing) {
		hub->counts.refused_closing++;
		return -ESHUTDOWN;
	}
	rc = channel_get(hub, name, len, &channel);
	if (rc < 0)
		return rc;
	rc = channel_reserve(channel);
	if (rc == 0)
		rc = tape_open_view(channel->tape, hub->views, view,
		    channel->name, channel->name_len);
	if (rc < 0)
		return rc;

	channel_trim(hub, channel, now_us);
	*consumer = (struct consumer){ .channel = channel, .view = view };
	list_init(&consumer->pending);
	first = channel_first_for(channel, from, ret_answer);
	rc = cursor_to(channel->tape, view, first, &consumer->cursor);
	assert(rc == 0);
	channel_add(channel, consumer);
	if (channel->count == 1)
		tell_interest(hub, channel, true);
	if (cursor_at_end(channel->tape, &consumer->cursor))
		channel_unpark(channel, consumer);
	else
		list_append(&hub->pending, &consumer->pending);
	return 0;
}

void
hub_unsubscribe(struct hub *hub, struct consumer *consumer)
{
	if (!consumer->channel)
		return;
	list_remove(&consumer->pending);
	channel_remove(consumer->channel, consumer);
	if (consumer->channel->count == 0)
		tell_interest(hub, consumer->channel, false);
	tape_close_view(consumer->channel->tape, consumer->view);
	consumer->channel = NULL;
}

void
hub_consumer_writable(struct hub *hub, struct consumer *consumer)
{
	struct channel *channel = consumer->channel;

	if (!channel || !consumer->blocked)
		return;
	assert(!consumer->ended);
	assert(channel_parked(channel, consumer));
	consumer->blocked = false;
	if (cursor_at_end(channel->tape, &consumer->cursor))
		channel_unpark(channel, consumer);
	else
		list_append(&hub->pending, &consumer->pending);
}

bool
hub_consumer_at_end(const struct consumer *consumer)
{
	return !consumer->channel ||
	       cursor_at_end(consumer->channel->tape, &consumer->cursor);
}

int64_t
hub_consumer_lag(const struct consumer *consumer)
{
	if (!consumer->channel)
		return 0;
	return cursor_lag_messages(consumer->channel->tape, &consumer->cursor);
}

struct hub_lag
hub_consumer_lag_at(const struct consumer *consumer, int64_t now_us)
{
	struct hub_lag lag = { 0 };
	const struct tape *tape;
	int64_t since_us;

	if (hub_consumer_at_end(consumer))
		return lag;
	tape = consumer->channel->tape;
	lag.messages = cursor_lag_messages(tape, &consumer->cursor);
	lag.bytes = cursor_lag_bytes(tape, &consumer->cursor);
	since_us = cursor_lag_since_us(tape, &consumer->cursor);
	/* The clock may have been set back meanwhile. */
	lag.us = since_us < now_us ? now_us - since_us : 0;
	return lag;
}

const char *
hub_consumer_channel(const struct consumer *consumer)
{
	return consumer->channel ? consumer->channel->name : NULL;
}
