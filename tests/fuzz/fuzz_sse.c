/*
 * Any text as the payload of a server-sent event, between two others: a
 * browser hears three, and the text with its line ends as LF.
 */

#include "proto/sse.h"
#include "proto/utf8.h"
#include "tests/lib/eventsource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MAX (1u << 24)

static struct eventsource_text heard[4];
static size_t count;

static void
hear(const struct eventsource *source, void *arg)
{
	(void)arg;
	assert(count < 3);
	eventsource_set(&heard[count++], source->data.text, source->data.len);
}

/* What is heard of the payload: CR LF and CR are LF. */
static void
normalise(const uint8_t *data, size_t len, struct eventsource_text *text)
{
	eventsource_set(text, data, len);
	text->len = 0;
	for (size_t i = 0; i < len; i++)
		if (data[i] != '\n' || i == 0 || data[i - 1] != '\r')
			text->text[text->len++] =
			    data[i] == '\r' ? '\n' : (char)data[i];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct eventsource source = { .dispatch = hear };
	struct message message = { "a", 1, 7, 42, 0, MESSAGE_TEXT, data, len };
	struct message other = { "a", 1, 7, 43, 0, MESSAGE_BINARY, data, len };
	struct buffer out = { 0 };

	if (!utf8_valid(data, len))
		return 0;
	count = 0;
	assert(sse_put_message(&out, MAX, &other) == 0);
	assert(sse_put_message(&out, MAX, &message) == 0);
	assert(sse_put_message(&out, MAX, &other) == 0);
	eventsource_feed(&source, out.data, out.len);
	normalise(data, len, &heard[3]);
	assert(count == 3 && heard[1].len == heard[3].len);
	assert(!memcmp(heard[1].text, heard[3].text, heard[3].len));
	eventsource_fini(&source);
	buffer_fini(&out);
	return 0;
}
