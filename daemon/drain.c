/*
 * drain: shutdown with delivery, from the first signal to the main loop's end.
 *
 * The happy path, M on the main loop and N on the net loop:
 *   M  STOPPING=1, EXTEND_TIMEOUT_USEC once, deadline armed
 *   N  intake stops: listeners closed, /readyz 503, publishes refused
 *   N  feeds end; what they still write is published
 *   N  handlers handle what was taken in, until none of them does anything
 *   N  every consumer gets all there is, then 1001, paced; its answer counts
 *   N  every on_close has run, every process of a handler has ended
 *   M  all that is done: the main loop stops; main() shuts the
 *      executors down while the net loop still runs, then that, then itself
 *
 * What can go wrong:
 * - the deadline comes, or a second signal: what is left is cut and counted,
 *   exit code 3;
 * - the net loop is stuck and answers nothing: LAST_RESORT_US after the
 *   deadline the process ends with 3, logged; nothing here waits for ever.
 */

#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/daemon.h"
#include "systemd/notify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define EXIT_FORCED 3
#define HURRY_AFTER_US ES_MS(200) /* equal signals merge: told by time */
#define LAST_RESORT_US ES_S(3)

static void
on_drained(void *arg)
{
	struct daemon *daemon = arg;
	const struct net_drained *result = &daemon->drain.result;

	log_event(LOG_LEVEL_INFO, &(struct log_about){ .event = EVENT_DRAINED },
	    "drained in %" PRId64 " ms: %" PRIu64 " delivered, %" PRIu64
	    " cut, %" PRIu64 " lost, %" PRIu64 " messages undelivered",
	    (es_loop_time(daemon->main_loop) - daemon->drain.began) / 1000,
	    result->delivered, result->forced, result->lost,
	    result->messages_undelivered);
	if (daemon->drain.callbacks_left > 0)
		log_warn("%" PRIu64 " callbacks did not run, or did not end",
		    daemon->drain.callbacks_left);
	es_loop_stop(daemon->main_loop);
}

/* The result is read by the main loop after the call: handed over. */
static void
on_handlers_ended(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	daemon->drain.callbacks_left = handlers_left(daemon->handlers);
	if (es_call_soon(daemon->main_loop, "drained", on_drained, daemon, NULL,
		NULL) < 0)
		es_loop_stop(daemon->main_loop);
}

static void
on_net_drained(const struct net_drained *result, void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	daemon->drain.result = *result;
	handlers_end(daemon->handlers, on_handlers_ended, daemon);
}

static void
on_handlers_idle(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	net_drain(daemon->net, on_net_drained, daemon);
}

static void
on_feeds_ended(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	handlers_await_idle(daemon->handlers, on_handlers_idle, daemon);
}

static void
begin_on_net(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	net_stop_intake(daemon->net);
	handlers_stop_intake(daemon->handlers);
	feeds_stop(daemon->feeds, on_feeds_ended, daemon);
}

static void
force_on_net(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	feeds_hurry(daemon->feeds);
	handlers_hurry(daemon->handlers);
	net_force(daemon->net);
}

static void
force(struct daemon *daemon)
{
	if (es_call_soon(daemon->net_loop, "drain force", force_on_net, daemon,
		NULL, NULL) < 0)
		es_loop_stop(daemon->main_loop);
}

static void
on_deadline(void *arg)
{
	struct daemon *daemon = arg;

	log_event(LOG_LEVEL_WARN,
	    &(struct log_about){ .event = EVENT_DRAIN_FORCED },
	    "drain timeout: what is left is cut");
	force(daemon);
}

static void
on_last_resort(void *arg)
{
	(void)arg;
	log_event(LOG_LEVEL_ERROR,
	    &(struct log_about){ .event = EVENT_DRAIN_FORCED },
	    "the net loop does not answer; ending without it");
	log_stop(ES_S(1));
	_exit(EXIT_FORCED);
}

static void
arm(struct daemon *daemon)
{
	const es_usec timeout = daemon->conf->drain_timeout_us;

	if (es_call_later(daemon->main_loop, timeout, "drain timeout",
		on_deadline, daemon, NULL, &daemon->drain.deadline) < 0 ||
	    es_call_later(daemon->main_loop, timeout + LAST_RESORT_US,
		"drain last resort", on_last_resort, daemon, NULL,
		&daemon->drain.last_resort) < 0)
		force(daemon); /* no memory for a deadline: no waiting */
}

/* The manager's own timeout is behind ours. */
void
drain_tell(struct daemon *daemon)
{
	const es_usec left = daemon->drain.began +
			     daemon->conf->drain_timeout_us -
			     es_loop_time(daemon->main_loop);

	*daemon->heartbeat.status = '\0'; /* it is not what was told last */
	daemon->drain.stopping_due =
	    notify_stopping((left > 0 ? left : 0) + 2 * LAST_RESORT_US,
		"draining") == -EAGAIN;
}

void
drain_on_signal(struct daemon *daemon)
{
	const es_usec now = es_loop_time(daemon->main_loop);

	if (!daemon->drain.running) {
		daemon->drain.running = true;
		daemon->drain.began = now;
		drain_tell(daemon);
		log_event(LOG_LEVEL_INFO,
		    &(struct log_about){ .event = EVENT_DRAIN_BEGUN },
		    "draining, at most %" PRId64 " s",
		    daemon->conf->drain_timeout_us / ES_S(1));
		arm(daemon);
		if (es_call_soon(daemon->net_loop, "drain", begin_on_net,
			daemon, NULL, NULL) < 0)
			es_loop_stop(daemon->main_loop);
	} else if (now - daemon->drain.began >= HURRY_AFTER_US) {
		log_event(LOG_LEVEL_WARN,
		    &(struct log_about){ .event = EVENT_DRAIN_FORCED },
		    "second signal: what is left is cut");
		force(daemon);
	}
}

int
drain_exit_code(const struct daemon *daemon)
{
	return daemon->drain.result.forced > 0 ||
		       daemon->drain.callbacks_left > 0
		   ? EXIT_FORCED
		   : EXIT_SUCCESS;
}

static void
cancel(es_call **call)
{
	if (*call == NULL)
		return;
	(void)es_call_cancel(*call); /* too late is fine, it has run */
	es_call_unref(*call);
	*call = NULL;
}

void
drain_fini(struct daemon *daemon)
{
	cancel(&daemon->drain.deadline);
	cancel(&daemon->drain.last_resort);
}
