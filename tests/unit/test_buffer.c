/*
 * Buffers, and the list and the memory hook they stand beside.
 */

#include "daemon/base/buffer.h"

#include "daemon/base/list.h"
#include "daemon/base/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
bytes_go_in_at_the_end_and_out_at_the_front(void **state)
{
	struct buffer b;

	(void)state;
	buffer_init(&b);
	assert_int_equal(buffer_append(&b, "hello ", 6, 100), 0);
	assert_int_equal(buffer_append(&b, "world", 5, 100), 0);
	assert_int_equal(buffer_append(&b, NULL, 0, 100), 0);
	assert_int_equal(b.len, 11);
	assert_memory_equal(b.data, "hello world", 11);
	buffer_consume(&b, 6);
	assert_memory_equal(b.data, "world", 5);
	buffer_consume(&b, 0);
	buffer_consume(&b, 5);
	assert_int_equal(b.len, 0);
	assert_true(b.size > 0);
	buffer_clear(&b);
	buffer_fini(&b);
	assert_int_equal(b.size, 0);
}

static void
the_limit_is_kept_and_nothing_changes_beyond_it(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&b, "0123456789", 10, 9), -EMSGSIZE);
	assert_int_equal(b.len, 0);
	assert_int_equal(buffer_append(&b, "0123456789", 10, 10), 0);
	assert_int_equal(buffer_append(&b, "x", 1, 10), -EMSGSIZE);
	assert_int_equal(buffer_append(&b, "x", 1, 5), -EMSGSIZE);
	assert_int_equal(buffer_append(&b, "x", SIZE_MAX, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(b.len, 10);
	assert_memory_equal(b.data, "0123456789", 10);
	buffer_fini(&b);
}

static void
it_grows_to_the_limit_and_not_above(void **state)
{
	struct buffer b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 1000; i++)
		assert_int_equal(
		    buffer_append(&b, &(char){ (char)i }, 1, 1000), 0);
	assert_int_equal(buffer_append(&b, "x", 1, 1000), -EMSGSIZE);
	assert_true(b.size <= 1000);
	for (i = 0; i < 1000; i++)
		assert_int_equal(b.data[i], (uint8_t)i);
	buffer_fini(&b);
}

static void
printing_needs_no_room_for_a_nul(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_printf(&b, 5, "%d-%s", 12, "ab"), 0);
	assert_int_equal(b.len, 5);
	assert_memory_equal(b.data, "12-ab", 5);
	assert_int_equal(buffer_printf(&b, 5, "x"), -EMSGSIZE);
	assert_int_equal(buffer_printf(&b, 5, "%s", ""), 0);
	assert_int_equal(buffer_printf(&b, 100, "%0*d", 50, 7), 0);
	assert_int_equal(b.len, 55);
	buffer_fini(&b);
}

static void
without_memory_nothing_changes(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	memory_fail_nth(1);
	assert_int_equal(buffer_append(&b, "abc", 3, 10), -ENOMEM);
	assert_true(memory_fail_seen());
	assert_int_equal(b.len, 0);
	assert_int_equal(buffer_append(&b, "abc", 3, 10), 0);
	memory_fail_nth(1);
	assert_int_equal(buffer_printf(&b, 100, "%080d", 1), -ENOMEM);
	memory_fail_nth(2); /* the copy of an exact fit */
	assert_int_equal(buffer_printf(&b, 83, "%080d", 1), -ENOMEM);
	memory_fail_nth(0);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "abc", 3);
	buffer_fini(&b);
}

static void
the_hook_fails_the_nth_and_only_the_nth(void **state)
{
	void *p[3];

	(void)state;
	memory_fail_nth(2);
	p[0] = memory_alloc(0);
	assert_false(memory_fail_seen());
	p[1] = memory_zalloc(10);
	p[2] = memory_dup("abc", 4);
	assert_non_null(p[0]);
	assert_null(p[1]);
	assert_true(memory_fail_seen());
	assert_string_equal(p[2], "abc");
	memory_fail_nth(1);
	assert_null(memory_realloc(p[2], 100));
	assert_string_equal(p[2], "abc");
	memory_fail_nth(0);
	memory_free(p[0]);
	memory_free(p[2]);
	memory_free(NULL);
}

struct thing {
	int number;
	struct list node;
};

static void
a_list_keeps_order_and_forgets_on_demand(void **state)
{
	struct thing things[4] = { { .number = 0 }, { .number = 1 },
		{ .number = 2 }, { .number = 3 } };
	struct list head;
	int seen = 0, i;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
	for (i = 0; i < 4; i++)
		list_init(&things[i].node);
	list_append(&head, &things[2].node);
	list_append(&head, &things[3].node);
	list_prepend(&head, &things[1].node);
	list_prepend(&head, &things[0].node);
	LIST_EACH_SAFE(node, next, &head)
	{
		struct thing *thing = LIST_ENTRY(node, struct thing, node);

		assert_int_equal(thing->number, seen++);
		if (thing->number % 2)
			list_remove(node);
	}
	assert_int_equal(seen, 4);
	assert_ptr_equal(list_first(&head), &things[0].node);
	list_remove(&things[1].node); /* again: nothing */
	list_remove(&things[0].node);
	assert_ptr_equal(list_first(&head), &things[2].node);
	list_remove(&things[2].node);
	assert_true(list_empty(&head));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_in_at_the_end_and_out_at_the_front),
		cmocka_unit_test(
		    the_limit_is_kept_and_nothing_changes_beyond_it),
		cmocka_unit_test(it_grows_to_the_limit_and_not_above),
		cmocka_unit_test(printing_needs_no_room_for_a_nul),
		cmocka_unit_test(without_memory_nothing_changes),
		cmocka_unit_test(the_hook_fails_the_nth_and_only_the_nth),
		cmocka_unit_test(a_list_keeps_order_and_forgets_on_demand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
