/*
 * History: which messages a reader is to get, and each of them.  Nothing is
 * held between the two: a reader names epoch and offset, and is told when they
 * are gone.
 */

#include "daemon/hub/hub_internal.h"

#include "proto/channel.h"

#include <errno.h>

int
hub_history(struct hub *hub, const char *name, size_t len,
    const struct from *from, int64_t limit, int64_t now_us,
    struct hub_history *ret_history)
{
	struct hub_history history = { 0 };
	struct from last = { .kind = FROM_LAST, .count = limit };
	struct channel *channel;

	assert(limit >= 0);
	if (!channel_name_valid(name, len))
		return -EINVAL;
	channel = channel_find(hub, name, len);
	if (!channel)
		return -ENOENT;
	channel_trim(hub, channel, now_us);
	history.first = channel_first_for(
	    channel, from->kind == FROM_LIVE ? &last : from, &history.answer);
	history.oldest = tape_oldest(channel->tape);
	history.newest = tape_newest(channel->tape);
	history.last = history.newest;
	if (history.last - history.first >= limit)
		history.last = history.first + limit - 1;
	*ret_history = history;
	return 0;
}

int
hub_read(struct hub *hub, const char *name, size_t len, uint64_t epoch,
    int64_t offset, struct buffer *scratch, struct message *ret_message)
{
	const struct channel *channel = channel_find(hub, name, len);
	int rc;

	if (!channel)
		return -ENOENT;
	if (tape_epoch(channel->tape) != epoch)
		return -ESTALE;
	rc = tape_read(channel->tape, offset, scratch, ret_message);
	if (rc < 0)
		return rc == -ENOENT ? -ESTALE : rc;
	ret_message->channel = channel->name;
	ret_message->channel_len = channel->name_len;
	return 0;
}
