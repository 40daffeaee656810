/*
 * connection: one connection of an upstream, as the loop sees it.
 *
 * The happy path: connection_open() -> on_open sends the first messages ->
 * on_message publishes -> on_close tells the task.
 *
 * - Text is known to be UTF-8 when it arrives; a message that is too long, or
 *   text that is none, has closed the connection (1009, 1007) before.
 * - The sink asks for patience, or a handler does: the socket is not read, and
 *   the peer's TCP window closes.
 * - However a connection ends, its handler hears of that once
 *   (hooks_over()).
 * - A mirror that says what no earshot.v1 server says: closed with 1002.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/feed/upstream_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ORIGIN_BYTES_MAX 320
#define MIRROR_BYTES_PER_BYTE 6 /* of text, at most: \u0000 */
#define MIRROR_OVERHEAD_BYTES 1024

static const char *
name_of(const struct upstream *upstream)
{
	return upstream->feed.conf->name;
}

static const char *
remote_channel(const struct upstream *upstream)
{
	return upstream->conf->remote_channel ? upstream->conf->remote_channel
					      : upstream->feed.conf->channel;
}

static void
notice(const struct upstream *upstream, const char *state)
{
	const struct feeds_options *options = &upstream->feed.host->options;

	if (options->notice)
		options->notice(upstream->feed.conf->channel, name_of(upstream),
		    state, options->arg);
}

/* We end it: say why, for the log and the metrics; the first counts. */
void
connection_fall(struct upstream *upstream, uint16_t code, const char *why)
{
	if (!upstream->fallen)
		feed_set_error(&upstream->feed, "%s", why);
	upstream->fallen = true;
	hooks_error(upstream, -ECONNABORTED);
	client_close(upstream->client, code, why);
}

void
connection_keep(struct upstream *upstream)
{
	if (upstream->mirror.known)
		kept_moved(&upstream->kept, &upstream->mirror.position);
}

static void
send_first(struct upstream *upstream) LOOP_THREAD
{
	const struct conf_list *sends = &upstream->conf->sends;
	struct buffer text;
	size_t i;
	int r = 0;

	for (i = 0; i < sends->count && r == 0; i++)
		r = client_send(upstream->client, CLIENT_TEXT, sends->items[i],
		    strlen(sends->items[i]));
	upstream->own_messages = i;
	if (upstream->conf->mirror) {
		buffer_init(&text);
		r = mirror_subscribe(
		    &upstream->mirror, remote_channel(upstream), &text);
		if (r == 0)
			r = client_send(
			    upstream->client, CLIENT_TEXT, text.data, text.len);
		buffer_fini(&text);
	}
	if (r < 0)
		connection_fall(upstream, 1011,
		    r == -EILSEQ ? "a first message is not UTF-8"
				 : "no room for the first messages");
}

static void
on_open(struct client *client, void *arg)
{
	struct upstream *upstream = arg;
	struct feed *feed = &upstream->feed;
	const bool again = feed->starts > 0;

	es_loop_assert(feed->host->options.net);
	assert(client == upstream->client || !upstream->client);
	upstream->client = client;
	feed->starts++;
	upstream->opened = true;
	upstream->opened_us = upstream->heard_us = upstream->message_us =
	    clock_now_us();
	feed_set_state(feed, FEED_RUNNING);
	if (feed_may_say(feed))
		log_info("upstream is open url=%s feed=%s channel=%s",
		    upstream->shown, feed->conf->name, feed->conf->channel);
	send_first(upstream);
	hooks_open(upstream);
	if (again)
		notice(upstream, "reconnected");
	connection_set_reading(upstream);
	upstream_tell(upstream);
}

static void
tell_gap(struct upstream *upstream)
{
	uint64_t held;

	if (upstream->mirror.missing == upstream->gaps_told)
		return;
	upstream->gaps_told = upstream->mirror.missing;
	if (limiter_allow(&upstream->gap_limiter, clock_now_us(), &held))
		log_warn("upstream did not keep %" PRIu64
			 " messages so far feed=%s channel=%s",
		    upstream->mirror.missing, name_of(upstream),
		    upstream->feed.conf->channel);
}

static void
publish_mirrored(
    struct upstream *upstream, const struct message *message) LOOP_THREAD
{
	static const enum sink_bytes kinds[] = {
		[MESSAGE_TEXT] = SINK_TEXT,
		[MESSAGE_JSON] = SINK_JSON,
		[MESSAGE_BINARY] = SINK_BINARY,
	};

	if (message->len > upstream->feed.sink.message_bytes_max)
		connection_fall(
		    upstream, 1009, "a mirrored message is too long");
	else
		sink_publish(&upstream->feed.sink, kinds[message->kind],
		    message->payload, message->len);
}

static void
take_mirrored(
    struct upstream *upstream, const void *data, size_t len) LOOP_THREAD
{
	enum mirror_news news;
	struct v1_event event;
	int error = mirror_take(&upstream->mirror, data, len, &news, &event);

	if (error == -EACCES) {
		feed_set_error(&upstream->feed, "the other side refuses: %.*s",
		    (int)event.text.len,
		    event.text.text ? event.text.text : "");
		upstream->fallen = true;
		client_close(upstream->client, 1000, "refused");
		return;
	}
	if (error < 0) {
		connection_fall(upstream, error == -ENOMEM ? 1011 : 1002,
		    error == -ENOMEM ? "out of memory"
				     : "the other side speaks no earshot.v1");
		return;
	}
	tell_gap(upstream);
	if (news == MIRROR_MESSAGE) {
		publish_mirrored(upstream, &event.message);
	} else if (news == MIRROR_NEW_EPOCH) {
		log_warn("upstream has begun a new epoch feed=%s channel=%s",
		    name_of(upstream), upstream->feed.conf->channel);
		notice(upstream, "new_epoch");
	} else if (news == MIRROR_CLOSING && event.retry_after_ms >= 0) {
		upstream->retry_after_us =
		    1000 * (event.retry_after_ms < UPSTREAM_HINT_MS_MAX
				   ? event.retry_after_ms
				   : UPSTREAM_HINT_MS_MAX);
	}
}

/* A flood of it is for more than one iteration. */
static void
count_read(struct upstream *upstream, size_t len) LOOP_THREAD
{
	const struct conf_limits *limits = &upstream->feed.owner->limits;
	struct glue *glue = upstream->feed.host->options.glue;

	if (upstream->round != glue_round(glue)) {
		upstream->round = glue_round(glue);
		upstream->round_bytes = upstream->round_messages = 0;
	}
	upstream->round_bytes += len;
	upstream->round_messages++;
	if (upstream->round_bytes < (uint64_t)limits->feed_read_bytes_max &&
	    upstream->round_messages < SINK_MESSAGES_PER_ITERATION_MAX)
		return;
	upstream->feed.sink.reads_cut++;
	upstream->round_bytes = upstream->round_messages = 0;
	glue_read_enough(glue);
}

static void
on_message(struct client *client, enum client_kind kind, const void *data,
    size_t len, void *arg)
{
	struct upstream *upstream = arg;
	const bool binary = kind == CLIENT_BINARY;

	assert(client == upstream->client);
	es_loop_assert(upstream->feed.host->options.net);
	upstream->heard_us = upstream->message_us = clock_now_us();
	count_read(upstream, len);
	if (upstream->conf->mirror)
		take_mirrored(upstream, data, len);
	else if (upstream->session)
		hooks_message(upstream, binary, data, len);
	else
		sink_publish(&upstream->feed.sink,
		    binary ? SINK_BINARY : SINK_TEXT, data, len);
	if (!upstream->sink_waits && sink_wait(&upstream->feed.sink)) {
		upstream->sink_waits = true;
		connection_set_reading(upstream);
	}
	if (!upstream->sink_waits)
		connection_keep(upstream);
}

static void
on_pong(struct client *client, void *arg)
{
	struct upstream *upstream = arg;

	assert(client == upstream->client);
	upstream->heard_us = clock_now_us();
}

/* Ours come first: they were queued before the handler knew of it. */
static void
on_sent(struct client *client, size_t len, void *arg)
{
	struct upstream *upstream = arg;

	es_loop_assert(upstream->feed.host->options.net);
	assert(client == upstream->client);
	if (upstream->own_messages > 0)
		upstream->own_messages--;
	else if (upstream->session)
		hooks_sent(upstream, len);
}

static void
on_close(struct client *client, uint16_t code, const char *reason,
    size_t reason_len, void *arg)
{
	struct upstream *upstream = arg;

	es_loop_assert(upstream->feed.host->options.net);
	assert(client == upstream->client);
	if (upstream->fallen)
		; /* we know better than the peer why */
	else if (code == 1006)
		feed_set_error(&upstream->feed, "has lost its connection");
	else
		feed_set_error(&upstream->feed, "was closed with %u%s%.*s",
		    code, reason_len > 0 ? ": " : "", (int)reason_len, reason);
	hooks_over(upstream, code, reason, reason_len);
	upstream->ended = true;
	upstream_tell(upstream);
}

static void
on_error(struct client *client, const struct client_error *error, void *arg)
{
	struct upstream *upstream = arg;

	(void)client;
	es_loop_assert(upstream->feed.host->options.net);
	feed_set_error(&upstream->feed, "cannot connect to %s: %s",
	    upstream->shown, error->text);
	upstream->ended = upstream->refused = true;
	upstream_tell(upstream);
}

static const struct client_ops client_ops = {
	.on_open = on_open,
	.on_message = on_message,
	.on_pong = on_pong,
	.on_sent = on_sent,
	.on_close = on_close,
	.on_error = on_error,
};

static size_t
message_bytes_max(const struct upstream *upstream)
{
	const size_t max = upstream->feed.sink.message_bytes_max;

	return upstream->conf->mirror
		   ? max * MIRROR_BYTES_PER_BYTE + MIRROR_OVERHEAD_BYTES
		   : max;
}

uint64_t
connection_compressed_bytes(const struct upstream *upstream)
{
	return upstream->compressed_bytes +
	       (upstream->client ? client_packed_bytes(upstream->client) : 0);
}

static void
connection_forget(struct upstream *upstream) LOOP_THREAD
{
	upstream->compressed_bytes = connection_compressed_bytes(upstream);
	client_free(upstream->client);
	upstream->client = NULL;
}

int
connection_open(void *arg, es_value *ret)
{
	struct upstream *upstream = arg;
	const struct conf_upstream *conf = upstream->conf;
	const char *headers[CONF_ARGS_MAX + 2] = { NULL };
	char origin[ORIGIN_BYTES_MAX];
	struct client_options options = {
		.peer = { .address = upstream->address,
		    .port = upstream->peer.port,
		    .host = upstream->peer.host,
		    .tls = upstream->peer.tls },
		.path = upstream->path,
		.subprotocol =
		    conf->mirror ? V1_SUBPROTOCOL : conf->subprotocol,
		.headers = headers,
		.compression = conf->compression,
		.message_bytes_max = message_bytes_max(upstream),
		/* The first messages, and what a handler is let (hooks.h). */
		.queue_bytes_max = SIZE_MAX / 2,
		.connect_timeout = conf->connect_timeout_us,
		.close_timeout = UPSTREAM_CLOSE_US,
	};
	size_t n = 0;
	int error;

	(void)ret;
	if (upstream->orphan)
		return -ECANCELED;
	es_loop_assert(upstream->feed.host->options.net);
	connection_forget(upstream); /* whose drop found no memory */
	for (n = 0; n < conf->headers.count; n++)
		headers[n] = conf->headers.items[n];
	if (conf->origin) {
		(void)snprintf(
		    origin, sizeof(origin), "Origin: %s", conf->origin);
		headers[n] = origin;
	}
	error = trust_open(upstream);
	if (error < 0)
		return error;
	error = client_open(upstream->outbound, &options, &client_ops, upstream,
	    &upstream->client);
	if (error < 0)
		feed_set_error(&upstream->feed, "cannot connect to %s: %s",
		    upstream->shown, strerrordesc_np(-error));
	return error;
}

void
connection_set_reading(struct upstream *upstream)
{
	const bool pause = upstream->sink_waits || upstream->asked_to_rest ||
			   upstream->leaving;

	if (!upstream->client || upstream->ended)
		return;
	if (pause) {
		client_pause(upstream->client);
	} else if (upstream->paused) {
		/* What it said meanwhile is read only now. */
		upstream->heard_us = upstream->message_us = clock_now_us();
		upstream->pinged_us = 0;
		client_resume(upstream->client);
	}
	upstream->paused = pause;
}

int
connection_ping(void *arg, es_value *ret)
{
	struct upstream *upstream = arg;

	(void)ret;
	if (upstream->orphan)
		return -ECANCELED;
	es_loop_assert(upstream->feed.host->options.net);
	if (upstream->client)
		client_ping(upstream->client);
	return 0;
}

int
connection_rest(void *arg, es_value *ret)
{
	struct upstream *upstream = arg;

	(void)ret;
	if (upstream->orphan)
		return -ECANCELED;
	es_loop_assert(upstream->feed.host->options.net);
	upstream->leaving = true;
	connection_set_reading(upstream);
	return 0;
}

int
connection_close(void *arg, es_value *ret)
{
	struct upstream *upstream = arg;

	(void)ret;
	if (upstream->orphan)
		return -ECANCELED;
	es_loop_assert(upstream->feed.host->options.net);
	if (upstream->client)
		client_close(upstream->client, 1001, "going away");
	return 0;
}

int
connection_drop(void *arg, es_value *ret)
{
	struct upstream *upstream = arg;

	(void)ret;
	if (upstream->orphan)
		return -ECANCELED;
	es_loop_assert(upstream->feed.host->options.net);
	connection_forget(upstream);
	if (upstream->fallen) /* no answer in time, and the like */
		hooks_error(upstream, -ETIMEDOUT);
	hooks_over(upstream, 1006, "", 0);
	return 0;
}

void
connection_free(struct upstream *upstream)
{
	connection_forget(upstream);
	hooks_over(upstream, 1006, "", 0);
	outbound_close(upstream->outbound);
	upstream->outbound = NULL;
}
