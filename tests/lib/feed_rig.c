/*
 * feed_rig: the loop runs between two looks of the test, on its own thread.
 * The looks are a millisecond apart; nothing here waits for a time to pass
 * but for the deadline that makes a test fail.
 */

#include "tests/lib/feed_rig.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "proto/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define RIG_DEADLINE_US 20000000
#define RIG_LOOK_US 1000

static int64_t
on_write(struct consumer *consumer, const struct span *span, bool *ret_blocked,
    void *arg)
{
	struct rig *rig = arg;
	const uint8_t *p = span->data, *end = p + span->len;

	assert_ptr_equal(consumer, &rig->consumer);
	while (p < end) {
		struct frame_header header;
		char *to = rig->heard + rig->heard_len;
		int n = frame_get_header(p, (size_t)(end - p), &header);

		assert_true(n > 0);
		assert_true(rig->heard_len + header.payload_bytes + 3 <
			    RIG_HEARD_BYTES);
		if (header.opcode != FRAME_CONTINUATION) {
			*to++ = header.opcode == FRAME_TEXT ? 'T' : 'B';
			*to++ = ':';
			rig->heard_messages++;
		}
		memcpy(to, p + n, header.payload_bytes);
		to += header.payload_bytes;
		if (header.fin)
			*to++ = '\n';
		rig->heard_len = (size_t)(to - rig->heard);
		p += (size_t)n + header.payload_bytes;
	}
	*ret_blocked = false;
	return (int64_t)span->len;
}

static bool
on_overrun(struct consumer *consumer, enum conf_overrun policy, int64_t from,
    int64_t to, bool inside, void *arg)
{
	(void)consumer;
	(void)policy;
	(void)from;
	(void)to;
	(void)inside;
	(void)arg;
	fail_msg("the consumer was overrun");
	return false;
}

static void
on_fault(const char *text, void *arg)
{
	(void)arg;
	fail_msg("%s", text);
}

static void
after_batch(void *arg)
{
	struct rig *rig = arg;

	while (hub_flush_wanted(rig->hub))
		(void)hub_flush(rig->hub, clock_wall_us());
}

struct rig *
rig_new(void)
{
	static const char text[] = "[listener]\nlisten = 127.0.0.1:0\n"
				   "[channel **]\nbuffer_bytes = 64M\n";
	const es_executor_opts opts = { .name = "sys", .threads = 1 };
	const struct hub_ops ops = { .write = on_write, .overrun = on_overrun };
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->heard = malloc(RIG_HEARD_BYTES);
	assert_non_null(rig->heard);
	rig->conf = conf_new();
	assert_non_null(rig->conf);
	assert_int_equal(conf_read_text(rig->conf, "rig", text,
			     sizeof(text) - 1, on_fault, NULL),
	    0);
	assert_int_equal(conf_finish(rig->conf, on_fault, NULL), 0);
	assert_null(rig->conf->commands);
	rig->conf->commands = rig->commands;
	assert_int_equal(hub_new(rig->conf, 1, &ops, rig, &rig->hub), 0);
	assert_int_equal(es_loop_new(&rig->net, NULL), 0);
	assert_int_equal(es_executor_new(&rig->sys, &opts), 0);
	assert_int_equal(
	    es_loop_set_hooks(rig->net, NULL, after_batch, rig), 0);
	return rig;
}

size_t
rig_add(struct rig *rig, const char *channel, const char *script)
{
	size_t n = rig->conf->command_count++;
	struct conf_command *command = &rig->commands[n];
	char **args = rig->args[n];

	assert_true(n < RIG_COMMANDS_MAX);
	args[0] = strdup("sh");
	args[1] = strdup("-c");
	args[2] = strdup(script);
	*command = (struct conf_command){
		.feed = { .name = strdup(channel),
		    .channel = strdup(channel),
		    .backoff_min_us = 10000,
		    .backoff_max_us = 40000 },
		.exec = { .items = args, .count = 3 },
		.stop_timeout_us = 60000000,
	};
	return n;
}

struct action {
	struct rig *rig;
	void (*fn)(struct rig *rig);
};

static int
run_action(void *arg, es_value *ret)
{
	const struct action *action = arg;

	(void)ret;
	action->fn(action->rig);
	return 0;
}

void
rig_do(struct rig *rig, void (*fn)(struct rig *rig))
{
	struct action action = { .rig = rig, .fn = fn };
	es_future *f;

	int r;

	/* An allocation that is to fail does so once: here too, then. */
	r = es_loop_invoke(rig->net, "test", run_action, &action, NULL, &f);
	if (r == -ENOMEM && rig->fail_nth > 0)
		r = es_loop_invoke(
		    rig->net, "test", run_action, &action, NULL, &f);
	assert_int_equal(r, 0);
	r = es_loop_run_until(rig->net, f);
	if (r == -ENOMEM && rig->fail_nth > 0)
		r = es_loop_run_until(rig->net, f);
	assert_int_equal(r, 0);
	es_future_unref(f);
}

static void
do_start(struct rig *rig)
{
	const struct from from = { .kind = FROM_LIVE };
	const char *channel = rig->commands[0].feed.channel;
	struct hub_answer answer;

	es_loop_assert(rig->net);
	if (rig->conf->command_count > 0)
		assert_int_equal(hub_subscribe(rig->hub, &rig->consumer,
				     channel, strlen(channel), VIEW_RAW, &from,
				     clock_wall_us(), &answer),
		    0);
	memory_fail_nth(rig->fail_nth);
	if (feeds_start(rig->conf,
		&(struct feeds_options){
		    .hub = rig->hub, .net = rig->net, .sys = rig->sys },
		&rig->feeds) < 0)
		rig->feeds = NULL;
}

void
rig_start(struct rig *rig)
{
	rig_do(rig, do_start);
}

static void
take_stats(const struct feed_stats *stats, void *arg)
{
	struct rig *rig = arg;
	size_t n;

	for (n = 0; n < rig->conf->command_count; n++) {
		if (strcmp(stats->name, rig->commands[n].feed.name) != 0)
			continue;
		rig->stats[n] = *stats;
		rig->errors[n][0] = '\0';
		if (stats->last_error)
			strncpy(rig->errors[n], stats->last_error,
			    sizeof(rig->errors[n]) - 1);
		rig->stats[n].last_error = rig->errors[n];
	}
}

static void
do_look(struct rig *rig)
{
	es_loop_assert(rig->net);
	feeds_each(rig->feeds, take_stats, rig);
}

void
rig_look(struct rig *rig)
{
	rig_do(rig, do_look);
}

static void
do_stop_loop(void *arg)
{
	es_loop_stop(arg);
}

void
rig_wait(struct rig *rig, bool (*fn)(struct rig *rig))
{
	int64_t deadline_us = clock_now_us() + RIG_DEADLINE_US;
	int r;

	for (;;) {
		if (rig->feeds)
			rig_look(rig);
		if (fn(rig))
			return;
		if (clock_now_us() > deadline_us)
			fail_msg("it did not happen; heard: %.*s",
			    (int)rig->heard_len, rig->heard);
		r = es_call_later(rig->net, RIG_LOOK_US, "look", do_stop_loop,
		    rig->net, NULL, NULL);
		if (r == -ENOMEM && rig->fail_nth > 0)
			continue;
		assert_int_equal(r, 0);
		assert_int_equal(es_loop_run(rig->net), 0);
	}
}

static void
on_done(void *arg)
{
	struct rig *rig = arg;

	assert_ptr_equal(es_loop_current(), rig->net);
	rig->dones++;
}

static void
do_stop(struct rig *rig)
{
	es_loop_assert(rig->net);
	feeds_stop(rig->feeds, on_done, rig);
	assert_int_equal(rig->dones, 0); /* never from inside */
}

static bool
is_done(struct rig *rig)
{
	return rig->dones > 0;
}

void
rig_stop(struct rig *rig, void (*fn)(struct rig *rig))
{
	rig_do(rig, do_stop);
	if (fn)
		rig_do(rig, fn);
	rig_wait(rig, is_done);
}

static void
do_free(struct rig *rig)
{
	es_loop_assert(rig->net);
	feeds_free(rig->feeds);
	rig->feeds = NULL;
	if (rig->consumer.channel)
		hub_unsubscribe(rig->hub, &rig->consumer);
}

/* Until there is none: a zombie is taken, a living one fails the test. */
static void
reap_children(void)
{
	int64_t deadline_us = clock_now_us() + RIG_DEADLINE_US;

	while (waitpid(-1, NULL, WNOHANG) >= 0)
		if (clock_now_us() > deadline_us)
			fail_msg("a child lives on");
	assert_int_equal(errno, ECHILD);
}

void
rig_free(struct rig *rig)
{
	size_t i, j;

	rig_do(rig, do_free);
	assert_int_equal(es_executor_shutdown(rig->sys, 0, RIG_DEADLINE_US), 0);
	assert_int_equal(es_loop_close(rig->net, 0), 0);
	es_loop_unref(rig->net);
	reap_children();
	hub_free(rig->hub);
	for (i = 0; i < rig->conf->command_count; i++) {
		free(rig->commands[i].feed.name);
		free(rig->commands[i].feed.channel);
		for (j = 0; j < rig->commands[i].exec.count; j++)
			free(rig->args[i][j]);
	}
	rig->conf->commands = NULL;
	rig->conf->command_count = 0;
	conf_free(rig->conf);
	free(rig->heard);
	free(rig);
}

long
rig_number(const struct rig *rig, size_t n)
{
	const char *p = rig->heard, *end = p + rig->heard_len;

	while (n-- > 0) {
		p = memchr(p, '\n', (size_t)(end - p));
		assert_non_null(p);
		p++;
	}
	assert_true(end - p > 2);
	return strtol(p + 2, NULL, 10);
}

void
rig_heard(const struct rig *rig, const char *want)
{
	if (rig->heard_len != strlen(want) ||
	    memcmp(rig->heard, want, rig->heard_len) != 0)
		fail_msg("heard: %.*s", (int)rig->heard_len, rig->heard);
}

bool
rig_is_gone(long pid)
{
	char path[64], state = 0;
	FILE *file;

	assert_true(pid > 1);
	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return true;
	if (fscanf(file, "%*d %*s %c", &state) != 1)
		state = 'X'; /* it went meanwhile */
	fclose(file);
	return state == 'Z' || state == 'X';
}
