/*
 * [handler NAME]: what it may say, and what only the whole can tell.
 */

#include "conf/conf.h"
#include "daemon/base/memory.h"
#include "tests/lib/told.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char whole[] = "[listener]\nlisten = [::1]:1\n"
			    "[handler chat]\n"
			    "plugin = /lib/chat.so\n"
			    "path = /chat\n"
			    "path = /talk\n"
			    "channel = chat.*\n"
			    "consume = jobs.**\n"
			    "filter = chat.*\nfilter = room\n"
			    "option.room = main hall\n"
			    "option.a.b = 1\n"
			    "queue_messages = 7\n"
			    "[handler run]\n"
			    "exec = /bin/run --fast \"a b\"\n"
			    "path = /run\n"
			    "workers = 3\n"
			    "callback_timeout = 2s\n";

static void
a_handler_is_what_its_section_says(void **state)
{
	struct told told;
	struct conf *conf = told_read(whole, &told);
	const struct conf_handler *chat, *run;

	(void)state;
	assert_string_equal(told.text, "");
	assert_int_equal(conf->handler_count, 2);
	chat = &conf->handlers[0];
	run = &conf->handlers[1];
	assert_string_equal(chat->name, "chat");
	assert_string_equal(chat->plugin, "/lib/chat.so");
	assert_int_equal(chat->paths.count, 2);
	assert_string_equal(chat->paths.items[1], "/talk");
	assert_string_equal(chat->channels.items[0], "chat.*");
	assert_string_equal(chat->consumes.items[0], "jobs.**");
	assert_int_equal(chat->filters.count, 2);
	assert_string_equal(chat->filters.items[1], "room");
	assert_int_equal(chat->option_count, 2);
	assert_string_equal(chat->options[0].key, "room");
	assert_string_equal(chat->options[0].value, "main hall");
	assert_string_equal(chat->options[1].key, "a.b");
	assert_int_equal(chat->queue_messages, 7);
	assert_int_equal(chat->callback_timeout_us, 30000000);
	assert_null(run->plugin);
	assert_int_equal(run->exec.count, 3);
	assert_string_equal(run->exec.items[2], "a b");
	assert_int_equal(run->workers, 3);
	assert_int_equal(run->callback_timeout_us, 2000000);
	conf_free(conf);
}

static void
an_option_given_again_is_another_value(void **state)
{
	struct told told;
	struct conf *conf = told_read("[listener]\nlisten = [::1]:1\n"
				      "[handler]\nexec = cat\npath = /a\n"
				      "option.x = 1\noption.x = 2\n",
	    &told);

	(void)state;
	assert_string_equal(told.text, "");
	assert_int_equal(conf->handlers[0].option_count, 1);
	assert_string_equal(conf->handlers[0].options[0].value, "2");
	conf_free(conf);
}

static void
a_list_is_taken_back_by_an_empty_value(void **state)
{
	struct told told;
	struct conf *conf = told_read("[listener]\nlisten = [::1]:1\n"
				      "[handler]\nexec = cat\npath = /a\n"
				      "consume = a\npath =\nconsume =\n"
				      "path = /b\n",
	    &told);

	(void)state;
	assert_string_equal(told.text, "");
	assert_int_equal(conf->handlers[0].paths.count, 1);
	assert_string_equal(conf->handlers[0].paths.items[0], "/b");
	assert_int_equal(conf->handlers[0].consumes.count, 0);
	conf_free(conf);
}

/* Keys of tokens stand before, for those that want some. */
static struct conf *
with_line(const char *before, const char *line)
{
	struct told told;
	struct conf *conf;
	char text[512];

	(void)snprintf(text, sizeof(text),
	    "%s[listener]\nlisten = [::1]:1\n[auth]\ntoken_key = /k\n"
	    "[handler h]\npath = /a\n%s\n",
	    before, line);
	conf = told_read(text, &told);
	assert_string_equal(told.text, "");
	return conf;
}

/* A key that is forgotten there would be a change that a reload passes over. */
static void
whatever_is_changed_makes_it_another(void **state)
{
	static const char *const lines[] = { "exec = cat", "exec = cat x",
		"plugin = /p.so", "exec = cat\npath = /b",
		"exec = cat\nchannel = a", "exec = cat\nconsume = a",
		"exec = cat\nfilter = a", "exec = cat\noption.a = 1",
		"exec = cat\noption.a = 2", "exec = cat\noption.b = 1",
		"exec = cat\nworkers = 2", "exec = cat\nwindow = 2",
		"exec = cat\ncallback_timeout = 1s",
		"exec = cat\nqueue_messages = 2", "exec = cat\nqueue_bytes = 2",
		"exec = cat\nqueue_bytes_total = 2",
		"exec = cat\nsend_bytes_max = 2",
		"exec = cat\nin_flight_bytes_max = 2",
		"exec = cat\nline_bytes_max = 2K",
		"exec = cat\nbackoff_min = 2ms", "exec = cat\nbackoff_max = 2s",
		"exec = cat\nstop_timeout = 2s",
		"exec = cat\ntoken = required" };
	const size_t count = sizeof(lines) / sizeof(*lines);
	size_t i, j;

	(void)state;
	for (i = 0; i < count; i++)
		for (j = 0; j < count; j++) {
			struct conf *a = with_line("", lines[i]);
			struct conf *b = with_line("# further\n", lines[j]);

			assert_int_equal(
			    conf_handler_equal(a->handlers, b->handlers),
			    i == j);
			conf_free(a);
			conf_free(b);
		}
}

static void
it_knows_where_it_stands(void **state)
{
	struct conf *conf = with_line("# one\n# two\n", "exec = cat");

	(void)state;
	assert_string_equal(conf->handlers->file, "f");
	assert_int_equal(conf->handlers->line, 7);
	conf_free(conf);
}

static void
an_upstream_has_one_handler(void **state)
{
	static const char *const wrong[][2] = {
		{ "upstream = x", "expected an [upstream x]" },
		{ "upstream = m", "expected consume = b, the channel" },
		{ "upstream = u\nupstream = u",
		    "is taken, expected one handler" },
		{ "upstream = u\n[handler z]\nexec = cat\nupstream = u",
		    "[handler z] has upstream = u, which is taken" },
		{ "upstream = a b", "expected the NAME of an [upstream NAME]" },
		{ "upstream =", "expected path, channel, consume, filter or" },
	};
	static const char head[] =
	    "[listener]\nlisten = [::1]:1\n"
	    "[upstream u]\nurl = ws://h/\nchannel = a\n"
	    "[upstream m]\nurl = ws://h/\nchannel = b\nmirror = yes\n"
	    "[handler]\nexec = cat\n";
	char text[1024];
	struct told told;
	struct conf *conf;
	size_t i;

	(void)state;
	(void)snprintf(text, sizeof(text), "%supstream = u\n", head);
	conf = told_read(text, &told);
	assert_string_equal(told.text, "");
	assert_string_equal(conf->handlers[0].upstreams.items[0], "u");
	conf_free(conf);
	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		(void)snprintf(text, sizeof(text), "%s%s\n", head, wrong[i][0]);
		conf = told_read(text, &told);
		assert_non_null(strstr(told.text, wrong[i][1]));
		conf_free(conf);
	}
}

static void
a_token_is_asked_of_who_connects(void **state)
{
	static const char *const wrong[][3] = {
		{ "token_key = /k", "path = /a\ntoken = yes",
		    "token = yes, expected required or optional" },
		{ "token_key = /k", "consume = a\ntoken = required",
		    "[handler] has token = required, expected path or" },
		{ "", "path = /a\ntoken = required",
		    "[handler] has token = required, expected [auth] token" },
		{ "", "path = /a\ntoken = optional", "" },
		{ "token_key = /k", "channel = a\ntoken = required", "" },
	};
	char text[512];
	struct told told;
	struct conf *conf;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		const char *fault = wrong[i][2];

		(void)snprintf(text, sizeof(text),
		    "[listener]\nlisten = [::1]:1\n[auth]\n%s\n"
		    "[handler]\nexec = cat\n%s\n",
		    wrong[i][0], wrong[i][1]);
		conf = told_read(text, &told);
		if (*fault != '\0')
			assert_non_null(strstr(told.text, fault));
		else
			assert_string_equal(told.text, "");
		conf_free(conf);
	}
}

static void
no_memory_at_any_step_leaks_nothing(void **state)
{
	int64_t n = 1;
	bool seen;

	(void)state;
	do {
		struct conf *conf = conf_new();

		assert_non_null(conf);
		memory_fail_nth(n++);
		(void)conf_read_text(
		    conf, "f", whole, sizeof(whole) - 1, NULL, NULL);
		(void)conf_finish(conf, NULL, NULL);
		seen = memory_fail_seen();
		memory_fail_nth(0);
		conf_free(conf);
	} while (seen);
	assert_true(n > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handler_is_what_its_section_says),
		cmocka_unit_test(an_option_given_again_is_another_value),
		cmocka_unit_test(a_list_is_taken_back_by_an_empty_value),
		cmocka_unit_test(an_upstream_has_one_handler),
		cmocka_unit_test(a_token_is_asked_of_who_connects),
		cmocka_unit_test(whatever_is_changed_makes_it_another),
		cmocka_unit_test(it_knows_where_it_stands),
		cmocka_unit_test(no_memory_at_any_step_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
