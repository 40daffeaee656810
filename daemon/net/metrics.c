/*
 * GET /metrics: Prometheus text, written afresh from the counters, in slices:
 * the daemon's own; of each channel, a metric after the other; what others
 * add.
 *
 * To add a metric: a line in the table of its struct below.  Names end in
 * _total where they only grow, in _bytes or _seconds where they have a unit.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <inttypes.h>
#include <stddef.h>

#define METRICS_BYTES_MAX (64 * (size_t)LIMITS_MIB)
#define CHANNELS_MAX 64 /* at once */

struct page {
	struct buffer *out;
	int error; /* the first one; nothing is written after it */
};

struct metric {
	const char *name, *type, *help;
	size_t offset; /* of a uint64_t in its struct */
};

static void
put_head(
    struct page *page, const char *name, const char *type, const char *help)
{
	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "# HELP earshot_%s %s\n# TYPE earshot_%s %s\n", name, help,
		    name, type);
}

static void
put(struct page *page, const char *name, const char *type, const char *help,
    uint64_t value)
{
	put_head(page, name, type, help);
	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_%s %" PRIu64 "\n", name, value);
}

static void
put_table(struct page *page, const struct metric *table, size_t count,
    const void *values)
{
	size_t i;

	for (i = 0; i < count; i++)
		put(page, table[i].name, table[i].type, table[i].help,
		    *(const uint64_t *)((const char *)values +
					table[i].offset));
}

#define PUT_TABLE(page, table, values)                                         \
	put_table(page, table, sizeof(table) / sizeof(*(table)), values)
#define COUNTER(type, field, name, help)                                       \
	{                                                                      \
		name, "counter", help, offsetof(type, field)                   \
	}

static const struct metric hub_metrics[] = {
#define HUB(field, name, help) COUNTER(struct hub_counts, field, name, help)
	HUB(messages_in, "messages_in_total", "messages published"),
	HUB(bytes_in, "bytes_in_total", "payload bytes published"),
	HUB(messages_out, "messages_out_total",
	    "messages written to consumers"),
	HUB(bytes_out, "bytes_out_total", "bytes written to consumers"),
	HUB(overruns, "overruns_total", "consumers overtaken by retention"),
	HUB(messages_skipped, "messages_skipped_total",
	    "messages that overtaken consumers lack"),
	HUB(refused_rights, "refused_rights_total",
	    "subscribes and publishes without the right"),
	HUB(refused_closing, "refused_closing_total",
	    "refused because the server is closing"),
	HUB(refused_channels, "refused_channels_total",
	    "limit channels_max reached"),
	HUB(refused_tapes_bytes, "refused_tapes_bytes_total",
	    "limit tapes_bytes_max reached"),
	HUB(refused_message_bytes, "refused_message_bytes_total",
	    "limit message_bytes_max reached"),
	HUB(refused_payload, "refused_payload_total",
	    "text that is not UTF-8, JSON that is not JSON"),
	HUB(views_built, "views_built_total",
	    "messages encoded for views other than the raw ones"),
	HUB(views_bytes_built, "views_bytes_built_total",
	    "bytes encoded for views other than the raw ones"),
	HUB(views_compressed, "views_compressed_total",
	    "messages that were tried to compress, once for all"),
	HUB(views_evicted, "views_evicted_total",
	    "limit views_bytes_max reached"),
	HUB(views_cut, "views_cut_total",
	    "limit view_build_bytes_per_iteration_max reached"),
	HUB(channels_expired, "channels_expired_total",
	    "channels that vanished after idle_expiry"),
	HUB(flushes, "flushes_total", "flushes of the hub"),
	HUB(flushes_cut, "flushes_cut_total",
	    "limit flushes_per_iteration_max reached"),
	HUB(spans_cut, "spans_cut_total",
	    "limit span_bytes_max reached, a consumer lacked more"),
#undef HUB
};

static const struct metric net_metrics[] = {
#define NET(field, name, help) COUNTER(struct net_counts, field, name, help)
	NET(accepted, "connections_accepted_total", "connections accepted"),
	NET(closed, "connections_closed_total", "connections gone"),
	NET(upgrades, "upgrades_total", "WebSocket upgrades"),
	NET(requests, "requests_total", "HTTP requests, upgrades included"),
	NET(closes, "closes_total", "closes begun by the server"),
	NET(refused_connections, "refused_connections_total",
	    "limit connections_max reached"),
	NET(refused_control, "refused_control_total",
	    "more connections to the control socket than there may be"),
	NET(refused_peers, "refused_peers_total",
	    "requests on the control socket of who is not allowed"),
	NET(refused_heads, "refused_heads_total",
	    "limit heads_max reached, accepting paused"),
	NET(refused_head_bytes, "refused_head_bytes_total",
	    "limit head_bytes_max reached, or what came was not HTTP"),
	NET(refused_intake, "refused_intake_total",
	    "limit intake_bytes_max reached"),
	NET(slices, "answer_slices_total",
	    "pieces of answers that are made while they are written"),
	NET(history_limited, "history_limited_total",
	    "limit history_limit_max reached"),
	NET(refused_bodies, "refused_bodies_total",
	    "limit body_bytes_max reached"),
	NET(v1_commands, "v1_commands_total", "commands of earshot.v1"),
	NET(v1_errors, "v1_errors_total", "commands answered with an error"),
	NET(refused_out, "refused_out_total", "limit out_bytes_max reached"),
	NET(refused_subscriptions, "refused_subscriptions_total",
	    "limit subscriptions_max reached"),
	NET(refused_violations, "refused_violations_total",
	    "limit violations_max reached"),
	NET(refused_message_bytes, "refused_ws_message_bytes_total",
	    "limit message_bytes_max reached by a WebSocket message"),
	NET(refused_text, "refused_ws_text_total",
	    "WebSocket text that is not UTF-8"),
	NET(refused_deflate, "refused_ws_deflate_total",
	    "compressed WebSocket messages that cannot be inflated"),
	NET(refused_inflaters, "refused_ws_inflaters_total",
	    "limit inflaters_max reached"),
	NET(refused_origin, "refused_origin_total", "wrong Origin"),
	NET(refused_requests, "refused_requests_total",
	    "requests answered with an error"),
	NET(tokens_accepted, "tokens_accepted_total",
	    "requests with a token that was believed"),
	NET(tokens_expired, "tokens_expired_total",
	    "streams that ended with their token"),
	NET(tokens_revoked, "tokens_revoked_total",
	    "streams whose token a new configuration does not know"),
	NET(accept_errors, "accept_errors_total",
	    "accept failed, accepting paused"),
	NET(accepts_cut, "accepts_cut_total",
	    "limit accepts_per_iteration_max reached"),
	NET(timeouts_handshake, "timeouts_handshake_total",
	    "limit handshake_timeout reached"),
	NET(timeouts_request, "timeouts_request_total",
	    "limit request_timeout reached"),
	NET(timeouts_keepalive, "timeouts_keepalive_total",
	    "limit keepalive_timeout reached"),
	NET(pings, "pings_total", "pings sent, limit ping_interval reached"),
	NET(timeouts_pong, "timeouts_pong_total", "limit pong_timeout reached"),
	NET(timeouts_close, "timeouts_close_total",
	    "limit close_timeout reached"),
#undef NET
};

static const struct metric glue_metrics[] = {
#define GLUE(field, name, help) COUNTER(struct glue_stats, field, name, help)
	GLUE(reads, "reads_total", "descriptors served because readable"),
	GLUE(reads_repeated, "reads_repeated_total",
	    "further reads of one descriptor in one iteration"),
	GLUE(write_waits, "write_waits_total",
	    "times a socket was waited for to take more"),
	GLUE(writes_short, "writes_short_total", "frames cut by a full socket"),
	GLUE(bytes_kept, "write_bytes_kept_total",
	    "bytes copied because a frame was cut"),
#undef GLUE
};

static void
put_loop(struct page *page, es_loop *loop)
{
	es_loop_stats stats;

	es_loop_get_stats(loop, &stats);
	put(page, "loop_iterations_total", "counter",
	    "iterations of the net loop", stats.iterations);
	put(page, "loop_calls_total", "counter", "calls of the net loop",
	    stats.calls);
	put(page, "loop_wakeups_total", "counter",
	    "times another thread woke the net loop", stats.wakeups);
	put(page, "loop_slow_calls_total", "counter", "calls longer than 20 ms",
	    stats.slow_calls);
	put(page, "loop_call_longest_microseconds", "gauge",
	    "the longest call so far", (uint64_t)stats.longest);
	put(page, "loop_iteration_longest_microseconds", "gauge",
	    "the longest iteration so far, waiting not counted",
	    (uint64_t)stats.longest_iteration);
}

static void
put_now(struct page *page, struct net *net)
{
	static const char *const names[CONN_STATES] = { "handshake", "request",
		"idle", "websocket", "sse" };
	int i;

	put_head(page, "connections", "gauge", "connections by state");
	for (i = 0; i < CONN_STATES && page->error == 0; i++)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_connections{state=\"%s\"} %" PRIu64 "\n", names[i],
		    net->state_counts[i]);
	put(page, "channels", "gauge", "channels", hub_channel_count(net->hub));
	put(page, "tapes_bytes", "gauge", "memory of all tapes",
	    hub_memory_bytes(net->hub));
	put(page, "views_bytes", "gauge", "memory of views but the raw ones",
	    hub_views_bytes(net->hub));
	put(page, "intake_bytes", "gauge",
	    "unfinished messages and bodies being received", net->intake_bytes);
	put(page, "inflaters", "gauge",
	    "connections that have sent compressed messages", net->inflaters);
	put(page, "log_dropped_total", "counter",
	    "log lines dropped because the log was blocked", log_dropped());
	put(page, "uptime_seconds", "gauge", "since the start",
	    (uint64_t)(clock_now_us() - net->started_us) / LIMITS_S);
}

static void
put_refused_tokens(struct page *page, const struct net_counts *counts)
{
	static const char *const reasons[TOKEN_FAULT_COUNT] = {
		[TOKEN_MALFORMED] = "malformed",
		[TOKEN_UNSIGNED_BY_US] = "signature",
		[TOKEN_EXPIRED] = "expired",
		[TOKEN_NOT_YET] = "not_yet",
		[TOKEN_ISSUER] = "issuer",
		[TOKEN_AUDIENCE] = "audience",
		[TOKEN_CLAIMS] = "claims",
	};
	int i;

	put_head(page, "tokens_refused_total", "counter",
	    "requests with a token that was not believed");
	for (i = 0; i <= TOKEN_FAULT_COUNT && page->error == 0; i++)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_tokens_refused_total{reason=\"%s\"} %" PRIu64 "\n",
		    i < TOKEN_FAULT_COUNT ? reasons[i] : "two",
		    i < TOKEN_FAULT_COUNT ? counts->tokens_refused[i]
					  : counts->tokens_twice);
}

static uint64_t
column_messages(const struct hub_channel_stats *stats)
{
	return stats->messages_in;
}

static uint64_t
column_consumers(const struct hub_channel_stats *stats)
{
	return stats->consumers;
}

static uint64_t
column_lag_messages(const struct hub_channel_stats *stats)
{
	return (uint64_t)stats->lag_messages_max;
}

static uint64_t
column_lag_bytes(const struct hub_channel_stats *stats)
{
	return stats->lag_bytes_max;
}

static uint64_t
column_lag_us(const struct hub_channel_stats *stats)
{
	return (uint64_t)stats->lag_us_max;
}

/* Of each channel one value, in the order the hub has them. */
static const struct column {
	const char *name, *type, *help;
	uint64_t (*value)(const struct hub_channel_stats *stats);
	bool us; /* microseconds, to be told as seconds */
} columns[] = {
	{ "channel_messages_total", "counter",
	    "messages published to the channel", column_messages, false },
	{ "channel_consumers", "gauge", "consumers of the channel",
	    column_consumers, false },
	{ "channel_lag_messages", "gauge",
	    "what the channel's slowest consumer lacks", column_lag_messages,
	    false },
	{ "channel_lag_bytes", "gauge",
	    "what the channel's slowest consumer lacks", column_lag_bytes,
	    false },
	{ "channel_lag_seconds", "gauge",
	    "how old the first message is that it lacks", column_lag_us, true },
};

#define COLUMNS (sizeof(columns) / sizeof(*columns))

/* Where the answer is. */
struct metrics {
	struct slices slices;
	struct page *page; /* of this call */
	size_t part; /* 0, columns, what net_add_metrics() added */
	uint32_t channel; /* the next one of a column */
};

static void
put_cell(const struct hub_channel_stats *stats, void *arg)
{
	const struct metrics *metrics = arg;
	const struct column *column = &columns[metrics->part - 1];
	struct page *page = metrics->page;
	const uint64_t value = column->value(stats);

	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_%s{channel=\"%s\"} ", column->name, stats->name);
	if (page->error == 0 && column->us)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "%.3f\n", (double)value / LIMITS_S);
	else if (page->error == 0)
		page->error = buffer_printf(
		    page->out, METRICS_BYTES_MAX, "%" PRIu64 "\n", value);
}

static void
put_column(struct metrics *metrics, struct hub *hub)
{
	const struct column *column = &columns[metrics->part - 1];

	if (metrics->channel == 0)
		put_head(
		    metrics->page, column->name, column->type, column->help);
	metrics->channel = hub_some_channels(hub, metrics->channel,
	    CHANNELS_MAX, clock_wall_us(), put_cell, metrics);
	if (metrics->channel != UINT32_MAX)
		return;
	metrics->channel = 0;
	metrics->part++;
}

static void
put_own(struct page *page, struct net *net)
{
	put_now(page, net);
	PUT_TABLE(page, net_metrics, &net->counts);
	put_refused_tokens(page, &net->counts);
	PUT_TABLE(page, hub_metrics, hub_counts(net->hub));
	PUT_TABLE(page, glue_metrics, glue_stats(net->glue));
	put_loop(page, net->loop);
}

static int
put_some(struct conn *conn, struct slices *slices, struct buffer *out)
{
	struct metrics *metrics = LIST_ENTRY(slices, struct metrics, slices);
	struct page page = { .out = out };
	struct net *net = conn->net;

	metrics->page = &page;
	if (metrics->part == 0) {
		put_own(&page, net);
		metrics->part++;
	} else if (metrics->part <= COLUMNS) {
		put_column(metrics, net->hub);
	} else if (metrics->part <= COLUMNS + net->metrics_count) {
		const size_t i = metrics->part++ - COLUMNS - 1;

		page.error = net->metrics[i].fn(out, net->metrics[i].arg);
	}
	if (page.error < 0)
		return page.error;
	return metrics->part <= COLUMNS + net->metrics_count;
}

static void
metrics_free(struct slices *slices)
{
	memory_free(LIST_ENTRY(slices, struct metrics, slices));
}

int
metrics_begin(struct conn *conn, const char *channel)
{
	struct metrics *metrics = memory_zalloc(sizeof(*metrics));

	(void)channel;
	if (metrics == NULL)
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	metrics->slices.put = put_some;
	metrics->slices.free = metrics_free;
	return slices_begin(conn, &metrics->slices,
	    "text/plain; version=0.0.4; charset=utf-8", "");
}
