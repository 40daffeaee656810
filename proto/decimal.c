/*
 * Numbers from outside.  strtoll() also takes blanks, signs, and whatever
 * follows, a NUL that was "%00" not least.
 */

#include "proto/decimal.h"

#include <errno.h>

int
decimal_get(const char *text, size_t len, int64_t *ret_value)
{
	int64_t value = 0;
	int error = len > 0 ? 0 : -EINVAL;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, text[i] - '0', &value))
			error = -ERANGE; /* of digits alone, so far */
	}
	if (error == 0)
		*ret_value = value;
	return error;
}
