/*
 * History and channels over HTTP: GET /channels/CHANNEL/messages, JSON or
 * ndjson; GET /channels and /channels/CHANNEL.
 *
 * The happy path: history_begin() finds what is to be sent -> its messages one
 * after the other, in slices.
 *
 * What can go wrong: retention overtakes a slow reader: the answer ends early;
 * 404 for a channel that has never been.
 */

#include "proto/history.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/decimal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_DEFAULT 100
#define CHANNEL_BYTES_MAX (4 * (size_t)LIMITS_MIB) /* and of those before it */

struct history {
	struct slices slices;
	char channel[CHANNEL_NAME_MAX + 1];
	struct hub_history found;
	struct hub_channel_stats stats;
	int64_t next;
	bool ndjson, begun;
	struct buffer scratch;
};

static void
history_free(struct slices *slices)
{
	struct history *history = LIST_ENTRY(slices, struct history, slices);

	buffer_fini(&history->scratch);
	memory_free(history);
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
put_head(const struct history *history, struct buffer *out)
{
	const struct hub_history *found = &history->found;
	const struct history_head head = {
		.channel = history->channel,
		.channel_len = strlen(history->channel),
		.oldest = found->oldest,
		.newest = found->newest,
		.position = found->answer.position,
		.recovered = found->answer.recovered,
		.gap_from = found->answer.gap_from,
		.gap_to = found->answer.gap_to,
		.lag_messages = history->stats.lag_messages_max,
		.lag_bytes = (int64_t)history->stats.lag_bytes_max,
		.lag_us = history->stats.lag_us_max,
	};

	return history->ndjson ? 0 : history_put_head(out, SIZE_MAX / 2, &head);
}

static int
put_message(struct conn *conn, struct history *history, struct buffer *out)
{
	const bool first = history->next == history->found.first;
	struct message message;
	const int error = hub_read(conn->net->hub, history->channel,
	    strlen(history->channel), history->found.answer.position.epoch,
	    history->next, &history->scratch, &message);

	if (error < 0)
		return error;
	history->next++;
	return history->ndjson
		   ? history_put_line(out, SIZE_MAX / 2, &message)
		   : history_put_message(out, SIZE_MAX / 2, &message, first);
}

static int
put(struct conn *conn, struct slices *slices, struct buffer *out)
{
	struct history *history = LIST_ENTRY(slices, struct history, slices);
	int error = 0;

	if (!history->begun)
		error = put_head(history, out);
	history->begun = true;
	if (error == 0 && history->next <= history->found.last)
		error = put_message(conn, history, out);
	if (error < 0)
		return error;
	if (history->next <= history->found.last)
		return 1;
	return history->ndjson ? 0 : history_put_tail(out, SIZE_MAX / 2);
}

static int
begin(struct conn *conn, struct history *history) LOOP_THREAD
{
	const struct hub_answer *answer = &history->found.answer;
	char position[POSITION_TEXT_MAX], headers[256];
	int len;

	(void)position_put(position, &answer->position);
	len = snprintf(headers, sizeof(headers),
	    "Earshot-Position: %s\r\nEarshot-Recovered: %s\r\n", position,
	    answer->recovered ? "true" : "false");
	assert(len > 0);
	assert((size_t)len < sizeof(headers));
	return slices_begin(conn, &history->slices,
	    history->ndjson ? "application/x-ndjson" : "application/json",
	    headers);
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
	history->slices.put = put;
	history->slices.free = history_free;
	history->found = found;
	history->next = found.first;
	history->ndjson = wants_ndjson(conn);
	if (!history->ndjson) /* it was found */
		(void)hub_find(conn->net->hub, channel, strlen(channel),
		    clock_wall_us(), &history->stats);
	return begin(conn, history);
}

int
channel_put(struct buffer *out, const struct hub_channel_stats *stats)
{
	return buffer_printf(out, CHANNEL_BYTES_MAX,
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
answer(struct conn *conn, struct buffer *out, int error) LOOP_THREAD
{
	int result;

	if (error == 0)
		error = buffer_append(out, "\n", 1, CHANNEL_BYTES_MAX);
	result = error < 0 ? http_error(conn, 503, "no_memory", "out of memory")
			   : http_answer(conn, &(struct answer){ .status = 200,
						   .body = out->data,
						   .len = out->len });
	buffer_fini(out);
	return http_end(conn, result);
}

int
channels_begin(struct conn *conn, const char *channel)
{
	/* Who has a token sees what it names, maybe nothing. */
	if ((conn->who.rights & CONF_SUBSCRIBE) == 0 && conn->who.token == NULL)
		return http_end(conn, access_forbidden(conn, "subscribing"));
	return inspect_channels(conn, channel);
}

int
channel_answer(struct conn *conn, const char *channel)
{
	struct hub_channel_stats stats;
	struct buffer out;
	const int result = http_may_subscribe(conn, channel, strlen(channel));

	if (result != 0)
		return http_end(conn, result);
	if (hub_find(conn->net->hub, channel, strlen(channel), clock_wall_us(),
		&stats) < 0)
		return http_end(conn, http_error(conn, 404, "no_channel",
					  "no message has been published"));
	buffer_init(&out);
	return answer(conn, &out, channel_put(&out, &stats));
}
