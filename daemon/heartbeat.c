/*
 * heartbeat: the main loop asks, the net loop answers, systemd is told.
 *
 * The happy path: every interval -> es_loop_invoke() on the net loop -> its
 * numbers come back -> STATUS= and WATCHDOG=1.
 *
 * What can go wrong: the net loop is stuck.  Then no answer comes, so no
 * watchdog is fed, and the stuck call is named in the log.
 */

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/daemon.h"
#include "systemd/notify.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define HEARTBEAT_US ES_S(2)
#define STUCK_US ES_S(1)

static int
ask(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;
	struct net_status *status = memory_zalloc(sizeof(*status));

	es_loop_assert(daemon->net_loop);
	if (status == NULL)
		return -ENOMEM;
	net_status(daemon->net, status);
	*ret = ES_PTR(status, memory_free);
	return 0;
}

static void
tell(struct daemon *daemon, const struct net_status *status)
{
	const es_usec now = es_loop_time(daemon->main_loop);
	const uint64_t out = status->messages_out - daemon->messages_out;
	const es_usec took = now - daemon->heartbeat_at;

	if (daemon->drain.running) {
		if (daemon->drain.consumers == 0)
			daemon->drain.consumers = status->consumers;
		(void)notify_status("draining: %" PRIu64 " of %" PRIu64
				    " left, %" PRId64 " s",
		    status->consumers, daemon->drain.consumers,
		    (now - daemon->drain.began) / ES_S(1));
	} else {
		(void)notify_status("%" PRIu64 " consumers on %" PRIu64
				    " channels, %" PRIu64 " messages/s out",
		    status->consumers, status->channels,
		    took > 0 ? out * (uint64_t)ES_S(1) / (uint64_t)took : 0);
	}
	daemon->messages_out = status->messages_out;
	daemon->heartbeat_at = now;
}

static void
on_answer(es_future *f, void *arg)
{
	struct daemon *daemon = arg;
	es_value value;

	if (es_future_result(f, &value) < 0)
		return;
	tell(daemon, value.p);
	(void)notify_watchdog(); /* -EAGAIN: the next one comes soon */
}

static es_usec
interval(void)
{
	const es_usec watchdog = notify_watchdog_interval_us();

	if (watchdog > 0 && watchdog / 3 < HEARTBEAT_US)
		return watchdog / 3;
	return HEARTBEAT_US;
}

static void
on_heartbeat(void *arg)
{
	struct daemon *daemon = arg;
	es_future *f;

	es_call_unref(daemon->heartbeat);
	daemon->heartbeat = NULL;
	(void)es_loop_check_stuck(daemon->net_loop, STUCK_US); /* it reports */
	if (es_loop_invoke(
		daemon->net_loop, "heartbeat", ask, daemon, NULL, &f) == 0) {
		if (es_future_add_done_callback(
			f, daemon->main_loop, on_answer, daemon, NULL) < 0)
			log_warn("heartbeat: out of memory");
		es_future_unref(f);
	}
	if (heartbeat_start(daemon) < 0)
		log_error("heartbeat stops: out of memory");
}

int
heartbeat_start(struct daemon *daemon)
{
	return es_call_later(daemon->main_loop, interval(), "heartbeat",
	    on_heartbeat, daemon, NULL, &daemon->heartbeat);
}

void
heartbeat_stop(struct daemon *daemon)
{
	if (daemon->heartbeat == NULL)
		return;
	(void)es_call_cancel(daemon->heartbeat);
	es_call_unref(daemon->heartbeat);
	daemon->heartbeat = NULL;
}
