/*
 * Each allocation of tasks, groups and streams failed once: as test_alloc.
 */

#include "tests/unit/loop_rig.h"

#include <signal.h>
#include <sys/signalfd.h>

static es_loop *loop;
static unsigned accepted, ended;

static void
count_end(void *arg)
{
	(void)arg;
	ended++;
}

static int
body(void *arg, es_value *ret)
{
	(void)arg;
	*ret = ES_PTR(&ended, count_end);
	return es_sleep(1);
}

static void
count(int r)
{
	assert_true(r == 0 || r == -ENOMEM);
	accepted += r == 0;
}

/* The n-th allocation fails, for every n until a round has none that does. */
static void
all_rounds(void (*round)(void))
{
	int64_t n;
	bool failed = true;

	accepted = ended = 0;
	round(); /* what is made once per process is made now */
	for (n = 1; failed; n++) {
		unsigned fds = rig_count_fds();

		accepted = ended = 0;
		memory_fail_nth(n);
		round();
		failed = memory_fail_seen();
		memory_fail_nth(0);
		assert_int_equal(ended, accepted);
		assert_int_equal(rig_count_fds(), fds);
	}
	assert_true(n > 2);
}

static void
in_loop(void (*round)(void))
{
	loop = rig_loop();
	all_rounds(round);
	rig_end(loop);
}

static void
spawn_round(void)
{
	es_future *f = NULL;

	/* Dropped where there is no stack; its value dropped where it ran. */
	count(es_spawn(loop, "x", body, NULL, count_end, &f));
	if (f)
		assert_true(es_loop_run_until(loop, f) <= 0);
	es_future_unref(f);
}

static void
tasks_survive(void **state)
{
	(void)state;
	in_loop(spawn_round);
}

static void
fresh_spawn_round(void)
{
	if (es_loop_new(&loop, NULL) < 0)
		return;
	spawn_round();
	assert_int_equal(es_loop_close(loop, ES_S(5)), 0);
	es_loop_unref(loop);
}

static void
a_tasks_first_stack_may_not_be_had(void **state)
{
	(void)state;
	all_rounds(fresh_spawn_round);
}

static int
gatherer(void *arg, es_value *ret)
{
	es_future *f[3] = { NULL }, *whole = NULL;
	size_t i, n = 0;
	int r = 0;

	(void)arg;
	(void)ret;
	for (i = 0; i < 3; i++) {
		r = es_spawn(loop, "m", body, NULL, count_end, &f[n]);
		accepted += r == 0;
		n += r == 0;
	}
	r = es_gather(loop, f, n, ES_GATHER_ALL, &whole);
	if (r == 0)
		return es_await_take(whole, ES_FOREVER, NULL);
	for (i = 0; i < n; i++) /* refused: they stayed ours */
		(void)!es_await_take(f[i], ES_FOREVER, NULL);
	return r;
}

static void
gather_round(void)
{
	es_future *f = NULL;

	if (es_spawn(loop, "g", gatherer, NULL, NULL, &f) < 0)
		return;
	count(es_loop_run_until(loop, f));
	accepted -= es_await(f, 0) == 0; /* gatherer counts its members */
	es_future_unref(f);
}

static void
gathers_survive(void **state)
{
	(void)state;
	in_loop(gather_round);
}

static unsigned begun;

static int
member_body(void *arg, es_value *ret)
{
	begun++;
	return body(arg, ret);
}

static int
grouper(void *arg, es_value *ret)
{
	es_group *group = NULL;
	int r = es_group_new(loop, &group), i;
	unsigned spawned = 0;

	(void)arg;
	(void)ret;
	if (r < 0)
		return r;
	begun = 0;
	for (i = 0; i < 3; i++) {
		r = es_group_spawn(
		    group, "m", member_body, NULL, count_end, NULL);
		spawned += r == 0;
	}
	accepted += spawned;
	r = es_group_close(group, ES_FOREVER);
	/* One without a stack is a failure like any other. */
	return begun < spawned && r != -ENOMEM ? -EPROTO : r;
}

static void
group_round(void)
{
	es_future *f = NULL;

	if (es_spawn(loop, "g", grouper, NULL, NULL, &f) < 0)
		return;
	assert_int_not_equal(es_loop_run_until(loop, f), -EPROTO);
	es_future_unref(f);
}

static void
groups_survive(void **state)
{
	(void)state;
	in_loop(group_round);
}

static void
fresh_group_round(void)
{
	if (es_loop_new(&loop, NULL) < 0)
		return;
	group_round();
	assert_int_equal(es_loop_close(loop, ES_S(5)), 0);
	es_loop_unref(loop);
}

static void
a_members_stack_may_not_be_had(void **state)
{
	(void)state;
	all_rounds(fresh_group_round);
}

static void
never_noticed(void *arg)
{
	(void)arg;
}

static void
stream_round(void)
{
	es_value *values = NULL;
	es_tx *tx = NULL;
	es_rx *rx = NULL;
	size_t n = 0, i;
	int r;

	if (es_stream_new(loop, NULL, &tx, &rx) < 0)
		return;
	r = es_rx_on_ready(rx, loop, never_noticed, NULL);
	assert_true(r == 0 || r == -ENOMEM);
	r = es_tx_on_room(tx, loop, never_noticed, NULL);
	assert_true(r == 0 || r == -ENOMEM);
	for (i = 0; i < 20; i++) /* the ring grows twice */
		count(es_send(tx, ES_PTR(&ended, count_end), 1, 0));
	(void)es_tx_end(tx, -EIO, "with some words");
	r = es_collect(rx, 100, 0, &values, &n);
	assert_true(r == -EIO || r == -ENOMEM);
	rig_turn(loop);
}

static void
streams_survive(void **state)
{
	(void)state;
	in_loop(stream_round);
}

static void
collect_round(void)
{
	es_value *values = NULL;
	es_tx *tx = NULL;
	es_rx *rx = NULL;
	size_t n = 0, i;

	if (es_stream_new(loop, NULL, &tx, &rx) < 0)
		return;
	for (i = 0; i < 40; i++)
		count(es_send(tx, ES_PTR(&ended, count_end), 1, 0));
	(void)es_tx_end(tx, 0, NULL);
	if (es_collect(rx, 100, 0, &values, &n) == 0)
		assert_int_equal(n, accepted);
	for (i = 0; i < n; i++)
		es_value_drop(&values[i]);
	free(values);
}

static void
collecting_survives(void **state)
{
	(void)state;
	in_loop(collect_round);
}

static int
generate(es_tx *tx, void *arg)
{
	int r = es_send(tx, ES_INT(1), 1, ES_FOREVER);

	count_end(arg);
	return r;
}

static void
generator_round(void)
{
	es_rx *rx = NULL;

	count(
	    es_stream_spawn(loop, "gen", generate, NULL, count_end, NULL, &rx));
	rig_turn(loop);
	rig_turn(loop);
	(void)es_rx_close(rx);
}

static void
generators_survive(void **state)
{
	(void)state;
	in_loop(generator_round);
}

static int
job(void *arg, es_value *ret)
{
	(void)ret;
	*(bool *)arg = true;
	return 0;
}

static int
runner(void *arg, es_value *ret)
{
	bool ran = false;
	int r = es_run_in_executor(NULL, "job", job, &ran, NULL);

	(void)arg;
	(void)ret;
	return r == 0 && !ran ? -EPROTO : r;
}

static void
run_round(void)
{
	int r = es_run(runner, NULL, NULL);

	assert_true(r == 0 || r == -ENOMEM);
}

static void
runs_survive(void **state)
{
	(void)state;
	all_rounds(run_round);
}

static void
never_signalled(int signo, const struct signalfd_siginfo *info, void *arg)
{
	(void)signo;
	(void)info;
	rig_never(arg);
}

static void
signal_round(void)
{
	int r = es_add_signal_handler(loop, SIGUSR2, never_signalled, NULL);

	assert_true(r == 0 || r == -ENOMEM);
	assert_int_equal(
	    es_remove_signal_handler(loop, SIGUSR2), r == 0 ? 1 : 0);
}

static void
signal_handlers_survive(void **state)
{
	static const int signos[] = { SIGUSR2, 0 };

	(void)state;
	assert_int_equal(es_signals_block(signos), 0);
	in_loop(signal_round);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_survive),
		cmocka_unit_test(a_tasks_first_stack_may_not_be_had),
		cmocka_unit_test(gathers_survive),
		cmocka_unit_test(groups_survive),
		cmocka_unit_test(a_members_stack_may_not_be_had),
		cmocka_unit_test(streams_survive),
		cmocka_unit_test(collecting_survives),
		cmocka_unit_test(generators_survive),
		cmocka_unit_test(runs_survive),
		cmocka_unit_test(signal_handlers_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
