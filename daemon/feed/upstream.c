/*
 * upstream: a WebSocket connection we listen on, and its task.
 *
 * The happy path: the next url -> its name is looked up by a job -> connected
 * -> what comes is published (connection.c), while the task pings and watches
 * the time -> the connection ends -> back-off -> from the first url again.
 *
 * What can go wrong:
 * - One url cannot be reached: the next one, at once; after the last of them
 *   the back-off.
 * - The peer is there and says nothing: a ping each ping_interval of silence;
 *   without an answer within pong_timeout, or without a message for
 *   stale_after, the connection is ended.
 * - While we do not read, a silence is our own and no fault of the peer.
 * - Stopped: it is read no more; when its handler has handled what was read
 *   1001 is said, and the answer awaited for a second.
 * - Its handler is not through with the last connection: the next one waits.
 * - There is no memory for the task: the back-off, and it is tried again.
 * - A mirror's position cannot be read: it begins with the oldest.
 * - Freed while the task lives: the task ends at its next step, and the last
 *   memory with it.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/upstream_internal.h"
#include "daemon/loop/task.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define UPSTREAM_SAY_AGAIN_US 10000000
#define UPSTREAM_KEEP_US ES_S(1) /* for the disk, at the begin and the end */

static void upstream_begin(void *arg);

static es_loop *
upstream_net(const struct upstream *upstream)
{
	return upstream->feed.host->options.net;
}

void
upstream_tell(struct upstream *upstream)
{
	if (upstream->news) /* else nobody waits, and looks before it does */
		(void)es_future_set_result(upstream->news, ES_NOTHING);
}

/*
 * In the task: until something happens.  0, -ETIMEDOUT, -ECANCELED; -ENOMEM
 * after a moment.
 */
static int
upstream_wait(struct upstream *upstream, es_usec timeout)
{
	es_future *f;
	int r;

	assert(!upstream->news);
	f = upstream->news = es_future_new(upstream_net(upstream));
	if (!f)
		return es_sleep(timeout < ES_MS(100) ? timeout : ES_MS(100));
	r = es_await(f, timeout);
	if (!upstream->orphan)
		upstream->news = NULL;
	es_future_unref(f);
	return r;
}

/* In the task: fn as a plain call, for libwebsockets never runs on a stack. */
static int
upstream_call(struct upstream *upstream, const char *name, es_body_fn fn)
{
	es_future *f;
	int r = es_loop_invoke(
	    upstream_net(upstream), name, fn, upstream, NULL, &f);

	return r < 0 ? r : es_await_take(f, ES_FOREVER, NULL);
}

/* In the task: when something has to be done if nothing happens. */
static es_usec
upstream_due(const struct upstream *upstream)
{
	const struct conf_upstream *conf = upstream->conf;
	int64_t at = upstream->pinged_us > 0
			 ? upstream->pinged_us + conf->pong_timeout_us
			 : upstream->heard_us + conf->ping_interval_us;
	int64_t now = clock_now_us();

	if (conf->stale_after_us > 0 &&
	    upstream->message_us + conf->stale_after_us < at)
		at = upstream->message_us + conf->stale_after_us;
	return at > now ? at - now : 0;
}

/*
 * In the task: the time has come for something; -ETIMEDOUT: for the end.
 */
static int
upstream_watch_time(struct upstream *upstream)
{
	const struct conf_upstream *conf = upstream->conf;
	int64_t now = clock_now_us();

	if (upstream->paused) {
		upstream->heard_us = upstream->message_us = now;
		upstream->pinged_us = 0;
		return 0;
	}
	if (upstream->pinged_us > 0 && upstream->heard_us > upstream->pinged_us)
		upstream->pinged_us = 0;
	if (conf->stale_after_us > 0 &&
	    now - upstream->message_us >= conf->stale_after_us) {
		upstream->fallen = true;
		feed_set_error(&upstream->feed,
		    "has said nothing for %" PRId64 " ms",
		    conf->stale_after_us / 1000);
		return -ETIMEDOUT;
	}
	if (upstream->pinged_us > 0 &&
	    now - upstream->pinged_us >= conf->pong_timeout_us) {
		upstream->fallen = true;
		feed_set_error(&upstream->feed,
		    "has not answered a ping within %" PRId64 " ms",
		    conf->pong_timeout_us / 1000);
		return -ETIMEDOUT;
	}
	if (upstream->pinged_us == 0 &&
	    now - upstream->heard_us >= conf->ping_interval_us) {
		upstream->pinged_us = now;
		return upstream_call(
		    upstream, "upstream ping", connection_ping);
	}
	return 0;
}

/* In the task: as long as the connection is open. */
static int
upstream_listen(struct upstream *upstream)
{
	int r = 0;

	while (r == 0 && !upstream->ended) {
		r = upstream_wait(upstream, upstream_due(upstream));
		if (!upstream->orphan && (r == -ETIMEDOUT || r == 0))
			r = upstream_watch_time(upstream);
		if (upstream->orphan)
			return -ECANCELED;
	}
	return r;
}

/* In the task: what was read is handled, and answered, before we leave. */
static void
upstream_finish(struct upstream *upstream)
{
	int r;

	es_loop_assert(upstream_net(upstream));
	es_shield_begin(upstream->feed.owner->drain_timeout_us);
	r = upstream_call(upstream, "upstream rest", connection_rest);
	while (r == 0 && !upstream->orphan && !upstream->ended &&
	       !upstream->feed.hurry && hooks_is_busy(upstream))
		r = upstream_wait(upstream, ES_FOREVER);
	es_shield_end();
}

/* In the task: an end with a good-bye, which is waited for, but not long. */
static void
upstream_leave(struct upstream *upstream)
{
	upstream_finish(upstream);
	if (upstream->orphan || upstream->ended)
		return;
	es_shield_begin(2 * UPSTREAM_CLOSE_US);
	if (upstream_call(upstream, "upstream close", connection_close) == 0)
		while (!upstream->orphan && !upstream->ended &&
		       !upstream->feed.hurry &&
		       upstream_wait(upstream, 2 * UPSTREAM_CLOSE_US) == 0)
			continue;
	es_shield_end();
}

/*
 * In the task: one address, from connecting to the end.  0: it was open;
 * -ECONNREFUSED: it was not; -ECANCELED.
 */
static int
upstream_connect(struct upstream *upstream)
{
	int r;

	upstream->opened = upstream->ended = upstream->refused = false;
	upstream->fallen = upstream->sink_waits = upstream->paused = false;
	upstream->asked_to_rest = upstream->leaving = false;
	upstream->own_messages = 0;
	upstream->pinged_us = 0;
	r = upstream_call(upstream, "upstream connect", connection_open);
	while (r == 0 && !upstream->orphan && !upstream->opened &&
	       !upstream->ended)
		r = upstream_wait(upstream, ES_FOREVER); /* it has deadlines */
	if (upstream->orphan)
		return -ECANCELED;
	if (r == 0 && upstream->opened)
		r = upstream_listen(upstream);
	if (upstream->orphan)
		return -ECANCELED;
	if (r == -ECANCELED && upstream->opened && !upstream->ended)
		upstream_leave(upstream);
	if (upstream->orphan)
		return -ECANCELED;
	es_shield_begin(ES_S(1)); /* the call itself does not wait */
	(void)upstream_call(upstream, "upstream drop", connection_drop);
	es_shield_end();
	if (upstream->orphan || r == -ECANCELED)
		return -ECANCELED;
	return upstream->opened ? 0 : -ECONNREFUSED;
}

static bool
is_numeric(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 ||
	       inet_pton(AF_INET6, host, &address) == 1;
}

/*
 * In the task: the addresses of the peer.  A lookup nobody waits for any more
 * goes on, and its value is dropped.
 */
static int
upstream_resolve(struct upstream *upstream, struct resolved *ret_resolved)
{
	const struct feeds_options *options = &upstream->feed.host->options;
	const char *host = upstream->peer.host;
	es_future *f;
	es_value value;
	int r;

	if (is_numeric(host)) {
		ret_resolved->count = 1;
		assert(strlen(host) < RESOLVE_ADDRESS_BYTES);
		memcpy(ret_resolved->addresses[0], host, strlen(host) + 1);
		return 0;
	}
	r = resolve_submit(options->sys, options->net, host, &f);
	if (r == 0) {
		r = es_await(f, upstream->conf->connect_timeout_us);
		if (r == 0 && es_future_result(f, &value) == 0)
			*ret_resolved = *(const struct resolved *)value.p;
		else if (!es_future_done(f))
			(void)es_future_cancel(f); /* if it has not begun */
		es_future_unref(f);
	}
	if (r == -ECANCELED || upstream->orphan)
		return -ECANCELED;
	if (r == 0 && ret_resolved->count == 0)
		r = -ENOENT;
	if (r < 0)
		feed_set_error(&upstream->feed, "cannot look up %.*s: %s",
		    UPSTREAM_SHOWN_BYTES, host,
		    r == -ENOENT ? ret_resolved->error : strerrordesc_np(-r));
	return r;
}

/* In the task: one url.  As upstream_connect(). */
static int
upstream_try(struct upstream *upstream, const char *url)
{
	struct resolved resolved = { .count = 0 };
	size_t i;
	int r;

	upstream->url = url;
	trust_show_url(upstream);
	if (resolve_parse(url, &upstream->peer, upstream->path_room,
		sizeof(upstream->path_room), &upstream->path) < 0) {
		feed_set_error(
		    &upstream->feed, "cannot use %s", upstream->shown);
		return -EINVAL;
	}
	r = upstream_resolve(upstream, &resolved);
	for (i = 0; i < resolved.count && (i == 0 || r == -ECONNREFUSED); i++) {
		upstream->address = resolved.addresses[i];
		r = upstream_connect(upstream);
		if (upstream->orphan)
			return -ECANCELED;
	}
	return r;
}

/* In the task: all urls, until one was open. */
static int
upstream_try_all(struct upstream *upstream)
{
	const struct conf_list *urls = &upstream->conf->urls;
	size_t i;
	int r = -EINVAL;

	for (i = 0; i < urls->count; i++) {
		r = upstream_try(upstream, urls->items[i]);
		if (r == 0 || r == -ECANCELED)
			break;
		if (i + 1 == urls->count)
			break; /* counted and told with the back-off */
		upstream->feed.failures++;
		es_loop_assert(upstream_net(upstream));
		if (feed_may_say(&upstream->feed))
			log_info("upstream %s; the next one feed=%s channel=%s",
			    upstream->feed.error, upstream->feed.conf->name,
			    upstream->feed.conf->channel);
	}
	return r;
}

/* How long until the next round, logged. */
static int64_t
upstream_delay(struct upstream *upstream, bool was_open) LOOP_THREAD
{
	int64_t hint_us = upstream->retry_after_us;

	if (was_open)
		backoff_ran(&upstream->feed.backoff,
		    clock_now_us() - upstream->opened_us);
	/* Later, if the peer says so: one that lies makes nobody hurry. */
	if (hint_us > upstream->conf->feed.backoff_max_us)
		hint_us = upstream->conf->feed.backoff_max_us;
	upstream->retry_after_us = 0;
	return feed_back_off(&upstream->feed, hint_us);
}

/* In the task: 0, or -ECANCELED. */
static int
upstream_await_handler(struct upstream *upstream)
{
	int r = 0;

	es_loop_assert(upstream_net(upstream));
	while (r == 0 && !upstream->orphan && hooks_is_busy(upstream)) {
		feed_set_state(&upstream->feed, FEED_WAITING);
		r = upstream_wait(upstream, ES_FOREVER);
	}
	return r;
}

/* In the task: where a mirror was when we ended last. */
static void
upstream_load(struct upstream *upstream)
{
	struct position position = { 0 };
	es_future *f;
	int r;

	es_loop_assert(upstream_net(upstream));
	r = kept_load(&upstream->kept, &f);
	if (r == 0) {
		r = es_await(f, UPSTREAM_KEEP_US);
		if (upstream->orphan)
			r = -ECANCELED;
		if (r == 0)
			r = kept_loaded(&upstream->kept, f, &position);
		es_future_unref(f);
	}
	if (r == 0) {
		upstream->mirror.known = true;
		upstream->mirror.position = position;
	} else if (r != -ENOENT && r != -ECANCELED) {
		log_warn("upstream's position cannot be read: %s; from the "
			 "oldest feed=%s channel=%s",
		    strerrordesc_np(-r), upstream->feed.conf->name,
		    upstream->feed.conf->channel);
	}
}

/* In the task: all there was is published; a mirror keeps its position. */
static void
upstream_end(struct upstream *upstream)
{
	es_future *f;

	es_loop_assert(upstream_net(upstream));
	sink_flush(&upstream->feed.sink);
	connection_keep(upstream);
	es_shield_begin(UPSTREAM_KEEP_US);
	while (!upstream->orphan && (f = kept_finish(&upstream->kept))) {
		(void)es_future_ref(f);
		if (es_await(f, ES_FOREVER) != -ETIMEDOUT &&
		    !upstream->orphan && es_future_done(f)) {
			kept_finished(&upstream->kept, f);
			es_future_unref(f);
			continue;
		}
		es_future_unref(f);
		break;
	}
	es_shield_end();
}

static int
upstream_run(void *arg, es_value *ret)
{
	struct upstream *upstream = arg;
	int r = 0;

	(void)ret;
	if (upstream->conf->mirror)
		upstream_load(upstream);
	while (r == 0 && !upstream->orphan) {
		es_loop_assert(upstream_net(upstream));
		r = upstream_await_handler(upstream);
		if (r < 0 || upstream->orphan)
			break;
		feed_set_state(&upstream->feed, FEED_STARTING);
		r = upstream_try_all(upstream);
		if (r == -ECANCELED || upstream->orphan || upstream->feed.stop)
			break;
		if (r < 0)
			hooks_failed(upstream);
		r = es_sleep(upstream_delay(upstream, r == 0));
	}
	if (!upstream->orphan)
		upstream_end(upstream);
	if (upstream->orphan) {
		memory_free(upstream);
		return 0;
	}
	es_future_unref(upstream->task);
	upstream->task = NULL;
	es_loop_assert(upstream_net(upstream));
	feed_set_ended(&upstream->feed, FEED_STOPPED); /* last: may free us */
	return 0;
}

/* There is no memory for the task; or it was freed before its first step. */
static void
upstream_dropped(void *arg)
{
	struct upstream *upstream = arg;
	struct feed *feed = &upstream->feed;

	if (upstream->orphan) {
		memory_free(upstream);
		return;
	}
	es_loop_assert(upstream_net(upstream));
	es_future_unref(upstream->task);
	upstream->task = NULL;
	if (feed->stop) {
		feed_set_ended(feed, FEED_STOPPED);
		return;
	}
	feed_set_error(feed, "cannot be started: %s", strerrordesc_np(ENOMEM));
	if (es_call_later(upstream_net(upstream), feed_back_off(feed, 0),
		"upstream begin", upstream_begin, upstream, NULL,
		&upstream->again) == 0)
		return;
	log_error("upstream stays stopped: no memory feed=%s channel=%s",
	    feed->conf->name, feed->conf->channel);
	feed_set_ended(feed, FEED_STOPPED);
}

static void
upstream_begin(void *arg)
{
	struct upstream *upstream = arg;

	es_loop_assert(upstream_net(upstream));
	es_call_forget(&upstream->again);
	feed_set_state(&upstream->feed, FEED_STARTING);
	if (es_spawn(upstream_net(upstream), "upstream", upstream_run, upstream,
		upstream_dropped, &upstream->task) < 0)
		upstream_dropped(upstream);
}

static void
upstream_start(struct feed *feed)
{
	es_loop_assert(feed->host->options.net);
	upstream_begin(feed);
}

static void
upstream_stop(struct feed *feed)
{
	struct upstream *upstream = (struct upstream *)feed;

	es_loop_assert(feed->host->options.net);
	assert(!feed->stop);
	feed->stop = true;
	feed_set_state(feed, FEED_STOPPING);
	sink_hurry(&feed->sink);
	es_call_forget(&upstream->again);
	if (upstream->task)
		(void)es_future_cancel(upstream->task); /* or it is ending */
	else
		feed_set_ended(feed, FEED_STOPPED);
}

static void
upstream_hurry(struct feed *feed)
{
	struct upstream *upstream = (struct upstream *)feed;

	es_loop_assert(feed->host->options.net);
	feed->hurry = true;
	upstream_tell(upstream);
}

static void
upstream_on_ready(void *arg)
{
	struct upstream *upstream = arg;

	es_loop_assert(upstream_net(upstream));
	upstream->sink_waits = false;
	connection_keep(upstream);
	connection_set_reading(upstream);
}

static int
upstream_new(const struct conf_feed *conf, struct conf *owner,
    struct feed_host *host, struct feed **ret_feed)
{
	struct upstream *upstream = memory_zalloc(sizeof(*upstream));

	if (!upstream)
		return -ENOMEM;
	es_loop_assert(host->options.net);
	upstream->conf = (const struct conf_upstream *)conf;
	feed_init(&upstream->feed, &upstream_type, conf, owner, host);
	upstream->feed.sink.waits = true;
	upstream->feed.sink.ready = upstream_on_ready;
	upstream->feed.sink.arg = upstream;
	mirror_init(&upstream->mirror);
	if (upstream->conf->mirror)
		kept_open(&upstream->kept, &upstream->feed,
		    upstream->conf->remote_channel ?: conf->channel);
	limiter_init(&upstream->gap_limiter, 1, UPSTREAM_SAY_AGAIN_US);
	*ret_feed = &upstream->feed;
	return 0;
}

static void
upstream_free(struct feed *feed)
{
	struct upstream *upstream = (struct upstream *)feed;
	es_future *task = upstream->task;

	es_loop_assert(feed->host->options.net);
	es_call_forget(&upstream->again);
	connection_free(upstream);
	mirror_fini(&upstream->mirror);
	kept_fini(&upstream->kept);
	feed_fini(feed);
	upstream->orphan = true;
	upstream->task = NULL;
	if (!task) {
		memory_free(upstream);
		return;
	}
	upstream_tell(upstream);
	upstream->news = NULL;
	(void)es_future_cancel(task); /* or it is ending */
	es_future_unref(task);
}

static void
upstream_get_stats(const struct feed *feed, struct feed_stats *ret)
{
	const struct upstream *upstream = (const struct upstream *)feed;

	es_loop_assert(upstream_net(upstream));
	feed_get_stats(feed, ret);
	ret->messages += upstream->given;
	ret->bytes += upstream->given_bytes;
	ret->lines_refused += upstream->mirror.missing;
	ret->compressed = upstream->client && upstream->opened &&
			  client_compresses(upstream->client);
	ret->compressed_bytes = connection_compressed_bytes(upstream);
}

const struct feed_type upstream_type = {
	.kind = "upstream",
	.new = upstream_new,
	.start = upstream_start,
	.stop = upstream_stop,
	.hurry = upstream_hurry,
	.free = upstream_free,
	.get_stats = upstream_get_stats,
};
