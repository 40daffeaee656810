/*
 * verdict: what a filter says of one message, in a worker or in a process.
 *
 * The happy path: ask_new() copies the message -> filter_call() asks a plugin,
 * or a process has it -> verdict_change(), verdict_refuse(), or nothing: it is
 * accepted -> filter.c does what was said.
 *
 * What can go wrong: no memory for what it is to be changed to: it is refused;
 * a change that makes no message of it: the filter is told, nothing changes.
 */

#include "daemon/base/memory.h"
#include "daemon/handler/bridge_internal.h"
#include "daemon/handler/filter.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void
ask_free(struct ask *ask)
{
	if (ask == NULL)
		return;
	assert(list_empty(&ask->node));
	memory_free(ask->verdict.data);
	memory_free(ask->verdict.reason);
	memory_free(ask);
}

struct ask *
ask_new(const char *channel, size_t channel_len,
    const struct hub_message *message, int64_t now_us)
{
	const size_t len = message->len;
	struct ask *ask = memory_alloc(sizeof(*ask) + len + channel_len + 2);
	char *name;

	if (ask == NULL)
		return NULL;
	*ask = (struct ask){
		.cookie = message->cookie,
		.channel_len = channel_len,
		.event = { .kind = EVENT_PUBLISH,
		    .message_kind = message->kind,
		    .time_us = now_us,
		    .len = len },
	};
	list_init(&ask->node);
	list_init(&ask->event.node);
	if (len > 0)
		memcpy(ask->event.data, message->payload, len);
	ask->event.data[len] = '\0';
	name = (char *)ask->event.data + len + 1;
	memcpy(name, channel, channel_len);
	name[channel_len] = '\0';
	ask->channel = name;
	return ask;
}

int
verdict_change(struct es_verdict *verdict, enum message_kind kind,
    const void *data, size_t len)
{
	uint8_t *copy = memory_alloc(len + 1);

	memory_free(verdict->data);
	verdict->data = copy;
	verdict->changed = true;
	verdict->refused = verdict->refused || copy == NULL;
	if (copy == NULL)
		return -ENOMEM;
	if (len > 0)
		memcpy(copy, data, len);
	verdict->kind = kind;
	verdict->len = len;
	return 0;
}

int
verdict_refuse(struct es_verdict *verdict, const char *reason, size_t len)
{
	verdict->refused = true;
	memory_free(verdict->reason);
	verdict->reason = memory_alloc(len + 1);
	if (verdict->reason == NULL)
		return -ENOMEM;
	memcpy(verdict->reason, reason, len);
	verdict->reason[len] = '\0';
	return 0;
}

/* Worker */

bool
filter_call(struct session *session, struct event *event)
{
	const struct es_handler *plugin = &session->handler->plugin;
	struct ask *ask = ask_of(event);
	const struct es_message message = {
		.kind = (enum es_kind)event->message_kind,
		.data = event->data,
		.len = event->len,
		.channel = ask->channel,
		.time_us = event->time_us,
	};

	if (plugin->on_publish(plugin->state, &message, &ask->verdict) < 0)
		ask->verdict.refused = true;
	list_append(&session->asking->judged, &event->node);
	return !ask->verdict.refused || !session->asking->strict;
}

/* Of the host's table; the verdict is the caller's while it is being asked. */

int
bridge_change(void *self, es_verdict *verdict, enum es_kind kind,
    const void *data, size_t len)
{
	const struct handler *handler = self;
	const int r = check_payload(kind, data, len);

	if (verdict == NULL)
		return -EINVAL;
	if (r < 0)
		return r;
	if (len > (size_t)atomic_load(&handler->handlers->message_bytes_max))
		return -EMSGSIZE;
	return verdict_change(verdict, (enum message_kind)kind, data, len);
}

int
bridge_refuse(void *self, es_verdict *verdict, const char *reason)
{
	size_t len;

	(void)self;
	if (verdict == NULL || reason == NULL)
		return -EINVAL;
	len = strnlen(reason, SESSION_REASON_BYTES_MAX + 1);
	if (len > SESSION_REASON_BYTES_MAX)
		return -EINVAL;
	if (!utf8_valid(reason, len))
		return -EILSEQ;
	return verdict_refuse(verdict, reason, len);
}
