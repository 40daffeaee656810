/*
 * later: the plugin's own functions on workers, now or after some time.
 *
 * The happy path: bridge_run() submits a job; with a delay it goes onto the
 * loop first, where a timer submits it then.
 *
 * What can go wrong:
 * - the workers' queue is full: -EAGAIN now, or the timer tries again;
 * - cancelled, or the loop closes before its time: drop() instead of fn();
 * - its plugin is ended first: the same, before its end().
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/session.h"

#include <assert.h>
#include <errno.h>

#define AGAIN_US ES_MS(5)
#define LATERS_MAX 65536 /* that wait for their time, of all plugins */

struct later {
	struct post post; /* of one with a delay, on its way to the loop */
	struct list node; /* loop: in handler.laters, while it has a timer */
	es_call *timer; /* loop */
	int64_t due_us;
	bool told; /* loop: drop() has been called */
	struct handlers *handlers; /* referenced where there is a delay */
	struct handler *handler; /* good while handlers has not ended */
	void (*fn)(void *arg);
	void *arg;
	es_drop drop;
	es_future *f; /* of one with a delay; settled when fn has run */
};

static void
later_free(struct later *later)
{
	if (later->f != NULL) {
		atomic_fetch_sub(&later->handlers->laters, 1);
		handlers_unref(later->handlers);
	}
	es_call_unref(later->timer);
	future_leave(later->f);
	memory_free(later);
}

static int
later_job(void *arg, es_value *ret)
{
	struct later *later = arg;

	(void)ret;
	later->fn(later->arg);
	atomic_fetch_sub(&later->handler->jobs, 1);
	if (later->f != NULL)
		(void)es_future_set_result(later->f, ES_NOTHING);
	later_free(later);
	return 0;
}

static void
later_tell(struct later *later)
{
	if (later->told)
		return;
	later->told = true;
	list_remove(&later->node);
	if (later->drop != NULL)
		later->drop(later->arg);
	if (later->f != NULL)
		(void)es_future_set_error(
		    later->f, -ECANCELED, "it did not come to that");
}

static void
later_drop(void *arg)
{
	struct later *later = arg;

	later_tell(later);
	later_free(later);
}

static void
later_drop_job(void *arg)
{
	struct later *later = arg;

	atomic_fetch_sub(&later->handler->jobs, 1);
	later_drop(later);
}

/* end() comes when there are no jobs, and none comes after that. */
static int
later_submit(struct later *later, es_future **ret_future)
{
	int r = -ESHUTDOWN;

	atomic_fetch_add(&later->handler->jobs, 1);
	if (!atomic_load(&later->handler->disarmed))
		r = es_executor_submit(later->handlers->rooms.work, 0,
		    "plugin job", later_job, later, later_drop_job, NULL,
		    ret_future);
	if (r < 0)
		atomic_fetch_sub(&later->handler->jobs, 1);
	return r;
}

static void on_time(void *arg);

static int
later_arm(struct later *later, int64_t delay_us) LOOP_THREAD
{
	const int r = es_call_later(later->handlers->rooms.loop, delay_us,
	    "plugin job", on_time, later, later_drop, &later->timer);

	if (r == 0)
		list_append(&later->handler->laters, &later->node);
	return r;
}

static void
on_time(void *arg)
{
	struct later *later = arg;
	int r;

	es_loop_assert(later->handlers->rooms.loop);
	es_call_unref(later->timer);
	later->timer = NULL;
	list_remove(&later->node);
	/* Cancelled, or the executor is going or gone. */
	if (es_future_done(later->f) || later->handlers->ended) {
		later_drop(later);
		return;
	}
	r = later_submit(later, NULL);
	if (r == -EAGAIN || r == -ENOMEM)
		r = later_arm(later, AGAIN_US);
	if (r < 0)
		later_drop(later);
}

static void
on_posted(struct post *post, bool dropped)
{
	struct later *later = LIST_ENTRY(post, struct later, post);
	int64_t left_us;

	if (dropped || atomic_load(&later->handler->disarmed)) {
		later_drop(later);
		return;
	}
	es_loop_assert(later->handlers->rooms.loop);
	left_us = later->due_us - clock_now_us();
	if (later_arm(later, left_us > 0 ? left_us : 0) < 0)
		later_drop(later);
}

void
laters_drop(struct handler *handler)
{
	LIST_EACH_SAFE(node, next, &handler->laters)
	{
		struct later *later = LIST_ENTRY(node, struct later, node);

		(void)es_call_cancel(later->timer); /* frees it, in a moment */
		later_tell(later);
	}
}

/* 0 with later->f made, or nothing has changed. */
static int
later_delay(struct later *later)
{
	struct handlers *handlers = later->handlers;

	if (atomic_fetch_add(&handlers->laters, 1) >= LATERS_MAX) {
		atomic_fetch_sub(&handlers->laters, 1);
		return -EAGAIN;
	}
	later->f = es_future_new(handlers->rooms.loop);
	if (later->f == NULL) {
		atomic_fetch_sub(&handlers->laters, 1);
		return -ENOMEM;
	}
	atomic_fetch_add(&handlers->refs, 1);
	return 0;
}

static int
run_later(struct later *later, int64_t delay_us, es_future **ret_future)
{
	const int64_t now_us = clock_now_us();
	const int r = later_delay(later);

	if (r < 0)
		return r;
	later->due_us =
	    delay_us < INT64_MAX - now_us ? now_us + delay_us : INT64_MAX;
	later->post.run = on_posted;
	if (ret_future != NULL)
		*ret_future = es_future_ref(later->f);
	(void)outbox_push(/* closed meanwhile: it is dropped, f says so */
	    later->handlers->outbox, &later->post);
	return 0;
}

int
bridge_run(void *self, int64_t delay_us, void (*fn)(void *arg), void *arg,
    es_drop drop, es_future **ret_future)
{
	struct handler *handler = self;
	struct later *later;
	int r;

	if (fn == NULL || delay_us < 0)
		return -EINVAL;
	if (!outbox_is_open(handler->handlers->outbox) ||
	    atomic_load(&handler->disarmed))
		return -ESHUTDOWN;
	later = memory_alloc(sizeof(*later));
	if (later == NULL)
		return -ENOMEM;
	*later = (struct later){ .handlers = handler->handlers,
		.handler = handler,
		.fn = fn,
		.arg = arg,
		.drop = drop };
	list_init(&later->node);
	r = delay_us == 0 ? later_submit(later, ret_future)
			  : run_later(later, delay_us, ret_future);
	if (r < 0) {
		if (later->f != NULL)
			(void)es_future_cancel(later->f); /* nobody has it */
		later_free(later);
	}
	return r;
}
