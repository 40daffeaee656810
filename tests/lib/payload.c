#include "tests/lib/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN_MAX 500

static uint64_t
next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *state >> 33;
}

#define WORD(text)                                                             \
	{                                                                      \
		text, sizeof(text) - 1                                         \
	}

/* What may stand in a text; no piece of it is cut. */
static const struct word {
	const char *text;
	size_t len;
} words[] = { WORD("x"), WORD("\""), WORD("\\"), WORD("\n"), WORD("\r"),
	WORD("\r\n"), WORD("\t"), WORD("\x01"), WORD("\x7f"),
	WORD("{\"a\":1.10}"), WORD("\xc3\xa4"), WORD("\xe2\x82\xac"),
	WORD("\xf0\x9f\x91\x82"), WORD(" "), WORD("data: "), WORD("\n\n") };

static void
put_text(uint8_t *at, uint8_t *end, uint64_t *state)
{
	while (at < end) {
		size_t run = next(state) % RUN_MAX + 1;
		uint64_t style = next(state) % 3;

		if (run > (size_t)(end - at))
			run = (size_t)(end - at);
		if (style == 0) {
			memset(at, 'z', run);
			at += run;
		}
		for (; style == 1 && run > 0; run--)
			*at++ = (uint8_t)(' ' + next(state) % 95);
		for (; style == 2 && run > 0 && at < end; run--) {
			const struct word *word = &words[next(state) % 16];

			if (word->len <= (size_t)(end - at)) {
				memcpy(at, word->text, word->len);
				at += word->len;
			}
		}
	}
}

static void
put_bytes(uint8_t *at, uint8_t *end, uint64_t *state)
{
	while (at < end) {
		size_t run = next(state) % RUN_MAX + 1;
		bool same = next(state) % 2 == 0;

		for (; run > 0 && at < end; run--)
			*at++ = same ? 7 : (uint8_t)next(state);
	}
}

/* An array of a string and numbers, with white space of every sort. */
static void
put_json(uint8_t *at, uint8_t *end, uint64_t *state)
{
	static const char tail[] = "\",\r\n\t1.10, 1e400,\r{}\n]";

	assert_true((size_t)(end - at) >= strlen(tail));
	end -= strlen(tail);
	while (at < end) {
		uint64_t letter = next(state) % 40;

		*at++ = (uint8_t)('a' + (letter < 26 ? letter : 0));
	}
	memcpy(end, tail, strlen(tail));
}

void
payload_make(struct buffer *out, enum message_kind kind, const char *channel,
    int64_t offset, size_t len)
{
	static const uint8_t nothing[64 * 1024];
	uint64_t state = (uint64_t)offset * 31 + (uint64_t)channel[0] + len;
	char head[64];
	size_t head_len = (size_t)snprintf(head, sizeof(head), "%s%s:%-12lld",
	    kind == MESSAGE_JSON ? "[\"" : "", channel, (long long)offset);

	assert_true(len >= head_len);
	buffer_clear(out);
	while (out->len < len) {
		size_t n = len - out->len;

		assert_int_equal(
		    buffer_append(out, nothing,
			n < sizeof(nothing) ? n : sizeof(nothing), len),
		    0);
	}
	memcpy(out->data, head, head_len);
	if (kind == MESSAGE_TEXT)
		put_text(out->data + head_len, out->data + len, &state);
	else if (kind == MESSAGE_JSON)
		put_json(out->data + head_len, out->data + len, &state);
	else
		put_bytes(out->data + head_len, out->data + len, &state);
}

void
payload_lines(struct buffer *payload)
{
	uint8_t *data = payload->data;
	size_t to = 0;

	for (size_t at = 0; at < payload->len; at++) {
		if (data[at] == '\r' && at + 1 < payload->len &&
		    data[at + 1] == '\n')
			continue;
		data[to++] = data[at] == '\r' ? '\n' : data[at];
	}
	payload->len = to;
}
