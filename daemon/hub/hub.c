/*
 * The hub: publish, rights and limits.
 *
 * A publish is checked whole before anything is made: intake open, length,
 * payload, name, number of channels, memory of all tapes.  Then it is one
 * append, and the channel is marked dirty once, however many messages follow
 * before the next flush.  No consumer is looked at.
 *
 * - Tapes full: what is too old goes first, here (held for consumers or not)
 *   and in as many channels as a tick does; every refused publish takes that
 *   turn further.  A sweep over all channels would make each refusal cost
 *   milliseconds.
 */

#include "daemon/hub/hub.h"
#include "daemon/hub/hub_internal.h"

#include "daemon/base/memory.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <errno.h>

int
hub_new(const struct conf *conf, uint64_t seed, const struct hub_ops *ops,
    void *arg, struct hub **ret_hub)
{
	struct hub *hub;

	assert(ops->write && ops->overrun);
	hub = memory_alloc(sizeof(*hub));
	if (!hub)
		return -ENOMEM;
	*hub = (struct hub){
		.conf = conf,
		.ops = *ops,
		.arg = arg,
		.epoch_state = seed,
	};
	list_init(&hub->dirty);
	list_init(&hub->pending);
	list_init(&hub->unbuilt);
	list_init(&hub->starved);
	if (views_new(&hub->views) < 0) {
		memory_free(hub);
		return -ENOMEM;
	}
	hub->hash_key[0] = hub_random(hub);
	hub->hash_key[1] = hub_random(hub);
	*ret_hub = hub;
	return 0;
}

void
hub_free(struct hub *hub)
{
	if (!hub)
		return;
	assert(list_empty(&hub->dirty) && list_empty(&hub->pending));
	assert(list_empty(&hub->unbuilt) && list_empty(&hub->starved));
	for (uint32_t i = 0; i < hub->channel_count; i++)
		channel_free(hub->channels[i]);
	views_free(hub->views);
	memory_free(hub->channels);
	memory_free(hub->table);
	memory_free(hub);
}

void
hub_watch(struct hub *hub, hub_news_fn fn, void *arg)
{
	assert(hub->news == NULL);
	hub->news = fn;
	hub->news_arg = arg;
}

void
hub_ask_watcher(struct hub *hub)
{
	assert(hub->news != NULL);
	for (uint32_t i = 0; i < hub->channel_count; i++) {
		struct channel *channel = hub->channels[i];
		void *token = channel->token;

		channel->token = hub->news(channel->name, channel->name_len,
		    token == HUB_NO_NEWS ? NULL : token, hub->news_arg);
	}
}

void
hub_apply(struct hub *hub, const struct conf *conf)
{
	hub->conf = conf;
	for (uint32_t i = 0; i < hub->channel_count; i++)
		channel_configure(hub, hub->channels[i]);
}

bool
identity_may(const struct identity *who, enum conf_rights right,
    const char *channel, size_t len)
{
	return (who->rights & (unsigned)right) != 0 ||
	       token_may(who->token, right, channel, len);
}

bool
hub_may(struct hub *hub, const struct identity *who, enum conf_rights right,
    const char *channel, size_t len)
{
	if (identity_may(who, right, channel, len))
		return true;
	hub->counts.refused_rights++;
	return false;
}

static int
check_payload(const struct hub_message *message)
{
	if (message->checked)
		return 0;
	switch (message->kind) {
	case MESSAGE_TEXT:
		return utf8_valid(message->payload, message->len) ? 0 : -EILSEQ;
	case MESSAGE_JSON:
		/* Too deep is no JSON for us either. */
		return json_check(message->payload, message->len, NULL) < 0
			   ? -EBADMSG
			   : 0;
	case MESSAGE_BINARY:
		return 0;
	}
	assert(!"a kind of message");
	return -EBADMSG;
}

/*
 * The next channels, all in turn.  expire: those that are idle vanish, the
 * last of the array takes the place of one that did.
 */
static void
trim_turn(struct hub *hub, int64_t now_us, bool expire)
{
	uint32_t count = hub->channel_count;

	if (count > HUB_TICK_CHANNELS_MAX)
		count = HUB_TICK_CHANNELS_MAX;
	for (; count > 0; count--) {
		struct channel *channel;

		if (hub->tick_next >= hub->channel_count)
			hub->tick_next = 0;
		channel = hub->channels[hub->tick_next];
		channel_trim(hub, channel, now_us);
		if (expire && channel_expired(channel, now_us)) {
			channel_vanish(hub, hub->tick_next);
			hub->counts.channels_expired++;
		} else {
			hub->tick_next++;
		}
	}
}

static bool
tapes_full(const struct hub *hub, const struct channel *channel, size_t len)
{
	size_t growth = tape_growth_bytes(channel->tape, len);

	return hub->tapes_bytes + growth >
	       (uint64_t)hub->conf->limits.tapes_bytes_max;
}

static int64_t
append(struct hub *hub, struct channel *channel,
    const struct hub_message *message, int64_t now_us)
{
	const struct message_meta meta = { message->kind, now_us };
	size_t before;
	int64_t offset;

	if (tapes_full(hub, channel, message->len)) {
		tape_hold(channel->tape, TAPE_HOLD_NONE);
		channel_trim(hub, channel, now_us);
		trim_turn(hub, now_us, false);
		if (tapes_full(hub, channel, message->len)) {
			hub->counts.refused_tapes_bytes++;
			return -ENOBUFS;
		}
	}
	before = tape_memory_bytes(channel->tape);
	offset =
	    tape_append(channel->tape, &meta, message->payload, message->len);
	hub->tapes_bytes += tape_memory_bytes(channel->tape);
	assert(hub->tapes_bytes >= before);
	hub->tapes_bytes -= before;
	return offset;
}

int64_t
hub_publish(struct hub *hub, const char *name, size_t len,
    enum hub_origin origin, const struct hub_message *message, int64_t now_us,
    struct position *ret_position)
{
	struct channel *channel;
	int64_t offset;
	int rc;

	if (hub->closing && origin == HUB_OUTSIDE) {
		hub->counts.refused_closing++;
		return -ESHUTDOWN;
	}
	if (message->len > (uint64_t)hub->conf->limits.message_bytes_max) {
		hub->counts.refused_message_bytes++;
		return -EMSGSIZE;
	}
	rc = check_payload(message);
	if (rc < 0) {
		hub->counts.refused_payload++;
		return rc;
	}
	rc = channel_get(hub, name, len, &channel);
	if (rc < 0)
		return rc;
	if (hub->gate != NULL) {
		rc = gate_pass(hub, channel, message, now_us);
		if (rc < 0)
			return rc;
	}
	offset = append(hub, channel, message, now_us);
	if (offset < 0)
		return offset;
	channel_mark_dirty(hub, channel, offset);
	channel->used = true;
	channel->messages_in++;
	channel->bytes_in += message->len;
	hub->counts.messages_in++;
	hub->counts.bytes_in += message->len;
	if (ret_position) {
		ret_position->epoch = tape_epoch(channel->tape);
		ret_position->offset = offset;
	}
	if (hub->news && channel->token != HUB_NO_NEWS)
		channel->token = hub->news(channel->name, channel->name_len,
		    channel->token, hub->news_arg);
	return offset;
}

void
hub_close_intake(struct hub *hub)
{
	hub->closing = true;
}

void
hub_tick(struct hub *hub, int64_t now_us)
{
	hub_feed_starved(hub);
	trim_turn(hub, now_us, true);
}
