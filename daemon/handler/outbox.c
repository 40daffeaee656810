/*
 * outbox: a stack that any thread pushes to, and the loop takes whole.
 *
 * The happy path: outbox_expect() when callbacks are given to threads -> they
 * push -> the last of them flushes: one call onto the loop, one wake-up, for
 * all that they had to say.
 *
 * A wake-up costs more than a callback: of a thread that sends ten messages
 * each would stop it on a single core.  So a push wakes nobody for a moment,
 * while a timer stands behind it for a callback that pushes and then blocks.
 * After that moment every push wakes.  A push is seen before the time is
 * looked at: whoever finds the moment not over has pushed before the timer.
 *
 * What can go wrong: no memory for the call: the next push or tick tries
 * again; the loop is closed: all is dropped.
 */

#include "daemon/handler/outbox.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#define POSTS_PER_CALL_MAX 1024

static void on_call(void *arg);
static void on_dropped(void *arg);

struct outbox *
outbox_new(es_loop *loop, void (*drained)(void *arg), void *arg)
{
	struct outbox *outbox = memory_zalloc(sizeof(*outbox));

	if (outbox == NULL)
		return NULL;
	outbox->refs = 1;
	outbox->loop = loop;
	outbox->drained = drained;
	outbox->arg = arg;
	return outbox;
}

static void
unref(struct outbox *outbox)
{
	if (atomic_fetch_sub(&outbox->refs, 1) == 1)
		memory_free(outbox);
}

/* All there are, the oldest first. */
static struct post *
take(struct outbox *outbox)
{
	struct post *post = atomic_exchange(&outbox->head, NULL);
	struct post *first = NULL;

	while (post != NULL) {
		struct post *next = post->next;

		post->next = first;
		first = post;
		post = next;
	}
	return first;
}

static void
drop_all(struct post *post)
{
	while (post != NULL) {
		struct post *next = post->next;

		post->run(post, true);
		post = next;
	}
}

void
outbox_open(struct outbox *outbox)
{
	atomic_store(&outbox->open, true);
}

bool
outbox_is_open(const struct outbox *outbox)
{
	return atomic_load(&outbox->open);
}

int
outbox_push(struct outbox *outbox, struct post *post)
{
	if (!atomic_load(&outbox->open)) {
		post->run(post, true);
		return -ESHUTDOWN;
	}
	post->next = atomic_load_explicit(&outbox->head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&outbox->head, &post->next, post))
		; /* next is what it has become */
	if (clock_now_us() < atomic_load(&outbox->lazy_until_us))
		return 0;
	return outbox_flush(outbox);
}

/* Others' posts are dropped as well: each was pushed before it was closed. */
static int
call(struct outbox *outbox)
{
	int r;

	if (atomic_exchange(&outbox->posted, true))
		return 0;
	atomic_fetch_add(&outbox->refs, 1);
	r = es_call_soon(outbox->loop, "handler requests", on_call, outbox,
	    on_dropped, NULL);
	if (r == 0)
		return 0;
	if (r == -ESHUTDOWN)
		atomic_store(&outbox->open, false);
	atomic_store(&outbox->posted, false);
	if (r == -ESHUTDOWN)
		drop_all(take(outbox));
	unref(outbox);
	return r == -ESHUTDOWN ? r : 0; /* no memory: it goes with the next */
}

int
outbox_flush(struct outbox *outbox)
{
	return atomic_load(&outbox->head) != NULL ? call(outbox) : 0;
}

static void
run_some(struct outbox *outbox)
{
	int left = POSTS_PER_CALL_MAX;
	const bool rest = outbox->taken != NULL;

	if (!rest)
		outbox->taken = take(outbox);
	while (outbox->taken != NULL && left-- > 0) {
		struct post *post = outbox->taken;

		outbox->taken = post->next;
		post->run(post, false);
	}
	/* Behind a rest there may be what relied on the call that was this. */
	if (outbox->taken != NULL ||
	    (rest && atomic_load(&outbox->head) != NULL))
		(void)call(outbox); /* no memory: the tick goes on */
	if (outbox->drained != NULL)
		outbox->drained(outbox->arg);
}

static void
on_call(void *arg)
{
	struct outbox *outbox = arg;

	es_loop_assert(outbox->loop);
	atomic_store(&outbox->posted, false); /* before they are taken */
	run_some(outbox);
	unref(outbox);
}

static void
on_dropped(void *arg)
{
	struct outbox *outbox = arg;

	atomic_store(&outbox->open, false);
	atomic_store(&outbox->posted, false);
	drop_all(take(outbox));
	unref(outbox);
}

static void
on_timer(void *arg)
{
	struct outbox *outbox = arg;

	es_loop_assert(outbox->loop);
	es_call_unref(outbox->timer);
	outbox->timer = NULL;
	run_some(outbox);
}

void
outbox_expect(struct outbox *outbox)
{
	const int64_t until_us = clock_now_us() + OUTBOX_LAZY_US;

	if (outbox->timer == NULL &&
	    es_call_later(outbox->loop, OUTBOX_LAZY_US, "handler requests",
		on_timer, outbox, NULL, &outbox->timer) == 0)
		atomic_store(&outbox->lazy_until_us, until_us);
}

bool
outbox_is_empty(const struct outbox *outbox)
{
	return outbox->taken == NULL && atomic_load(&outbox->head) == NULL;
}

void
outbox_tick(struct outbox *outbox)
{
	if (!outbox_is_empty(outbox))
		run_some(outbox);
}

void
outbox_free(struct outbox *outbox)
{
	struct post *taken;

	if (outbox == NULL)
		return;
	taken = outbox->taken;
	outbox->drained = NULL;
	es_call_forget(&outbox->timer);
	outbox->taken = NULL;
	drop_all(taken);
	drop_all(take(outbox));
	unref(outbox);
}
