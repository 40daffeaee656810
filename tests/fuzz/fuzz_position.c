/*
 * Any bytes as a `from=` argument and as a channel and pattern: what is taken
 * as a position is written again as it was, and a channel matches itself.
 */

#include "proto/channel.h"
#include "proto/position.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;
	char out[POSITION_TEXT_MAX];
	struct from from;
	const char *cut = memchr(text, ' ', len);
	size_t first = cut ? (size_t)(cut - text) : len;

	if (from_get(text, len, &from) == 0 && from.kind == FROM_POSITION) {
		assert(position_put(out, &from.position) == len);
		assert(memcmp(out, text, len) == 0);
	}
	if (channel_name_valid(text, first)) {
		assert(channel_pattern_valid(text, first));
		assert(channel_pattern_match(text, first, text, first));
		assert(channel_pattern_match("**", 2, text, first));
	}
	/* "PATTERN NAME" */
	if (cut && channel_pattern_match(text, first, cut + 1, len - first - 1))
		assert(len - first - 1 <= CHANNEL_NAME_MAX);
	return 0;
}
