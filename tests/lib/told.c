/* Faults of configurations, gathered. */

#include "tests/lib/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void
told_clear(struct told *told)
{
	*told = (struct told){ .len = 0 };
}

void
told_add(const char *text, void *arg)
{
	struct told *told = arg;
	size_t room = sizeof(told->text) - told->len;
	int n = snprintf(told->text + told->len, room, "%s\n", text);

	assert_null(strchr(text, '\n'));
	if (n > 0 && (size_t)n < room)
		told->len += (size_t)n;
	told->count++;
}

struct conf *
told_read(const char *text, struct told *told)
{
	struct conf *conf = conf_new();
	int faults, more;

	told_clear(told);
	assert_non_null(conf);
	faults = conf_read_text(conf, "f", text, strlen(text), told_add, told);
	assert_int_equal(faults, told->count);
	more = conf_finish(conf, told_add, told);
	assert_int_equal(faults + more, told->count);
	return conf;
}

struct conf *
told_nothing(const char *text)
{
	struct told told;
	struct conf *conf = told_read(text, &told);

	assert_string_equal(told.text, "");
	return conf;
}

void
told_exactly(const char *text, const char *faults)
{
	struct told told;

	conf_free(told_read(text, &told));
	assert_string_equal(told.text, faults);
}
