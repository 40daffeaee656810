/*
 * A scanner that says whether bytes are one JSON text, and a writer of strings.
 *
 * The happy path: UTF-8 is checked over the whole at once, where ASCII goes
 * eight bytes at a time; then the grammar is followed with one bit per level of
 * nesting (array or object), and the plain insides of strings go eight bytes
 * at a time again.  Bytes over 0x7f may stand in strings only, so the second
 * pass need not know UTF-8.
 *
 * Failure: when the text is not UTF-8, the grammar is followed up to the bad
 * byte only, so that the earlier of the two faults is the one that is told.
 *
 * Escapes of lone surrogates (\ud800) are in RFC 8259's grammar, and taken:
 * payloads are passed on as they are, it is not for us to read them.
 */

#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define EACH_BYTE UINT64_C(0x0101010101010101)
#define TOP_BITS UINT64_C(0x8080808080808080)
#define KIND_BITS 64
#define DEPTH_LIMIT (JSON_DEPTH_MAX + JSON_ENVELOPE_DEPTH_MAX)

struct scan {
	const uint8_t *data;
	size_t at, len;
	unsigned depth, depth_max;
	uint64_t objects[DEPTH_LIMIT / KIND_BITS + 1]; /* a bit per level */
};

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* after [ */
	EXPECT_KEY,
	EXPECT_KEY_OR_END, /* after { */
	EXPECT_COMMA_OR_END,
};

/*
 * The top bit of the first byte that cannot stand plainly in a string: quote,
 * backslash, control characters; 0 if there is none.  Bits of later bytes may
 * be set in error, a borrow runs upwards.  Bytes over 0x7f are not looked for.
 */
static uint64_t
special_bytes(uint64_t word)
{
	uint64_t quote = word ^ EACH_BYTE * '"';
	uint64_t slash = word ^ EACH_BYTE * '\\';

	return ((quote - EACH_BYTE) | (slash - EACH_BYTE) |
		   (word - EACH_BYTE * 0x20)) &
	       ~word & TOP_BITS;
}

size_t
json_plain_bytes(const void *bytes, size_t len)
{
	const uint8_t *data = bytes;
	size_t i = 0;
	uint64_t word;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		word = special_bytes(le64toh(word));
		if (word)
			return i + (size_t)__builtin_ctzll(word) / 8;
	}
	while (i < len && data[i] >= 0x20 && data[i] != '"' && data[i] != '\\')
		i++;
	return i;
}

static void
skip_space(struct scan *scan)
{
	while (scan->at < scan->len) {
		uint8_t c = scan->data[scan->at];

		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			break;
		scan->at++;
	}
}

static bool
hex_digit(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	       (c >= 'A' && c <= 'F');
}

/* Behind the backslash.  All scan_*: 0, or -EBADMSG with scan->at there. */
static int
scan_escape(struct scan *scan)
{
	uint8_t c;

	if (scan->at == scan->len)
		return -EBADMSG;
	c = scan->data[scan->at];
	if (c == '\0' || !strchr("\"\\/bfnrtu", c))
		return -EBADMSG;
	scan->at++;
	if (c != 'u')
		return 0;
	for (int i = 0; i < 4; i++, scan->at++)
		if (scan->at == scan->len || !hex_digit(scan->data[scan->at]))
			return -EBADMSG;
	return 0;
}

/* At the opening quote. */
static int
scan_string(struct scan *scan)
{
	assert(scan->data[scan->at] == '"');

	scan->at++;
	for (;;) {
		scan->at += json_plain_bytes(
		    scan->data + scan->at, scan->len - scan->at);
		if (scan->at == scan->len)
			return -EBADMSG;
		if (scan->data[scan->at] == '"') {
			scan->at++;
			return 0;
		}
		if (scan->data[scan->at] != '\\')
			return -EBADMSG;
		scan->at++;
		if (scan_escape(scan) < 0)
			return -EBADMSG;
	}
}

static bool
digit_at(const struct scan *scan)
{
	return scan->at < scan->len && scan->data[scan->at] >= '0' &&
	       scan->data[scan->at] <= '9';
}

/* Takes c if it is next. */
static bool
take(struct scan *scan, char c)
{
	if (scan->at == scan->len || scan->data[scan->at] != (uint8_t)c)
		return false;
	scan->at++;
	return true;
}

static int
scan_digits(struct scan *scan)
{
	if (!digit_at(scan))
		return -EBADMSG;
	while (digit_at(scan))
		scan->at++;
	return 0;
}

static int
scan_number(struct scan *scan)
{
	(void)take(scan, '-'); /* may be there or not */
	if (!take(scan, '0') && scan_digits(scan) < 0)
		return -EBADMSG;
	if (take(scan, '.') && scan_digits(scan) < 0)
		return -EBADMSG;
	if (take(scan, 'e') || take(scan, 'E')) {
		if (!take(scan, '+'))
			(void)take(scan, '-'); /* may be there or not */
		return scan_digits(scan);
	}
	return 0;
}

static int
scan_word(struct scan *scan, const char *word)
{
	for (; *word; word++)
		if (!take(scan, *word))
			return -EBADMSG;
	return 0;
}

static int
push(struct scan *scan, bool object)
{
	unsigned level = scan->depth;
	uint64_t bit;

	if (level == scan->depth_max)
		return -E2BIG;
	bit = UINT64_C(1) << level % KIND_BITS;
	if (object)
		scan->objects[level / KIND_BITS] |= bit;
	else
		scan->objects[level / KIND_BITS] &= ~bit;
	scan->depth++;
	scan->at++;
	return 0;
}

static bool
in_object(const struct scan *scan)
{
	unsigned level = scan->depth - 1;

	assert(scan->depth > 0);
	return scan->objects[level / KIND_BITS] >> level % KIND_BITS & 1;
}

static int
scan_value(struct scan *scan, enum expect *ret_expect)
{
	*ret_expect = EXPECT_COMMA_OR_END;
	switch (scan->data[scan->at]) {
	case '{':
		*ret_expect = EXPECT_KEY_OR_END;
		return push(scan, true);
	case '[':
		*ret_expect = EXPECT_VALUE_OR_END;
		return push(scan, false);
	case '"':
		return scan_string(scan);
	case 't':
		return scan_word(scan, "true");
	case 'f':
		return scan_word(scan, "false");
	case 'n':
		return scan_word(scan, "null");
	default:
		return scan_number(scan);
	}
}

static int
scan_key(struct scan *scan, enum expect *ret_expect)
{
	if (scan->data[scan->at] != '"' || scan_string(scan) < 0)
		return -EBADMSG;
	skip_space(scan);
	if (!take(scan, ':'))
		return -EBADMSG;
	*ret_expect = EXPECT_VALUE;
	return 0;
}

/* The bracket that ends the innermost level, if it is next. */
static bool
take_end(struct scan *scan)
{
	if (scan->depth == 0 || !take(scan, in_object(scan) ? '}' : ']'))
		return false;
	scan->depth--;
	return true;
}

static int
scan_comma_or_end(struct scan *scan, enum expect *ret_expect)
{
	if (take_end(scan))
		return 0;
	if (scan->depth == 0 || !take(scan, ','))
		return -EBADMSG;
	*ret_expect = in_object(scan) ? EXPECT_KEY : EXPECT_VALUE;
	return 0;
}

static int
scan_next(struct scan *scan, enum expect *expect)
{
	bool may_end =
	    *expect == EXPECT_VALUE_OR_END || *expect == EXPECT_KEY_OR_END;

	if (may_end && take_end(scan)) {
		*expect = EXPECT_COMMA_OR_END;
		return 0;
	}
	switch (*expect) {
	case EXPECT_VALUE:
	case EXPECT_VALUE_OR_END:
		return scan_value(scan, expect);
	case EXPECT_KEY:
	case EXPECT_KEY_OR_END:
		return scan_key(scan, expect);
	case EXPECT_COMMA_OR_END:
		break;
	}
	return scan_comma_or_end(scan, expect);
}

/* One value, from the white space before it to its last byte. */
static int
scan_whole_value(struct scan *scan)
{
	enum expect expect = EXPECT_VALUE;

	assert(scan->depth == 0);
	do {
		int error;

		skip_space(scan);
		if (scan->at == scan->len)
			return -EBADMSG;
		error = scan_next(scan, &expect);
		if (error < 0)
			return error;
	} while (scan->depth > 0 || expect != EXPECT_COMMA_OR_END);
	assert(scan->at <= scan->len);
	return 0;
}

static int
scan_text(struct scan *scan)
{
	int error = scan_whole_value(scan);

	if (error < 0)
		return error;
	skip_space(scan);
	return scan->at == scan->len ? 0 : -EBADMSG;
}

/* Where the first byte is that is not UTF-8; len: the last one is not whole. */
static size_t
bad_utf8_at(const uint8_t *data, size_t len)
{
	struct utf8_state state = UTF8_STATE_INIT;

	for (size_t i = 0; i < len; i++)
		if (!utf8_feed(&state, data + i, 1))
			return i;
	return len;
}

int
json_check(const void *data, size_t len, size_t *ret_at)
{
	struct scan scan = {
		.data = data, .len = len, .depth_max = JSON_DEPTH_MAX
	};
	bool utf8 = utf8_valid(data, len);
	int error;

	if (!utf8)
		scan.len = bad_utf8_at(data, len);
	error = scan_text(&scan);
	if (error == 0 && !utf8)
		error = -EBADMSG;
	assert(scan.at <= len);
	if (error == -EBADMSG && ret_at)
		*ret_at = scan.at;
	return error;
}

size_t
json_put_escape(char out[static JSON_ESCAPE_MAX], uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	static const char named[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	const char *at = c != '\0' ? strchr(named, c) : NULL;

	out[0] = '\\';
	if (at) {
		out[1] = letters[at - named];
		return 2;
	}
	memcpy(out + 1, "u00", 3);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 0xf];
	return JSON_ESCAPE_MAX;
}

int
json_members_begin(
    struct json_members *members, void *text, size_t len, unsigned depth_max)
{
	struct scan scan = { .data = text, .len = len };

	assert(text || len == 0);
	assert(depth_max <= DEPTH_LIMIT);
	skip_space(&scan);
	if (!take(&scan, '{'))
		return -EBADMSG;
	*members = (struct json_members){ .text = text,
		.at = scan.at,
		.len = len,
		.depth_max = depth_max,
		.first = true };
	return 0;
}

/* Behind the last member: nothing may follow but white space. */
static int
scan_members_end(struct scan *scan)
{
	skip_space(scan);
	return scan->at == scan->len ? 0 : -EBADMSG;
}

static int
scan_member(struct scan *scan, bool first, struct json_member *ret_member)
{
	uint8_t *text = ret_member->value;
	size_t key, value;
	int error;

	skip_space(scan);
	if (take(scan, '}'))
		return scan_members_end(scan);
	if (!first && !take(scan, ','))
		return -EBADMSG;
	skip_space(scan);
	key = scan->at + 1;
	if (scan->at == scan->len || scan->data[scan->at] != '"' ||
	    scan_string(scan) < 0)
		return -EBADMSG;
	ret_member->key = (char *)text + key;
	ret_member->key_len = scan->at - 1 - key;
	skip_space(scan);
	if (!take(scan, ':'))
		return -EBADMSG;
	skip_space(scan);
	value = scan->at;
	error = scan_whole_value(scan);
	if (error < 0)
		return error;
	ret_member->value = text + value;
	ret_member->value_len = scan->at - value;
	return 1;
}

int
json_members_next(struct json_members *members, struct json_member *ret_member)
{
	struct json_member member = { .value = members->text };
	struct scan scan = { .data = members->text,
		.at = members->at,
		.len = members->len,
		.depth_max = members->depth_max };
	int result = scan_member(&scan, members->first, &member);

	assert(scan.at <= members->len);
	members->at = scan.at;
	members->first = false;
	if (result == 1)
		*ret_member = member;
	return result;
}

bool
json_member_string(
    const struct json_member *member, char **ret_text, size_t *ret_len)
{
	if (member->value[0] != '"')
		return false;
	assert(member->value_len >= 2);
	*ret_text = (char *)member->value + 1;
	*ret_len = member->value_len - 2;
	return true;
}

bool
json_member_integer(const struct json_member *member, int64_t *ret_value)
{
	const uint8_t *digits = member->value;
	size_t len = member->value_len;
	bool negative = digits[0] == '-';
	int64_t value = 0;

	if (negative && (len < 2 || digits[1] == '0'))
		return false;
	for (size_t i = negative; i < len; i++) {
		int digit = digits[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(
			value, negative ? -digit : digit, &value))
			return false;
	}
	*ret_value = value;
	return true;
}

/* Puts at *at what fits, and counts what does not as well. */
static void
put(char *out, size_t out_size, size_t *at, const void *data, size_t len)
{
	if (*at < out_size) {
		size_t room = out_size - *at;

		memcpy(out + *at, data, len < room ? len : room);
	}
	*at += len;
}

size_t
json_put_string(char *out, size_t out_size, const char *text, size_t text_len)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t need = 0, i = 0;

	assert(out || out_size == 0);

	put(out, out_size, &need, "\"", 1);
	while (i < text_len) {
		size_t plain = json_plain_bytes(bytes + i, text_len - i);
		char escaped[JSON_ESCAPE_MAX];

		if (plain > 0)
			put(out, out_size, &need, bytes + i, plain);
		i += plain;
		if (i == text_len)
			break;
		put(out, out_size, &need, escaped,
		    json_put_escape(escaped, bytes[i++]));
	}
	put(out, out_size, &need, "\"", 1);
	assert(need >= text_len + 2);
	return need;
}
