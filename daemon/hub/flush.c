/*
 * The flush: every consumer that lacks something and can take it is visited,
 * within a budget of visits and bytes.
 *
 * There are two lines of those: the live consumers of dirty channels, visited
 * in a pass over each channel's array, and the pending ones, who are further
 * behind.  A visit writes a few spans; who then lacks more goes to the end of
 * the pending line and is not visited again in the same flush.
 *
 * - The budget ends: a pass stays where it is and its channel first in line,
 *   pending consumers keep their order.  Both go on there next time, so nobody
 *   is visited twice while another waits.
 * - Both lines are long: each gets half of the budget, and what one leaves the
 *   other may have.  Which goes first changes after each flush that was cut,
 *   so that a budget of one visit serves both.
 * - Something is published between the parts of a cut pass: the pass is
 *   finished as it is, those that come late in it get more at once, and
 *   another pass follows.
 * - More is published before a pass than the tape's limits keep: the tape holds
 *   it until the pass is through, so that who keeps up is not overtaken by one
 *   burst.  Who then still lacks some is behind, and may be.
 * - The socket is full, is broken or its consumer overrun and ended: it is
 *   parked and in no line.
 */

#include "daemon/hub/hub_internal.h"

#include <errno.h>

struct budget {
	int64_t visits, bytes;
	int64_t build; /* used up: who needs none of it goes on */
};

enum visited {
	VISITED_LIVE,
	VISITED_BEHIND,
	VISITED_UNBUILT,
	VISITED_STARVED,
	VISITED_PARKED
};

static bool
spent(const struct budget *budget)
{
	return budget->visits <= 0 || budget->bytes <= 0;
}

/* The tape has gone on without it.  true: the cursor is on kept ground. */
static bool
overtaken(struct hub *hub, struct consumer *consumer)
{
	const struct tape *tape = consumer->channel->tape;
	enum conf_overrun policy = consumer->channel->conf->overrun;
	bool inside = cursor_inside_message(&consumer->cursor);
	int64_t from = consumer->cursor.offset;
	int64_t to = tape_kept(tape) - 1;
	bool goes_on;
	int rc;

	if (policy == CONF_OVERRUN_LATEST)
		to = tape_newest(tape);
	assert(from <= to);
	hub->counts.overruns++;
	goes_on =
	    hub->ops.overrun(consumer, policy, from, to, inside, hub->arg);
	if (!goes_on) {
		consumer->ended = true;
		return false;
	}
	assert(!inside);
	hub->counts.messages_skipped += (uint64_t)(to - from + 1);
	rc = cursor_to(tape, consumer->view, to + 1, &consumer->cursor);
	assert(rc == 0);
	return true;
}

static enum visited
visit(struct hub *hub, struct consumer *consumer, struct budget *budget)
{
	struct tape *tape = consumer->channel->tape;
	size_t max = (size_t)hub->conf->limits.span_bytes_max;

	assert(!consumer->blocked && !consumer->ended);
	budget->visits--;
	for (int i = 0; i < HUB_VISIT_SPANS_MAX; i++) {
		struct span span;
		bool blocked = false;
		int rc = cursor_span(tape, consumer->view, &consumer->cursor,
		    max, &budget->build, &span);
		int64_t taken;

		if (rc == 0)
			return VISITED_LIVE;
		if (rc == -EAGAIN)
			return VISITED_UNBUILT;
		if (rc == -ENOMEM)
			return VISITED_STARVED;
		if (rc < 0) {
			assert(rc == -ESTALE);
			if (!overtaken(hub, consumer))
				return VISITED_PARKED;
			continue;
		}
		taken = hub->ops.write(consumer, &span, &blocked, hub->arg);
		if (taken < 0) {
			consumer->ended = true;
			return VISITED_PARKED;
		}
		assert((uint64_t)taken <= span.len);
		budget->bytes -= taken;
		hub->counts.bytes_out += (uint64_t)taken;
		hub->counts.messages_out += (uint64_t)cursor_advance(
		    tape, consumer->view, &consumer->cursor, (size_t)taken);
		if (blocked) {
			consumer->blocked = true;
			return VISITED_PARKED;
		}
		if (cursor_at_end(tape, &consumer->cursor))
			return VISITED_LIVE;
		hub->counts.spans_cut += i == 0;
	}
	return VISITED_BEHIND;
}

/* Parked; it waits where it belongs. */
static void
wait_in_line(struct hub *hub, struct consumer *consumer, enum visited visited)
{
	if (visited == VISITED_BEHIND)
		list_append(&hub->pending, &consumer->pending);
	else if (visited == VISITED_UNBUILT)
		list_append(&hub->unbuilt, &consumer->pending);
	else if (visited == VISITED_STARVED)
		list_append(&hub->starved, &consumer->pending);
}

/* One pass, or as much of it as the budget allows. */
static void
pass(struct hub *hub, struct channel *channel, struct budget *budget)
{
	if (channel->done == 0)
		channel->pass_to = tape_newest(channel->tape);
	while (channel->done < channel->live && !spent(budget)) {
		struct consumer *consumer = channel->consumers[channel->done];
		enum visited visited;

		assert(consumer->index == channel->done);
		if (channel->done + 4 < channel->live)
			__builtin_prefetch(
			    channel->consumers[channel->done + 4], 1);
		visited = visit(hub, consumer, budget);
		if (visited == VISITED_LIVE) {
			channel->done++;
			continue;
		}
		channel_park(channel, consumer);
		wait_in_line(hub, consumer, visited);
	}
	if (channel->done < channel->live)
		return;
	channel_mark_clean(channel);
	if (channel->pass_to < tape_newest(channel->tape))
		channel_mark_dirty(hub, channel, channel->pass_to + 1);
}

static void
flush_channels(struct hub *hub, struct budget *budget)
{
	struct list *node;

	while (!spent(budget) && (node = list_first(&hub->dirty)))
		pass(hub, LIST_ENTRY(node, struct channel, dirty), budget);
}

/* Where it belongs, that is live or in some line or none. */
static void
put_back(struct hub *hub, struct consumer *consumer, enum visited visited)
{
	if (visited == VISITED_LIVE)
		channel_unpark(consumer->channel, consumer);
	else
		wait_in_line(hub, consumer, visited);
}

/* While anything may be built: who still lacks some then stays first. */
static void
flush_unbuilt(struct hub *hub, struct budget *budget)
{
	struct list *node;

	while (!spent(budget) && budget->build > 0 &&
	       (node = list_first(&hub->unbuilt))) {
		struct consumer *consumer =
		    LIST_ENTRY(node, struct consumer, pending);
		enum visited visited;

		list_remove(node);
		visited = visit(hub, consumer, budget);
		if (visited == VISITED_UNBUILT)
			list_prepend(&hub->unbuilt, node);
		else
			put_back(hub, consumer, visited);
	}
}

/*
 * Up to and with the one that was last in line when the flush began;
 * *last is NULL when that one has been visited.
 */
static void
flush_pending(struct hub *hub, struct list **last, struct budget *budget)
{
	flush_unbuilt(hub, budget);
	while (*last && !spent(budget)) {
		struct list *node = list_first(&hub->pending);
		struct consumer *consumer =
		    LIST_ENTRY(node, struct consumer, pending);

		if (node == *last)
			*last = NULL;
		list_remove(node);
		put_back(hub, consumer, visit(hub, consumer, budget));
	}
}

static void
flush_line(
    struct hub *hub, bool pending, struct list **last, struct budget *budget)
{
	if (pending)
		flush_pending(hub, last, budget);
	else
		flush_channels(hub, budget);
}

/* Half of it, rounded up, is taken out of the budget. */
static struct budget
take_half(struct budget *budget)
{
	struct budget half = {
		(budget->visits + 1) / 2,
		(budget->bytes + 1) / 2,
		(budget->build + 1) / 2,
	};

	budget->visits -= half.visits;
	budget->bytes -= half.bytes;
	budget->build -= half.build;
	return half;
}

/* Each line gets half; what one leaves the other may have. */
static void
flush_both(
    struct hub *hub, bool pending, struct list **last, struct budget *budget)
{
	struct budget half = take_half(budget);

	flush_line(hub, pending, last, &half);
	budget->visits += half.visits;
	budget->bytes += half.bytes;
	if (half.build > 0) /* overdrawn by a message is not the other's debt */
		budget->build += half.build;
	flush_line(hub, !pending, last, budget);
}

static void
copy_counts(struct hub *hub)
{
	const struct views_counts *counts = views_counts(hub->views);

	hub->counts.views_built = counts->built;
	hub->counts.views_bytes_built = counts->bytes_built;
	hub->counts.views_compressed = counts->compressed;
	hub->counts.views_evicted = counts->evicted;
}

bool
hub_flush(struct hub *hub, int64_t now_us)
{
	const struct conf_limits *limits = &hub->conf->limits;
	struct budget budget = {
		limits->flushes_per_iteration_max,
		HUB_FLUSH_BYTES_MAX,
		limits->view_build_bytes_per_iteration_max,
	};
	struct list *last = NULL;
	bool pending = hub->pending_first;

	(void)now_us; /* nothing here depends on time yet */
	if (!hub_flush_wanted(hub))
		return false;
	hub->counts.flushes++;
	views_begin(hub->views, (uint64_t)limits->views_bytes_max);
	if (!list_empty(&hub->pending))
		last = hub->pending.prev;
	if (!list_empty(&hub->dirty) && (last || !list_empty(&hub->unbuilt)))
		flush_both(hub, pending, &last, &budget);
	flush_line(hub, pending, &last, &budget);
	flush_line(hub, !pending, &last, &budget);

	if (last || !list_empty(&hub->dirty)) {
		assert(spent(&budget));
		hub->counts.flushes_cut++;
		hub->pending_first = !pending;
	}
	hub->counts.views_cut += !list_empty(&hub->unbuilt);
	copy_counts(hub);
	return hub_flush_wanted(hub);
}

bool
hub_flush_wanted(const struct hub *hub)
{
	return !list_empty(&hub->dirty) || !list_empty(&hub->pending) ||
	       !list_empty(&hub->unbuilt);
}

void
hub_feed_starved(struct hub *hub)
{
	struct list *node;

	while ((node = list_first(&hub->starved))) {
		list_remove(node);
		list_append(&hub->pending, node);
	}
}
