/*
 * A hierarchical timing wheel.  Level 0 holds the ticks that share all but
 * their lowest six bits with the present one, a slot each; level 1 those that
 * share all but the lowest twelve, 64 ticks a slot; and so on.  When the
 * present enters a slot of a higher level, its entries move down.
 *
 * - Level 3 has nothing above it: it is a ring, and what lies further ahead
 *   than it reaches waits in the slot that comes last and is looked at again.
 * - What is due already when it is set has no slot: it waits in a list of its
 *   own for the next wheel_advance(), whatever time it is then.
 * - An entry that is moved to a later time stays where it is and only gets the
 *   new time: deadlines are mostly moved, with every message of a connection.
 *   When its slot is reached it is placed anew.  So an entry never lies in a
 *   slot later than its time, and wheel_next_us() may wake for nothing, once
 *   per slot.
 *
 * A heap was refused: O(log n) per move and an allocation.  So was a sorted
 * list, which is what libwebsockets has.
 */

#include "daemon/base/wheel.h"

#include <assert.h>

#define SLOT_BITS 6
#define SLOT_MASK (WHEEL_SLOTS - 1)
#define TOP (WHEEL_LEVELS - 1)

_Static_assert(WHEEL_SLOTS == 1 << SLOT_BITS, "a slot is six bits of a tick");
_Static_assert(WHEEL_SLOTS == 64, "a level's slots are the bits of a uint64_t");

/* The first tick at which the entry may fire. */
static int64_t
due_tick(const struct wheel_entry *entry)
{
	return entry->due_us / WHEEL_TICK_US +
	       (entry->due_us % WHEEL_TICK_US > 0);
}

static void
place(struct wheel *wheel, struct wheel_entry *entry)
{
	int64_t due = due_tick(entry);
	int level = 0;
	unsigned slot;

	assert(due >= wheel->tick);
	while (level < TOP && due >> SLOT_BITS * (level + 1) !=
				  wheel->tick >> SLOT_BITS * (level + 1))
		level++;
	if (level == TOP) {
		int64_t present = wheel->tick >> SLOT_BITS * TOP;
		int64_t ahead = (due >> SLOT_BITS * TOP) - present;

		assert(ahead > 0);
		if (ahead > SLOT_MASK)
			ahead = SLOT_MASK;
		slot = (unsigned)(present + ahead) & SLOT_MASK;
	} else {
		slot = (unsigned)(due >> SLOT_BITS * level) & SLOT_MASK;
	}
	list_append(&wheel->slots[level][slot], &entry->node);
	wheel->used[level] |= UINT64_C(1) << slot;
}

/* Out of its list; if that was a slot and is empty now, its bit goes too. */
static void
take(struct wheel *wheel, struct wheel_entry *entry)
{
	struct list *head = entry->node.prev;
	bool last = head == entry->node.next;
	uintptr_t at = (uintptr_t)head - (uintptr_t)wheel->slots;

	list_remove(&entry->node);
	if (!last || at >= sizeof(wheel->slots))
		return; /* others are left, or it was in no slot */
	at /= sizeof(struct list);
	assert(list_empty(head));
	wheel->used[at / WHEEL_SLOTS] &= ~(UINT64_C(1) << at % WHEEL_SLOTS);
}

void
wheel_init(struct wheel *wheel, int64_t now_us)
{
	assert(now_us >= 0);
	for (int level = 0; level < WHEEL_LEVELS; level++) {
		wheel->used[level] = 0;
		for (int slot = 0; slot < WHEEL_SLOTS; slot++)
			list_init(&wheel->slots[level][slot]);
	}
	list_init(&wheel->overdue);
	wheel->tick = now_us / WHEEL_TICK_US;
	wheel->count = 0;
}

void
wheel_entry_init(struct wheel_entry *entry)
{
	list_init(&entry->node);
	entry->due_us = INT64_MAX;
}

bool
wheel_is_set(const struct wheel_entry *entry)
{
	return !list_empty(&entry->node);
}

void
wheel_set(struct wheel *wheel, struct wheel_entry *entry, int64_t due_us)
{
	if (wheel_is_set(entry)) {
		bool later = due_us >= entry->due_us;

		entry->due_us = due_us;
		if (later)
			return;
		take(wheel, entry);
	} else {
		entry->due_us = due_us;
		wheel->count++;
	}
	if (due_tick(entry) > wheel->tick)
		place(wheel, entry);
	else
		list_append(&wheel->overdue, &entry->node);
	assert(wheel->count > 0);
}

void
wheel_clear(struct wheel *wheel, struct wheel_entry *entry)
{
	if (!wheel_is_set(entry))
		return;
	assert(wheel->count > 0);
	take(wheel, entry);
	wheel->count--;
}

/* The first tick at which a slot has to be looked at; INT64_MAX: none. */
static int64_t
next_tick(const struct wheel *wheel)
{
	int64_t present = wheel->tick >> SLOT_BITS * TOP;
	unsigned turned = (unsigned)present & SLOT_MASK;
	uint64_t ring = wheel->used[TOP];

	/* All of a lower level comes before all of a higher one. */
	for (int level = 0; level < TOP; level++) {
		int64_t turn = wheel->tick >> SLOT_BITS * (level + 1);
		uint64_t used = wheel->used[level];

		if (used != 0)
			return (turn << SLOT_BITS | __builtin_ctzll(used))
			       << SLOT_BITS * level;
	}
	if (ring == 0)
		return INT64_MAX;
	if (turned > 0)
		ring = ring >> turned | ring << (WHEEL_SLOTS - turned);
	return (present + __builtin_ctzll(ring)) << SLOT_BITS * TOP;
}

int64_t
wheel_next_us(const struct wheel *wheel)
{
	if (wheel->count == 0)
		return INT64_MAX;
	if (!list_empty(&wheel->overdue))
		return wheel->tick * WHEEL_TICK_US;
	return next_tick(wheel) * WHEEL_TICK_US;
}

static void
move_all(struct list *from, struct list *to)
{
	struct list *node;

	while ((node = list_first(from))) {
		list_remove(node);
		list_append(to, node);
	}
}

static void
empty_slot(struct wheel *wheel, int level, struct list *to)
{
	unsigned slot =
	    (unsigned)(wheel->tick >> SLOT_BITS * level) & SLOT_MASK;

	move_all(&wheel->slots[level][slot], to);
	wheel->used[level] &= ~(UINT64_C(1) << slot);
}

/* The slots of the higher levels that begin with this tick move down. */
static void
cascade(struct wheel *wheel)
{
	struct list moving, *node;

	list_init(&moving);
	for (int level = TOP; level > 0; level--) {
		int64_t within = (INT64_C(1) << SLOT_BITS * level) - 1;

		if ((wheel->tick & within) == 0)
			empty_slot(wheel, level, &moving);
	}
	while ((node = list_first(&moving))) {
		list_remove(node);
		place(wheel, LIST_ENTRY(node, struct wheel_entry, node));
	}
}

/* Fires what is in the list, except what has been moved to later. */
static void
fire(struct wheel *wheel, struct list *due, wheel_fn fn, void *arg)
{
	struct list *node;

	while ((node = list_first(due))) {
		struct wheel_entry *entry =
		    LIST_ENTRY(node, struct wheel_entry, node);

		list_remove(node);
		if (due_tick(entry) > wheel->tick) {
			place(wheel, entry);
			continue;
		}
		wheel->count--;
		fn(entry, arg);
	}
}

void
wheel_advance(struct wheel *wheel, int64_t now_us, wheel_fn fn, void *arg)
{
	int64_t target = now_us / WHEEL_TICK_US;
	struct list due;

	assert(now_us >= 0);
	assert(fn);
	list_init(&due);
	/* Once only: what fn sets with a time that is past waits, or an entry
	 * that sets itself like that would never let us go. */
	move_all(&wheel->overdue, &due);
	fire(wheel, &due, fn, arg);
	for (;;) {
		int64_t tick = next_tick(wheel);

		if (tick > target)
			break;
		assert(tick > wheel->tick);
		wheel->tick = tick;
		cascade(wheel);
		empty_slot(wheel, 0, &due);
		fire(wheel, &due, fn, arg);
	}
	if (target > wheel->tick)
		wheel->tick = target;
}
