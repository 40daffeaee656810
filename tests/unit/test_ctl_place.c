/*
 * Places: found by name, and written only when stdout has taken what was put
 * before.
 */

#include "daemon/ctl/place.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH UINT64_C(0x5f2c00000000abcd)

static struct place *
add(struct places *places, const char *name)
{
	return places_add(places, name, strlen(name));
}

static void
move(struct places *places, struct place *place, int64_t offset)
{
	const struct position position = { EPOCH, offset };

	place_move(places, place, &position);
}

static void
each_channel_has_one_place(void **state)
{
	struct places places;
	struct place *found[500];
	char name[16];
	size_t i;

	(void)state;
	assert_int_equal(places_init(&places, 500), 0);
	for (i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof(name), "c%zu", i);
		assert_null(places_find(&places, name, strlen(name)));
		found[i] = add(&places, name);
		assert_string_equal(found[i]->channel, name);
	}
	for (i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof(name), "c%zu", i);
		assert_ptr_equal(add(&places, name), found[i]);
		assert_ptr_equal(
		    places_find(&places, name, strlen(name)), found[i]);
	}
	assert_int_equal(places.count, 500);
	assert_null(places_find(&places, "c", 1));
	assert_null(places_find(&places, "c10x", 4));
	places_fini(&places);
}

static void
a_place_is_written_when_stdout_has_what_was_put_before(void **state)
{
	struct places places;
	struct place *a, *b;

	(void)state;
	assert_int_equal(places_init(&places, 2), 0);
	a = add(&places, "a");
	b = add(&places, "b");
	move(&places, a, 0);
	assert_true(a->has_written && places.unsaved); /* where it begins */
	assert_int_equal(a->written.offset, 0);
	assert_false(b->has_written);
	places_settle(&places, 0, 0);

	places.unsaved = false;
	place_advance(&places, a);
	places_settle(&places, 10, 4); /* the mark is at 10 */
	place_advance(&places, a);
	move(&places, b, 7);
	places.unsaved = false;
	places_settle(&places, 20, 9);
	assert_false(places.unsaved);
	assert_int_equal(a->written.offset, 0);
	places_settle(&places, 20, 10); /* reached; the next is at 20 */
	assert_true(places.unsaved);
	assert_int_equal(a->written.offset, 1);
	assert_int_equal(b->written.offset, 7);
	place_advance(&places, b);
	places_settle(&places, 30, 19);
	assert_int_equal(a->written.offset, 1);
	places_settle(&places, 30, 20); /* the next is at 30 */
	assert_int_equal(a->written.offset, 2);
	assert_int_equal(b->written.offset, 7);
	places_settle(&places, 30, 29);
	assert_int_equal(b->written.offset, 7);
	places_settle(&places, 30, 30);
	assert_int_equal(b->written.offset, 8);
	assert_true(b->written.epoch == EPOCH);

	places.unsaved = false;
	places_settle(&places, 30, 30);
	assert_false(places.unsaved);
	places_fini(&places);
}

/* Random moves and writes beside a model that remembers every message. */
static void
written_never_runs_ahead_of_stdout(void **state)
{
	enum { MESSAGES = 3000, CHANNELS = 5 };
	static uint64_t end[MESSAGES]; /* of the bytes of the n-th message */
	static unsigned channel[MESSAGES];
	static int64_t offset[MESSAGES];
	struct places places;
	struct place *place[CHANNELS];
	uint64_t put = 0, taken = 0;
	unsigned seed = 7, n, i;

	(void)state;
	assert_int_equal(places_init(&places, CHANNELS), 0);
	for (i = 0; i < CHANNELS; i++) {
		place[i] = add(
		    &places, (const char *[]){ "a", "b", "c", "d", "e" }[i]);
		move(&places, place[i], 0);
	}
	for (n = 0; n < MESSAGES; n++) {
		channel[n] = (unsigned)rand_r(&seed) % CHANNELS;
		put += (unsigned)rand_r(&seed) % 20;
		end[n] = put;
		place_advance(&places, place[channel[n]]);
		offset[n] = place[channel[n]]->position.offset;
		if (rand_r(&seed) % 4 == 0)
			continue;
		taken += (uint64_t)rand_r(&seed) % (put - taken + 1);
		places_settle(&places, put, taken);
		for (i = 0; i <= n; i++)
			if (end[i] > taken)
				assert_true(place[channel[i]]->written.offset <
					    offset[i]);
	}
	places_settle(&places, put, put);
	places_settle(&places, put, put);
	for (i = 0; i < CHANNELS; i++)
		assert_int_equal(
		    place[i]->written.offset, place[i]->position.offset);
	places_fini(&places);
}

static void
what_was_recalled_is_written(void **state)
{
	const struct position position = { EPOCH, 41 };
	struct places places;
	struct place *a;

	(void)state;
	assert_int_equal(places_init(&places, 1), 0);
	a = add(&places, "a");
	assert_false(a->known);
	place_recall(a, &position);
	assert_true(a->known && a->has_written);
	assert_int_equal(a->position.offset, 41);
	assert_int_equal(a->written.offset, 41);
	assert_false(places.unsaved);
	places_fini(&places);
}

static void
no_memory_is_an_error(void **state)
{
	struct places places;
	int64_t n;

	(void)state;
	for (n = 1; n <= 2; n++) {
		memory_fail_nth(n);
		assert_int_equal(places_init(&places, 10), -ENOMEM);
		assert_true(memory_fail_seen());
	}
	memory_fail_nth(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_channel_has_one_place),
		cmocka_unit_test(
		    a_place_is_written_when_stdout_has_what_was_put_before),
		cmocka_unit_test(written_never_runs_ahead_of_stdout),
		cmocka_unit_test(what_was_recalled_is_written),
		cmocka_unit_test(no_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
