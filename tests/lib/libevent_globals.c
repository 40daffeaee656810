/*
 * libevent_globals: libevent's variables are not looked at by helgrind.
 *
 * libevent 2.1 writes a 1 into event_debug_mode_too_late, a static variable,
 * whenever an event is added or deleted or a base is made, on whichever thread
 * that is, and without a lock: the value is always the same.  It has no name
 * outside, so it is found as part of what the library can write.  What is on
 * the heap - bases, events - is checked as everything else is.
 */

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>

static int
ignore_variables(struct dl_phdr_info *info, size_t size, void *arg)
{
	size_t i;

	(void)size;
	(void)arg;
	if (!info->dlpi_name || !strstr(info->dlpi_name, "libevent_core"))
		return 0;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + part->p_vaddr;

		if (part->p_type == PT_LOAD && (part->p_flags & PF_W))
			VALGRIND_HG_DISABLE_CHECKING(begin, part->p_memsz);
	}
	return 0;
}

static __attribute__((constructor)) void
ignore_libevents(void)
{
	if (RUNNING_ON_VALGRIND)
		(void)dl_iterate_phdr(ignore_variables, NULL);
}

#endif
#endif
