/*
 * The wheel beside a plain array of due times: what fires, and when.
 */

#include "daemon/base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TICK INT64_C(10000)
_Static_assert(TICK == WHEEL_TICK_US, "64 bits for sums of many ticks");
#define HOUR_US (INT64_C(3600) * 1000000)
#define ENTRIES 64

struct timer {
	struct wheel_entry entry;
	bool set;
	int64_t due_us; /* by the model */
	int fired;
};

struct fixture {
	struct wheel wheel;
	struct timer timers[ENTRIES];
	unsigned short random[3];
	int64_t now_us; /* of the advance that runs */
	bool mischief; /* callbacks set and clear at random */
};

static int64_t
pick(struct fixture *f, int64_t below)
{
	return (nrand48(f->random) * (INT64_C(1) << 31) + nrand48(f->random)) %
	       below;
}

static void
model_set(struct fixture *f, struct timer *timer, int64_t due_us)
{
	wheel_set(&f->wheel, &timer->entry, due_us);
	timer->set = true;
	timer->due_us = due_us;
	assert_true(wheel_is_set(&timer->entry));
}

static void
model_clear(struct fixture *f, struct timer *timer)
{
	wheel_clear(&f->wheel, &timer->entry);
	timer->set = false;
	assert_false(wheel_is_set(&timer->entry));
}

/* Mostly near, sometimes hours ahead, sometimes past. */
static int64_t
random_due(struct fixture *f)
{
	static const int64_t ranges[] = { TICK, 64 * TICK, 4096 * TICK,
		64 * 4096 * TICK, 100 * HOUR_US };

	if (pick(f, 10) == 0)
		return f->now_us - pick(f, 3 * TICK);
	return f->now_us + pick(f, ranges[pick(f, 5)]);
}

static void
on_fire(struct wheel_entry *entry, void *arg)
{
	struct fixture *f = arg;
	struct timer *timer = LIST_ENTRY(entry, struct timer, entry);

	assert_false(wheel_is_set(entry));
	assert_true(timer->set);
	assert_true(timer->due_us <= f->now_us); /* never early */
	timer->set = false;
	timer->fired++;
	if (!f->mischief)
		return;
	if (pick(f, 4) == 0)
		model_set(f, timer, random_due(f));
	if (pick(f, 4) == 0)
		model_clear(f, &f->timers[pick(f, ENTRIES)]);
	if (pick(f, 4) == 0)
		model_set(f, &f->timers[pick(f, ENTRIES)], random_due(f));
}

static void
advance(struct fixture *f, int64_t now_us)
{
	f->now_us = now_us;
	wheel_advance(&f->wheel, now_us, on_fire, f);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->now_us = 12345678;
	wheel_init(&f->wheel, f->now_us);
	for (int i = 0; i < ENTRIES; i++)
		wheel_entry_init(&f->timers[i].entry);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

static void
an_empty_wheel_has_no_next_time(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(wheel_next_us(&f->wheel), INT64_MAX);
	advance(f, f->now_us + 1000 * HOUR_US);
	assert_int_equal(wheel_next_us(&f->wheel), INT64_MAX);
}

static void
an_entry_fires_within_a_tick_and_not_before(void **state)
{
	struct fixture *f = *state;
	struct timer *timer = &f->timers[0];

	for (int64_t ahead = 0; ahead < 300 * TICK; ahead += 1777) {
		int64_t due_us = f->now_us + ahead;

		timer->fired = 0;
		model_set(f, timer, due_us);
		while (f->now_us < due_us - 701) {
			advance(f, f->now_us + 701);
			assert_int_equal(timer->fired, f->now_us >= due_us);
		}
		advance(f, due_us + TICK);
		assert_int_equal(timer->fired, 1);
	}
	assert_int_equal(wheel_next_us(&f->wheel), INT64_MAX);
}

static void
what_is_due_already_fires_at_the_next_advance(void **state)
{
	struct fixture *f = *state;

	advance(f, f->now_us + 1);
	model_set(f, &f->timers[0], f->now_us - 5 * HOUR_US);
	model_set(f, &f->timers[1], 0);
	assert_true(wheel_next_us(&f->wheel) <= f->now_us);
	advance(f, f->now_us);
	assert_int_equal(f->timers[0].fired, 1);
	assert_int_equal(f->timers[1].fired, 1);
}

/* Following wheel_next_us() alone, as a loop does. */
static void
a_far_timer_is_reached_in_few_steps(void **state)
{
	struct fixture *f = *state;
	static const int64_t far[] = { 63 * TICK, 64 * TICK, 65 * TICK, HOUR_US,
		46 * HOUR_US, 47 * HOUR_US, 500 * HOUR_US };

	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		struct timer *timer = &f->timers[i];
		int64_t due_us = f->now_us + far[i];
		int steps = 0;

		model_set(f, timer, due_us);
		while (timer->fired == 0) {
			int64_t next_us = wheel_next_us(&f->wheel);

			assert_true(next_us < due_us + TICK);
			assert_true(next_us > f->now_us);
			assert_true(++steps <= 4 + far[i] / (40 * HOUR_US));
			advance(f, next_us);
		}
		assert_true(f->now_us >= due_us);
	}
}

static void
a_deadline_that_is_moved_on_does_not_fire(void **state)
{
	struct fixture *f = *state;
	struct timer *timer = &f->timers[0];

	for (int i = 0; i < 10000; i++) {
		model_set(f, timer, f->now_us + 3 * TICK);
		advance(f, f->now_us + TICK / 3);
	}
	assert_int_equal(timer->fired, 0);
	model_set(f, timer, f->now_us + 2 * TICK);
	model_set(f, timer, f->now_us + TICK);
	advance(f, f->now_us + 2 * TICK);
	assert_int_equal(timer->fired, 1);
}

static void
a_cleared_entry_does_not_fire(void **state)
{
	struct fixture *f = *state;

	model_set(f, &f->timers[0], f->now_us + TICK);
	model_set(f, &f->timers[1], f->now_us + TICK);
	model_clear(f, &f->timers[0]);
	model_clear(f, &f->timers[0]);
	advance(f, f->now_us + 2 * TICK);
	assert_int_equal(f->timers[0].fired, 0);
	assert_int_equal(f->timers[1].fired, 1);
}

static void
a_cleared_entry_wakes_nobody(void **state)
{
	struct fixture *f = *state;

	model_set(f, &f->timers[0], f->now_us + TICK);
	model_set(f, &f->timers[1], f->now_us + 40 * TICK);
	model_clear(f, &f->timers[0]);
	assert_true(wheel_next_us(&f->wheel) >= f->now_us + 40 * TICK);
}

static void
set_itself_to_the_past(struct wheel_entry *entry, void *arg)
{
	struct fixture *f = arg;

	LIST_ENTRY(entry, struct timer, entry)->fired++;
	wheel_set(&f->wheel, entry, f->now_us - HOUR_US);
}

static void
an_entry_that_sets_itself_to_the_past_fires_once_a_call(void **state)
{
	struct fixture *f = *state;

	wheel_set(&f->wheel, &f->timers[0].entry, f->now_us);
	for (int i = 1; i < 200; i++) {
		f->now_us += i % 3 * TICK;
		wheel_advance(&f->wheel, f->now_us, set_itself_to_the_past, f);
		/* The first one may have been a tick away. */
		assert_in_range(f->timers[0].fired, i - 1, i);
	}
	wheel_clear(&f->wheel, &f->timers[0].entry);
}

/* What the model says after an advance, and about the next. */
static void
check(struct fixture *f)
{
	int64_t first_us = INT64_MAX;
	uint64_t count = 0;

	for (int i = 0; i < ENTRIES; i++) {
		const struct timer *timer = &f->timers[i];

		assert_int_equal(wheel_is_set(&timer->entry), timer->set);
		if (!timer->set)
			continue;
		count++;
		if (timer->due_us < first_us)
			first_us = timer->due_us;
	}
	assert_int_equal(f->wheel.count, count);
	if (count == 0)
		assert_int_equal(wheel_next_us(&f->wheel), INT64_MAX);
	else
		assert_true(wheel_next_us(&f->wheel) < first_us + TICK ||
			    wheel_next_us(&f->wheel) <= f->now_us);
}

static void
nothing_is_late(struct fixture *f)
{
	for (int i = 0; i < ENTRIES; i++)
		if (f->timers[i].set)
			assert_true(f->timers[i].due_us + TICK > f->now_us);
}

static void
random_script(struct fixture *f, bool mischief)
{
	for (int step = 0; step < 20000; step++) {
		struct timer *timer = &f->timers[pick(f, ENTRIES)];
		int64_t next_us;

		f->mischief = mischief;
		switch (pick(f, 6)) {
		case 0:
		case 1:
			model_set(f, timer, random_due(f));
			break;
		case 2:
			model_clear(f, timer);
			break;
		case 3:
			advance(f, f->now_us + pick(f, 3 * TICK));
			break;
		case 4:
			next_us = wheel_next_us(&f->wheel);
			if (next_us != INT64_MAX && next_us > f->now_us)
				advance(f, next_us + pick(f, TICK));
			break;
		default:
			if (pick(f, 20) == 0)
				advance(f, f->now_us + pick(f, 9 * HOUR_US));
		}
		check(f);
		if (pick(f, 16) == 0) {
			f->mischief = false;
			advance(f, f->now_us);
			nothing_is_late(f);
		}
	}
}

static void
random_timers_fire_as_in_a_list(void **state)
{
	random_script(*state, false);
}

static void
callbacks_may_set_and_clear_any_entry(void **state)
{
	random_script(*state, true);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_empty_wheel_has_no_next_time),
		TEST(an_entry_fires_within_a_tick_and_not_before),
		TEST(what_is_due_already_fires_at_the_next_advance),
		TEST(a_far_timer_is_reached_in_few_steps),
		TEST(a_deadline_that_is_moved_on_does_not_fire),
		TEST(a_cleared_entry_does_not_fire),
		TEST(a_cleared_entry_wakes_nobody),
		TEST(an_entry_that_sets_itself_to_the_past_fires_once_a_call),
		TEST(random_timers_fire_as_in_a_list),
		TEST(callbacks_may_set_and_clear_any_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
