/*
 * Channels: found by name, made on first use; and the parts of their array of
 * consumers.
 *
 * The table is open addressing with linear probing, at most half full.  Names
 * come from outside and make channels, so the hash is keyed (SipHash-1-3):
 * with a plain one, names could be chosen that all fall into one place.
 *
 * - No memory at any step: what was made is undone, the channel does not
 *   exist.
 * - An array of consumers that cannot be made smaller stays as it is.
 */

#include "daemon/hub/hub_internal.h"

#include "daemon/base/memory.h"
#include "proto/channel.h"

#include <errno.h>
#include <string.h>

#define TABLE_MIN 64u
#define CONSUMERS_MIN 4u

uint64_t
hub_random(struct hub *hub)
{
	/* splitmix64: a bijection of a counter, so no number comes twice. */
	uint64_t x = hub->epoch_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t
rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void
sip_round(uint64_t v[static 4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static uint64_t
name_hash(const struct hub *hub, const char *name, size_t len)
{
	uint64_t v[4] = {
		hub->hash_key[0] ^ UINT64_C(0x736f6d6570736575),
		hub->hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
		hub->hash_key[0] ^ UINT64_C(0x6c7967656e657261),
		hub->hash_key[1] ^ UINT64_C(0x7465646279746573),
	};
	size_t at = 0;

	assert(len <= CHANNEL_NAME_MAX);
	/* The last word holds what is left and the length. */
	for (bool end = false; !end; at += sizeof(uint64_t)) {
		uint64_t word = 0;

		end = len - at < sizeof(word);
		memcpy(&word, name + at, end ? len - at : sizeof(word));
		if (end)
			word |= (uint64_t)len << 56;
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Where that name is or would be.  The table has a free place. */
static uint32_t
table_find(const struct hub *hub, uint64_t hash, const char *name, size_t len)
{
	uint32_t mask = hub->table_size - 1;
	uint32_t at = (uint32_t)hash & mask;

	for (; hub->table[at] != 0; at = (at + 1) & mask) {
		const struct channel *channel =
		    hub->channels[hub->table[at] - 1];

		if (channel->hash == hash && channel->name_len == len &&
		    memcmp(channel->name, name, len) == 0)
			break;
	}
	return at;
}

/* What stands behind it and could not stand nearer its place moves up. */
static void
table_remove(struct hub *hub, uint32_t at)
{
	uint32_t mask = hub->table_size - 1;

	assert(hub->table[at] != 0);
	for (uint32_t i = (at + 1) & mask; hub->table[i] != 0;
	     i = (i + 1) & mask) {
		const struct channel *channel =
		    hub->channels[hub->table[i] - 1];
		uint32_t home = (uint32_t)channel->hash & mask;

		if (((i - home) & mask) < ((i - at) & mask))
			continue; /* its place is behind the hole */
		hub->table[at] = hub->table[i];
		at = i;
	}
	hub->table[at] = 0;
}

/* Twice the size, everything entered anew. */
static int
table_grow(struct hub *hub)
{
	uint32_t size = hub->table_size > 0 ? hub->table_size * 2 : TABLE_MIN;
	uint32_t *table = memory_zalloc(size * sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < hub->channel_count; i++) {
		uint32_t at = (uint32_t)hub->channels[i]->hash & (size - 1);

		while (table[at] != 0)
			at = (at + 1) & (size - 1);
		table[at] = i + 1;
	}
	memory_free(hub->table);
	hub->table = table;
	hub->table_size = size;
	return 0;
}

static int
reserve_channel(struct hub *hub)
{
	uint32_t room =
	    hub->channel_room > 0 ? hub->channel_room * 2 : TABLE_MIN / 2;
	struct channel **channels;

	if (hub->channel_count >= hub->table_size / 2 && table_grow(hub) < 0)
		return -ENOMEM;
	if (hub->channel_count < hub->channel_room)
		return 0;
	channels = memory_realloc(hub->channels, room * sizeof(*channels));
	if (!channels)
		return -ENOMEM;
	hub->channels = channels;
	hub->channel_room = room;
	return 0;
}

static struct tape_limits
limits_of(const struct conf_channel *conf)
{
	return (struct tape_limits){
		.history_messages = conf->history_messages,
		.history_bytes = conf->history_bytes,
		.history_age_us = conf->history_age_us,
		.buffer_bytes = conf->buffer_bytes,
	};
}

void
channel_configure(const struct hub *hub, struct channel *channel)
{
	struct tape_limits limits;

	channel->conf =
	    conf_channel_for(hub->conf, channel->name, channel->name_len);
	limits = limits_of(channel->conf);
	tape_set_limits(channel->tape, &limits);
}

static int
channel_new(struct hub *hub, const char *name, size_t len, uint64_t hash,
    struct channel **ret_channel)
{
	const struct conf_channel *conf =
	    conf_channel_for(hub->conf, name, len);
	const struct tape_limits limits = limits_of(conf);
	struct channel *channel = memory_alloc(sizeof(*channel) + len + 1);

	if (!channel)
		return -ENOMEM;
	*channel = (struct channel){
		.conf = conf,
		.hash = hash,
		.name_len = (uint32_t)len,
	};
	memcpy(channel->name, name, len);
	channel->name[len] = '\0';
	list_init(&channel->dirty);
	if (tape_new(&limits, hub_random(hub), &channel->tape) < 0) {
		memory_free(channel);
		return -ENOMEM;
	}
	*ret_channel = channel;
	return 0;
}

struct channel *
channel_find(const struct hub *hub, const char *name, size_t len)
{
	uint32_t at;

	if (hub->table_size == 0 || !channel_name_valid(name, len))
		return NULL;
	at = hub->table[table_find(hub, name_hash(hub, name, len), name, len)];
	return at > 0 ? hub->channels[at - 1] : NULL;
}

int
channel_get(
    struct hub *hub, const char *name, size_t len, struct channel **ret_channel)
{
	struct channel *channel;
	uint64_t hash;
	uint32_t at;
	int rc;

	if (!channel_name_valid(name, len))
		return -EINVAL;
	hash = name_hash(hub, name, len);
	if (hub->table_size > 0) {
		at = table_find(hub, hash, name, len);
		if (hub->table[at] != 0) {
			*ret_channel = hub->channels[hub->table[at] - 1];
			return 0;
		}
	}
	if (hub->channel_count >= hub->conf->limits.channels_max) {
		hub->counts.refused_channels++;
		return -ENFILE;
	}
	rc = reserve_channel(hub);
	if (rc == 0)
		rc = channel_new(hub, name, len, hash, &channel);
	if (rc < 0)
		return rc;
	at = table_find(hub, hash, name, len);
	assert(hub->table[at] == 0);
	hub->channels[hub->channel_count++] = channel;
	hub->table[at] = hub->channel_count;
	*ret_channel = channel;
	return 0;
}

void
channel_free(struct channel *channel)
{
	assert(channel->count == 0);
	assert(list_empty(&channel->dirty));
	tape_free(channel->tape);
	memory_free(channel->consumers);
	memory_free(channel);
}

bool
channel_expired(struct channel *channel, int64_t now_us)
{
	int64_t expiry_us = channel->conf->idle_expiry_us;

	/* A clock that was set back does not keep it for ever. */
	if (channel->count > 0 || channel->used || channel->used_us > now_us) {
		channel->used_us = now_us;
		channel->used = false;
		return false;
	}
	return expiry_us > 0 && now_us - channel->used_us >= expiry_us &&
	       tape_oldest(channel->tape) > tape_newest(channel->tape);
}

void
channel_vanish(struct hub *hub, uint32_t index)
{
	struct channel *channel = hub->channels[index];
	struct channel *last = hub->channels[hub->channel_count - 1];
	uint32_t at =
	    table_find(hub, channel->hash, channel->name, channel->name_len);

	assert(hub->table[at] == index + 1);
	table_remove(hub, at);
	if (last != channel) {
		at = table_find(hub, last->hash, last->name, last->name_len);
		assert(hub->table[at] == hub->channel_count);
		hub->table[at] = index + 1;
		hub->channels[index] = last;
	}
	hub->channel_count--;
	assert(hub->tapes_bytes >= tape_memory_bytes(channel->tape));
	hub->tapes_bytes -= tape_memory_bytes(channel->tape);
	channel_free(channel);
}

void
channel_trim(struct hub *hub, struct channel *channel, int64_t now_us)
{
	size_t before = tape_memory_bytes(channel->tape), after;

	tape_trim(channel->tape, now_us);
	after = tape_memory_bytes(channel->tape);
	assert(after <= before);
	assert(hub->tapes_bytes >= before - after);
	hub->tapes_bytes -= before - after;
}

static int
consumers_resize(struct channel *channel, uint32_t room)
{
	struct consumer **consumers =
	    memory_realloc(channel->consumers, room * sizeof(*consumers));

	assert(room >= channel->count);
	if (!consumers)
		return -ENOMEM;
	channel->consumers = consumers;
	channel->room = room;
	return 0;
}

int
channel_reserve(struct channel *channel)
{
	if (channel->count < channel->room)
		return 0;
	return consumers_resize(
	    channel, channel->room > 0 ? channel->room * 2 : CONSUMERS_MIN);
}

static void
exchange(struct channel *channel, uint32_t a, uint32_t b)
{
	struct consumer **consumers = channel->consumers;
	struct consumer *moved = consumers[a];

	assert(a < channel->count && b < channel->count);
	if (a == b)
		return;
	consumers[a] = consumers[b];
	consumers[b] = moved;
	consumers[a]->index = a;
	consumers[b]->index = b;
}

void
channel_park(struct channel *channel, struct consumer *consumer)
{
	assert(!channel_parked(channel, consumer));
	/* One part at a time, so that none is visited twice or not at all. */
	if (consumer->index < channel->done)
		exchange(channel, consumer->index, --channel->done);
	exchange(channel, consumer->index, --channel->live);
	assert(channel->done <= channel->live);
}

void
channel_unpark(struct channel *channel, struct consumer *consumer)
{
	assert(channel_parked(channel, consumer));
	exchange(channel, consumer->index, channel->live++);
	assert(channel->live <= channel->count);
}

void
channel_add(struct channel *channel, struct consumer *consumer)
{
	assert(channel->count < channel->room);
	consumer->index = channel->count;
	channel->consumers[channel->count++] = consumer;
}

void
channel_remove(struct channel *channel, struct consumer *consumer)
{
	if (!channel_parked(channel, consumer))
		channel_park(channel, consumer);
	exchange(channel, consumer->index, channel->count - 1);
	channel->count--;
	channel->used = true;
	if (channel->live == 0)
		channel_mark_clean(channel);
	if (channel->room > CONSUMERS_MIN && channel->count < channel->room / 4)
		(void)consumers_resize(channel, channel->room / 2);
}
