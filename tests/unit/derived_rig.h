#ifndef TESTS_UNIT_DERIVED_RIG_H
#define TESTS_UNIT_DERIVED_RIG_H

/*
 * derived_rig: one tape and its derived views, for test_derived and
 * test_block.
 *
 * Errors   Failed cmocka assertions.
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

static inline int
rig_setup(void **state)
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

static inline int
rig_teardown(void **state)
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

static inline void
publish(struct fixture *f, enum message_kind kind, size_t len)
{
	const struct message_meta meta = { kind, 1 };
	int64_t offset = tape_newest(f->tape) + 1;

	payload_make(&f->payload, kind, "a", offset, len);
	assert_int_equal(
	    tape_append(f->tape, &meta, f->payload.data, len), offset);
}

static inline void
publish_many(struct fixture *f, int count, size_t len)
{
	for (int i = 0; i < count; i++)
		publish(f, MESSAGE_TEXT, len);
}

static inline void
open_view(struct fixture *f, enum view_kind view)
{
	assert_int_equal(tape_open_view(f->tape, f->views, view, "a", 1), 0);
}

static inline struct cursor
cursor_at(struct fixture *f, enum view_kind view, int64_t offset)
{
	struct cursor cursor;

	assert_int_equal(cursor_to(f->tape, view, offset, &cursor), 0);
	return cursor;
}

/* All from the cursor on; out may be NULL.  Returns the number of spans. */
static inline int
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

static inline uint64_t
built(const struct fixture *f)
{
	return views_counts(f->views)->built;
}

#endif
