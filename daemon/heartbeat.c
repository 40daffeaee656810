/*
 * heartbeat: the main loop asks, the net loop answers, systemd is told.
 *
 * The happy path: every interval one question, es_loop_invoke() on the net
 * loop -> its numbers come back in time -> STATUS= where it has changed, and
 * WATCHDOG=1.
 *
 * What can go wrong:
 * - the net loop is stuck: no answer, so no watchdog is fed, the call it is
 *   stuck in is named in the log and in STATUS before systemd kills us, and no
 *   second question is queued behind the first;
 * - an answer comes later than the watchdog's whole time: it proves nothing
 *   about now, so only the next one counts;
 * - the manager's queue is full: READY and STOPPING are due until it has taken
 *   them, all else is told anew next time.
 *
 * Workers, that is users' code, have no part in the watchdog: when they are
 * blocked, STATUS says so.
 */

#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/daemon.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_US ES_S(2)
#define HEARTBEAT_DRAIN_US ES_MS(500)
#define STUCK_US ES_S(1)
#define WORK_LATE_US ES_S(1)

struct answer {
	struct net_status net;
	uint64_t feeds, feeds_down;
	uint32_t stuck; /* callbacks */
};

static void
count_feed(const struct feed_stats *feed, void *arg)
{
	struct answer *answer = arg;

	answer->feeds++;
	if (strcmp(feed->state, "running") != 0 &&
	    strcmp(feed->state, "waiting") != 0 &&
	    strcmp(feed->state, "finished") != 0)
		answer->feeds_down++;
}

static int
ask(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;
	struct answer *answer = memory_zalloc(sizeof(*answer));

	es_loop_assert(daemon->net_loop);
	if (answer == NULL)
		return -ENOMEM;
	net_status(daemon->net, &answer->net);
	feeds_each(daemon->feeds, count_feed, answer);
	answer->stuck = handlers_stuck(daemon->handlers);
	*ret = ES_PTR(answer, memory_free);
	return 0;
}

/* The watchdog's time, and a part of it, or that much if it is less. */
static es_usec
part_of_watchdog(int parts, es_usec most)
{
	const es_usec watchdog = notify_watchdog_interval_us();

	return watchdog > 0 && watchdog / parts < most ? watchdog / parts
						       : most;
}

/* 950, 9.5 k, 52 k, 1.2 M */
static void
put_rate(char *out, size_t out_size, double rate)
{
	const double k = rate / 1e3, m = rate / 1e6;

	if (rate < 999.5)
		(void)snprintf(out, out_size, "%.0f", rate);
	else if (k < 999.5)
		(void)snprintf(
		    out, out_size, k < 9.95 ? "%.1f k" : "%.0f k", k);
	else
		(void)snprintf(
		    out, out_size, m < 9.95 ? "%.1f M" : "%.0f M", m);
}

static void
put_serving(struct daemon *daemon, const struct answer *answer, char *out,
    size_t out_size, double rate)
{
	es_executor_stats workers;
	char text[32], feeds[64] = "", late[64] = "", stuck[64] = "";

	put_rate(text, sizeof(text), rate);
	if (answer->feeds_down > 0)
		(void)snprintf(feeds, sizeof(feeds),
		    ", %" PRIu64 " of %" PRIu64 " feeds down",
		    answer->feeds_down, answer->feeds);
	if (es_executor_get_stats(daemon->sys, &workers) == 0 &&
	    workers.queued > 0 && workers.oldest > WORK_LATE_US)
		(void)snprintf(late, sizeof(late),
		    ", workers blocked for %" PRId64 " s",
		    workers.oldest / ES_S(1));
	if (answer->stuck > 0)
		(void)snprintf(stuck, sizeof(stuck),
		    ", %" PRIu32 " callback%s stuck", answer->stuck,
		    answer->stuck == 1 ? "" : "s");
	(void)snprintf(out, out_size,
	    "%" PRIu64 " consumer%s on %" PRIu64 " channel%s, %s/s out%s%s%s",
	    answer->net.consumers, answer->net.consumers == 1 ? "" : "s",
	    answer->net.channels, answer->net.channels == 1 ? "" : "s", text,
	    feeds, late, stuck);
}

/* What did not change is not told: a status wakes up all who watch it. */
static void
tell_status(struct daemon *daemon, const char *text)
{
	if (strcmp(text, daemon->heartbeat.status) != 0 &&
	    notify_status("%s", text) >= 0)
		(void)snprintf(daemon->heartbeat.status,
		    sizeof(daemon->heartbeat.status), "%s", text);
}

static void
tell(struct daemon *daemon, const struct answer *answer)
{
	const es_usec now = es_loop_time(daemon->main_loop);
	const uint64_t out =
	    answer->net.messages_out - daemon->heartbeat.messages_out;
	const es_usec took = now - daemon->heartbeat.told_at;
	char text[NOTIFY_STATUS_BYTES_MAX];

	if (daemon->drain.running) {
		if (daemon->drain.consumers < answer->net.consumers)
			daemon->drain.consumers = answer->net.consumers;
		(void)snprintf(text, sizeof(text),
		    "draining: %" PRIu64 " of %" PRIu64
		    " consumers left, %" PRId64 " s of %" PRId64 " s",
		    answer->net.consumers, daemon->drain.consumers,
		    (now - daemon->drain.began) / ES_S(1),
		    daemon->conf->drain_timeout_us / ES_S(1));
	} else {
		put_serving(daemon, answer, text, sizeof(text),
		    took > 0 ? (double)out * 1e6 / (double)took : 0);
	}
	tell_status(daemon, text);
	daemon->heartbeat.messages_out = answer->net.messages_out;
	daemon->heartbeat.told_at = now;
}

static void ask_net_loop(struct daemon *daemon);

static void
on_answer(es_future *f, void *arg)
{
	struct daemon *daemon = arg;
	const es_usec watchdog = notify_watchdog_interval_us();
	const es_usec took =
	    es_loop_time(daemon->main_loop) - daemon->heartbeat.asked_at;
	es_value value;

	daemon->heartbeat.asking = false;
	if (es_future_result(f, &value) < 0)
		return; /* the loop closes, or there is no memory */
	tell(daemon, value.p);
	if (watchdog > 0 && took > watchdog) {
		log_warn("the net loop took %" PRId64 " ms to answer: the "
			 "watchdog is not fed for that",
		    took / ES_MS(1));
		ask_net_loop(daemon);
		return;
	}
	if (watchdog > 0)
		(void)notify_watchdog(); /* -EAGAIN: the next comes soon */
}

static void
ask_net_loop(struct daemon *daemon)
{
	es_future *f;

	assert(!daemon->heartbeat.asking);
	if (es_loop_invoke(
		daemon->net_loop, "heartbeat", ask, daemon, NULL, &f) < 0)
		return; /* no memory now; the timer asks again */
	daemon->heartbeat.asked_at = es_loop_time(daemon->main_loop);
	daemon->heartbeat.asking =
	    es_future_add_done_callback(
		f, daemon->main_loop, on_answer, daemon, NULL) == 0;
	es_future_unref(f);
}

/* Named once per call by the loop itself; STATUS goes on counting. */
static void
look_at_net_loop(struct daemon *daemon)
{
	char text[NOTIFY_STATUS_BYTES_MAX];
	es_loop_stats stats;
	es_usec now;

	if (es_loop_check_stuck(
		daemon->net_loop, part_of_watchdog(4, STUCK_US)) <= 0)
		return;
	es_loop_get_stats(daemon->net_loop, &stats);
	now = es_loop_time(daemon->main_loop);
	if (stats.busy_with == NULL || stats.busy_since == 0)
		return; /* it has just come back */
	(void)snprintf(text, sizeof(text),
	    "stuck in \"%s\" for %" PRId64 " ms; the watchdog is not fed",
	    stats.busy_with, (now - stats.busy_since) / ES_MS(1));
	tell_status(daemon, text);
	if (daemon->heartbeat.stuck_since != stats.busy_since)
		log_event(LOG_LEVEL_ERROR,
		    &(struct log_about){ .event = EVENT_LOOP_STUCK },
		    "the net loop is %s", text);
	daemon->heartbeat.stuck_since = stats.busy_since;
}

static void
tell_due(struct daemon *daemon)
{
	if (daemon->heartbeat.ready_due)
		heartbeat_ready(daemon);
	if (daemon->drain.stopping_due)
		drain_tell(daemon);
}

static void
on_heartbeat(void *arg)
{
	struct daemon *daemon = arg;

	es_call_unref(daemon->heartbeat.timer);
	daemon->heartbeat.timer = NULL;
	tell_due(daemon);
	look_at_net_loop(daemon);
	if (!daemon->heartbeat.asking)
		ask_net_loop(daemon);
	if (heartbeat_start(daemon) < 0)
		log_error("heartbeat stops: out of memory");
}

int
heartbeat_start(struct daemon *daemon)
{
	if (daemon->heartbeat.told_at == 0)
		daemon->heartbeat.told_at = es_loop_time(daemon->main_loop);
	return es_call_later(daemon->main_loop,
	    part_of_watchdog(
		3, daemon->drain.running ? HEARTBEAT_DRAIN_US : HEARTBEAT_US),
	    "heartbeat", on_heartbeat, daemon, NULL, &daemon->heartbeat.timer);
}

void
heartbeat_ready(struct daemon *daemon)
{
	const int told = notify_ready("listening");

	*daemon->heartbeat.status = '\0'; /* it is not what was told last */
	daemon->heartbeat.ready_due = told == -EAGAIN;
	if (told < 0 && told != -EAGAIN)
		log_warn("NOTIFY_SOCKET=%s: %s; the service manager is not "
			 "told that we are ready, nor anything else",
		    getenv("NOTIFY_SOCKET"), strerror(-told));
}

void
heartbeat_hasten(struct daemon *daemon)
{
	heartbeat_stop(daemon);
	if (heartbeat_start(daemon) < 0)
		log_error("heartbeat stops: out of memory");
}

void
heartbeat_stop(struct daemon *daemon)
{
	if (daemon->heartbeat.timer == NULL)
		return;
	(void)es_call_cancel(daemon->heartbeat.timer);
	es_call_unref(daemon->heartbeat.timer);
	daemon->heartbeat.timer = NULL;
}
