#ifndef DAEMON_BASE_LIST_H
#define DAEMON_BASE_LIST_H

/*
 * list: a ring of nodes that live inside what they link.
 *
 * Shape     The head is a node too; a node that is in no list points at
 *           itself, so list_remove() may be called twice.
 * Life      list_init() on heads and on nodes before anything else.
 * Memory    Nothing is allocated; the caller owns what holds the node.
 * Threads   Quiet: the caller serialises.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

static inline void
list_init(struct list *node)
{
	node->prev = node->next = node;
}

/* A head without nodes; or a node that is in no list. */
static inline bool
list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void
list_insert_after(struct list *place, struct list *node)
{
	assert(list_empty(node));
	node->prev = place;
	node->next = place->next;
	place->next->prev = node;
	place->next = node;
}

static inline void
list_append(struct list *head, struct list *node)
{
	list_insert_after(head->prev, node);
}

static inline void
list_prepend(struct list *head, struct list *node)
{
	list_insert_after(head, node);
}

/* Leaves the node initialised: in no list, ready for another. */
static inline void
list_remove(struct list *node)
{
	assert(node->prev->next == node && node->next->prev == node);
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

static inline struct list *
list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* What holds the node. */
#define LIST_ENTRY(ptr, type, member)                                          \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* The body may remove node, and nothing else. */
#define LIST_EACH_SAFE(node, next_, head)                                      \
	for (struct list *node = (head)->next, *next_ = node->next;            \
	     node != (head); node = next_, next_ = node->next)

#endif
