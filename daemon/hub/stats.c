/*
 * The hub's numbers.  How far behind a channel's consumers are is computed when
 * somebody asks: who keeps up is not looked at.
 */

#include "daemon/hub/hub_internal.h"

#include <errno.h>

const struct hub_counts *
hub_counts(const struct hub *hub)
{
	return &hub->counts;
}

size_t
hub_channel_count(const struct hub *hub)
{
	return hub->channel_count;
}

uint64_t
hub_memory_bytes(const struct hub *hub)
{
	return hub->tapes_bytes;
}

uint64_t
hub_views_bytes(const struct hub *hub)
{
	return views_bytes(hub->views);
}

/* The consumer that lacks most; NULL when none lacks anything. */
static const struct consumer *
furthest_behind(const struct channel *channel)
{
	const struct consumer *furthest = NULL;
	/* Between passes, live consumers lack nothing. */
	uint32_t i = list_empty(&channel->dirty) ? channel->live : 0;

	for (; i < channel->count; i++) {
		const struct consumer *consumer = channel->consumers[i];

		if (!furthest ||
		    consumer->cursor.offset < furthest->cursor.offset)
			furthest = consumer;
	}
	return furthest;
}

static void
add_lag(const struct channel *channel, int64_t now_us,
    struct hub_channel_stats *stats)
{
	const struct consumer *consumer = furthest_behind(channel);
	struct hub_lag lag;

	if (!consumer)
		return;
	lag = hub_consumer_lag_at(consumer, now_us);
	stats->lag_messages_max = lag.messages;
	stats->lag_bytes_max = lag.bytes;
	stats->lag_us_max = lag.us;
}

static void
get_stats(const struct channel *channel, int64_t now_us,
    struct hub_channel_stats *ret_stats)
{
	*ret_stats = (struct hub_channel_stats){
		.name = channel->name,
		.epoch = tape_epoch(channel->tape),
		.oldest = tape_oldest(channel->tape),
		.newest = tape_newest(channel->tape),
		.messages_in = channel->messages_in,
		.bytes_in = channel->bytes_in,
		.consumers = channel->count,
		.memory_bytes = tape_memory_bytes(channel->tape),
	};
	add_lag(channel, now_us, ret_stats);
}

int
hub_find(struct hub *hub, const char *name, size_t len, int64_t now_us,
    struct hub_channel_stats *ret_stats)
{
	const struct channel *channel = channel_find(hub, name, len);

	if (!channel)
		return -ENOENT;
	get_stats(channel, now_us, ret_stats);
	return 0;
}

void
hub_each_channel(struct hub *hub, int64_t now_us,
    void (*fn)(const struct hub_channel_stats *stats, void *arg), void *arg)
{
	for (uint32_t i = 0; i < hub->channel_count; i++) {
		struct hub_channel_stats stats;

		get_stats(hub->channels[i], now_us, &stats);
		fn(&stats, arg);
	}
}

uint32_t
hub_some_channels(struct hub *hub, uint32_t from, uint32_t count,
    int64_t now_us,
    void (*fn)(const struct hub_channel_stats *stats, void *arg), void *arg)
{
	for (; from < hub->channel_count && count > 0; from++, count--) {
		struct hub_channel_stats stats;

		get_stats(hub->channels[from], now_us, &stats);
		fn(&stats, arg);
	}
	return from < hub->channel_count ? from : UINT32_MAX;
}

void
hub_each_consumer(struct hub *hub, const char *name, size_t len,
    void (*fn)(struct consumer *consumer, void *arg), void *arg)
{
	struct channel *channel = channel_find(hub, name, len);

	for (uint32_t i = 0; channel && i < channel->count; i++)
		fn(channel->consumers[i], arg);
}
