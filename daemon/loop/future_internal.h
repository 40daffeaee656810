#ifndef DAEMON_LOOP_FUTURE_INTERNAL_H
#define DAEMON_LOOP_FUTURE_INTERNAL_H

/*
 * future_internal: a future's layout, its producers and its waiters.
 */

#include "daemon/loop/loop_internal.h"

/* What a producer inside the run-time does for its future. */
struct future_ops {
	/*
	 * Asked to cancel, while pending or just settled; no locks are held.
	 * 1: asked; 0: too late.
	 */
	int (*cancel)(es_future *f, void *producer);
	/* The future goes away, and its reference on the producer with it. */
	void (*release)(void *producer);
	/* The result may still come when the home loop has closed. */
	bool outlives_loop;
};

/* Lives with whoever waits; wake() is called under the future's lock. */
struct future_waiter {
	struct list node;
	void (*wake)(struct future_waiter *waiter);
};

struct future_hook;

struct es_future {
	_Atomic unsigned refs;
	unsigned generation;
	const char *_Atomic name;
	es_loop *home; /* held, or NULL */
	const struct future_ops *ops; /* NULL: anybody may settle it */
	void *producer;

	/*
	 * Covers the fields to the next blank line.  Free: a settled future
	 * has no waiters; its callbacks are those that are queued.
	 */
	pthread_mutex_t lock;
	struct list waiters, callbacks;
	bool asked; /* to cancel */
	struct future_hook *hook;

	/* Written once, before settled; the value is given away once. */
	int code;
	char *message;
	es_value value;
	atomic_bool settled, taken, seen;
};

static inline bool
future_forked(const es_future *f)
{
	return f->generation != loop_generation;
}

static inline bool
future_settled(const es_future *f)
{
	if (!atomic_load_explicit(&f->settled, memory_order_acquire))
		return false;
	refs_receive(&f->settled);
	return true;
}

/* A future of the run-time's own.  producer is one reference, released. */
es_future *future_new(es_loop *home, const char *name,
    const struct future_ops *ops, void *producer);

/*
 * The body's code, value and message become the future's; failure may be
 * NULL.  -EALREADY: settled before; the value is dropped.
 */
int future_settle_body(es_future *f, int code, es_value *value,
    const struct loop_failure *failure);
int future_settle_code(es_future *f, int code);

/* False: settled, and the waiter is not in use. */
bool future_add_waiter(es_future *f, struct future_waiter *waiter,
    void (*wake)(struct future_waiter *waiter));
/* Whether it was still waiting. */
bool future_remove_waiter(es_future *f, struct future_waiter *waiter);

/* A cancel was heard by the producer: the next one counts again. */
void future_forget_asked(es_future *f);

/* The code, or -EINPROGRESS; a failure counts as looked at. */
int future_code_seen(es_future *f);

#endif
