#ifndef TESTS_UNIT_TASK_RIG_H
#define TESTS_UNIT_TASK_RIG_H

/*
 * task_rig: one loop for each test, and tasks on it.
 */

#include "tests/unit/loop_rig.h"

static es_loop *loop;

static inline int
loop_begin(void **state)
{
	(void)state;
	loop = rig_loop();
	rig_forget();
	return 0;
}

static inline int
loop_end(void **state)
{
	(void)state;
	rig_end(loop);
	return 0;
}

static inline es_future *
spawn(es_task_fn fn, void *arg)
{
	es_future *f = NULL;

	assert_int_equal(es_spawn(loop, "task", fn, arg, NULL, &f), 0);
	return f;
}

/* Runs it to its end, and gives its code. */
static inline int
run(es_task_fn fn, void *arg)
{
	es_future *f = spawn(fn, arg);
	int r = es_loop_run_until(loop, f);

	es_future_unref(f);
	return r;
}

static inline int
task_note(void *arg, es_value *ret)
{
	(void)ret;
	rig_note(arg);
	return 0;
}

#define IN_LOOP(test)                                                          \
	cmocka_unit_test_setup_teardown(test, loop_begin, loop_end)

#endif
