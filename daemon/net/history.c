/*
 * History and channels over HTTP: GET /channels/CHANNEL/messages, JSON or
 * ndjson; GET /channels and /channels/CHANNEL.
 *
 * The happy path: history_begin() finds what is to be sent -> headers, chunked
 * -> a slice of messages each time the socket takes more -> the last chunk.
 *
 * What can go wrong: retention overtakes a slow reader: the answer ends early
 * and is not a whole JSON text, as the missing last chunk says; 404 for a
 * channel that has never been.
 */

#include "proto/history.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/decimal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#define SLICE_BYTES (64 * 1024)
#define CHUNK_HEAD_BYTES 10 /* "%08x\r\n" */
#define LIMIT_DEFAULT 100
#define LIST_BYTES_MAX (64 * (size_t)LIMITS_MIB)

struct history {
	char channel[CHANNEL_NAME_MAX + 1];
	uint64_t epoch;
	int64_t next, last;
	bool ndjson, chunked, first;
	struct buffer scratch;
};

void
history_abandon(struct conn *conn)
{
	if (conn->history == NULL)
		return;
	buffer_fini(&conn->history->scratch);
	memory_free(conn->history);
	conn->history = NULL;
}

static int
get_limit(struct conn *conn, int64_t *ret_limit) LOOP_THREAD
{
	const int64_t most = conn->net->conf->limits.history_limit_max;
	char text[24];
	const int len = http_argument(conn, "limit=", text, sizeof(text));

	*ret_limit = LIMIT_DEFAULT < most ? LIMIT_DEFAULT : most;
	if (len == -ENOENT)
		return 0;
	if (len > 0 && decimal_get(text, (size_t)len, ret_limit) == 0 &&
	    *ret_limit >= 1 && *ret_limit <= most)
		return 0;
	return http_error(conn, 400, "bad_limit",
	    "limit: expected 1 to %" PRId64 " (limits.history_limit_max)",
	    most);
}

static bool
wants_ndjson(struct conn *conn)
{
	char accept[256];

	return http_header(
		   conn, WSI_TOKEN_HTTP_ACCEPT, accept, sizeof(accept)) > 0 &&
	       strstr(accept, "application/x-ndjson") != NULL;
}

static bool
is_http_1_1(struct conn *conn)
{
	char version[16];

	return http_header(conn, WSI_TOKEN_HTTP, version, sizeof(version)) >=
		   8 &&
	       strcmp(version, "HTTP/1.0") != 0;
}

/* != 0: refused, and answered. */
static int
find(struct conn *conn, const char *channel,
    struct hub_history *ret_history) LOOP_THREAD
{
	struct from from;
	int64_t limit;
	int error, result;

	result = http_may_subscribe(conn, channel, strlen(channel));
	if (result == 0)
		result = http_from(conn, &from);
	if (result == 0)
		result = get_limit(conn, &limit);
	if (result != 0)
		return result;
	error = hub_history(conn->net->hub, channel, strlen(channel), &from,
	    limit, clock_wall_us(), ret_history);
	if (error == -ENOENT)
		return http_error(
		    conn, 404, "no_channel", "no message has been published");
	assert(error == 0); /* the name has been checked */
	if (limit == conn->net->conf->limits.history_limit_max &&
	    ret_history->last - ret_history->first + 1 >= limit)
		conn->net->counts.history_limited++;
	return 0;
}

static int
write_headers(struct conn *conn, const struct hub_history *found) LOOP_THREAD
{
	const struct history *history = conn->history;
	char position[POSITION_TEXT_MAX], headers[512];
	int len;

	(void)position_put(position, &found->answer.position);
	len = snprintf(headers, sizeof(headers),
	    "%sEarshot-Position: %s\r\nEarshot-Recovered: %s\r\n",
	    history->chunked ? "Transfer-Encoding: chunked\r\n"
			     : "Connection: close\r\n",
	    position, found->answer.recovered ? "true" : "false");
	assert(len > 0);
	assert((size_t)len < sizeof(headers));
	return http_stream_headers(conn,
	    history->ndjson ? "application/x-ndjson" : "application/json",
	    headers);
}

static int
put_head(const struct history *history, const struct hub_history *found,
    struct buffer *out)
{
	const struct history_head head = {
		.channel = history->channel,
		.channel_len = strlen(history->channel),
		.oldest = found->oldest,
		.newest = found->newest,
		.position = found->answer.position,
		.recovered = found->answer.recovered,
		.gap_from = found->answer.gap_from,
		.gap_to = found->answer.gap_to,
	};

	return history->ndjson ? 0 : history_put_head(out, SIZE_MAX / 2, &head);
}

/* A chunk's head is as long as its length can be, and comes first. */
static int
chunk_begin(const struct history *history, struct buffer *out)
{
	buffer_init(out);
	return history->chunked ? buffer_append(out, "00000000\r\n",
				      CHUNK_HEAD_BYTES, SIZE_MAX / 2)
				: 0;
}

static int
chunk_end(const struct history *history, bool last, struct buffer *out)
{
	char head[CHUNK_HEAD_BYTES + 1];
	size_t len;

	if (!history->chunked)
		return 0;
	len = out->len - CHUNK_HEAD_BYTES;
	if (len == 0) /* an empty chunk would end the answer */
		buffer_clear(out);
	else {
		assert(len <= UINT32_MAX);
		(void)snprintf(head, sizeof(head), "%08x\r\n", (unsigned)len);
		memcpy(out->data, head, CHUNK_HEAD_BYTES);
		if (buffer_append(out, "\r\n", 2, SIZE_MAX / 2) < 0)
			return -ENOMEM;
	}
	return last ? buffer_append(out, "0\r\n\r\n", 5, SIZE_MAX / 2) : 0;
}

static int
put_messages(struct conn *conn, struct buffer *out)
{
	struct history *history = conn->history;
	struct message message;
	int error = 0;

	while (error == 0 && history->next <= history->last &&
	       out->len < SLICE_BYTES) {
		error = hub_read(conn->net->hub, history->channel,
		    strlen(history->channel), history->epoch, history->next,
		    &history->scratch, &message);
		if (error < 0)
			break;
		error = history->ndjson
			    ? history_put_line(out, SIZE_MAX / 2, &message)
			    : history_put_message(
				  out, SIZE_MAX / 2, &message, history->first);
		history->first = false;
		history->next++;
	}
	return error;
}

static int
write_slice(struct conn *conn, struct buffer *out) LOOP_THREAD
{
	struct history *history = conn->history;
	const bool last = history->next > history->last;
	int error = 0;

	if (last && !history->ndjson)
		error = history_put_tail(out, SIZE_MAX / 2);
	if (error == 0)
		error = chunk_end(history, last, out);
	if (error == 0 && out->len > 0 &&
	    lws_write(conn->wsi, out->data, out->len, LWS_WRITE_HTTP) < 0)
		error = -EPIPE;
	return error;
}

/* -1: hang up, an answer that is cut off must not look whole. */
static int
slice_done(struct conn *conn, int error) LOOP_THREAD
{
	struct history *history = conn->history;

	if (error < 0)
		return -1;
	if (history->next <= history->last) {
		conn_set_deadline(
		    conn, conn->net->conf->limits.request_timeout);
		(void)lws_callback_on_writable(conn->wsi); /* and again */
		return 0;
	}
	const bool kept = history->chunked;
	history_abandon(conn);
	conn_set_state(conn, CONN_IDLE);
	conn_set_deadline(conn, conn->net->conf->limits.keepalive_timeout);
	return http_end(conn, kept ? 1 : -1);
}

int
history_on_writable(struct conn *conn)
{
	struct buffer out;
	int error = chunk_begin(conn->history, &out);

	if (error == 0)
		error = put_messages(conn, &out);
	if (error == 0)
		error = write_slice(conn, &out);
	buffer_fini(&out);
	return slice_done(conn, error);
}

static int
begin(struct conn *conn, const struct hub_history *found) LOOP_THREAD
{
	struct buffer out;
	int error;

	if (write_headers(conn, found) < 0)
		return -1;
	error = chunk_begin(conn->history, &out);
	if (error == 0)
		error = put_head(conn->history, found, &out);
	if (error == 0)
		error = put_messages(conn, &out);
	if (error == 0)
		error = write_slice(conn, &out);
	buffer_fini(&out);
	return slice_done(conn, error);
}

int
history_begin(struct conn *conn, const char *channel)
{
	struct hub_history found;
	struct history *history;
	int result;

	if (!http_origin_allowed(conn))
		return http_end(conn, http_bad_origin(conn));
	result = find(conn, channel, &found);
	if (result != 0)
		return http_end(conn, result);
	history = memory_zalloc(sizeof(*history));
	if (history == NULL)
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	(void)strcpy(history->channel, channel); /* a name that was checked */
	history->epoch = found.answer.position.epoch;
	history->next = found.first;
	history->last = found.last;
	history->ndjson = wants_ndjson(conn);
	history->chunked = is_http_1_1(conn);
	history->first = true;
	conn->history = history;
	return begin(conn, &found);
}

struct listing {
	struct buffer *out;
	bool first;
	int error;
};

static void
put_channel(const struct hub_channel_stats *stats, void *arg)
{
	struct listing *listing = arg;

	if (listing->error == 0 && !listing->first)
		listing->error =
		    buffer_append(listing->out, ",", 1, LIST_BYTES_MAX);
	if (listing->error == 0)
		listing->error = channel_put(listing->out, stats);
	listing->first = false;
}

int
channel_put(struct buffer *out, const struct hub_channel_stats *stats)
{
	return buffer_printf(out, LIST_BYTES_MAX,
	    "{\"channel\":\"%s\",\"epoch\":\"%016" PRIx64
	    "\",\"oldest\":%" PRId64 ",\"newest\":%" PRId64
	    ",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
	    ",\"consumers\":%" PRIu32 ",\"memory_bytes\":%" PRIu64
	    ",\"lag\":{\"messages\":%" PRId64 ",\"bytes\":%" PRIu64
	    ",\"seconds\":%.3f}}",
	    stats->name, stats->epoch, stats->oldest, stats->newest,
	    stats->messages_in, stats->bytes_in, stats->consumers,
	    stats->memory_bytes, stats->lag_messages_max, stats->lag_bytes_max,
	    (double)stats->lag_us_max / LIMITS_S);
}

static int
answer_list(struct conn *conn, struct buffer *out, int error) LOOP_THREAD
{
	int result;

	if (error == 0)
		error = buffer_append(out, "\n", 1, LIST_BYTES_MAX);
	result = error < 0 ? http_error(conn, 503, "no_memory", "out of memory")
			   : http_answer(conn, &(struct answer){ .status = 200,
						   .body = out->data,
						   .len = out->len });
	buffer_fini(out);
	return http_end(conn, result);
}

int
channels_answer(struct conn *conn)
{
	struct buffer out;
	struct listing listing = { .out = &out, .first = true };

	if ((conn->who.rights & CONF_SUBSCRIBE) == 0)
		return http_end(conn, http_error(conn, 403, "not_allowed",
					  "subscribing is not allowed"));
	buffer_init(&out);
	listing.error = buffer_printf(&out, LIST_BYTES_MAX, "{\"channels\":[");
	hub_each_channel(
	    conn->net->hub, clock_wall_us(), put_channel, &listing);
	if (listing.error == 0)
		listing.error = buffer_printf(&out, LIST_BYTES_MAX, "]}");
	return answer_list(conn, &out, listing.error);
}

int
channel_answer(struct conn *conn, const char *channel)
{
	struct hub_channel_stats stats;
	struct buffer out;
	struct listing listing = { .out = &out, .first = true };
	const int result = http_may_subscribe(conn, channel, strlen(channel));

	if (result != 0)
		return http_end(conn, result);
	if (hub_find(conn->net->hub, channel, strlen(channel), clock_wall_us(),
		&stats) < 0)
		return http_end(conn, http_error(conn, 404, "no_channel",
					  "no message has been published"));
	buffer_init(&out);
	put_channel(&stats, &listing);
	return answer_list(conn, &out, listing.error);
}
