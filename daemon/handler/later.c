/*
 * later: the plugin's own functions on workers, now or after some time.
 *
 * The happy path: bridge_run() submits a job; with a delay it arms a timer on
 * the loop first, which submits it then.
 *
 * What can go wrong:
 * - the workers' queue is full: -EAGAIN now, or the timer tries again;
 * - cancelled, or the loop closes before its time: drop() instead of fn().
 */

#include "daemon/base/memory.h"
#include "daemon/handler/session.h"

#include <assert.h>
#include <errno.h>

#define AGAIN_US ES_MS(5)
#define LATERS_MAX 65536 /* that wait for their time, of all plugins */

struct later {
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
later_drop(void *arg)
{
	struct later *later = arg;

	if (later->drop != NULL)
		later->drop(later->arg);
	if (later->f != NULL)
		(void)es_future_set_error(
		    later->f, -ECANCELED, "it did not come to that");
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

static void
on_time(void *arg)
{
	struct later *later = arg;
	es_loop *loop = later->handlers->rooms.loop;
	int r;

	es_loop_assert(loop);
	/* Cancelled, or the executor is going or gone. */
	if (es_future_done(later->f) || later->handlers->ended) {
		later_drop(later);
		return;
	}
	r = later_submit(later, NULL);
	if (r == -EAGAIN || r == -ENOMEM)
		r = es_call_later(loop, AGAIN_US, "plugin job", on_time, later,
		    later_drop, NULL);
	if (r < 0)
		later_drop(later);
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
	es_future *f;
	int r = later_delay(later);

	if (r < 0)
		return r;
	f = es_future_ref(later->f);
	r = es_call_later(later->handlers->rooms.loop, delay_us, "plugin job",
	    on_time, later, later_drop, NULL);
	if (r < 0 || ret_future == NULL)
		es_future_unref(f);
	else
		*ret_future = f;
	return r;
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
	if (!outbox_is_open(handler->handlers->outbox))
		return -ESHUTDOWN;
	later = memory_alloc(sizeof(*later));
	if (later == NULL)
		return -ENOMEM;
	*later = (struct later){ .handlers = handler->handlers,
		.handler = handler,
		.fn = fn,
		.arg = arg,
		.drop = drop };
	r = delay_us == 0 ? later_submit(later, ret_future)
			  : run_later(later, delay_us, ret_future);
	if (r < 0) {
		if (later->f != NULL)
			(void)es_future_cancel(later->f); /* nobody has it */
		later_free(later);
	}
	return r;
}
