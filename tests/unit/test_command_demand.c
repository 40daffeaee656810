/*
 * A command with start = demand: it comes and goes with its consumers.
 */

#include "daemon/base/clock.h"
#include "tests/lib/feed_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool
has_ended(struct rig *rig)
{
	return strcmp(rig->stats[0].state, "backoff") == 0;
}

static bool
rests(struct rig *rig)
{
	return strcmp(rig->stats[0].state, "waiting") == 0;
}

static bool
heard_1(struct rig *rig)
{
	return rig->heard_messages >= 1;
}

static bool
heard_2(struct rig *rig)
{
	return rig->heard_messages >= 2;
}

static bool
heard_3(struct rig *rig)
{
	return rig->heard_messages >= 3;
}

/* A back-off lasts longer than the test. */
static struct rig *
rig_of(const char *script)
{
	struct rig *rig = rig_new();

	rig_add(rig, "c", script);
	rig->commands[0].start = CONF_START_DEMAND;
	rig->commands[0].feed.backoff_min_us =
	    rig->commands[0].feed.backoff_max_us = 3600000000;
	return rig;
}

static void
do_go(struct rig *rig)
{
	es_loop_assert(rig->net);
	hub_unsubscribe(rig->hub, &rig->consumer);
}

static void
do_come(struct rig *rig)
{
	const struct from from = { .kind = FROM_LIVE };
	const char *channel = rig->commands[0].feed.channel;
	struct hub_answer answer;

	es_loop_assert(rig->net);
	assert_int_equal(
	    hub_subscribe(rig->hub, &rig->consumer, channel, strlen(channel),
		VIEW_RAW, &from, clock_wall_us(), &answer),
	    0);
}

static void
do_go_and_come(struct rig *rig)
{
	do_go(rig);
	do_come(rig);
}

static void
do_come_and_go(struct rig *rig)
{
	do_come(rig);
	do_go(rig);
}

static void
it_lives_while_somebody_listens(void **state)
{
	struct rig *rig = rig_of("echo $$; exec sleep 1000");

	(void)state;
	rig_start(rig);
	rig_wait(rig, heard_1);
	rig_do(rig, do_go);
	rig_wait(rig, rests);
	assert_true(rig_is_gone(rig_number(rig, 0)));
	assert_string_equal(rig->errors[0], "");
	rig_do(rig, do_come_and_go); /* too short to be noticed, or not */
	rig_wait(rig, rests);
	rig_do(rig, do_come);
	rig_wait(rig, heard_2);
	/* Asked to end it ends, and the next one does not wait an hour. */
	rig_do(rig, do_go_and_come);
	rig_wait(rig, heard_3);
	assert_true(rig_is_gone(rig_number(rig, 1)));
	rig_do(rig, do_go);
	rig_wait(rig, rests);
	rig_stop(rig, NULL);
	assert_int_equal(rig->dones, 1);
	rig_free(rig);
}

static int held[2]; /* a byte ends the job that holds the worker */

static int
hold_the_worker(void *arg, es_value *ret)
{
	char c;

	(void)arg;
	(void)ret;
	assert_int_equal(read(held[0], &c, 1), 1);
	return 0;
}

/* The process is there when they go, and nobody has looked yet. */
static void
do_start_and_go_and_come(struct rig *rig)
{
	int64_t deadline_us = clock_now_us() + 20000000;
	unsigned queued, running;

	assert_int_equal(es_executor_load(rig->sys, &queued, &running), 0);
	assert_int_equal(queued + running, 2); /* that job and the start */
	assert_int_equal(write(held[1], "x", 1), 1);
	do {
		assert_int_equal(
		    es_executor_load(rig->sys, &queued, &running), 0);
		assert_true(clock_now_us() < deadline_us);
	} while (queued > 0 || running > 0);
	do_go_and_come(rig);
}

static void
who_is_back_before_it_runs_has_it(void **state)
{
	struct rig *rig = rig_of("echo $$; exec sleep 1000");

	(void)state;
	assert_int_equal(pipe(held), 0);
	assert_int_equal(es_executor_submit(rig->sys, 0, "hold",
			     hold_the_worker, NULL, NULL, NULL, NULL),
	    0);
	rig_start(rig);
	rig_look(rig);
	assert_string_equal(rig->stats[0].state, "starting");
	rig_do(rig, do_start_and_go_and_come);
	rig_wait(rig, heard_1);
	rig_look(rig);
	assert_string_equal(rig->stats[0].state, "running");
	assert_int_equal(rig->stats[0].restarts, 0);
	rig_stop(rig, NULL);
	rig_free(rig);
	close(held[0]);
	close(held[1]);
}

static void
a_consumer_comes_or_goes_in_a_back_off(void **state)
{
	struct rig *rig = rig_of("echo $$; exit 1");

	(void)state;
	rig_start(rig);
	rig_wait(rig, has_ended);
	rig_do(rig, do_go_and_come);
	rig_wait(rig, heard_2);
	rig_wait(rig, has_ended);
	rig_do(rig, do_go);
	rig_wait(rig, rests);
	rig_free(rig); /* as it rests, not stopped before */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_lives_while_somebody_listens),
		cmocka_unit_test(who_is_back_before_it_runs_has_it),
		cmocka_unit_test(a_consumer_comes_or_goes_in_a_back_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
