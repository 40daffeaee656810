/*
 * limit: 240
 * The hub beside a model, in random scripts: consumers of every view, that
 * come live or resume at any offset, leave at any byte, block, take spans in
 * parts, break; overruns under every policy; channels that vanish; limits so
 * small that flushes are cut, views dropped under their readers and built
 * again; allocations that fail.  After each step hub_internal.h's picture of
 * the array and the accounts of the views must hold.  Every byte that arrives
 * is compared with what was published.  The seed of a failing script is
 * printed.
 *
 * 500 scripts, fewer where make test is not asked for or all is slow;
 * SCRIPTS=N in the environment runs N of them instead.
 */

#include "daemon/hub/hub_internal.h"
#include "daemon/tape/block.h"
#include "tests/lib/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KIB INT64_C(1024)
#define CONSUMERS 24
#define SCRIPTS 500u
#define SCRIPTS_CHECK 100u
#define SCRIPTS_SLOW 40u /* under a sanitizer, valgrind */
#define STEPS 300

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

/* Blocks and their bytes are all there is, and within the limit. */
static void
check_views(const struct peers *f)
{
	const struct views *views = f->hub->views;
	uint64_t bytes = 0, blocks = 0;

	for (struct list *node = views->blocks.next; node != &views->blocks;
	     node = node->next) {
		const struct block *block =
		    LIST_ENTRY(node, struct block, node);

		bytes += sizeof(*block) + block->out.size;
		blocks++;
	}
	assert_true(views->bytes >= bytes);
	assert_true(
	    views->bytes <= bytes + blocks * sizeof(struct segment_blocks));
	assert_true(views->bytes <= views->bytes_max || blocks <= 1);
	if (views->open == 0)
		assert_int_equal(views->bytes, 0);
	if (views->open_deflated == 0)
		assert_null(views->encoder.deflate);
	assert_int_equal(views->bytes, hub_views_bytes(f->hub));
}

static void
random_connect(struct peers *f, struct peer *peer)
{
	int channel = (int)peers_pick(f, PEERS_CHANNELS);
	struct from from = { .kind = (enum from_kind)peers_pick(f, 4) };

	if (from.kind == FROM_LAST)
		from.count = peers_pick(f, 50);
	if (from.kind == FROM_POSITION && f->of[channel].newest == 0)
		from.kind = FROM_LIVE;
	if (from.kind == FROM_POSITION) {
		from.position.epoch = f->of[channel].epoch;
		from.position.offset = peers_pick(f, f->of[channel].newest + 1);
		f->resumed++;
	}
	f->view = (enum view_kind)peers_pick(f, VIEW_KINDS);
	peers_connect(f, peer, channel, &from);
}

static void
random_flush(struct peers *f)
{
	f->failing = peers_pick(f, 5) == 0;
	(void)peers_flush(f);
}

static void
random_publish(struct peers *f, size_t len)
{
	peers_publish_kind(f, (int)peers_pick(f, PEERS_CHANNELS),
	    (enum message_kind)peers_pick(f, 3), len);
}

/* Sometimes long after everybody has left a channel. */
static void
random_tick(struct peers *f)
{
	int channel = (int)peers_pick(f, 3 * PEERS_CHANNELS);

	for (int i = 0; i < CONSUMERS; i++)
		if (f->peers[i].open && f->peers[i].channel == channel)
			peers_disconnect(f, &f->peers[i]);
	hub_tick(f->hub, f->now_us);
	f->now_us += peers_pick(f, peers_pick(f, 4) == 0 ? 20000000 : 100000);
	hub_tick(f->hub, f->now_us);
}

static void
random_step(struct peers *f)
{
	struct peer *peer = &f->peers[peers_pick(f, CONSUMERS)];
	int64_t what = peers_pick(f, 20);

	if (what < 6)
		random_publish(f, 40 + (size_t)peers_pick(f, 300));
	else if (what < 8)
		random_publish(f, 40 + (size_t)peers_pick(f, 60000));
	else if (what < 13)
		random_flush(f);
	else if (what < 16 && peer->open && peer->blocked)
		peers_writable(f, peer);
	else if (what < 18 && !peer->open)
		random_connect(f, peer);
	else if (peer->open && (peers_pick(f, 12) == 0 || peer->broken))
		peers_disconnect(f, peer);
	else if (what == 19)
		random_tick(f);
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
	hub_tick(f->hub, f->now_us);
	while (hub_flush_wanted(f->hub)) {
		assert_in_range(flushes++, 0, 100000);
		(void)peers_flush(f);
		check_invariants(f);
		check_views(f);
	}
	for (int i = 0; i < CONSUMERS; i++) {
		struct peer *peer = &f->peers[i];

		if (!peer->open || peer->broken || peer->closed)
			continue;
		assert_int_equal(
		    peer->expected, f->of[peer->channel].newest + 1);
		assert_true(hub_consumer_at_end(&peer->consumer));
		assert_false(peer->receiver.inside);
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
random_settings(struct peers *f)
{
	static const int64_t budgets[] = { 1, 2, 3, 7, 4096 };
	static const int64_t builds[] = { 1, 5000, 64 * KIB, 1024 * KIB };
	static const int64_t views[] = { 1, 40000, 300000, 64 * 1024 * KIB };
	struct conf_limits *limits = &f->conf.limits;

	limits->flushes_per_iteration_max = budgets[peers_pick(f, 5)];
	limits->span_bytes_max = 16 * KIB + 64 + peers_pick(f, 50000);
	limits->view_build_bytes_per_iteration_max = builds[peers_pick(f, 4)];
	limits->views_bytes_max = views[peers_pick(f, 4)];
	for (int i = 0; i < PEERS_CHANNELS; i++) {
		struct conf_channel *channel = &f->channels[i];

		channel->overrun = (enum conf_overrun)(i % 3);
		channel->buffer_bytes = peers_pick(f, 300000);
		channel->history_messages = peers_pick(f, 300);
		channel->history_age_us = 1 + peers_pick(f, 10000000);
		channel->idle_expiry_us = peers_pick(f, 5000000);
	}
}

struct sums {
	uint64_t received, overruns, inside, resumed, evicted, cut, vanished,
	    failures;
};

static void
run_script(unsigned short seed, struct sums *sums)
{
	const struct hub_counts *counts;
	struct peers *f;
	void *one;

	assert_int_equal(peers_setup(&one), 0);
	f = one;
	f->random[0] = seed;
	f->nasty = true;
	random_settings(f);
	for (int step = 0; step < STEPS; step++) {
		random_step(f);
		check_invariants(f);
		check_views(f);
	}
	settle(f);
	check_counts(f);
	counts = hub_counts(f->hub);
	sums->received += f->received;
	sums->overruns += f->overruns;
	sums->inside += f->cut_inside;
	sums->resumed += f->resumed;
	sums->evicted += counts->views_evicted;
	sums->cut += counts->views_cut;
	sums->vanished += f->vanished;
	sums->failures += f->failures;
	assert_int_equal(peers_teardown(&one), 0);
}

static unsigned
scripts_wanted(void)
{
	const char *asked = getenv("SCRIPTS");
	const char *mode = getenv("EARSHOT_TEST_MODE");

	if (asked != NULL)
		return (unsigned)atoi(asked);
	if (mode == NULL || strcmp(mode, "all") == 0)
		return SCRIPTS;
	return strcmp(mode, "check") == 0 ? SCRIPTS_CHECK : SCRIPTS_SLOW;
}

static void
no_loss_without_a_notice_no_repetition_no_disorder(void **state)
{
	const unsigned scripts = scripts_wanted();
	struct sums sums = { 0 };

	(void)state;
	for (unsigned seed = 1; seed <= scripts; seed++) {
		print_message("seed %u\n", seed);
		run_script((unsigned short)seed, &sums);
	}
	print_message("%u received, %u overruns (%u inside), %u resumed, "
		      "%u blocks evicted, %u flushes short of building, "
		      "%u channels vanished, %u failures\n",
	    (unsigned)sums.received, (unsigned)sums.overruns,
	    (unsigned)sums.inside, (unsigned)sums.resumed,
	    (unsigned)sums.evicted, (unsigned)sums.cut, (unsigned)sums.vanished,
	    (unsigned)sums.failures);
	/* The scripts go where it hurts. */
	assert_true(sums.received > scripts * 100);
	assert_true(sums.overruns > scripts / 2 && sums.inside > scripts / 50);
	assert_true(sums.resumed > scripts && sums.cut > scripts);
	assert_true(sums.evicted > scripts && sums.vanished > scripts / 10);
	assert_true(sums.failures > scripts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    no_loss_without_a_notice_no_repetition_no_disorder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
