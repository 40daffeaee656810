/*
 * Tape and cursors beside a model: one long array of all bytes ever, written by
 * an encoder of its own, and the list of messages in it.  Random publishes,
 * trims, spans taken in pieces, overtakes, failing allocations; every byte that
 * a cursor is given is compared.  The seed of a failing script is printed.
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

#define SCRIPTS 60
#define STEPS 1500
#define CURSORS 6
#define MESSAGES_MAX (2 * STEPS)
#define MAX_MIN (FRAME_FRAGMENT_BYTES + FRAME_HEADER_MAX)

struct model_message {
	uint64_t place;
	size_t bytes; /* on the wire */
	struct message_meta meta;
};

struct model_cursor {
	struct cursor cursor;
	uint64_t place;
	int64_t offset;
	bool inside;
};

struct fixture {
	struct tape *tape;
	struct tape_limits limits;
	unsigned short random[3];
	int64_t now_us;
	uint8_t *wire; /* all that was ever published, as frames */
	size_t wire_size;
	uint64_t end;
	struct model_message messages[MESSAGES_MAX + 1]; /* by offset */
	int64_t newest, oldest, kept_before;
	struct model_cursor cursors[CURSORS];
	uint64_t spans, overtaken, inside_overtaken, failures;
};

static int64_t
pick(struct fixture *f, int64_t below)
{
	return nrand48(f->random) % below;
}

/* A frame with header lengths spelled out, apart from proto/frame.c. */
static uint8_t *
encode_frame(uint8_t *out, int first, const uint8_t *payload, size_t len)
{
	*out++ = (uint8_t)first;
	if (len < 126) {
		*out++ = (uint8_t)len;
	} else {
		*out++ = 126;
		*out++ = (uint8_t)(len >> 8);
		*out++ = (uint8_t)len;
	}
	memcpy(out, payload, len);
	return out + len;
}

static void
model_append(struct fixture *f, const struct message_meta *meta,
    const uint8_t *payload, size_t len)
{
	struct model_message *message = &f->messages[++f->newest];
	int opcode = meta->kind == MESSAGE_BINARY ? 2 : 1;
	size_t room = f->end + len + len / 1000 + 64;
	uint8_t *out;

	assert_true(f->newest <= MESSAGES_MAX);
	if (room > f->wire_size) {
		f->wire_size = 2 * room;
		f->wire = realloc(f->wire, f->wire_size);
		assert_non_null(f->wire);
	}
	out = f->wire + f->end;
	while (len > 16384) {
		out = encode_frame(out, opcode, payload, 16384);
		payload += 16384;
		len -= 16384;
		opcode = 0;
	}
	out = encode_frame(out, 0x80 | opcode, payload, len);
	message->place = f->end;
	message->bytes = (size_t)(out - (f->wire + f->end));
	message->meta = *meta;
	f->end += message->bytes;
}

/* What history_* says, message by message. */
static void
model_trim(struct fixture *f, bool by_age)
{
	for (; f->oldest <= f->newest; f->oldest++) {
		const struct model_message *m = &f->messages[f->oldest];
		bool over =
		    f->newest - f->oldest + 1 > f->limits.history_messages ||
		    (int64_t)(f->end - m->place) > f->limits.history_bytes;

		if (by_age &&
		    f->now_us - m->meta.time_us > f->limits.history_age_us)
			over = true;
		if (!over)
			break;
	}
}

static uint64_t
kept_place(const struct fixture *f)
{
	int64_t kept = tape_kept(f->tape);

	return kept > f->newest ? f->end : f->messages[kept].place;
}

static size_t
random_len(struct fixture *f)
{
	switch (pick(f, 12)) {
	case 0:
		return 0;
	case 1:
		return (size_t)pick(f, 70 * 1024);
	case 2: /* around the fragment's length */
		return (size_t)(16380 + pick(f, 10)) * (1 + (size_t)pick(f, 3));
	case 3: /* longer than any common segment */
		return pick(f, 8) == 0 ? (size_t)(300000 + pick(f, 100000)) : 1;
	case 4:
	case 5:
		return (size_t)pick(f, 5000);
	default:
		return (size_t)pick(f, 300);
	}
}

static void
publish(struct fixture *f)
{
	const struct message_meta meta = {
		(enum message_kind)pick(f, 3),
		f->now_us - (pick(f, 8) == 0 ? pick(f, 50) : 0),
	};
	size_t len = random_len(f);
	uint8_t *payload = malloc(len + 1);
	size_t before = tape_memory_bytes(f->tape);
	size_t growth = tape_growth_bytes(f->tape, len);
	int64_t offset;

	assert_non_null(payload);
	for (size_t i = 0; i < len; i++)
		payload[i] = (uint8_t)(f->newest + (int64_t)(i * 7));
	if (pick(f, 3) == 0)
		memory_fail_nth(1 + pick(f, 3));
	offset = tape_append(f->tape, &meta, payload, len);
	if (offset == -ENOMEM) {
		assert_true(memory_fail_seen());
		assert_true(tape_memory_bytes(f->tape) <= before + growth);
		f->failures++;
	} else {
		model_append(f, &meta, payload, len);
		assert_int_equal(offset, f->newest);
		assert_true(tape_memory_bytes(f->tape) <= before + growth);
		model_trim(f, false);
	}
	memory_fail_nth(0);
	free(payload);
}

static void
check_tape(struct fixture *f)
{
	int64_t kept = tape_kept(f->tape);
	uint64_t in_memory = f->end - kept_place(f);
	uint64_t buffer = (uint64_t)f->limits.buffer_bytes;

	assert_int_equal(tape_newest(f->tape), f->newest);
	assert_int_equal(tape_oldest(f->tape), f->oldest);
	assert_true(kept <= f->oldest);
	assert_true(kept >= f->kept_before);
	assert_true(in_memory >= (buffer < f->end ? buffer : f->end));
	f->kept_before = kept;
}

/* After a trim nothing but a segment's remainder may be kept for nothing. */
static void
trim(struct fixture *f)
{
	uint64_t buffer = (uint64_t)f->limits.buffer_bytes;
	uint64_t needed;
	size_t slack = 4 * 256 * 1024 + 400000;

	f->now_us += pick(f, 400);
	tape_trim(f->tape, f->now_us);
	model_trim(f, true);
	needed =
	    f->oldest > f->newest ? 0 : f->end - f->messages[f->oldest].place;
	if (needed < buffer)
		needed = buffer < f->end ? buffer : f->end;
	assert_true(tape_memory_bytes(f->tape) <=
		    needed + needed / 4 + slack +
			16 * (size_t)(f->newest - tape_kept(f->tape) + 1));
}

static void
put_cursor(struct fixture *f, struct model_cursor *c, int64_t offset)
{
	struct cursor before = c->cursor;
	int rc = cursor_to(f->tape, VIEW_RAW, offset, &c->cursor);

	if (offset < 1 || offset > f->newest + 1) {
		assert_int_equal(rc, -ERANGE);
	} else if (offset < tape_kept(f->tape)) {
		assert_int_equal(rc, -ESTALE);
	} else {
		assert_int_equal(rc, 0);
		c->offset = offset;
		c->place =
		    offset > f->newest ? f->end : f->messages[offset].place;
		c->inside = false;
		return;
	}
	assert_int_equal(c->cursor.offset, before.offset);
	assert_int_equal(c->cursor.place, before.place);
	assert_int_equal(c->cursor.inside, before.inside);
}

/* The end of the n-th frame from place on; the model's own walk. */
static uint64_t
after_frames(const struct fixture *f, uint64_t place, int64_t n, uint64_t stop)
{
	for (; n > 0 && place < stop; n--) {
		const uint8_t *at = f->wire + place;
		size_t len = at[1];

		if (len == 126)
			len = (size_t)at[2] << 8 | at[3];
		place += len + (at[1] == 126 ? 4 : 2);
	}
	assert_true(place <= stop);
	return place;
}

static void
advance_model(struct fixture *f, struct model_cursor *c, size_t bytes)
{
	int64_t before = c->offset;
	int64_t done = cursor_advance(f->tape, VIEW_RAW, &c->cursor, bytes);

	c->place += bytes;
	while (c->offset <= f->newest &&
	       c->place >=
		   f->messages[c->offset].place + f->messages[c->offset].bytes)
		c->offset++;
	c->inside =
	    c->offset <= f->newest && c->place > f->messages[c->offset].place;
	assert_int_equal(done, c->offset - before);
}

static void
overtaken(struct fixture *f, struct model_cursor *c)
{
	f->overtaken++;
	if (c->inside)
		f->inside_overtaken++;
	assert_true(c->offset < tape_kept(f->tape));
	put_cursor(f, c, tape_kept(f->tape) - 1);
	assert_int_equal(cursor_inside_message(&c->cursor), c->inside);
	switch (pick(f, 3)) {
	case 0:
		put_cursor(f, c, tape_kept(f->tape));
		break;
	case 1:
		put_cursor(f, c, f->oldest);
		break;
	default:
		assert_int_equal(
		    cursor_to(f->tape, VIEW_RAW, f->newest + 1, &c->cursor), 0);
		c->place = f->end;
		c->offset = f->newest + 1;
		c->inside = false;
	}
}

static void
take_span(struct fixture *f, struct model_cursor *c)
{
	size_t max = MAX_MIN + (size_t)pick(f, 70000);
	struct span span = { NULL, 77 };
	int rc = cursor_span(f->tape, VIEW_RAW, &c->cursor, max, NULL, &span);
	uint64_t to;

	if (c->place < kept_place(f)) {
		assert_int_equal(rc, -ESTALE);
		assert_int_equal(span.len, 77);
		overtaken(f, c);
		return;
	}
	if (c->place == f->end) {
		assert_int_equal(rc, 0);
		return;
	}
	assert_int_equal(rc, 1);
	assert_in_range(span.len, 1, max);
	assert_true(c->place + span.len <= f->end);
	assert_memory_equal(span.data, f->wire + c->place, span.len);
	f->spans++;

	/* Whole frames; then some or all of them are taken. */
	to = after_frames(f, c->place, INT64_MAX, c->place + span.len);
	assert_int_equal(to, c->place + span.len);
	if (pick(f, 2) == 0)
		to = after_frames(f, c->place, pick(f, 4), to);
	advance_model(f, c, to - c->place);
}

static void
check_cursor(struct fixture *f, struct model_cursor *c)
{
	int64_t kept = tape_kept(f->tape);
	int64_t from = c->offset > kept ? c->offset : kept;

	assert_int_equal(c->cursor.offset, c->offset);
	assert_int_equal(c->cursor.place, c->place);
	assert_int_equal(cursor_inside_message(&c->cursor), c->inside);
	assert_int_equal(
	    cursor_at_end(f->tape, &c->cursor), c->place == f->end);
	assert_int_equal(
	    cursor_lag_messages(f->tape, &c->cursor), f->newest + 1 - from);
	assert_int_equal(cursor_lag_bytes(f->tape, &c->cursor),
	    f->end - (from > f->newest ? f->end : f->messages[from].place));
	if (from <= f->newest)
		assert_int_equal(cursor_lag_since_us(f->tape, &c->cursor),
		    f->messages[from].meta.time_us);
}

static void
check_payload(struct fixture *f, const struct model_message *m, int64_t offset)
{
	struct buffer scratch = { 0 };
	struct message message;

	assert_int_equal(tape_read(f->tape, offset, &scratch, &message), 0);
	assert_int_equal(message.offset, offset);
	assert_int_equal(message.epoch, tape_epoch(f->tape));
	assert_int_equal(message.kind, m->meta.kind);
	assert_int_equal(message.time_us, m->meta.time_us);
	assert_int_equal(frame_message_bytes(message.len), m->bytes);
	for (size_t i = 0; i < message.len; i++)
		if (message.payload[i] !=
		    (uint8_t)(offset - 1 + (int64_t)i * 7))
			fail_msg("byte %zu of message %d", i, (int)offset);
	buffer_fini(&scratch);
}

static void
check_message(struct fixture *f, int64_t offset)
{
	struct message_meta meta;
	struct span frames;
	int rc = tape_message(f->tape, offset, &meta, &frames);
	const struct model_message *m;

	if (offset < tape_kept(f->tape) || offset > f->newest) {
		assert_int_equal(rc, -ENOENT);
		return;
	}
	m = &f->messages[offset];
	assert_int_equal(rc, 0);
	assert_int_equal(meta.kind, m->meta.kind);
	assert_int_equal(meta.time_us, m->meta.time_us);
	assert_int_equal(frames.len, m->bytes);
	assert_memory_equal(frames.data, f->wire + m->place, m->bytes);
	check_payload(f, m, offset);
}

static void
random_limits(struct fixture *f)
{
	static const int64_t bytes[] = { 0, 1, 100000, 2000000 };

	f->limits = (struct tape_limits){
		.history_messages = pick(f, 4) == 0 ? 0 : pick(f, 400),
		.history_bytes = bytes[pick(f, 4)],
		.history_age_us = pick(f, 20000),
		.buffer_bytes = bytes[pick(f, 4)],
	};
}

static void
run_script(struct fixture *f, unsigned short seed)
{
	f->random[0] = seed;
	f->random[1] = 0x330e;
	f->now_us = 1000000;
	f->oldest = 1;
	random_limits(f);
	assert_int_equal(tape_new(&f->limits, seed, &f->tape), 0);
	assert_int_equal(tape_epoch(f->tape), seed);
	for (int i = 0; i < CURSORS; i++)
		put_cursor(f, &f->cursors[i], 1);
	for (int step = 0; step < STEPS; step++) {
		/* The higher its number, the less a cursor reads. */
		struct model_cursor *c =
		    &f->cursors[pick(f, 1 + pick(f, CURSORS))];
		int64_t what = pick(f, 64);

		f->now_us += pick(f, 20);
		if (what < 24)
			publish(f);
		else if (what < 60)
			take_span(f, c);
		else if (what < 61)
			trim(f);
		else if (what < 62)
			put_cursor(f, c, pick(f, f->newest + 4) - 1);
		else
			check_message(f, pick(f, f->newest + 4) - 1);
		check_tape(f);
		check_cursor(f, c);
	}
	for (int64_t offset = -1; offset <= f->newest + 2; offset++)
		check_message(f, offset);
	tape_free(f->tape);
}

static void
every_byte_is_the_models(void **state)
{
	uint64_t spans = 0, overtakes = 0, inside = 0, failures = 0;

	(void)state;
	for (int seed = 1; seed <= SCRIPTS; seed++) {
		struct fixture *f = calloc(1, sizeof(*f));

		assert_non_null(f);
		print_message("seed %d\n", seed);
		run_script(f, (unsigned short)seed);
		spans += f->spans;
		overtakes += f->overtaken;
		inside += f->inside_overtaken;
		failures += f->failures;
		free(f->wire);
		free(f);
	}
	print_message("%u spans, %u overtakes (%u inside), %u failures\n",
	    (unsigned)spans, (unsigned)overtakes, (unsigned)inside,
	    (unsigned)failures);
	/* The scripts go where it hurts. */
	assert_true(spans > SCRIPTS * 100);
	assert_true(overtakes > SCRIPTS);
	assert_true(inside > 0);
	assert_true(failures > SCRIPTS / 2);
}

/* A lagging cursor gets spans that are worth a write. */
static void
spans_are_nearly_as_long_as_allowed(void **state)
{
	const struct tape_limits limits = { 1000000, 64 << 20, 1, 1 << 20 };
	const struct message_meta meta = { MESSAGE_TEXT, 1 };
	struct cursor cursor;
	struct tape *tape;
	struct span span;
	uint64_t spans = 0;
	char payload[128];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	assert_int_equal(tape_new(&limits, 1, &tape), 0);
	assert_int_equal(
	    cursor_to(tape, VIEW_RAW, tape_newest(tape) + 1, &cursor), 0);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(
		    tape_append(tape, &meta, payload, sizeof(payload)), i + 1);
	while (cursor_span(tape, VIEW_RAW, &cursor, 65536, NULL, &span) == 1) {
		spans++;
		(void)cursor_advance(tape, VIEW_RAW, &cursor, span.len);
	}
	assert_int_equal(cursor.offset, 20001);
	/* 2.6 MB: 41 full ones, and a short one per segment. */
	assert_in_range(spans, 41, 41 + 20);
	tape_free(tape);
}

static void
a_cursor_is_inside_between_fragments_only(void **state)
{
	const struct tape_limits limits = { 10, 1 << 20, 1, 0 };
	const struct message_meta meta = { MESSAGE_BINARY, 1 };
	static uint8_t payload[3 * FRAME_FRAGMENT_BYTES + 100];
	struct cursor cursor;
	struct tape *tape;
	struct span span;

	(void)state;
	assert_int_equal(tape_new(&limits, 1, &tape), 0);
	assert_int_equal(
	    cursor_to(tape, VIEW_RAW, tape_newest(tape) + 1, &cursor), 0);
	(void)tape_append(tape, &meta, payload, sizeof(payload));
	for (int fragment = 0; fragment < 3; fragment++) {
		assert_int_equal(cursor_inside_message(&cursor), fragment > 0);
		assert_int_equal(
		    cursor_span(tape, VIEW_RAW, &cursor, MAX_MIN, NULL, &span),
		    1);
		assert_int_equal(span.len, FRAME_FRAGMENT_BYTES + 4);
		assert_int_equal(
		    cursor_advance(tape, VIEW_RAW, &cursor, span.len), 0);
		assert_int_equal(cursor_advance(tape, VIEW_RAW, &cursor, 0), 0);
	}
	assert_int_equal(
	    cursor_span(tape, VIEW_RAW, &cursor, MAX_MIN, NULL, &span), 1);
	assert_int_equal(span.len, 100 + 2);
	assert_int_equal(cursor_advance(tape, VIEW_RAW, &cursor, span.len), 1);
	assert_false(cursor_inside_message(&cursor));
	assert_int_equal(
	    cursor_span(tape, VIEW_RAW, &cursor, MAX_MIN, NULL, &span), 0);
	tape_free(tape);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_is_the_models),
		cmocka_unit_test(spans_are_nearly_as_long_as_allowed),
		cmocka_unit_test(a_cursor_is_inside_between_fragments_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
