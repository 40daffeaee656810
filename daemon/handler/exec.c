/*
 * exec: events to processes, and what processes ask for (exec.md).
 *
 * The happy path: a session is given the place with the fewest -> its first
 * event is put into the pipe, up to `window` of all sessions -> commands are
 * done as they come -> {"done":n} -> the session's next event.
 *
 * What can go wrong:
 * - the process dies: an event that was wholly in its pipe is told to its
 *   session as an error, because nobody knows what became of it; what was not
 *   goes to the next process; an open is asked again, OPEN_TRIES_MAX times,
 *   an error is told again;
 * - the oldest event is not done for callback_timeout, whatever others are: it
 *   is killed, and so on as above;
 * - a line that is no command: counted, told; the connection it names gets
 *   an error;
 * - a command for a connection that has gone: counted, an error if a reply is
 *   wanted.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/consume.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/wire.h"
#include "daemon/handler/worker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define TEXT_SHOWN 200 /* of a line that is no command */
#define OPEN_TRIES_MAX 3
#define AGAIN_US ES_MS(20)
#define TELL_ONCE_AMONG 8 /* events of a queue, from its end */

int
exec_new(struct handler *handler)
{
	const unsigned count = (unsigned)handler->conf->workers;
	struct exec *exec;
	unsigned i;

	exec = memory_zalloc(sizeof(*exec) + count * sizeof(exec->workers[0]));
	if (exec == NULL)
		return -ENOMEM;
	exec->handler = handler;
	exec->count = count;
	/* It spreads delays, it keeps no secret. */
	if (getrandom(&exec->random, sizeof(exec->random), GRND_NONBLOCK) < 0)
		exec->random = (uint64_t)clock_wall_us();
	handler->exec = exec;
	for (i = 0; i < count; i++) {
		worker_init(&exec->workers[i], exec, i);
		command_init(&exec->workers[i]);
	}
	return 0;
}

void
exec_start(struct exec *exec)
{
	unsigned i;

	for (i = 0; i < exec->count; i++)
		worker_start(&exec->workers[i]);
}

/* As posix_spawnp() will look for it. */
static int
find_program(const char *name)
{
	const char *path = getenv("PATH"), *end;
	char full[PATH_MAX];
	int r = -ENOENT;

	if (strchr(name, '/') != NULL)
		return access(name, X_OK) == 0 ? 0 : -errno;
	for (path = path ? path : "/bin:/usr/bin"; r != 0; path = end + 1) {
		end = strchrnul(path, ':');
		if (snprintf(full, sizeof(full), "%.*s/%s", (int)(end - path),
			path, name) < (int)sizeof(full) &&
		    access(full, X_OK) == 0)
			r = 0;
		else if (errno == EACCES)
			r = -EACCES;
		if (*end == '\0')
			break;
	}
	return r;
}

int
exec_look_job(void *arg, es_value *ret)
{
	struct loading *loading = arg;
	const struct conf_handler *conf = loading->handler->conf;
	const char *name = conf->exec.items[0];
	const int r = find_program(name);

	(void)ret;
	if (r < 0)
		(void)snprintf(loading->text, sizeof(loading->text),
		    "%s:%d: [handler%s%s] exec: %s: %s", conf->file, conf->line,
		    *conf->name ? " " : "", conf->name, name,
		    strerrordesc_np(-r)); /* cut where it is too long */
	return r;
}

void
exec_free(struct exec *exec)
{
	unsigned i;

	for (i = 0; exec != NULL && i < exec->count; i++) {
		es_call_forget(&exec->workers[i].pump);
		es_call_forget(&exec->workers[i].late);
		worker_fini(&exec->workers[i]);
	}
	memory_free(exec);
}

bool
exec_stop(struct exec *exec)
{
	bool stopped = true;
	unsigned i;

	exec->stopping = true;
	for (i = 0; i < exec->count; i++)
		worker_stop(&exec->workers[i]);
	for (i = 0; i < exec->count; i++)
		stopped = stopped && exec->workers[i].state == WORKER_STOPPED;
	return stopped;
}

void
exec_hurry(struct exec *exec)
{
	exec->hurried = true;
	(void)exec_stop(exec); /* nobody waits for them any more */
}

bool
exec_is_ending(const struct exec *exec)
{
	return exec->stopping;
}

uint32_t
exec_running(const struct exec *exec)
{
	uint32_t running = 0;
	unsigned i;

	for (i = 0; exec != NULL && i < exec->count; i++)
		running += exec->workers[i].state == WORKER_UP;
	return running;
}

/* Giving */

static void
on_late(void *arg)
{
	struct worker *worker = arg;
	struct handler *handler = worker->exec->handler;
	const int64_t limit_us = handler->conf->callback_timeout_us;
	int64_t left_us;

	es_loop_assert(handler->handlers->rooms.loop);
	es_call_unref(worker->late);
	worker->late = NULL;
	if (worker->flying == 0)
		return;
	left_us = worker->progress_us + limit_us - clock_now_us();
	if (left_us <= 0) {
		handler->counts.late++;
		worker_kill(worker, "is not done within callback_timeout");
		return;
	}
	if (es_call_later(handler->handlers->rooms.loop, left_us,
		"handler late", on_late, worker, NULL, &worker->late) < 0)
		log_error("a late process is not told of: out of memory");
}

static void
watch_progress(struct worker *worker)
{
	struct handler *handler = worker->exec->handler;

	if (worker->flying == 0)
		worker->progress_us = clock_now_us();
	if (worker->late == NULL &&
	    es_call_later(handler->handlers->rooms.loop,
		handler->conf->callback_timeout_us, "handler late", on_late,
		worker, NULL, &worker->late) < 0)
		log_error("a late process is not told of: out of memory");
}

/* -ENOMEM: nothing has changed. */
static int
give(struct worker *worker, struct session *session)
{
	struct list *node = list_first(&session->events);
	struct event *event = LIST_ENTRY(node, struct event, node);
	const size_t before = worker->in.len;
	int r;

	event->seq = worker->seq + 1;
	r = wire_put_event(&worker->in, session, event);
	if (r < 0)
		return r;
	watch_progress(worker);
	worker->seq++;
	worker->in_total += worker->in.len - before;
	event->end = worker->in_total;
	list_remove(node);
	session->in_flight = event;
	session->busy = true;
	worker->exec->handler->busy++;
	list_append(&worker->flight, &session->ready);
	worker->flying++;
	return 0;
}

static void
pump(struct worker *worker) LOOP_THREAD
{
	const unsigned window = (unsigned)worker->exec->handler->conf->window;
	struct list *node;

	while (worker->state == WORKER_UP && worker->flying < window &&
	       worker->in.len < EXEC_AHEAD_BYTES_MAX &&
	       (node = list_first(&worker->ready)) != NULL) {
		struct session *session =
		    LIST_ENTRY(node, struct session, ready);

		list_remove(node);
		if (give(worker, session) < 0) {
			list_prepend(&worker->ready, node);
			exec_pump_later(worker, AGAIN_US);
			break;
		}
	}
	worker_write(worker);
}

static void
on_pump(void *arg)
{
	struct worker *worker = arg;

	es_loop_assert(worker->exec->handler->handlers->rooms.loop);
	es_call_unref(worker->pump);
	worker->pump = NULL;
	pump(worker);
}

/* Once for all that one iteration brings: one write for many events. */
void
exec_pump_later(struct worker *worker, es_usec delay)
{
	es_loop *loop = worker->exec->handler->handlers->rooms.loop;
	int r;

	if (worker->pump != NULL)
		return;
	if (delay > 0)
		r = es_call_later(loop, delay, "handler pump", on_pump, worker,
		    NULL, &worker->pump);
	else
		r = es_call_soon(
		    loop, "handler pump", on_pump, worker, NULL, &worker->pump);
	if (r < 0)
		log_debug("no memory: the next event goes with another one");
}

static struct worker *
choose(struct exec *exec)
{
	struct worker *best = &exec->workers[0];
	unsigned i;

	for (i = 1; i < exec->count; i++)
		if (exec->workers[i].sessions < best->sessions)
			best = &exec->workers[i];
	return best;
}

void
exec_ready(struct session *session)
{
	if (session->worker == NULL) {
		session->worker = choose(session->handler->exec);
		session->worker->sessions++;
	}
	if (session->busy || !list_empty(&session->ready))
		return;
	list_append(&session->worker->ready, &session->ready);
	if (session->worker->state == WORKER_UP)
		exec_pump_later(session->worker, 0);
}

void
exec_forget(struct session *session)
{
	if (session->worker == NULL)
		return;
	assert(session->worker->sessions > 0);
	session->worker->sessions--;
	session->worker = NULL;
}

void
exec_on_up(struct worker *worker)
{
	pump(worker);
}

/* Done */

static void
land(struct session *session)
{
	struct worker *worker = session->worker;

	assert(session->busy);
	assert(worker->flying > 0);
	session->busy = false;
	session->handler->busy--;
	list_remove(&session->ready);
	worker->flying--;
}

struct session *
exec_flying(struct worker *worker, uint64_t seq)
{
	LIST_EACH_SAFE(node, next, &worker->flight)
	{
		struct session *session =
		    LIST_ENTRY(node, struct session, ready);

		if (session->in_flight->seq == seq)
			return session;
	}
	return NULL;
}

static int
on_done(struct worker *worker, uint64_t seq) LOOP_THREAD
{
	struct session *session = exec_flying(worker, seq);
	struct event *event;

	if (session == NULL)
		return -ENOENT;
	/* The one that is the oldest now has its time from here. */
	if (list_first(&worker->flight) == &session->ready)
		worker->progress_us = clock_now_us();
	event = session->in_flight;
	session->in_flight = NULL;
	land(session);
	if (event->kind == EVENT_OPEN)
		session->known = true;
	if (event->kind == EVENT_CLOSE)
		session->ended = true;
	if (event->kind == EVENT_PUBLISH)
		filter_judged(session, event);
	session_handled(session, 1, (int64_t)event->len);
	session_event_free(event);
	if (session_consumes(session))
		consume_more(session);
	session_update(session); /* may be its end */
	if (!list_empty(&worker->ready))
		exec_pump_later(worker, 0);
	return 0;
}

/* Lines */

void
exec_on_bad(
    struct worker *worker, const char *what, const void *line, size_t len)
{
	struct handler *handler = worker->exec->handler;
	char shown[TEXT_SHOWN + 1];
	uint64_t held;
	size_t i;

	handler->counts.bad_lines++;
	if (!limiter_allow(&worker->bad_limiter, clock_now_us(), &held))
		return;
	if (held > 0)
		log_warn("%" PRIu64 " more lines were not taken handler=%s",
		    held, handler->conf->name);
	len = len < TEXT_SHOWN ? len : TEXT_SHOWN;
	for (i = 0; i < len; i++) {
		const char c = ((const char *)line)[i];

		shown[i] = c >= 0x20 && c < 0x7f ? c : '?';
	}
	shown[len] = '\0';
	log_warn("%s%s%s handler=%s", what, len > 0 ? ": " : "", shown,
	    handler->conf->name);
}

/*
 * A process that errs without end would fill its connection's queue: while one
 * error waits there, another one of its kind is not added.  Of each kind there
 * is one among the last so many, and these are bounded as messages are.
 */
void
exec_tell(struct session *session, int error, const char *text)
{
	struct list *node = session->events.prev;
	unsigned i;

	for (i = 0; i < TELL_ONCE_AMONG && node != &session->events; i++) {
		struct event *event = LIST_ENTRY(node, struct event, node);

		if (event->kind == EVENT_ERROR && event->error == error)
			return;
		node = node->prev;
	}
	session_error(session, error, text);
}

void
exec_on_line(struct worker *worker, uint8_t *line, size_t len)
{
	struct wire_command command;
	char fault[WIRE_FAULT_BYTES_MAX], text[TEXT_SHOWN];
	const size_t shown = len < sizeof(text) ? len : sizeof(text);
	struct session *session;
	int r;

	memcpy(text, line, shown); /* reading it writes on it */
	r = wire_get_command(line, len, &command, fault);
	if (r == 0 && command.kind != WIRE_DONE) {
		command_run(worker, &command, text, shown);
		return;
	}
	if (r == 0) {
		r = on_done(worker, command.done);
		command_reply(worker, command.id, r, NULL);
		if (r < 0)
			exec_on_bad(worker, "done: no such event", text, shown);
		return;
	}
	exec_on_bad(worker, fault, text, shown);
	command_reply(worker, command.id, r, fault);
	session = command_session(worker, command.conn);
	if (session != NULL)
		exec_tell(session, -EBADMSG, fault);
}

/* The process is gone */

static struct event *
lost_event(const struct event *event, const char *text)
{
	struct event *error =
	    session_event_new(EVENT_ERROR, text, strlen(text));

	if (error == NULL)
		return NULL;
	error->error = -ECONNRESET;
	error->again = true;
	error->lost = event != NULL ? event->seq : 0;
	if (event != NULL && event->kind == EVENT_CLOSE)
		error->code = event->code; /* nothing follows: it says so */
	return error;
}

static void
push_lost(struct session *session, const struct event *event)
{
	struct event *error = lost_event(
	    event, event != NULL ? "the process ended while it had this event"
				 : "the process ended");

	if (error != NULL) /* no memory to tell about it */
		session_push_front(session, error);
}

/* It was in flight: who knows what became of it? */
static void
lose(struct session *session, struct event *event) LOOP_THREAD
{
	struct handler *handler = session->handler;

	session->told = true;
	if (event->kind == EVENT_ERROR ||
	    (event->kind == EVENT_OPEN && event->code < OPEN_TRIES_MAX)) {
		if (event->kind == EVENT_OPEN)
			event->code++; /* it has no other use for that */
		event->again = true;
		list_prepend(&session->events, &event->node);
		return;
	}
	handler->counts.lost++;
	if (event->kind == EVENT_OPEN)
		session_refuse(session, 1011, "its handler failed");
	if (event->kind == EVENT_CLOSE)
		session->ended = true;
	if (event->kind == EVENT_PUBLISH)
		filter_lost(session, event);
	else if (event->kind != EVENT_OPEN)
		push_lost(session, event);
	session_handled(session, 1, (int64_t)event->len);
	session_event_free(event);
}

void
exec_on_over(struct worker *worker)
{
	struct handler *handler = worker->exec->handler;
	struct list *node;

	command_forget(worker);
	while ((node = list_first(&worker->flight)) != NULL) {
		struct session *session =
		    LIST_ENTRY(node, struct session, ready);
		struct event *event = session->in_flight;

		land(session);
		session->in_flight = NULL;
		if (event->end > worker->in_written) /* it never had it all */
			list_prepend(&session->events, &event->node);
		else
			lose(session, event);
	}
	LIST_EACH_SAFE(each, next, &handler->sessions)
	{
		struct session *session =
		    LIST_ENTRY(each, struct session, node);

		if (session->worker != worker)
			continue;
		if (session->known && !session->told && !session->ended &&
		    !worker->exec->stopping)
			push_lost(session, NULL);
		session->told = false;
		session_update(session); /* may be its end */
	}
}
