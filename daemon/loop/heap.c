/*
 * heap: a binary heap in an array.  Each node knows its index, so that a
 * cancelled timer leaves at once, from whatever thread, and dead ones never
 * pile up.
 */

#include "daemon/loop/heap.h"

#include <assert.h>
#include <errno.h>

#include "daemon/base/memory.h"

#define HEAP_SIZE_MIN 16

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
heap_before(const struct heap_node *a, const struct heap_node *b)
{
	return a->when != b->when ? a->when < b->when : a->seq < b->seq;
}

static void
heap_place(struct heap *heap, size_t i, struct heap_node *node)
{
	heap->slots[i] = node;
	node->index = i;
}

static void
heap_sift_up(struct heap *heap, size_t i, struct heap_node *node)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (!heap_before(node, heap->slots[parent]))
			break;
		heap_place(heap, i, heap->slots[parent]);
		i = parent;
	}
	heap_place(heap, i, node);
}

static void
heap_sift_down(struct heap *heap, size_t i, struct heap_node *node)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= heap->len)
			break;
		if (child + 1 < heap->len &&
		    heap_before(heap->slots[child + 1], heap->slots[child]))
			child++;
		if (!heap_before(heap->slots[child], node))
			break;
		heap_place(heap, i, heap->slots[child]);
		i = child;
	}
	heap_place(heap, i, node);
}

static int
heap_resize(struct heap *heap, size_t size)
{
	struct heap_node **slots;

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
	int r;

	assert(!heap_holds(node));
	r = heap_make_room(heap);
	if (r == 0)
		heap_sift_up(heap, heap->len++, node);
	return r;
}

void
heap_push_reserved(struct heap *heap, struct heap_node *node)
{
	assert(!heap_holds(node));
	heap_unreserve(heap);
	assert(heap->len < heap->size);
	heap_sift_up(heap, heap->len++, node);
}

static void
heap_take_out(struct heap *heap, struct heap_node *node)
{
	size_t i = node->index;
	struct heap_node *last;

	assert(i < heap->len);
	assert(heap->slots[i] == node);
	last = heap->slots[--heap->len];
	node->index = HEAP_NOT_IN;
	if (last == node)
		return;
	if (i > 0 && heap_before(last, heap->slots[(i - 1) / 2]))
		heap_sift_up(heap, i, last);
	else
		heap_sift_down(heap, i, last);
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
