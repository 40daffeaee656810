/*
 * metrics: every feed's counters as Prometheus text.
 *
 * To add one: a line in the table, its field in struct feed_stats.  An error's
 * text is a label, so quotes and backslashes in it are escaped.
 */

#include "daemon/base/clock.h"
#include "daemon/feed/feed.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define METRICS_BYTES_MAX (16 * 1024 * 1024)
#define LABEL_BYTES_MAX 400

static const struct counter {
	const char *name, *help;
	size_t offset; /* of a uint64_t in struct feed_stats */
} counters[] = {
#define COUNTER(field, name, help)                                             \
	{                                                                      \
		name, help, offsetof(struct feed_stats, field)                 \
	}
	COUNTER(messages, "messages", "messages published"),
	COUNTER(bytes, "bytes", "payload bytes published"),
	COUNTER(restarts, "restarts", "starts and connects after the first"),
	COUNTER(lines_cut, "lines_cut",
	    "messages longer than message_bytes_max: their beginning"),
	COUNTER(bytes_cut, "bytes_cut", "bytes dropped of those"),
	COUNTER(lines_refused, "refused",
	    "messages the hub did not take, or no memory"),
	COUNTER(over_rate, "over_rate", "messages dropped above max_rate"),
	COUNTER(not_utf8, "not_utf8", "messages dropped, not UTF-8"),
	COUNTER(stderr_lines, "stderr_lines", "lines of stderr"),
	COUNTER(stderr_dropped, "stderr_dropped",
	    "lines of stderr that are not in the log"),
#undef COUNTER
};

struct page {
	struct feeds *feeds;
	struct buffer *out;
	const struct counter *counter;
	int error;
};

static void
put_counter(const struct feed_stats *stats, void *arg)
{
	struct page *page = arg;
	const char *at = (const char *)stats + page->counter->offset;

	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_feed_%s_total{feed=\"%s\",kind=\"%s\"} %" PRIu64
		    "\n",
		    page->counter->name, stats->name, stats->kind,
		    *(const uint64_t *)(const void *)at);
}

static void
put_up(const struct feed_stats *stats, void *arg)
{
	struct page *page = arg;

	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_feed_up{feed=\"%s\",kind=\"%s\"} %d\n",
		    stats->name, stats->kind,
		    strcmp(stats->state, "running") == 0);
}

static void
put_state(const struct feed_stats *stats, void *arg)
{
	struct page *page = arg;

	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "earshot_feed_state_seconds{feed=\"%s\",kind=\"%s\","
		    "channel=\"%s\",state=\"%s\"} %" PRId64 "\n",
		    stats->name, stats->kind, stats->channel, stats->state,
		    (clock_now_us() - stats->since_us) / LIMITS_S);
}

static void
put_error(const struct feed_stats *stats, void *arg)
{
	struct page *page = arg;
	char label[LABEL_BYTES_MAX];
	size_t len = 0;
	const char *c;

	if (!stats->last_error || page->error < 0)
		return;
	for (c = stats->last_error; *c && len < sizeof(label) - 3; c++) {
		if (*c == '"' || *c == '\\')
			label[len++] = '\\';
		label[len++] = *c == '\n' ? ' ' : *c;
	}
	label[len] = '\0';
	page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
	    "earshot_feed_last_error{feed=\"%s\",kind=\"%s\",error=\"%s\"} 1\n",
	    stats->name, stats->kind, label);
}

static void
put_family(struct page *page, const char *name, const char *type,
    const char *help, void (*put)(const struct feed_stats *stats, void *arg))
{
	if (page->error == 0)
		page->error = buffer_printf(page->out, METRICS_BYTES_MAX,
		    "# HELP earshot_feed_%s %s\n# TYPE earshot_feed_%s %s\n",
		    name, help, name, type);
	feeds_each(page->feeds, put, page);
}

int
feeds_put_metrics(struct feeds *feeds, struct buffer *out)
{
	struct page page = { .feeds = feeds, .out = out };
	size_t i;

	put_family(&page, "up", "gauge", "1 while the feed runs", put_up);
	put_family(&page, "state_seconds", "gauge",
	    "how long the feed has been in its state", put_state);
	put_family(&page, "last_error", "gauge",
	    "what went wrong last, in words", put_error);
	for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		char name[64];

		page.counter = &counters[i];
		(void)snprintf(
		    name, sizeof(name), "%s_total", counters[i].name);
		put_family(
		    &page, name, "counter", counters[i].help, put_counter);
	}
	return page.error;
}
