/*
 * History ranges, single messages, and a channel's numbers.
 */

#include "daemon/base/memory.h"
#include "daemon/hub/hub_internal.h"
#include "tests/lib/payload.h"
#include "tests/lib/peers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)

static struct hub_history
history(struct peers *f, struct from from, int64_t limit)
{
	struct hub_history history;

	assert_int_equal(
	    hub_history(f->hub, "a", 1, &from, limit, f->now_us, &history), 0);
	return history;
}

static void
check_range(struct peers *f, struct from from, int64_t limit, int64_t first,
    int64_t last, bool recovered)
{
	struct hub_history found = history(f, from, limit);

	assert_int_equal(found.first, first);
	assert_int_equal(found.last, last);
	assert_int_equal(found.answer.position.offset, first - 1);
	assert_true(found.answer.position.epoch == f->of[0].epoch);
	assert_int_equal(found.answer.recovered, recovered);
	assert_int_equal(found.newest, f->of[0].newest);
}

static void
what_a_reader_is_to_get(void **state)
{
	struct peers *f = *state;
	struct from live = { .kind = FROM_LIVE };
	struct from oldest = { .kind = FROM_OLDEST };
	struct from last = { .kind = FROM_LAST, .count = 20 };
	struct from back = { .kind = FROM_POSITION };

	f->channels[0].history_messages = 100;
	f->channels[0].buffer_bytes = 0;
	for (int i = 0; i < 5000; i++)
		peers_publish(f, 0, 1000);
	back.position.epoch = f->of[0].epoch;
	assert_int_equal(history(f, live, 1).oldest, 4901);

	/* Without a place to begin: the last ones. */
	check_range(f, live, 10, 4991, 5000, true);
	check_range(f, live, 1000, 4901, 5000, true);
	check_range(f, live, INT64_MAX, 4901, 5000, true);
	check_range(f, live, 0, 5001, 5000, true);
	/* With one: the first ones from there. */
	check_range(f, oldest, 10, 4901, 4910, true);
	check_range(f, oldest, 100, 4901, 5000, true);
	check_range(f, oldest, INT64_MAX, 4901, 5000, true);
	check_range(f, last, 10, 4981, 4990, true);
	check_range(f, last, 30, 4981, 5000, true);
	back.position.offset = 4950;
	check_range(f, back, 10, 4951, 4960, true);
	back.position.offset = 5000; /* has all */
	check_range(f, back, 10, 5001, 5000, true);
	/* Not history any more, in memory still. */
	back.position.offset = 4899;
	check_range(f, back, 10, 4900, 4909, true);
	/* Gone, ahead, another's. */
	back.position.offset = 7;
	check_range(f, back, 10, 4901, 4910, false);
	assert_int_equal(history(f, back, 10).answer.gap_from, 8);
	assert_int_equal(history(f, back, 10).answer.gap_to, 4900);
	back.position.offset = 5001;
	check_range(f, back, 10, 4901, 4910, false);
	back.position.epoch++;
	check_range(f, back, 10, 4901, 4910, false);
	assert_int_equal(history(f, back, 10).answer.gap_to, 0);
}

static void
asking_makes_no_channel_and_sees_age(void **state)
{
	struct peers *f = *state;
	const struct from live = { .kind = FROM_LIVE };
	struct hub_history found;
	struct hub_channel_stats stats;

	assert_int_equal(
	    hub_history(f->hub, "a", 1, &live, 10, f->now_us, &found), -ENOENT);
	assert_int_equal(
	    hub_history(f->hub, "a b", 3, &live, 10, f->now_us, &found),
	    -EINVAL);
	assert_int_equal(hub_find(f->hub, "a", 1, f->now_us, &stats), -ENOENT);
	assert_int_equal(hub_find(f->hub, "", 0, f->now_us, &stats), -ENOENT);
	assert_int_equal(hub_channel_count(f->hub), 0);
	peers_publish(f, 0, 100);
	assert_int_equal(hub_find(f->hub, "b", 1, f->now_us, &stats), -ENOENT);
	check_range(f, live, 10, 1, 1, true);
	f->now_us += 3601 * SECOND;
	check_range(f, live, 10, 2, 1, true);
}

static void
each_message_is_read_as_it_was_published(void **state)
{
	static const size_t lens[] = { 40, 16384, 16385, 100000 };
	struct peers *f = *state;
	struct buffer scratch = { 0 };
	struct message message;
	uint64_t epoch;

	for (int i = 0; i < 12; i++)
		peers_publish_kind(
		    f, 0, (enum message_kind)(i % 3), lens[i % 4]);
	epoch = f->of[0].epoch;
	for (int i = 0; i < 12; i++) {
		assert_int_equal(
		    hub_read(f->hub, "a", 1, epoch, i + 1, &scratch, &message),
		    0);
		payload_make(&f->expected, (enum message_kind)(i % 3), "a",
		    i + 1, lens[i % 4]);
		assert_int_equal(message.len, lens[i % 4]);
		assert_memory_equal(
		    message.payload, f->expected.data, message.len);
		assert_int_equal(message.kind, i % 3);
		assert_int_equal(message.offset, i + 1);
		assert_int_equal(message.time_us, f->now_us);
		assert_true(message.epoch == epoch);
		assert_int_equal(message.channel_len, 1);
		assert_memory_equal(message.channel, "a", 1);
	}
	assert_int_equal(
	    hub_read(f->hub, "b", 1, epoch, 1, &scratch, &message), -ENOENT);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, epoch + 1, 1, &scratch, &message),
	    -ESTALE);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, epoch, 13, &scratch, &message), -ESTALE);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, epoch, 0, &scratch, &message), -ESTALE);
	/* Fragments are put together, one piece needs no memory. */
	buffer_fini(&scratch);
	memory_fail_nth(1);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, epoch, 2, &scratch, &message), 0);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, epoch, 3, &scratch, &message), -ENOMEM);
	memory_fail_nth(0);
	buffer_fini(&scratch);
}

static void
what_retention_took_is_stale(void **state)
{
	struct peers *f = *state;
	struct buffer scratch = { 0 };
	struct message message;

	f->channels[0].buffer_bytes = 0;
	f->channels[0].history_messages = 1;
	for (int i = 0; i < 2000; i++)
		peers_publish(f, 0, 1000);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, f->of[0].epoch, 1, &scratch, &message),
	    -ESTALE);
	assert_int_equal(
	    hub_read(f->hub, "a", 1, f->of[0].epoch, 2000, &scratch, &message),
	    0);
}

static void
lag_is_told_in_messages_bytes_and_time(void **state)
{
	const struct from oldest = { .kind = FROM_OLDEST };
	struct peers *f = *state;
	struct hub_channel_stats stats;

	for (int view = 0; view < VIEW_KINDS; view++) {
		f->view = (enum view_kind)view;
		peers_listen(f, &f->peers[view], 0);
	}
	for (int i = 0; i < 10; i++) {
		peers_publish(f, 0, 98);
		f->now_us += SECOND;
	}
	f->view = VIEW_RAW;
	peers_listen(f, &f->peers[10], 0);
	f->peers[VIEW_SSE].stalled = f->peers[10].stalled = true;
	peers_publish(f, 0, 98);
	while (peers_flush(f))
		;
	assert_int_equal(hub_find(f->hub, "a", 1, f->now_us, &stats), 0);
	assert_int_equal(stats.consumers, VIEW_KINDS + 1);
	assert_int_equal(stats.lag_messages_max, 11);
	assert_int_equal(stats.lag_bytes_max, 11 * 100);
	assert_int_equal(stats.lag_us_max, 10 * SECOND);
	/* The clock was set back. */
	assert_int_equal(
	    hub_find(f->hub, "a", 1, f->now_us - 60 * SECOND, &stats), 0);
	assert_int_equal(stats.lag_us_max, 0);
	f->peers[VIEW_SSE].stalled = f->peers[10].stalled = false;
	peers_writable(f, &f->peers[10]);
	peers_writable(f, &f->peers[VIEW_SSE]);
	while (peers_flush(f))
		;
	assert_int_equal(hub_find(f->hub, "a", 1, f->now_us, &stats), 0);
	assert_int_equal(stats.lag_messages_max, 0);
	assert_int_equal(stats.lag_bytes_max, 0);
	assert_int_equal(stats.lag_us_max, 0);
	assert_int_equal(stats.newest, 11);
	assert_string_equal(stats.name, "a");
	f->view = VIEW_V1;
	peers_connect(f, &f->peers[VIEW_KINDS], 0, &oldest);
	assert_int_equal(hub_find(f->hub, "a", 1, f->now_us, &stats), 0);
	assert_int_equal(stats.lag_messages_max, 11);
}

static void
count_consumer(struct consumer *consumer, void *arg)
{
	assert_string_equal(hub_consumer_channel(consumer), "a");
	++*(int *)arg;
}

static void
all_consumers_of_a_channel_are_walked(void **state)
{
	struct peers *f = *state;
	int count = 0;

	hub_each_consumer(f->hub, "a", 1, count_consumer, &count);
	assert_int_equal(count, 0);
	for (int i = 0; i < 30; i++)
		peers_listen(f, &f->peers[i], i % 2);
	hub_each_consumer(f->hub, "a", 1, count_consumer, &count);
	assert_int_equal(count, 15);
}

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_a_reader_is_to_get),
		TEST(asking_makes_no_channel_and_sees_age),
		TEST(each_message_is_read_as_it_was_published),
		TEST(what_retention_took_is_stale),
		TEST(lag_is_told_in_messages_bytes_and_time),
		TEST(all_consumers_of_a_channel_are_walked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
