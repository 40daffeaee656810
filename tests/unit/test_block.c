/*
 * Blocks of derived views: the memory they take, what goes when, failing
 * allocations.
 */

#include "tests/unit/derived_rig.h"

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
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_least_recently_read_go_first),
		TEST(a_message_longer_than_all_room_gets_it),
		TEST(a_full_block_holds_no_memory_in_vain),
		TEST(what_the_tape_forgets_goes_from_its_views),
		TEST(the_compressor_lives_as_long_as_its_readers),
		TEST(scratch_of_a_long_message_is_given_back),
		TEST(any_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
