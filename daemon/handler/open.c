/*
 * open: what an upgrade said, kept for as long as anybody may ask.
 *
 * The caller's strings are the library's and go; here they are copied into one
 * piece of memory.
 */

#include "daemon/base/memory.h"
#include "daemon/handler/session.h"

#include <assert.h>
#include <string.h>

static size_t
text_bytes(const char *text)
{
	return text != NULL ? strlen(text) + 1 : 1;
}

static const char *
text_copy(char **at, const char *text)
{
	char *begin = *at;

	*at = stpcpy(begin, text != NULL ? text : "") + 1;
	return begin;
}

/* One piece of memory: the headers' array, then all strings. */
void *
open_copy(const struct es_open *open, struct es_open *ret_open)
{
	size_t bytes = open->header_count * sizeof(struct es_header), i;
	struct es_header *headers;
	char *at;

	bytes += text_bytes(open->path) + text_bytes(open->query) +
		 text_bytes(open->peer) + text_bytes(open->channel) +
		 text_bytes(open->upstream) + text_bytes(open->claims);
	for (i = 0; i < open->header_count; i++)
		bytes += text_bytes(open->headers[i].name) +
			 text_bytes(open->headers[i].value);
	headers = memory_alloc(bytes);
	if (headers == NULL)
		return NULL;
	at = (char *)(headers + open->header_count);
	ret_open->headers = headers;
	ret_open->header_count = open->header_count;
	ret_open->path = text_copy(&at, open->path);
	ret_open->query = text_copy(&at, open->query);
	ret_open->peer = text_copy(&at, open->peer);
	ret_open->channel = text_copy(&at, open->channel);
	ret_open->upstream = text_copy(&at, open->upstream);
	ret_open->claims = text_copy(&at, open->claims);
	for (i = 0; i < open->header_count; i++) {
		headers[i].name = text_copy(&at, open->headers[i].name);
		headers[i].value = text_copy(&at, open->headers[i].value);
	}
	assert(at == (char *)headers + bytes);
	return headers;
}
