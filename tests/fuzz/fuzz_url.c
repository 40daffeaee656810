/*
 * Any bytes as an address, a query and a text to encode: what comes out fits,
 * holds no NUL, and what was encoded is decoded to itself.
 */

#include "proto/url.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;
	char out[256], back[256], *string = malloc(len + 1);
	struct url url;
	int n;

	assert(string);
	memcpy(string, data, len);
	string[len] = '\0';
	if (url_parse(string, &url) == 0) {
		assert(url.port > 0 && url.host[0] != '\0');
		assert(url.path[0] == '\0' || url.path[0] == '/');
	}
	free(string);

	n = url_query_get(text, len, "from", out, sizeof(out));
	assert(n < 0 || strlen(out) == (size_t)n);
	n = url_decode(out, len % sizeof(out), text, len);
	assert(n < 0 || strlen(out) == (size_t)n);
	n = url_encode(out, sizeof(out), text, len);
	if (n >= 0 && !memchr(data, 0, len)) {
		assert(
		    url_decode(back, sizeof(back), out, (size_t)n) == (int)len);
		assert(memcmp(back, data, len) == 0);
	}
	return 0;
}
