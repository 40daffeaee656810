/* state: what stands in the file. */

#include "daemon/ctl/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER STATE_HEADER "\n"

size_t
state_channels_max(const struct buffer *text)
{
	size_t lines = 0, i;

	for (i = 0; i < text->len; i++)
		lines += text->data[i] == '\n';
	return lines;
}

/* NULL: recalled; else what was expected of the line. */
static const char *
take_line(const char *line, size_t len, struct places *places)
{
	const char *space = memchr(line, ' ', len);
	const size_t name_len = space != NULL ? (size_t)(space - line) : len;
	struct position position;
	struct place *place;

	if (space == NULL || !channel_name_valid(line, name_len))
		return "expected CHANNEL EPOCH:OFFSET";
	if (position_get(space + 1, len - name_len - 1, &position) < 0)
		return "expected a position, EPOCH:OFFSET, after the channel";
	place = places_add(places, line, name_len);
	if (place->known)
		return "expected another channel than those above";
	place_recall(place, &position);
	return NULL;
}

/* The end of the line that begins there, or NULL: it has none. */
static const char *
line_end(const char *at, const char *end)
{
	return memchr(at, '\n', (size_t)(end - at));
}

int
state_parse(const struct buffer *text, struct places *places, size_t *ret_line,
    char what[static STATE_WHAT_MAX])
{
	const char *at = (const char *)text->data, *end = at + text->len;
	const char *why = NULL, *next;
	size_t line = 1;

	if (text->len == 0)
		return 0;
	for (; at < end && why == NULL; at = next + 1, line++) {
		next = line_end(at, end);
		if (next == NULL)
			why = "expected a newline at the end of the line";
		else if (line > 1)
			why = take_line(at, (size_t)(next - at), places);
		else if (next - at != (ptrdiff_t)strlen(STATE_HEADER) ||
			 memcmp(at, STATE_HEADER, strlen(STATE_HEADER)) != 0)
			why = "expected \"" STATE_HEADER "\"";
		if (why != NULL)
			break;
	}
	if (why == NULL)
		return 0;
	(void)snprintf(what, STATE_WHAT_MAX, "%s", why);
	*ret_line = line;
	return -EBADMSG;
}

int
state_put(struct buffer *text, const struct places *places)
{
	char position[POSITION_TEXT_MAX];
	size_t i;
	int error;

	error = buffer_append(text, HEADER, strlen(HEADER), STATE_BYTES_MAX);
	for (i = 0; error == 0 && i < places->count; i++) {
		const struct place *place = &places->list[i];

		if (!place->has_written)
			continue;
		(void)position_put(position, &place->written);
		error = buffer_printf(
		    text, STATE_BYTES_MAX, "%s %s\n", place->channel, position);
	}
	return error;
}
