#ifndef DAEMON_LOOP_REFS_H
#define DAEMON_LOOP_REFS_H

/*
 * refs: reference counts, and what helgrind has to be told of atomics.
 *
 * TSan understands C11 atomics.  helgrind sees machine code, where an atomic
 * load is a load: it is told which fields are atomics, and where one of them
 * hands over what was written before.  Outside of valgrind that is one read
 * of a flag that is false.
 */

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#if defined(__has_include)
#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>
#define REFS_HELGRIND 1
#endif
#endif

extern bool refs_on_valgrind;

/* The n bytes at p are atomics: looking at them is no race. */
static inline void
refs_are_atomic(const volatile void *p, size_t n)
{
#ifdef REFS_HELGRIND
	if (refs_on_valgrind)
		VALGRIND_HG_DISABLE_CHECKING(p, n);
#endif
	(void)p;
	(void)n;
}

/* What this thread wrote so far belongs to whoever receives p. */
static inline void
refs_publish(const volatile void *p)
{
#ifdef REFS_HELGRIND
	if (refs_on_valgrind)
		ANNOTATE_HAPPENS_BEFORE(p);
#endif
	(void)p;
}

static inline void
refs_receive(const volatile void *p)
{
#ifdef REFS_HELGRIND
	if (refs_on_valgrind)
		ANNOTATE_HAPPENS_AFTER(p);
#endif
	(void)p;
}

static inline void
refs_take(_Atomic unsigned *refs)
{
	unsigned before =
	    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);

	assert(before > 0);
	(void)before;
}

/* True: that was the last one, and all that others wrote is seen. */
static inline bool
refs_drop(_Atomic unsigned *refs)
{
	unsigned before;

	refs_publish(refs);
	before = atomic_fetch_sub(refs, 1);
	assert(before > 0);
	if (before > 1)
		return false;
	refs_receive(refs);
	return true;
}

#endif
