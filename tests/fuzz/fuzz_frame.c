/*
 * Any bytes as frames.  A header that is read and needs no mask is written
 * again byte by byte; runs of whole frames agree with the single steps; the
 * bytes as a message come back out of their frames.
 */

#include "proto/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct frame_header header;
	uint8_t again[FRAME_HEADER_MAX];
	size_t whole = frame_whole_bytes(data, len, len / 2 + 1), at = 0, step;
	size_t bytes = frame_message_bytes(len);
	uint8_t *message = malloc(bytes);
	int n = frame_get_header(data, len, &header);

	if (n > 0 && !header.masked) {
		assert(frame_put_header(again, header.fin, header.rsv,
			   header.opcode, header.payload_bytes) == (size_t)n);
		assert(memcmp(again, data, (size_t)n) == 0);
	}
	while (at < whole) {
		step = frame_first_bytes(data + at, len - at);
		assert(step > 0 && step <= whole - at);
		at += step;
	}
	assert(message);
	assert(frame_put_message(message, FRAME_BINARY, data, len) == bytes);
	assert(frame_whole_bytes(message, bytes, bytes) == bytes);
	for (at = 0, step = 0; at < bytes; at += (size_t)n) {
		n = frame_get_header(message + at, bytes - at, &header);
		assert(n > 0);
		at += header.payload_bytes;
		assert(memcmp(message + at + n - header.payload_bytes,
			   data + step, header.payload_bytes) == 0);
		step += header.payload_bytes;
	}
	assert(step == len);
	free(message);
	return 0;
}
