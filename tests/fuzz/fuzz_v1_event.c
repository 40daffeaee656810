/*
 * Any bytes as an object of an earshot.v1 server, and as the payload of a
 * message of each kind, which must come back as it was, also from history.
 * White space around JSON does not come back: it is no part of the value.
 */

#include "proto/history.h"
#include "proto/json.h"
#include "proto/utf8.h"
#include "proto/v1.h"
#include "proto/v1_event.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MAX (1u << 24)

static void
round_trip(enum message_kind kind, const uint8_t *data, size_t len)
{
	struct message message = { "a.b", 3, 7, 42, 1790000000123000, kind,
		data, len };
	struct buffer out = { 0 };
	struct v1_event event;

	assert(v1_put_message(&out, MAX, &message) == 0);
	assert(v1_parse_event(out.data, out.len, &event) == 0);
	assert(event.kind == V1_EVENT_MESSAGE && event.message.kind == kind);
	assert(event.message.offset == 42 && event.message.len == len);
	assert(event.message.time_us == message.time_us);
	assert(len == 0 || !memcmp(event.message.payload, data, len));
	buffer_clear(&out);
	assert(history_put_line(&out, MAX, &message) == 0);
	assert(memchr(out.data, '\n', out.len) == out.data + out.len - 1);
	assert(json_check(out.data, out.len, NULL) != -EBADMSG);
	buffer_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct v1_event event;
	uint8_t *text = malloc(len > 0 ? len : 1);

	assert(text);
	memcpy(text, data, len);
	(void)v1_parse_event(text, len, &event); /* any answer will do */
	free(text);
	round_trip(MESSAGE_BINARY, data, len);
	if (utf8_valid(data, len))
		round_trip(MESSAGE_TEXT, data, len);
	if (json_check(data, len, NULL) == 0 && data[0] > ' ' &&
	    data[len - 1] > ' ')
		round_trip(MESSAGE_JSON, data, len);
	return 0;
}
