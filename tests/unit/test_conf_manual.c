/*
 * earshot.conf.5 says what the parser does: every key is there, every limit
 * with its default and range, and its examples are configurations.
 */

#include "conf/conf_internal.h"
#include "tests/lib/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The whole file, from the top of the tree; the caller frees it. */
static char *
read_tree(const char *name)
{
	const char *top = getenv("TOP");
	char path[4096], *text = calloc(1, 65536);
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", top ? top : ".", name);
	file = fopen(path, "r");
	assert_non_null(text);
	assert_non_null(file);
	assert_true(fread(text, 1, 65535, file) > 0);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void
check_limit(const char *manual, const char *name, enum number_kind kind,
    int64_t number, int64_t min, int64_t max)
{
	char item[128], range[128], a[32], b[32], c[32];
	const char *at, *end, *found;

	(void)snprintf(item, sizeof(item), ".It Ic %s No = ", name);
	(void)number_put(a, sizeof(a), kind, number);
	(void)number_put(b, sizeof(b), kind, min);
	(void)number_put(c, sizeof(c), kind, max);
	(void)snprintf(
	    range, sizeof(range), "\nDefault %s, from %s to %s.\n", a, b, c);
	at = strstr(manual, item);
	if (!at)
		fail_msg("%s is not in the manual", name);
	end = strstr(at + 1, ".It Ic ");
	found = strstr(at, range);
	if (!found || (end && found > end))
		fail_msg("%s: expected%s", name, range);
}

static void
every_limit_is_there_with_default_and_range(void **state)
{
	char *manual = read_tree("conf/earshot.conf.5");

	(void)state;
#define CHECK_LIMIT(name, kind, def, min, max, what)                           \
	check_limit(manual, #name, kind, def, min, max);
	CONF_LIMITS(CHECK_LIMIT)
#undef CHECK_LIMIT
	free(manual);
}

/* A fault about an unknown key names all that are known. */
static void
every_key_of_every_section_is_there(void **state)
{
	char *manual = read_tree("conf/earshot.conf.5");
	int keys = 0;

	(void)state;
	for (int i = 0; i < SECTION_KINDS; i++) {
		bool pattern = section_types[i].name == NAME_PATTERN;
		char text[128], *key, *end;
		struct told told;

		(void)snprintf(text, sizeof(text), "[%s%s]\n?=1\n",
		    section_types[i].word, pattern ? " a" : "");
		conf_free(told_read(text, &told));
		key = strstr(told.text, "expected ");
		assert_non_null(key);
		key += strlen("expected ");
		if (strncmp(key, "one of ", 7) == 0)
			key += 7;
		*strchr(key, '\n') = '\0';
		for (key = strtok_r(key, ", ", &end); key;
		     key = strtok_r(NULL, ", ", &end), keys++) {
			(void)snprintf(
			    text, sizeof(text), "\n.It Ic %s No = ", key);
			if (!strstr(manual, text))
				fail_msg("%s is not in the manual", key);
		}
	}
	assert_true(keys > 30);
	free(manual);
}

static void
its_examples_have_no_fault(void **state)
{
	char *manual = read_tree("conf/earshot.conf.5"), *at = manual;
	int examples = 0;

	(void)state;
	while ((at = strstr(at, "\n.Bd -literal"))) {
		struct told told;
		char *end = strstr(at, "\n.Ed"), *text = strchr(at + 1, '\n');

		assert_non_null(end);
		*end = '\0';
		conf_free(told_read(text, &told));
		/* A drop-in has no listener, and needs none. */
		if (told.count > 0 &&
		    !strstr(told.text, "f: no section [listener]"))
			fail_msg("%s", told.text);
		assert_true(told.count <= 1);
		at = end + 1;
		examples++;
	}
	assert_true(examples >= 3);
	free(manual);
}

static void
the_demo_has_no_fault(void **state)
{
	char *text = read_tree("conf/demo.conf");
	struct conf *conf = told_nothing(text);

	(void)state;
	assert_int_equal(conf->listeners[0].port, 8080);
	assert_string_equal(conf->listeners[0].host, "127.0.0.1");
	assert_string_equal(conf->commands[0].feed.channel, "vmstat");
	assert_string_equal(conf->commands[0].exec.items[0], "vmstat");
	assert_int_equal(conf->auth.anonymous, CONF_SUBSCRIBE | CONF_PUBLISH);
	conf_free(conf);
	free(text);
}

static void
the_journal_s_example_has_no_fault(void **state)
{
	char *text = read_tree("conf/journal.conf");
	struct conf *conf = told_nothing(text);

	(void)state;
	assert_string_equal(conf->commands[0].feed.channel, "journal");
	assert_string_equal(conf->commands[0].exec.items[0], "journalctl");
	conf_free(conf);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_limit_is_there_with_default_and_range),
		cmocka_unit_test(every_key_of_every_section_is_there),
		cmocka_unit_test(its_examples_have_no_fault),
		cmocka_unit_test(the_demo_has_no_fault),
		cmocka_unit_test(the_journal_s_example_has_no_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
