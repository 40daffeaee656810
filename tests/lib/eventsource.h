#ifndef TESTS_LIB_EVENTSOURCE_H
#define TESTS_LIB_EVENTSOURCE_H

/*
 * eventsource: the event stream interpretation of the WHATWG HTML standard,
 * section 9.2.6, step by step and slowly: what a browser makes of our bytes.
 *
 * Life  eventsource_feed() whole streams; each event that a browser would
 *       dispatch goes to dispatch.  Header only: fuzzers link no test library.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct eventsource_text {
	char *text;
	size_t len;
};

struct eventsource {
	struct eventsource_text data, type, id_buffer, last_id;
	int64_t retry_ms; /* -1: not told */
	void (*dispatch)(const struct eventsource *source, void *arg);
	void *arg;
};

static inline void
eventsource_add(
    struct eventsource_text *text, const void *more, size_t more_len)
{
	text->text = realloc(text->text, text->len + more_len + 1);
	assert(text->text);
	if (more_len > 0)
		memcpy(text->text + text->len, more, more_len);
	text->len += more_len;
	text->text[text->len] = '\0';
}

static inline void
eventsource_set(
    struct eventsource_text *text, const void *value, size_t value_len)
{
	text->len = 0;
	eventsource_add(text, value, value_len);
}

static inline void
eventsource_end_event(struct eventsource *source)
{
	eventsource_set(
	    &source->last_id, source->id_buffer.text, source->id_buffer.len);
	if (source->data.len > 0) {
		if (source->data.text[source->data.len - 1] == '\n')
			source->data.len--;
		if (source->type.len == 0)
			eventsource_set(&source->type, "message", 7);
		source->dispatch(source, source->arg);
	}
	source->data.len = 0;
	source->type.len = 0;
}

static inline bool
eventsource_is(const char *name, const char *field, size_t len)
{
	return strlen(name) == len && memcmp(name, field, len) == 0;
}

static inline void
eventsource_field(struct eventsource *source, const char *field,
    size_t field_len, const char *value, size_t len)
{
	if (eventsource_is("event", field, field_len)) {
		eventsource_set(&source->type, value, len);
	} else if (eventsource_is("data", field, field_len)) {
		eventsource_add(&source->data, value, len);
		eventsource_add(&source->data, "\n", 1);
	} else if (eventsource_is("id", field, field_len)) {
		if (!memchr(value, '\0', len))
			eventsource_set(&source->id_buffer, value, len);
	} else if (eventsource_is("retry", field, field_len)) {
		int64_t ms = 0;

		for (size_t i = 0; i < len; i++) {
			if (value[i] < '0' || value[i] > '9')
				return;
			ms = ms * 10 + (value[i] - '0');
		}
		source->retry_ms = ms;
	}
}

static inline void
eventsource_line(struct eventsource *source, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t name = colon ? (size_t)(colon - line) : len;
	size_t value = colon ? name + 1 : len;

	if (len == 0) {
		eventsource_end_event(source);
		return;
	}
	if (colon == line)
		return; /* a comment */
	if (value < len && line[value] == ' ')
		value++;
	eventsource_field(source, line, name, line + value, len - value);
}

/* A stream from its beginning to its end; what is not ended is dropped. */
static inline void
eventsource_feed(struct eventsource *source, const void *bytes, size_t len)
{
	const char *text = bytes;
	size_t at = 0;

	source->retry_ms = -1;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		at = 3;
	while (at < len) {
		size_t n = at;

		while (n < len && text[n] != '\r' && text[n] != '\n')
			n++;
		if (n == len)
			return;
		eventsource_line(source, text + at, n - at);
		at = n + 1;
		if (text[n] == '\r' && at < len && text[at] == '\n')
			at++;
	}
}

static inline void
eventsource_fini(struct eventsource *source)
{
	free(source->data.text);
	free(source->type.text);
	free(source->id_buffer.text);
	free(source->last_id.text);
}

#endif
