/*
 * Consumers of a hub: each knows what must come next.
 */

#include "tests/lib/peers.h"

#include "daemon/base/memory.h"
#include "daemon/hub/hub.h"
#include "tests/lib/payload.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KIB INT64_C(1024)

static char *const patterns[PEERS_CHANNELS] = { "a", "b", "c", "**" };
static const char *const names[PEERS_CHANNELS] = { "a", "b", "c", "d" };

int64_t
peers_pick(struct peers *peers, int64_t below)
{
	return nrand48(peers->random) % below;
}

/* The payload that a message had; made again once for all consumers. */
static const struct buffer *
expect(struct peers *peers, int channel, int64_t offset, bool lines)
{
	const struct peers_message *message;

	assert_in_range(offset, 1, peers->of[channel].newest);
	message = &peers->of[channel].messages[offset];
	if (peers->expected_channel != channel ||
	    peers->expected_offset != offset) {
		payload_make(&peers->expected, message->kind, names[channel],
		    offset, message->len);
		buffer_clear(&peers->expected_lines);
		peers->expected_channel = channel;
		peers->expected_offset = offset;
	}
	if (!lines)
		return &peers->expected;
	if (peers->expected_lines.len == 0) {
		assert_int_equal(
		    buffer_append(&peers->expected_lines, peers->expected.data,
			message->len, PEERS_MESSAGE_MAX),
		    0);
		payload_lines(&peers->expected_lines);
	}
	return &peers->expected_lines;
}

struct receiving {
	struct peers *peers;
	struct peer *peer;
};

static void
on_received(const struct received *received, void *arg)
{
	struct peers *peers = ((struct receiving *)arg)->peers;
	struct peer *peer = ((struct receiving *)arg)->peer;
	const struct peers_channel *channel = &peers->of[peer->channel];
	const struct peers_message *sent = &channel->messages[peer->expected];
	const struct message *message = &received->message;
	const struct buffer *payload =
	    expect(peers, peer->channel, peer->expected, received->lines);

	if (message->channel) {
		assert_int_equal(message->channel_len, 1);
		assert_int_equal(message->channel[0], names[peer->channel][0]);
		assert_int_equal(message->time_us / 1000, sent->time_us / 1000);
	}
	if (message->offset != 0)
		assert_int_equal(message->offset, peer->expected);
	if (message->epoch != 0)
		assert_true(message->epoch == channel->epoch);
	if (received->json_or_text)
		assert_int_not_equal(sent->kind, MESSAGE_BINARY);
	else
		assert_int_equal(message->kind, sent->kind);
	assert_int_equal(message->len, payload->len);
	assert_memory_equal(message->payload, payload->data, payload->len);
	peer->expected++;
	peers->received++;
}

/* Allocations fail in the hub, not here. */
static void
receive(struct peers *peers, struct peer *peer, const uint8_t *data, size_t len)
{
	bool failed = memory_fail_seen();

	memory_fail_nth(0);
	receiver_take(&peer->receiver, &peers->tools, data, len, on_received,
	    &(struct receiving){ peers, peer });
	if (peers->failing && !failed)
		memory_fail_nth(1 + peers_pick(peers, 6));
	if (failed) {
		peers->failing = false;
		peers->failures++;
	}
}

static int64_t
on_write(struct consumer *consumer, const struct span *span, bool *ret_blocked,
    void *arg)
{
	struct peer *peer = LIST_ENTRY(consumer, struct peer, consumer);
	struct peers *peers = arg;
	size_t take = span->len;

	assert_true(peer->open && !peer->blocked);
	assert_false(peer->broken || peer->closed);
	assert_in_range(span->len, 1, peers->conf.limits.span_bytes_max);
	*ret_blocked = peer->blocked = peer->stalled;
	if (peer->stalled)
		return 0;
	if (peers->nasty && peers_pick(peers, 60) == 0) {
		peer->broken = true;
		return -EPIPE;
	}
	if (peers->nasty && peers_pick(peers, 3) == 0) {
		take = receiver_cut(peer->receiver.view, span->data, span->len,
		    (size_t)peers_pick(peers, 40000));
		*ret_blocked = peers_pick(peers, 4) != 0;
		peer->blocked = *ret_blocked;
	}
	receive(peers, peer, span->data, take);
	peer->writes++;
	peers->bytes += take;
	peers->taken_now += take;
	peers->writes_now++;
	return (int64_t)take;
}

static bool
on_overrun(struct consumer *consumer, enum conf_overrun policy, int64_t from,
    int64_t to, bool inside, void *arg)
{
	struct peer *peer = LIST_ENTRY(consumer, struct peer, consumer);
	struct peers *peers = arg;

	assert_true(peer->open && !peer->blocked);
	assert_false(peer->broken || peer->closed);
	assert_int_equal(policy, peers->channels[peer->channel].overrun);
	assert_int_equal(from, peer->expected);
	assert_true(to >= from);
	assert_true(to <= peers->of[peer->channel].newest);
	if (policy == CONF_OVERRUN_LATEST)
		assert_int_equal(to, peers->of[peer->channel].newest);
	assert_int_equal(inside, peer->receiver.inside);
	peers->overruns++;
	if (inside)
		peers->cut_inside++;
	if (inside || policy == CONF_OVERRUN_CLOSE) {
		peer->closed = true;
		return false;
	}
	peer->expected = to + 1;
	peers->skipped += (uint64_t)(to - from + 1);
	return true;
}

int
peers_setup(void **state)
{
	static const struct hub_ops ops = { on_write, on_overrun };
	struct peers *peers = calloc(1, sizeof(*peers));

	for (int i = 0; i < PEERS_CHANNELS; i++)
		peers->channels[i] =
		    (struct conf_channel){ .pattern = patterns[i],
			    .history_messages = 100000,
			    .history_bytes = 64 * 1024 * KIB,
			    .history_age_us = INT64_C(3600) * 1000000,
			    .buffer_bytes = 1024 * KIB };
	peers->conf.channels = peers->channels;
	peers->conf.channel_count = PEERS_CHANNELS;
	peers->conf.limits.channels_max = PEERS_CHANNELS;
	peers->conf.limits.tapes_bytes_max = INT64_C(1) << 32;
	peers->conf.limits.message_bytes_max = 1024 * KIB;
	peers->conf.limits.flushes_per_iteration_max = 4096;
	peers->conf.limits.span_bytes_max = 64 * KIB;
	peers->conf.limits.views_bytes_max = 64 * 1024 * KIB;
	peers->conf.limits.view_build_bytes_per_iteration_max = INT64_MAX / 2;
	peers->now_us = PEERS_NOW_US;
	peers->expected_channel = -1;
	receiver_tools_init(&peers->tools);
	if (hub_new(&peers->conf, 42, &ops, peers, &peers->hub) < 0)
		return -1;
	*state = peers;
	return 0;
}

void
peers_disconnect(struct peers *peers, struct peer *peer)
{
	if (peer->open) {
		peers->of[peer->channel].consumers--;
		peers->of[peer->channel].used_us = peers->now_us;
	}
	hub_unsubscribe(peers->hub, &peer->consumer);
	receiver_fini(&peer->receiver);
	memset(peer, 0, sizeof(*peer));
}

int
peers_teardown(void **state)
{
	struct peers *peers = *state;

	for (int i = 0; i < PEERS_MAX; i++)
		peers_disconnect(peers, &peers->peers[i]);
	assert_int_equal(hub_views_bytes(peers->hub), 0);
	hub_free(peers->hub);
	for (int i = 0; i < PEERS_CHANNELS; i++)
		free(peers->of[i].messages);
	receiver_tools_fini(&peers->tools);
	buffer_fini(&peers->expected);
	buffer_fini(&peers->expected_lines);
	free(peers);
	return 0;
}

/* The channel of that epoch; is it a new one, the old one had to go. */
static void
meet(struct peers *peers, int number, uint64_t epoch)
{
	struct peers_channel *channel = &peers->of[number];
	const struct conf_channel *conf = &peers->channels[number];

	if (channel->epoch == epoch)
		return;
	if (channel->epoch != 0) {
		assert_int_equal(channel->consumers, 0);
		assert_true(conf->idle_expiry_us > 0);
		assert_true(
		    peers->now_us - channel->used_us >= conf->idle_expiry_us);
		if (channel->newest > 0 && conf->history_messages > 0)
			assert_true(
			    peers->now_us -
				channel->messages[channel->newest].time_us >
			    conf->history_age_us);
		peers->vanished++;
	}
	channel->epoch = epoch;
	channel->newest = 0;
	if (peers->expected_channel == number)
		peers->expected_channel = -1;
}

static void
remember(struct peers *peers, int number, const struct position *position,
    enum message_kind kind, size_t len)
{
	struct peers_channel *channel = &peers->of[number];

	meet(peers, number, position->epoch);
	assert_int_equal(position->offset, ++channel->newest);
	if (channel->newest >= channel->size) {
		channel->size = channel->size * 2 + 1024;
		channel->messages = realloc(channel->messages,
		    (size_t)channel->size * sizeof(*channel->messages));
		assert_non_null(channel->messages);
	}
	channel->messages[channel->newest] =
	    (struct peers_message){ kind, len, peers->now_us };
	channel->used_us = peers->now_us;
}

static int64_t
publish(struct peers *peers, int channel, enum message_kind kind,
    int64_t offset, size_t len, struct position *ret_position)
{
	struct hub_message message = { .kind = kind };

	payload_make(&peers->expected, kind, names[channel], offset, len);
	peers->expected_channel = -1;
	message.payload = peers->expected.data;
	message.len = peers->expected.len;
	return hub_publish(peers->hub, names[channel], 1, HUB_INSIDE, &message,
	    peers->now_us, ret_position);
}

void
peers_publish_kind(
    struct peers *peers, int channel, enum message_kind kind, size_t len)
{
	struct hub_channel_stats stats;
	struct position position;
	/* The payload depends on the offset: is the channel still the same? */
	int64_t offset =
	    hub_find(peers->hub, names[channel], 1, peers->now_us, &stats) < 0
		? 1
		: stats.newest + 1;

	assert_in_range(len, PEERS_MESSAGE_MIN, PEERS_MESSAGE_MAX);
	assert_int_equal(
	    publish(peers, channel, kind, offset, len, &position), offset);
	remember(peers, channel, &position, kind, len);
}

void
peers_publish(struct peers *peers, int channel, size_t len)
{
	peers_publish_kind(peers, channel, MESSAGE_TEXT, len);
}

static void
check_answer(struct peers *peers, const struct peer *peer,
    const struct from *from, const struct hub_answer *answer)
{
	const struct peers_channel *channel = &peers->of[peer->channel];

	assert_true(answer->position.epoch == channel->epoch);
	if (from->kind != FROM_POSITION) {
		assert_true(answer->recovered);
		if (from->kind == FROM_LIVE)
			assert_int_equal(peer->expected, channel->newest + 1);
		return;
	}
	if (from->position.epoch != channel->epoch) {
		assert_false(answer->recovered);
		assert_int_equal(answer->gap_from, 0);
	} else if (answer->recovered) {
		assert_int_equal(peer->expected, from->position.offset + 1);
	} else {
		assert_int_equal(answer->gap_from, from->position.offset + 1);
		assert_int_equal(answer->gap_to, peer->expected - 1);
	}
}

void
peers_connect(struct peers *peers, struct peer *peer, int channel,
    const struct from *from)
{
	struct hub_answer answer;

	memset(peer, 0, sizeof(*peer));
	assert_int_equal(
	    hub_subscribe(peers->hub, &peer->consumer, names[channel], 1,
		peers->view, from, peers->now_us, &answer),
	    0);
	meet(peers, channel, answer.position.epoch);
	peer->open = true;
	peer->receiver.view = peers->view;
	peer->channel = channel;
	peer->expected = answer.position.offset + 1;
	peers->of[channel].consumers++;
	check_answer(peers, peer, from, &answer);
}

/* From now on its segments are long: a span ends where we say. */
void
peers_warm(struct peers *peers, int channel)
{
	for (int i = 0; i < 4500; i++)
		peers_publish(peers, channel, 124);
}

void
peers_listen(struct peers *peers, struct peer *peer, int channel)
{
	const struct from live = { .kind = FROM_LIVE };

	peers_connect(peers, peer, channel, &live);
}

void
peers_writable(struct peers *peers, struct peer *peer)
{
	peer->blocked = false;
	hub_consumer_writable(peers->hub, &peer->consumer);
}

bool
peers_flush(struct peers *peers)
{
	bool left;

	peers->taken_now = peers->writes_now = 0;
	if (peers->failing)
		memory_fail_nth(1 + peers_pick(peers, 6));
	left = hub_flush(peers->hub, peers->now_us);
	peers->failures += peers->failing && memory_fail_seen();
	peers->failing = false;
	memory_fail_nth(0);
	return left;
}
