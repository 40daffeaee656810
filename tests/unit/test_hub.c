/*
 * The hub without its flush: what publish refuses and why, where a subscriber
 * begins and what it is told, memory of all tapes, failing allocations.
 */

#include "daemon/base/memory.h"
#include "daemon/hub/hub.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1790000000000000)
#define SECOND INT64_C(1000000)
#define KIB INT64_C(1024)

struct fixture {
	struct conf_channel channels[2];
	struct conf conf;
	struct hub *hub;
	int64_t now_us;
	uint64_t taken; /* bytes that consumers took */
};

static int64_t
on_write(struct consumer *consumer, const struct span *span, bool *ret_blocked,
    void *arg)
{
	struct fixture *f = arg;

	assert_non_null(consumer->channel);
	*ret_blocked = false;
	f->taken += span->len;
	return (int64_t)span->len;
}

static bool
on_overrun(struct consumer *consumer, enum conf_overrun policy, int64_t from,
    int64_t to, bool inside, void *arg)
{
	(void)consumer;
	(void)policy;
	(void)arg;
	assert_true(from <= to);
	assert_false(inside);
	return true;
}

static int
setup(void **state)
{
	static char short_pattern[] = "short.**", all_pattern[] = "**";
	static const struct hub_ops ops = { on_write, on_overrun };
	struct fixture *f = calloc(1, sizeof(*f));

	f->now_us = NOW;
	f->channels[0] = (struct conf_channel){ .pattern = short_pattern,
		.history_messages = 10,
		.history_bytes = 1024 * KIB,
		.history_age_us = 60 * SECOND,
		.buffer_bytes = 0 };
	f->channels[1] = (struct conf_channel){ .pattern = all_pattern,
		.history_messages = 1000,
		.history_bytes = 16 * 1024 * KIB,
		.history_age_us = 3600 * SECOND,
		.buffer_bytes = 1024 * KIB };
	f->conf.channels = f->channels;
	f->conf.channel_count = 2;
	f->conf.limits.channels_max = 100000;
	f->conf.limits.tapes_bytes_max = 1 << 30;
	f->conf.limits.message_bytes_max = 256 * KIB;
	f->conf.limits.flushes_per_iteration_max = 4096;
	f->conf.limits.span_bytes_max = 64 * KIB;
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

static int64_t
publish_as(struct fixture *f, const char *channel, enum hub_origin origin,
    enum message_kind kind, const void *payload, size_t len)
{
	const struct hub_message m = { .kind = kind, .payload = payload, len };

	return hub_publish(
	    f->hub, channel, strlen(channel), origin, &m, f->now_us, NULL);
}

static int64_t
publish(struct fixture *f, const char *channel, const char *payload)
{
	return publish_as(
	    f, channel, HUB_OUTSIDE, MESSAGE_TEXT, payload, strlen(payload));
}

/* Messages of 1000 bytes on the wire. */
static void
publish_many(struct fixture *f, const char *channel, int count)
{
	static char payload[996];

	memset(payload, 'x', sizeof(payload));
	for (int i = 0; i < count; i++)
		assert_true(publish_as(f, channel, HUB_INSIDE, MESSAGE_TEXT,
				payload, sizeof(payload)) > 0);
}

static int
subscribe(struct fixture *f, struct consumer *consumer, const char *channel,
    const struct from *from, struct hub_answer *ret_answer)
{
	return hub_subscribe(f->hub, consumer, channel, strlen(channel),
	    VIEW_RAW, from, f->now_us, ret_answer);
}

static void
publish_answers_with_the_position(void **state)
{
	const struct hub_message message = { .payload = "hi", .len = 2 };
	struct fixture *f = *state;
	struct position first, second, other;

	assert_int_equal(hub_publish(f->hub, "ticks", 5, HUB_OUTSIDE, &message,
			     f->now_us, &first),
	    1);
	assert_int_equal(hub_publish(f->hub, "ticks", 5, HUB_OUTSIDE, &message,
			     f->now_us, &second),
	    2);
	assert_int_equal(hub_publish(f->hub, "other", 5, HUB_OUTSIDE, &message,
			     f->now_us, &other),
	    1);
	assert_int_equal(first.offset, 1);
	assert_int_equal(second.offset, 2);
	assert_true(first.epoch == second.epoch);
	assert_true(first.epoch != other.epoch);
	assert_int_equal(hub_counts(f->hub)->messages_in, 3);
	assert_int_equal(hub_counts(f->hub)->bytes_in, 6);
	assert_int_equal(hub_channel_count(f->hub), 2);
	/* Nobody listens, so there is nothing to flush. */
	assert_false(hub_flush_wanted(f->hub));
}

static void
what_is_refused_is_named_and_counted(void **state)
{
	struct fixture *f = *state;
	const struct hub_counts *counts = hub_counts(f->hub);
	static const char long_name[129 + 1] =
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

	char deep[1000];

	memset(deep, '[', sizeof(deep) / 2);
	memset(deep + sizeof(deep) / 2, ']', sizeof(deep) / 2);
	f->conf.limits.message_bytes_max = 8;
	assert_int_equal(publish(f, "", "x"), -EINVAL);
	assert_int_equal(publish(f, "a b", "x"), -EINVAL);
	assert_int_equal(publish(f, long_name, "x"), -EINVAL);
	assert_int_equal(publish(f, long_name + 1, "x"), 1);
	assert_int_equal(publish(f, "a", "12345678"), 1);
	assert_int_equal(publish(f, "a", "123456789"), -EMSGSIZE);
	f->conf.limits.message_bytes_max = sizeof(deep);
	assert_int_equal(counts->refused_message_bytes, 1);
	assert_int_equal(publish(f, "a", "\xff"), -EILSEQ);
	assert_int_equal(
	    publish_as(f, "a", HUB_OUTSIDE, MESSAGE_JSON, "{", 1), -EBADMSG);
	assert_int_equal(
	    publish_as(f, "a", HUB_OUTSIDE, MESSAGE_JSON, deep, sizeof(deep)),
	    -EBADMSG);
	assert_int_equal(counts->refused_payload, 3);
	assert_int_equal(
	    publish_as(f, "a", HUB_OUTSIDE, MESSAGE_JSON, "{}", 2), 2);
	assert_int_equal(
	    publish_as(f, "a", HUB_OUTSIDE, MESSAGE_BINARY, "\xff", 1), 3);
	/* A refused publish makes no channel. */
	assert_int_equal(publish(f, "b", "\xff"), -EILSEQ);
	assert_int_equal(hub_channel_count(f->hub), 2);
	assert_int_equal(counts->messages_in, 4);
}

static void
what_was_checked_is_not_checked_again(void **state)
{
	const struct hub_message bad = { .payload = "\xff", .len = 1, true };
	struct fixture *f = *state;

	assert_int_equal(
	    hub_publish(f->hub, "a", 1, HUB_OUTSIDE, &bad, f->now_us, NULL), 1);
}

static void
channels_are_limited_in_number(void **state)
{
	struct fixture *f = *state;
	const struct from live = { .kind = FROM_LIVE };
	struct consumer consumer = { 0 };
	struct hub_answer answer;

	f->conf.limits.channels_max = 3;
	assert_int_equal(publish(f, "a", "x"), 1);
	assert_int_equal(publish(f, "b", "x"), 1);
	assert_int_equal(publish(f, "c", "x"), 1);
	assert_int_equal(publish(f, "d", "x"), -ENFILE);
	assert_int_equal(subscribe(f, &consumer, "d", &live, &answer), -ENFILE);
	assert_int_equal(hub_counts(f->hub)->refused_channels, 2);
	assert_int_equal(publish(f, "c", "x"), 2);
}

static void
many_channels_are_found_again(void **state)
{
	struct fixture *f = *state;
	char name[32];

	for (int round = 1; round <= 2; round++)
		for (int i = 0; i < 20000; i++) {
			(void)snprintf(name, sizeof(name), "c%d", i);
			assert_int_equal(publish(f, name, "x"), round);
		}
	assert_int_equal(hub_channel_count(f->hub), 20000);
	/* A quiet channel is cheap. */
	assert_true(hub_memory_bytes(f->hub) < 20000 * 4400);
}

static void
after_closing_only_what_comes_from_inside_is_taken(void **state)
{
	struct fixture *f = *state;
	const struct from live = { .kind = FROM_LIVE };
	struct consumer consumer = { 0 };
	struct hub_answer answer;

	hub_close_intake(f->hub);
	assert_int_equal(publish(f, "a", "x"), -ESHUTDOWN);
	assert_int_equal(
	    publish_as(f, "a", HUB_INSIDE, MESSAGE_TEXT, "x", 1), 1);
	assert_int_equal(
	    subscribe(f, &consumer, "a", &live, &answer), -ESHUTDOWN);
	assert_null(consumer.channel);
	assert_int_equal(hub_counts(f->hub)->refused_closing, 2);
}

/* One row: where a subscriber begins, and what it is told. */
static void
check_from(struct fixture *f, struct from from, int64_t position,
    bool recovered, int64_t gap_from, int64_t gap_to)
{
	struct consumer consumer = { 0 };
	struct hub_answer answer;
	uint64_t epoch = from.position.epoch;

	assert_int_equal(subscribe(f, &consumer, "short.a", &from, &answer), 0);
	assert_int_equal(answer.position.offset, position);
	assert_int_equal(answer.recovered, recovered);
	assert_int_equal(answer.gap_from, gap_from);
	assert_int_equal(answer.gap_to, gap_to);
	assert_int_equal(consumer.cursor.offset, position + 1);
	if (from.kind == FROM_POSITION && recovered)
		assert_true(answer.position.epoch == epoch);
	assert_string_equal(hub_consumer_channel(&consumer), "short.a");
	hub_unsubscribe(f->hub, &consumer);
	hub_unsubscribe(f->hub, &consumer);
	assert_null(hub_consumer_channel(&consumer));
}

static void
a_subscriber_begins_where_it_said_or_is_told(void **state)
{
	struct fixture *f = *state;
	struct from live = { .kind = FROM_LIVE };
	struct from oldest = { .kind = FROM_OLDEST };
	struct from last = { .kind = FROM_LAST },
		    back = { .kind = FROM_POSITION };
	const struct hub_message message = { .payload = "x", .len = 1 };
	struct position position;

	/* Nothing there yet. */
	check_from(f, live, 0, true, 0, 0);
	check_from(f, oldest, 0, true, 0, 0);
	last.count = 5;
	check_from(f, last, 0, true, 0, 0);
	back.position.epoch = 1;
	check_from(f, back, 0, false, 0, 0);

	/* Of 1000 messages, ten are history, and a few hundred in memory. */
	publish_many(f, "short.a", 999);
	(void)hub_publish(
	    f->hub, "short.a", 7, HUB_OUTSIDE, &message, f->now_us, &position);
	assert_int_equal(position.offset, 1000);
	check_from(f, live, 1000, true, 0, 0);
	check_from(f, oldest, 990, true, 0, 0);
	last.count = 0;
	check_from(f, last, 1000, true, 0, 0);
	last.count = 1;
	check_from(f, last, 999, true, 0, 0);
	last.count = 10;
	check_from(f, last, 990, true, 0, 0);
	last.count = INT64_MAX;
	check_from(f, last, 990, true, 0, 0);

	back.position = position;
	check_from(f, back, 1000, true, 0, 0);
	back.position.offset = 999;
	check_from(f, back, 999, true, 0, 0);
	/* Before the history, and still in memory: exactly on. */
	back.position.offset = 985;
	check_from(f, back, 985, true, 0, 0);
	back.position.offset = 3;
	check_from(f, back, 990, false, 4, 990);
	back.position.offset = 0;
	check_from(f, back, 990, false, 1, 990);
	/* Ahead of the tape, and another tape's. */
	back.position.offset = 1001;
	check_from(f, back, 990, false, 0, 0);
	back.position.offset = INT64_MAX;
	check_from(f, back, 990, false, 0, 0);
	back.position.offset = 999;
	back.position.epoch++;
	check_from(f, back, 990, false, 0, 0);
}

static void
history_that_is_too_old_is_not_replayed(void **state)
{
	struct fixture *f = *state;
	const struct from oldest = { .kind = FROM_OLDEST };

	publish_many(f, "short.a", 5);
	f->now_us += 61 * SECOND;
	check_from(f, oldest, 5, true, 0, 0);
}

static void
lag_is_what_a_consumer_lacks(void **state)
{
	struct fixture *f = *state;
	const struct from oldest = { .kind = FROM_OLDEST };
	struct consumer consumer = { 0 };
	struct hub_answer answer;

	assert_true(hub_consumer_at_end(&consumer));
	assert_int_equal(hub_consumer_lag(&consumer), 0);
	publish_many(f, "a", 5);
	assert_int_equal(subscribe(f, &consumer, "a", &oldest, &answer), 0);
	assert_int_equal(hub_consumer_lag(&consumer), 5);
	assert_false(hub_consumer_at_end(&consumer));
	assert_true(hub_flush_wanted(f->hub));
	assert_false(hub_flush(f->hub, f->now_us));
	assert_int_equal(f->taken, 5000);
	assert_int_equal(hub_consumer_lag(&consumer), 0);
	assert_true(hub_consumer_at_end(&consumer));
	hub_unsubscribe(f->hub, &consumer);
}

static void
sum_memory(const struct hub_channel_stats *stats, void *arg)
{
	*(uint64_t *)arg += stats->memory_bytes;
}

static uint64_t
memory_of_channels(struct fixture *f)
{
	uint64_t sum = 0;

	hub_each_channel(f->hub, f->now_us, sum_memory, &sum);
	return sum;
}

static void
tapes_have_a_limit_together(void **state)
{
	struct fixture *f = *state;
	uint64_t limit = (uint64_t)(2048 * KIB);
	char name[32];
	int64_t rc = 1;
	int i;

	f->conf.limits.tapes_bytes_max = (int64_t)limit;
	for (i = 0; i < 100000; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i % 7);
		rc = publish(f, name, "some message of some length");
		assert_true(hub_memory_bytes(f->hub) <= limit);
		if (rc < 0)
			break;
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(hub_counts(f->hub)->refused_tapes_bytes, 1);
	assert_int_equal(hub_counts(f->hub)->messages_in, i);
	assert_int_equal(memory_of_channels(f), hub_memory_bytes(f->hub));
	/* Half of it is in use at least, whatever the segments' sizes. */
	assert_true(hub_memory_bytes(f->hub) > limit / 2);
}

static void
what_is_too_old_makes_room(void **state)
{
	struct fixture *f = *state;
	char name[32];
	int64_t offset;

	f->conf.limits.tapes_bytes_max = 1024 * KIB;
	f->channels[0].history_messages = 1000000;
	for (int i = 0;; i++) {
		(void)snprintf(name, sizeof(name), "short.%d", i % 20);
		offset = publish(f, name, "some message of some length");
		if (offset < 0)
			break;
	}
	assert_int_equal(offset, -ENOBUFS);
	f->now_us += 59 * SECOND;
	assert_int_equal(publish(f, name, "x"), -ENOBUFS);
	f->now_us += 2 * SECOND;
	assert_true(publish(f, name, "x") > 1);
	assert_int_equal(memory_of_channels(f), hub_memory_bytes(f->hub));
	assert_true(hub_memory_bytes(f->hub) < 10 * 1024);
}

static void
a_channel_makes_room_for_itself(void **state)
{
	struct fixture *f = *state;
	char name[32];

	f->channels[0].history_messages = 1000000;
	publish_many(f, "short.own", 1500);
	f->now_us += 50 * SECOND;
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		publish_many(f, name, 1);
	}
	hub_tick(f->hub, f->now_us); /* its next turn is far off */
	f->conf.limits.tapes_bytes_max = (int64_t)hub_memory_bytes(f->hub);
	while (publish(f, "short.own", "x") > 0)
		;
	f->now_us += 15 * SECOND;
	assert_true(publish(f, "short.own", "x") > 0);
}

static void
ticks_trim_all_channels_in_turn(void **state)
{
	struct fixture *f = *state;
	char name[32];
	int ticks = 0;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "short.%d", i);
		assert_int_equal(publish(f, name, "x"), 1);
	}
	hub_tick(f->hub, f->now_us);
	assert_true(hub_memory_bytes(f->hub) > 1000 * 4096);
	f->now_us += 61 * SECOND;
	/* What stays is the short array of segments. */
	while (hub_memory_bytes(f->hub) > 1000 * 200) {
		hub_tick(f->hub, f->now_us);
		assert_in_range(++ticks, 1, 20);
	}
	/* Bounded: not all in one. */
	assert_true(ticks > 1);
	assert_int_equal(memory_of_channels(f), hub_memory_bytes(f->hub));
}

/* A script in which the n-th allocation fails.  false: there is no n-th. */
static bool
script_with_failure(struct fixture *f, int64_t n)
{
	static const struct hub_ops ops = { on_write, on_overrun };
	const struct from live = { .kind = FROM_LIVE };
	struct consumer consumers[40] = { 0 };
	struct hub_answer answer;
	struct hub *hub = NULL, *before = f->hub;
	int refused = 0;
	bool seen;
	char name[32];

	memory_fail_nth(n);
	while (hub_new(&f->conf, 7, &ops, f, &hub) == -ENOMEM)
		refused++;
	f->hub = hub;
	for (int i = 0; i < 40; i++) {
		int rc;

		while ((rc = subscribe(f, &consumers[i], "a", &live,
			    &answer)) == -ENOMEM) {
			refused++;
			assert_null(consumers[i].channel);
		}
		assert_int_equal(rc, 0);
	}
	for (int i = 0; i < 70; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		while (publish(f, name, "x") == -ENOMEM)
			refused++;
	}
	assert_int_equal(hub_channel_count(hub), 71);
	for (int i = 1; i <= 50; i++) {
		int64_t offset;

		while ((offset = publish(f, "a", name)) == -ENOMEM)
			refused++;
		assert_int_equal(offset, i);
	}
	f->taken = 0;
	assert_false(hub_flush(hub, f->now_us));
	assert_int_equal(f->taken, 40 * 50 * (2 + strlen(name)));
	for (int i = 0; i < 40; i++)
		hub_unsubscribe(hub, &consumers[i]);
	assert_int_equal(memory_of_channels(f), hub_memory_bytes(hub));
	seen = memory_fail_seen();
	memory_fail_nth(0);
	assert_in_range(refused, 0, 1);
	hub_free(hub);
	f->hub = before;
	return seen;
}

static void
any_allocation_may_fail(void **state)
{
	int64_t n = 1;

	while (script_with_failure(*state, n))
		n++;
	assert_in_range(n, 70 * 3, 1000);
}

static void
a_refused_subscriber_is_not_half_there(void **state)
{
	struct fixture *f = *state;
	struct from live = { .kind = FROM_LIVE };
	struct consumer consumer = { 0 };
	struct hub_answer answer;

	assert_int_equal(
	    subscribe(f, &consumer, "no good", &live, &answer), -EINVAL);
	assert_null(consumer.channel);
	hub_unsubscribe(f->hub, &consumer);
	hub_consumer_writable(f->hub, &consumer);
	assert_false(hub_flush_wanted(f->hub));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(publish_answers_with_the_position),
		TEST(what_is_refused_is_named_and_counted),
		TEST(what_was_checked_is_not_checked_again),
		TEST(channels_are_limited_in_number),
		TEST(many_channels_are_found_again),
		TEST(after_closing_only_what_comes_from_inside_is_taken),
		TEST(a_subscriber_begins_where_it_said_or_is_told),
		TEST(history_that_is_too_old_is_not_replayed),
		TEST(lag_is_what_a_consumer_lacks),
		TEST(tapes_have_a_limit_together),
		TEST(what_is_too_old_makes_room),
		TEST(a_channel_makes_room_for_itself),
		TEST(ticks_trim_all_channels_in_turn),
		TEST(any_allocation_may_fail),
		TEST(a_refused_subscriber_is_not_half_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
