/*
 * lines: the happy path copies nothing: a line that lies within one piece of
 * the stream is told from where it is.  Only a line that spans pieces is put
 * together in `part`.
 *
 * - A line that is too long is told when its first byte too many comes, not at
 *   its end: a stream without newlines would never tell anything.
 * - No memory to put a line together: the whole line is lost and counted,
 *   because half a line would look like a line.
 */

#include "proto/lines.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void
lines_init(struct lines *lines, size_t max)
{
	assert(max > 0);
	*lines = (struct lines){ .max = max, .end = '\n' };
}

void
lines_fini(struct lines *lines)
{
	buffer_fini(&lines->part);
}

/*
 * How much of the first max bytes of a longer line is told: all, but for a
 * character at the end that the cut would halve.  Bytes that are no text are
 * cut where it falls.
 */
static size_t
lines_cut_len(const uint8_t *line, size_t max)
{
	struct utf8_state state = UTF8_STATE_INIT;
	size_t tail = 0;

	assert(max > 0);
	/* The first byte of a character has no other place than these. */
	while (tail < 3 && tail < max && (line[max - 1 - tail] & 0xc0) == 0x80)
		tail++;
	tail++;
	if (tail >= max || !utf8_valid(line, max - tail))
		return max;
	/* Whole, or wrong in any case: nothing to be saved. */
	if (!utf8_feed(&state, line + max - tail, tail) ||
	    utf8_complete(&state))
		return max;
	return max - tail;
}

static void
lines_forget_part(struct lines *lines)
{
	if (lines->part.size > LINES_KEPT_BYTES_MAX)
		buffer_fini(&lines->part);
	else
		buffer_clear(&lines->part);
}

/* The first max bytes of a line that goes on; its rest will be skipped. */
static void
lines_tell_cut(struct lines *lines, const uint8_t *line, line_fn fn, void *arg)
{
	size_t len = lines_cut_len(line, lines->max);

	assert(!lines->skipping);
	assert(len > 0);
	lines->cut++;
	lines->dropped_bytes += lines->max - len;
	lines->skipping = true;
	fn(line, len, arg);
}

/*
 * len more bytes of the line in part, without its newline.  Puts together
 * what belongs together; -ENOMEM never leaves half a line to be told.
 */
static void
lines_append(
    struct lines *lines, const uint8_t *data, size_t len, line_fn fn, void *arg)
{
	size_t room = lines->max - lines->part.len;
	size_t n = len < room ? len : room;

	assert(!lines->skipping);
	assert(lines->part.len <= lines->max);
	if (buffer_append(&lines->part, data, n, lines->max) < 0) {
		lines->lost++;
		lines->dropped_bytes += lines->part.len + len;
		lines->skipping = true;
		lines_forget_part(lines);
	} else if (len > room) {
		lines_tell_cut(lines, lines->part.data, fn, arg);
		lines->dropped_bytes += len - room;
		lines_forget_part(lines);
	}
}

/* The last len bytes of a line; a newline followed. */
static void
lines_finish(
    struct lines *lines, const uint8_t *data, size_t len, line_fn fn, void *arg)
{
	if (lines->skipping) {
		lines->dropped_bytes += len;
	} else if (lines->part.len == 0 && len <= lines->max) {
		fn(data, len, arg);
	} else {
		lines_append(lines, data, len, fn, arg);
		if (!lines->skipping) {
			fn(lines->part.data, lines->part.len, arg);
			lines_forget_part(lines);
		}
	}
	lines->skipping = false;
	assert(lines->part.len == 0);
}

void
lines_feed(
    struct lines *lines, const void *data, size_t len, line_fn fn, void *arg)
{
	const uint8_t *p = data, *end = p + len;

	assert(data || len == 0);
	while (p < end) {
		const uint8_t *newline =
		    memchr(p, lines->end, (size_t)(end - p));

		if (!newline) {
			if (lines->skipping)
				lines->dropped_bytes += (uint64_t)(end - p);
			else
				lines_append(
				    lines, p, (size_t)(end - p), fn, arg);
			return;
		}
		lines_finish(lines, p, (size_t)(newline - p), fn, arg);
		p = newline + 1;
	}
}

void
lines_end(struct lines *lines, line_fn fn, void *arg)
{
	if (lines->part.len > 0) {
		fn(lines->part.data, lines->part.len, arg);
		lines_forget_part(lines);
	}
	lines->skipping = false;
	assert(lines->part.len == 0);
}
