/*
 * memory: one relaxed atomic read per allocation is what the hook costs when
 * it is off.
 *
 * A switch that is always compiled in, rather than a wrapped malloc of the
 * test build, because then the tests run the very objects that are shipped.
 */

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/memory.h"

static _Atomic int64_t memory_countdown; /* 0: off */
static atomic_bool memory_failed;

bool
memory_fault(void)
{
	if (atomic_load_explicit(&memory_countdown, memory_order_relaxed) == 0)
		return false;
	if (atomic_fetch_sub(&memory_countdown, 1) != 1)
		return false;
	atomic_store(&memory_failed, true);
	return true;
}

void *
memory_alloc(size_t n)
{
	if (memory_fault())
		return NULL;
	return malloc(n ? n : 1);
}

void *
memory_zalloc(size_t n)
{
	if (memory_fault())
		return NULL;
	return calloc(1, n ? n : 1);
}

void *
memory_realloc(void *p, size_t n)
{
	if (memory_fault())
		return NULL;
	return realloc(p, n ? n : 1);
}

void *
memory_dup(const void *p, size_t n)
{
	void *copy = memory_alloc(n);

	assert(p || n == 0);
	if (copy && n > 0)
		memcpy(copy, p, n);
	return copy;
}

void
memory_free(void *p)
{
	free(p);
}

void
memory_fail_nth(int64_t n)
{
	assert(n >= 0);
	atomic_store(&memory_failed, false);
	atomic_store(&memory_countdown, n);
}

bool
memory_fail_seen(void)
{
	return atomic_load(&memory_failed);
}
