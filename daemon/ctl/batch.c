/* batch: lines of one kind from the start of a stream. */

#include "daemon/ctl/batch.h"
#include "proto/utf8.h"

#include <assert.h>
#include <string.h>

/* The line at data with its newline; 0: it is not whole yet. */
static size_t
line_bytes(const uint8_t *data, size_t len, size_t searched, bool ended)
{
	const uint8_t *newline = NULL;

	assert(searched <= len);
	if (searched < len)
		newline = memchr(data + searched, '\n', len - searched);
	if (newline != NULL)
		return (size_t)(newline - data) + 1;
	return ended ? len : 0;
}

static bool
is_binary(const uint8_t *line, size_t len)
{
	if (line[len - 1] == '\n')
		len--;
	return !utf8_valid(line, len);
}

bool
batch_take(const uint8_t *data, size_t len, size_t searched, bool ended,
    bool all_binary, size_t max, struct batch *ret_batch)
{
	struct batch batch = { .binary = all_binary };
	size_t n;

	while (batch.len < len) {
		const uint8_t *line = data + batch.len;
		bool binary;

		n = line_bytes(line, len - batch.len,
		    batch.lines == 0 ? searched : 0, ended);
		if (n == 0 || (batch.lines > 0 && n > max - batch.len))
			break;
		binary = all_binary || is_binary(line, n);
		if (batch.lines > 0 && binary != batch.binary)
			break;
		batch.binary = binary;
		batch.len += n;
		batch.lines++;
		if (batch.len >= max)
			break;
	}
	if (batch.lines == 0)
		return false;
	*ret_batch = batch;
	return true;
}
