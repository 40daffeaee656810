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
#include "daemon/handler/handler_internal.h"

#include <assert.h>
#include <errno.h>

#define AGAIN_US ES_MS(5)

struct later {
	struct handler *handler;
	void (*fn)(void *arg);
	void *arg;
	es_drop drop;
	es_future *f; /* of one with a delay; settled when fn has run */
};

static int
later_job(void *arg, es_value *ret)
{
	struct later *later = arg;

	(void)ret;
	later->fn(later->arg);
	if (later->f != NULL)
		(void)es_future_set_result(later->f, ES_NOTHING);
	es_future_unref(later->f);
	memory_free(later);
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
	es_future_unref(later->f);
	memory_free(later);
}

static int
later_submit(struct later *later, es_future **ret_future)
{
	return es_executor_submit(later->handler->handlers->rooms.work, 0,
	    "plugin job", later_job, later, later_drop, NULL, ret_future);
}

static void
on_time(void *arg)
{
	struct later *later = arg;
	es_loop *loop = later->handler->handlers->rooms.loop;
	int r;

	es_loop_assert(loop);
	if (es_future_done(later->f)) { /* cancelled */
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

int
bridge_run(void *self, int64_t delay_us, void (*fn)(void *arg), void *arg,
    es_drop drop, es_future **ret_future)
{
	struct handler *handler = self;
	struct later *later;
	es_future *f = NULL;
	int r;

	if (fn == NULL || delay_us < 0)
		return -EINVAL;
	later = memory_alloc(sizeof(*later));
	if (later == NULL)
		return -ENOMEM;
	*later = (struct later){ handler, fn, arg, drop, NULL };
	if (delay_us == 0) {
		r = later_submit(later, ret_future);
		if (r < 0)
			memory_free(later);
		return r;
	}
	later->f = es_future_new(handler->handlers->rooms.loop);
	if (later->f == NULL) {
		memory_free(later);
		return -ENOMEM;
	}
	f = es_future_ref(later->f);
	r = es_call_later(handler->handlers->rooms.loop, delay_us, "plugin job",
	    on_time, later, later_drop, NULL);
	if (r < 0) {
		(void)es_future_cancel(f); /* nobody has it */
		es_future_unref(later->f);
		memory_free(later);
	}
	if (r < 0 || ret_future == NULL)
		es_future_unref(f);
	else
		*ret_future = f;
	return r;
}
