/*
 * The set of feeds under another configuration: what is in both stays as it
 * is, the rest comes and goes.
 */

#include "daemon/base/memory.h"
#include "tests/lib/feed_rig.h"
#include "tests/lib/told.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LISTENER "[listener]\nlisten = 127.0.0.1:0\n"
#define QUICK "backoff_min = 1ms\nbackoff_max = 5ms\nstop_timeout = 10s\n"
#define STAYS                                                                  \
	"[command stays]\nexec = sh -c 'echo x; exec sleep 1000'\n"            \
	"channel = stays\n" QUICK
#define GOES                                                                   \
	"[command goes]\nexec = sh -c 'echo x; exec sleep 1000'\n"             \
	"channel = goes\n" QUICK
#define BEFORE                                                                 \
	"[command other]\nexec = sh -c 'echo 1; exec sleep 1000'\n"            \
	"channel = other\n" QUICK
#define AFTER                                                                  \
	"[command other]\nexec = sh -c 'echo 1; echo 2; exec sleep 1000'"      \
	"\nchannel = other\n" QUICK
#define COMES                                                                  \
	"[command comes]\nexec = sh -c 'echo x; exec sleep 1000'\n"            \
	"channel = comes\n" QUICK

static struct conf *conf;
static int result;
static const char *wanted_name, *wanted_state;
static uint64_t wanted_messages;

struct seen {
	bool there;
	char state[32];
	uint64_t messages, restarts;
	int64_t since_us;
	size_t count;
	char error[160];
};

static struct seen seen;

static void
see(const struct feed_stats *stats, void *arg)
{
	(void)arg;
	seen.count++;
	if (strcmp(stats->name, wanted_name) != 0)
		return;
	seen.there = true;
	seen.messages = stats->messages;
	seen.restarts = stats->restarts;
	seen.since_us = stats->since_us;
	strncpy(seen.state, stats->state, sizeof(seen.state) - 1);
	if (stats->last_error != NULL)
		strncpy(seen.error, stats->last_error, sizeof(seen.error) - 1);
}

static void
do_see(struct rig *rig)
{
	es_loop_assert(rig->net);
	memset(&seen, 0, sizeof(seen));
	feeds_each(rig->feeds, see, NULL);
}

static bool
is_so(struct rig *rig)
{
	rig_do(rig, do_see);
	return seen.there && strcmp(seen.state, wanted_state) == 0 &&
	       seen.messages >= wanted_messages;
}

static void
await(struct rig *rig, const char *name, const char *state, uint64_t messages)
{
	wanted_name = name;
	wanted_state = state;
	wanted_messages = messages;
	rig_wait(rig, is_so);
}

static void
do_start(struct rig *rig)
{
	const struct feeds_options options = {
		.hub = rig->hub, .net = rig->net, .sys = rig->sys
	};

	es_loop_assert(rig->net);
	result = feeds_start(conf, &options, &rig->feeds);
}

static void
do_apply(struct rig *rig)
{
	es_loop_assert(rig->net);
	result = feeds_apply(rig->feeds, conf);
}

/* Ours is freed at once: the feeds keep what they need. */
static void
with(struct rig *rig, void (*fn)(struct rig *rig), const char *text)
{
	conf = told_nothing(text);
	rig_do(rig, fn);
	conf_free(conf);
}

static void
finish(struct rig *rig)
{
	rig_stop(rig, NULL);
	rig_free(rig);
}

static void
what_is_in_both_goes_on_untouched(void **state)
{
	struct rig *rig = rig_new();
	int64_t since_us;

	(void)state;
	with(rig, do_start, LISTENER STAYS GOES BEFORE);
	assert_int_equal(result, 0);
	await(rig, "stays", "running", 1);
	since_us = seen.since_us;
	await(rig, "goes", "running", 1);
	await(rig, "other", "running", 1);
	with(rig, do_apply, "# a line more\n" LISTENER COMES AFTER STAYS);
	assert_int_equal(result, 0);
	await(rig, "comes", "running", 1);
	await(rig, "other", "running", 2);
	assert_int_equal(seen.restarts, 0); /* it is a new one */
	await(rig, "stays", "running", 1);
	assert_int_equal(seen.messages, 1);
	assert_int_equal(seen.since_us, since_us);
	assert_int_equal(seen.count, 3); /* and nobody else */
	finish(rig);
}

static void
the_same_again_changes_nothing(void **state)
{
	struct rig *rig = rig_new();
	int64_t since_us;
	int i;

	(void)state;
	with(rig, do_start, LISTENER STAYS);
	await(rig, "stays", "running", 1);
	since_us = seen.since_us;
	for (i = 0; i < 5; i++)
		with(rig, do_apply, LISTENER STAYS);
	await(rig, "stays", "running", 1);
	assert_int_equal(seen.since_us, since_us);
	finish(rig);
}

static bool
none_left(struct rig *rig)
{
	rig_do(rig, do_see);
	return seen.count == 0;
}

static void
all_may_go_and_come_back(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	with(rig, do_start, LISTENER STAYS GOES);
	await(rig, "goes", "running", 1);
	with(rig, do_apply, LISTENER);
	wanted_name = "";
	rig_wait(rig, none_left);
	with(rig, do_apply, LISTENER STAYS GOES);
	/* Before the old ones have ended, perhaps. */
	await(rig, "stays", "running", 1);
	await(rig, "goes", "running", 1);
	finish(rig);
}

/* Same path: the second can only be there when the first has gone. */
static void
a_successor_waits_for_the_end_of_what_it_replaces(void **state)
{
	const char *top = getenv("TMPDIR");
	struct rig *rig = rig_new();
	char text[512];
	int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		(void)snprintf(text, sizeof(text),
		    LISTENER "[socket s]\npath = %s/successor-%d.sock\n"
			     "channel = s\nmode = 06%d0\n"
			     "backoff_min = 1h\nbackoff_max = 1h\n",
		    top ? top : "/tmp", (int)getpid(), i);
		with(rig, i == 0 ? do_start : do_apply, text);
		assert_int_equal(result, 0);
		await(rig, "s", "running", 0);
	}
	finish(rig);
}

static void
several_changes_at_once_end_with_the_last(void **state)
{
	struct rig *rig = rig_new();
	int i;

	(void)state;
	with(rig, do_start, LISTENER BEFORE);
	for (i = 0; i < 10; i++)
		with(rig, do_apply,
		    i % 2 == 0 ? LISTENER AFTER : LISTENER BEFORE GOES);
	with(rig, do_apply, LISTENER AFTER);
	await(rig, "other", "running", 2);
	wanted_name = "other";
	rig_do(rig, do_see);
	assert_int_equal(seen.count, 1);
	finish(rig);
}

static void
do_apply_failing(struct rig *rig)
{
	es_loop_assert(rig->net);
	memory_fail_nth(rig->fail_nth);
	result = feeds_apply(rig->feeds, conf);
	memory_fail_nth(0);
}

static void
without_memory_nothing_has_changed(void **state)
{
	int n, failures = 0;

	(void)state;
	for (n = 1; n < 30; n++) {
		struct rig *rig = rig_new();

		with(rig, do_start, LISTENER STAYS BEFORE);
		await(rig, "stays", "running", 1);
		rig->fail_nth = n;
		with(rig, do_apply_failing, LISTENER STAYS COMES AFTER);
		rig->fail_nth = 0;
		if (result < 0) {
			assert_int_equal(result, -ENOMEM);
			failures++;
			await(rig, "other", "running", 1);
			assert_int_equal(seen.count, 2);
		} else {
			await(rig, "comes", "running", 1);
		}
		await(rig, "stays", "running", 1);
		assert_int_equal(seen.messages, 1);
		finish(rig);
		if (result == 0)
			break;
	}
	assert_true(failures >= 2);
}

static char texts[1024];

static void
do_start_failing(struct rig *rig)
{
	es_loop_assert(rig->net);
	memory_fail_nth(rig->fail_nth);
	do_start(rig);
	if (result < 0)
		rig->feeds = NULL;
}

static bool
all_settled(struct rig *rig)
{
	static const char *const names[] = { "f", "g", "s" };
	size_t i;

	for (i = 0; i < 3; i++) {
		wanted_name = names[i];
		rig_do(rig, do_see);
		if (strcmp(seen.state, "running") != 0 &&
		    strcmp(seen.state, "waiting") != 0 &&
		    strcmp(seen.state, "stopped") != 0)
			return false;
	}
	return true;
}

static void
any_allocation_may_fail(void **state)
{
	const char *top = getenv("TMPDIR");
	int n, seen_all = 0;
	char path[256];
	FILE *file;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/failing-%d", top ? top : "/tmp",
	    (int)getpid());
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs("a\nb\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(texts, sizeof(texts),
	    LISTENER "[file f]\npath = %s\nchannel = f\nbegin = start\n"
		     "max_rate = 100\nbackoff_min = 1ms\nbackoff_max = 2ms\n"
		     "[file g]\npath = %s.not\nchannel = g\n"
		     "[socket s]\npath = %s.sock\nchannel = s\n"
		     "backoff_min = 1ms\nbackoff_max = 2ms\n",
	    path, path, path);
	for (n = 1; n < 80; n++) {
		struct rig *rig = rig_new();

		rig->fail_nth = n;
		with(rig, do_start_failing, texts);
		if (rig->feeds) {
			rig_wait(rig, all_settled);
			seen_all++;
			rig_stop(rig, NULL);
		}
		memory_fail_nth(0);
		rig->fail_nth = 0;
		rig_free(rig);
	}
	assert_true(seen_all > 40);
	assert_int_equal(unlink(path), 0);
}

/* Says why it is down, for the shortest while too. */
static bool cannot_be_started;

static bool
looks_it_up(struct rig *rig)
{
	wanted_name = "u";
	rig_do(rig, do_see);
	if (strncmp(seen.error, "cannot be started: ", 19) == 0) {
		assert_string_equal(
		    seen.error, "cannot be started: Cannot allocate memory");
		assert_string_not_equal(seen.state, "stopped");
		cannot_be_started = true;
	}
	return strncmp(seen.error, "cannot look up a..b: ", 21) == 0;
}

/* Of the allocations of its start: its task, the stack of that, the job. */
static void
an_upstream_without_memory_is_tried_again(void **state)
{
	int n, count = 0;

	(void)state;
	for (n = 1; n < 40; n++) {
		struct rig *rig = rig_new();

		rig->fail_nth = n;
		with(rig, do_start_failing,
		    LISTENER "[upstream u]\nurl = ws://a..b/\nchannel = u\n"
			     "backoff_min = 5ms\nbackoff_max = 20ms\n");
		cannot_be_started = false;
		if (rig->feeds) {
			rig_wait(rig, looks_it_up);
			count += cannot_be_started;
			rig_stop(rig, NULL);
		}
		memory_fail_nth(0);
		rig->fail_nth = 0;
		rig_free(rig);
	}
	assert_true(count >= 2); /* the task, its stack */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_both_goes_on_untouched),
		cmocka_unit_test(the_same_again_changes_nothing),
		cmocka_unit_test(all_may_go_and_come_back),
		cmocka_unit_test(
		    a_successor_waits_for_the_end_of_what_it_replaces),
		cmocka_unit_test(several_changes_at_once_end_with_the_last),
		cmocka_unit_test(without_memory_nothing_has_changed),
		cmocka_unit_test(any_allocation_may_fail),
		cmocka_unit_test(an_upstream_without_memory_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
