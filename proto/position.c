/*
 * Positions and `from=` arguments.  Exactly one spelling of each position is
 * taken, so that two that are equal are equal as text too: consumers compare
 * and store them as strings.
 */

#include "proto/position.h"
#include "proto/decimal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define EPOCH_DIGITS 16

size_t
position_put(
    char out[static POSITION_TEXT_MAX], const struct position *position)
{
	static const char hex[] = "0123456789abcdef";
	char digits[20];
	uint64_t epoch = position->epoch;
	int64_t offset = position->offset;
	size_t len, n = 0;

	assert(offset >= 0);

	for (size_t i = EPOCH_DIGITS; i-- > 0; epoch >>= 4)
		out[i] = hex[epoch & 0xf];
	len = EPOCH_DIGITS;
	out[len++] = ':';
	do {
		digits[n++] = (char)('0' + offset % 10);
		offset /= 10;
	} while (offset > 0);
	while (n > 0)
		out[len++] = digits[--n];
	assert(len < POSITION_TEXT_MAX);
	out[len] = '\0';
	return len;
}

/* The one spelling of a number: 0, or without leading zeros. */
static int
number_get(const char *text, size_t len, int64_t *ret_value)
{
	if (len > 1 && text[0] == '0')
		return -EINVAL;
	return decimal_get(text, len, ret_value) < 0 ? -EINVAL : 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int
position_get(const char *text, size_t len, struct position *ret_position)
{
	uint64_t epoch = 0;
	int64_t offset;

	if (len < EPOCH_DIGITS + 2 || text[EPOCH_DIGITS] != ':')
		return -EINVAL;
	for (size_t i = 0; i < EPOCH_DIGITS; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return -EINVAL;
		epoch = epoch << 4 | (uint64_t)digit;
	}
	if (number_get(
		text + EPOCH_DIGITS + 1, len - EPOCH_DIGITS - 1, &offset) < 0)
		return -EINVAL;
	*ret_position = (struct position){ .epoch = epoch, .offset = offset };
	return 0;
}

int
from_get(const char *text, size_t len, struct from *ret_from)
{
	struct from from = { .kind = FROM_LIVE };
	int error = 0;

	if (len == 0) {
		from.kind = FROM_LIVE;
	} else if (len == 6 && memcmp(text, "oldest", 6) == 0) {
		from.kind = FROM_OLDEST;
	} else if (text[0] == '-') {
		from.kind = FROM_LAST;
		error = number_get(text + 1, len - 1, &from.count);
	} else {
		from.kind = FROM_POSITION;
		error = position_get(text, len, &from.position);
	}
	if (error < 0)
		return error;
	*ret_from = from;
	return 0;
}
