/*
 * CPython's tests of the ways between threads and the loop, ported; each is
 * named after its origin.  Entries 33 to 40 of the oracle; the originals are
 * in Lib/test/test_asyncio/test_tasks.py, test_events.py and test_threads.py,
 * and in Lib/test/test_concurrent_futures.py.
 */

#include "tests/unit/oracle_rig.h"

#include <semaphore.h>

/* The coroutine of RunCoroutineThreadsafeTests, and how its target asks. */
struct add {
	es_loop *loop;
	int64_t a, b;
	bool fail;
	es_usec timeout;
	_Atomic unsigned ended;
};

static int
add(void *arg, es_value *ret)
{
	struct add *add = arg;
	int r = es_sleep(ES_MS(5));

	atomic_fetch_add(&add->ended, 1);
	if (r < 0)
		return r;
	if (add->fail)
		return es_fail(-EIO, "Fail!");
	*ret = ES_INT(add->a + add->b);
	return 0;
}

/* On a worker: the coroutine is given to the loop and waited for. */
static int
target(void *arg, es_value *ret)
{
	struct add *parameters = arg;
	es_future *f = NULL;
	int r = es_spawn(parameters->loop, "add", add, parameters, NULL, &f);

	if (r < 0)
		return r;
	r = es_await(f, parameters->timeout);
	if (r == 0)
		r = es_future_take(f, ret);
	else if (es_future_error(f))
		(void)es_fail(r, "%s", es_future_error(f));
	(void)es_future_cancel(f); /* or it is done */
	es_future_unref(f);
	return r;
}

/* The future of target on a worker, after the loop has run until it. */
static es_future *
run_target(struct add *add, es_executor *executor, int expected)
{
	es_future *f = NULL;

	assert_int_equal(es_executor_submit(executor, 0, "target", target, add,
			     NULL, add->loop, &f),
	    0);
	assert_int_equal(es_loop_run_until(add->loop, f), expected);
	return f;
}

static es_executor *
executor_of(unsigned threads)
{
	es_executor_opts opts = { .threads = threads };
	es_executor *executor = NULL;

	assert_int_equal(es_executor_new(&executor, &opts), 0);
	return executor;
}

static void
end(es_executor *executor)
{
	assert_int_equal(es_executor_shutdown(executor, 0, RIG_PATIENCE), 0);
}

static void
O33_tasks_test_run_coroutine_threadsafe(void **state)
{
	struct add add = {
		.loop = rig_loop(), .a = 1, .b = 2, .timeout = RIG_PATIENCE
	};
	es_executor *executor = executor_of(1);
	es_future *f = run_target(&add, executor, 0);

	(void)state;
	oracle_expect_int(f, 3);
	es_future_unref(f);
	end(executor);
	rig_end(add.loop);
}

static void
O33_tasks_test_run_coroutine_threadsafe_with_exception(void **state)
{
	struct add add = {
		.loop = rig_loop(), .fail = true, .timeout = RIG_PATIENCE
	};
	es_executor *executor = executor_of(1);
	es_future *f = run_target(&add, executor, -EIO);

	(void)state;
	assert_int_equal(es_future_result(f, NULL), -EIO);
	assert_string_equal(es_future_error(f), "Fail!");
	es_future_unref(f);
	end(executor);
	rig_end(add.loop);
}

static void
O33_tasks_test_run_coroutine_threadsafe_with_timeout(void **state)
{
	struct add add = { .loop = rig_loop(), .timeout = 0 };
	es_executor *executor = executor_of(1);
	es_future *f = run_target(&add, executor, -ETIMEDOUT);
	es_loop_stats stats;

	(void)state;
	assert_int_equal(es_future_result(f, NULL), -ETIMEDOUT);
	oracle_run_briefly(add.loop);
	es_loop_get_stats(add.loop, &stats);
	assert_int_equal(stats.tasks, 0);
	es_future_unref(f);
	end(executor);
	rig_end(add.loop);
}

static int
clean_up_slowly(void *arg, es_value *ret)
{
	int r = es_sleep(ORACLE_LONG), s;

	(void)ret;
	es_shield_begin(ES_S(5));
	s = es_sleep(ES_MS(20));
	es_shield_end();
	assert_int_equal(s, 0);
	atomic_store((atomic_bool *)arg, true);
	return r;
}

/*
 * F8 and K15: a cancelled future is not done before its task has ended, so
 * who waits for it, or owned it, goes on only after the clean-up.
 */
static void
O34_cpython_105836_the_task_ends_before_we_go_on(void **state)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;
	atomic_bool cleaned = false;
	es_future *f = NULL;

	(void)state;
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(
	    es_spawn(loop, "slow", clean_up_slowly, &cleaned, NULL, &f), 0);
	assert_int_equal(es_await(f, ES_MS(5)), -ETIMEDOUT);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_await(f, RIG_PATIENCE), -ECANCELED);
	assert_true(cleaned);
	es_future_unref(f);

	cleaned = false;
	assert_int_equal(
	    es_spawn(loop, "slow", clean_up_slowly, &cleaned, NULL, &f), 0);
	assert_int_equal(es_await_take(f, ES_MS(5), NULL), -ETIMEDOUT);
	assert_true(cleaned);
	assert_int_equal(es_loop_thread_stop(thread, RIG_PATIENCE), 0);
	es_loop_unref(loop);
}

struct where {
	const char *arg;
	const char *got;
	pthread_t thread;
};

static int
run_there(void *arg, es_value *ret)
{
	struct where *where = arg;

	(void)ret;
	where->got = where->arg;
	where->thread = pthread_self();
	return 0;
}

static int
run_in_executor(void *arg, es_value *ret)
{
	return es_run_in_executor(NULL, "run", run_there, arg, ret);
}

static void
O35_events_test_run_in_executor(void **state)
{
	struct where where = { .arg = "yo", .thread = pthread_self() };
	es_loop *loop = rig_loop();

	(void)state;
	assert_int_equal(oracle_run(loop, run_in_executor, &where), 0);
	assert_string_equal(where.got, "yo");
	assert_false(pthread_equal(where.thread, pthread_self()));
	rig_end(loop);
}

static int
acquire(void *arg, es_value *ret)
{
	(void)ret;
	while (sem_wait(arg) < 0)
		;
	return 0;
}

static void
O36_concurrent_test_saturation(void **state)
{
	es_executor *executor = executor_of(4);
	es_executor_stats stats;
	sem_t sem;
	int i;

	(void)state;
	assert_int_equal(sem_init(&sem, 0, 0), 0);
	for (i = 0; i < 15 * 4; i++)
		assert_int_equal(es_executor_submit(executor, 0, "acquire",
				     acquire, &sem, NULL, NULL, NULL),
		    0);
	assert_int_equal(es_executor_get_stats(executor, &stats), 0);
	assert_int_equal(stats.threads, 4);
	assert_int_equal(stats.extra, 0);
	for (i = 0; i < 15 * 4; i++)
		assert_int_equal(sem_post(&sem), 0);
	end(executor);
	assert_int_equal(sem_destroy(&sem), 0);
}

/* A handle on a shut down executor does not exist; a job of it still does. */
static int
submit_when_asked_to_end(void *arg, es_value *ret)
{
	(void)ret;
	while (!es_job_cancelled())
		usleep(100);
	return es_executor_submit(
	    arg, 0, "late", rig_never_body, NULL, NULL, NULL, NULL);
}

static void
O37_concurrent_test_run_after_shutdown(void **state)
{
	es_executor *executor = executor_of(1);
	es_future *f = NULL;

	(void)state;
	assert_int_equal(
	    es_executor_submit(executor, 0, "submitter",
		submit_when_asked_to_end, executor, NULL, NULL, &f),
	    0);
	while (es_await(f, ES_MS(1)) == -ETIMEDOUT) {
		unsigned running = 0;

		assert_int_equal(es_executor_load(executor, NULL, &running), 0);
		if (running == 1)
			break;
	}
	assert_int_equal(
	    es_executor_shutdown(executor, ES_EXEC_CANCEL, RIG_PATIENCE), 0);
	assert_int_equal(es_await_take(f, 0, NULL), -ESHUTDOWN);
}

#define FIFTY 50

static int
sleep_a_little(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	usleep(10000); /* stands for blocking work */
	return 0;
}

static void
submit_fifty(es_executor *executor, es_future **f)
{
	int i;

	for (i = 0; i < FIFTY; i++)
		assert_int_equal(es_executor_submit(executor, 0, "sleep",
				     sleep_a_little, NULL, NULL, NULL, &f[i]),
		    0);
}

static void
O38_concurrent_test_cancel_futures(void **state)
{
	es_executor *executor = executor_of(4);
	unsigned cancelled = 0, others = 0, i;
	es_executor_stats stats;
	es_future *f[FIFTY];

	(void)state;
	submit_fifty(executor, f);
	do /* one at least was begun, and finishes */
		assert_int_equal(es_executor_get_stats(executor, &stats), 0);
	while (stats.running == 0 && stats.done == 0);
	assert_int_equal(
	    es_executor_shutdown(executor, ES_EXEC_CANCEL, RIG_PATIENCE), 0);
	for (i = 0; i < FIFTY; i++) {
		int r = es_await_take(f[i], 0, NULL);

		assert_true(r == 0 || r == -ECANCELED);
		cancelled += r == -ECANCELED;
		others += r == 0;
	}
	assert_true(cancelled > 20);
	assert_true(others > 0);
}

static void
O39_concurrent_test_hang_issue12364(void **state)
{
	es_executor *executor = executor_of(4);
	es_future *f[FIFTY];
	int i;

	(void)state;
	submit_fifty(executor, f);
	end(executor);
	for (i = 0; i < FIFTY; i++)
		assert_int_equal(es_await_take(f[i], 0, NULL), 0);
}

static int
raise_runtime(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return es_fail(-EIO, "test");
}

struct to_thread {
	es_loop *loop;
	es_body_fn fn;
	void *arg;
};

static int
to_thread(void *arg, es_value *ret)
{
	struct to_thread *to = arg;

	return es_run_in_executor(NULL, "to_thread", to->fn, to->arg, ret);
}

/* The code comes back by itself; with its words, where the future is kept. */
static void
O40_threads_test_to_thread_exception(void **state)
{
	struct to_thread to = { .loop = rig_loop(), .fn = raise_runtime };
	es_executor *executor = executor_of(1);
	es_future *f = NULL;

	(void)state;
	assert_int_equal(oracle_run(to.loop, to_thread, &to), -EIO);
	assert_int_equal(es_executor_submit(executor, 0, "raise", raise_runtime,
			     NULL, NULL, to.loop, &f),
	    0);
	assert_int_equal(es_loop_run_until(to.loop, f), -EIO);
	assert_string_equal(es_future_error(f), "test");
	es_future_unref(f);
	end(executor);
	rig_end(to.loop);
}

static int
count_call(void *arg, es_value *ret)
{
	(void)ret;
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
	return 0;
}

static int
ten_at_once(void *arg, es_value *ret)
{
	struct to_thread *to = arg;
	es_future *f[10], *all = NULL;
	int i;

	(void)ret;
	for (i = 0; i < 10; i++)
		f[i] = oracle_spawn(to->loop, to_thread, to);
	assert_int_equal(es_gather(to->loop, f, 10, 0, &all), 0);
	return es_await_take(all, ES_FOREVER, NULL);
}

static void
O40_threads_test_to_thread_concurrent(void **state)
{
	_Atomic unsigned calls = 0;
	struct to_thread to = {
		.loop = rig_loop(), .fn = count_call, .arg = &calls
	};

	(void)state;
	assert_int_equal(oracle_run(to.loop, ten_at_once, &to), 0);
	assert_int_equal(calls, 10);
	rig_end(to.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(O33_tasks_test_run_coroutine_threadsafe),
		cmocka_unit_test(
		    O33_tasks_test_run_coroutine_threadsafe_with_exception),
		cmocka_unit_test(
		    O33_tasks_test_run_coroutine_threadsafe_with_timeout),
		cmocka_unit_test(
		    O34_cpython_105836_the_task_ends_before_we_go_on),
		cmocka_unit_test(O35_events_test_run_in_executor),
		cmocka_unit_test(O36_concurrent_test_saturation),
		cmocka_unit_test(O37_concurrent_test_run_after_shutdown),
		cmocka_unit_test(O38_concurrent_test_cancel_futures),
		cmocka_unit_test(O39_concurrent_test_hang_issue12364),
		cmocka_unit_test(O40_threads_test_to_thread_exception),
		cmocka_unit_test(O40_threads_test_to_thread_concurrent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
