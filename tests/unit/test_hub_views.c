/*
 * Derived views through the hub: encoded once, built within a budget, in turn,
 * and tried again when there was no memory.  Random scripts are in
 * test_hub_model.c.
 */

#include "daemon/base/memory.h"
#include "daemon/hub/hub_internal.h"
#include "tests/lib/peers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KIB INT64_C(1024)

static const struct from oldest = { .kind = FROM_OLDEST };

static void
connect_as(struct peers *f, int peer, enum view_kind view, int channel,
    const struct from *from)
{
	f->view = view;
	peers_connect(f, &f->peers[peer], channel, from);
}

static void
listen_as(struct peers *f, int peer, enum view_kind view, int channel)
{
	f->view = view;
	peers_listen(f, &f->peers[peer], channel);
}

static void
a_message_is_encoded_once_for_all_who_read_it(void **state)
{
	struct peers *f = *state;
	const struct hub_counts *counts = hub_counts(f->hub);

	for (int i = 0; i < PEERS_MAX; i++)
		listen_as(f, i, (enum view_kind)(i % VIEW_KINDS), 0);
	for (int burst = 1; burst <= 64; burst *= 4) {
		for (int i = 0; i < burst; i++)
			peers_publish(f, 0, 300);
		while (peers_flush(f))
			;
	}
	for (int i = 0; i < PEERS_MAX; i++)
		assert_int_equal(f->peers[i].expected, 1 + 1 + 4 + 16 + 64);
	assert_int_equal(counts->views_built, 85 * (VIEW_KINDS - 1));
	assert_int_equal(counts->views_compressed, 85 * 2);
	assert_true(counts->views_bytes_built > 85 * 300);
	assert_int_equal(counts->views_evicted, 0);
	assert_int_equal(counts->views_cut, 0);
	assert_true(hub_views_bytes(f->hub) > counts->views_bytes_built);
	/* With its last consumer a view goes. */
	for (int i = 0; i < PEERS_MAX; i++) {
		assert_true(hub_views_bytes(f->hub) > 0);
		if (i % VIEW_KINDS != VIEW_RAW)
			peers_disconnect(f, &f->peers[i]);
	}
	assert_int_equal(hub_views_bytes(f->hub), 0);
	assert_true(hub_memory_bytes(f->hub) > 85 * 300);
}

static void
late_and_live_read_the_same_view(void **state)
{
	struct peers *f = *state;

	for (int i = 0; i < 3000; i++)
		peers_publish(f, 0, 200);
	for (int view = 0; view < VIEW_KINDS; view++) {
		connect_as(f, view, (enum view_kind)view, 0, &oldest);
		listen_as(f, 10 + view, (enum view_kind)view, 0);
	}
	for (int i = 0; i < 100; i++) {
		peers_publish(f, 0, 200);
		(void)peers_flush(f);
	}
	while (peers_flush(f))
		;
	for (int view = 0; view < VIEW_KINDS; view++) {
		assert_int_equal(f->peers[view].expected, 3101);
		assert_int_equal(f->peers[10 + view].expected, 3101);
	}
	assert_true(hub_counts(f->hub)->views_built <= 3100 * (VIEW_KINDS - 1));
}

/* What a flush builds is bounded; what is left comes in the next ones. */
static void
a_flush_builds_a_bounded_number_of_bytes(void **state)
{
	struct peers *f = *state;
	const struct hub_counts *counts = hub_counts(f->hub);
	uint64_t before = 0, cut = 0, flushes = 0;
	bool left;

	f->conf.limits.view_build_bytes_per_iteration_max = 64 * KIB;
	for (int i = 0; i < 4000; i++)
		peers_publish(f, 0, 200);
	for (int i = 0; i < 10; i++)
		connect_as(f, i, VIEW_V1, 0, &oldest);
	do {
		left = peers_flush(f);
		assert_true(counts->views_bytes_built - before <=
			    (uint64_t)(64 * KIB + 2 * 1500));
		before = counts->views_bytes_built;
		flushes++;
		cut += counts->views_cut;
		assert_in_range(flushes, 1, 100);
	} while (left);
	assert_true(flushes >= before / (64 * 1024));
	assert_true(counts->views_cut > 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(f->peers[i].expected, 4001);
	assert_int_equal(counts->views_built, 4000);
}

/* Compressing counts what goes in: what comes out may be next to nothing. */
static void
compressing_is_bounded_by_what_goes_in(void **state)
{
	struct peers *f = *state;
	const struct hub_counts *counts = hub_counts(f->hub);
	uint64_t before = 0;

	f->conf.limits.view_build_bytes_per_iteration_max = 64 * KIB;
	for (int i = 0; i < 300; i++)
		peers_publish(f, 0, 3000);
	connect_as(f, 0, VIEW_RAW_DEFLATED, 0, &oldest);
	while (peers_flush(f)) {
		assert_true(counts->views_built - before <= 22);
		before = counts->views_built;
	}
	assert_int_equal(f->peers[0].expected, 301);
}

static int64_t
lag_of(const struct peers *f, int first, int count)
{
	int64_t lag = 0;

	for (int i = first; i < first + count; i++)
		lag += hub_consumer_lag(&f->peers[i].consumer);
	return lag;
}

/*
 * Replays of views that have to be built take the budget of many flushes;
 * live consumers of such views are served in every single one, and raw ones
 * that come meanwhile soon.
 */
static void
building_for_the_late_delays_nobody_else(void **state)
{
	struct peers *f = *state;
	int flushes = 0;

	f->conf.limits.view_build_bytes_per_iteration_max = 64 * KIB;
	f->conf.limits.flushes_per_iteration_max = 60;
	f->conf.limits.views_bytes_max = 2048 * KIB;
	for (int i = 0; i < 12; i++)
		peers_publish(f, 1, 150 * 1024);
	for (int i = 0; i < 40; i++) {
		const struct from from = {
			.kind = FROM_LAST,
			.count = 1 + i % 12,
		};

		connect_as(f, i, 1 + (enum view_kind)i % 4, 1, &from);
	}
	for (int i = 100; i < 110; i++)
		listen_as(f, i, (enum view_kind)(i % VIEW_KINDS), 0);
	for (; lag_of(f, 0, 40) > 0; flushes++) {
		int raw = 200 + flushes % 16;

		peers_publish(f, 0, 500);
		f->hub->pending_first = flushes % 2 == 0;
		(void)peers_flush(f);
		assert_int_equal(lag_of(f, 100, 10), 0);
		if (flushes > 16) /* 1.8 MB, in visits of 256 KiB */
			assert_int_equal(f->peers[raw].expected, 13);
		peers_disconnect(f, &f->peers[raw]);
		connect_as(f, raw, VIEW_RAW, 1, &oldest);
		assert_in_range(flushes, 0, 5000);
	}
	assert_true(flushes > 30);
	for (int i = 0; i < 40; i++)
		assert_int_equal(f->peers[i].expected, 13);
}

/*
 * The live alone would take all that may be built, and more; those who wait
 * get half of it.  Together they get no more than there is.
 */
static void
late_beside_live(struct peers *f, bool pending_first)
{
	const struct hub_counts *counts = hub_counts(f->hub);
	uint64_t before = 0;

	f->conf.limits.view_build_bytes_per_iteration_max = 64 * KIB;
	for (int i = 0; i < 600; i++)
		peers_publish(f, 1, 1000);
	connect_as(f, 0, VIEW_SSE, 1, &oldest);
	for (int i = 0; f->peers[0].expected <= 600; i++) {
		/* New ones, as those who could not be served are late too. */
		peers_disconnect(f, &f->peers[1 + i % 2]);
		listen_as(f, 1 + i % 2, VIEW_V1, 2 + i % 2);
		for (int j = 0; j < 100; j++)
			peers_publish(f, 2 + i % 2, 1000);
		f->hub->pending_first = pending_first;
		(void)peers_flush(f);
		assert_true(counts->views_bytes_built - before <=
			    (uint64_t)(64 * KIB + 2 * 7000));
		before = counts->views_bytes_built;
		/* 600 and more KiB, 32 or so a flush. */
		assert_in_range(i, 0, 30);
	}
}

static void
building_for_the_live_does_not_stop_the_late(void **state)
{
	late_beside_live(*state, false);
}

static void
building_for_the_late_does_not_take_more(void **state)
{
	late_beside_live(*state, true);
}

static void
what_the_live_do_not_need_the_late_may_have(void **state)
{
	struct peers *f = *state;
	const struct hub_counts *counts = hub_counts(f->hub);
	uint64_t before = 0;

	f->conf.limits.view_build_bytes_per_iteration_max = 64 * KIB;
	for (int i = 0; i < 600; i++)
		peers_publish(f, 1, 1000);
	connect_as(f, 0, VIEW_SSE, 1, &oldest);
	listen_as(f, 1, VIEW_V1, 0);
	for (int i = 0; i < 8; i++) {
		peers_publish(f, 0, 100);
		f->hub->pending_first = i % 2 == 0;
		assert_true(peers_flush(f));
		assert_true(
		    counts->views_bytes_built - before >= (uint64_t)(64 * KIB));
		before = counts->views_bytes_built;
	}
}

/* All want to be built for, each at a place of its own: each comes on. */
static void
who_waits_for_building_is_served_in_turn(void **state)
{
	struct peers *f = *state;
	int flushes = 0;

	f->conf.limits.view_build_bytes_per_iteration_max = 64 * KIB;
	for (int i = 0; i < 40; i++)
		peers_publish(f, 0, 64 * 1024);
	for (int i = 0; i < 40; i++) {
		const struct from from = {
			.kind = FROM_LAST,
			.count = 40 - i,
		};

		connect_as(f, i, VIEW_V1, 0, &from);
	}
	/* One message a flush; after 40 turns everybody has had one. */
	for (; flushes < 45; flushes++)
		assert_true(peers_flush(f) || flushes > 38);
	for (int i = 0; i < 40; i++)
		assert_true(f->peers[i].expected > i + 1);
}

static void
no_memory_to_build_is_tried_again_at_a_tick(void **state)
{
	struct peers *f = *state;

	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++)
		for (int i = 0; i < 3; i++)
			listen_as(f, 3 * view + i, (enum view_kind)view, 0);
	peers_publish(f, 0, 500);
	memory_fail_nth(1);
	assert_false(hub_flush(f->hub, f->now_us));
	memory_fail_nth(0);
	assert_int_equal(f->peers[3].expected, 1);
	assert_false(list_empty(&f->hub->starved));
	/* Nothing to do for the loop until the tick: it does not spin. */
	assert_false(hub_flush_wanted(f->hub));
	peers_publish(f, 0, 500);
	assert_false(peers_flush(f));
	hub_tick(f->hub, f->now_us);
	assert_true(hub_flush_wanted(f->hub));
	assert_false(peers_flush(f));
	for (int i = 3; i < 3 * VIEW_KINDS; i++)
		assert_int_equal(f->peers[i].expected, 3);
}

static void
who_has_no_memory_may_leave(void **state)
{
	struct peers *f = *state;

	f->conf.limits.view_build_bytes_per_iteration_max = 1;
	peers_publish(f, 0, 500);
	peers_publish(f, 0, 500);
	connect_as(f, 0, VIEW_SSE, 0, &oldest);
	connect_as(f, 1, VIEW_V1, 0, &oldest);
	memory_fail_nth(1);
	(void)hub_flush(f->hub, f->now_us); /* starved; unbuilt */
	memory_fail_nth(0);
	for (int i = 0; i < 2; i++)
		peers_disconnect(f, &f->peers[i]);
	assert_false(hub_flush_wanted(f->hub));
	hub_tick(f->hub, f->now_us);
	assert_false(hub_flush_wanted(f->hub));
}

static void
a_subscriber_without_memory_for_its_view_is_not_half_there(void **state)
{
	const struct from live = { .kind = FROM_LIVE };
	struct consumer consumer = { 0 };
	struct hub_answer answer;
	struct peers *f = *state;
	int refused = 0;

	for (int n = 1; n < 10; n++) {
		int rc;

		peers_publish(f, n % PEERS_CHANNELS, 100);
		memory_fail_nth(n);
		rc = hub_subscribe(f->hub, &consumer, "a", 1, VIEW_SSE, &live,
		    f->now_us, &answer);
		memory_fail_nth(0);
		refused += rc == -ENOMEM;
		if (rc < 0)
			assert_null(consumer.channel);
		hub_unsubscribe(f->hub, &consumer);
		assert_int_equal(hub_views_bytes(f->hub), 0);
	}
	assert_int_equal(refused, 3); /* the channel, its array, the view */
}

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_message_is_encoded_once_for_all_who_read_it),
		TEST(late_and_live_read_the_same_view),
		TEST(a_flush_builds_a_bounded_number_of_bytes),
		TEST(compressing_is_bounded_by_what_goes_in),
		TEST(building_for_the_late_delays_nobody_else),
		TEST(building_for_the_live_does_not_stop_the_late),
		TEST(building_for_the_late_does_not_take_more),
		TEST(what_the_live_do_not_need_the_late_may_have),
		TEST(who_waits_for_building_is_served_in_turn),
		TEST(no_memory_to_build_is_tried_again_at_a_tick),
		TEST(who_has_no_memory_may_leave),
		TEST(
		    a_subscriber_without_memory_for_its_view_is_not_half_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
