/*
 * heard: each object of the server, held against what was asked for.
 *
 * The happy path: an ok says where a channel goes on -> its messages follow,
 * each one further than the last.
 *
 * What can go wrong:
 * - what came after our position is gone: a gap says which messages, or the
 *   ok says that the channel has begun anew;
 * - a subscribe is refused: for now, or for good;
 * - the server does not keep to earshot.v1: an offset that is not the next
 *   one, a channel nobody asked for.  To go on would hide a hole.
 */

#include "daemon/ctl/heard.h"
#include "daemon/base/memory.h"
#include "daemon/ctl/retry.h"
#include "daemon/ctl/words.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 128 /* of one text of the server's */

int
hearing_init(struct hearing *hearing, struct places *places, size_t count,
    const struct from *from)
{
	assert(count > 0);
	assert(count <= places->count);
	*hearing =
	    (struct hearing){ .places = places, .count = count, .from = *from };
	hearing->channels = memory_zalloc(count * sizeof(*hearing->channels));
	return hearing->channels != NULL ? 0 : -ENOMEM;
}

void
hearing_fini(struct hearing *hearing)
{
	memory_free(hearing->channels);
	*hearing = (struct hearing){ 0 };
}

void
hearing_forget(struct hearing *hearing)
{
	size_t i;

	for (i = 0; i < hearing->count; i++)
		hearing->channels[i].state = HEARING_NOT;
	hearing->asked = 0;
}

void
hearing_ask(
    struct hearing *hearing, size_t index, struct v1_command *ret_command)
{
	const struct place *place = &hearing->places->list[index];
	struct hearing_channel *channel = &hearing->channels[index];

	assert(index < hearing->count);
	assert(channel->state == HEARING_NOT);
	channel->state = HEARING_ASKED;
	channel->asked = hearing->from;
	if (place->known)
		channel->asked = (struct from){ .kind = FROM_POSITION,
			.position = place->position };
	hearing->asked++;
	*ret_command = (struct v1_command){ .kind = V1_SUBSCRIBE,
		.id = (int64_t)index + 1,
		.channel = place->channel,
		.channel_len = place->channel_len,
		.from = channel->asked };
}

void
hearing_unask(struct hearing *hearing, size_t index)
{
	assert(hearing->channels[index].state == HEARING_ASKED);
	assert(hearing->asked > 0);
	hearing->channels[index].state = HEARING_NOT;
	hearing->asked--;
}

void
hearing_retry(struct hearing *hearing, size_t index)
{
	assert(hearing->channels[index].state == HEARING_LATER);
	hearing->channels[index].state = HEARING_NOT;
}

__attribute__((format(printf, 3, 4))) static void
say(struct heard *heard, enum heard_kind kind, const char *fmt, ...)
{
	va_list args;

	heard->kind = kind;
	va_start(args, fmt);
	(void)vsnprintf(heard->text, sizeof(heard->text), fmt, args);
	va_end(args);
}

static void
words(char out[static WORDS_MAX], const struct v1_text *text)
{
	words_printable(
	    out, WORDS_MAX, text->text != NULL ? text->text : "", text->len);
}

/* The channel whose subscribe has that id and waits for its answer, or NULL. */
static struct hearing_channel *
answered(struct hearing *hearing, int64_t id, struct heard *heard)
{
	struct hearing_channel *channel;

	if (id < 1 || (uint64_t)id > hearing->count)
		return NULL;
	channel = &hearing->channels[id - 1];
	if (channel->state != HEARING_ASKED)
		return NULL;
	heard->index = (size_t)id - 1;
	heard->place = &hearing->places->list[id - 1];
	assert(hearing->asked > 0);
	hearing->asked--;
	return channel;
}

static bool
same(const struct position *a, const struct position *b)
{
	return a->epoch == b->epoch && a->offset == b->offset;
}

/* The channel's position was not there to go on from. */
static void
tell_loss(struct heard *heard, const struct position *asked,
    const struct position *got)
{
	const char *channel = heard->place->channel;
	char was[POSITION_TEXT_MAX], is[POSITION_TEXT_MAX];

	(void)position_put(was, asked);
	(void)position_put(is, got);
	if (asked->epoch != got->epoch)
		say(heard, HEARD_BEGUN,
		    "%s: a new epoch: what came after %s may be gone; goes on "
		    "after %s",
		    channel, was, is);
	else if (asked->offset > got->offset)
		say(heard, HEARD_BEGUN,
		    "%s: the server has nothing at %s; goes on after %s",
		    channel, was, is);
	/* Else a gap says which messages. */
}

static void
hear_ok(
    struct hearing *hearing, const struct v1_event *event, struct heard *heard)
{
	struct hearing_channel *channel = answered(hearing, event->id, heard);
	const struct position *got = &event->position;
	bool asked_position;

	if (channel == NULL) {
		if (event->id != HEARING_PING_ID)
			say(heard, HEARD_FAULT,
			    "an answer to nothing that was asked, id %" PRId64,
			    event->id);
		return;
	}
	asked_position = channel->asked.kind == FROM_POSITION;
	if (!event->has_position || (asked_position && event->recovered &&
					!same(&channel->asked.position, got))) {
		say(heard, HEARD_FAULT,
		    "%s: subscribed without the position asked for",
		    heard->place->channel);
		return;
	}
	heard->kind = HEARD_BEGUN;
	if (asked_position && !event->recovered)
		tell_loss(heard, &channel->asked.position, got);
	channel->state = HEARING_YES;
	place_move(hearing->places, heard->place, got);
}

/* Refusals that another time may not meet. */
static bool
is_temporary(const struct v1_text *code)
{
	static const char *const codes[] = { "too_many_channels", "no_room",
		"no_memory", "closing" };
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strlen(codes[i]) == code->len &&
		    memcmp(codes[i], code->text, code->len) == 0)
			return true;
	return false;
}

static void
hear_error(
    struct hearing *hearing, const struct v1_event *event, struct heard *heard)
{
	struct hearing_channel *channel = answered(hearing, event->id, heard);
	char code[WORDS_MAX], text[CTL_TEXT_MAX];

	words(code, &event->code);
	words_printable(text, sizeof(text),
	    event->text.text != NULL ? event->text.text : "", event->text.len);
	if (channel == NULL) {
		say(heard, HEARD_REFUSED, "%s: %s", code, text);
		return;
	}
	channel->state = HEARING_LATER;
	heard->no_token = strcmp(code, "no_token") == 0;
	say(heard, is_temporary(&event->code) ? HEARD_LATER : HEARD_REFUSED,
	    "%s: %s: %s", heard->place->channel, code, text);
}

/* The place of a channel that is being listened to; NULL: heard says so. */
static struct place *
place_of(struct hearing *hearing, const char *channel, size_t len,
    struct heard *heard)
{
	struct place *place = places_find(hearing->places, channel, len);
	const size_t index =
	    place != NULL ? (size_t)(place - hearing->places->list) : SIZE_MAX;

	if (index >= hearing->count ||
	    hearing->channels[index].state != HEARING_YES) {
		char name[WORDS_MAX];

		words(name, &(struct v1_text){ channel, len });
		say(heard, HEARD_FAULT, "%s: heard without having subscribed",
		    name);
		return NULL;
	}
	heard->index = index;
	heard->place = place;
	assert(place->known);
	return place;
}

static void
hear_message(
    struct hearing *hearing, const struct v1_event *event, struct heard *heard)
{
	const struct message *message = &event->message;
	const struct place *place =
	    place_of(hearing, message->channel, message->channel_len, heard);

	if (place == NULL)
		return;
	assert(message->offset > 0);
	if (message->offset - 1 == place->position.offset)
		heard->kind = HEARD_MESSAGE;
	else
		say(heard, HEARD_FAULT,
		    "%s: message %" PRId64 " came after %" PRId64,
		    place->channel, message->offset, place->position.offset);
}

/* One that the ok has stepped over already, or one that begins here. */
static void
hear_gap(
    struct hearing *hearing, const struct v1_event *event, struct heard *heard)
{
	const int64_t from = event->gap_from, to = event->gap_to;
	struct place *place =
	    place_of(hearing, event->channel.text, event->channel.len, heard);
	struct position position;

	if (place == NULL)
		return;
	position = place->position;
	assert(from > 0 && from <= to);
	if (to > position.offset && from - 1 != position.offset) {
		say(heard, HEARD_FAULT,
		    "%s: gap %" PRId64 "-%" PRId64 " came after %" PRId64,
		    place->channel, from, to, position.offset);
		return;
	}
	if (to > position.offset) {
		position.offset = to;
		place_move(hearing->places, place, &position);
	}
	say(heard, HEARD_NOTICE,
	    "%s: gap %" PRId64 "-%" PRId64 ": %" PRId64 " message%s gone",
	    place->channel, from, to, to - from + 1,
	    to == from ? " is" : "s are");
}

static void
hear_closing(const struct v1_event *event, struct heard *heard)
{
	const int64_t ms = event->retry_after_ms;
	char reason[WORDS_MAX];

	words(reason, &event->reason);
	say(heard, HEARD_CLOSING, "closing: %s", reason);
	heard->retry_after_us = ms < 0 ? -1
				: ms < RETRY_HINT_MAX_US / 1000
				    ? ms * 1000
				    : RETRY_HINT_MAX_US;
}

static void
hear_notice(const struct v1_event *event, struct heard *heard)
{
	char upstream[WORDS_MAX], state[WORDS_MAX];

	words(upstream, &event->upstream);
	words(state, &event->state);
	say(heard, HEARD_NOTICE, "upstream %s: %s", upstream, state);
}

void
hear(struct hearing *hearing, const struct v1_event *event, struct heard *ret)
{
	ret->kind = HEARD_NOTHING;
	ret->index = HEARD_NO_CHANNEL;
	ret->place = NULL;
	ret->no_token = false;
	ret->text[0] = '\0';
	switch (event->kind) {
	case V1_EVENT_MESSAGE:
		hear_message(hearing, event, ret);
		return;
	case V1_EVENT_OK:
		hear_ok(hearing, event, ret);
		return;
	case V1_EVENT_ERROR:
		hear_error(hearing, event, ret);
		return;
	case V1_EVENT_GAP:
		hear_gap(hearing, event, ret);
		return;
	case V1_EVENT_CLOSING:
		hear_closing(event, ret);
		return;
	case V1_EVENT_NOTICE:
		hear_notice(event, ret);
		return;
	case V1_EVENT_UNKNOWN:
		return;
	}
	assert(!"a kind of event");
}
