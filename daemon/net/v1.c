/*
 * earshot.v1: many channels on one connection, JSON both ways
 * (proto/earshot.v1.md).
 *
 * The happy path: a text message -> v1_parse_command() -> the command does
 * its work and its answer goes into out, before any message that follows from
 * it -> messages come as spans of the channels' v1 views.
 *
 * What can go wrong: a faulty command is answered with an error and counted;
 * violations_max of them close with 1008.  A subscription that ends in the
 * middle of a long message ends with that message.
 */

#include "proto/v1.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPLY_BYTES_MAX 1024

/* A reply is put into a buffer first: its length comes before it. */
#define REPLY(conn, call)                                                      \
	do {                                                                   \
		struct buffer reply;                                           \
		buffer_init(&reply);                                           \
		if ((call) < 0)                                                \
			conn_close((conn), 1011, "out of memory");             \
		else                                                           \
			(void)conn_out((conn), reply.data, reply.len);         \
		buffer_fini(&reply);                                           \
	} while (0)

static void
reply_error(struct conn *conn, int64_t id, enum v1_error error,
    const char *text) LOOP_THREAD
{
	struct net *net = conn->net;

	net->counts.v1_errors++;
	REPLY(conn, v1_put_error(&reply, REPLY_BYTES_MAX, id, error, text));
	if (!v1_error_violation(error))
		return;
	if (++conn->violations >= net->conf->limits.violations_max) {
		net->counts.refused_violations++;
		conn_close(conn, 1008, "too many faulty commands");
	}
}

static const struct {
	int error;
	enum v1_error code;
	const char *text; /* after the command's name */
} errors[] = {
	{ -EINVAL, V1_ERROR_BAD_CHANNEL, ".channel: not a name" },
	{ -EMSGSIZE, V1_ERROR_TOO_LARGE, ": message_bytes_max is reached" },
	{ -ENFILE, V1_ERROR_TOO_MANY_CHANNELS, ": channels_max is reached" },
	{ -ENOBUFS, V1_ERROR_NO_ROOM, ": a memory limit is reached" },
	{ -ESHUTDOWN, V1_ERROR_CLOSING, ": the server is closing" },
	{ -EIO, V1_ERROR_FILTER_FAILED, ": the channel's filter failed" },
	{ -ENOMEM, V1_ERROR_NO_MEMORY, ": out of memory" },
};

static void
reply_hub_error(struct conn *conn, enum v1_command_kind kind, int64_t id,
    int error) LOOP_THREAD
{
	const size_t n = sizeof(errors) / sizeof(*errors);
	char text[V1_FAULT_TEXT_MAX];
	size_t i;

	for (i = 0; i < n - 1; i++)
		if (errors[i].error == error)
			break;
	(void)snprintf(text, sizeof(text), "%s%s",
	    kind == V1_SUBSCRIBE ? "subscribe" : "publish", errors[i].text);
	reply_error(conn, id, errors[i].code, text);
}

static void
reply_gap(struct conn *conn, const struct v1_command *command,
    const struct hub_answer *answer) LOOP_THREAD
{
	if (answer->gap_from == 0)
		return;
	REPLY(
	    conn, v1_put_gap(&reply, REPLY_BYTES_MAX, command->channel,
		      command->channel_len, answer->gap_from, answer->gap_to));
}

static void
subscribe(struct conn *conn, const struct v1_command *command) LOOP_THREAD
{
	struct subscription *subscription;
	struct hub_answer answer;
	int error;

	subscription = memory_zalloc(sizeof(*subscription));
	if (subscription == NULL) {
		reply_hub_error(conn, V1_SUBSCRIBE, command->id, -ENOMEM);
		return;
	}
	error = hub_subscribe(conn->net->hub, &subscription->consumer,
	    command->channel, command->channel_len, conn_view(conn),
	    &command->from, clock_wall_us(), &answer);
	if (error < 0) {
		memory_free(subscription);
		reply_hub_error(conn, V1_SUBSCRIBE, command->id, error);
		return;
	}
	conn_subscribed(conn, subscription);
	REPLY(conn, v1_put_subscribed(&reply, REPLY_BYTES_MAX, command->id,
			command->channel, command->channel_len,
			&answer.position, answer.recovered));
	reply_gap(conn, command, &answer);
}

/* Who has no token is told that there are such. */
static void
reply_not_allowed(
    struct conn *conn, enum v1_command_kind kind, int64_t id) LOOP_THREAD
{
	const bool subscribe = kind == V1_SUBSCRIBE;

	if (conn->who.token == NULL && conn->net->keyring != NULL)
		reply_error(conn, id, V1_ERROR_NO_TOKEN,
		    subscribe ? "subscribe.channel: takes a token"
			      : "publish.channel: takes a token");
	else
		reply_error(conn, id, V1_ERROR_NOT_ALLOWED,
		    subscribe ? "subscribe.channel: not allowed"
			      : "publish.channel: not allowed");
}

static void
on_subscribe(struct conn *conn, const struct v1_command *command) LOOP_THREAD
{
	struct net *net = conn->net;

	if (!hub_may(net->hub, &conn->who, CONF_SUBSCRIBE, command->channel,
		command->channel_len))
		reply_not_allowed(conn, V1_SUBSCRIBE, command->id);
	else if (conn_find_subscription(
		     conn, command->channel, command->channel_len) != NULL)
		reply_error(conn, command->id, V1_ERROR_ALREADY_SUBSCRIBED,
		    "subscribe.channel: subscribed already");
	else if (conn->subscription_count >=
		 net->conf->limits.subscriptions_max) {
		net->counts.refused_subscriptions++;
		reply_error(conn, command->id, V1_ERROR_TOO_MANY_SUBSCRIPTIONS,
		    "subscribe: subscriptions_max is reached");
	} else
		subscribe(conn, command);
}

/* The answer waits in out for the message's end; so does the end itself. */
static void
on_unsubscribe(struct conn *conn, const struct v1_command *command) LOOP_THREAD
{
	struct subscription *subscription = conn_find_subscription(
	    conn, command->channel, command->channel_len);

	if (subscription == NULL) {
		reply_error(conn, command->id, V1_ERROR_NOT_SUBSCRIBED,
		    "unsubscribe.channel: not subscribed");
		return;
	}
	conn_unsubscribe(conn, subscription);
	REPLY(conn, v1_put_unsubscribed(&reply, REPLY_BYTES_MAX, command->id,
			command->channel, command->channel_len));
}

static void
reply_published(struct conn *conn, int64_t id, int64_t offset,
    const struct position *position, const char *text) LOOP_THREAD
{
	if (offset == -EACCES)
		reply_error(conn, id, V1_ERROR_REFUSED, text);
	else if (offset < 0)
		reply_hub_error(conn, V1_PUBLISH, id, (int)offset);
	else
		REPLY(conn,
		    v1_put_published(&reply, REPLY_BYTES_MAX, id, position));
}

static void
on_verdict(struct hub_publisher *publisher, const struct hub_verdict *verdict)
{
	struct conn *conn = LIST_ENTRY(publisher, struct conn, publisher);

	glue_on_loop(conn->net->glue);
	if (conn_is_stream(conn))
		reply_published(conn, (int64_t)verdict->cookie, verdict->offset,
		    &verdict->position, verdict->text);
}

static const struct hub_publisher_ops publisher_ops = {
	.verdict = on_verdict,
	.full = conn_on_full,
};

static void
on_publish(struct conn *conn, const struct v1_command *command) LOOP_THREAD
{
	const struct hub_message message = {
		.kind = command->message_kind,
		.payload = command->payload,
		.len = command->payload_len,
		.checked = true, /* by the parser */
		.publisher = &conn->publisher,
		.cookie = (uint64_t)command->id,
	};
	struct position position;
	int64_t offset;

	if (!hub_may(conn->net->hub, &conn->who, CONF_PUBLISH, command->channel,
		command->channel_len)) {
		reply_not_allowed(conn, V1_PUBLISH, command->id);
		return;
	}
	offset =
	    hub_publish(conn->net->hub, command->channel, command->channel_len,
		HUB_OUTSIDE, &message, clock_wall_us(), &position);
	if (offset != -EINPROGRESS)
		reply_published(conn, command->id, offset, &position, NULL);
}

static void
run(struct conn *conn, const struct v1_command *command) LOOP_THREAD
{
	switch (command->kind) {
	case V1_SUBSCRIBE:
		on_subscribe(conn, command);
		return;
	case V1_UNSUBSCRIBE:
		on_unsubscribe(conn, command);
		return;
	case V1_PUBLISH:
		on_publish(conn, command);
		return;
	case V1_PING:
		REPLY(conn, v1_put_pong(&reply, REPLY_BYTES_MAX, command->id));
		return;
	}
	assert(!"a command");
}

static void
on_open(struct conn *conn)
{
	(void)conn; /* the client speaks first */
}

static bool
on_begin(struct conn *conn)
{
	(void)conn;
	return true;
}

/* The payload, and what a command has around it. */
static size_t
command_bytes_max(const struct conn *conn)
{
	return V1_COMMAND_BYTES_MAX(
	    (size_t)conn->net->conf->limits.message_bytes_max);
}

static void
on_message(struct conn *conn, bool text, uint8_t *data, size_t len)
{
	struct v1_command command;
	struct v1_fault fault;

	glue_on_loop(conn->net->glue);
	if (!text) {
		conn_close(conn, 1003, "commands are text");
		return;
	}
	conn->net->counts.v1_commands++;
	if (v1_parse_command(data, len, &command, &fault) < 0)
		reply_error(conn, fault.id, fault.error, fault.text);
	else
		run(conn, &command);
}

/* Inside a flush: told before the next message, which is after the gap. */
static bool
on_overrun(struct subscription *subscription, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside)
{
	struct conn *conn = subscription->conn;
	const char *channel = hub_consumer_channel(&subscription->consumer);
	struct buffer gap;
	bool told;

	(void)policy; /* skip and latest differ in `to` */
	glue_on_loop(conn->net->glue);
	if (inside) { /* nothing can follow half a message */
		conn_close(conn, 4009, "gap in %s:%" PRId64 "-%" PRId64,
		    channel, from, to);
		return false;
	}
	buffer_init(&gap);
	told = v1_put_gap(&gap, REPLY_BYTES_MAX, channel, strlen(channel), from,
		   to) == 0 &&
	       conn_out(conn, gap.data, gap.len) == 0;
	buffer_fini(&gap);
	return told;
}

static void
on_notice(struct conn *conn, const char *upstream, const char *state)
{
	glue_on_loop(conn->net->glue);
	REPLY(conn, v1_put_notice(&reply, REPLY_BYTES_MAX, upstream, state));
}

static void
on_shutdown(struct conn *conn, unsigned retry_after_ms)
{
	glue_on_loop(conn->net->glue);
	REPLY(conn, v1_put_closing(
			&reply, REPLY_BYTES_MAX, "shutdown", retry_after_ms));
	conn_close(conn, 1001, "shutdown retry_after_ms=%u", retry_after_ms);
}

static const struct endpoint v1_endpoint = {
	.name = V1_SUBPROTOCOL,
	.view = VIEW_V1,
	.view_deflated = VIEW_V1_DEFLATED,
	.open = on_open,
	.begin = on_begin,
	.message_bytes_max = command_bytes_max,
	.message = on_message,
	.overrun = on_overrun,
	.write = glue_write,
	.message_end = ws_message_end,
	.ping = ws_ping,
	.settle = conn_settle_leaving,
	.notice = on_notice,
	.shutdown = on_shutdown,
};

int
v1_begin(struct conn *conn)
{
	if (conn->net->closing)
		return http_error(
		    conn, 503, "closing", "the server is closing");
	conn->endpoint = &v1_endpoint;
	conn->publisher.ops = &publisher_ops;
	conn->publisher.strict = false;
	return 0;
}
