/*
 * sink: the happy path is hub_publish() and two counters.
 *
 * - The hub refuses a message: it waits (no memory, and the feed can wait), or
 *   is dropped and counted.  The log hears of it when it begins and when it is
 *   over, a bounded number of times in a while, as a hub that is full refuses
 *   every other message.
 * - The feed is faster than its max_rate: messages wait in a list, which a
 *   timer empties at that rate, or are dropped.
 * - Bytes that should be text and are not: as the feed says.
 * - Of what is dropped the log hears now and then, how much it is by then.
 * - No memory for one that has to wait: dropped and counted.
 */

#include "daemon/feed/sink.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SINK_SAY_AGAIN_US 10000000
#define SINK_KEPT_BYTES_MAX 65536

struct held {
	struct list node;
	enum message_kind kind;
	size_t len;
	uint8_t data[];
};

static void sink_on_timer(void *arg);
static int64_t sink_empty(struct sink *sink, bool hurry);
static bool sink_arm(struct sink *sink, int64_t delay_us);
static const struct hub_publisher_ops publisher_ops;

void
sink_init(struct sink *sink, const char *kind, const struct conf_feed *conf,
    const struct conf_limits *limits, struct hub *hub, es_loop *net)
{
	int64_t max = limits->message_bytes_max;

	if (conf->message_bytes_max > 0 && conf->message_bytes_max < max)
		max = conf->message_bytes_max;
	*sink = (struct sink){
		.kind = kind,
		.conf = conf,
		.hub = hub,
		.net = net,
		.channel_len = strlen(conf->channel),
		.message_bytes_max = (size_t)max,
	};
	rate_init(&sink->rate, conf->max_rate);
	hub_publisher_init(&sink->publisher, &publisher_ops, NULL);
	list_init(&sink->held);
	buffer_init(&sink->replaced);
	limiter_init(&sink->refused_limiter, 2, SINK_SAY_AGAIN_US);
	limiter_init(&sink->over_rate_limiter, 1, SINK_SAY_AGAIN_US);
	limiter_init(&sink->not_utf8_limiter, 1, SINK_SAY_AGAIN_US);
}

static void
sink_drop_held(struct held *held)
{
	list_remove(&held->node);
	memory_free(held);
}

void
sink_fini(struct sink *sink)
{
	struct list *node;

	es_call_forget(&sink->timer);
	hub_publisher_end(sink->hub, &sink->publisher);
	while ((node = list_first(&sink->held))) {
		sink->refused++;
		sink_drop_held(LIST_ENTRY(node, struct held, node));
	}
	buffer_fini(&sink->replaced);
}

const char *
sink_refusal(const struct sink *sink)
{
	switch (-sink->refusing) {
	case 0:
		return NULL;
	case ENFILE:
		return "channels_max is reached";
	case ENOBUFS:
		return "tapes_bytes_max is reached";
	case EACCES:
		return "the channel's filter refuses";
	case EIO:
		return "the channel's filter failed";
	default:
		return strerrordesc_np(-sink->refusing);
	}
}

/* The hub says something else than before. */
static void
sink_tell_refusal(struct sink *sink, int code)
{
	uint64_t held;

	assert(code <= 0);
	assert(code != sink->refusing);
	sink->refusing = code;
	if (!limiter_allow(&sink->refused_limiter, clock_now_us(), &held))
		return;
	if (code < 0)
		log_warn("%s's messages are not published: %s"
			 " feed=%s channel=%s",
		    sink->kind, sink_refusal(sink), sink->conf->name,
		    sink->conf->channel);
	else
		log_info("%s's messages are published again, %" PRIu64
			 " were not feed=%s channel=%s",
		    sink->kind, sink->refused, sink->conf->name,
		    sink->conf->channel);
}

static void
sink_count(struct sink *sink, int64_t r, size_t len)
{
	const int code = r < 0 ? (int)r : 0;

	if (code == 0) {
		sink->messages++;
		sink->bytes += len;
	}
	if (code != sink->refusing)
		sink_tell_refusal(sink, code);
}

/* 0, or why the hub did not take it. */
static int
sink_give(
    struct sink *sink, enum message_kind kind, const void *data, size_t len)
{
	const struct hub_message message = {
		.kind = kind,
		.payload = data,
		.len = len,
		.checked = true,
		.publisher = &sink->publisher,
	};
	int64_t r;

	r = hub_publish(sink->hub, sink->conf->channel, sink->channel_len,
	    HUB_INSIDE, &message, sink->wall_us, NULL);
	if (r == -EINPROGRESS)
		return 0; /* counted by its verdict */
	sink_count(sink, r, len);
	return r < 0 ? (int)r : 0;
}

static void
on_verdict(struct hub_publisher *publisher, const struct hub_verdict *verdict)
{
	struct sink *sink = LIST_ENTRY(publisher, struct sink, publisher);

	sink_count(sink, verdict->offset, verdict->len);
	if (verdict->offset < 0)
		sink->refused++;
}

/* What is held goes on when its filter takes more. */
static void
on_full(struct hub_publisher *publisher, bool full)
{
	struct sink *sink = LIST_ENTRY(publisher, struct sink, publisher);

	if (full || list_empty(&sink->held))
		return;
	es_call_forget(&sink->timer);
	if (!sink_arm(sink, 1)) /* nothing would ever come back to it */
		(void)sink_empty(sink, true);
}

static const struct hub_publisher_ops publisher_ops = { on_verdict, on_full };

static bool
sink_can_wait(const struct sink *sink, int code)
{
	return sink->waits && (code == -ENOBUFS || code == -ENOMEM);
}

static void
sink_hold(
    struct sink *sink, enum message_kind kind, const void *data, size_t len)
{
	struct held *held = memory_alloc(sizeof(*held) + len);

	if (!held) {
		sink->refused++;
		return;
	}
	list_init(&held->node);
	held->kind = kind;
	held->len = len;
	if (len > 0)
		memcpy(held->data, data, len);
	list_append(&sink->held, &held->node);
}

/* false: no memory for a timer. */
static bool
sink_arm(struct sink *sink, int64_t delay_us)
{
	if (sink->timer)
		return true;
	return es_call_later(sink->net, delay_us, "feed's messages",
		   sink_on_timer, sink, NULL, &sink->timer) == 0;
}

/*
 * Publishes what waits, as far as rate and hub allow.  How long the next one
 * has to wait; 0: none is left.
 */
static int64_t
sink_empty(struct sink *sink, bool hurry)
{
	int64_t now_us = clock_now_us();
	struct list *node;
	int left = SINK_MESSAGES_PER_ITERATION_MAX;

	sink->wall_us = clock_wall_us();
	while ((node = list_first(&sink->held))) {
		struct held *held = LIST_ENTRY(node, struct held, node);
		int code;

		if (!hurry && left-- == 0)
			return 1;
		if (!hurry && sink->publisher.full > 0)
			return SINK_RETRY_US;
		if (!hurry && rate_wait_us(&sink->rate, now_us) > 0)
			return rate_wait_us(&sink->rate, now_us);
		code = sink_give(sink, held->kind, held->data, held->len);
		if (code < 0 && !hurry && sink_can_wait(sink, code))
			return SINK_RETRY_US;
		if (code < 0)
			sink->refused++;
		else
			(void)rate_take(&sink->rate, now_us); /* seen above */
		sink_drop_held(held);
	}
	return 0;
}

static void
sink_on_timer(void *arg)
{
	struct sink *sink = arg;
	int64_t wait_us;

	es_loop_assert(sink->net);
	es_call_unref(sink->timer);
	sink->timer = NULL;
	wait_us = sink_empty(sink, false);
	if (wait_us > 0 && sink_arm(sink, wait_us))
		return;
	if (wait_us > 0) /* nothing would ever come back to it */
		(void)sink_empty(sink, true);
	if (!sink->wanted)
		return;
	sink->wanted = false;
	sink->ready(sink->arg); /* last: may free us */
}

/* One more is dropped, as the feed's section says. */
static void
sink_drop(struct sink *sink, uint64_t *count, struct limiter *limiter,
    const char *which)
{
	uint64_t held;

	++*count;
	if (limiter_allow(limiter, clock_now_us(), &held))
		log_warn("%s's messages %s are dropped, %" PRIu64
			 " so far feed=%s channel=%s",
		    sink->kind, which, *count, sink->conf->name,
		    sink->conf->channel);
}

/*
 * Each byte that belongs to no character becomes U+FFFD, up to the longest
 * message.  false: no memory.
 */
static bool
sink_replace(struct sink *sink, const uint8_t *data, size_t len)
{
	static const uint8_t sign[] = { 0xef, 0xbf, 0xbd };
	struct buffer *out = &sink->replaced;
	size_t at = 0;
	int r = 0;

	buffer_clear(out);
	while (at < len && r == 0) {
		size_t n = len - at < 4 ? len - at : 4;

		while (n > 0 && !utf8_valid(data + at, n))
			n--;
		/* Of what is valid one character at least is at the front. */
		r = n > 0 ? buffer_append(
				out, data + at, n, sink->message_bytes_max)
			  : buffer_append(out, sign, sizeof(sign),
				sink->message_bytes_max);
		at += n > 0 ? n : 1;
	}
	return r != -ENOMEM;
}

/* What kind of message these bytes are; -1: none, it is counted. */
static int
sink_judge(
    struct sink *sink, enum sink_bytes what, const void **data, size_t *len)
{
	if (what == SINK_JSON)
		return MESSAGE_JSON;
	if (what == SINK_BINARY)
		return MESSAGE_BINARY;
	if (what == SINK_TEXT || utf8_valid(*data, *len))
		return MESSAGE_TEXT;
	if (sink->conf->not_utf8 == CONF_NOT_UTF8_BINARY)
		return MESSAGE_BINARY;
	if (sink->conf->not_utf8 == CONF_NOT_UTF8_REPLACE &&
	    sink_replace(sink, *data, *len)) {
		*data = sink->replaced.data;
		*len = sink->replaced.len;
		return MESSAGE_TEXT;
	}
	sink_drop(sink, &sink->not_utf8, &sink->not_utf8_limiter,
	    "that are not UTF-8");
	return -1;
}

void
sink_publish(
    struct sink *sink, enum sink_bytes what, const void *data, size_t len)
{
	int kind = sink_judge(sink, what, &data, &len), code;
	const bool drops = sink->conf->over_rate == CONF_OVER_RATE_DROP;

	assert(len <= sink->message_bytes_max);
	if (kind < 0)
		return;
	if (!list_empty(&sink->held) || sink->publisher.full > 0) {
		sink_hold(sink, (enum message_kind)kind, data, len);
	} else if (sink->rate.step_ns > 0 &&
		   !rate_take(&sink->rate, clock_now_us())) {
		if (drops)
			sink_drop(sink, &sink->over_rate,
			    &sink->over_rate_limiter, "above max_rate");
		else
			sink_hold(sink, (enum message_kind)kind, data, len);
	} else {
		sink->wall_us = clock_wall_us();
		code = sink_give(sink, (enum message_kind)kind, data, len);
		if (code < 0 && sink_can_wait(sink, code))
			sink_hold(sink, (enum message_kind)kind, data, len);
		else if (code < 0)
			sink->refused++;
	}
	if (!list_empty(&sink->held) && !sink_arm(sink, 1))
		(void)sink_empty(sink, true);
	if (sink->replaced.size > SINK_KEPT_BYTES_MAX)
		buffer_fini(&sink->replaced);
}

bool
sink_wait(struct sink *sink)
{
	es_loop_assert(sink->net);
	if (list_empty(&sink->held))
		return false;
	assert(sink->ready);
	assert(sink->timer);
	sink->wanted = true;
	return true;
}

void
sink_hurry(struct sink *sink)
{
	es_loop_assert(sink->net);
	rate_init(&sink->rate, 0);
	if (list_empty(&sink->held))
		return;
	es_call_forget(&sink->timer);
	if (!sink_arm(sink, 0))
		(void)sink_empty(sink, true);
}

void
sink_flush(struct sink *sink)
{
	es_loop_assert(sink->net);
	es_call_forget(&sink->timer);
	sink->wanted = false;
	(void)sink_empty(sink, true); /* all of it */
	assert(list_empty(&sink->held));
}
