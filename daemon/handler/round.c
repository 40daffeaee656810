/*
 * round: sessions of plugins on their way to workers and back.
 *
 * The happy path: plugin_ready() notes a session -> on_start(), once an
 * iteration, moves what each has queued to its `running` and submits one job
 * for all -> that calls back, session by session, each for RUN_US_MAX ->
 * on_ran() on the loop takes back what is left.
 *
 * What can go wrong:
 * - the executor's queue is full (of the plugin's own jobs): the sessions wait
 *   in line, and are tried again;
 * - a callback takes long: the rest of its batch waits for another turn behind
 *   the other sessions, and after callback_timeout it is told and counted; it
 *   cannot be ended.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/consume.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/plugin.h"

#include <assert.h>

#define RUN_EVENTS_MAX 256 /* given to one turn */
#define RUN_US_MAX ES_MS(5) /* then it is somebody else's turn */
#define RETRY_US ES_MS(5)

/* On a worker */

/* A turn of a session: what it has, or as long as it may. */
static void
run_session(struct session *session)
{
	const int64_t until_us = clock_now_us() + RUN_US_MAX;
	struct list *node;

	while ((node = list_first(&session->running)) != NULL) {
		struct event *event = LIST_ENTRY(node, struct event, node);

		list_remove(node);
		if (!plugin_handle(session, event) ||
		    clock_now_us() >= until_us || session_is_held(session))
			break;
	}
	(void)outbox_push(/* closed: handlers_free() is next */
	    session->handler->handlers->outbox, &session->ran);
}

/*
 * Sessions that became ready in one iteration of the loop.  Any number of jobs
 * take them one after the other; while some are left one more job is queued,
 * so that a callback that blocks keeps nobody waiting but its own.
 */
struct round {
	struct handlers *handlers;
	es_executor *executor;
	_Atomic unsigned refs, next;
	atomic_bool queued; /* a job that has not begun */
	unsigned count;
	struct session *sessions[];
};

static int round_job(void *arg, es_value *ret);

static void
round_unref(void *arg)
{
	struct round *round = arg;

	if (atomic_fetch_sub(&round->refs, 1) == 1)
		memory_free(round);
}

/* 0: there is one. */
static int
round_submit(struct round *round)
{
	int r;

	if (atomic_exchange(&round->queued, true))
		return 0;
	atomic_fetch_add(&round->refs, 1);
	r = es_executor_submit(round->executor, 0, "callbacks", round_job,
	    round, round_unref, NULL, NULL);
	if (r == 0)
		return 0;
	atomic_store(&round->queued, false);
	round_unref(round);
	return r;
}

static int
round_job(void *arg, es_value *ret)
{
	struct round *round = arg;
	struct outbox *outbox = round->handlers->outbox;
	const int64_t until_us = clock_now_us() + RUN_US_MAX;
	unsigned at;

	(void)ret;
	atomic_store(&round->queued, false);
	while ((at = atomic_fetch_add(&round->next, 1)) < round->count) {
		const bool last = at + 1 == round->count;
		/* No room for another job: this one does it all. */
		const bool helped = !last && round_submit(round) == 0;

		run_session(round->sessions[at]);
		if (helped && clock_now_us() >= until_us)
			break; /* somebody else's turn; the other one goes on */
	}
	(void)outbox_flush(outbox); /* closed: as above */
	round_unref(round);
	return 0;
}

/* Handing over, on the loop */

static void
take_back(struct session *session)
{
	struct list *node;

	while (!list_empty(&session->running)) {
		node = session->running.prev;
		list_remove(node);
		list_prepend(&session->events, node);
	}
}

static void
count_back(struct session *session)
{
	struct handler *handler = session->handler;

	handler->counts.failed += (uint64_t)session->failed;
	session_handled(session, session->handled, session->handled_bytes);
	session->handled = session->handled_bytes = session->failed = 0;
}

static void
on_ran(struct post *post, bool dropped)
{
	struct session *session = LIST_ENTRY(post, struct session, ran);
	struct handler *handler = session->handler;
	const uint16_t refuse = session->refuse;
	struct list *node;

	if (dropped) /* its end: handlers_free() frees it */
		return;
	es_loop_assert(handler->handlers->rooms.loop);
	assert(session->busy);
	session->busy = false;
	handler->busy--;
	if (session->told_late)
		handler->late--;
	session->told_late = false;
	take_back(session);
	while ((node = list_first(&session->spent)) != NULL) {
		list_remove(node);
		session_event_recycle(
		    handler->handlers, LIST_ENTRY(node, struct event, node));
	}
	if (session->asking != NULL)
		filter_take(session);
	count_back(session);
	if (refuse != 0 && !session->refused)
		session_refuse(session, refuse, "refused");
	if (session_consumes(session))
		consume_more(session);
	if (!list_empty(&handler->refused))
		plugin_retry(handler);
	session_update(session);
}

/* The worker's, until on_ran(). */
static void
hand_over(struct session *session)
{
	int events = 0;

	assert(!session->busy);
	assert(list_empty(&session->running));
	while (!list_empty(&session->events) && events++ < RUN_EVENTS_MAX) {
		struct list *node = list_first(&session->events);

		list_remove(node);
		list_append(&session->running, node);
	}
	session->busy = true;
	session->busy_since = clock_now_us();
	session->ran.run = on_ran;
	session->handler->busy++;
}

static void
on_retry(void *arg)
{
	struct handler *handler = arg;

	es_loop_assert(handler->handlers->rooms.loop);
	es_call_unref(handler->retry);
	handler->retry = NULL;
	plugin_retry(handler);
}

static void
wait_in_line(struct session *session)
{
	struct handler *handler = session->handler;

	list_append(&handler->refused, &session->ready);
	if (handler->retry == NULL &&
	    es_call_later(handler->handlers->rooms.loop, RETRY_US,
		"callback retry", on_retry, handler, NULL, &handler->retry) < 0)
		log_debug("no timer: tried again with the next tick");
}

/* No worker has it after all. */
static void
hand_back(struct session *session)
{
	session->busy = false;
	session->handler->busy--;
	take_back(session);
	wait_in_line(session);
}

/* Those of the ready that are for that executor. */
static void
start_round(struct handlers *handlers, struct list *ready, unsigned count,
    es_executor *executor) LOOP_THREAD
{
	struct round *round =
	    memory_alloc(sizeof(*round) + count * sizeof(round->sessions[0]));
	unsigned i = 0;

	if (round != NULL)
		*round = (struct round){
			.handlers = handlers,
			.executor = executor,
			.refs = 1,
		};
	LIST_EACH_SAFE(node, next, ready)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, ready);

		list_remove(node);
		hand_over(session);
		if (round != NULL)
			round->sessions[i++] = session;
		else
			hand_back(session);
	}
	if (round == NULL)
		return;
	round->count = i;
	assert(i == count);
	outbox_expect(handlers->outbox);
	if (round_submit(round) < 0)
		for (i = 0; i < count; i++)
			hand_back(round->sessions[i]);
	round_unref(round);
}

static void
on_start(void *arg)
{
	struct handlers *handlers = arg;
	struct list ready[2];
	unsigned counts[2] = { 0, 0 };
	struct list *node;

	es_loop_assert(handlers->rooms.loop);
	es_call_unref(handlers->start);
	handlers->start = NULL;
	list_init(&ready[0]);
	list_init(&ready[1]);
	while ((node = list_first(&handlers->ready)) != NULL) {
		struct session *session =
		    LIST_ENTRY(node, struct session, ready);
		const int which = session->asking != NULL;

		list_remove(node);
		if (session->busy || list_empty(&session->events))
			continue;
		list_append(&ready[which], node);
		counts[which]++;
	}
	if (counts[0] > 0)
		start_round(
		    handlers, &ready[0], counts[0], handlers->rooms.work);
	if (counts[1] > 0)
		start_round(handlers, &ready[1], counts[1], handlers->filter);
}

void
plugin_ready(struct session *session)
{
	struct handlers *handlers = session->handler->handlers;

	list_append(&handlers->ready, &session->ready);
	if (handlers->start == NULL &&
	    es_call_soon(handlers->rooms.loop, "callbacks", on_start, handlers,
		NULL, &handlers->start) < 0) {
		list_remove(&session->ready);
		wait_in_line(session);
	}
}

void
plugin_retry(struct handler *handler)
{
	struct list *node;

	while ((node = list_first(&handler->refused)) != NULL) {
		struct session *session =
		    LIST_ENTRY(node, struct session, ready);

		list_remove(node);
		plugin_ready(session);
		if (handler->handlers->start == NULL) /* no memory: later */
			return;
	}
}

static const char *
channel_of(const struct session *session)
{
	struct list *node =
	    session->asking != NULL ? list_first(&session->asking->asks) : NULL;

	return node != NULL ? LIST_ENTRY(node, struct ask, node)->channel
			    : session->open.channel;
}

static void
tell_late(struct session *session)
{
	struct handler *handler = session->handler;

	session->told_late = true;
	handler->late++;
	handler->counts.late++;
	if (session->name == 0)
		log_warn("callback runs for longer than callback_timeout "
			 "handler=%s channel=%s",
		    handler->conf->name, channel_of(session));
	else
		log_warn("callback runs for longer than callback_timeout "
			 "handler=%s conn=%u.%u",
		    handler->conf->name, conn_slot(session->name),
		    conn_generation(session->name));
}

void
plugin_tick(struct handler *handler, int64_t now_us)
{
	if (handler->retry == NULL && !list_empty(&handler->refused))
		plugin_retry(handler); /* there was no memory for a timer */
	LIST_EACH_SAFE(node, next, &handler->sessions)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, node);

		if (!session->busy)
			continue;
		if (!session->told_late &&
		    now_us - session->busy_since >=
			handler->conf->callback_timeout_us)
			tell_late(session);
	}
}
