/* What inotify's events say about one name. */

#include "daemon/feed/changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include <cmocka.h>

static char events[65536];
static size_t events_len;

static void
event(uint32_t mask, uint32_t cookie, const char *name)
{
	struct inotify_event head = { .mask = mask, .cookie = cookie };

	if (name)
		head.len = (uint32_t)((strlen(name) + 16) / 16 * 16);
	memcpy(events + events_len, &head, sizeof(head));
	memset(events + events_len + sizeof(head), 0, head.len);
	if (name)
		memcpy(events + events_len + sizeof(head), name, strlen(name));
	events_len += sizeof(head) + head.len;
}

static void
move(uint32_t cookie, const char *from, const char *to)
{
	event(IN_MOVED_FROM, cookie, from);
	event(IN_MOVED_TO, cookie, to);
}

static bool
take(struct changes *changes)
{
	bool meant = changes_take(changes, events, events_len, "log");

	events_len = 0;
	return meant;
}

static void
other_names_are_not_meant(void **state)
{
	struct changes changes = { .count = 0 };

	(void)state;
	event(IN_CREATE, 0, "other");
	event(IN_CREATE, 0, "log.1");
	move(5, "other", "another");
	assert_false(take(&changes));
	event(IN_CREATE, 0, "log");
	assert_true(take(&changes));
	event(IN_MODIFY, 0, NULL); /* of the file itself */
	assert_true(take(&changes));
	assert_int_equal(changes.count, 0);
}

static void
who_was_moved_away_is_followed(void **state)
{
	struct changes changes = { .count = 0 };

	(void)state;
	move(1, "log", "log.1");
	assert_true(take(&changes));
	move(2, "log.1", "log.2");
	move(3, "log", "log.1");
	assert_true(take(&changes));
	assert_int_equal(changes.count, 2);
	assert_string_equal(changes.names[0], "log.2");
	assert_string_equal(changes.names[1], "log.1");
}

static void
a_move_may_come_in_two_reads(void **state)
{
	struct changes changes = { .count = 0 };

	(void)state;
	event(IN_MOVED_FROM, 7, "log");
	assert_true(take(&changes));
	event(IN_MOVED_TO, 7, "old");
	assert_false(take(&changes));
	assert_int_equal(changes.count, 1);
	assert_string_equal(changes.names[0], "old");
	/* Out of the folder: nothing follows. */
	event(IN_MOVED_FROM, 8, "log");
	event(IN_MOVED_TO, 9, "elsewhere");
	assert_true(take(&changes));
	assert_int_equal(changes.count, 1);
}

static void
only_so_many_are_remembered(void **state)
{
	struct changes changes = { .count = 0 };
	char name[16];
	int i;

	(void)state;
	for (i = 1; i <= CHANGES_NAMES_MAX + 5; i++) {
		(void)snprintf(name, sizeof(name), "log.%d", i);
		move((uint32_t)i, "log", name);
	}
	assert_true(take(&changes));
	assert_int_equal(changes.count, CHANGES_NAMES_MAX);
	assert_string_equal(changes.names[0], "log.6");
	assert_int_equal(changes.forgotten, 5);
	event(IN_Q_OVERFLOW, 0, NULL);
	assert_true(take(&changes));
	assert_int_equal(changes.forgotten, 6);
}

static void
who_is_dropped_leaves_the_others(void **state)
{
	struct changes changes = { .count = 0 };

	(void)state;
	move(1, "log", "a");
	move(2, "log", "b");
	move(3, "log", "c");
	event(IN_MOVED_FROM, 4, "c");
	assert_true(take(&changes));
	changes_drop(&changes, 2);
	assert_int_equal(changes.count, 1);
	event(IN_MOVED_TO, 4, "c.1"); /* its other half */
	(void)take(&changes);
	assert_int_equal(changes.count, 1);
	assert_string_equal(changes.names[0], "c.1");
	event(IN_MOVED_FROM, 5, "c.1");
	(void)take(&changes);
	changes_drop(&changes, 1);
	event(IN_MOVED_TO, 5, "c.2"); /* of one that is open already */
	(void)take(&changes);
	assert_int_equal(changes.count, 0);
	event(IN_MOVED_FROM, 6, "log");
	(void)take(&changes);
	changes_drop(&changes, 0);
	event(IN_MOVED_TO, 6, "d");
	(void)take(&changes);
	assert_string_equal(changes.names[0], "d");
}

static void
half_an_event_is_none(void **state)
{
	struct changes changes = { .count = 0 };
	size_t len;

	(void)state;
	event(IN_CREATE, 0, "log");
	for (len = 0; len < events_len; len++)
		assert_false(changes_take(&changes, events, len, "log"));
	assert_true(take(&changes));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_names_are_not_meant),
		cmocka_unit_test(who_was_moved_away_is_followed),
		cmocka_unit_test(a_move_may_come_in_two_reads),
		cmocka_unit_test(only_so_many_are_remembered),
		cmocka_unit_test(who_is_dropped_leaves_the_others),
		cmocka_unit_test(half_an_event_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
