/*
 * JSON of tokens, without a copy and without memory: an object's members where
 * they stand, strings decoded in place, dates in microseconds.
 *
 * What can go wrong: libraries read some JSON in different ways, and whoever
 * made a token may have meant another way than ours.  So a name twice, text
 * that is not UTF-8 or half a character is no object, and a string with a NUL
 * is none.
 *
 * Why not jansson: out of memory it leaves bytes out of a string and says
 * nothing (2.14, strings of more than 15 bytes), and here strings are rights.
 */

#include "daemon/auth/auth_internal.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static bool
is_name(const struct json_member *member, const char *name, size_t len)
{
	return member->key_len == len && memcmp(member->key, name, len) == 0;
}

static bool
has_name(const struct object *object, const struct json_member *member)
{
	for (size_t i = 0; i < object->count; i++)
		if (is_name(&object->members[i], member->key, member->key_len))
			return true;
	return false;
}

/* Escapes in names are taken out, where they stand. */
static int
add_member(struct object *object, struct json_member *member)
{
	int64_t len = json_unescape(member->key, member->key_len);

	if (len < 0 || object->count == TOKEN_MEMBERS_MAX)
		return -EBADMSG;
	member->key_len = (size_t)len;
	if (has_name(object, member))
		return -EBADMSG;
	object->members[object->count++] = *member;
	return 0;
}

int
object_read(uint8_t *text, size_t len, struct object *ret_object)
{
	struct json_members members;
	struct json_member member;
	int more;

	ret_object->count = 0;
	if (!utf8_valid(text, len) ||
	    json_members_begin(&members, text, len, JSON_DEPTH_MAX) < 0)
		return -EBADMSG;
	while ((more = json_members_next(&members, &member)) > 0)
		if (add_member(ret_object, &member) < 0)
			return -EBADMSG;
	return more < 0 ? -EBADMSG : 0;
}

const struct json_member *
object_get(const struct object *object, const char *name)
{
	for (size_t i = 0; i < object->count; i++)
		if (is_name(&object->members[i], name, strlen(name)))
			return &object->members[i];
	return NULL;
}

/* Strings */

/* Decodes the inside of a string; false: half a character, or a NUL. */
static bool
decode(char *text, size_t *len)
{
	int64_t decoded = json_unescape(text, *len);

	if (decoded < 0 || memchr(text, '\0', (size_t)decoded) != NULL)
		return false;
	*len = (size_t)decoded;
	return true;
}

bool
string_take(const struct json_member *member, char **ret_text, size_t *ret_len)
{
	return json_member_string(member, ret_text, ret_len) &&
	       decode(*ret_text, ret_len);
}

int
string_next(struct string_array *array, char **ret_text, size_t *ret_len)
{
	uint8_t *at = array->at;

	/* It is JSON, so that before an element there are these only. */
	while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n' ||
	       *at == ',')
		at++;
	if (*at == ']')
		return 0;
	if (*at != '"')
		return -EBADMSG;
	*ret_text = (char *)++at;
	while (*at != '"')
		at += *at == '\\' ? 2 : 1;
	*ret_len = (size_t)((char *)at - *ret_text);
	array->at = at + 1;
	return decode(*ret_text, ret_len) ? 1 : -EBADMSG;
}

bool
string_array_begin(
    const struct json_member *member, struct string_array *ret_array)
{
	if (member->value[0] != '[')
		return false;
	ret_array->at = member->value + 1;
	return true;
}

/* Dates */

#define MANTISSA_MAX (INT64_MAX / 10 - 1)

struct number {
	int64_t mantissa;
	int64_t scale; /* the power of ten it is to be multiplied by */
};

/* Digits beyond what fits are zeroes: far below a microsecond, or far off. */
static const uint8_t *
take_digits(const uint8_t *at, const uint8_t *end, struct number *number,
    int64_t scale_of_digit)
{
	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		if (number->mantissa >= MANTISSA_MAX / 10) {
			number->scale += 1 + scale_of_digit;
			continue;
		}
		number->mantissa = number->mantissa * 10 + (*at - '0');
		number->scale += scale_of_digit;
	}
	return at;
}

/* e+12; what is beyond any date is cut, so that it stays small. */
static int64_t
take_exponent(const uint8_t *at, const uint8_t *end)
{
	const bool negative = at < end && *at == '-';
	int64_t exponent = 0;

	for (at += at < end && (*at == '-' || *at == '+'); at < end; at++)
		if (exponent < 2 * TOKEN_BYTES_MAX)
			exponent = exponent * 10 + (*at - '0');
	return negative ? -exponent : exponent;
}

/* mantissa * 10^scale, towards zero. */
static bool
put_scale(struct number number, int64_t *ret_value)
{
	int64_t value = number.mantissa;

	for (; number.scale < 0 && value > 0; number.scale++)
		value /= 10;
	for (; number.scale > 0 && value > 0; number.scale--) {
		if (value > DATE_US_MAX)
			return false;
		value *= 10;
	}
	*ret_value = value;
	return value <= DATE_US_MAX;
}

/*
 * Not strtod(): a plugin may have set a locale, and then 0.5 is 0.  The value
 * is JSON, so what begins as a number is one.
 */
bool
date_take(const struct json_member *member, int64_t *ret_us)
{
	const uint8_t *at = member->value, *end = at + member->value_len;
	const bool negative = *at == '-';
	struct number number = { .scale = 6 };
	int64_t us;

	at += negative;
	if (at == end || *at < '0' || *at > '9')
		return false;
	at = take_digits(at, end, &number, 0);
	if (at < end && *at == '.')
		at = take_digits(at + 1, end, &number, -1);
	if (at < end)
		number.scale += take_exponent(at + 1, end);
	if (!put_scale(number, &us))
		return false;
	*ret_us = negative ? -us : us;
	return true;
}
