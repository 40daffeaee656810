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
		{ "upstream =", "expected path, channel, consume or upstream" },
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
		cmocka_unit_test(no_memory_at_any_step_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
