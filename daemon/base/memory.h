#ifndef DAEMON_BASE_MEMORY_H
#define DAEMON_BASE_MEMORY_H

/*
 * memory: malloc() with a hook, so that tests can make any one call fail.
 *
 * Promise   NULL on failure, never an abort: running out of memory is an
 *           outcome every caller handles.  A size of 0 gives a pointer that
 *           can be freed.
 * Memory    What these give, memory_free() takes; it is plain malloc memory.
 * Threads   Every function: ANY_THREAD.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/threads.h"

void *memory_alloc(size_t n) ANY_THREAD;
void *memory_zalloc(size_t n) ANY_THREAD; /* filled with zeroes */

/* As realloc(): on failure p is untouched and still the caller's. */
void *memory_realloc(void *p, size_t n) ANY_THREAD;

/* A copy of n bytes at p.  p may be NULL when n is 0. */
void *memory_dup(const void *p, size_t n) ANY_THREAD;

void memory_free(void *p) ANY_THREAD; /* NULL: no-op */

/*
 * For tests: of the allocations from now on, in all threads, the n-th fails,
 * once (1 is the next one).  0 switches the hook off.
 */
void memory_fail_nth(int64_t n) ANY_THREAD;

/*
 * Whether this allocation is the one that fails: for what is allocated by
 * other means, pages for instance.  It is counted as one.
 */
bool memory_fault(void) ANY_THREAD;

/* Whether the failure that memory_fail_nth() asked for has happened. */
bool memory_fail_seen(void) ANY_THREAD;

#endif
