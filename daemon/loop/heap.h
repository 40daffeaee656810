#ifndef DAEMON_LOOP_HEAP_H
#define DAEMON_LOOP_HEAP_H

/*
 * heap: what is due first, by (when, seq); nodes live in what they order.
 *
 * Order     Equal times leave in the order of seq, which asyncio's and
 *           libevent's heaps do not promise.
 * Memory    An array of keys and pointers, doubled and halved: to compare two
 *           nodes neither is read.  Room may be promised ahead (heap_reserve),
 *           so that a push that must not fail cannot.
 * Threads   Quiet: the caller serialises.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NOT_IN SIZE_MAX

struct heap_node {
	int64_t when; /* neither changes while it is in a heap */
	uint64_t seq;
	size_t index; /* HEAP_NOT_IN: in no heap */
};

struct heap_slot {
	int64_t when;
	uint64_t seq;
	struct heap_node *node;
};

struct heap {
	struct heap_slot *slots;
	size_t len, size;
	size_t reserved; /* slots promised and not in use */
};

void heap_init(struct heap *heap);
void heap_fini(struct heap *heap); /* the nodes are not touched */

static inline void
heap_node_init(struct heap_node *node)
{
	node->index = HEAP_NOT_IN;
}

static inline bool
heap_holds(const struct heap_node *node)
{
	return node->index != HEAP_NOT_IN;
}

/* The first to leave, or NULL. */
static inline struct heap_node *
heap_top(const struct heap *heap)
{
	return heap->len > 0 ? heap->slots[0].node : NULL;
}

/* Promises a slot, until heap_unreserve() takes it back.  -ENOMEM. */
int heap_reserve(struct heap *heap);
void heap_unreserve(struct heap *heap);

int heap_push(struct heap *heap, struct heap_node *node); /* -ENOMEM */
void heap_remove(struct heap *heap, struct heap_node *node);

/* The same, from and back to the promised slots: cannot fail. */
void heap_push_reserved(struct heap *heap, struct heap_node *node);
void heap_remove_reserved(struct heap *heap, struct heap_node *node);

#endif
