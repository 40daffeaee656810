/*
 * earshot.v1: all channels on one connection.
 *
 * The happy path: connected -> a subscribe for each channel, from where it has
 * to go on -> the server's objects, read by hear() -> messages to stdout.
 *
 * What can go wrong: heard.c tells faults, gaps and refusals apart; what is
 * refused for now is asked for again, each channel with its own delays
 * (retry.h).  A lost connection is dial.c's business.
 *
 * Not more than ASKED_MAX subscribes wait for their answers, since a server
 * closes a connection that lets too many pile up.
 */

#include "daemon/base/memory.h"
#include "daemon/ctl/sub.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ASKED_MAX 32
#define COMMAND_BYTES_MAX 1024
#define OBJECT_BYTES_MAX (SIZE_MAX / 2)
#define OBJECT_KEPT_BYTES 65536 /* of memory, between two objects */

/* One channel that was refused for now. */
struct again {
	struct sub *sub;
	struct retry retry;
	es_call *call;
};

static void ask_more(struct sub *sub, struct client *client) LOOP_THREAD;

static void
path(char *out, size_t size, void *arg)
{
	(void)arg;
	(void)snprintf(out, size, "/ws");
}

static void
out_of_memory(struct sub *sub)
{
	es_loop_assert(sub->session->loop);
	ctl_say("%s", strerror(ENOMEM));
	sub_end(sub, CTL_FAILED, 1000, "");
}

/* 0, or what client_send() says; -EAGAIN: on_room will come. */
static int
ask(struct sub *sub, struct client *client, size_t index)
{
	struct follow *follow = &sub->follow;
	struct v1_command command;
	int error;

	es_loop_assert(sub->session->loop);
	hearing_ask(&follow->hearing, index, &command);
	buffer_clear(&follow->command);
	error = v1_put_command(&follow->command, COMMAND_BYTES_MAX, &command);
	if (error == 0)
		error = client_send(client, CLIENT_TEXT, follow->command.data,
		    follow->command.len);
	if (error < 0)
		hearing_unask(&follow->hearing, index);
	return error;
}

static void
ask_more(struct sub *sub, struct client *client)
{
	struct follow *follow = &sub->follow;
	int error = 0;

	while (error == 0 && !sub->ending &&
	       follow->next < sub->channel_count &&
	       follow->hearing.asked < ASKED_MAX) {
		if (follow->hearing.channels[follow->next].state == HEARING_NOT)
			error = ask(sub, client, follow->next);
		if (error == 0)
			follow->next++;
	}
	if (error == -ENOMEM)
		out_of_memory(sub);
}

static void
on_again(void *arg)
{
	struct again *again = arg;
	struct sub *sub = again->sub;
	struct follow *follow = &sub->follow;
	const size_t index = (size_t)(again - follow->again);

	es_loop_assert(sub->session->loop);
	es_call_unref(again->call);
	again->call = NULL;
	hearing_retry(&follow->hearing, index);
	if (index < follow->next)
		follow->next = index;
	assert(sub->dial.client != NULL); /* else it was cancelled */
	ask_more(sub, sub->dial.client);
}

static void
again_later(struct sub *sub, size_t index, const char *text)
{
	struct again *again = &sub->follow.again[index];
	const es_usec delay = retry_failed(&again->retry, session_random());

	es_loop_assert(sub->session->loop);
	assert(again->call == NULL);
	if (delay < 0) {
		ctl_say("%s", text);
		sub_end(sub, CTL_FAILED, 1000, "");
		return;
	}
	dial_tell(
	    &sub->dial, "%s; again in %" PRId64 " ms", text, delay / 1000);
	if (es_call_later(sub->session->loop, delay, "follow.again", on_again,
		again, NULL, &again->call) < 0)
		out_of_memory(sub);
}

static void
forget_again(struct again *again)
{
	if (again->call == NULL)
		return;
	(void)es_call_cancel(again->call);
	es_call_unref(again->call);
	again->call = NULL;
}

static void
on_open(struct client *client, void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	sub->follow.next = 0;
	ask_more(sub, client);
}

static void
on_room(struct client *client, void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	ask_more(sub, client);
}

/* White space in a value may be a line end; this is one object a line. */
static void
take_object(struct sub *sub, struct place *place, const void *data, size_t len)
{
	size_t i;

	es_loop_assert(sub->session->loop);
	if (memchr(data, '\n', len) == NULL &&
	    memchr(data, '\r', len) == NULL) {
		sub_take(sub, place, data, len);
		return;
	}
	buffer_clear(&sub->line);
	if (buffer_append(&sub->line, data, len, OBJECT_BYTES_MAX) < 0) {
		out_of_memory(sub);
		return;
	}
	for (i = 0; i < len; i++)
		if (sub->line.data[i] == '\n' || sub->line.data[i] == '\r')
			sub->line.data[i] = ' ';
	sub_take(sub, place, sub->line.data, len);
}

static void
on_begun(struct sub *sub, const struct heard *heard)
{
	struct again *again = &sub->follow.again[heard->index];
	char position[POSITION_TEXT_MAX];

	es_loop_assert(sub->session->loop);
	retry_opened(&again->retry, RETRY_STABLE_US);
	(void)position_put(position, &heard->place->position);
	if (heard->text[0] != '\0')
		ctl_say("%s", heard->text);
	dial_tell(
	    &sub->dial, "%s: listening, %s", heard->place->channel, position);
	ask_more(sub, sub->dial.client);
}

static void
fault(struct sub *sub, const char *text)
{
	es_loop_assert(sub->session->loop);
	ctl_say("%s: not earshot.v1: %s", sub->options->url_text, text);
	sub_end(sub, CTL_FAILED, 1002, "not earshot.v1");
}

static void
on_refused(struct sub *sub, const struct heard *heard)
{
	es_loop_assert(sub->session->loop);
	if (heard->index == HEARD_NO_CHANNEL)
		ctl_say("%s: %s", sub->options->url_text, heard->text);
	else
		ctl_say("%s%s", heard->text,
		    heard->no_token ? "; " DIAL_TOKEN_ADVICE : "");
	sub_end(sub, CTL_FAILED, 1000, "");
}

/* Everything but messages. */
static void
act(struct sub *sub, const struct heard *heard)
{
	es_loop_assert(sub->session->loop);
	switch (heard->kind) {
	case HEARD_NOTHING:
	case HEARD_MESSAGE:
		return;
	case HEARD_BEGUN:
		on_begun(sub, heard);
		return;
	case HEARD_NOTICE:
		ctl_say("%s", heard->text);
		return;
	case HEARD_LATER:
		again_later(sub, heard->index, heard->text);
		ask_more(sub, sub->dial.client);
		return;
	case HEARD_REFUSED:
		on_refused(sub, heard);
		return;
	case HEARD_CLOSING:
		dial_tell(
		    &sub->dial, "%s: %s", sub->options->url_text, heard->text);
		sub->dial.hint = heard->retry_after_us;
		return;
	case HEARD_FAULT:
		fault(sub, heard->text);
		return;
	}
	assert(!"a kind of heard");
}

static void
on_message(enum client_kind kind, const void *data, size_t len, void *arg)
{
	struct sub *sub = arg;
	struct buffer *object = &sub->follow.object;
	struct v1_event event;
	struct heard heard;

	es_loop_assert(sub->session->loop);
	if (sub->ending)
		return;
	if (kind != CLIENT_TEXT) {
		fault(sub, "a binary message");
		return;
	}
	buffer_clear(object);
	if (buffer_append(object, data, len, OBJECT_BYTES_MAX) < 0) {
		out_of_memory(sub);
		return;
	}
	if (v1_parse_event(object->data, len, &event) < 0) {
		fault(sub, "a message that is none of its objects");
		return;
	}
	hear(&sub->follow.hearing, &event, &heard);
	if (heard.kind != HEARD_MESSAGE)
		act(sub, &heard);
	else if (sub->options->json)
		take_object(sub, heard.place, data, len);
	else
		sub_take(
		    sub, heard.place, event.message.payload, event.message.len);
	if (object->size > OBJECT_KEPT_BYTES)
		buffer_fini(object);
}

static void
on_lost(uint16_t code, const char *reason, size_t len, void *arg)
{
	struct sub *sub = arg;
	size_t i;

	(void)code;
	(void)reason;
	(void)len;
	for (i = 0; i < sub->channel_count; i++)
		forget_again(&sub->follow.again[i]);
	hearing_forget(&sub->follow.hearing);
}

int
follow_start(struct sub *sub)
{
	static const struct dial_ops ops = { .subprotocol = V1_SUBPROTOCOL,
		.advice = "without earshot.v1: --raw, one channel at a time",
		.path = path,
		.opened = on_open,
		.message = on_message,
		.room = on_room,
		.lost = on_lost,
		.gave_up = sub_gave_up,
		.over = sub_over };
	const struct ctl_options *options = sub->options;
	struct follow *follow = &sub->follow;
	struct from from = { .kind = FROM_LIVE };
	size_t i;

	if (options->from != NULL &&
	    from_get(options->from, strlen(options->from), &from) < 0)
		assert(!"a --from that was checked");
	follow->again =
	    memory_zalloc(sub->channel_count * sizeof(*follow->again));
	if (follow->again == NULL ||
	    hearing_init(
		&follow->hearing, &sub->places, sub->channel_count, &from) < 0)
		return -ENOMEM;
	for (i = 0; i < sub->channel_count; i++) {
		follow->again[i].sub = sub;
		retry_init(&follow->again[i].retry, options->retries,
		    CTL_RETRIES_DEFAULT);
	}
	dial_init(&sub->dial, sub->session, &ops, sub, sub->states);
	dial_start(&sub->dial);
	return 0;
}

void
follow_end(struct sub *sub)
{
	struct follow *follow = &sub->follow;
	size_t i;

	for (i = 0; follow->again != NULL && i < sub->channel_count; i++)
		forget_again(&follow->again[i]);
	memory_free(follow->again);
	hearing_fini(&follow->hearing);
	buffer_fini(&follow->object);
	buffer_fini(&follow->command);
}
