#ifndef DAEMON_BASE_WHEEL_H
#define DAEMON_BASE_WHEEL_H

/*
 * wheel: a hierarchical timing wheel for deadlines that are mostly moved.
 *
 * Promise  wheel_set() and wheel_clear() take constant time; an entry fires
 *          never early and at most one WHEEL_TICK_US late (plus the caller's
 *          own delay).  Moving one to a later time touches no other entry.
 * Memory   Entries are embedded in their owner; the wheel allocates nothing.
 * Units    Microseconds, CLOCK_MONOTONIC, given by the caller.
 * Threads  Quiet: the caller serialises.
 */

#include "daemon/base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_US 10000
#define WHEEL_LEVELS 4
#define WHEEL_SLOTS 64 /* 64^4 ticks of 10 ms: 46 hours; longer: the last */

struct wheel_entry {
	struct list node;
	int64_t due_us;
};

struct wheel {
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
	struct list overdue; /* was due when it was set */
	uint64_t used[WHEEL_LEVELS]; /* a bit per slot: has entries */
	int64_t tick; /* done up to and including this one */
	uint64_t count;
};

typedef void (*wheel_fn)(struct wheel_entry *entry, void *arg);

void wheel_init(struct wheel *wheel, int64_t now_us);
void wheel_entry_init(struct wheel_entry *entry); /* not set */

/* (Re)sets the entry; a due time in the past fires at the next advance. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, int64_t due_us);
void wheel_clear(struct wheel *wheel, struct wheel_entry *entry);
bool wheel_is_set(const struct wheel_entry *entry);

/*
 * A time at which to call wheel_advance(), not later than the first due entry
 * needs; it may be earlier.  INT64_MAX when nothing is set.
 */
int64_t wheel_next_us(const struct wheel *wheel);

/*
 * Fires what is due: fn is called with the entry already cleared, and may set
 * and clear any entry, itself included.
 */
void wheel_advance(struct wheel *wheel, int64_t now_us, wheel_fn fn, void *arg);

#endif
