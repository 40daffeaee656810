/*
 * Channels that come and go: idle_expiry, the table they are found in, epochs.
 */

#include "daemon/hub/hub_internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGE(k, p, n, known)                                                \
	{                                                                      \
		.kind = (k), .payload = (p), .len = (n), .checked = (known)    \
	}

#define NOW INT64_C(1790000000000000)
#define SECOND INT64_C(1000000)
#define KIB INT64_C(1024)

struct fixture {
	struct conf_channel channel;
	struct conf conf;
	struct hub *hub;
	int64_t now_us;
};

static int64_t
on_write(struct consumer *consumer, const struct span *span, bool *ret_blocked,
    void *arg)
{
	(void)consumer, (void)arg;
	*ret_blocked = false;
	return (int64_t)span->len;
}

static bool
on_overrun(struct consumer *consumer, enum conf_overrun policy, int64_t from,
    int64_t to, bool inside, void *arg)
{
	(void)consumer, (void)policy, (void)from, (void)to, (void)inside;
	(void)arg;
	return true;
}

static int
setup(void **state)
{
	static char all[] = "**";
	static const struct hub_ops ops = { on_write, on_overrun };
	struct fixture *f = calloc(1, sizeof(*f));

	f->now_us = NOW;
	f->channel = (struct conf_channel){ .pattern = all,
		.history_messages = 1000,
		.history_bytes = 1024 * KIB,
		.history_age_us = 60 * SECOND,
		.buffer_bytes = 64 * KIB,
		.idle_expiry_us = 10 * SECOND };
	f->conf.channels = &f->channel;
	f->conf.channel_count = 1;
	f->conf.limits.channels_max = 100000;
	f->conf.limits.tapes_bytes_max = 1 << 30;
	f->conf.limits.message_bytes_max = 256 * KIB;
	f->conf.limits.flushes_per_iteration_max = 4096;
	f->conf.limits.span_bytes_max = 64 * KIB;
	f->conf.limits.views_bytes_max = 1024 * KIB;
	f->conf.limits.view_build_bytes_per_iteration_max = 1024 * KIB;
	if (hub_new(&f->conf, 42, &ops, f, &f->hub) < 0)
		return -1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	hub_free(f->hub);
	free(f);
	return 0;
}

static struct position
publish(struct fixture *f, const char *channel)
{
	const struct hub_message message = MESSAGE(MESSAGE_TEXT, "x", 1, true);
	struct position position;

	assert_true(hub_publish(f->hub, channel, strlen(channel), HUB_INSIDE,
			&message, f->now_us, &position) > 0);
	return position;
}

static struct hub_answer
subscribe(struct fixture *f, struct consumer *consumer, const char *channel,
    struct from from)
{
	struct hub_answer answer;

	assert_int_equal(
	    hub_subscribe(f->hub, consumer, channel, strlen(channel), VIEW_V1,
		&from, f->now_us, &answer),
	    0);
	return answer;
}

/* A tick a second, as the net loop does it. */
static void
pass(struct fixture *f, int64_t seconds)
{
	while (seconds-- > 0) {
		f->now_us += SECOND;
		hub_tick(f->hub, f->now_us);
	}
}

static void
an_idle_channel_waits_for_its_history_to_age(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a");
	pass(f, 59);
	assert_int_equal(hub_channel_count(f->hub), 1);
	pass(f, 3);
	assert_int_equal(hub_channel_count(f->hub), 0);
	assert_int_equal(hub_counts(f->hub)->channels_expired, 1);
	assert_int_equal(hub_memory_bytes(f->hub), 0);
}

static void
an_idle_channel_without_history_waits_for_idle_expiry(void **state)
{
	struct fixture *f = *state;

	f->channel.history_messages = 0;
	f->channel.idle_expiry_us = 100 * SECOND;
	(void)publish(f, "a");
	pass(f, 99);
	assert_int_equal(hub_channel_count(f->hub), 1);
	pass(f, 3);
	assert_int_equal(hub_channel_count(f->hub), 0);
}

static void
zero_is_never(void **state)
{
	struct fixture *f = *state;

	f->channel.idle_expiry_us = 0;
	(void)publish(f, "a");
	pass(f, 10000);
	assert_int_equal(hub_channel_count(f->hub), 1);
}

static void
a_consumer_keeps_its_channel_and_leaves_it_a_while(void **state)
{
	struct fixture *f = *state;
	struct consumer consumer = { 0 };
	const struct from live = { .kind = FROM_LIVE };

	(void)subscribe(f, &consumer, "a", live);
	pass(f, 1000);
	assert_int_equal(hub_channel_count(f->hub), 1);
	f->now_us += 500 * SECOND; /* a tick that was late */
	hub_unsubscribe(f->hub, &consumer);
	pass(f, 10);
	assert_int_equal(hub_channel_count(f->hub), 1);
	/* One who comes back and leaves begins the time anew. */
	(void)subscribe(f, &consumer, "a", live);
	hub_unsubscribe(f->hub, &consumer);
	pass(f, 10);
	assert_int_equal(hub_channel_count(f->hub), 1);
	pass(f, 2);
	assert_int_equal(hub_channel_count(f->hub), 0);
}

static void
a_publish_begins_the_time_anew(void **state)
{
	struct fixture *f = *state;

	f->channel.history_messages = 0;
	for (int i = 0; i < 20; i++) {
		(void)publish(f, "a");
		pass(f, 9);
		assert_int_equal(hub_channel_count(f->hub), 1);
	}
	pass(f, 3);
	assert_int_equal(hub_channel_count(f->hub), 0);
}

/* The time is wall clock: it may have been wrong, and be set right. */
static void
a_clock_that_is_set_keeps_no_channel_for_ever(void **state)
{
	struct fixture *f = *state;

	f->channel.history_messages = 0;
	f->now_us += 1000000 * SECOND;
	(void)publish(f, "a");
	pass(f, 1);
	f->now_us = NOW;
	pass(f, 5);
	assert_int_equal(hub_channel_count(f->hub), 1);
	pass(f, 10);
	assert_int_equal(hub_channel_count(f->hub), 0);
}

static void
a_position_of_a_channel_that_vanished_is_not_recovered(void **state)
{
	struct fixture *f = *state;
	struct from back = { .kind = FROM_POSITION };
	struct consumer consumer = { 0 };
	struct hub_answer answer;
	struct hub_history history;
	struct position later;

	(void)publish(f, "a");
	back.position = publish(f, "a");
	pass(f, 100);
	assert_int_equal(hub_channel_count(f->hub), 0);
	assert_int_equal(
	    hub_history(f->hub, "a", 1, &back, 10, f->now_us, &history),
	    -ENOENT);
	for (int i = 0; i < 3; i++)
		later = publish(f, "a");
	assert_int_equal(later.offset, 3);
	assert_true(later.epoch != back.position.epoch);
	answer = subscribe(f, &consumer, "a", back);
	assert_false(answer.recovered);
	assert_true(answer.position.epoch == later.epoch);
	assert_int_equal(answer.position.offset, 0);
	hub_unsubscribe(f->hub, &consumer);
}

static void
name_of(char name[static 32], int i)
{
	(void)snprintf(name, 32, "channel.%d", i);
}

/* Others are found as before, whatever has gone from around them. */
static void
the_table_closes_up(void **state)
{
	struct fixture *f = *state;
	struct hub_channel_stats stats;
	uint64_t epochs[3000];
	char name[32];
	int left = 3000;

	f->channel.history_messages = 0;
	for (int i = 0; i < 3000; i++) {
		name_of(name, i);
		epochs[i] = publish(f, name).epoch;
	}
	/* Every third is kept in use; ticks look at 256 channels. */
	for (int round = 0; round < 60; round++) {
		pass(f, 2);
		for (int i = 0; i < 3000; i += 3) {
			name_of(name, i);
			(void)publish(f, name);
		}
		for (int i = 0; i < 3000; i++) {
			bool there;

			name_of(name, i);
			there = hub_find(f->hub, name, strlen(name), f->now_us,
				    &stats) == 0;
			assert_true(there || i % 3 != 0);
			if (there)
				assert_true(stats.epoch == epochs[i]);
		}
		/* A bounded number in one tick. */
		assert_true(left - (int)hub_channel_count(f->hub) <=
			    2 * (int)HUB_TICK_CHANNELS_MAX);
		left = (int)hub_channel_count(f->hub);
		/* Twelve ticks a round: seen, idle for ten, gone. */
		if (round == 20)
			assert_int_equal(left, 1000);
	}
	assert_int_equal(left, 1000);
	assert_int_equal(hub_counts(f->hub)->channels_expired, 2000);
	/* Those that come again are new ones, and found beside the others. */
	for (int i = 0; i < 3000; i++) {
		name_of(name, i);
		assert_int_equal(
		    publish(f, name).epoch == epochs[i], i % 3 == 0);
	}
	assert_int_equal(hub_channel_count(f->hub), 3000);
	pass(f, 200);
	assert_int_equal(hub_channel_count(f->hub), 0);
	assert_int_equal(hub_memory_bytes(f->hub), 0);
	for (uint32_t i = 0; i < f->hub->table_size; i++)
		assert_int_equal(f->hub->table[i], 0);
}

/* A small table, where what is behind the end goes on at the start. */
static void
every_channel_left_is_found(void **state)
{
	struct fixture *f = *state;
	struct hub_channel_stats stats;
	char name[32];

	f->channel.history_messages = 0;
	f->channel.idle_expiry_us = 1;
	for (int i = 0; i < 20000; i++) {
		/* Out of 997, sixteen or so are there at a time. */
		name_of(name, i * 7919 % 997);
		(void)publish(f, name);
		if (i % 8 == 0)
			pass(f, 1);
		assert_in_range(hub_channel_count(f->hub), 1, 32);
		for (uint32_t j = 0; j < f->hub->channel_count; j++) {
			struct channel *channel = f->hub->channels[j];

			assert_int_equal(
			    hub_find(f->hub, channel->name, channel->name_len,
				f->now_us, &stats),
			    0);
			assert_ptr_equal(stats.name, channel->name);
		}
	}
	assert_int_equal(f->hub->table_size, 64);
	assert_true(hub_counts(f->hub)->channels_expired > 10000);
}

/* Making room for a publish looks at channels too; none goes under it. */
static void
a_publish_that_needs_room_takes_no_channel_away(void **state)
{
	struct fixture *f = *state;
	const struct hub_message message = MESSAGE(MESSAGE_TEXT, "x", 1, true);

	(void)publish(f, "a");
	(void)publish(f, "b");
	pass(f, 20);
	f->now_us += 1000 * SECOND;
	f->conf.limits.tapes_bytes_max = 1;
	assert_int_equal(
	    hub_publish(f->hub, "a", 1, HUB_INSIDE, &message, f->now_us, NULL),
	    -ENOBUFS);
	assert_int_equal(hub_channel_count(f->hub), 2);
}

static void
numbers_in_use_are_free_again(void **state)
{
	struct fixture *f = *state;
	const struct hub_message message = MESSAGE(MESSAGE_TEXT, "x", 1, true);

	f->conf.limits.channels_max = 1;
	(void)publish(f, "a");
	assert_int_equal(
	    hub_publish(f->hub, "b", 1, HUB_INSIDE, &message, f->now_us, NULL),
	    -ENFILE);
	pass(f, 100);
	(void)publish(f, "b");
}

/* Another configuration for channels that are there, and for new ones. */
static void
apply_gives_each_channel_the_section_it_matches_now(void **state)
{
	static char some[] = "a.*", all[] = "**";
	struct fixture *f = *state;
	struct conf_channel channels[2] = { f->channel, f->channel };
	struct conf conf = f->conf;
	struct hub_channel_stats stats;

	for (int i = 0; i < 20; i++) {
		(void)publish(f, "a.b");
		(void)publish(f, "b");
	}
	channels[0].pattern = some;
	channels[0].history_messages = 3;
	channels[1].pattern = all;
	channels[1].history_messages = 7;
	conf.channels = channels;
	conf.channel_count = 2;
	conf.limits.channels_max = 3;
	hub_apply(f->hub, &conf);
	pass(f, 1);
	assert_int_equal(hub_find(f->hub, "a.b", 3, f->now_us, &stats), 0);
	assert_int_equal(stats.oldest, 18);
	assert_int_equal(hub_find(f->hub, "b", 1, f->now_us, &stats), 0);
	assert_int_equal(stats.oldest, 14);
	(void)publish(f, "a.c");
	f->conf.limits.channels_max = 100000;
	hub_apply(f->hub, &f->conf);
	(void)publish(f, "c");
	assert_int_equal(hub_channel_count(f->hub), 4);
}

static void
apply_moves_no_consumer(void **state)
{
	struct fixture *f = *state;
	struct conf_channel channel = f->channel;
	struct conf conf = f->conf;
	struct consumer consumer = { 0 };

	conf.channels = &channel;
	(void)publish(f, "a");
	(void)subscribe(
	    f, &consumer, "a", (struct from){ .kind = FROM_OLDEST });
	channel.history_messages = 0;
	hub_apply(f->hub, &conf);
	assert_int_equal(hub_consumer_lag(&consumer), 1);
	assert_int_equal(hub_consumer_lag_at(&consumer, f->now_us + 5).us, 5);
	while (hub_flush_wanted(f->hub))
		(void)hub_flush(f->hub, f->now_us);
	assert_true(hub_consumer_at_end(&consumer));
	assert_int_equal(
	    hub_consumer_lag_at(&consumer, f->now_us + 5).messages, 0);
	hub_unsubscribe(f->hub, &consumer);
	hub_apply(f->hub, &f->conf);
}

static void
count_one(const struct hub_channel_stats *stats, void *arg)
{
	assert_non_null(stats->name);
	++*(int *)arg;
}

static void
channels_are_told_in_pieces(void **state)
{
	struct fixture *f = *state;
	uint32_t next = 0;
	int seen = 0, pieces = 0;

	for (char name[] = "a"; name[0] <= 'z'; name[0]++)
		(void)publish(f, name);
	for (; next != UINT32_MAX; pieces++)
		next = hub_some_channels(
		    f->hub, next, 10, f->now_us, count_one, &seen);
	assert_int_equal(seen, 26);
	assert_int_equal(pieces, 3);
	assert_int_equal(
	    hub_some_channels(f->hub, 1000, 10, f->now_us, count_one, &seen),
	    UINT32_MAX);
	assert_int_equal(seen, 26);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_idle_channel_waits_for_its_history_to_age),
		TEST(an_idle_channel_without_history_waits_for_idle_expiry),
		TEST(zero_is_never),
		TEST(a_consumer_keeps_its_channel_and_leaves_it_a_while),
		TEST(a_publish_begins_the_time_anew),
		TEST(a_clock_that_is_set_keeps_no_channel_for_ever),
		TEST(a_position_of_a_channel_that_vanished_is_not_recovered),
		TEST(the_table_closes_up),
		TEST(every_channel_left_is_found),
		TEST(a_publish_that_needs_room_takes_no_channel_away),
		TEST(numbers_in_use_are_free_again),
		TEST(apply_gives_each_channel_the_section_it_matches_now),
		TEST(apply_moves_no_consumer),
		TEST(channels_are_told_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
