/*
 * Any bytes as JSON, and as the inside of a string.  What is taken stays taken
 * with white space around it and within an array; a fault lies where the bytes
 * before it begin no text that is refused earlier.
 */

#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t at = SIZE_MAX, again = SIZE_MAX, need;
	int result = json_check(data, len, &at);
	char *text = malloc(6 * len + 4);

	assert(text);
	memcpy(text + 2, data, len);
	memcpy(text, " [", 2);
	memcpy(text + 2 + len, "] ", 2);
	if (result == 0) {
		assert(utf8_valid(data, len));
		/* One level more may be one too many. */
		result = json_check(text, len + 4, NULL);
		assert(result == 0 || result == -E2BIG);
	} else if (result == -EBADMSG) {
		assert(at <= len);
		/* Cut there it ends too early, if it is not whole by then. */
		if (json_check(data, at, &again) == -EBADMSG)
			assert(again == at);
	}
	if (utf8_valid(data, len)) {
		need = json_put_string(NULL, 0, (const char *)data, len);
		assert(need <= 6 * len + 2);
		assert(json_put_string(
			   text, 6 * len + 4, (const char *)data, len) == need);
		assert(json_check(text, need, NULL) == 0);
	}
	free(text);
	return 0;
}
