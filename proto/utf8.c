/*
 * UTF-8, one byte after the other, ASCII eight at a time.
 *
 * The state says what the next byte may be: how many bytes of the character
 * are missing, and the lowest and highest value of the next one.  Overlong
 * forms, surrogates and what lies beyond U+10FFFF differ from valid text in
 * the second byte already, so a range for that byte is all there is to know
 * and the fault is seen at the first byte that can be wrong.
 */

#include "proto/utf8.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#define ASCII_MASK UINT64_C(0x8080808080808080)
#define EXPECT(missing, low, high)                                             \
	((uint32_t)(missing) | (uint32_t)(low) << 8 | (uint32_t)(high) << 16)
#define MISSING(state) ((state)&0xff)
#define LOW(state) ((state) >> 8 & 0xff)
#define HIGH(state) ((state) >> 16 & 0xff)

/* What a first byte asks for; 0: it begins nothing. */
static uint32_t
expect_after(uint8_t first)
{
	if (first < 0xc2)
		return 0; /* a continuation, or overlong ASCII */
	if (first < 0xe0)
		return EXPECT(1, 0x80, 0xbf);
	if (first < 0xf0)
		return EXPECT(2, first == 0xe0 ? 0xa0 : 0x80,
		    first == 0xed ? 0x9f : 0xbf);
	if (first < 0xf5)
		return EXPECT(3, first == 0xf0 ? 0x90 : 0x80,
		    first == 0xf4 ? 0x8f : 0xbf);
	return 0;
}

/* How many bytes at the start are ASCII. */
static size_t
ascii_bytes(const uint8_t *data, size_t len)
{
	size_t i = 0;
	uint64_t word;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		word = le64toh(word) & ASCII_MASK;
		if (word)
			return i + (size_t)__builtin_ctzll(word) / 8;
	}
	while (i < len && data[i] < 0x80)
		i++;
	return i;
}

bool
utf8_feed(struct utf8_state *state, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint32_t expect = state->state;
	size_t i = 0;

	assert(MISSING(expect) <= 3);
	assert(data || len == 0);

	while (i < len) {
		if (expect == 0) {
			if (bytes[i] < 0x80) {
				i += ascii_bytes(bytes + i, len - i);
				continue;
			}
			expect = expect_after(bytes[i++]);
			if (expect == 0)
				return false;
			continue;
		}
		if (bytes[i] < LOW(expect) || bytes[i] > HIGH(expect))
			return false;
		i++;
		expect = MISSING(expect) == 1
			     ? 0
			     : EXPECT(MISSING(expect) - 1, 0x80, 0xbf);
	}
	state->state = expect;
	return true;
}

bool
utf8_complete(const struct utf8_state *state)
{
	return state->state == 0;
}

bool
utf8_valid(const void *data, size_t len)
{
	struct utf8_state state = UTF8_STATE_INIT;

	return utf8_feed(&state, data, len) && utf8_complete(&state);
}
