/*
 * mirror: the happy path is one subscribe, one ok, then messages whose offsets
 * go up by one.
 *
 * - The connection is lost: the next subscribe names the position of the last
 *   message taken, so the other side goes on after it.
 * - The answer is in another epoch, or not recovered in ours: what it sends is
 *   from its oldest on.  Its epoch becomes ours; the caller tells of it.
 * - An offset that was there before is passed over, one that skips some is
 *   counted: neither comes from a side that keeps to its protocol.
 */

#include "daemon/feed/mirror.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define MIRROR_ID 1
#define MIRROR_COMMAND_BYTES_MAX 1024
#define MIRROR_KEPT_BYTES_MAX 65536

void
mirror_init(struct mirror *mirror)
{
	*mirror = (struct mirror){ .known = false };
	buffer_init(&mirror->text);
}

void
mirror_fini(struct mirror *mirror)
{
	buffer_fini(&mirror->text);
}

int
mirror_subscribe(struct mirror *mirror, const char *channel, struct buffer *out)
{
	const struct v1_command command = {
		.kind = V1_SUBSCRIBE,
		.id = MIRROR_ID,
		.channel = channel,
		.channel_len = strlen(channel),
		.from = { .kind = mirror->known ? FROM_POSITION : FROM_OLDEST,
		    .position = mirror->position },
	};

	mirror->begun = false;
	return v1_put_command(out, MIRROR_COMMAND_BYTES_MAX, &command);
}

static int
mirror_begin(struct mirror *mirror, const struct v1_event *event,
    enum mirror_news *ret_news)
{
	const bool same = mirror->known && event->recovered &&
			  event->position.epoch == mirror->position.epoch;
	const bool first = !mirror->known;

	if (mirror->begun || event->id != MIRROR_ID || !event->has_position)
		return -EBADMSG;
	mirror->begun = true;
	*ret_news = MIRROR_BEGUN;
	if (!first && (event->position.epoch != mirror->position.epoch ||
			  event->position.offset < mirror->position.offset))
		*ret_news = MIRROR_NEW_EPOCH;
	/* Recovered or not: the position just before what follows. */
	if (!same || event->position.offset > mirror->position.offset)
		mirror->position = event->position;
	mirror->known = true;
	return 0;
}

static int
mirror_message(struct mirror *mirror, const struct v1_event *event,
    enum mirror_news *ret_news)
{
	const int64_t offset = event->message.offset;

	if (!mirror->begun)
		return -EBADMSG;
	if (offset <= mirror->position.offset)
		return 0;
	if (offset > mirror->position.offset + 1)
		mirror->missing +=
		    (uint64_t)(offset - mirror->position.offset - 1);
	mirror->position.offset = offset;
	*ret_news = MIRROR_MESSAGE;
	return 0;
}

static int
mirror_gap(struct mirror *mirror, const struct v1_event *event,
    enum mirror_news *ret_news)
{
	if (!mirror->begun || event->gap_to < event->gap_from)
		return -EBADMSG;
	mirror->missing += (uint64_t)(event->gap_to - event->gap_from) + 1;
	if (event->gap_to > mirror->position.offset)
		mirror->position.offset = event->gap_to;
	*ret_news = MIRROR_GAP;
	return 0;
}

int
mirror_take(struct mirror *mirror, const void *data, size_t len,
    enum mirror_news *ret_news, struct v1_event *ret_event)
{
	int error;

	if (mirror->text.size > MIRROR_KEPT_BYTES_MAX)
		buffer_fini(&mirror->text);
	buffer_clear(&mirror->text);
	error = buffer_append(&mirror->text, data, len, len);
	if (error == 0)
		error = v1_parse_event(
		    mirror->text.data, mirror->text.len, ret_event);
	if (error < 0)
		return error;
	*ret_news = MIRROR_NOTHING;
	switch (ret_event->kind) {
	case V1_EVENT_OK:
		return mirror_begin(mirror, ret_event, ret_news);
	case V1_EVENT_MESSAGE:
		return mirror_message(mirror, ret_event, ret_news);
	case V1_EVENT_GAP:
		return mirror_gap(mirror, ret_event, ret_news);
	case V1_EVENT_CLOSING:
		*ret_news = MIRROR_CLOSING;
		return 0;
	case V1_EVENT_ERROR:
		return -EACCES;
	case V1_EVENT_NOTICE:
	case V1_EVENT_UNKNOWN:
		break;
	}
	return 0;
}
