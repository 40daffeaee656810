#ifndef TESTS_UNIT_ORACLE_RIG_H
#define TESTS_UNIT_ORACLE_RIG_H

/*
 * oracle_rig: what the ports of CPython's tests share beside loop_rig.h.
 *
 * A test is called O, the entry of the oracle, the file it comes from, and
 * its name there.  Where we differ on purpose, the comment before it names
 * the rule that says so.
 */

#include "tests/unit/loop_rig.h"

/* asyncio's "long": whatever sleeps that long is woken, or hangs. */
#define ORACLE_LONG ES_S(1000)
/* Its epsilon: short, but another iteration. */
#define ORACLE_EPSILON ES_MS(10)

static inline es_future *
oracle_spawn(es_loop *loop, es_body_fn fn, void *arg)
{
	es_future *f = NULL;

	assert_int_equal(es_spawn(loop, "task", fn, arg, NULL, &f), 0);
	return f;
}

/* run_until_complete() of a coroutine: its code. */
static inline int
oracle_run(es_loop *loop, es_body_fn fn, void *arg)
{
	es_future *f = oracle_spawn(loop, fn, arg);
	int r = es_loop_run_until(loop, f);

	es_future_unref(f);
	return r;
}

/* run_briefly(): whatever can go on without waiting has gone on. */
static inline void
oracle_run_briefly(es_loop *loop)
{
	int i;

	for (i = 0; i < 4; i++)
		rig_turn(loop);
}

/* asyncio.sleep() as a coroutine; arg points to the duration. */
static inline int
oracle_sleep(void *arg, es_value *ret)
{
	(void)ret;
	return es_sleep(*(es_usec *)arg);
}

static inline void
oracle_expect_int(es_future *f, int64_t expected)
{
	es_value value = ES_NOTHING;

	assert_int_equal(es_future_result(f, &value), 0);
	assert_int_equal(value.i, expected);
}

/*
 * For calls that are made on the wrong thread to be refused: to clang this
 * one is the loop's.
 */
static inline void
oracle_pretend_loop(void) PROVES_LOOP
{
}

#endif
