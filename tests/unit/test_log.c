/*
 * The log ring: M1 to M3, and what a line looks like.
 */

#include "daemon/base/log.h"

#include "daemon/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_US INT64_C(20000000)
#define TEXT_MAX (4 * LOG_RING_BYTES)

static struct {
	int fds[2], stderr_before;
	char *text;
	size_t len;
} pipe_of_stderr;

/* stderr becomes a pipe that nobody empties until collect(). */
static int
redirect(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
	pipe_of_stderr.text = malloc(TEXT_MAX);
	pipe_of_stderr.len = 0;
	if (!pipe_of_stderr.text || pipe2(pipe_of_stderr.fds, O_CLOEXEC) < 0)
		return -1;
	pipe_of_stderr.stderr_before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	return dup2(pipe_of_stderr.fds[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int
restore(void **state)
{
	(void)state;
	dup2(pipe_of_stderr.stderr_before, STDERR_FILENO);
	close(pipe_of_stderr.stderr_before);
	close(pipe_of_stderr.fds[0]);
	close(pipe_of_stderr.fds[1]);
	free(pipe_of_stderr.text);
	return 0;
}

/* Reads on until the text ends with end, or nothing comes any more. */
static const char *
collect(const char *end)
{
	struct pollfd fd = { .fd = pipe_of_stderr.fds[0], .events = POLLIN };
	size_t want = strlen(end);

	for (;;) {
		char *text = pipe_of_stderr.text;
		size_t len = pipe_of_stderr.len;
		ssize_t n;

		text[len] = '\0';
		if (len >= want && strcmp(text + len - want, end) == 0)
			return text;
		assert_int_equal(poll(&fd, 1, PATIENCE_US / 1000), 1);
		n = read(fd.fd, text + len, TEXT_MAX - 1 - len);
		assert_true(n > 0);
		pipe_of_stderr.len += (size_t)n;
	}
}

static void
before_start_and_after_stop_it_writes_by_itself(void **state)
{
	(void)state;
	errno = EEXIST;
	log_info("early %d", 1);
	assert_int_equal(errno, EEXIST);
	assert_string_equal(collect("early 1\n"), "INFO early 1\n");
	assert_int_equal(log_start(), 0);
	log_stop(PATIENCE_US);
	log_error("late");
	assert_string_equal(collect("late\n"), "INFO early 1\nERROR late\n");
	log_stop(0); /* there is none: nothing happens */
}

static void
lines_come_in_order_with_their_level(void **state)
{
	(void)state;
	assert_int_equal(log_start(), 0);
	assert_int_equal(log_start(), -EALREADY);
	log_set_level(LOG_LEVEL_DEBUG);
	log_error("a");
	log_warn("b\n");
	log_info("c");
	log_debug("d");
	log_set_level(LOG_LEVEL_WARN);
	log_info("not this");
	log_debug("nor this");
	log_warn("e");
	log_stop(PATIENCE_US);
	assert_string_equal(
	    collect("e\n"), "ERROR a\nWARN b\nINFO c\nDEBUG d\nWARN e\n");
}

static void
the_journal_gets_its_numbers(void **state)
{
	(void)state;
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_warn("by itself");
	assert_int_equal(log_start(), 0);
	log_set_level(LOG_LEVEL_DEBUG);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	log_stop(PATIENCE_US);
	assert_string_equal(
	    collect("d\n"), "<4>by itself\n<3>a\n<4>b\n<6>c\n<7>d\n");
}

static void
text_from_outside_forges_nothing(void **state)
{
	(void)state;
	assert_int_equal(log_start(), 0);
	log_info("a\nERROR b\r\033[31m\tc\177");
	log_stop(PATIENCE_US);
	assert_string_equal(collect("?\n"), "INFO a?ERROR b??[31m\tc?\n");
}

static void
a_long_line_is_cut(void **state)
{
	char text[LOG_LINE_BYTES_MAX * 2];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(log_start(), 0);
	log_info("%s", text);
	log_stop(PATIENCE_US);
	assert_int_equal(strlen(collect("x\n")),
	    strlen("INFO ") + LOG_LINE_BYTES_MAX - 1 + 1);
}

static void
M1_M2_a_full_pipe_stops_nobody_and_drops_are_told(void **state)
{
	uint64_t dropped = log_dropped();
	int64_t began, worst = 0;
	const char *text, *told;
	unsigned long told_count = 0, told_lines = 0, lines = 0, n = 0;
	int i;

	(void)state;
	assert_int_equal(log_start(), 0);
	for (i = 0; i < 20000; i++) { /* several times the ring */
		began = clock_now_us();
		log_info("line number %d with some words to fill it", i);
		if (clock_now_us() - began > worst)
			worst = clock_now_us() - began;
	}
	assert_true(worst < PATIENCE_US / 10);
	assert_true(log_dropped() > dropped);
	dropped = log_dropped() - dropped;
	/* As soon as somebody reads, the counts are in their places. */
	(void)collect("lines\n");
	log_info("and on it goes");
	text = collect("and on it goes\n");
	for (told = text; (told = strstr(told, "WARN dropped ")); told++) {
		assert_int_equal(sscanf(told, "WARN dropped %lu lines", &n), 1);
		told_count += n;
		told_lines++;
	}
	assert_int_equal(told_count, dropped);
	assert_true(told_lines < 20);
	for (; *text; text++)
		lines += *text == '\n';
	assert_int_equal(lines, 20000 - told_count + told_lines + 1);
	log_stop(PATIENCE_US);
}

static void
M3_stop_gives_up_in_time_and_counts(void **state)
{
	uint64_t dropped = log_dropped();
	int64_t began = clock_now_us();
	unsigned lines = 0;
	const char *text;
	int i;

	(void)state;
	assert_int_equal(log_start(), 0);
	for (i = 0; i < 2500;
	     i++) /* more than a pipe takes, less than a ring */
		log_info("line number %d with some words to fill it", i);
	assert_int_equal(log_dropped(), dropped);
	log_stop(50000);
	assert_true(clock_now_us() - began < PATIENCE_US);
	dropped = log_dropped() - dropped;
	assert_true(dropped > 0);
	/* What is not counted has come out: in the pipe, or was cut there. */
	close(pipe_of_stderr.fds[1]);
	dup2(pipe_of_stderr.stderr_before, STDERR_FILENO);
	for (;;) {
		ssize_t n = read(pipe_of_stderr.fds[0],
		    pipe_of_stderr.text + pipe_of_stderr.len,
		    TEXT_MAX - 1 - pipe_of_stderr.len);

		assert_true(n >= 0);
		if (n == 0)
			break;
		pipe_of_stderr.len += (size_t)n;
	}
	pipe_of_stderr.text[pipe_of_stderr.len] = '\0';
	for (text = pipe_of_stderr.text; *text; text++)
		lines += *text == '\n';
	assert_true(lines + dropped <= 2500);
	assert_true(lines + dropped > 2500 - 200); /* one piece in flight */
	pipe_of_stderr.fds[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

/* What the sink was given, a line each, fields apart by '|'. */
static struct {
	pthread_mutex_t lock;
	char text[8192];
	int answer;
} sunk = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int
sink(const struct iovec *fields, int count)
{
	size_t len;
	int i, answer;

	pthread_mutex_lock(&sunk.lock);
	for (i = 0; i < count; i++) {
		len = strlen(sunk.text);
		assert_true(len + fields[i].iov_len + 2 < sizeof(sunk.text));
		memcpy(sunk.text + len, fields[i].iov_base, fields[i].iov_len);
		sunk.text[len + fields[i].iov_len] = i + 1 < count ? '|' : '\n';
		sunk.text[len + fields[i].iov_len + 1] = '\0';
	}
	answer = sunk.answer;
	pthread_mutex_unlock(&sunk.lock);
	return answer;
}

static const struct log_about about = {
	.event = "0123456789abcdef0123456789abcdef",
	.conn = "12.7",
	.channel = "ticks",
	.peer = "[::1]:5",
};

static void
what_a_line_is_about_stands_in_its_text(void **state)
{
	(void)state;
	assert_int_equal(log_start(), 0);
	log_event(LOG_LEVEL_WARN, &about, "cut, lacks %d", 3);
	log_event(LOG_LEVEL_INFO, &(struct log_about){ .feed = "v" }, "up");
	log_stop(PATIENCE_US);
	assert_string_equal(collect("feed=v\n"),
	    "WARN cut, lacks 3 conn=12.7 channel=ticks peer=[::1]:5\n"
	    "INFO up feed=v\n");
}

static void
a_sink_gets_fields(void **state)
{
	(void)state;
	sunk.text[0] = '\0';
	sunk.answer = 0;
	log_set_sink(sink);
	log_info("before the start");
	log_event(LOG_LEVEL_INFO, &about, "early");
	assert_int_equal(log_start(), 0);
	log_event(LOG_LEVEL_WARN, &about, "cut\n");
	log_event(LOG_LEVEL_ERROR,
	    &(struct log_about){ .channel = "a\x1fPRIORITY=0\nb" },
	    "c\x1f"
	    "d");
	log_error("plain");
	log_stop(PATIENCE_US);
	assert_string_equal(sunk.text,
	    "PRIORITY=6|MESSAGE=early conn=12.7 channel=ticks peer=[::1]:5|"
	    "MESSAGE_ID=0123456789abcdef0123456789abcdef|EARSHOT_CONN=12.7|"
	    "EARSHOT_CHANNEL=ticks|EARSHOT_PEER=[::1]:5\n"
	    "PRIORITY=4|MESSAGE=cut conn=12.7 channel=ticks peer=[::1]:5|"
	    "MESSAGE_ID=0123456789abcdef0123456789abcdef|EARSHOT_CONN=12.7|"
	    "EARSHOT_CHANNEL=ticks|EARSHOT_PEER=[::1]:5\n"
	    "PRIORITY=3|MESSAGE=c?d channel=a?PRIORITY=0?b|"
	    "EARSHOT_CHANNEL=a?PRIORITY=0?b\n"
	    "PRIORITY=3|MESSAGE=plain\n");
	log_error("after the stop");
	assert_string_equal(
	    collect("stop\n"), "<6>before the start\nERROR after the stop\n");
}

static void
what_the_sink_does_not_take_goes_to_stderr(void **state)
{
	(void)state;
	sunk.text[0] = '\0';
	sunk.answer = -ENOBUFS;
	log_set_sink(sink);
	log_info("one");
	assert_int_equal(log_start(), 0);
	log_event(LOG_LEVEL_WARN, &about, "two");
	log_stop(PATIENCE_US);
	assert_string_equal(collect(":5\n"),
	    "<6>one\n<4>two conn=12.7 channel=ticks peer=[::1]:5\n");
}

/* Fields as long as they may be, in every place of the ring. */
static void
lines_with_fields_cross_the_end_of_the_ring(void **state)
{
	char text[LOG_LINE_BYTES_MAX + 1], value[512];
	const struct log_about much = { value, value, value, value, value };
	unsigned lines = 0, i;
	uint64_t dropped = log_dropped();
	const char *end;

	(void)state;
	memset(text, 't', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	sunk.answer = 0;
	log_set_sink(sink);
	assert_int_equal(log_start(), 0);
	for (i = 0; i < 500; i++) {
		pthread_mutex_lock(&sunk.lock);
		sunk.text[0] = '\0';
		pthread_mutex_unlock(&sunk.lock);
		log_event(
		    LOG_LEVEL_INFO, &much, "%.*s", (int)(i * 7 % 2000), text);
		for (end = ""; *end != '\n';) {
			pthread_mutex_lock(&sunk.lock);
			end = sunk.text[0] != '\0'
				  ? sunk.text + strlen(sunk.text) - 1
				  : "";
			pthread_mutex_unlock(&sunk.lock);
			sched_yield();
		}
		lines++;
	}
	log_stop(PATIENCE_US);
	assert_int_equal(lines, 500);
	assert_int_equal(log_dropped(), dropped);
	assert_non_null(strstr(sunk.text, "EARSHOT_PEER=vvv"));
}

#define TALKERS 4
#define TALK 2000

static void *
talk(void *arg)
{
	int i;

	for (i = 0; i < TALK; i++)
		log_info("%s %d", (const char *)arg, i);
	return NULL;
}

static void *
drain(void *arg)
{
	(void)arg;
	(void)collect("end\n");
	return NULL;
}

static void
each_threads_lines_keep_their_order(void **state)
{
	static char names[TALKERS][2] = { "a", "b", "c", "d" };
	int next[TALKERS] = { 0 }, i, number;
	uint64_t dropped = log_dropped();
	pthread_t threads[TALKERS], reader;
	char *line, *rest = NULL, name;

	(void)state;
	assert_int_equal(log_start(), 0);
	assert_int_equal(pthread_create(&reader, NULL, drain, NULL), 0);
	for (i = 0; i < TALKERS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, talk, names[i]), 0);
	for (i = 0; i < TALKERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	log_info("end");
	assert_int_equal(pthread_join(reader, NULL), 0);
	log_stop(PATIENCE_US);
	assert_int_equal(log_dropped(), dropped);
	for (line = strtok_r(pipe_of_stderr.text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "INFO %c %d", &name, &number) != 2)
			continue;
		assert_int_equal(number, next[name - 'a']);
		next[name - 'a']++;
	}
	for (i = 0; i < TALKERS; i++)
		assert_int_equal(next[i], TALK);
}

static _Atomic bool entered;

static int
stuck_sink(const struct iovec *fields, int count)
{
	entered = true;
	return sink(fields, count);
}

/* The last one: who is left alone keeps the log's descriptors. */
static void
a_writer_that_stays_is_left_and_its_lines_are_counted(void **state)
{
	const uint64_t dropped = log_dropped();
	const int64_t end_us = clock_now_us() + PATIENCE_US;
	int i;

	(void)state;
	sunk.text[0] = '\0';
	sunk.answer = 0;
	pthread_mutex_lock(&sunk.lock);
	log_set_sink(stuck_sink);
	assert_int_equal(log_start(), 0);
	log_info("in flight");
	while (!entered && clock_now_us() < end_us)
		(void)sched_yield();
	for (i = 0; i < 9; i++)
		log_info("line %d", i);
	log_stop(0);
	pthread_mutex_unlock(&sunk.lock);
	assert_int_equal(log_dropped() - dropped, 9);
	assert_int_equal(log_start(), -EALREADY);
}

#define REDIRECTED(test)                                                       \
	cmocka_unit_test_setup_teardown(test, redirect, restore)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		REDIRECTED(before_start_and_after_stop_it_writes_by_itself),
		REDIRECTED(lines_come_in_order_with_their_level),
		REDIRECTED(the_journal_gets_its_numbers),
		REDIRECTED(text_from_outside_forges_nothing),
		REDIRECTED(a_long_line_is_cut),
		REDIRECTED(M1_M2_a_full_pipe_stops_nobody_and_drops_are_told),
		REDIRECTED(M3_stop_gives_up_in_time_and_counts),
		REDIRECTED(each_threads_lines_keep_their_order),
		REDIRECTED(what_a_line_is_about_stands_in_its_text),
		REDIRECTED(a_sink_gets_fields),
		REDIRECTED(what_the_sink_does_not_take_goes_to_stderr),
		REDIRECTED(lines_with_fields_cross_the_end_of_the_ring),
		REDIRECTED(
		    a_writer_that_stays_is_left_and_its_lines_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
