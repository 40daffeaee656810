/*
 * channels: what plugins do with channels as such: publish, history.
 *
 * What can go wrong beside what bridge.c says: a history is long: what is
 * over HISTORY_BYTES_MAX of payload is left out, its reader goes on from the
 * last one's position.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/handler/bridge_internal.h"
#include "daemon/handler/plugin.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HISTORY_BYTES_MAX (4 * LIMITS_MIB)

static void
published(struct request *request, int64_t offset,
    const struct position *position, const char *text)
{
	struct es_position *value = NULL;

	if (offset >= 0 && request->f != NULL)
		value = memory_alloc(sizeof(*value));
	if (offset < 0 && text != NULL && request->f != NULL) {
		(void)es_future_set_error(
		    request->f, (int)offset, "refused: %s", text);
	} else if (offset < 0) {
		request_fail(request, (int)offset);
	} else if (value != NULL) {
		*value =
		    (struct es_position){ position->epoch, position->offset };
		give(request->f, value, memory_free);
	} else {
		give_nothing(request, 0); /* published, if nobody knows where */
	}
}

/* A filter had it; its request waited for that. */
static void
on_verdict(struct hub_publisher *publisher, const struct hub_verdict *verdict)
{
	struct request *request = (struct request *)(uintptr_t)verdict->cookie;

	(void)publisher;
	published(request, verdict->offset, &verdict->position, verdict->text);
	request_free(request);
}

/* How much may wait is in_flight_bytes_max, as for all requests. */
const struct hub_publisher_ops bridge_publisher = { .verdict = on_verdict };

static void
do_publish(struct request *request, es_future *f)
{
	struct handler *handler = request->handler;
	const struct hub_message message = {
		.kind = request->kind,
		.payload = request->data,
		.len = request->len,
		.checked = true, /* by bridge_publish() */
		.publisher = &handler->publisher,
		.cookie = (uintptr_t)request,
	};
	struct position position;
	int64_t offset;

	(void)f;
	offset = hub_publish(handler->handlers->rooms.hub, request->channel,
	    strlen(request->channel), HUB_INSIDE, &message, clock_wall_us(),
	    &position);
	if (offset == -EINPROGRESS)
		request->kept = true;
	else
		published(request, offset, &position, NULL);
}

int
bridge_publish(void *self, const char *channel, enum es_kind kind,
    const void *data, size_t len, es_future **ret_future)
{
	struct request *request;
	size_t name_len;
	int r = check_payload(kind, data, len);

	if (r < 0)
		return r;
	if (channel == NULL)
		return -EINVAL;
	name_len = strnlen(channel, CHANNEL_NAME_MAX + 1);
	if (!channel_name_valid(channel, name_len))
		return -EINVAL;
	r = request_new(self, channel, data, len, ret_future != NULL, &request);
	if (r < 0)
		return r;
	request->kind = (enum message_kind)kind;
	return request_post(request, do_publish, ret_future);
}

/* What es_history() brings, and where it is. */
struct past {
	struct es_history history; /* first: it is what the plugin gets */
	struct buffer data; /* all payloads */
	struct es_message messages[];
};

static void
past_drop(void *arg)
{
	struct past *past = arg;

	buffer_fini(&past->data);
	memory_free(past);
}

/* Its payload is at the end of data; false: that was the last one. */
static bool
past_add(struct past *past, const struct message *message)
{
	struct es_message *to = &past->messages[past->history.count];

	if (past->data.len > 0 &&
	    past->data.len + message->len > HISTORY_BYTES_MAX)
		return false;
	if (buffer_append(
		&past->data, message->payload, message->len, SIZE_MAX / 2) < 0)
		return false;
	*to = (struct es_message){
		.kind = (enum es_kind)message->kind,
		.len = message->len,
		.position = { message->epoch, message->offset },
		.time_us = message->time_us,
	};
	past->history.count++;
	return true;
}

/* The buffer stays where it is now. */
static void
past_finish(struct past *past)
{
	size_t at = 0, i;

	past->history.messages = past->messages;
	for (i = 0; i < past->history.count; i++) {
		past->messages[i].data = past->data.data + at;
		at += past->messages[i].len;
	}
	assert(at == past->data.len);
}

static void
past_read(struct past *past, struct request *request,
    const struct hub_history *history)
{
	struct hub *hub = request->handler->handlers->rooms.hub;
	struct buffer scratch;
	struct message message;
	int64_t offset;

	buffer_init(&scratch);
	for (offset = history->first; offset <= history->last; offset++) {
		if (hub_read(hub, request->channel, strlen(request->channel),
			past->history.epoch, offset, &scratch, &message) < 0 ||
		    !past_add(past, &message))
			break;
	}
	buffer_fini(&scratch);
	past_finish(past);
}

static void
do_history(struct request *request, es_future *f)
{
	struct hub_history history;
	struct past *past;
	int64_t count;
	int r;

	r = hub_history(request->handler->handlers->rooms.hub, request->channel,
	    strlen(request->channel), &request->from, (int64_t)request->limit,
	    clock_wall_us(), &history);
	if (r < 0) {
		request_fail(request, r);
		return;
	}
	count = history.last >= history.first ? history.last - history.first + 1
					      : 0;
	past = memory_zalloc(
	    sizeof(*past) + (size_t)count * sizeof(past->messages[0]));
	if (past == NULL) {
		request_fail(request, -ENOMEM);
		return;
	}
	buffer_init(&past->data);
	past->history.epoch = history.answer.position.epoch;
	past->history.oldest = history.oldest;
	past->history.newest = history.newest;
	past->history.recovered = history.answer.recovered;
	past_read(past, request, &history);
	give(f, past, past_drop);
}

int
bridge_history(void *self, const char *channel, const char *from, size_t limit,
    es_future **ret_future)
{
	struct handler *handler = self;
	const size_t max =
	    (size_t)atomic_load(&handler->handlers->history_limit_max);
	struct request *request;
	int r;

	if (ret_future == NULL || limit == 0)
		return -EINVAL;
	r = channel_request(handler, channel, from, true, &request);
	if (r < 0)
		return r;
	request->limit = limit < max ? limit : max;
	return request_post(request, do_history, ret_future);
}
