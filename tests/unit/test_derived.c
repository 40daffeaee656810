/*
 * Cursors on derived views of one tape: what they are given, when it is built,
 * how often.  What the bytes say is read back by the random scripts of
 * test_hub_model.c.
 */

#include "tests/unit/derived_rig.h"

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
		assert_int_equal(read_all(f, VIEW_V1, &cursor, NULL), 1);
		assert_int_equal(built(f) - before, 1);
	}
	tape_close_view(f->tape, VIEW_V1);
}

/* One that takes a part of it goes on where that ended. */
static void
take_in_parts(struct fixture *f, enum view_kind view, struct cursor cursor,
    const struct span *whole, size_t part)
{
	struct buffer all = { 0 }, taken = { 0 };

	part = receiver_cut(view, whole->data, whole->len, part);
	assert_int_equal(buffer_append(&all, whole->data, whole->len, MIB), 0);
	assert_int_equal(buffer_append(&taken, whole->data, part, MIB), 0);
	(void)cursor_advance(f->tape, view, &cursor, part);
	(void)read_all(f, view, &cursor, &taken);
	assert_int_equal(taken.len, all.len);
	assert_memory_equal(taken.data, all.data, all.len);
	buffer_fini(&taken);
	buffer_fini(&all);
}

/* A write is what a delivery costs: none more because blocks are cut. */
static void
a_burst_across_a_cut_is_one_span(void **state)
{
	struct fixture *f = *state;
	const uint64_t bytes_max[] = { 64 * MIB, 1 };

	for (int view = VIEW_RAW + 1; view < VIEW_KINDS; view++) {
		struct cursor cursor, before;
		int joints = 0;

		open_view(f, view);
		cursor = cursor_at(f, view, tape_newest(f->tape) + 1);
		for (int burst = 0; burst < 300; burst++) {
			int64_t build = ALL;
			struct span span;

			views_begin(f->views, bytes_max[burst / 150]);
			publish_many(f, 16, 250);
			before = cursor;
			assert_int_equal(cursor_span(f->tape, view, &cursor,
					     SPAN, &build, &span),
			    1);
			joints += span.data == f->views->joint.data;
			assert_int_equal(
			    cursor_advance(f->tape, view, &cursor, span.len),
			    16);
			assert_true(cursor_at_end(f->tape, &cursor));
			take_in_parts(f, view, before, &span,
			    (size_t)burst * span.len / 300);
		}
		assert_true(joints > 300 / 10);
		tape_close_view(f->tape, view);
	}
	assert_null(f->views->joint.data);
}

/* Who comes to the same place is given the same bytes, not equal ones. */
static void
one_search_serves_all_at_one_place(void **state)
{
	struct fixture *f = *state;
	struct cursor first, second;
	struct span one, two;
	int64_t build = ALL;

	publish_many(
	    f, 560, 100); /* the last segment is a long one, nearly empty */
	open_view(f, VIEW_SSE);
	first = second = cursor_at(f, VIEW_SSE, 561);
	publish_many(f, 10, 100);
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
	    cursor_span(f->tape, VIEW_SSE, &second, SPAN, &build, &two), 1);
	assert_true(two.len > one.len);
	/* Another max is another span. */
	publish_many(f, 1, 25000);
	assert_int_equal(
	    cursor_span(f->tape, VIEW_SSE, &second, SPAN, &build, &two), 1);
	assert_true(two.len > 20 * KIB);
	assert_int_equal(
	    cursor_span(f->tape, VIEW_SSE, &second, 20 * KIB, &build, &one), 1);
	assert_int_equal(one.len, 20 * KIB);
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

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_message_is_encoded_once_for_all),
		TEST(a_live_reader_builds_no_history),
		TEST(a_burst_across_a_cut_is_one_span),
		TEST(one_search_serves_all_at_one_place),
		TEST(building_stops_at_its_budget_and_goes_on),
		TEST(compressing_short_messages_has_its_price),
		TEST(spans_end_where_their_view_allows),
		TEST(the_same_message_gives_the_same_bytes),
		TEST(a_message_is_compressed_where_that_is_shorter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
