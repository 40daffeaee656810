/*
 * What a command writes: its stdout becomes messages, its stderr goes to the
 * log, none of it takes more than it may.
 */

#include "tests/lib/feed_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* After what is to be heard: so that it is heard once. */
#define STAY "; exec sleep 1000"

static bool
has_ended(struct rig *rig)
{
	return strcmp(rig->stats[0].state, "backoff") == 0;
}

static bool
heard_1(struct rig *rig)
{
	return rig->heard_messages == 1;
}

static bool
heard_2(struct rig *rig)
{
	return rig->heard_messages == 2;
}

static bool
heard_3(struct rig *rig)
{
	return rig->heard_messages == 3;
}

static bool
heard_4(struct rig *rig)
{
	return rig->heard_messages == 4;
}

/* Runs the script until fn, then compares what was heard. */
static struct rig *
hear(const char *script, bool (*fn)(struct rig *rig), const char *want)
{
	struct rig *rig = rig_new();

	rig_add(rig, "c", script);
	rig_start(rig);
	rig_wait(rig, fn);
	rig_heard(rig, want);
	return rig;
}

static void
end(struct rig *rig)
{
	rig_stop(rig, NULL);
	assert_int_equal(rig->dones, 1);
	rig_free(rig);
}

static void
each_line_is_a_message(void **state)
{
	struct rig *rig;

	(void)state;
	rig = hear("printf 'one\\ntwo\\n\\nf\\303\\274nf\\n'" STAY, heard_4,
	    "T:one\nT:two\nT:\nT:f\303\274nf\n");
	assert_string_equal(rig->stats[0].state, "running");
	assert_string_equal(rig->stats[0].kind, "command");
	assert_string_equal(rig->stats[0].channel, "c");
	assert_int_equal(rig->stats[0].messages, 4);
	assert_int_equal(rig->stats[0].bytes, 11);
	assert_int_equal(rig->stats[0].restarts, 0);
	assert_string_equal(rig->errors[0], "");
	end(rig);
}

static void
a_line_that_is_no_text_is_binary_and_nothing_is_changed(void **state)
{
	(void)state;
	end(hear("printf 'a\\377b\\r\\nc\\r\\n\\300\\200\\n'" STAY, heard_3,
	    "B:a\377b\r\nT:c\r\nB:\300\200\n"));
}

static void
a_last_line_without_newline_is_a_message(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_add(rig, "c", "printf 'one\\ntwo'");
	rig->commands[0].feed.backoff_min_us =
	    rig->commands[0].feed.backoff_max_us = 60000000;
	rig_start(rig);
	rig_wait(rig, heard_2);
	rig_heard(rig, "T:one\nT:two\n");
	end(rig);
}

static void
a_line_longer_than_a_message_is_cut_off(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_add(rig, "c", "echo 1234567; echo 12345; printf '1234\\303\\274x'");
	rig->conf->limits.message_bytes_max = 5;
	rig->commands[0].feed.backoff_min_us = ES_S(3600); /* once */
	rig->commands[0].feed.backoff_max_us = ES_S(3600);
	rig_start(rig);
	rig_wait(rig, has_ended);
	assert_true(rig->heard_len >= 23);
	assert_memory_equal(rig->heard, "T:12345\nT:12345\nT:1234\n", 23);
	rig_stop(rig, NULL);
	rig_look(rig);
	assert_int_equal(rig->stats[0].lines_cut, 2);
	assert_int_equal(rig->stats[0].bytes_cut, 5);
	rig_free(rig);
}

static void
a_stream_without_a_newline_is_read_and_costs_no_memory(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_add(rig, "c",
	    "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo end" STAY);
	rig->conf->limits.message_bytes_max = 100;
	rig_start(rig);
	rig_wait(rig, heard_2);
	assert_memory_equal(rig->heard + 103, "T:end\n", 6);
	rig_look(rig);
	assert_int_equal(rig->stats[0].bytes_cut, 50000000 - 100);
	assert_int_equal(rig->stats[0].lines_cut, 1);
	end(rig);
}

static bool
heard_100000(struct rig *rig)
{
	return rig->heard_messages == 100000;
}

static void
a_hundred_thousand_lines_come_whole_and_in_order(void **state)
{
	struct rig *rig = rig_new();
	const char *p;
	long i;

	(void)state;
	rig_add(rig, "c", "seq 100000" STAY);
	rig_start(rig);
	rig_wait(rig, heard_100000);
	p = rig->heard;
	for (i = 1; i <= 100000; i++) {
		char *next;

		assert_memory_equal(p, "T:", 2);
		assert_int_equal(strtol(p + 2, &next, 10), i);
		assert_int_equal(*next, '\n');
		p = next + 1;
	}
	end(rig);
}

static bool
second_wrote_a_million(struct rig *rig)
{
	return rig->stats[1].messages > 1000000;
}

static void
a_flood_of_empty_lines_leaves_the_loop_its_breath(void **state)
{
	struct rig *rig = rig_new();
	es_loop_stats stats;

	(void)state;
	rig_add(rig, "other", "echo x" STAY);
	rig_add(rig, "c", "exec yes ''");
	rig_start(rig);
	rig_wait(rig, heard_1);
	rig_wait(rig, second_wrote_a_million);
	es_loop_get_stats(rig->net, &stats);
	/* 4096 messages and what one read more gives: some milliseconds. */
	assert_true(stats.iterations > 1000000 / (4096 + 16384));
	end(rig);
}

static bool
is_refused(struct rig *rig)
{
	return rig->stats[1].lines_refused >= 3;
}

static void
what_the_hub_refuses_is_counted_and_the_feed_goes_on(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_add(rig, "first", "echo x" STAY);
	rig_add(rig, "second", "echo a; echo b; echo c" STAY);
	rig->conf->limits.channels_max = 1;
	rig_start(rig);
	rig_wait(rig, is_refused);
	assert_string_equal(rig->stats[1].state, "running");
	assert_int_equal(rig->stats[1].messages, 0);
	assert_string_equal(rig->errors[1], "channels_max is reached");
	end(rig);
}

/* stderr of this process goes to a file while the script runs. */
static void
read_log(const char *script, bool (*fn)(struct rig *rig), char *ret_log,
    size_t size, struct feed_stats *ret_stats)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	struct rig *rig = rig_new();
	size_t n;

	assert_non_null(file);
	assert_true(saved >= 0);
	rig_add(rig, "c", script);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	rig_start(rig);
	rig_wait(rig, fn);
	rig_look(rig);
	*ret_stats = rig->stats[0];
	rig_stop(rig, NULL);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rig_free(rig);
	rewind(file);
	n = fread(ret_log, 1, size - 1, file);
	ret_log[n] = '\0';
	fclose(file);
}

static bool
said_100(struct rig *rig)
{
	return rig->stats[0].stderr_lines == 100;
}

static void
stderr_goes_to_the_log_with_its_name_a_burst_at_a_time(void **state)
{
	struct feed_stats stats;
	char log[16384];

	(void)state;
	read_log(
	    "seq -f 'bad %g' 100 >&2" STAY, said_100, log, sizeof(log), &stats);
	assert_non_null(strstr(log, "command says: bad 1 feed=c channel=c\n"));
	assert_non_null(strstr(log, "command says: bad 20 feed"));
	assert_null(strstr(log, "bad 21"));
	assert_int_equal(stats.stderr_dropped, 80);
	assert_int_equal(stats.messages, 0);
}

static bool
said_3(struct rig *rig)
{
	return rig->stats[0].stderr_lines == 3;
}

static void
stderr_cannot_forge_a_line_of_the_log(void **state)
{
	struct feed_stats stats;
	char log[16384];

	(void)state;
	read_log(
	    "printf 'a\\033[2Jb\\0c\\nf\\303\\274nf\\nz\\377z\\n' >&2" STAY,
	    said_3, log, sizeof(log), &stats);
	assert_non_null(strstr(log, "command says: a?[2Jb?c feed"));
	assert_non_null(strstr(log, "command says: f\303\274nf feed"));
	assert_non_null(strstr(log, "command says: z?z feed"));
}

static bool
runs(struct rig *rig)
{
	return strcmp(rig->stats[0].state, "running") == 0;
}

static void
each_change_of_state_is_one_line_of_the_log(void **state)
{
	struct feed_stats stats;
	const char *p;
	char log[16384];
	int lines = 0;

	(void)state;
	read_log("exec sleep 1000", runs, log, sizeof(log), &stats);
	for (p = log; (p = strstr(p, "feed=c channel=c\n")); p++)
		lines++;
	assert_int_equal(lines, 3);
	assert_non_null(strstr(log, "command runs pid="));
	assert_non_null(strstr(log, "command is asked to stop feed=c"));
	assert_non_null(strstr(log, "command has stopped feed=c"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_line_is_a_message),
		cmocka_unit_test(
		    a_line_that_is_no_text_is_binary_and_nothing_is_changed),
		cmocka_unit_test(a_last_line_without_newline_is_a_message),
		cmocka_unit_test(a_line_longer_than_a_message_is_cut_off),
		cmocka_unit_test(
		    a_stream_without_a_newline_is_read_and_costs_no_memory),
		cmocka_unit_test(
		    a_hundred_thousand_lines_come_whole_and_in_order),
		cmocka_unit_test(
		    a_flood_of_empty_lines_leaves_the_loop_its_breath),
		cmocka_unit_test(
		    what_the_hub_refuses_is_counted_and_the_feed_goes_on),
		cmocka_unit_test(
		    stderr_goes_to_the_log_with_its_name_a_burst_at_a_time),
		cmocka_unit_test(stderr_cannot_forge_a_line_of_the_log),
		cmocka_unit_test(each_change_of_state_is_one_line_of_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
