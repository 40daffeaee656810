/*
 * The heap beside a sorted array.
 */

#include "daemon/loop/heap.h"

#include "daemon/base/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define NODES 500

static struct heap_node nodes[NODES];

static void
what_is_due_first_leaves_first(void **state)
{
	unsigned short random[3] = { 1, 2, 3 };
	int64_t last = INT64_MIN;
	uint64_t last_seq = 0;
	struct heap heap;
	size_t i;

	(void)state;
	heap_init(&heap);
	for (i = 0; i < NODES; i++) {
		heap_node_init(&nodes[i]);
		nodes[i].when = nrand48(random) % 50; /* many are equal */
		nodes[i].seq = i;
		assert_int_equal(heap_push(&heap, &nodes[i]), 0);
	}
	for (i = 0; i < NODES; i += 3) /* from the middle, too */
		heap_remove(&heap, &nodes[i]);
	for (i = 0; heap_top(&heap); i++) {
		struct heap_node *top = heap_top(&heap);

		assert_true(top->when >= last);
		assert_true(top->when > last || top->seq > last_seq);
		last = top->when;
		last_seq = top->seq;
		heap_remove(&heap, top);
		assert_false(heap_holds(top));
	}
	assert_int_equal(i, NODES - (NODES + 2) / 3);
	heap_fini(&heap);
}

static void
a_promised_slot_needs_no_memory(void **state)
{
	struct heap heap;
	size_t i;

	(void)state;
	heap_init(&heap);
	for (i = 0; i < NODES; i++) {
		heap_node_init(&nodes[i]);
		nodes[i].when = (int64_t)(NODES - i);
		nodes[i].seq = i;
		assert_int_equal(heap_reserve(&heap), 0);
	}
	memory_fail_nth(1);
	for (i = 0; i < NODES; i++)
		heap_push_reserved(&heap, &nodes[i]);
	for (i = 0; i < NODES; i++)
		heap_remove_reserved(&heap, &nodes[i]);
	for (i = 0; i < NODES; i++)
		heap_push_reserved(&heap, &nodes[i]);
	assert_false(memory_fail_seen());
	memory_fail_nth(0);
	assert_ptr_equal(heap_top(&heap), &nodes[NODES - 1]);
	heap_fini(&heap);
}

static void
without_memory_nothing_changes(void **state)
{
	struct heap heap;

	(void)state;
	heap_init(&heap);
	heap_node_init(&nodes[0]);
	memory_fail_nth(1);
	assert_int_equal(heap_push(&heap, &nodes[0]), -ENOMEM);
	assert_false(heap_holds(&nodes[0]));
	memory_fail_nth(1);
	assert_int_equal(heap_reserve(&heap), -ENOMEM);
	memory_fail_nth(0);
	assert_null(heap_top(&heap));
	assert_int_equal(heap_push(&heap, &nodes[0]), 0);
	heap_fini(&heap);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_due_first_leaves_first),
		cmocka_unit_test(a_promised_slot_needs_no_memory),
		cmocka_unit_test(without_memory_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
