#ifndef DAEMON_HUB_STATS_H
#define DAEMON_HUB_STATS_H

/*
 * stats: the hub in numbers, for /metrics, /channels and those who ask, and
 * news of what is published.
 *
 * Life     Part of the hub's door: hub.h includes it.
 * Memory   Names are lent for the time of the call.
 * Threads  Quiet, as the hub.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;
struct consumer;

/* Never reset; what happened since hub_new(). */
struct hub_counts {
	uint64_t messages_in, bytes_in, messages_out, bytes_out;
	uint64_t overruns, messages_skipped;
	uint64_t refused_rights, refused_closing, refused_channels;
	uint64_t refused_tapes_bytes, refused_message_bytes, refused_payload;
	uint64_t views_built, views_bytes_built; /* messages encoded again */
	uint64_t views_compressed; /* of those, tried to compress */
	uint64_t views_evicted; /* segments: views_bytes_max */
	uint64_t views_cut; /* view_build_bytes_per_iteration_max */
	uint64_t channels_expired; /* idle_expiry */
	uint64_t flushes, flushes_cut; /* cut: flushes_per_iteration_max */
	uint64_t spans_cut; /* visits with more to give: span_bytes_max */
};

const struct hub_counts *hub_counts(const struct hub *hub);
size_t hub_channel_count(const struct hub *hub);
uint64_t hub_memory_bytes(const struct hub *hub); /* all tapes */
uint64_t hub_views_bytes(const struct hub *hub); /* all views but the raw */

struct hub_channel_stats {
	const char *name;
	uint64_t epoch;
	int64_t oldest, newest;
	uint64_t messages_in, bytes_in;
	uint32_t consumers;
	/* Of the consumer that is furthest behind, its bytes as raw ones. */
	int64_t lag_messages_max;
	uint64_t lag_bytes_max;
	int64_t lag_us_max; /* how old the first message is that it lacks */
	uint64_t memory_bytes;
};

/* One channel's numbers.  -ENOENT. */
int hub_find(struct hub *hub, const char *channel, size_t len, int64_t now_us,
    struct hub_channel_stats *ret_stats);
void hub_each_channel(struct hub *hub, int64_t now_us,
    void (*fn)(const struct hub_channel_stats *stats, void *arg), void *arg);

/*
 * fn hears when a channel has its first consumer, and when it has lost its
 * last; one listener, NULL for none.  fn adds and removes none, and publishes
 * nothing.
 */
typedef void (*hub_interest_fn)(
    const char *channel, size_t len, bool wanted, void *arg);
void hub_set_interest(struct hub *hub, hub_interest_fn fn, void *arg);

/*
 * The same in pieces: at most count from that place on.  Returns where to go
 * on, UINT32_MAX: all done.  A channel that vanishes in between may hide
 * another one.
 */
uint32_t hub_some_channels(struct hub *hub, uint32_t from, uint32_t count,
    int64_t now_us,
    void (*fn)(const struct hub_channel_stats *stats, void *arg), void *arg);

/* What a consumer lacks; nothing when it is not subscribed. */
struct hub_lag {
	int64_t messages;
	uint64_t bytes; /* as raw ones */
	int64_t us; /* how old the first message is that it lacks */
};
struct hub_lag hub_consumer_lag_at(
    const struct consumer *consumer, int64_t now_us);

/* Every consumer of a channel; fn adds and removes none. */
void hub_each_consumer(struct hub *hub, const char *channel, size_t len,
    void (*fn)(struct consumer *consumer, void *arg), void *arg);

/*
 * Who wants to know of publishes without being a consumer: fn is called after
 * each, with the channel's token, NULL at first, and returns the token to be.
 * HUB_NO_NEWS: not of this channel, until asked again.  It must not call the
 * hub.  A channel that vanished and is made again has no token.  One watcher
 * at most.
 */
#define HUB_NO_NEWS ((void *)-1)
typedef void *(*hub_news_fn)(
    const char *channel, size_t len, void *token, void *arg);
void hub_watch(struct hub *hub, hub_news_fn fn, void *arg);
/* Asks the watcher about every channel, also where it said no before. */
void hub_ask_watcher(struct hub *hub);

#endif
