/*
 * The tape by itself: offsets, what history keeps, what memory costs, failing
 * allocations.  Its bytes are compared with a model in test_cursor.c.
 */

#include "daemon/base/memory.h"
#include "daemon/tape/tape_internal.h"
#include "proto/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEGMENT_MAX (256u * 1024)
#define MANY INT64_C(1000000000)

static const struct message_meta text = { MESSAGE_TEXT, 1000 };

static struct tape *
new_tape(int64_t messages, int64_t bytes, int64_t age_us, int64_t buffer)
{
	const struct tape_limits limits = { messages, bytes, age_us, buffer };
	struct tape *tape;

	assert_int_equal(tape_new(&limits, 0xabcd, &tape), 0);
	return tape;
}

static void
fill(struct tape *tape, int64_t count, size_t len)
{
	uint8_t *payload = calloc(1, len + 1);

	assert_non_null(payload);
	for (int64_t i = 0; i < count; i++) {
		int64_t next = tape_newest(tape) + 1;

		assert_int_equal(tape_append(tape, &text, payload, len), next);
	}
	free(payload);
}

static void
a_new_tape_is_empty_and_costs_nothing(void **state)
{
	struct tape *tape = new_tape(10, 1000, 1, 1000);
	struct message_meta meta;
	struct span span;

	(void)state;
	assert_int_equal(tape_epoch(tape), 0xabcd);
	assert_int_equal(tape_newest(tape), 0);
	assert_int_equal(tape_oldest(tape), 1);
	assert_int_equal(tape_kept(tape), 1);
	assert_int_equal(tape_memory_bytes(tape), 0);
	assert_int_equal(tape_message(tape, 0, &meta, &span), -ENOENT);
	assert_int_equal(tape_message(tape, 1, &meta, &span), -ENOENT);
	tape_trim(tape, MANY);
	assert_int_equal(tape_oldest(tape), 1);
	tape_free(tape);
	tape_free(NULL);
}

static void
offsets_are_dense_from_one(void **state)
{
	struct tape *tape = new_tape(MANY, MANY, MANY, 0);

	(void)state;
	for (int64_t i = 1; i <= 100000; i++)
		assert_int_equal(tape_append(tape, &text, "x", 1), i);
	assert_int_equal(tape_newest(tape), 100000);
	assert_int_equal(tape_kept(tape), 1);
	tape_free(tape);
}

static void
text_and_json_are_text_frames_binary_is_binary(void **state)
{
	static const int opcodes[] = { [MESSAGE_TEXT] = 0x81,
		[MESSAGE_JSON] = 0x81,
		[MESSAGE_BINARY] = 0x82 };
	struct tape *tape = new_tape(MANY, MANY, MANY, 0);

	(void)state;
	for (int kind = MESSAGE_TEXT; kind <= MESSAGE_BINARY; kind++) {
		struct message_meta meta = { (enum message_kind)kind, kind };
		struct span span;
		int64_t offset = tape_append(tape, &meta, "12", 2);

		memset(&meta, 0xff, sizeof(meta));
		assert_int_equal(tape_message(tape, offset, &meta, &span), 0);
		assert_int_equal(meta.kind, kind);
		assert_int_equal(meta.time_us, kind);
		assert_int_equal(span.len, 4);
		assert_int_equal(span.data[0], opcodes[kind]);
		assert_memory_equal(span.data + 1,
		    "\x02"
		    "12",
		    3);
	}
	tape_free(tape);
}

static void
history_is_cut_message_by_message(void **state)
{
	struct tape *tape = new_tape(7, MANY, MANY, 0);

	(void)state;
	for (int64_t i = 1; i <= 50; i++) {
		fill(tape, 1, 10);
		assert_int_equal(tape_oldest(tape), i < 7 ? 1 : i - 6);
	}
	tape_free(tape);

	/* Bytes are bytes on the wire: 12 each. */
	tape = new_tape(MANY, 60, MANY, 0);
	for (int64_t i = 1; i <= 50; i++) {
		fill(tape, 1, 10);
		assert_int_equal(tape_oldest(tape), i < 5 ? 1 : i - 4);
	}
	/* Longer than the history allows at all: there is none. */
	fill(tape, 1, 60);
	assert_int_equal(tape_oldest(tape), tape_newest(tape) + 1);
	fill(tape, 1, 10);
	assert_int_equal(tape_oldest(tape), tape_newest(tape));
	tape_free(tape);
}

static void
age_is_looked_at_by_trim_only(void **state)
{
	struct tape *tape = new_tape(MANY, MANY, 100, 0);

	(void)state;
	for (int64_t i = 1; i <= 10; i++) {
		const struct message_meta meta = { MESSAGE_TEXT, 1000 + i };

		assert_int_equal(tape_append(tape, &meta, "x", 1), i);
	}
	tape_trim(tape, 1101);
	assert_int_equal(tape_oldest(tape), 1); /* 100 old is not too old */
	tape_trim(tape, 1105);
	assert_int_equal(tape_oldest(tape), 5);
	tape_trim(tape, 1000); /* the clock was set back */
	assert_int_equal(tape_oldest(tape), 5);
	fill(tape, 1, 1);
	assert_int_equal(tape_oldest(tape), 5);
	tape_trim(tape, 5000);
	assert_int_equal(tape_oldest(tape), 12);
	/* No buffer is asked for, so nothing is in memory. */
	assert_int_equal(tape_kept(tape), 12);
	fill(tape, 1, 1);
	assert_int_equal(tape_oldest(tape), 12);
	assert_int_equal(tape_kept(tape), 12);
	tape_free(tape);
}

static void
the_buffer_is_kept_beyond_the_history(void **state)
{
	struct tape *tape = new_tape(0, 0, 0, 1024 * 1024);
	int64_t kept_bytes, most = 0;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		fill(tape, 1, 996); /* 1000 on the wire */
		tape_trim(tape, MANY);
		assert_int_equal(tape_oldest(tape), tape_newest(tape) + 1);
		kept_bytes = (tape_newest(tape) - tape_kept(tape) + 1) * 1000;
		if (i * 1000 > 1024 * 1024)
			assert_true(kept_bytes >= 1024 * 1024);
		if (kept_bytes > most)
			most = kept_bytes;
	}
	/* And no more than the segment that its first byte lies in. */
	assert_true(most <= 1024 * 1024 + SEGMENT_MAX);
	tape_free(tape);
}

static void
a_quiet_channel_costs_its_first_segment(void **state)
{
	struct tape *tape = new_tape(1000, 16 << 20, MANY, 1024 * 1024);
	size_t before = 0;

	(void)state;
	fill(tape, 10, 100);
	assert_in_range(tape_memory_bytes(tape), 4096, 4096 + 256);
	/* It grows with what is in it, twice as much at most. */
	for (int i = 0; i < 3000; i++) {
		size_t used = (size_t)tape_newest(tape) * (102 + 16);

		assert_true(tape_memory_bytes(tape) < 2 * used + 2 * 4096);
		assert_true(tape_memory_bytes(tape) >= before);
		before = tape_memory_bytes(tape);
		fill(tape, 1, 100);
	}
	tape_free(tape);
}

static void
a_full_tape_publishes_without_allocating(void **state)
{
	struct tape *tape = new_tape(1000, MANY, MANY, 1024 * 1024);

	(void)state;
	fill(tape, 30000, 100);
	memory_fail_nth(1);
	fill(tape, 30000, 100);
	assert_false(memory_fail_seen());
	memory_fail_nth(0);
	tape_free(tape);
}

static void
long_messages_leave_no_long_tails(void **state)
{
	struct tape *tape = new_tape(MANY, MANY, MANY, 0);
	size_t payload = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		fill(tape, 1, 140000); /* one to a segment of 256 KiB */
		fill(tape, 1, 300000); /* longer than one */
		fill(tape, 1, 1);
		payload += 440001;
	}
	assert_true(tape_memory_bytes(tape) < payload + payload / 8);
	tape_free(tape);
}

static void
a_tail_that_cannot_be_given_back_stays(void **state)
{
	struct tape *tape = new_tape(MANY, MANY, MANY, 0);
	struct message_meta meta;
	struct span span;

	(void)state;
	/* So that the index is longer than the tail it would be moved over. */
	for (uint8_t i = 1; i <= 120; i++)
		assert_int_equal(tape_append(tape, &text, &i, 1), i);
	memory_fail_nth(2); /* the first is the next segment's */
	fill(tape, 1, 70000);
	assert_true(memory_fail_seen());
	memory_fail_nth(0);
	for (int64_t i = 1; i <= 120; i++) {
		assert_int_equal(tape_message(tape, i, &meta, &span), 0);
		assert_int_equal(span.len, 3);
		assert_int_equal(span.data[2], i);
	}
	tape_free(tape);
}

static void
a_long_message_goes_with_its_segment(void **state)
{
	struct tape *tape = new_tape(1, MANY, MANY, 0);

	(void)state;
	fill(tape, 1, 8 << 20);
	assert_true(tape_memory_bytes(tape) > 8 << 20);
	assert_true(tape_memory_bytes(tape) < (8 << 20) + 8192);
	fill(tape, 1, 1);
	tape_trim(tape, 1000);
	assert_int_equal(tape_kept(tape), 2);
	assert_true(tape_memory_bytes(tape) <= SEGMENT_MAX);
	tape_free(tape);
}

static void
what_nobody_could_send_is_refused(void **state)
{
	struct tape *tape = new_tape(1, MANY, MANY, 0);

	(void)state;
	assert_int_equal(
	    tape_append(tape, &text, "", (size_t)TAPE_PAYLOAD_BYTES_MAX + 1),
	    -EMSGSIZE);
	assert_int_equal(tape_newest(tape), 0);
	tape_free(tape);
}

static void
growth_is_told_beforehand(void **state)
{
	struct tape *tape = new_tape(500, MANY, MANY, 100000);
	unsigned short random[3] = { 1, 2, 3 };

	(void)state;
	for (int i = 0; i < 5000; i++) {
		size_t len = (size_t)(nrand48(random) % 9000);
		size_t before = tape_memory_bytes(tape);
		size_t growth = tape_growth_bytes(tape, len);

		fill(tape, 1, len);
		assert_true(tape_memory_bytes(tape) <= before + growth);
		if (growth == 0)
			assert_int_equal(tape_memory_bytes(tape), before);
	}
	tape_free(tape);
}

/* Fails the n-th allocation of the script.  false: there is no n-th. */
static bool
script_with_failure(int64_t n)
{
	static const size_t lens[] = { 100, 5000, 70000, 300000, 30, 20000 };
	static uint8_t payload[300000];
	const struct tape_limits limits = { 40, MANY, MANY, 500000 };
	struct tape *tape = NULL;
	bool seen;
	int refused = 0;

	memory_fail_nth(n);
	while (tape_new(&limits, 1, &tape) == -ENOMEM)
		refused++;
	for (int64_t i = 1; i <= 120; i++) {
		size_t len = lens[i % 6];
		struct message_meta meta;
		struct span span;
		int64_t offset;

		memset(payload, (int)i, len);
		while ((offset = tape_append(tape, &text, payload, len)) ==
		       -ENOMEM) {
			refused++;
			assert_int_equal(tape_newest(tape), i - 1);
		}
		assert_int_equal(offset, i);
		for (int64_t o = tape_oldest(tape); o <= i; o++) {
			assert_int_equal(
			    tape_message(tape, o, &meta, &span), 0);
			assert_int_equal(
			    span.len, frame_message_bytes(lens[o % 6]));
			assert_int_equal(span.data[span.len - 1], o);
		}
	}
	seen = memory_fail_seen();
	memory_fail_nth(0);
	assert_in_range(refused, 0, 1); /* giving back a tail may fail too */
	tape_free(tape);
	return seen;
}

static void
any_allocation_may_fail_and_nothing_is_lost(void **state)
{
	int64_t n = 1;

	(void)state;
	while (script_with_failure(n))
		n++;
	assert_in_range(n, 30, 1000);
}

static void
other_limits_hold_from_the_next_trim_on(void **state)
{
	struct tape_limits limits = { 5, MANY, MANY, 0 };
	struct tape *tape = new_tape(MANY, MANY, MANY, MANY);
	size_t before;

	(void)state;
	fill(tape, 1000, 1000);
	before = tape_memory_bytes(tape);
	tape_set_limits(tape, &limits);
	assert_int_equal(tape_oldest(tape), 1);
	tape_trim(tape, 2000);
	assert_int_equal(tape_oldest(tape), 996);
	assert_true(tape_memory_bytes(tape) < before);
	limits.history_messages = 10;
	tape_set_limits(tape, &limits);
	fill(tape, 3, 1000);
	assert_int_equal(tape_oldest(tape), 996);
	fill(tape, 7, 1000);
	assert_int_equal(tape_oldest(tape), 1001);
	tape_free(tape);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_tape_is_empty_and_costs_nothing),
		cmocka_unit_test(offsets_are_dense_from_one),
		cmocka_unit_test(
		    text_and_json_are_text_frames_binary_is_binary),
		cmocka_unit_test(history_is_cut_message_by_message),
		cmocka_unit_test(age_is_looked_at_by_trim_only),
		cmocka_unit_test(the_buffer_is_kept_beyond_the_history),
		cmocka_unit_test(a_quiet_channel_costs_its_first_segment),
		cmocka_unit_test(a_full_tape_publishes_without_allocating),
		cmocka_unit_test(long_messages_leave_no_long_tails),
		cmocka_unit_test(a_tail_that_cannot_be_given_back_stays),
		cmocka_unit_test(a_long_message_goes_with_its_segment),
		cmocka_unit_test(what_nobody_could_send_is_refused),
		cmocka_unit_test(growth_is_told_beforehand),
		cmocka_unit_test(other_limits_hold_from_the_next_trim_on),
		cmocka_unit_test(any_allocation_may_fail_and_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
