/*
 * Any bytes as a command of earshot.v1.  What is taken can be put and is read
 * as the same again; what is refused is answered with an error that a client
 * can read.
 */

#include "proto/v1.h"
#include "proto/v1_event.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MAX (1u << 24)

static void
compare(const struct v1_command *a, const struct v1_command *b)
{
	assert(a->kind == b->kind && a->id == b->id);
	assert(a->channel_len == b->channel_len);
	assert(!memcmp(&a->from, &b->from, sizeof(a->from)));
	assert(a->message_kind == b->message_kind);
	assert(a->payload_len == b->payload_len);
	if (a->channel_len > 0)
		assert(!memcmp(a->channel, b->channel, a->channel_len));
	if (a->payload_len > 0)
		assert(!memcmp(a->payload, b->payload, a->payload_len));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct v1_command command, again;
	struct v1_fault fault;
	struct v1_event event;
	struct buffer out = { 0 };
	uint8_t *text = malloc(len > 0 ? len : 1);

	assert(text);
	memcpy(text, data, len);
	if (v1_parse_command(text, len, &command, &fault) == 0) {
		assert(v1_put_command(&out, MAX, &command) == 0);
		assert(
		    v1_parse_command(out.data, out.len, &again, &fault) == 0);
		compare(&command, &again);
	} else {
		assert(v1_put_error(
			   &out, MAX, fault.id, fault.error, fault.text) == 0);
		assert(v1_parse_event(out.data, out.len, &event) == 0);
		assert(event.kind == V1_EVENT_ERROR && event.id == fault.id);
		assert(event.text.len == strlen(fault.text));
	}
	buffer_fini(&out);
	free(text);
	return 0;
}
