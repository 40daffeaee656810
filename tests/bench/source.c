/*
 * The messages a bench publishes.  The filler of message n is a slice of one
 * table of pseudo-random letters that begins at a place depending on n, so a
 * byte of another message, or of this one at another place, does not pass for
 * the right one, and checking is two memcmp() a message.
 */

#include "tests/bench/source.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILLER_STARTS 4093u /* a prime: places a filler may begin at */
#define FILLER_STEP 1009u

_Static_assert(
    (SOURCE_LAG_MAX & (SOURCE_LAG_MAX - 1)) == 0, "heads are found by masking");
_Static_assert(SOURCE_BYTES_MIN > SOURCE_HEAD_BYTES, "a head fits");

static void
fill_table(char *table, size_t len)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint64_t state = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < len; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		table[i] = letters[state >> 32 & 63];
	}
}

int
source_init(struct source *source, uint32_t tag, size_t message_bytes)
{
	size_t table_bytes = FILLER_STARTS + message_bytes;

	assert(message_bytes >= SOURCE_BYTES_MIN);
	assert(message_bytes <= SOURCE_BYTES_MAX);
	*source = (struct source){ .tag = tag, .message_bytes = message_bytes };
	source->heads = calloc(SOURCE_LAG_MAX, sizeof(*source->heads));
	source->filler = malloc(table_bytes);
	if (!source->heads || !source->filler) {
		source_fini(source);
		return -ENOMEM;
	}
	fill_table(source->filler, table_bytes);
	return 0;
}

void
source_fini(struct source *source)
{
	free(source->heads);
	free(source->filler);
	*source = (struct source){ 0 };
}

static char *
put_hex(char *out, uint64_t value, int digits)
{
	for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
		*out++ = "0123456789abcdef"[value >> shift & 15];
	*out++ = ' ';
	return out;
}

static struct source_head *
head_of(const struct source *source, uint64_t sequence)
{
	return &source->heads[sequence & (SOURCE_LAG_MAX - 1)];
}

static const char *
filler_of(const struct source *source, uint64_t sequence)
{
	return source->filler + sequence * FILLER_STEP % FILLER_STARTS;
}

void
source_make(struct source *source, int64_t sent_us, char *out)
{
	struct source_head *head = head_of(source, source->next);
	char *end;

	assert(sent_us >= 0);
	end = put_hex(head->text, source->tag, 8);
	end = put_hex(end, source->next, 16);
	end = put_hex(end, (uint64_t)sent_us, 16);
	assert(end == head->text + SOURCE_HEAD_BYTES);
	head->sent_us = sent_us;

	memcpy(out, head->text, SOURCE_HEAD_BYTES);
	memcpy(out + SOURCE_HEAD_BYTES, filler_of(source, source->next),
	    source->message_bytes - SOURCE_HEAD_BYTES);
	source->next++;
}

bool
source_check(const struct source *source, uint64_t sequence, size_t at,
    const void *data, size_t len)
{
	const char *from = data;

	if (sequence >= source->next ||
	    source->next - sequence > SOURCE_LAG_MAX ||
	    at > source->message_bytes || len > source->message_bytes - at)
		return false;
	if (at < SOURCE_HEAD_BYTES) {
		size_t n = SOURCE_HEAD_BYTES - at;

		if (n > len)
			n = len;
		if (memcmp(from, head_of(source, sequence)->text + at, n) != 0)
			return false;
		from += n;
		at += n;
		len -= n;
	}
	return len == 0 ||
	       memcmp(from,
		   filler_of(source, sequence) + at - SOURCE_HEAD_BYTES,
		   len) == 0;
}

int64_t
source_sent_us(const struct source *source, uint64_t sequence)
{
	assert(sequence < source->next);
	assert(source->next - sequence <= SOURCE_LAG_MAX);
	return head_of(source, sequence)->sent_us;
}
