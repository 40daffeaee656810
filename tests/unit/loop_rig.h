#ifndef TESTS_UNIT_LOOP_RIG_H
#define TESTS_UNIT_LOOP_RIG_H

/*
 * loop_rig: what the tests of daemon/loop share: notes of what happened in
 * which order, and loops to try things on.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/loop.h"
#include "tests/unit/rig_gate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/rig_name.h"

/* What happened, a letter each. */
static struct {
	pthread_mutex_t lock;
	char text[4096];
	size_t len;
} rig_notes = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void
rig_forget(void)
{
	pthread_mutex_lock(&rig_notes.lock);
	rig_notes.len = 0;
	rig_notes.text[0] = '\0';
	pthread_mutex_unlock(&rig_notes.lock);
}

static inline void
rig_note_char(char c)
{
	pthread_mutex_lock(&rig_notes.lock);
	if (rig_notes.len < sizeof(rig_notes.text) - 1) {
		rig_notes.text[rig_notes.len++] = c;
		rig_notes.text[rig_notes.len] = '\0';
	}
	pthread_mutex_unlock(&rig_notes.lock);
}

/* An es_fn or es_drop whose argument is the letter. */
static inline void
rig_note(void *arg)
{
	rig_note_char((char)(uintptr_t)arg);
}

#define RIG_LETTER(c) ((void *)(uintptr_t)(c))

static inline void
rig_expect(const char *text)
{
	assert_string_equal(rig_notes.text, text);
}

static inline es_loop *
rig_loop(void)
{
	es_loop *loop = NULL;

	assert_int_equal(es_loop_new(&loop, NULL), 0);
	return loop;
}

/* Closes and forgets it; nothing is left over. */
static inline void
rig_end(es_loop *loop)
{
	assert_int_equal(es_loop_close(loop, ES_S(5)), 0);
	es_loop_unref(loop);
}

static inline void
rig_stop(void *arg)
{
	es_loop_stop(arg);
}

static inline void
rig_soon(es_loop *loop, es_fn fn, void *arg)
{
	assert_int_equal(es_call_soon(loop, "test", fn, arg, NULL, NULL), 0);
}

static inline void
rig_later(es_loop *loop, es_usec delay, es_fn fn, void *arg)
{
	assert_int_equal(
	    es_call_later(loop, delay, "test", fn, arg, NULL, NULL), 0);
}

/* What must not run. */
static inline void
rig_never(void *arg)
{
	(void)arg;
	abort();
}

static inline int
rig_never_body(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	abort();
}

static inline void
rig_never_done(es_future *f, void *arg)
{
	(void)f;
	(void)arg;
	abort();
}

/* One iteration that does not wait. */
static inline void
rig_turn(es_loop *loop)
{
	es_loop_stop(loop);
	assert_int_equal(es_loop_run(loop), 0);
}

#endif
