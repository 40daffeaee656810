/*
 * limit: 120
 * The hub beside a model, in random scripts: connects, resumes at any offset,
 * disconnects at any byte, blocked sockets, partly taken spans, broken ones,
 * overruns under every policy, and budgets so small that nearly every flush is
 * cut.  After each step hub_internal.h's picture of the array must hold.  The
 * seed of a failing script is printed.
 */

#include "daemon/hub/hub_internal.h"
#include "tests/lib/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define KIB INT64_C(1024)
#define CONSUMERS 24
#define SCRIPTS 150
#define STEPS 800

/* hub_internal.h's picture of the array holds for every channel. */
static void
check_invariants(const struct peers *f)
{
	uint32_t consumers = 0;

	for (uint32_t i = 0; i < f->hub->channel_count; i++) {
		const struct channel *channel = f->hub->channels[i];
		bool clean = list_empty(&channel->dirty);

		assert_true(channel->done <= channel->live);
		assert_true(channel->live <= channel->count);
		if (clean)
			assert_int_equal(channel->done, 0);
		for (uint32_t j = 0; j < channel->count; j++) {
			const struct consumer *c = channel->consumers[j];
			bool waits = !list_empty(&c->pending);

			assert_int_equal(c->index, j);
			assert_int_equal(waits + (c->blocked || c->ended),
			    j >= channel->live);
			if (j < channel->live && clean)
				assert_true(
				    cursor_at_end(channel->tape, &c->cursor));
		}
		consumers += channel->count;
	}
	for (int i = 0; i < PEERS_MAX; i++)
		consumers -= f->peers[i].open;
	assert_int_equal(consumers, 0);
}

static void
random_connect(struct peers *f, struct peer *peer)
{
	int channel = (int)peers_pick(f, PEERS_CHANNELS);
	struct from from = { .kind = (enum from_kind)peers_pick(f, 4) };

	if (from.kind == FROM_LAST)
		from.count = peers_pick(f, 50);
	if (from.kind == FROM_POSITION && f->newest[channel] == 0)
		from.kind = FROM_LIVE;
	if (from.kind == FROM_POSITION) {
		from.position.epoch = f->epochs[channel];
		from.position.offset = peers_pick(f, f->newest[channel] + 1);
		f->resumed++;
	}
	peers_connect(f, peer, channel, &from);
}

static void
random_step(struct peers *f)
{
	struct peer *peer = &f->peers[peers_pick(f, CONSUMERS)];
	int64_t what = peers_pick(f, 20);
	int channel = (int)peers_pick(f, PEERS_CHANNELS);

	if (what < 6)
		peers_publish(f, channel, 20 + (size_t)peers_pick(f, 300));
	else if (what < 8)
		peers_publish(f, channel, 20 + (size_t)peers_pick(f, 60000));
	else if (what < 13)
		(void)peers_flush(f);
	else if (what < 16 && peer->open && peer->blocked)
		peers_writable(f, peer);
	else if (what < 18 && !peer->open)
		random_connect(f, peer);
	else if (peer->open && (peers_pick(f, 12) == 0 || peer->broken))
		peers_disconnect(f, peer);
	else if (what == 19)
		hub_tick(f->hub, PEERS_NOW_US);
}

/* All sockets take all: everybody who is left has everything. */
static void
settle(struct peers *f)
{
	int flushes = 0;

	f->nasty = false;
	for (int i = 0; i < CONSUMERS; i++)
		if (f->peers[i].open)
			peers_writable(f, &f->peers[i]);
	while (hub_flush_wanted(f->hub)) {
		assert_in_range(flushes++, 0, 100000);
		(void)peers_flush(f);
		check_invariants(f);
	}
	for (int i = 0; i < CONSUMERS; i++) {
		struct peer *peer = &f->peers[i];

		if (!peer->open || peer->broken || peer->closed)
			continue;
		assert_int_equal(peer->expected, f->newest[peer->channel] + 1);
		assert_true(hub_consumer_at_end(&peer->consumer));
		assert_false(peer->inside);
	}
}

static void
check_counts(const struct peers *f)
{
	const struct hub_counts *counts = hub_counts(f->hub);

	assert_int_equal(counts->messages_out, f->received);
	assert_int_equal(counts->bytes_out, f->bytes);
	assert_int_equal(counts->overruns, f->overruns);
	assert_int_equal(counts->messages_skipped, f->skipped);
}

static void
order_without_loss_repetition_or_silent_gap(void **state)
{
	static const int64_t budgets[] = { 1, 2, 3, 7, 4096 };
	uint64_t sum[4] = { 0 };

	(void)state;
	for (int seed = 1; seed <= SCRIPTS; seed++) {
		struct peers *f;
		void *one;

		print_message("seed %d\n", seed);
		assert_int_equal(peers_setup(&one), 0);
		f = one;
		f->random[0] = (unsigned short)seed;
		f->nasty = true;
		f->conf.limits.flushes_per_iteration_max =
		    budgets[peers_pick(f, 5)];
		f->conf.limits.span_bytes_max =
		    16 * KIB + 64 + peers_pick(f, 50000);
		for (int i = 0; i < PEERS_CHANNELS; i++) {
			f->channels[i].overrun = (enum conf_overrun)(i % 3);
			f->channels[i].buffer_bytes = peers_pick(f, 300000);
			f->channels[i].history_messages = peers_pick(f, 300);
		}
		for (int step = 0; step < STEPS; step++) {
			random_step(f);
			check_invariants(f);
		}
		settle(f);
		check_counts(f);
		sum[0] += f->received;
		sum[1] += f->overruns;
		sum[2] += f->cut_inside;
		sum[3] += f->resumed;
		assert_int_equal(peers_teardown(&one), 0);
	}
	print_message("%u received, %u overruns (%u inside), %u resumed\n",
	    (unsigned)sum[0], (unsigned)sum[1], (unsigned)sum[2],
	    (unsigned)sum[3]);
	/* The scripts go where it hurts. */
	assert_true(sum[0] > SCRIPTS * 100 && sum[1] > SCRIPTS);
	assert_true(sum[2] > 0 && sum[3] > SCRIPTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_without_loss_repetition_or_silent_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
