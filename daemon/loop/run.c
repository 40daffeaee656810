/*
 * run: a task from outside any loop, and jobs from inside a task.
 */

#include <assert.h>

#include "daemon/loop/loop_internal.h"

#define RUN_GRACE ES_S(10) /* for what the task left behind */

/* The loop's own, made when it is first asked for. */
static int
run_own_executor(es_loop *loop, es_executor **ret_executor) LOOP_THREAD
{
	es_executor_opts opts = { .name = loop->name };
	int r = 0;

	if (!loop->executor)
		r = es_executor_new(&loop->executor, &opts);
	if (r == 0)
		*ret_executor = loop->executor;
	return r;
}

int
es_run_in_executor(es_executor *executor, const char *name, es_body_fn fn,
    void *arg, es_value *ret)
{
	es_loop *loop = loop_here.loop;
	es_future *f;
	int r;

	assert(fn);
	if (loop && !loop_here.task)
		return -EDEADLK; /* arg may be on this stack: not even begun */
	if (!executor) {
		if (!loop)
			return loop_misuse("es_run_in_executor");
		es_loop_assert(loop);
		r = run_own_executor(loop, &executor);
		if (r < 0)
			return r;
	}
	r = es_executor_submit(executor, 0, name, fn, arg, NULL, loop, &f);
	return r < 0 ? r : es_await_take(f, ES_FOREVER, ret);
}

int
es_run(es_body_fn fn, void *arg, es_value *ret)
{
	es_value value = ES_NOTHING;
	es_loop *loop;
	es_future *f;
	int r;

	assert(fn);
	if (loop_here.loop)
		return -EBUSY;
	r = es_loop_new(&loop, &(es_loop_opts){ .name = "run" });
	if (r < 0)
		return r;
	r = es_spawn(loop, "run", fn, arg, NULL, &f);
	if (r < 0) {
		es_loop_unref(loop);
		return r;
	}
	r = es_loop_run_until(loop, f);
	/* What would not end is reported; it is no failure of fn's. */
	(void)es_loop_close(loop, RUN_GRACE);
	if (r == 0 || r == -EINTR) /* stopped: its end came with the close */
		r = es_future_take(f, &value);
	if (r == 0 && ret)
		*ret = value;
	else
		es_value_drop(&value);
	es_future_unref(f);
	es_loop_unref(loop);
	return r;
}
