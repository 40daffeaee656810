#ifndef DAEMON_HANDLER_OUTBOX_H
#define DAEMON_HANDLER_OUTBOX_H

/*
 * outbox: what threads of handlers hand to the loop, many at a time.
 *
 * Order    Of one thread: as it was pushed.
 * Promise  Everything pushed runs on the loop, or is dropped when that closes:
 *          at the next outbox_flush(), and at the latest OUTBOX_LAZY_US later.
 * Errors   -ESHUTDOWN: not open yet, or the loop is closed; it is dropped.
 * Memory   A post is part of what is pushed; bounded by who pushes.
 * Threads  Any, but for what says LOOP_THREAD.
 */

#include "daemon/loop/loop.h"

#include <stdatomic.h>
#include <stdbool.h>

#define OUTBOX_LAZY_US 250

struct post {
	struct post *next;
	void (*run)(struct post *post, bool dropped);
};

struct outbox {
	_Atomic unsigned refs; /* the owner's, and of a call on its way */
	es_loop *loop;
	atomic_bool open;
	_Atomic(struct post *) head; /* the newest first */
	atomic_bool posted; /* the loop has a call that takes them */
	_Atomic int64_t lazy_until_us; /* before it the timer takes them */
	struct post *taken; /* loop: in order */
	es_call *timer; /* loop */
	void (*drained)(void *arg); /* loop: after some have run */
	void *arg;
};

/* NULL: no memory. */
struct outbox *outbox_new(es_loop *loop, void (*drained)(void *arg), void *arg);
/* What is left is dropped; nobody pushes any more.  NULL: no-op. */
void outbox_free(struct outbox *outbox) LOOP_THREAD;

void outbox_open(struct outbox *outbox) ANY_THREAD;
bool outbox_is_open(const struct outbox *outbox) ANY_THREAD;
int outbox_push(struct outbox *outbox, struct post *post) ANY_THREAD;
int outbox_flush(struct outbox *outbox) ANY_THREAD;

/* Work is given to threads: what they push may wait a little for company. */
void outbox_expect(struct outbox *outbox) LOOP_THREAD;
bool outbox_is_empty(const struct outbox *outbox); /* on the loop */
/* Memory was short for a call: what waits runs now. */
void outbox_tick(struct outbox *outbox) LOOP_THREAD;

#endif
