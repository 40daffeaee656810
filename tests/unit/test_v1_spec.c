/*
 * earshot.v1.md says what the code does: every error code stands there with
 * its violation, every example is what the parsers take, and what is refused
 * is answered with the very line that stands below it.
 */

#include "proto/v1.h"
#include "proto/v1_event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX 65536

/* The specification, from the top of the tree; the caller frees it. */
static char *
read_spec(void)
{
	const char *top = getenv("TOP");
	char path[4096], *text = calloc(1, TEXT_MAX);
	FILE *file;

	(void)snprintf(
	    path, sizeof(path), "%s/proto/earshot.v1.md", top ? top : ".");
	file = fopen(path, "r");
	assert_non_null(text);
	assert_non_null(file);
	assert_true(fread(text, 1, TEXT_MAX - 1, file) > 0);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void
every_code_is_there_with_its_violation(void **state)
{
	char *spec = read_spec();
	unsigned rows = 0;

	(void)state;
	for (unsigned i = 0; i < V1_ERROR_MAX; i++) {
		enum v1_error error = (enum v1_error)i;
		char row[128];

		(void)snprintf(row, sizeof(row), "\n| `%s` | %s | ",
		    v1_error_code(error),
		    v1_error_violation(error) ? "yes" : "no");
		if (!strstr(spec, row))
			fail_msg("not there:%s", row);
	}
	for (const char *at = spec; (at = strstr(at, "` | yes | ")); at++)
		rows++;
	for (const char *at = spec; (at = strstr(at, "` | no | ")); at++)
		rows++;
	assert_int_equal(rows, V1_ERROR_MAX);
	free(spec);
}

/* A command; refused: the answer that must stand below. */
static void
check_command(char *line, char *next)
{
	struct v1_command command;
	struct v1_fault fault;
	struct buffer out = { 0 };

	if (v1_parse_command((uint8_t *)line, strlen(line), &command, &fault) ==
	    0)
		return;
	assert_int_equal(
	    v1_put_error(&out, 4096, fault.id, fault.error, fault.text), 0);
	assert_int_equal(buffer_append(&out, "", 1, 4096), 0);
	assert_non_null(next);
	assert_int_equal(strncmp(next, "< ", 2), 0);
	assert_string_equal(next + 2, (const char *)out.data);
	buffer_fini(&out);
}

static void
check_event(char *line)
{
	struct v1_event event;

	if (v1_parse_event((uint8_t *)line, strlen(line), &event) < 0 ||
	    event.kind == V1_EVENT_UNKNOWN)
		fail_msg("no object of a server: %s", line);
}

static void
the_examples_are_what_is_sent(void **state)
{
	char *spec = read_spec(), *line, *next, *rest = spec;
	unsigned commands = 0, events = 0;

	(void)state;
	next = strsep(&rest, "\n");
	while ((line = next)) {
		next = strsep(&rest, "\n");
		if (strncmp(line, "> ", 2) == 0) {
			check_command(line + 2, next);
			commands++;
		} else if (strncmp(line, "< ", 2) == 0) {
			check_event(line + 2);
			events++;
		}
	}
	assert_true(commands >= 15);
	assert_true(events >= 20);
	free(spec);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_is_there_with_its_violation),
		cmocka_unit_test(the_examples_are_what_is_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
