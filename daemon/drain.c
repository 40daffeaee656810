/*
 * drain: shutdown with delivery, from the first signal to the main loop's end;
 * one task on the main loop, its steps on the net loop.
 *
 * The happy path, M on the main loop and N on the net loop:
 *   M  STOPPING=1, EXTEND_TIMEOUT_USEC once, the task begins
 *   N  intake stops: listeners closed, /readyz 503, publishes refused
 *   N  feeds end; what they still write is published
 *   N  handlers handle what was taken in, until none of them does anything
 *   N  every consumer gets all there is, then 1001, paced; its answer counts
 *   M  the last connection is gone: the main loop stops; main() shuts the
 *      executors down while the net loop still runs, then that, then itself
 *
 * What can go wrong:
 * - the deadline comes, or a second signal cancels the task: what is left is
 *   cut and counted, exit code 3;
 * - the net loop is stuck and answers nothing: LAST_RESORT_US after that the
 *   process ends with 3, logged; nothing here waits for ever.
 */

#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/daemon.h"
#include "systemd/notify.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define EXIT_FORCED 3
#define HURRY_AFTER_US ES_MS(200) /* equal signals merge: told by time */
#define LAST_RESORT_US ES_S(3)
#define LAST_WORDS_US ES_MS(100) /* at most, for who reads as fast as it gets */

/* The step under way is done; the task goes on. */
static void
on_step_done(void *arg)
{
	struct daemon *daemon = arg;
	es_future *step = daemon->drain.step; /* the task may set the next */

	es_loop_assert(daemon->net_loop);
	(void)es_future_set_result(step, ES_NOTHING); /* once */
	es_future_unref(step);
}

/* The result is read by the main loop after the step: handed over. */
static void
on_net_drained(const struct net_drained *result, void *arg)
{
	struct daemon *daemon = arg;

	daemon->drain.result = *result;
	on_step_done(daemon);
}

static void
end_feeds(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	net_stop_intake(daemon->net);
	handlers_stop_intake(daemon->handlers);
	feeds_stop(daemon->feeds, on_step_done, daemon);
}

static void
end_consumers(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	net_drain(daemon->net, on_net_drained, daemon);
}

static void
await_handlers(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	handlers_await_idle(daemon->handlers, on_step_done, daemon);
}

static void
on_handlers_ended(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	daemon->drain.callbacks_left = handlers_left(daemon->handlers);
	on_step_done(daemon);
}

static void
end_handlers(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	handlers_end(daemon->handlers, on_handlers_ended, daemon);
}

/* Who reads is sent the last words of feeds and processes, a bit each turn. */
static void
cut_on_net(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	if (hub_flush_wanted(net_hub(daemon->net)) &&
	    es_loop_time(daemon->net_loop) < daemon->drain.cut_by &&
	    es_call_soon(daemon->net_loop, "drain cut", cut_on_net, daemon,
		NULL, NULL) == 0)
		return;
	net_force(daemon->net);
}

static void
force_on_net(void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	daemon->drain.cut_by = es_loop_time(daemon->net_loop) + LAST_WORDS_US;
	feeds_hurry(daemon->feeds);
	handlers_hurry(daemon->handlers);
	if (es_call_soon(daemon->net_loop, "drain cut", cut_on_net, daemon,
		NULL, NULL) < 0)
		net_force(daemon->net);
}

static void
force(struct daemon *daemon, const char *why)
{
	log_event(LOG_LEVEL_WARN,
	    &(struct log_about){ .event = EVENT_DRAIN_FORCED },
	    "%s: what is left is cut", why);
	daemon->drain.forced = true;
	if (es_call_soon(daemon->net_loop, "drain force", force_on_net, daemon,
		NULL, NULL) < 0)
		log_error("drain: out of memory"); /* the last resort waits */
}

/* How long the steps still have together. */
static es_usec
left(const struct daemon *daemon)
{
	const es_usec until =
	    daemon->drain.began + daemon->conf->drain_timeout_us;
	const es_usec now = es_loop_time(daemon->main_loop);

	if (daemon->drain.forced)
		return LAST_RESORT_US;
	return until > now ? until - now : 0;
}

/*
 * Begins a step on the net loop and waits for its end; forces it when its time
 * is up or the task is cancelled.  0, or what the last resort is for.
 */
static int
run_step(struct daemon *daemon, const char *name, es_fn begin)
{
	int code;

	daemon->drain.step = es_future_new(daemon->main_loop);
	if (daemon->drain.step == NULL)
		return -ENOMEM;
	/* The net loop's own: it may still be settling when we are through. */
	(void)es_future_ref(daemon->drain.step);
	code = es_call_soon(daemon->net_loop, name, begin, daemon, NULL, NULL);
	if (code < 0)
		return code;
	code = es_await(daemon->drain.step, left(daemon));
	if (!daemon->drain.forced &&
	    (code == -ETIMEDOUT || code == -ECANCELED)) {
		force(daemon,
		    code == -ETIMEDOUT ? "drain timeout" : "second signal");
		es_uncancel();
		code = es_await(daemon->drain.step, LAST_RESORT_US);
	}
	if (code == 0) /* else the net loop may still settle it */
		es_future_unref(daemon->drain.step);
	return code;
}

static void
last_resort(void)
{
	log_event(LOG_LEVEL_ERROR,
	    &(struct log_about){ .event = EVENT_DRAIN_FORCED },
	    "the net loop does not answer; ending without it");
	log_stop(ES_S(1));
	_exit(EXIT_FORCED);
}

static void
tell_result(struct daemon *daemon)
{
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
}

static int
drain_task(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;

	(void)ret;
	if (run_step(daemon, "drain feeds", end_feeds) < 0 ||
	    run_step(daemon, "drain handlers", await_handlers) < 0 ||
	    run_step(daemon, "drain consumers", end_consumers) < 0 ||
	    run_step(daemon, "drain callbacks", end_handlers) < 0)
		last_resort();
	tell_result(daemon);
	reload_end(daemon);
	es_loop_stop(daemon->main_loop);
	return 0;
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
drain_begin(struct daemon *daemon)
{
	if (daemon->drain.running)
		return;
	daemon->drain.running = true;
	daemon->drain.began = es_loop_time(daemon->main_loop);
	drain_tell(daemon);
	heartbeat_hasten(daemon);
	log_event(LOG_LEVEL_INFO,
	    &(struct log_about){ .event = EVENT_DRAIN_BEGUN },
	    "draining, at most %" PRId64 " s",
	    daemon->conf->drain_timeout_us / ES_S(1));
	if (es_spawn(daemon->main_loop, "drain", drain_task, daemon, NULL,
		&daemon->drain.task) < 0)
		last_resort();
}

void
drain_on_signal(struct daemon *daemon)
{
	const es_usec now = es_loop_time(daemon->main_loop);

	if (!daemon->drain.running) {
		drain_begin(daemon);
	} else if (!daemon->drain.forced &&
		   now - daemon->drain.began >= HURRY_AFTER_US) {
		(void)es_future_cancel(daemon->drain.task); /* or it is done */
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

void
drain_fini(struct daemon *daemon)
{
	es_future_unref(daemon->drain.task);
}
