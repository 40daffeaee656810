/* What becomes of a feed's messages on their way into the channel. */

#include "daemon/base/memory.h"
#include "daemon/feed/sink.h"
#include "tests/lib/feed_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct conf_feed conf;
static struct sink sink;
static struct rig *rig;
static char channel[] = "c", name[] = "n";
static int readies;
static bool waited;

static void
on_ready(void *arg)
{
	assert_ptr_equal(arg, &readies);
	readies++;
}

static void
do_init(struct rig *r)
{
	const struct from from = { .kind = FROM_LIVE };
	struct hub_answer answer;

	es_loop_assert(r->net);
	assert_int_equal(hub_subscribe(r->hub, &r->consumer, "c", 1, VIEW_RAW,
			     &from, 0, &answer),
	    0);
	sink_init(&sink, "test", &conf, &r->conf->limits, r->hub, r->net);
	sink.ready = on_ready;
	sink.arg = &readies;
}

/* Runs fn; what the log was told meanwhile. */
static void
read_log(void (*fn)(struct rig *r), char *ret_log, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(file);
	assert_true(saved >= 0);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	rig_do(rig, fn);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rewind(file);
	n = fread(ret_log, 1, size - 1, file);
	ret_log[n] = '\0';
	fclose(file);
}

static int
begin(void **state)
{
	(void)state;
	rig = rig_new();
	readies = 0;
	waited = false;
	conf = (struct conf_feed){ .name = name, .channel = channel };
	return 0;
}

static int
end(void **state)
{
	(void)state;
	sink_fini(&sink);
	rig_free(rig);
	return 0;
}

static void
publish(enum sink_bytes what, const char *text)
{
	es_loop_assert(rig->net);
	sink_publish(&sink, what, text, strlen(text));
}

static void
do_kinds(struct rig *r)
{
	es_loop_assert(r->net);
	publish(SINK_ANY, "text");
	publish(SINK_ANY, "\xff");
	publish(SINK_BINARY, "meant");
	publish(SINK_JSON, "{}");
	publish(SINK_TEXT, "");
}

static void
bytes_are_text_if_they_can_be(void **state)
{
	(void)state;
	rig_do(rig, do_init);
	rig_do(rig, do_kinds);
	rig_heard(rig, "T:text\nB:\xff\nB:meant\nT:{}\nT:\n");
	assert_int_equal(sink.messages, 5);
}

static void
what_is_no_text_may_be_rejected(void **state)
{
	(void)state;
	conf.not_utf8 = CONF_NOT_UTF8_REJECT;
	rig_do(rig, do_init);
	rig_do(rig, do_kinds);
	rig_heard(rig, "T:text\nB:meant\nT:{}\nT:\n");
	assert_int_equal(sink.not_utf8, 1);
}

static void
do_replace(struct rig *r)
{
	es_loop_assert(r->net);
	publish(SINK_ANY, "\xff"
			  "a\xc3\xbc\xc3");
	publish(SINK_ANY, "\xed\xa0\x80|\xf0\x9f\x98\x80");
	publish(SINK_ANY, "123456789\xff"); /* would be 12 bytes */
}

static void
what_is_no_text_may_be_replaced(void **state)
{
	(void)state;
	conf.not_utf8 = CONF_NOT_UTF8_REPLACE;
	conf.message_bytes_max = 14;
	rig_do(rig, do_init);
	sink.message_bytes_max = 14;
	rig_do(rig, do_replace);
	rig_heard(rig, "T:\xef\xbf\xbd"
		       "a\xc3\xbc\xef\xbf\xbd\n"
		       "T:\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"
		       "\xf0\x9f\x98\x80\n"
		       "T:123456789\xef\xbf\xbd\n");
}

static void
do_many(struct rig *r)
{
	char text[16];
	int i;

	es_loop_assert(r->net);
	for (i = 0; i < 60; i++) {
		(void)snprintf(text, sizeof(text), "%d", i);
		publish(SINK_TEXT, text);
	}
	waited = sink_wait(&sink);
}

static bool
is_ready(struct rig *r)
{
	(void)r;
	return readies > 0;
}

static void
all_of_them(void)
{
	char want[1024] = "";
	int i;

	for (i = 0; i < 60; i++)
		(void)snprintf(want + strlen(want), 16, "T:%d\n", i);
	rig_heard(rig, want);
}

static void
above_the_rate_messages_wait_in_order(void **state)
{
	(void)state;
	conf.max_rate = 200;
	rig_do(rig, do_init);
	rig_do(rig, do_many);
	assert_true(waited);
	assert_true(rig->heard_messages < 40);
	rig_wait(rig, is_ready);
	all_of_them();
	assert_int_equal(readies, 1);
	assert_int_equal(sink.over_rate, 0);
}

static void
above_the_rate_messages_may_be_dropped(void **state)
{
	(void)state;
	conf.max_rate = 200;
	conf.over_rate = CONF_OVER_RATE_DROP;
	rig_do(rig, do_init);
	rig_do(rig, do_many);
	assert_false(waited);
	assert_true(rig->heard_messages >= 20);
	assert_int_equal(rig->heard_messages + sink.over_rate, 60);
}

static void
do_rubbish(struct rig *r)
{
	int i;

	es_loop_assert(r->net);
	for (i = 0; i < 60; i++)
		publish(SINK_ANY, "\xff");
}

static void
what_is_dropped_is_told_once_in_a_while(void **state)
{
	char log[4096];

	(void)state;
	conf.max_rate = 200;
	conf.over_rate = CONF_OVER_RATE_DROP;
	conf.not_utf8 = CONF_NOT_UTF8_REJECT;
	rig_do(rig, do_init);
	read_log(do_many, log, sizeof(log));
	assert_non_null(strstr(log, "test's messages above max_rate are "
				    "dropped, 1 so far feed=n channel=c\n"));
	assert_int_equal(strchr(log, '\n') + 1 - log, strlen(log));
	read_log(do_rubbish, log, sizeof(log));
	assert_non_null(strstr(log, "test's messages that are not UTF-8 are "
				    "dropped, 1 so far feed=n channel=c\n"));
	assert_int_equal(strchr(log, '\n') + 1 - log, strlen(log));
	assert_int_equal(sink.not_utf8, 60);
}

static void
do_full(struct rig *r)
{
	es_loop_assert(r->net);
	r->conf->limits.tapes_bytes_max = 1;
	do_many(r);
}

static bool
is_refused(struct rig *r)
{
	(void)r;
	return sink_refusal(&sink) != NULL;
}

static void
what_the_hub_has_no_memory_for_waits(void **state)
{
	const int64_t max = rig->conf->limits.tapes_bytes_max;

	(void)state;
	rig_do(rig, do_init);
	sink.waits = true;
	rig_do(rig, do_full);
	assert_true(waited);
	rig_wait(rig, is_refused);
	assert_int_equal(readies, 0);
	rig->conf->limits.tapes_bytes_max = max;
	rig_wait(rig, is_ready);
	all_of_them();
	assert_int_equal(sink.refused, 0);
}

static void
who_cannot_wait_drops_it(void **state)
{
	(void)state;
	rig_do(rig, do_init);
	rig_do(rig, do_full);
	assert_false(waited);
	assert_int_equal(sink.refused + sink.messages, 60);
	assert_true(sink.refused > 0);
	assert_string_equal(sink_refusal(&sink), "tapes_bytes_max is reached");
}

static void
do_flush(struct rig *r)
{
	es_loop_assert(r->net);
	sink_flush(&sink);
}

static void
a_flush_waits_for_nothing(void **state)
{
	(void)state;
	conf.max_rate = 1;
	rig_do(rig, do_init);
	rig_do(rig, do_many);
	rig_do(rig, do_flush);
	all_of_them();
	assert_int_equal(readies, 0);
}

static void
do_hurry(struct rig *r)
{
	es_loop_assert(r->net);
	sink_hurry(&sink);
}

static void
who_is_in_a_hurry_has_no_rate(void **state)
{
	(void)state;
	conf.max_rate = 1;
	rig_do(rig, do_init);
	rig_do(rig, do_many);
	rig_do(rig, do_hurry);
	rig_wait(rig, is_ready);
	all_of_them();
}

static void
do_many_failing(struct rig *r)
{
	memory_fail_nth(r->fail_nth);
	do_many(r);
	memory_fail_nth(0);
}

static void
without_memory_to_wait_one_is_dropped(void **state)
{
	(void)state;
	conf.max_rate = 1;
	rig_do(rig, do_init);
	rig_do(rig, do_flush);
	rig->fail_nth = 2; /* the first is a tape's */
	rig_do(rig, do_many_failing);
	rig->fail_nth = 0;
	rig_do(rig, do_flush);
	assert_int_equal(rig->heard_messages + sink.refused, 60);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(bytes_are_text_if_they_can_be),
		TEST(what_is_no_text_may_be_rejected),
		TEST(what_is_no_text_may_be_replaced),
		TEST(above_the_rate_messages_wait_in_order),
		TEST(above_the_rate_messages_may_be_dropped),
		TEST(what_is_dropped_is_told_once_in_a_while),
		TEST(what_the_hub_has_no_memory_for_waits),
		TEST(who_cannot_wait_drops_it),
		TEST(a_flush_waits_for_nothing),
		TEST(who_is_in_a_hurry_has_no_rate),
		TEST(without_memory_to_wait_one_is_dropped),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
