#ifndef DAEMON_LOOP_CONTEXT_H
#define DAEMON_LOOP_CONTEXT_H

/*
 * context: a second stack and the switch to it and back.
 *
 * Life      start -> enter -> (leave -> enter)* -> end -> release.
 * Memory    CONTEXT_STACK_BYTES mapped and a guard page below; what was used
 *           once is kept in a cache, at most CONTEXT_CACHE_MAX of them.
 * Threads   A context is entered and released on the thread it was started
 *           on; so is a cache.
 */

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define CONTEXT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONTEXT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CONTEXT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CONTEXT_TSAN 1
#endif
#endif

#if defined(CONTEXT_ASAN) || defined(CONTEXT_TSAN)
#define CONTEXT_STACK_BYTES (256 * 1024) /* their frames are larger */
#else
#define CONTEXT_STACK_BYTES (64 * 1024)
#endif
#define CONTEXT_CACHE_MAX 64

struct context_stack;

struct context_cache {
	struct context_stack *first;
	unsigned count;
};

struct context {
	struct context_stack *stack; /* NULL: not started, or released */
	void *here; /* where it goes on */
	void *back; /* who entered it */
	void (*fn)(void *arg);
	void *arg;
#ifdef CONTEXT_ASAN
	void *fake_here;
	const void *back_bottom;
	size_t back_size;
#endif
#ifdef CONTEXT_TSAN
	void *fiber_here, *fiber_back;
#endif
};

/* fn(arg) will run at the first enter.  -ENOMEM: no stack. */
int context_start(struct context *context, struct context_cache *cache,
    void (*fn)(void *arg), void *arg);

/* Runs it until it leaves or ends. */
void context_enter(struct context *context);

/* From inside: back to who entered it; returns at the next enter. */
void context_leave(struct context *context);

/* From inside, instead of returning from fn: it is not entered again. */
_Noreturn void context_end(struct context *context);

/* It has ended, or was never entered: the stack is free. */
void context_release(struct context *context, struct context_cache *cache);

void context_cache_clear(struct context_cache *cache);

#endif
