/*
 * Jobs that wait for jobs: DL3 to DL6.
 */

#include "tests/unit/loop_rig.h"

static es_executor *executor;

static void
executor_start(unsigned threads, es_usec starve_after)
{
	es_executor_opts opts = { .threads = threads,
		.starve_after = starve_after };

	assert_int_equal(es_executor_new(&executor, &opts), 0);
}

static void
executor_end(void)
{
	assert_int_equal(es_executor_shutdown(executor, 0, ES_S(10)), 0);
}

static es_future *
submit(uint64_t key, es_job_fn fn, void *arg)
{
	es_future *f = NULL;

	/* Also from jobs, where an assertion of cmocka's would be lost. */
	if (es_executor_submit(executor, key, "job", fn, arg, NULL, NULL, &f) <
	    0)
		abort();
	return f;
}

static int
job_seven(void *arg, es_value *ret)
{
	(void)arg;
	*ret = ES_INT(7);
	return 0;
}

static int
job_waits_for_own_key(void *arg, es_value *ret)
{
	es_future *f = submit(*(uint64_t *)arg, job_seven, NULL);

	(void)ret;
	return es_await_take(f, ES_FOREVER, NULL);
}

static void
DL3_a_queued_job_of_the_own_key_is_refused(void **state)
{
	uint64_t key = 5;

	(void)state;
	executor_start(4, 0);
	assert_int_equal(es_await_take(submit(key, job_waits_for_own_key, &key),
			     RIG_PATIENCE, NULL),
	    -EDEADLK);
	/* Another key is another thing. */
	key = 6;
	assert_int_equal(es_await_take(submit(5, job_waits_for_own_key, &key),
			     RIG_PATIENCE, NULL),
	    0);
	executor_end();
}

static void
DL4_the_only_worker_cannot_wait_for_a_queued_job(void **state)
{
	uint64_t none = 0;

	(void)state;
	executor_start(1, 0);
	assert_int_equal(es_await_take(submit(0, job_waits_for_own_key, &none),
			     RIG_PATIENCE, NULL),
	    -EDEADLK);
	executor_end();
}

struct pair {
	struct rig_gate started;
	int results[2];
	_Atomic unsigned next;
};

static int
job_of_a_pair(void *arg, es_value *ret)
{
	struct pair *pair = arg;
	unsigned i = atomic_fetch_add(&pair->next, 1);
	es_future *f;

	(void)ret;
	rig_open(&pair->started);
	if (!rig_pass(&pair->started, 2))
		abort();
	f = submit(0, job_seven, NULL);
	pair->results[i] = es_await(f, RIG_PATIENCE);
	es_future_unref(f);
	return 0;
}

static void
DL4_the_last_free_worker_is_told_the_others_go_on(void **state)
{
	struct pair pair = { .started = RIG_GATE };
	es_future *a, *b;

	(void)state;
	executor_start(2, 0);
	a = submit(0, job_of_a_pair, &pair);
	b = submit(0, job_of_a_pair, &pair);
	assert_int_equal(es_await_take(a, RIG_PATIENCE, NULL), 0);
	assert_int_equal(es_await_take(b, RIG_PATIENCE, NULL), 0);
	/* One was refused, and its worker then ran what the other needs. */
	assert_int_equal(pair.results[0] + pair.results[1], -EDEADLK);
	executor_end();
}

struct ring {
	struct rig_gate ready;
	es_future *of[2];
	int results[2];
};

static struct ring ring;

static int
job_of_a_ring(void *arg, es_value *ret)
{
	size_t i = (size_t)(uintptr_t)arg;

	(void)ret;
	if (!rig_pass(&ring.ready, 1))
		abort();
	ring.results[i] = es_await(ring.of[1 - i], RIG_PATIENCE);
	return 0;
}

static void
a_ring_of_running_jobs_is_refused_to_who_closes_it(void **state)
{
	(void)state;
	ring = (struct ring){ .ready = RIG_GATE };
	executor_start(3, 0);
	ring.of[0] = submit(0, job_of_a_ring, (void *)0);
	ring.of[1] = submit(0, job_of_a_ring, (void *)1);
	rig_open(&ring.ready);
	assert_int_equal(es_await(ring.of[0], RIG_PATIENCE), 0);
	assert_int_equal(es_await(ring.of[1], RIG_PATIENCE), 0);
	assert_int_equal(ring.results[0] + ring.results[1], -EDEADLK);
	es_future_unref(ring.of[0]);
	es_future_unref(ring.of[1]);
	executor_end();
}

struct starving {
	es_loop *loop;
	es_future *promise;
	struct rig_gate told;
	unsigned tells;
	char what[16];
};

static void
starving_tell(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct starving *s = arg;

	(void)loop;
	(void)code;
	(void)message;
	if (kind != ES_R_STARVED)
		return;
	s->tells++;
	(void)snprintf(s->what, sizeof(s->what), "%s", what);
	assert_true(took >= ES_MS(20));
	rig_open(&s->told);
}

static int
job_promise(void *arg, es_value *ret)
{
	struct starving *s = arg;

	(void)ret;
	return es_await(s->promise, RIG_PATIENCE);
}

static int
job_keep_promise(void *arg, es_value *ret)
{
	struct starving *s = arg;

	(void)ret;
	return es_future_set_result(s->promise, ES_NOTHING);
}

static void
DL5_starved_workers_get_help_and_it_is_reported(void **state)
{
	struct starving s = { .promise = es_future_new(NULL),
		.told = RIG_GATE };
	es_loop_opts opts = { .report = starving_tell, .report_arg = &s };
	es_executor_stats stats;
	es_future *a, *b, *c = NULL;

	(void)state;
	assert_int_equal(es_loop_new(&s.loop, &opts), 0);
	executor_start(2, ES_MS(20));
	a = submit(0, job_promise, &s);
	b = submit(0, job_promise, &s);
	assert_int_equal(es_executor_submit(executor, 0, "keeper",
			     job_keep_promise, &s, NULL, s.loop, &c),
	    0);
	assert_int_equal(es_await_take(a, RIG_PATIENCE, NULL), 0);
	assert_int_equal(es_await_take(b, RIG_PATIENCE, NULL), 0);
	assert_int_equal(es_await_take(c, RIG_PATIENCE, NULL), 0);
	assert_true(rig_pass(&s.told, 1));
	assert_int_equal(s.tells, 1);
	rig_expect_name(s.what, "keeper");
	do /* the extra worker ends when there is nothing left */
		assert_int_equal(es_executor_get_stats(executor, &stats), 0);
	while (stats.extra > 0);
	assert_int_equal(stats.starved, 1);
	executor_end();
	es_future_unref(s.promise);
	rig_end(s.loop);
}

static int
job_shuts_down(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return es_executor_shutdown(executor, ES_EXEC_CANCEL, ES_S(1));
}

static void
DL6_an_executor_cannot_be_shut_down_by_its_worker(void **state)
{
	(void)state;
	executor_start(2, 0);
	assert_int_equal(
	    es_await_take(submit(0, job_shuts_down, NULL), RIG_PATIENCE, NULL),
	    -EDEADLK);
	assert_int_equal(
	    es_await_take(submit(0, job_seven, NULL), RIG_PATIENCE, NULL), 0);
	executor_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(DL3_a_queued_job_of_the_own_key_is_refused),
		cmocka_unit_test(
		    DL4_the_only_worker_cannot_wait_for_a_queued_job),
		cmocka_unit_test(
		    DL4_the_last_free_worker_is_told_the_others_go_on),
		cmocka_unit_test(
		    a_ring_of_running_jobs_is_refused_to_who_closes_it),
		cmocka_unit_test(
		    DL5_starved_workers_get_help_and_it_is_reported),
		cmocka_unit_test(
		    DL6_an_executor_cannot_be_shut_down_by_its_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
