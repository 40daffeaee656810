/*
 * The flush: who is visited, how often, in what order, within which bounds.
 * Random scripts are in test_hub_model.c.
 */

#include "daemon/hub/hub_internal.h"
#include "tests/lib/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KIB INT64_C(1024)

static void
one_flush_writes_once_to_each_consumer(void **state)
{
	struct peers *f = *state;

	peers_warm(f, 0);
	for (int i = 0; i < PEERS_MAX; i++)
		peers_listen(f, &f->peers[i], 0);
	for (int burst = 1; burst <= 64; burst *= 4) {
		for (int i = 0; i < burst; i++)
			peers_publish(f, 0, 128);
		assert_false(peers_flush(f));
		assert_int_equal(f->writes_now, PEERS_MAX);
		assert_int_equal(f->taken_now, PEERS_MAX * burst * 132);
	}
	/* Who has all is left alone. */
	assert_false(hub_flush_wanted(f->hub));
	peers_publish(f, 1, 128);
	assert_false(peers_flush(f));
	assert_int_equal(f->writes_now, 0);
}

static void
a_full_socket_is_left_alone_until_it_is_writable(void **state)
{
	struct peers *f = *state;

	for (int i = 0; i < 4; i++)
		peers_listen(f, &f->peers[i], 0);
	f->peers[0].stalled = f->peers[1].stalled = true;
	peers_publish(f, 0, 1000);
	assert_false(peers_flush(f));
	assert_int_equal(f->writes_now, 2);
	assert_true(f->peers[0].blocked && f->peers[1].blocked);
	for (int i = 0; i < 50; i++) {
		peers_publish(f, 0, 1000);
		assert_false(peers_flush(f));
		assert_int_equal(f->writes_now, 2);
	}
	f->peers[0].stalled = false;
	peers_writable(f, &f->peers[0]);
	assert_false(peers_flush(f));
	assert_int_equal(f->peers[0].expected, f->of[0].newest + 1);
	assert_true(hub_consumer_lag(&f->peers[1].consumer) >= 50);
}

static void
a_cut_flush_goes_on_with_those_not_yet_visited(void **state)
{
	struct peers *f = *state;

	f->conf.limits.flushes_per_iteration_max = 3;
	peers_warm(f, 0);
	for (int i = 0; i < 10; i++)
		peers_listen(f, &f->peers[i], 0);
	peers_publish(f, 0, 128);
	for (int i = 0; i < 3; i++) {
		assert_true(peers_flush(f));
		assert_int_equal(f->writes_now, 3);
	}
	assert_false(peers_flush(f));
	assert_int_equal(f->writes_now, 1);
	assert_int_equal(hub_counts(f->hub)->flushes, 4);
	assert_int_equal(hub_counts(f->hub)->flushes_cut, 3);
	for (int i = 0; i < 10; i++)
		assert_int_equal(f->peers[i].writes, 1);

	/* With a message before every flush, all get equally many turns. */
	for (int i = 0; i < 300; i++) {
		peers_publish(f, 0, 128);
		(void)peers_flush(f);
	}
	for (int i = 0; i < 10; i++) {
		assert_in_range(f->peers[i].writes, 90, 92);
		assert_true(hub_consumer_lag(&f->peers[i].consumer) <= 4);
	}
}

/*
 * A burst is more than the tape keeps and less than a visit gives: who keeps up
 * gets all of it, also in a pass that is cut; who is behind does not hold it.
 */
static void
a_burst_does_not_overtake_who_keeps_up(void **state)
{
	struct peers *f = *state;
	uint64_t kept;

	f->channels[0].buffer_bytes = 16 * KIB;
	f->channels[0].history_messages = 0;
	f->conf.limits.flushes_per_iteration_max = 2;
	for (int i = 0; i < 5; i++)
		peers_listen(f, &f->peers[i], 0);
	f->peers[4].stalled = true;
	for (int burst = 0; burst < 10; burst++) {
		for (int i = 0; i < 200; i++) {
			peers_publish(f, 0, 1000);
			if (i == 150)
				(void)peers_flush(f);
		}
		while (peers_flush(f))
			;
		for (int i = 0; i < 4; i++)
			assert_int_equal(
			    f->peers[i].expected, f->of[0].newest + 1);
		assert_int_equal(hub_counts(f->hub)->overruns, 0);
	}
	/* What is held is let go behind the pass. */
	kept = hub_memory_bytes(f->hub);
	hub_tick(f->hub, f->now_us);
	assert_true(hub_memory_bytes(f->hub) < kept);
	assert_in_range(hub_memory_bytes(f->hub), 0, 600 * KIB);
	f->peers[4].stalled = false;
	peers_writable(f, &f->peers[4]);
	while (peers_flush(f))
		;
	assert_int_equal(hub_counts(f->hub)->overruns, 1);
}

/* Every flush serves the busy channel's consumers and those far behind. */
static void
neither_line_starves_the_other(void **state)
{
	static const int64_t budgets[] = { 1, 2, 5 };
	struct peers *f = *state;
	const struct from oldest = { .kind = FROM_OLDEST };

	for (int i = 0; i < 20; i++)
		peers_publish(f, 1, 512 * 1024);
	for (int round = 0; round < 3; round++) {
		int flushes = 0;

		f->conf.limits.flushes_per_iteration_max = budgets[round];
		for (int i = 0; i < 4; i++) {
			peers_connect(f, &f->peers[i], 1, &oldest);
			peers_listen(f, &f->peers[4 + i], 0);
		}
		/* 10 MB each, four spans a visit. */
		while (f->peers[0].expected <= f->of[1].newest) {
			peers_publish(f, 0, 128);
			(void)peers_flush(f);
			assert_in_range(++flushes, 1, 4 * 2 * 60);
			for (int i = 4; i < 8; i++)
				assert_true(hub_consumer_lag(
						&f->peers[i].consumer) <= 10);
		}
		for (int i = 0; i < 8; i++)
			peers_disconnect(f, &f->peers[i]);
		while (peers_flush(f))
			;
	}
}

static void
each_line_gets_half_and_what_the_other_leaves(void **state)
{
	struct peers *f = *state;
	const struct from oldest = { .kind = FROM_OLDEST };

	/* Ten far behind, ten live, ten visits: five each, every time. */
	f->conf.limits.flushes_per_iteration_max = 10;
	for (int i = 0; i < 4; i++)
		peers_publish(f, 1, 1000 * 1000);
	peers_warm(f, 0);
	for (int i = 0; i < 10; i++) {
		peers_connect(f, &f->peers[i], 1, &oldest);
		peers_listen(f, &f->peers[10 + i], 0);
	}
	for (int round = 0; round < 6; round++) {
		peers_publish(f, 0, 124);
		assert_true(peers_flush(f));
		assert_int_equal(f->writes_now, 5 * HUB_VISIT_SPANS_MAX + 5);
	}

	/* One far behind: the live ones get the nine that it leaves. */
	for (int i = 1; i < 10; i++)
		peers_disconnect(f, &f->peers[i]);
	for (int round = 0; round < 2; round++) { /* whoever goes first */
		peers_publish(f, 0, 124);
		assert_true(peers_flush(f));
		assert_int_equal(f->writes_now, HUB_VISIT_SPANS_MAX + 9);
	}
}

static void
a_crowd_that_has_left_leaves_no_memory(void **state)
{
	struct peers *f = *state;

	for (int i = 0; i < PEERS_MAX; i++)
		peers_listen(f, &f->peers[i], 0);
	assert_int_equal(f->hub->channels[0]->count, PEERS_MAX);
	for (int i = 0; i < PEERS_MAX - 3; i++)
		peers_disconnect(f, &f->peers[i]);
	assert_int_equal(f->hub->channels[0]->count, 3);
	assert_in_range(f->hub->channels[0]->room, 3, 16);
}

static void
no_busy_channel_starves_another(void **state)
{
	struct peers *f = *state;

	f->conf.limits.flushes_per_iteration_max = 1;
	for (int i = 0; i < PEERS_CHANNELS; i++)
		peers_warm(f, i);
	for (int i = 0; i < 12; i++)
		peers_listen(f, &f->peers[i], i % PEERS_CHANNELS);
	for (int i = 0; i < 400; i++) {
		for (int channel = 0; channel < PEERS_CHANNELS; channel++)
			peers_publish(f, channel, 20);
		assert_true(peers_flush(f));
		assert_int_equal(f->writes_now, 1);
	}
	for (int i = 0; i < 12; i++)
		assert_in_range(f->peers[i].writes, 33, 34);
}

static void
a_huge_backlog_gets_a_few_spans_a_visit(void **state)
{
	struct peers *f = *state;
	const struct from oldest = { .kind = FROM_OLDEST };

	for (int i = 0; i < 10; i++)
		peers_publish(f, 0, 1000 * 1000);
	peers_connect(f, &f->peers[0], 0, &oldest);
	peers_listen(f, &f->peers[1], 0);
	for (int i = 0; i < 10; i++) {
		peers_publish(f, 0, 20);
		assert_true(peers_flush(f));
		assert_in_range(f->peers[0].writes, 1, HUB_VISIT_SPANS_MAX);
		assert_int_equal(f->peers[1].expected, f->of[0].newest + 1);
		f->peers[0].writes = 0;
	}
	assert_int_equal(hub_counts(f->hub)->spans_cut, 10); /* one a visit */
	while (peers_flush(f))
		;
	assert_int_equal(f->peers[0].expected, f->of[0].newest + 1);
}

static void
a_flush_is_bounded_in_bytes(void **state)
{
	struct peers *f = *state;
	int flushes = 1;

	for (int i = 0; i < PEERS_MAX; i++)
		peers_listen(f, &f->peers[i], 0);
	peers_publish(f, 0, 200 * 1024);
	for (; peers_flush(f); flushes++)
		assert_in_range(f->taken_now, 1,
		    HUB_FLUSH_BYTES_MAX + HUB_VISIT_SPANS_MAX * 64 * KIB);
	/* 205 MB in steps of 16 MiB. */
	assert_in_range(flushes, 12, 14);
	for (int i = 0; i < PEERS_MAX; i++)
		assert_int_equal(f->peers[i].expected, 2);
}

static void
count_lag(const struct hub_channel_stats *stats, void *arg)
{
	*(int64_t *)arg +=
	    stats->lag_messages_max * 1000 + (int64_t)stats->lag_bytes_max;
}

static void
stats_tell_the_largest_lag(void **state)
{
	struct peers *f = *state;
	const struct from last = { .kind = FROM_LAST, .count = 3 };
	int64_t sum = 0;

	peers_listen(f, &f->peers[0], 0);
	for (int i = 0; i < 5; i++)
		peers_publish(f, 0, 98); /* 100 on the wire */
	hub_each_channel(f->hub, PEERS_NOW_US, count_lag, &sum);
	assert_int_equal(sum, 5 * 1000 + 500);
	peers_connect(f, &f->peers[1], 0, &last);
	while (peers_flush(f))
		;
	sum = 0;
	hub_each_channel(f->hub, PEERS_NOW_US, count_lag, &sum);
	assert_int_equal(sum, 0);
	peers_connect(f, &f->peers[2], 0, &last);
	hub_each_channel(f->hub, PEERS_NOW_US, count_lag, &sum);
	assert_int_equal(sum, 3 * 1000 + 300);
}

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_flush_writes_once_to_each_consumer),
		TEST(a_full_socket_is_left_alone_until_it_is_writable),
		TEST(a_cut_flush_goes_on_with_those_not_yet_visited),
		TEST(a_burst_does_not_overtake_who_keeps_up),
		TEST(neither_line_starves_the_other),
		TEST(each_line_gets_half_and_what_the_other_leaves),
		TEST(a_crowd_that_has_left_leaves_no_memory),
		TEST(no_busy_channel_starves_another),
		TEST(a_huge_backlog_gets_a_few_spans_a_visit),
		TEST(a_flush_is_bounded_in_bytes),
		TEST(stats_tell_the_largest_lag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
