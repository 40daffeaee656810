/*
 * context: boost.context's two assembler functions, 6 ns a switch; with
 * ES_UCONTEXT swapcontext() instead, which asks the kernel for the signal
 * mask twice and takes 250 ns.  Only the C symbols of the static archive
 * are used, so nothing of C++ is linked.
 *
 * Tools that shadow the stack are told of every switch.
 */

#include "daemon/loop/context.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/memory.h"

#ifdef CONTEXT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CONTEXT_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef ES_UCONTEXT
#include <ucontext.h>
#endif

/* At the upper end of what it describes. */
struct context_stack {
	struct context_stack *next;
	uint8_t *map;
	size_t map_bytes;
	size_t guard_bytes;
	uintptr_t valgrind_id;
#ifdef ES_UCONTEXT
	ucontext_t here, back;
#endif
	/* Keeps what lies below aligned for any use. */
	_Alignas(64) char end[];
};

static uint8_t *
stack_bottom(const struct context_stack *stack)
{
	return stack->map + stack->guard_bytes;
}

static size_t
stack_bytes(const struct context_stack *stack)
{
	return (size_t)((const uint8_t *)stack - stack_bottom(stack));
}

/*
 * Tells valgrind of a stack, or that it has gone; does nothing elsewhere.
 * Written out here so that it does not depend on valgrind's header being
 * there when this is compiled: the sequence is its stable interface.
 */
static uintptr_t
stack_tell_valgrind(uintptr_t request, uintptr_t a, uintptr_t b)
{
#if defined(__x86_64__)
	volatile uintptr_t args[6] = { request, a, b, 0, 0, 0 };
	uintptr_t result = 0;

	__asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi\n\t"
			 "rolq $61, %%rdi; rolq $51, %%rdi\n\t"
			 "xchgq %%rbx, %%rbx"
			 : "=d"(result)
			 : "a"(&args[0]), "0"(result)
			 : "cc", "memory");
	return result;
#elif defined(__aarch64__)
	volatile uintptr_t args[6] = { request, a, b, 0, 0, 0 };
	uintptr_t result = 0;

	__asm__ volatile("mov x3, %1\n\t"
			 "mov x4, %2\n\t"
			 "ror x12, x12, #3; ror x12, x12, #13\n\t"
			 "ror x12, x12, #51; ror x12, x12, #61\n\t"
			 "orr x10, x10, x10\n\t"
			 "mov %0, x3"
			 : "=r"(result)
			 : "r"((uintptr_t)0), "r"(&args[0])
			 : "cc", "memory", "x3", "x4");
	return result;
#else
	(void)request;
	(void)a;
	(void)b;
	return 0;
#endif
}

#define VALGRIND_STACK_REGISTER 0x1501
#define VALGRIND_STACK_DEREGISTER 0x1502

static struct context_stack *
stack_map(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = CONTEXT_STACK_BYTES + page;
	struct context_stack *stack;
	uint8_t *map;

	if (memory_fault())
		return NULL;
	/* Anonymous: the descriptor is not looked at. */
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, 0, 0);
	if (map == MAP_FAILED)
		return NULL;
	/* Two mappings a stack: vm.max_map_count may be what is missing. */
	if (mprotect(map, page, PROT_NONE) < 0) {
		(void)munmap(map, bytes); /* ours */
		return NULL;
	}
	stack = (struct context_stack *)(void *)(map + bytes - sizeof(*stack));
	stack->map = map;
	stack->map_bytes = bytes;
	stack->guard_bytes = page;
	stack->valgrind_id = stack_tell_valgrind(VALGRIND_STACK_REGISTER,
	    (uintptr_t)stack_bottom(stack), (uintptr_t)stack);
	return stack;
}

static void
stack_unmap(struct context_stack *stack)
{
	(void)stack_tell_valgrind(
	    VALGRIND_STACK_DEREGISTER, stack->valgrind_id, 0);
	(void)munmap(stack->map, stack->map_bytes); /* ours */
}

static struct context_stack *
stack_get(struct context_cache *cache)
{
	struct context_stack *stack = cache->first;

	if (!stack)
		return stack_map();
	cache->first = stack->next;
	cache->count--;
#ifdef CONTEXT_ASAN
	/* The frames of the last user were left, not returned from. */
	__asan_unpoison_memory_region(stack_bottom(stack), stack_bytes(stack));
#endif
	return stack;
}

void
context_cache_clear(struct context_cache *cache)
{
	while (cache->first) {
		struct context_stack *stack = cache->first;

		cache->first = stack->next;
		stack_unmap(stack);
	}
	cache->count = 0;
}

/*
 * The tools' side of a switch: before it, and after it in the new place.
 * Inlined, because TSan counts each function's entry and exit, and both have
 * to happen on the same stack.
 */
#define CONTEXT_INLINE static inline __attribute__((always_inline))

CONTEXT_INLINE void
context_will_enter(struct context *context, void **ret_fake)
{
#ifdef CONTEXT_ASAN
	__sanitizer_start_switch_fiber(ret_fake, stack_bottom(context->stack),
	    stack_bytes(context->stack));
#endif
#ifdef CONTEXT_TSAN
	context->fiber_back = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(context->fiber_here, 0);
#endif
	(void)context;
	(void)ret_fake;
}

CONTEXT_INLINE void
context_is_back(void *fake)
{
#ifdef CONTEXT_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	(void)fake;
}

CONTEXT_INLINE void
context_will_leave(struct context *context, bool for_good)
{
#ifdef CONTEXT_ASAN
	__sanitizer_start_switch_fiber(for_good ? NULL : &context->fake_here,
	    context->back_bottom, context->back_size);
#endif
#ifdef CONTEXT_TSAN
	__tsan_switch_to_fiber(context->fiber_back, 0);
#endif
	(void)context;
	(void)for_good;
}

CONTEXT_INLINE void
context_is_entered(struct context *context)
{
#ifdef CONTEXT_ASAN
	__sanitizer_finish_switch_fiber(
	    context->fake_here, &context->back_bottom, &context->back_size);
#endif
	(void)context;
}

#ifndef ES_UCONTEXT

struct transfer {
	void *from;
	void *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(
    void *stack_top, size_t stack_size, void (*fn)(struct transfer));

static void
context_main(struct transfer transfer)
{
	struct context *context = transfer.data;

	context->back = transfer.from;
	context_is_entered(context);
	context->fn(context->arg);
	context_end(context);
}

static void
context_make(struct context *context)
{
	context->here = make_fcontext(
	    context->stack, stack_bytes(context->stack), context_main);
}

static void
context_jump_in(struct context *context)
{
	context->here = jump_fcontext(context->here, context).from;
}

static void
context_jump_out(struct context *context)
{
	context->back = jump_fcontext(context->back, NULL).from;
}

#else

/* makecontext() passes ints; this is how a pointer gets in. */
static _Thread_local struct context *context_starting;

static void
context_main(void)
{
	struct context *context = context_starting;

	context_is_entered(context);
	context->fn(context->arg);
	context_end(context);
}

static void
context_make(struct context *context)
{
	ucontext_t *here = &context->stack->here;

	(void)getcontext(here); /* cannot fail */
	here->uc_stack.ss_sp = stack_bottom(context->stack);
	here->uc_stack.ss_size = stack_bytes(context->stack);
	here->uc_link = NULL;
	makecontext(here, context_main, 0);
}

static void
context_jump_in(struct context *context)
{
	context_starting = context;
	(void)swapcontext(&context->stack->back, &context->stack->here);
}

static void
context_jump_out(struct context *context)
{
	(void)swapcontext(&context->stack->here, &context->stack->back);
}

#endif

int
context_start(struct context *context, struct context_cache *cache,
    void (*fn)(void *arg), void *arg)
{
	struct context_stack *stack = stack_get(cache);

	if (!stack)
		return -ENOMEM;
	*context = (struct context){ .stack = stack, .fn = fn, .arg = arg };
#ifdef CONTEXT_TSAN
	context->fiber_here = __tsan_create_fiber(0);
#endif
	context_make(context);
	return 0;
}

void
context_enter(struct context *context)
{
	void *fake = NULL;

	assert(context->stack);
	context_will_enter(context, &fake);
	context_jump_in(context);
	context_is_back(fake);
}

void
context_leave(struct context *context)
{
	context_will_leave(context, false);
	context_jump_out(context);
	context_is_entered(context);
}

_Noreturn void
context_end(struct context *context)
{
	context_will_leave(context, true);
	context_jump_out(context);
	assert(!"an ended context was entered");
	__builtin_unreachable();
}

void
context_release(struct context *context, struct context_cache *cache)
{
	struct context_stack *stack = context->stack;

	if (!stack)
		return;
	context->stack = NULL;
#ifdef CONTEXT_TSAN
	__tsan_destroy_fiber(context->fiber_here);
#endif
	if (cache->count == CONTEXT_CACHE_MAX) {
		stack_unmap(stack);
		return;
	}
	stack->next = cache->first;
	cache->first = stack;
	cache->count++;
}
