/*
 * feeds: the set of feeds; each supervises itself.
 *
 * Stopping asks all of them at once and waits for the slowest.  done() comes
 * from a call of its own, so that it may free us; where there is no memory
 * for one it is called last thing by whoever noticed the end.
 *
 * Another configuration: feeds that are in both stay as they are, with the
 * configuration they began with.  Others retire, and are freed by a sweep
 * after their end; new ones are in the set at once and begin when nobody who
 * retires has their name or their channel any more.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/feed/feed_internal.h"
#include "daemon/feed/hooks.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

struct feeds {
	struct feed_host host;
	struct list feeds;
	es_call *sweep;
	void (*done)(void *arg);
	void *done_arg;
	bool stopping; /* every feed has been asked */
};

static const struct feed_type *const feed_types[CONF_FEED_KINDS] = {
	[CONF_COMMAND] = &command_type,
	[CONF_FILE] = &file_type,
	[CONF_SOCKET] = &socket_type,
	[CONF_UPSTREAM] = &upstream_type,
};

static struct feed *
feed_of(struct list *node)
{
	return LIST_ENTRY(node, struct feed, node);
}

static uint64_t
feeds_random(void)
{
	uint64_t seed;

	/* It spreads delays, it keeps no secret. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t)clock_wall_us();
	return seed;
}

/*
 * An ignored SIGCHLD, inherited from whoever started us, would take dead
 * children away before command.c has signalled their groups.
 */
static void
feeds_keep_the_dead(void)
{
	struct sigaction action;

	if (sigaction(SIGCHLD, NULL, &action) < 0)
		return;
	if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT))
		return;
	action = (struct sigaction){ .sa_handler = SIG_DFL };
	(void)sigaction(SIGCHLD, &action, NULL); /* a valid number: works */
}

static bool
feed_is_over(const struct feed *feed)
{
	return feed->state == FEED_STOPPED || feed->state == FEED_FINISHED;
}

/* A retiring one stands in its way. */
static bool
feed_is_hindered(struct feeds *feeds, const struct feed *feed)
{
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		const struct feed *other = feed_of(node);

		if (other->retiring &&
		    (strcmp(other->conf->channel, feed->conf->channel) == 0 ||
			(other->type == feed->type &&
			    strcmp(other->conf->name, feed->conf->name) == 0)))
			return true;
	}
	return false;
}

/* Does its channel have consumers? */
static bool
feeds_is_wanted(struct feeds *feeds, const struct feed *feed)
{
	const char *channel = feed->conf->channel;
	struct hub_channel_stats stats;

	return hub_find(feeds->host.options.hub, channel, strlen(channel),
		   clock_wall_us(), &stats) == 0 &&
	       stats.consumers > 0;
}

static void
feeds_begin(struct feeds *feeds)
{
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (feed->begun || feed->retiring ||
		    feed_is_hindered(feeds, feed))
			continue;
		feed->begun = true;
		if (feed->type->wanted)
			feed->type->wanted(feed, feeds_is_wanted(feeds, feed));
		feed->type->start(feed);
	}
}

static bool
feeds_are_over(struct feeds *feeds)
{
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	if (!feed_is_over(feed_of(node)))
		return false;
	return true;
}

/* Frees who has retired, lets others begin, and notices the end of all. */
static void
feeds_sweep(struct feeds *feeds)
{
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (feed->retiring && feed_is_over(feed))
			feed->type->free(feed);
	}
	if (!feeds->done)
		feeds_begin(feeds);
	if (!feeds->stopping || !feeds_are_over(feeds))
		return;
	feeds->stopping = false; /* once */
	feeds->done(feeds->done_arg); /* last: may free us */
}

static void
feeds_on_sweep(void *arg)
{
	struct feeds *feeds = arg;

	es_loop_assert(feeds->host.options.net);
	es_call_unref(feeds->sweep);
	feeds->sweep = NULL;
	feeds_sweep(feeds);
}

/* false: no memory for a call. */
static bool
feeds_sweep_later(struct feeds *feeds)
{
	if (feeds->sweep)
		return true;
	return es_call_soon(feeds->host.options.net, "feeds sweep",
		   feeds_on_sweep, feeds, NULL, &feeds->sweep) == 0;
}

/* Tried twice: what has ended is not heard of again. */
static void
feeds_on_stopped(struct feed *feed, void *arg)
{
	struct feeds *feeds = arg;

	assert(feed_is_over(feed));
	if (!feeds_sweep_later(feeds) && !feeds_sweep_later(feeds) &&
	    feeds->stopping && feeds_are_over(feeds)) {
		feeds->stopping = false;
		feeds->done(feeds->done_arg);
	}
}

/* Adds what conf has and the set has not. */
static int
feeds_add(struct feeds *feeds, struct conf *conf, struct list *added)
{
	const struct conf_feed *wanted;
	struct feed *feed;
	size_t i, n;

	for (i = 0; i < CONF_FEED_KINDS; i++)
		for (n = 0; (wanted = conf_feed_at(conf, i, n)); n++) {
			bool there = false;

			LIST_EACH_SAFE(node, next, &feeds->feeds)
			{
				feed = feed_of(node);
				if (!feed->retiring &&
				    feed->type == feed_types[i] &&
				    conf_feed_equal(i, feed->conf, wanted))
					there = true;
			}
			if (there)
				continue;
			if (feed_types[i]->new (
				wanted, conf, &feeds->host, &feed) < 0)
				return -ENOMEM;
			list_append(added, &feed->node);
		}
	return 0;
}

static void
feeds_free_list(struct list *list)
{
	struct list *node;

	while ((node = list_first(list)))
		feed_of(node)->type->free(feed_of(node));
}

static bool
feed_is_in(const struct feed *feed, const struct conf *conf)
{
	const struct conf_feed *other;
	size_t i, n;

	for (i = 0; i < CONF_FEED_KINDS; i++)
		for (n = 0; feed->type == feed_types[i] &&
			    (other = conf_feed_at(conf, i, n));
		     n++)
			if (conf_feed_equal(i, feed->conf, other))
				return true;
	return false;
}

static void
feed_retire(struct feed *feed) LOOP_THREAD
{
	feed->retiring = true;
	if (feed->begun && !feed_is_over(feed))
		feed->type->stop(feed);
	else
		feed_set_ended(feed, FEED_STOPPED);
}

int
feeds_apply(struct feeds *feeds, struct conf *conf)
{
	struct list added, *first;

	assert(!feeds->done);
	list_init(&added);
	if (!feeds_sweep_later(feeds) || feeds_add(feeds, conf, &added) < 0) {
		feeds_free_list(&added);
		return -ENOMEM;
	}
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (!feed->retiring && !feed_is_in(feed, conf))
			feed_retire(feed);
	}
	while ((first = list_first(&added))) {
		list_remove(first);
		list_append(&feeds->feeds, first);
	}
	return 0;
}

static void
feeds_on_interest(const char *channel, size_t len, bool wanted, void *arg)
{
	struct feeds *feeds = arg;

	es_loop_assert(feeds->host.options.net);
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (feed->type->wanted && strlen(feed->conf->channel) == len &&
		    memcmp(feed->conf->channel, channel, len) == 0)
			feed->type->wanted(feed, wanted);
	}
}

int
feeds_start(struct conf *conf, const struct feeds_options *options,
    struct feeds **ret_feeds)
{
	struct feeds *feeds = memory_zalloc(sizeof(*feeds));

	if (!feeds)
		return -ENOMEM;
	list_init(&feeds->feeds);
	feeds->host = (struct feed_host){
		.options = *options,
		.random = feeds_random(),
		.stopped = feeds_on_stopped,
		.arg = feeds,
	};
	if (feeds_add(feeds, conf, &feeds->feeds) < 0) {
		feeds_free(feeds);
		return -ENOMEM;
	}
	feeds_keep_the_dead();
	hub_set_interest(options->hub, feeds_on_interest, feeds);
	feeds_begin(feeds);
	*ret_feeds = feeds;
	return 0;
}

void
feeds_go_on(struct feeds *feeds, const char *upstream)
{
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (feed->type == &upstream_type &&
		    strcmp(feed->conf->name, upstream) == 0)
			upstream_go_on(feed);
	}
}

void
feeds_stop(struct feeds *feeds, void (*done)(void *arg), void *arg)
{
	assert(done);
	assert(!feeds->done);
	feeds->done = done;
	feeds->done_arg = arg;
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (feed->begun && !feed_is_over(feed) && !feed->stop)
			feed->type->stop(feed);
		else if (!feed->begun)
			feed->state = FEED_STOPPED;
	}
	feeds->stopping = true;
	if (feeds_are_over(feeds) && !feeds_sweep_later(feeds))
		feeds_sweep(feeds); /* last: may free us */
}

void
feeds_hurry(struct feeds *feeds)
{
	assert(feeds->done);
	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		struct feed *feed = feed_of(node);

		if (feed->type->hurry && !feed_is_over(feed))
			feed->type->hurry(feed);
	}
}

void
feeds_free(struct feeds *feeds)
{
	if (!feeds)
		return;
	es_call_forget(&feeds->sweep);
	hub_set_interest(feeds->host.options.hub, NULL, NULL);
	feeds_free_list(&feeds->feeds);
	memory_free(feeds);
}

void
feeds_each(struct feeds *feeds,
    void (*fn)(const struct feed_stats *stats, void *arg), void *arg)
{
	struct feed_stats stats;

	LIST_EACH_SAFE(node, next, &feeds->feeds)
	{
		const struct feed *feed = feed_of(node);

		if (feed->retiring)
			continue;
		feed->type->get_stats(feed, &stats);
		fn(&stats, arg);
	}
}
