/*
 * The inside of a JSON string, decoded where it stands: no escape is shorter
 * than what it stands for, so what is written never overtakes what is read.
 *
 * The grammar has been checked (json.c), so an escape is whole.  What the
 * grammar lets through and UTF-8 has no bytes for is half a surrogate pair.
 */

#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define UNIT_BYTES 6 /* \uXXXX */

static unsigned
hex_value(char c)
{
	if (c <= '9')
		return (unsigned)(c - '0');
	return (unsigned)((c | 0x20) - 'a' + 10);
}

/* The UTF-16 unit of the \uXXXX at text. */
static uint32_t
unit_at(const char *text)
{
	uint32_t unit = 0;

	assert(text[0] == '\\' && text[1] == 'u');
	for (int i = 2; i < UNIT_BYTES; i++)
		unit = unit << 4 | hex_value(text[i]);
	assert(unit <= 0xffff);
	return unit;
}

static size_t
put_character(char *out, uint32_t c)
{
	assert(c < 0x110000);
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* The \u at text, both halves of a pair.  Bytes read, or -EILSEQ. */
static int
get_character(const char *text, size_t len, uint32_t *ret_character)
{
	uint32_t high = unit_at(text), low;

	if (high < 0xd800 || high > 0xdfff) {
		*ret_character = high;
		return UNIT_BYTES;
	}
	if (high > 0xdbff || len < 2 * UNIT_BYTES || text[UNIT_BYTES] != '\\' ||
	    text[UNIT_BYTES + 1] != 'u')
		return -EILSEQ;
	low = unit_at(text + UNIT_BYTES);
	if (low < 0xdc00 || low > 0xdfff)
		return -EILSEQ;
	*ret_character = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return 2 * UNIT_BYTES;
}

/* What \c stands for; c is not u. */
static char
named_character(char c)
{
	static const char letters[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	const char *at = strchr(letters, c);

	assert(c != '\0');
	return at ? meant[at - letters] : c; /* quote, slash, backslash */
}

int64_t
json_unescape(char *text, size_t len)
{
	size_t from = 0, to = 0;

	while (from < len) {
		const char *slash = memchr(text + from, '\\', len - from);
		size_t plain =
		    slash ? (size_t)(slash - text) - from : len - from;
		uint32_t character;
		int taken;

		if (plain > 0 && from != to)
			memmove(text + to, text + from, plain);
		from += plain;
		to += plain;
		if (!slash)
			break;
		assert(len - from >= 2);
		if (text[from + 1] != 'u') {
			text[to++] = named_character(text[from + 1]);
			from += 2;
			continue;
		}
		taken = get_character(text + from, len - from, &character);
		if (taken < 0)
			return taken;
		from += (size_t)taken;
		to += put_character(text + to, character);
		assert(to < from);
	}
	return (int64_t)to;
}
