#ifndef TESTS_UNIT_RIG_NAME_H
#define TESTS_UNIT_RIG_NAME_H

/*
 * rig_name: what is different for a test in a build with ES_DEBUG.
 */

#include "daemon/loop/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* With ES_DEBUG a name is followed by the place it was given at. */
static inline bool
rig_is_name(const char *got, const char *name)
{
	const size_t n = strlen(name);

	return strncmp(got, name, n) == 0 &&
	       (got[n] == '\0' || strncmp(got + n, " at ", 4) == 0);
}

static inline void
rig_expect_name(const char *got, const char *name)
{
	if (!rig_is_name(got, name))
		assert_string_equal(got, name);
}

#ifdef ES_DEBUG
/* Tests misuse on purpose. */
static inline __attribute__((constructor)) void
rig_misuse(void)
{
	es_debug_aborts(false);
}
#endif

#endif
