/*
 * The receiving end of a hub: parses frames, knows what must come next.
 */

#include "tests/lib/peers.h"

#include "daemon/hub/hub.h"
#include "proto/frame.h"

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

/* A message says at its start what it is. */
static void
receive(struct peers *peers, struct peer *peer, const uint8_t *data, size_t len)
{
	while (len > 0) {
		struct frame_header header;
		char head[32];
		size_t bytes;

		assert_true(frame_get_header(data, len, &header) > 0);
		bytes = header.header_bytes + (size_t)header.payload_bytes;
		assert_true(bytes <= len); /* whole frames only */
		assert_int_equal(
		    header.opcode == FRAME_CONTINUATION, peer->inside);
		if (!peer->inside) {
			(void)snprintf(head, sizeof(head), "%s:%-12lld",
			    names[peer->channel], (long long)peer->expected);
			assert_memory_equal(
			    data + header.header_bytes, head, strlen(head));
		}
		peer->inside = !header.fin;
		if (header.fin) {
			peer->expected++;
			peers->received++;
		}
		data += bytes;
		len -= bytes;
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
		take = frame_whole_bytes(
		    span->data, span->len, (size_t)peers_pick(peers, 40000));
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
	assert_true(to <= peers->newest[peer->channel]);
	if (policy == CONF_OVERRUN_LATEST)
		assert_int_equal(to, peers->newest[peer->channel]);
	assert_int_equal(inside, peer->inside);
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
	if (hub_new(&peers->conf, 42, &ops, peers, &peers->hub) < 0)
		return -1;
	*state = peers;
	return 0;
}

void
peers_disconnect(struct peers *peers, struct peer *peer)
{
	hub_unsubscribe(peers->hub, &peer->consumer);
	memset(peer, 0, sizeof(*peer));
}

int
peers_teardown(void **state)
{
	struct peers *peers = *state;

	for (int i = 0; i < PEERS_MAX; i++)
		peers_disconnect(peers, &peers->peers[i]);
	hub_free(peers->hub);
	free(peers);
	return 0;
}

void
peers_publish(struct peers *peers, int channel, size_t len)
{
	static char payload[PEERS_MESSAGE_MAX];
	const struct hub_message message = { MESSAGE_TEXT, payload, len, true };
	int head = snprintf(payload, sizeof(payload), "%s:%-12lld",
	    names[channel], (long long)peers->newest[channel] + 1);
	struct position position;
	int64_t offset;

	assert_in_range(len, PEERS_MESSAGE_MIN, PEERS_MESSAGE_MAX);
	payload[head] = 'x';
	offset = hub_publish(peers->hub, names[channel], 1, HUB_INSIDE,
	    &message, PEERS_NOW_US, &position);
	assert_int_equal(offset, ++peers->newest[channel]);
	peers->epochs[channel] = position.epoch;
}

void
peers_connect(struct peers *peers, struct peer *peer, int channel,
    const struct from *from)
{
	struct hub_answer answer;

	memset(peer, 0, sizeof(*peer));
	assert_int_equal(
	    hub_subscribe(peers->hub, &peer->consumer, names[channel], 1,
		VIEW_RAW, from, PEERS_NOW_US, &answer),
	    0);
	peer->open = true;
	peer->channel = channel;
	peer->expected = answer.position.offset + 1;
	if (from->kind == FROM_LIVE)
		assert_int_equal(peer->expected, peers->newest[channel] + 1);
	if (from->kind == FROM_POSITION && answer.recovered)
		assert_int_equal(peer->expected, from->position.offset + 1);
	if (from->kind == FROM_POSITION && !answer.recovered &&
	    from->position.epoch == peers->epochs[channel]) {
		assert_int_equal(answer.gap_from, from->position.offset + 1);
		assert_int_equal(answer.gap_to, peer->expected - 1);
	}
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
	peers->taken_now = peers->writes_now = 0;
	return hub_flush(peers->hub, PEERS_NOW_US);
}
