/*
 * Derived views of one tape: what is built, when, how often, and what goes.
 * What the bytes say is read back by the random scripts of test_hub_model.c.
 */

#include "daemon/base/memory.h"
#include "daemon/tape/block.h"
#include "daemon/tape/tape_internal.h"
#include "tests/lib/payload.h"
#include "tests/lib/receiver.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KIB 1024u
#define MIB (1024u * KIB)
#define SPAN (64 * KIB)
#define ALL INT64_MAX

struct fixture {
	struct tape *tape;
	struct views *views;
	struct receiver_tools tools;
	struct buffer payload;
	int64_t received;
};

static int
setup(void **state)
{
	const struct tape_limits limits = { 1000000, 1 << 30, 1 << 30, 0 };
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(tape_new(&limits, 0xabc, &f->tape), 0);
	assert_int_equal(views_new(&f->views), 0);
	views_begin(f->views, 64 * MIB);
	receiver_tools_init(&f->tools);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	/* Open ones are left by a test that failed. */
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++)
		while (f->tape->derived[view - 1])
			tape_close_view(f->tape, view);
	tape_free(f->tape);
	views_free(f->views);
	tape_free(NULL);
	views_free(NULL);
	receiver_tools_fini(&f->tools);
	buffer_fini(&f->payload);
	free(f);
	return 0;
}

static void
publish(struct fixture *f, enum message_kind kind, size_t len)
{
	const struct message_meta meta = { kind, 1 };
	int64_t offset = tape_newest(f->tape) + 1;

	payload_make(&f->payload, kind, "a", offset, len);
	assert_int_equal(
	    tape_append(f->tape, &meta, f->payload.data, len), offset);
}

static void
publish_many(struct fixture *f, int count, size_t len)
{
	for (int i = 0; i < count; i++)
		publish(f, MESSAGE_TEXT, len);
}

static void
open_view(struct fixture *f, enum view_kind view)
{
	assert_int_equal(tape_open_view(f->tape, f->views, view, "a", 1), 0);
}

static struct cursor
cursor_at(struct fixture *f, enum view_kind view, int64_t offset)
{
	struct cursor cursor;

	assert_int_equal(cursor_to(f->tape, view, offset, &cursor), 0);
	return cursor;
}

/* All from the cursor on; out may be NULL.  Returns the number of spans. */
static int
read_all(struct fixture *f, enum view_kind view, struct cursor *cursor,
    struct buffer *out)
{
	int64_t build = ALL;
	struct span span;
	int spans = 0;

	while (cursor_span(f->tape, view, cursor, SPAN, &build, &span) == 1) {
		assert_in_range(span.len, 1, SPAN);
		if (out)
			assert_int_equal(
			    buffer_append(out, span.data, span.len, 1u << 30),
			    0);
		(void)cursor_advance(f->tape, view, cursor, span.len);
		spans++;
	}
	assert_true(cursor_at_end(f->tape, cursor));
	assert_false(cursor_inside_message(cursor));
	return spans;
}

static uint64_t
built(const struct fixture *f)
{
	return views_counts(f->views)->built;
}

static void
each_message_is_encoded_once_for_all(void **state)
{
	struct fixture *f = *state;

	publish_many(f, 2000, 100);
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++) {
		struct buffer first = { 0 };
		uint64_t before = built(f);

		for (int reader = 0; reader < 20; reader++) {
			struct cursor cursor;
			struct buffer all = { 0 };

			open_view(f, view);
			cursor = cursor_at(f, view, 1);
			(void)read_all(f, view, &cursor, &all);
			if (reader == 0)
				first = all;
			assert_int_equal(all.len, first.len);
			assert_memory_equal(all.data, first.data, all.len);
			if (reader > 0)
				buffer_fini(&all);
		}
		assert_int_equal(built(f) - before, 2000);
		buffer_fini(&first);
		for (int reader = 0; reader < 20; reader++) {
			assert_true(views_bytes(f->views) > 0);
			tape_close_view(f->tape, view);
		}
		assert_int_equal(views_bytes(f->views), 0);
	}
	/* Both deflated views, and they alone. */
	assert_int_equal(views_counts(f->views)->compressed, 2 * 2000);
	assert_int_equal(views_counts(f->views)->evicted, 0);
}

static void
a_live_reader_builds_no_history(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;

	publish_many(f, 10000, 124); /* 128 on the wire */
	open_view(f, VIEW_V1);
	cursor = cursor_at(f, VIEW_V1, 10001);
	assert_int_equal(built(f), 0);
	publish_many(f, 1, 124);
	(void)read_all(f, VIEW_V1, &cursor, NULL);
	assert_in_range(built(f), 1, VIEW_BLOCK_BYTES / 128 + 1);
	for (int i = 0; i < 1000; i++) {
		uint64_t before = built(f);

		publish_many(f, 1, 124);
		assert_in_range(read_all(f, VIEW_V1, &cursor, NULL), 1, 2);
		assert_int_equal(built(f) - before, 1);
	}
	tape_close_view(f->tape, VIEW_V1);
}

/* Who comes to the same place is given the same bytes, not equal ones. */
static void
one_search_serves_all_at_one_place(void **state)
{
	struct fixture *f = *state;
	struct cursor first, second;
	struct span one, two;
	int64_t build = ALL;

	open_view(f, VIEW_SSE);
	publish_many(f, 10, 100);
	first = second = cursor_at(f, VIEW_SSE, 1);
	assert_int_equal(
	    cursor_span(f->tape, VIEW_SSE, &first, SPAN, &build, &one), 1);
	assert_int_equal(
	    cursor_advance(f->tape, VIEW_SSE, &first, one.len), 10);
	build = 0;
	assert_int_equal(
	    cursor_span(f->tape, VIEW_SSE, &second, SPAN, &build, &two), 1);
	assert_ptr_equal(one.data, two.data);
	assert_int_equal(one.len, two.len);
	/* More was published: the same place is worth more now. */
	publish_many(f, 1, 100);
	build = ALL;
	assert_int_equal(
	    cursor_span(f->tape, VIEW_SSE, &first, SPAN, &build, &two), 1);
	assert_int_equal(
	    cursor_span(f->tape, VIEW_SSE, &second, SPAN, &build, &two), 1);
	assert_true(two.len > one.len);
	/* Another max is another span. */
	assert_int_equal(cursor_span(f->tape, VIEW_SSE, &second, SPAN / 2 - 99,
			     &build, &one),
	    1);
	assert_int_equal(
	    one.len, two.len < SPAN / 2 - 99 ? two.len : SPAN / 2 - 99);
	tape_close_view(f->tape, VIEW_SSE);
}

static void
building_stops_at_its_budget_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;
	struct span span;
	int64_t build;
	int calls = 0, rc;

	publish_many(f, 1000, 100);
	open_view(f, VIEW_V1);
	/* The 200 before it in its block come first, one a call. */
	cursor = cursor_at(f, VIEW_V1, 201);
	for (;;) {
		build = 1;
		rc =
		    cursor_span(f->tape, VIEW_V1, &cursor, SPAN, &build, &span);
		calls++;
		assert_int_equal(built(f), calls);
		assert_in_range(-build, 100, 300);
		if (rc == 1)
			break;
		assert_int_equal(rc, -EAGAIN);
	}
	assert_true(calls > 1);
	assert_true(calls <= 201);
	assert_int_equal(
	    cursor_advance(f->tape, VIEW_V1, &cursor, span.len), 1);
	build = 0;
	assert_int_equal(
	    cursor_span(f->tape, VIEW_V1, &cursor, SPAN, &build, &span),
	    -EAGAIN);
	assert_int_equal(built(f), calls);
	(void)read_all(f, VIEW_V1, &cursor, NULL);
	assert_true(built(f) <= 1000);
	tape_close_view(f->tape, VIEW_V1);
}

static void
compressing_short_messages_has_its_price(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;
	struct span span;
	int64_t build = 10 * 1024;

	publish_many(f, 1000, 100);
	open_view(f, VIEW_RAW_DEFLATED);
	cursor = cursor_at(f, VIEW_RAW_DEFLATED, 1);
	assert_int_equal(cursor_span(f->tape, VIEW_RAW_DEFLATED, &cursor, SPAN,
			     &build, &span),
	    1);
	assert_int_equal(built(f), 10);
	tape_close_view(f->tape, VIEW_RAW_DEFLATED);
}

/* Three messages of a view, and the places where a span of it may end. */
static void
check_spans(struct fixture *f, enum view_kind view, struct buffer *all)
{
	size_t max = FRAME_FRAGMENT_BYTES + FRAME_HEADER_MAX, at = 0;
	struct cursor cursor = cursor_at(f, view, 1);
	int64_t build = ALL, messages = 0;
	struct span span;

	while (cursor_span(f->tape, view, &cursor, max, &build, &span) == 1) {
		/* Parts of it, as a socket takes them. */
		size_t part =
		    receiver_cut(view, span.data, span.len, span.len / 2 + 1);

		assert_in_range(span.len, 1, max);
		assert_memory_equal(span.data, all->data + at, span.len);
		if (view == VIEW_SSE) /* all that fits, or a block's end */
			assert_true(
			    span.len == max ||
			    memcmp(span.data + span.len - 2, "\n\n", 2) == 0);
		else
			assert_int_equal(
			    frame_whole_bytes(span.data, span.len, max),
			    span.len);
		messages += cursor_advance(f->tape, view, &cursor, part);
		at += part;
		if (part == 0) {
			messages +=
			    cursor_advance(f->tape, view, &cursor, span.len);
			at += span.len;
		}
		assert_int_equal(cursor.offset, messages + 1);
		assert_int_equal(
		    cursor_inside_message(&cursor), cursor.place > 0);
	}
	assert_int_equal(at, all->len);
	assert_int_equal(messages, tape_newest(f->tape));
}

static void
spans_end_where_their_view_allows(void **state)
{
	struct fixture *f = *state;

	publish(f, MESSAGE_TEXT, 20);
	publish(f, MESSAGE_BINARY, 100 * KIB);
	publish(f, MESSAGE_JSON, 16384);
	publish(f, MESSAGE_TEXT, 40 * KIB);
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++) {
		struct buffer all = { 0 };
		struct cursor cursor;

		open_view(f, view);
		cursor = cursor_at(f, view, 1);
		(void)read_all(f, view, &cursor, &all);
		check_spans(f, view, &all);
		tape_close_view(f->tape, view);
		buffer_fini(&all);
	}
}

static void
the_least_recently_read_go_first(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;
	uint64_t before;

	publish_many(f, 10000, 124);
	open_view(f, VIEW_V1);
	views_begin(f->views, 500 * KIB);
	cursor = cursor_at(f, VIEW_V1, 1);
	(void)read_all(f, VIEW_V1, &cursor, NULL);
	assert_int_equal(built(f), 10000);
	assert_in_range(views_bytes(f->views), 300 * KIB, 500 * KIB);
	assert_true(views_counts(f->views)->evicted > 10);

	/* The last ones are there, the first ones are not. */
	cursor = cursor_at(f, VIEW_V1, 9500);
	(void)read_all(f, VIEW_V1, &cursor, NULL);
	assert_int_equal(built(f), 10000);
	before = views_counts(f->views)->evicted;
	for (int i = 0; i < 50; i++) {
		struct span span;
		int64_t build = ALL;

		/* What is read now and then stays, whatever passes by. */
		cursor = cursor_at(f, VIEW_V1, 9999);
		assert_int_equal(
		    cursor_span(f->tape, VIEW_V1, &cursor, SPAN, &build, &span),
		    1);
		assert_int_equal(build, ALL);
		cursor = cursor_at(f, VIEW_V1, 1 + 150 * i);
		assert_int_equal(
		    cursor_span(f->tape, VIEW_V1, &cursor, SPAN, &build, &span),
		    1);
		assert_true(views_bytes(f->views) <= 500 * KIB);
	}
	assert_true(views_counts(f->views)->evicted > before + 10);
	tape_close_view(f->tape, VIEW_V1);
}

/* Dropped and built again under a cursor that is inside of a message. */
static void
the_same_message_gives_the_same_bytes(void **state)
{
	struct fixture *f = *state;

	publish_many(f, 300, 200);
	publish(f, MESSAGE_TEXT, 200 * KIB);
	publish_many(f, 3000, 200);
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++) {
		struct buffer all = { 0 }, pieces = { 0 };
		struct cursor cursor, other;
		struct span span;
		int64_t build = ALL;
		int inside = 0;

		open_view(f, view);
		views_begin(f->views, 64 * MIB);
		cursor = cursor_at(f, view, 1);
		(void)read_all(f, view, &cursor, &all);
		views_begin(f->views, 1); /* one block at a time */
		cursor = cursor_at(f, view, 1);
		while (cursor_span(f->tape, view, &cursor, 17 * KIB, &build,
			   &span) == 1) {
			assert_int_equal(buffer_append(&pieces, span.data,
					     span.len, 1u << 30),
			    0);
			(void)cursor_advance(f->tape, view, &cursor, span.len);
			inside += cursor_inside_message(&cursor);
			other =
			    cursor_at(f, view, cursor.offset > 2000 ? 1 : 3300);
			assert_int_equal(cursor_span(f->tape, view, &other,
					     SPAN, &build, &span),
			    1);
		}
		assert_true(inside > 1);
		assert_int_equal(pieces.len, all.len);
		assert_memory_equal(pieces.data, all.data, all.len);
		tape_close_view(f->tape, view);
		buffer_fini(&pieces);
		buffer_fini(&all);
	}
}

static void
a_message_longer_than_all_room_gets_it(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;

	publish_many(f, 100, 100);
	publish(f, MESSAGE_BINARY, 3 * MIB);
	publish_many(f, 100, 100);
	open_view(f, VIEW_V1);
	open_view(f, VIEW_SSE);
	views_begin(f->views, MIB);
	for (int round = 0; round < 2; round++) {
		cursor = cursor_at(f, VIEW_V1, 1);
		(void)read_all(f, VIEW_V1, &cursor, NULL);
		cursor = cursor_at(f, VIEW_SSE, 1);
		(void)read_all(f, VIEW_SSE, &cursor, NULL);
	}
	/* And it goes as soon as another is read. */
	assert_true(views_bytes(f->views) < MIB);
	tape_close_view(f->tape, VIEW_V1);
	tape_close_view(f->tape, VIEW_SSE);
	assert_int_equal(views_bytes(f->views), 0);
}

static void
a_full_block_holds_no_memory_in_vain(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;
	struct buffer all = { 0 };

	publish_many(f, 20000, 300);
	open_view(f, VIEW_V1);
	cursor = cursor_at(f, VIEW_V1, 1);
	(void)read_all(f, VIEW_V1, &cursor, &all);
	assert_in_range(views_bytes(f->views),
	    all.len + 20000 * VIEW_ENTRY_BYTES,
	    (all.len + 20000 * VIEW_ENTRY_BYTES) / 100 * 115 + 64 * KIB);
	tape_close_view(f->tape, VIEW_V1);
	buffer_fini(&all);
}

static void
what_the_tape_forgets_goes_from_its_views(void **state)
{
	const struct tape_limits limits = { 100, 1 << 30, 1 << 30, 0 };
	struct fixture *f = *state;
	struct cursor cursor, behind;
	int64_t build = ALL;
	struct span span;

	tape_free(f->tape);
	assert_int_equal(tape_new(&limits, 0xabc, &f->tape), 0);
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++)
		open_view(f, view);
	behind = cursor_at(f, VIEW_V1, 1);
	for (int i = 0; i < 100; i++) {
		publish_many(f, 200, 200);
		for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++) {
			cursor = cursor_at(f, view, tape_newest(f->tape) - 99);
			(void)read_all(f, view, &cursor, NULL);
		}
		/* Two raw segments at most, in four views. */
		assert_true(views_bytes(f->views) < 2 * 4 * 600 * KIB);
	}
	assert_int_equal(views_counts(f->views)->evicted, 0);
	assert_int_equal(
	    cursor_span(f->tape, VIEW_V1, &behind, SPAN, &build, &span),
	    -ESTALE);
	tape_trim(f->tape, INT64_MAX);
	assert_int_equal(views_bytes(f->views), 0);
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++)
		tape_close_view(f->tape, view);
}

static void
the_compressor_lives_as_long_as_its_readers(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;

	publish_many(f, 10, 200);
	open_view(f, VIEW_V1);
	open_view(f, VIEW_V1_DEFLATED);
	open_view(f, VIEW_RAW_DEFLATED);
	assert_null(f->views->encoder.deflate); /* on first use */
	cursor = cursor_at(f, VIEW_V1, 1);
	(void)read_all(f, VIEW_V1, &cursor, NULL);
	assert_null(f->views->encoder.deflate);
	cursor = cursor_at(f, VIEW_V1_DEFLATED, 1);
	(void)read_all(f, VIEW_V1_DEFLATED, &cursor, NULL);
	assert_non_null(f->views->encoder.deflate);
	tape_close_view(f->tape, VIEW_V1_DEFLATED);
	assert_non_null(f->views->encoder.deflate);
	tape_close_view(f->tape, VIEW_RAW_DEFLATED);
	assert_null(f->views->encoder.deflate);
	tape_close_view(f->tape, VIEW_V1);
	assert_null(f->views->encoder.text.data);
}

static void
scratch_of_a_long_message_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct cursor cursor;

	publish(f, MESSAGE_TEXT, 2 * MIB);
	open_view(f, VIEW_V1_DEFLATED);
	cursor = cursor_at(f, VIEW_V1_DEFLATED, 1);
	(void)read_all(f, VIEW_V1_DEFLATED, &cursor, NULL);
	assert_true(f->views->encoder.text.size > 2 * MIB);
	views_begin(f->views, 64 * MIB);
	assert_int_equal(f->views->encoder.payload.size, 0);
	assert_int_equal(f->views->encoder.text.size, 0);
	assert_int_equal(f->views->encoder.packed.size, 0);
	tape_close_view(f->tape, VIEW_V1_DEFLATED);
}

/* RSV1 on the first fragment, none where it would not be shorter. */
static void
a_message_is_compressed_where_that_is_shorter(void **state)
{
	struct fixture *f = *state;
	static uint8_t noise[40 * KIB], zeros[64];
	const struct message_meta meta = { MESSAGE_BINARY, 1 };
	struct buffer all = { 0 };
	struct cursor cursor;
	struct frame_header header;
	size_t at = 0;
	static const int rsv[] = { 0, 0, 4, 0, 0, 0, 0 };
	uint64_t state64 = 1;

	for (size_t i = 0; i < sizeof(noise); i++) {
		state64 = state64 * UINT64_C(6364136223846793005) + 1;
		noise[i] = (uint8_t)(state64 >> 56);
	}
	assert_int_equal(tape_append(f->tape, &meta, zeros, 0), 1);
	assert_int_equal(tape_append(f->tape, &meta, zeros, 3), 2);
	assert_int_equal(tape_append(f->tape, &meta, zeros, 64), 3);
	assert_int_equal(tape_append(f->tape, &meta, noise, sizeof(noise)), 4);
	assert_int_equal(tape_append(f->tape, &meta, noise, 1000), 5);
	open_view(f, VIEW_RAW_DEFLATED);
	cursor = cursor_at(f, VIEW_RAW_DEFLATED, 1);
	(void)read_all(f, VIEW_RAW_DEFLATED, &cursor, &all);
	for (int frame = 0; frame < 7; frame++) {
		assert_true(
		    frame_get_header(all.data + at, all.len - at, &header) > 0);
		assert_int_equal(header.rsv, rsv[frame]);
		at += header.header_bytes + (size_t)header.payload_bytes;
	}
	assert_int_equal(at, all.len);
	tape_close_view(f->tape, VIEW_RAW_DEFLATED);
	buffer_fini(&all);
}

/* true: the n-th allocation was reached, and failed. */
static bool
read_with_failure(struct fixture *f, enum view_kind view, int64_t n,
    const struct buffer *expected)
{
	uint8_t *all = malloc(expected->len);
	struct cursor cursor = cursor_at(f, view, 1);
	int64_t build = ALL;
	int rc, refused = 0;
	size_t len = 0;
	bool seen;

	assert_non_null(all);
	memory_fail_nth(n);
	while (tape_open_view(f->tape, f->views, view, "a", 1) < 0)
		refused++;
	while (!cursor_at_end(f->tape, &cursor)) {
		struct span span;

		rc = cursor_span(f->tape, view, &cursor, SPAN, &build, &span);
		if (rc == -ENOMEM) {
			refused++;
			continue;
		}
		assert_int_equal(rc, 1);
		assert_true(len + span.len <= expected->len);
		memcpy(all + len, span.data, span.len);
		len += span.len;
		(void)cursor_advance(f->tape, view, &cursor, span.len);
	}
	seen = memory_fail_seen();
	memory_fail_nth(0);
	/* What could be served was; a tail that stays is no failure. */
	assert_in_range(refused, 0, 1);
	assert_int_equal(len, expected->len);
	assert_memory_equal(all, expected->data, len);
	tape_close_view(f->tape, view);
	assert_int_equal(views_bytes(f->views), 0);
	free(all);
	return seen;
}

static void
any_allocation_may_fail(void **state)
{
	struct fixture *f = *state;

	publish_many(f, 20, 1000);
	publish(f, MESSAGE_BINARY, 50000);
	publish_many(f, 20, 1000);
	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++) {
		struct buffer all = { 0 };
		struct cursor cursor;
		int64_t n = 1;

		open_view(f, view);
		cursor = cursor_at(f, view, 1);
		(void)read_all(f, view, &cursor, &all);
		tape_close_view(f->tape, view);
		while (read_with_failure(f, view, n, &all))
			n++;
		assert_in_range(n, 5, 100);
		buffer_fini(&all);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_message_is_encoded_once_for_all),
		TEST(a_live_reader_builds_no_history),
		TEST(one_search_serves_all_at_one_place),
		TEST(building_stops_at_its_budget_and_goes_on),
		TEST(compressing_short_messages_has_its_price),
		TEST(spans_end_where_their_view_allows),
		TEST(the_least_recently_read_go_first),
		TEST(the_same_message_gives_the_same_bytes),
		TEST(a_message_longer_than_all_room_gets_it),
		TEST(a_full_block_holds_no_memory_in_vain),
		TEST(what_the_tape_forgets_goes_from_its_views),
		TEST(the_compressor_lives_as_long_as_its_readers),
		TEST(scratch_of_a_long_message_is_given_back),
		TEST(a_message_is_compressed_where_that_is_shorter),
		TEST(any_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
