/*
 * feed: what every kind of feed does in the same way.
 */

#include "daemon/base/clock.h"
#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/feed/feed_internal.h"
#include "proto/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const feed_states[] = {
	[FEED_STARTING] = "starting",
	[FEED_RUNNING] = "running",
	[FEED_WAITING] = "waiting",
	[FEED_BACKOFF] = "backoff",
	[FEED_STOPPING] = "stopping",
	[FEED_STOPPED] = "stopped",
	[FEED_FINISHED] = "finished",
};

void
feed_init(struct feed *feed, const struct feed_type *type,
    const struct conf_feed *conf, struct conf *owner, struct feed_host *host)
{
	const struct feeds_options *options = &host->options;

	feed->type = type;
	feed->host = host;
	feed->conf = conf;
	feed->owner = conf_ref(owner);
	feed->state = FEED_STOPPED;
	feed->since_us = clock_now_us();
	list_init(&feed->node);
	backoff_init(
	    &feed->backoff, conf->backoff_min_us, conf->backoff_max_us);
	limiter_init(&feed->say, FEED_SAY_BURST, FEED_SAY_AGAIN_US);
	sink_init(&feed->sink, type->kind, conf, &owner->limits, options->hub,
	    options->net);
}

void
feed_fini(struct feed *feed)
{
	sink_fini(&feed->sink);
	list_remove(&feed->node);
	conf_free(feed->owner);
}

void
feed_set_state(struct feed *feed, enum feed_state state)
{
	if (feed->state == state)
		return;
	feed->state = state;
	feed->since_us = clock_now_us();
}

/* U+0080 to U+009F, with 0xc2 before them, are some terminals' escapes, too. */
static bool
is_control(const char *at)
{
	const unsigned char c = (unsigned char)at[0];

	return c < ' ' || c == 0x7f ||
	       (c == 0xc2 && (unsigned char)at[1] >= 0x80 &&
		   (unsigned char)at[1] < 0xa0);
}

/* What is no character, and what ends a line or moves a cursor, is a '?'. */
static void
make_printable(char *text)
{
	const size_t len = strlen(text);
	size_t at, n;

	for (at = 0; at < len; at += n) {
		for (n = len - at < 4 ? len - at : 4; n > 1; n--)
			if (utf8_valid(text + at, n))
				break;
		/* Those of n bytes that are valid may begin with controls. */
		for (size_t i = at; i < at + n; i++)
			if (is_control(text + i)) {
				if (text[i] == '\xc2')
					text[i + 1] = '?';
				text[i] = '?';
			}
		if (n == 1 && !utf8_valid(text + at, 1))
			text[at] = '?';
	}
}

void
feed_set_error(struct feed *feed, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(feed->error, sizeof(feed->error), fmt,
	    ap); /* cut where it is too long */
	va_end(ap);
	make_printable(feed->error);
}

bool
feed_may_say(struct feed *feed)
{
	uint64_t held;

	if (!limiter_allow(&feed->say, clock_now_us(), &held))
		return false;
	if (held > 0)
		log_info("%s had %" PRIu64 " lines more, not shown"
			 " feed=%s channel=%s",
		    feed->type->kind, held, feed->conf->name,
		    feed->conf->channel);
	return true;
}

void
feed_count_failure(struct feed *feed)
{
	feed->failures++;
	if (feed_may_say(feed))
		log_warn("%s %s feed=%s channel=%s", feed->type->kind,
		    feed->error, feed->conf->name, feed->conf->channel);
}

int64_t
feed_back_off(struct feed *feed, int64_t at_least_us)
{
	struct feed_host *host = feed->host;
	int64_t delay_us;

	assert(!feed->stop);
	host->random = host->random * UINT64_C(6364136223846793005) +
		       UINT64_C(1442695040888963407);
	delay_us = backoff_next(&feed->backoff, host->random >> 16);
	if (delay_us < at_least_us)
		delay_us = at_least_us;
	feed->failures++;
	feed_set_state(feed, FEED_BACKOFF);
	if (!feed_may_say(feed))
		return delay_us;
	log_event(LOG_LEVEL_WARN,
	    &(struct log_about){ .event = EVENT_FEED_DOWN,
		.feed = feed->conf->name,
		.channel = feed->conf->channel },
	    "%s %s; again in %" PRId64 " ms", feed->type->kind, feed->error,
	    delay_us / 1000);
	return delay_us;
}

void
feed_set_ended(struct feed *feed, enum feed_state state)
{
	assert(state == FEED_STOPPED || state == FEED_FINISHED);
	feed_set_state(feed, state);
	log_info("%s has %s feed=%s channel=%s", feed->type->kind,
	    feed_states[state], feed->conf->name, feed->conf->channel);
	feed->host->stopped(feed, feed->host->arg);
}

bool
feed_store_name(const struct feed *feed, const char *suffix, char out[PATH_MAX])
{
	const char *folder = feed->owner->state_directory;
	const char *name = feed->conf->name;
	int len;

	if (!folder)
		folder = getenv("STATE_DIRECTORY");
	if (!folder || folder[0] != '/')
		return false;
	/* systemd gives several with colons between them. */
	len =
	    snprintf(out, PATH_MAX, "%.*s/%s%s%s.%s", (int)strcspn(folder, ":"),
		folder, feed->type->kind, name[0] ? "-" : "", name, suffix);
	return len < PATH_MAX;
}

void
feed_get_stats(const struct feed *feed, struct feed_stats *ret)
{
	const struct sink *sink = &feed->sink;

	*ret = (struct feed_stats){
		.name = feed->conf->name,
		.kind = feed->type->kind,
		.channel = feed->conf->channel,
		.state = feed_states[feed->state],
		.since_us = feed->since_us,
		.messages = sink->messages,
		.bytes = sink->bytes,
		.restarts = feed->starts > 0 ? feed->starts - 1 : 0,
		.failures = feed->failures,
		.lines_refused = sink->refused,
		.over_rate = sink->over_rate,
		.not_utf8 = sink->not_utf8,
		.reads_cut = sink->reads_cut,
		.last_error = sink_refusal(sink),
	};
	if (!ret->last_error && feed->error[0])
		ret->last_error = feed->error;
}
