/* base/list: rings of nodes; and that the compiler leaves them alone. */

#include "daemon/base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EVENTS 5

struct event {
	struct list node;
	int number;
};

/* Two heads in one struct, as a session's. */
struct session {
	struct list events, running;
	int failed;
};

static void
take_back(struct session *session)
{
	struct list *node;
	int n = 0;

	while (!list_empty(&session->running) && n++ < 2 * EVENTS) {
		node = session->running.prev;
		list_remove(node);
		list_prepend(&session->events, node);
	}
}

/*
 * gcc 12.2 -O2 without -fno-strict-aliasing loads running.prev once, before
 * the loop of take_back().
 */
static int __attribute__((noinline)) run(struct session *session, bool fails)
{
	struct list *node;

	while ((node = list_first(&session->events))) {
		list_remove(node);
		list_append(&session->running, node);
	}
	if (!fails)
		return 0;
	session->failed++;
	take_back(session);
	return -1;
}

static void
test_moved_there_and_back_in_their_order(void **state)
{
	struct event events[EVENTS];
	struct session session = { .failed = 0 };
	int expected = 0;

	(void)state;
	list_init(&session.events);
	list_init(&session.running);
	for (int i = 0; i < EVENTS; i++) {
		events[i].number = i;
		list_init(&events[i].node);
		list_append(&session.events, &events[i].node);
	}
	assert_int_equal(run(&session, true), -1);
	assert_true(list_empty(&session.running));
	LIST_EACH_SAFE(node, next, &session.events)
	{
		assert_true(expected < EVENTS);
		assert_int_equal(
		    LIST_ENTRY(node, struct event, node)->number, expected++);
	}
	assert_int_equal(expected, EVENTS);
	assert_int_equal(run(&session, false), 0);
	assert_true(list_empty(&session.events));
}

static void
test_removed_twice(void **state)
{
	struct list head, node;

	(void)state;
	list_init(&head);
	list_init(&node);
	assert_null(list_first(&head));
	list_prepend(&head, &node);
	assert_ptr_equal(list_first(&head), &node);
	list_remove(&node);
	list_remove(&node);
	assert_true(list_empty(&head));
	assert_true(list_empty(&node));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moved_there_and_back_in_their_order),
		cmocka_unit_test(test_removed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
