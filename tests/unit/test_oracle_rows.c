/*
 * Rows of the texts' coverage whose "works when" no other test shows to the
 * letter.  R is the row's number in tests/seeds/README.md, where the others
 * are named.
 */

#include "tests/unit/oracle_rig.h"
#include "tests/unit/task_rig.h"

struct progress {
	unsigned steps;
};

static int
make_steps(void *arg, es_value *ret)
{
	struct progress *progress = arg;
	int r = 0;

	(void)ret;
	for (; r == 0; progress->steps++)
		r = es_yield();
	return r;
}

static int
fail_after_a_while(void *arg, es_value *ret)
{
	const struct progress *progress = arg;
	int r = es_sleep(ES_MS(20)), i;

	(void)ret;
	/* Where the machine stood still for that long. */
	for (i = 0; i < 100 && r == 0 && progress->steps <= 1; i++)
		r = es_sleep(ES_MS(1));
	return r < 0 ? r : es_fail(-EIO, "disk %d is gone", 3);
}

static void
R6_run_until_gives_the_code_and_others_progress(void **state)
{
	struct progress progress = { 0 };
	es_future *other = spawn(make_steps, &progress);
	es_future *f = spawn(fail_after_a_while, &progress);

	(void)state;
	assert_int_equal(es_loop_run_until(loop, f), -EIO);
	assert_string_equal(es_future_error(f), "disk 3 is gone");
	assert_true(progress.steps > 1);
	assert_false(es_future_done(other));
	es_future_unref(f);
	assert_int_equal(es_future_cancel(other), 1);
	assert_int_equal(es_loop_run_until(loop, other), -ECANCELED);
	es_future_unref(other);
}

static void
spawn_here(void *arg)
{
	*(es_future **)arg = spawn(task_note, RIG_LETTER('t'));
	rig_note_char('c');
	rig_later(loop, ES_MS(5), rig_stop, loop);
}

static void
R14_a_call_of_a_running_loop_makes_a_task(void **state)
{
	es_future *f = NULL;

	(void)state;
	rig_soon(loop, spawn_here, &f);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("ct");
	assert_int_equal(es_future_result(f, NULL), 0);
	es_future_unref(f);
}

#define MILLION 1000000

static uintptr_t next_number, wrong;

static void
take_number(void *arg)
{
	wrong += (uintptr_t)arg != next_number;
	next_number++;
}

static void
R21_a_million_calls_run_in_order(void **state)
{
	uintptr_t i;

	(void)state;
	next_number = wrong = 0;
	for (i = 0; i < MILLION; i++)
		rig_soon(loop, take_number, (void *)i);
	rig_turn(loop);
	assert_int_equal(next_number, MILLION);
	assert_int_equal(wrong, 0);
}

struct precise {
	es_usec due;
	unsigned ran, early;
};

static void
check_due(void *arg)
{
	struct precise *precise = arg;
	es_usec now = clock_now_us();

	precise->early += now < precise->due;
	if (++precise->ran == 1000) {
		es_loop_stop(loop);
		return;
	}
	precise->due = now + ES_MS(1);
	rig_later(loop, ES_MS(1), check_due, precise);
}

/* How late they are is the bench's business. */
static void
R22_of_a_thousand_timers_none_is_early(void **state)
{
	struct precise precise = { 0 };

	(void)state;
	rig_soon(loop, check_due, &precise);
	assert_int_equal(es_loop_run(loop), 0);
	assert_int_equal(precise.early, 0);
}

#define TRIPS 101

static int
compare_times(const void *a, const void *b)
{
	es_usec x = *(const es_usec *)a, y = *(const es_usec *)b;

	return (x > y) - (x < y);
}

static int
read_clock(void *arg, es_value *ret)
{
	(void)arg;
	*ret = ES_INT(clock_now_us());
	return 0;
}

/* asyncio's call_soon from the wrong thread ran 0.9 s late, if at all. */
static void
R23_a_call_from_a_thread_wakes_an_idle_loop(void **state)
{
	es_loop *other = rig_loop();
	es_loop_thread *thread = NULL;
	es_usec took[TRIPS];
	int i;

	(void)state;
	assert_int_equal(es_loop_thread_start(other, &thread), 0);
	for (i = 0; i < TRIPS; i++) {
		es_usec began = clock_now_us();
		es_value value = ES_NOTHING;
		es_future *f = NULL;

		assert_int_equal(
		    es_loop_invoke(other, "clock", read_clock, NULL, NULL, &f),
		    0);
		assert_int_equal(es_await_take(f, RIG_PATIENCE, &value), 0);
		took[i] = value.i - began;
	}
	qsort(took, TRIPS, sizeof(took[0]), compare_times);
	assert_true(
	    took[TRIPS / 2] < ES_MS(100)); /* far below: see the bench */
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	es_loop_unref(other);
}

/* A plain function that waits, wherever it is called. */
static int
double_slowly(int64_t n, es_value *ret)
{
	int r = es_sleep(ES_MS(5));

	*ret = ES_INT(2 * n);
	return r;
}

static int
double_21(void *arg, es_value *ret)
{
	(void)arg;
	return double_slowly(21, ret);
}

static void
R41_one_function_in_a_task_and_on_a_worker(void **state)
{
	es_executor *executor = NULL;
	es_future *task = spawn(double_21, NULL), *job = NULL;

	(void)state;
	assert_int_equal(es_executor_new(&executor, NULL), 0);
	assert_int_equal(es_executor_submit(executor, 0, "double", double_21,
			     NULL, NULL, loop, &job),
	    0);
	assert_int_equal(es_loop_run_until(loop, task), 0);
	assert_int_equal(es_loop_run_until(loop, job), 0);
	oracle_expect_int(task, 42);
	oracle_expect_int(job, 42);
	es_future_unref(task);
	es_future_unref(job);
	assert_int_equal(es_executor_shutdown(executor, 0, RIG_PATIENCE), 0);
}

static _Atomic unsigned busy;

/* Computes, and does not wait, until the other one does so, too. */
static int
compute_until_both_do(void *arg, es_value *ret)
{
	es_usec until = clock_now_us() + RIG_PATIENCE;

	(void)arg;
	(void)ret;
	atomic_fetch_add(&busy, 1);
	while (atomic_load(&busy) < 2)
		if (clock_now_us() > until)
			return -ETIMEDOUT;
	return 0;
}

static void
R51_R52_two_handlers_compute_at_the_same_time(void **state)
{
	es_executor_opts opts = { .threads = 2 };
	es_executor *executor = NULL;
	es_future *f[2];
	int i;

	(void)state;
	atomic_store(&busy, 0);
	assert_int_equal(es_executor_new(&executor, &opts), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    es_executor_submit(executor, 0, "compute",
			compute_until_both_do, NULL, NULL, loop, &f[i]),
		    0);
	for (i = 0; i < 2; i++)
		assert_int_equal(es_await_take(f[i], RIG_PATIENCE, NULL), 0);
	assert_int_equal(es_executor_shutdown(executor, 0, RIG_PATIENCE), 0);
}

struct counter {
	unsigned value;
	bool waits; /* between reading and writing */
};

static int
count_up(void *arg, es_value *ret)
{
	struct counter *counter = arg;
	int i, r = 0;

	(void)ret;
	for (i = 0; i < 100 && r == 0; i++) {
		unsigned seen = counter->value;

		if (counter->waits)
			r = es_yield();
		counter->value = seen + 1;
		if (!counter->waits)
			r = es_yield();
	}
	return r;
}

static unsigned
count_by_ten(bool waits)
{
	struct counter counter = { .waits = waits };
	es_future *f[10], *all = NULL;
	int i;

	for (i = 0; i < 10; i++)
		f[i] = spawn(count_up, &counter);
	assert_int_equal(es_gather(loop, f, 10, 0, &all), 0);
	assert_int_equal(es_loop_run_until(loop, all), 0);
	es_future_unref(all);
	return counter.value;
}

static void
R61_no_races_but_what_was_read_before_a_wait_is_stale(void **state)
{
	(void)state;
	assert_int_equal(count_by_ten(false), 1000);
	assert_int_equal(count_by_ten(true), 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(R6_run_until_gives_the_code_and_others_progress),
		IN_LOOP(R14_a_call_of_a_running_loop_makes_a_task),
		IN_LOOP(R21_a_million_calls_run_in_order),
		IN_LOOP(R22_of_a_thousand_timers_none_is_early),
		IN_LOOP(R23_a_call_from_a_thread_wakes_an_idle_loop),
		IN_LOOP(R41_one_function_in_a_task_and_on_a_worker),
		IN_LOOP(R51_R52_two_handlers_compute_at_the_same_time),
		IN_LOOP(R61_no_races_but_what_was_read_before_a_wait_is_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
