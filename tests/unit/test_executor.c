/*
 * The executor: invariants E1 to E9; E10 is tested with tasks.
 */

#include "tests/unit/loop_rig.h"

#include <sched.h>
#include <signal.h>

static es_executor *
executor_new(unsigned threads, unsigned queue_max)
{
	es_executor_opts opts = {
		.name = "work", .threads = threads, .queue_max = queue_max
	};
	es_executor *executor = NULL;

	assert_int_equal(es_executor_new(&executor, &opts), 0);
	return executor;
}

static es_future *
submit(es_executor *executor, uint64_t key, es_job_fn fn, void *arg)
{
	es_future *f = NULL;

	assert_int_equal(
	    es_executor_submit(executor, key, "job", fn, arg, NULL, NULL, &f),
	    0);
	return f;
}

static void
end(es_executor *executor)
{
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(10)), 0);
}

static int
job_nothing(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return 0;
}

static int
job_note(void *arg, es_value *ret)
{
	(void)ret;
	rig_note(arg);
	return 0;
}

struct blocker {
	struct rig_gate started, go;
	_Atomic unsigned now, most;
};
#define BLOCKER                                                                \
	{                                                                      \
		.started = RIG_GATE, .go = RIG_GATE                            \
	}

static int
job_block(void *arg, es_value *ret)
{
	struct blocker *b = arg;

	(void)ret;
	rig_open(&b->started);
	(void)rig_pass(&b->go, 1);
	return 0;
}

static void
E1_a_full_queue_refuses_and_takes_nothing(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(1, 3);
	es_future *f = submit(executor, 0, job_block, &b);
	unsigned queued = 9, running = 9;
	es_executor_stats stats;
	int i;

	(void)state;
	rig_forget();
	assert_true(rig_pass(&b.started, 1));
	for (i = 0; i < 3; i++)
		es_future_unref(submit(executor, 0, job_nothing, NULL));
	assert_int_equal(es_executor_submit(executor, 0, "x", rig_never_body,
			     RIG_LETTER('x'), rig_note, NULL, NULL),
	    -EAGAIN);
	assert_int_equal(es_executor_load(executor, &queued, &running), 0);
	assert_int_equal(queued, 3);
	assert_int_equal(running, 1);
	assert_int_equal(es_executor_get_stats(executor, &stats), 0);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.queued_max, 3);
	rig_open(&b.go);
	end(executor);
	rig_expect("");
	assert_int_equal(es_await_take(f, 0, NULL), 0);
}

static void
E2_jobs_start_in_the_order_they_came(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(1, 0);
	char c;

	(void)state;
	rig_forget();
	es_future_unref(submit(executor, 0, job_block, &b));
	for (c = 'a'; c <= 'z'; c++)
		es_future_unref(
		    submit(executor, c % 3, job_note, RIG_LETTER(c)));
	rig_open(&b.go);
	end(executor);
	rig_expect("abcdefghijklmnopqrstuvwxyz");
}

static void
E2_a_running_key_is_skipped_and_others_go_on(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(2, 0);
	es_future *f, *g;

	(void)state;
	rig_forget();
	es_future_unref(submit(executor, 7, job_block, &b));
	assert_true(rig_pass(&b.started, 1));
	f = submit(executor, 7, job_note, RIG_LETTER('a'));
	es_future_unref(submit(executor, 7, job_note, RIG_LETTER('b')));
	g = submit(executor, 8, job_note, RIG_LETTER('c'));
	assert_int_equal(es_await_take(g, RIG_PATIENCE, NULL), 0);
	rig_expect("c");
	assert_int_equal(es_await(f, 0), -ETIMEDOUT);
	es_future_unref(f);
	rig_open(&b.go);
	end(executor);
	rig_expect("cab");
}

#define KEYS 16
#define KEY_JOBS 100

struct key_state {
	atomic_bool busy;
	unsigned next, wrong;
};
static struct key_state keys[KEYS];

static int
job_keyed(void *arg, es_value *ret)
{
	uintptr_t n = (uintptr_t)arg;
	struct key_state *key = &keys[n % KEYS];

	(void)ret;
	if (atomic_exchange(&key->busy, true) || key->next++ != n / KEYS)
		key->wrong++;
	atomic_store(&key->busy, false);
	return 0;
}

static void
E2_jobs_of_a_key_never_overlap_and_keep_order(void **state)
{
	es_executor *executor = executor_new(4, KEYS * KEY_JOBS);
	uintptr_t n;
	size_t i;

	(void)state;
	memset(keys, 0, sizeof(keys));
	for (n = 0; n < KEYS * KEY_JOBS; n++)
		es_future_unref(
		    submit(executor, 1 + n % KEYS, job_keyed, (void *)n));
	end(executor);
	for (i = 0; i < KEYS; i++) {
		assert_int_equal(keys[i].wrong, 0);
		assert_int_equal(keys[i].next, KEY_JOBS);
	}
}

static int
job_thread_id(void *arg, es_value *ret)
{
	(void)arg;
	*ret = ES_INT(es_loop_current() ? 0 : (int64_t)gettid());
	return 0;
}

struct seen {
	es_loop *loop;
	int64_t id;
	bool on_loop;
};

static void
see_id(es_future *f, void *arg)
{
	struct seen *seen = arg;
	es_value value = ES_NOTHING;

	assert_int_equal(es_future_take(f, &value), 0);
	seen->id = value.i;
	seen->on_loop = es_loop_current() == seen->loop;
	es_loop_stop(seen->loop);
}

static void
E3_the_result_comes_to_the_home_loop(void **state)
{
	struct seen seen = { .loop = rig_loop() };
	es_executor *executor = executor_new(0, 0);
	es_future *f = NULL;

	(void)state;
	assert_int_equal(es_executor_submit(executor, 0, "id", job_thread_id,
			     NULL, NULL, seen.loop, &f),
	    0);
	assert_int_equal(
	    es_future_add_done_callback(f, NULL, see_id, &seen, NULL), 0);
	assert_int_equal(es_loop_run(seen.loop), 0);
	assert_true(seen.on_loop);
	assert_true(seen.id > 0 && seen.id != (int64_t)gettid());
	es_future_unref(f);
	end(executor);
	rig_end(seen.loop);
}

static void
E4_F8_a_queued_job_is_cancelled_at_once(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(1, 0);
	es_future *f = NULL, *next;

	(void)state;
	rig_forget();
	es_future_unref(submit(executor, 5, job_block, &b));
	assert_int_equal(es_executor_submit(executor, 5, "x", rig_never_body,
			     RIG_LETTER('d'), rig_note, NULL, &f),
	    0);
	next = submit(executor, 5, job_note, RIG_LETTER('n'));
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_future_result(f, NULL), -ECANCELED);
	rig_expect("d");
	assert_int_equal(es_future_cancel(f), 0);
	rig_open(&b.go);
	assert_int_equal(es_await_take(next, RIG_PATIENCE, NULL), 0);
	rig_expect("dn");
	es_future_unref(f);
	end(executor);
}

struct asked {
	struct rig_gate started;
	es_future *never;
	bool was_asked;
	int wait;
};

static int
job_until_asked(void *arg, es_value *ret)
{
	struct asked *a = arg;

	rig_open(&a->started);
	a->wait = es_await(a->never, RIG_PATIENCE);
	a->was_asked = es_job_cancelled();
	*ret = ES_INT(4);
	return 0;
}

static void
E4_F9_a_running_job_is_told_and_its_result_counts(void **state)
{
	struct asked a = { .started = RIG_GATE, .never = es_future_new(NULL) };
	es_executor *executor = executor_new(1, 0);
	es_future *f = submit(executor, 0, job_until_asked, &a);
	es_value value;

	(void)state;
	assert_false(es_job_cancelled());
	assert_true(rig_pass(&a.started, 1));
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, &value), 0);
	assert_int_equal(value.i, 4);
	assert_int_equal(a.wait, -ECANCELED);
	assert_true(a.was_asked);
	es_future_unref(a.never);
	end(executor);
}

static void
E5_E6_shutdown_cancels_queued_asks_running_counts_left(void **state)
{
	static struct blocker b = BLOCKER; /* outlives the test: left behind */
	unsigned before = rig_count_in("/proc/self/task");
	es_executor *executor = executor_new(2, 0);
	es_future *running = submit(executor, 0, job_block, &b), *queued;
	es_usec began = clock_now_us();

	(void)state;
	rig_forget();
	es_future_unref(submit(executor, 0, job_block, &b));
	assert_true(rig_pass(&b.started, 2));
	assert_int_equal(es_executor_submit(executor, 0, "x", rig_never_body,
			     RIG_LETTER('d'), rig_note, NULL, &queued),
	    0);
	assert_int_equal(
	    es_executor_shutdown(executor, ES_EXEC_CANCEL, ES_MS(20)), 2);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	assert_int_equal(es_await_take(queued, 0, NULL), -ECANCELED);
	rig_expect("d");
	assert_int_equal(es_await(running, 0), -ETIMEDOUT);
	rig_open(&b.go); /* they end by themselves, and take the rest along */
	assert_int_equal(es_await_take(running, RIG_PATIENCE, NULL), 0);
	while (rig_count_in("/proc/self/task") > before)
		sched_yield();
}

static void
E6_without_cancel_the_queue_is_worked_off(void **state)
{
	es_executor *executor = executor_new(1, 0);
	char c;

	(void)state;
	rig_forget();
	for (c = 'a'; c <= 'j'; c++)
		es_future_unref(submit(executor, 0, job_note, RIG_LETTER(c)));
	end(executor);
	rig_expect("abcdefghij");
	assert_int_equal(es_executor_shutdown(NULL, 0, 0), 0);
}

static void
E6_E7_cancelled_then_shut_down_does_not_hang(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		es_executor *executor = executor_new(2, 0);
		es_future *f = submit(executor, 1, job_nothing, NULL);

		(void)es_future_cancel(f);
		assert_int_equal(
		    es_executor_shutdown(executor, ES_EXEC_CANCEL, ES_S(10)),
		    0);
		assert_true(es_future_done(f));
		es_future_unref(f);
	}
}

static void
E6_most_of_fifty_are_cancelled_the_others_finish(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(2, 0);
	es_future *f[50];
	unsigned i, cancelled = 0, done = 0;

	(void)state;
	for (i = 0; i < 50; i++)
		f[i] = submit(executor, 0, job_block, &b);
	assert_true(rig_pass(&b.started, 2));
	rig_open(&b.go);
	assert_int_equal(
	    es_executor_shutdown(executor, ES_EXEC_CANCEL, ES_S(10)), 0);
	for (i = 0; i < 50; i++) {
		int r = es_await_take(f[i], 0, NULL);

		assert_true(r == 0 || r == -ECANCELED);
		cancelled += r == -ECANCELED;
		done += r == 0;
	}
	assert_true(done >= 1);
	assert_int_equal(done + cancelled, 50);
}

static void
E8_quiet_settles_and_intake_goes_on(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(1, 0);
	es_future *quiet = NULL, *at_once = NULL, *f;

	(void)state;
	rig_forget();
	assert_int_equal(es_executor_quiet(executor, NULL, &at_once), 0);
	assert_int_equal(es_await_take(at_once, 0, NULL), 0);
	es_future_unref(submit(executor, 0, job_block, &b));
	assert_true(rig_pass(&b.started, 1));
	assert_int_equal(es_executor_quiet(executor, NULL, &quiet), 0);
	f = submit(executor, 0, job_note, RIG_LETTER('n'));
	assert_false(es_future_done(quiet));
	rig_open(&b.go);
	assert_int_equal(es_await_take(quiet, RIG_PATIENCE, NULL), 0);
	rig_expect("n");
	assert_int_equal(es_future_result(f, NULL), 0);
	es_future_unref(f);
	f = submit(executor, 0, job_nothing, NULL);
	assert_int_equal(es_await_take(f, RIG_PATIENCE, NULL), 0);
	end(executor);
}

static void
E8_a_cancelled_quiet_is_just_cancelled(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(1, 0);
	es_future *quiet = NULL;

	(void)state;
	es_future_unref(submit(executor, 0, job_block, &b));
	assert_true(rig_pass(&b.started, 1));
	assert_int_equal(es_executor_quiet(executor, NULL, &quiet), 0);
	assert_int_equal(es_await_take(quiet, ES_MS(1), NULL), -ETIMEDOUT);
	rig_open(&b.go);
	end(executor);
}

static int
job_name(void *arg, es_value *ret)
{
	sigset_t mask;

	(void)pthread_getname_np(pthread_self(), arg, 16);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
	*ret =
	    ES_INT(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1));
	return 0;
}

static void
E9_threads_are_there_named_and_deaf_to_signals(void **state)
{
	unsigned before = rig_count_in("/proc/self/task");
	es_executor *executor = executor_new(3, 0);
	char name[16] = "";
	es_value value;

	(void)state;
	assert_int_equal(rig_count_in("/proc/self/task"), before + 3);
	assert_int_equal(es_await_take(submit(executor, 0, job_name, name),
			     RIG_PATIENCE, &value),
	    0);
	assert_int_equal(value.i, 1);
	name[5] = '\0';
	assert_string_equal(name, "work/");
	end(executor);
	while (rig_count_in("/proc/self/task") > before)
		sched_yield(); /* joined; the kernel takes its time */
}

static int
job_saturate(void *arg, es_value *ret)
{
	struct blocker *b = arg;
	unsigned now = atomic_fetch_add(&b->now, 1) + 1;
	unsigned most = atomic_load(&b->most);

	(void)ret;
	while (
	    now > most && !atomic_compare_exchange_weak(&b->most, &most, now))
		;
	sched_yield();
	atomic_fetch_sub(&b->now, 1);
	return 0;
}

static void
never_more_threads_than_asked_for(void **state)
{
	struct blocker b = BLOCKER;
	es_executor *executor = executor_new(4, 0);
	es_executor_stats stats;
	int i;

	(void)state;
	for (i = 0; i < 60; i++)
		es_future_unref(submit(executor, 0, job_saturate, &b));
	assert_int_equal(es_executor_get_stats(executor, &stats), 0);
	assert_int_equal(stats.threads, 4);
	assert_int_equal(stats.extra, 0);
	end(executor);
	assert_true(b.most >= 1 && b.most <= 4);
}

static int
job_fail(void *arg, es_value *ret)
{
	*ret = ES_PTR(arg, rig_note);
	return -ENOSPC;
}

static void
a_failed_jobs_value_is_dropped_and_its_code_told(void **state)
{
	es_executor *executor = executor_new(1, 0);

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_await_take(submit(executor, 0, job_fail, RIG_LETTER('v')),
		RIG_PATIENCE, NULL),
	    -ENOSPC);
	rig_expect("v");
	end(executor);
	assert_int_equal(
	    es_executor_new(&executor, &(es_executor_opts){ .threads = 5000 }),
	    -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(E1_a_full_queue_refuses_and_takes_nothing),
		cmocka_unit_test(E2_jobs_start_in_the_order_they_came),
		cmocka_unit_test(E2_a_running_key_is_skipped_and_others_go_on),
		cmocka_unit_test(E2_jobs_of_a_key_never_overlap_and_keep_order),
		cmocka_unit_test(E3_the_result_comes_to_the_home_loop),
		cmocka_unit_test(E4_F8_a_queued_job_is_cancelled_at_once),
		cmocka_unit_test(
		    E4_F9_a_running_job_is_told_and_its_result_counts),
		cmocka_unit_test(E6_without_cancel_the_queue_is_worked_off),
		cmocka_unit_test(E6_E7_cancelled_then_shut_down_does_not_hang),
		cmocka_unit_test(
		    E6_most_of_fifty_are_cancelled_the_others_finish),
		cmocka_unit_test(E8_quiet_settles_and_intake_goes_on),
		cmocka_unit_test(E8_a_cancelled_quiet_is_just_cancelled),
		cmocka_unit_test(
		    E9_threads_are_there_named_and_deaf_to_signals),
		cmocka_unit_test(never_more_threads_than_asked_for),
		cmocka_unit_test(
		    a_failed_jobs_value_is_dropped_and_its_code_told),
		cmocka_unit_test(
		    E5_E6_shutdown_cancels_queued_asks_running_counts_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
