#ifndef PROTO_DECIMAL_H
#define PROTO_DECIMAL_H

/*
 * decimal: a number in digits alone: no sign, no blank, nothing behind it.
 *
 * Threads  Pure function: any thread.
 */

#include <stddef.h>
#include <stdint.h>

/* -EINVAL: something else; -ERANGE: beyond int64_t. */
int decimal_get(const char *text, size_t len, int64_t *ret_value);

#endif
