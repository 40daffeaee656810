/*
 * The feeds' part of /metrics: one block a metric, one line a feed.
 *
 * To add a metric: a line in the table.
 */

#include "daemon/base/clock.h"
#include "daemon/daemon.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define LABEL_BYTES_MAX 500

static const struct feed_metric {
	const char *name, *type, *help;
	size_t offset; /* of a uint64_t in struct feed_stats */
} metrics[] = {
#define FEED(field, name, help)                                                \
	{                                                                      \
		name, "counter", help, offsetof(struct feed_stats, field)      \
	}
	FEED(messages, "feed_messages_total",
	    "messages a feed published, or gave its handler"),
	FEED(bytes, "feed_bytes_total", "payload bytes of those"),
	FEED(compressed_bytes, "feed_compressed_bytes_total",
	    "payload bytes that an upstream's peer sent compressed"),
	FEED(restarts, "feed_restarts_total",
	    "starts after the first, reconnects"),
	FEED(failures, "feed_failures_total",
	    "failures to start or connect, ends that nobody asked for"),
	FEED(lines_cut, "feed_lines_cut_total",
	    "lines over limit message_bytes_max, their beginning published"),
	FEED(bytes_cut, "feed_bytes_cut_total", "bytes dropped of those"),
	FEED(lines_refused, "feed_lines_refused_total",
	    "messages that the hub did not take, or no memory"),
	FEED(over_rate, "feed_over_rate_total",
	    "messages dropped above the feed's max_rate"),
	FEED(not_utf8, "feed_not_utf8_total",
	    "messages dropped, not_utf8 = reject"),
	FEED(reads_cut, "feed_reads_cut_total",
	    "limit feed_read_bytes_max reached, the rest waited"),
	FEED(stderr_lines, "feed_stderr_lines_total", "lines of stderr"),
	FEED(stderr_dropped, "feed_stderr_dropped_total",
	    "lines of stderr that are not in the log"),
#undef FEED
};

struct page {
	struct buffer *out;
	const struct feed_metric *metric;
	int error;
};

static void
put_value(const struct feed_stats *feed, void *arg)
{
	struct page *page = arg;
	const void *field = (const char *)feed + page->metric->offset;

	if (page->error == 0)
		page->error = buffer_printf(page->out, SIZE_MAX / 2,
		    "earshot_%s{feed=\"%s\",kind=\"%s\"} %" PRIu64 "\n",
		    page->metric->name, feed->name, feed->kind,
		    *(const uint64_t *)field);
}

static void
put_state(const struct feed_stats *feed, void *arg)
{
	struct page *page = arg;

	if (page->error == 0)
		page->error = buffer_printf(page->out, SIZE_MAX / 2,
		    "earshot_feed_up{feed=\"%s\",kind=\"%s\",state=\"%s\"} "
		    "%d\n",
		    feed->name, feed->kind, feed->state,
		    strcmp(feed->state, "running") == 0);
}

static void
put_since(const struct feed_stats *feed, void *arg)
{
	struct page *page = arg;

	if (page->error == 0)
		page->error = buffer_printf(page->out, SIZE_MAX / 2,
		    "earshot_feed_state_seconds{feed=\"%s\",kind=\"%s\","
		    "channel=\"%s\",state=\"%s\"} %" PRId64 "\n",
		    feed->name, feed->kind, feed->channel, feed->state,
		    (clock_now_us() - feed->since_us) / LIMITS_S);
}

/* The text is a label: quotes and what ends a line would end it. */
static void
put_error(const struct feed_stats *feed, void *arg)
{
	struct page *page = arg;
	char label[LABEL_BYTES_MAX];
	size_t len = 0;
	const char *c;

	if (feed->last_error == NULL || page->error < 0)
		return;
	for (c = feed->last_error; *c != '\0' && len < sizeof(label) - 3; c++) {
		if (*c == '"' || *c == '\\')
			label[len++] = '\\';
		label[len++] = (unsigned char)*c < ' ' ? ' ' : *c;
	}
	label[len] = '\0';
	page->error = buffer_printf(page->out, SIZE_MAX / 2,
	    "earshot_feed_last_error{feed=\"%s\",kind=\"%s\",error=\"%s\"}"
	    " 1\n",
	    feed->name, feed->kind, label);
}

static int
put_head(
    struct page *page, const char *name, const char *type, const char *help)
{
	return buffer_printf(page->out, SIZE_MAX / 2,
	    "# HELP earshot_%s %s\n# TYPE earshot_%s %s\n", name, help, name,
	    type);
}

int
metrics_put_feeds(struct buffer *out, void *arg)
{
	struct daemon *daemon = arg;
	struct page page = { .out = out };
	size_t i;

	es_loop_assert(daemon->net_loop);
	page.error =
	    put_head(&page, "feed_up", "gauge", "1 while a feed is running");
	feeds_each(daemon->feeds, put_state, &page);
	if (page.error == 0)
		page.error = put_head(&page, "feed_state_seconds", "gauge",
		    "how long a feed has been in its state");
	feeds_each(daemon->feeds, put_since, &page);
	if (page.error == 0)
		page.error = put_head(&page, "feed_last_error", "gauge",
		    "what went wrong last, in words");
	feeds_each(daemon->feeds, put_error, &page);
	for (i = 0; i < sizeof(metrics) / sizeof(*metrics); i++) {
		page.metric = &metrics[i];
		if (page.error == 0)
			page.error = put_head(&page, page.metric->name,
			    page.metric->type, page.metric->help);
		feeds_each(daemon->feeds, put_value, &page);
	}
	return page.error;
}
