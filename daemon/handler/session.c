/*
 * session: events in, callbacks out, and what the connection feels of it.
 *
 * The happy path: session_new() at the upgrade -> session_open() ->
 * session_message() -> session_update() hands what waits to a worker
 * (plugin.c) or a process (exec.c) -> session_handled() -> … ->
 * session_gone() -> on_close -> freed.
 *
 * What can go wrong:
 * - the queue is full, of the connection or of all: its reader pauses, and
 *   goes on at half of it; nothing is dropped;
 * - it does not read what it is sent: its reader pauses as well, and what is
 *   queued waits, so that an echo slows down instead of failing;
 * - on_open refuses: what came meanwhile is dropped, on_close comes as ever;
 * - the workers' queue is full: the session waits in a line of its own.
 */

#include "daemon/handler/session.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/handler/change.h"
#include "daemon/handler/consume.h"
#include "daemon/handler/exec.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/upstream_internal.h"
#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define EVENT_ROOM 128
#define EVENTS_SPARE_MAX 2048 /* half a megabyte */

struct event *
session_event_new(enum event_kind kind, const void *data, size_t len)
{
	struct event *event = memory_alloc(sizeof(*event) + len + 1);

	if (event == NULL)
		return NULL;
	*event = (struct event){ .kind = kind, .len = len };
	list_init(&event->node);
	if (len > 0 && data != NULL)
		memcpy(event->data, data, len);
	event->data[len] = '\0';
	return event;
}

void
session_event_free(struct event *event)
{
	if (event != NULL)
		assert(list_empty(&event->node));
	if (event != NULL && event->kind == EVENT_PUBLISH)
		ask_free(ask_of(event));
	else
		memory_free(event);
}

/*
 * Messages are taken in on the loop, handled on workers: their memory comes
 * back to the loop, for malloc() finds a thread's own the fastest.
 */
static struct event *
message_new(struct handlers *handlers, const void *data, size_t len)
{
	struct list *node = list_first(&handlers->spare);
	struct event *event;

	if (len > EVENT_ROOM)
		return session_event_new(EVENT_MESSAGE, data, len);
	if (node != NULL) {
		list_remove(node);
		handlers->spare_count--;
		event = LIST_ENTRY(node, struct event, node);
	} else {
		event = memory_alloc(sizeof(*event) + EVENT_ROOM + 1);
		if (event == NULL)
			return NULL;
	}
	*event = (struct event){
		.kind = EVENT_MESSAGE,
		.room = EVENT_ROOM,
		.len = len,
	};
	list_init(&event->node);
	if (len > 0)
		memcpy(event->data, data, len);
	event->data[len] = '\0';
	return event;
}

void
session_event_recycle(struct handlers *handlers, struct event *event)
{
	if (event->room == 0 || handlers->spare_count >= EVENTS_SPARE_MAX) {
		session_event_free(event);
		return;
	}
	handlers->spare_count++;
	list_prepend(&handlers->spare, &event->node);
}

/* Life */

int
session_init(struct handler *handler, const struct es_open *open,
    struct session **ret_session)
{
	struct session *session = memory_zalloc(sizeof(*session));

	if (session == NULL)
		return -ENOMEM;
	session->handler = handler;
	session->ops = handler->handlers->rooms.ops;
	list_init(&session->node);
	list_init(&session->ready);
	list_init(&session->pausing);
	list_init(&session->of_topic);
	list_init(&session->events);
	list_init(&session->running);
	list_init(&session->spent);
	list_init(&session->sendings);
	session->open_memory = open_copy(open, &session->open);
	session->open_event = session_event_new(EVENT_OPEN, NULL, 0);
	session->close_event =
	    session_event_new(EVENT_CLOSE, NULL, SESSION_REASON_BYTES_MAX);
	if (session->open_event == NULL || session->close_event == NULL ||
	    session->open_memory == NULL) {
		session_free(session);
		return -ENOMEM;
	}
	list_append(&handler->sessions, &session->node);
	*ret_session = session;
	return 0;
}

static struct line *
line_of(const struct session *session)
{
	assert(session->name != 0);
	return &session->handler->handlers->lines[conn_slot(session->name)];
}

int
session_new(struct handler *handler, void *conn, uint32_t slot,
    uint32_t generation, const struct es_open *open,
    struct session **ret_session)
{
	struct session *session;

	assert(conn != NULL);
	assert(slot < handlers_slots(handler->handlers));
	if (handler->handlers->closing)
		return -ESHUTDOWN;
	if (session_init(handler, open, &session) < 0)
		return -ENOMEM;
	session->conn = conn;
	session->name = conn_name(slot, generation);
	handler->session_count++;
	handler->handlers->sessions++;
	atomic_store(&line_of(session)->name, session->name);
	*ret_session = session;
	return 0;
}

static void
free_events(struct list *events)
{
	LIST_EACH_SAFE(node, next, events)
	{
		list_remove(node);
		session_event_free(LIST_ENTRY(node, struct event, node));
	}
}

static void
settle_sendings(struct session *session, uint64_t written, int error)
{
	struct list *node;

	while ((node = list_first(&session->sendings)) != NULL) {
		struct sending *sending =
		    LIST_ENTRY(node, struct sending, node);

		if (error == 0 && sending->end > written)
			break;
		list_remove(node);
		/* Cancelled by its owner: then that is what it is. */
		if (error == 0)
			(void)es_future_set_result(sending->f, ES_NOTHING);
		else
			(void)es_future_set_error(
			    sending->f, error, "the connection is gone");
		future_leave(sending->f);
		memory_free(sending);
	}
}

void
session_free_spare(struct handlers *handlers)
{
	free_events(&handlers->spare);
	handlers->spare_count = 0;
}

void
session_free(struct session *session)
{
	struct handler *handler = session->handler;

	assert(!session->busy);
	if (session->link != NULL)
		upstream_on_free(session);
	if (session->asking != NULL)
		filter_forget(session);
	list_remove(&session->node);
	if (session->name != 0) {
		handler->session_count--;
		handler->handlers->sessions--;
	}
	if (session->active)
		handler->handlers->active--;
	handler->queued_bytes -= session->bytes;
	handler->queued_events -= session->count;
	if (handler->exec != NULL)
		exec_forget(session);
	settle_sendings(session, 0, -ENOTCONN);
	list_remove(&session->ready);
	list_remove(&session->pausing);
	list_remove(&session->of_topic);
	free_events(&session->events);
	free_events(&session->running);
	free_events(&session->spent);
	session_event_free(session->in_flight);
	session_event_free(session->open_event);
	session_event_free(session->close_event);
	memory_free(session->open_memory);
	memory_free(session);
}

bool
session_is_over(const struct session *session)
{
	return session->gone && !session->busy && session->ended &&
	       session->count == 0;
}

/* Pausing */

bool
session_is_held(const struct session *session)
{
	const struct line *line;

	if (session->name == 0)
		return false;
	line = line_of(session);
	return atomic_load(&line->name) == session->name &&
	       atomic_load(&line->bytes) * 2 >=
		   session->handler->conf->send_bytes_max;
}

bool
session_queue_is_full(const struct session *session, int64_t part)
{
	const struct handler *handler = session->handler;
	const struct conf_handler *conf = handler->conf;

	return session->count * part >= conf->queue_messages ||
	       session->bytes * part >= conf->queue_bytes ||
	       handler->queued_bytes >= conf->queue_bytes_total;
}

static bool
is_full(const struct session *session, int64_t part)
{
	const int64_t unsent = atomic_load(&line_of(session)->bytes);

	return unsent * part >= session->handler->conf->send_bytes_max ||
	       session_queue_is_full(session, part);
}

static void
update_pause(struct session *session)
{
	struct handler *handler = session->handler;
	const struct handler_ops *ops = session->ops;

	if (session->asking != NULL)
		filter_update_full(session);
	if (session->conn == NULL)
		return;
	if (!session->paused && is_full(session, 1)) {
		session->paused = true;
		handler->counts.pauses++;
		list_append(&handler->paused, &session->pausing);
		ops->pause(session->conn, true);
	} else if (session->paused && !is_full(session, 2)) {
		session->paused = false;
		list_remove(&session->pausing);
		ops->pause(session->conn, false);
	}
}

/* There is room again for all: those who waited for nothing else go on. */
static void
update_all_paused(struct handler *handler)
{
	LIST_EACH_SAFE(node, next, &handler->paused)
	update_pause(LIST_ENTRY(node, struct session, pausing));
}

/* Events */

static void
update_active(struct session *session)
{
	struct handlers *handlers = session->handler->handlers;
	const bool active = session->busy || session->count > 0;

	if (active == session->active)
		return;
	session->active = active;
	if (active) {
		handlers->active++;
		return;
	}
	assert(handlers->active > 0);
	handlers->active--;
	if (session->link != NULL)
		upstream_on_idle(session);
	if (handlers->active == 0)
		handlers_check_waiting(handlers);
}

void
session_update(struct session *session)
{
	struct handler *handler = session->handler;

	update_active(session);
	update_pause(session);
	if (session_is_over(session)) {
		if (session->topic != NULL)
			consume_over(session);
		session_free(session);
		if (handler->state != HANDLER_SERVING)
			handlers_sweep_later(handler->handlers);
		handlers_check_waiting(handler->handlers);
		return;
	}
	if (session->busy || list_empty(&session->events))
		return;
	if (session_is_held(session) &&
	    LIST_ENTRY(list_first(&session->events), struct event, node)
		    ->kind == EVENT_MESSAGE)
		return;
	if (handler->exec != NULL)
		exec_ready(session);
	else if (list_empty(&session->ready))
		plugin_ready(session);
}

void
session_more(struct session *session, int64_t events, int64_t bytes)
{
	session->count += events;
	session->bytes += bytes;
	session->handler->queued_events += events;
	session->handler->queued_bytes += bytes;
}

void
session_push(struct session *session, struct event *event)
{
	session_more(session, 1, (int64_t)event->len);
	list_append(&session->events, &event->node);
	session_update(session);
}

void
session_push_front(struct session *session, struct event *event)
{
	session_more(session, 1, (int64_t)event->len);
	list_prepend(&session->events, &event->node);
}

void
session_handled(struct session *session, int64_t events, int64_t bytes)
{
	session->handler->counts.events += (uint64_t)events;
	session_less(session, events, bytes);
}

void
session_less(struct session *session, int64_t events, int64_t bytes)
{
	struct handler *handler = session->handler;
	const int64_t half = handler->conf->queue_bytes_total / 2;
	const bool was_full = handler->queued_bytes >= half;

	assert(session->count >= events);
	assert(session->bytes >= bytes);
	session->count -= events;
	session->bytes -= bytes;
	handler->queued_events -= events;
	handler->queued_bytes -= bytes;
	if (was_full && handler->queued_bytes < half)
		update_all_paused(handler);
}

void
session_open(struct session *session)
{
	struct event *event = session->open_event;

	assert(event != NULL);
	session->open_event = NULL;
	session->opened = true;
	session_push(session, event);
}

int
session_message(struct session *session, enum message_kind kind,
    const void *data, size_t len)
{
	struct event *event;

	assert(session->opened);
	if (session->handler->handlers->closing)
		return -ESHUTDOWN;
	if (session->refused)
		return 0; /* its close is on its way */
	event = message_new(session->handler->handlers, data, len);
	if (event == NULL)
		return -ENOMEM;
	event->message_kind = kind;
	session_push(session, event);
	return 0;
}

void
session_error(struct session *session, int error, const char *text)
{
	struct event *event =
	    session_event_new(EVENT_ERROR, text, strlen(text));

	if (event == NULL || !session->opened) {
		session_event_free(event); /* no memory to tell about it */
		return;
	}
	event->error = error;
	session_push(session, event);
}

void
session_refuse(struct session *session, uint16_t code, const char *reason)
{
	struct handler *handler = session->handler;
	int64_t events = 0, bytes = 0;

	session->refused = true;
	handler->counts.refused++;
	LIST_EACH_SAFE(node, next, &session->events)
	{
		struct event *event = LIST_ENTRY(node, struct event, node);

		if (event->kind == EVENT_CLOSE)
			continue;
		list_remove(node);
		events++;
		bytes += (int64_t)event->len;
		session_event_free(event);
	}
	session_handled(session, events, bytes);
	if (session->conn != NULL)
		session->ops->close(session->conn, code, reason);
}

struct session *
session_find(const struct handlers *handlers, es_conn name)
{
	const struct handlers_rooms *rooms = &handlers->rooms;
	const uint32_t slot = conn_slot(name);

	if (name == 0)
		return NULL;
	if (slot < rooms->slots)
		return rooms->ops->find(
		    rooms->net, slot, conn_generation(name));
	return upstream_find(
	    handlers, slot - rooms->slots, conn_generation(name));
}

/* Sending */

int
session_send(struct session *session, enum message_kind kind, const void *data,
    size_t len, struct sending *sending)
{
	const uint64_t framed = session->link != NULL
				    ? upstream_cost(len)
				    : frame_message_bytes(len);
	struct line *line = line_of(session);
	int64_t r = -ENOTCONN;

	assert(framed >= len);
	session->sent += framed;
	atomic_fetch_add(&line->bytes, (int64_t)(framed - len));
	if (sending != NULL) {
		sending->end = session->sent;
		list_append(&session->sendings, &sending->node);
	}
	if (session->conn != NULL)
		r = session->ops->send(session->conn, kind, data, len);
	if (r >= 0) {
		assert((uint64_t)r == framed);
		update_pause(session);
		return 0;
	}
	session->sent -= framed;
	atomic_fetch_sub(&line->bytes, (int64_t)framed);
	if (sending != NULL) {
		list_remove(&sending->node);
		sending_settle(sending, (int)r);
	}
	return (int)r;
}

void
sending_settle(struct sending *sending, int error)
{
	if (sending == NULL)
		return;
	(void)es_future_set_error(
	    sending->f, error, "not sent: %s", strerrordesc_np(-error));
	future_leave(sending->f);
	memory_free(sending);
}

void
session_written(struct session *session, size_t bytes)
{
	assert(session->written + bytes <= session->sent);
	session->written += bytes;
	atomic_fetch_sub(&line_of(session)->bytes, (int64_t)bytes);
	settle_sendings(session, session->written, 0);
	if (session->paused)
		update_pause(session);
	session_go_on(session);
}

void
session_go_on(struct session *session)
{
	if (!session->busy && !list_empty(&session->events) &&
	    list_empty(&session->ready))
		session_update(session);
}

void
session_gone(struct session *session, uint16_t code, const char *reason)
{
	struct event *event = session->close_event;
	struct line *line = line_of(session);
	const size_t len = strnlen(reason, SESSION_REASON_BYTES_MAX);

	assert(!session->gone);
	session->conn = NULL;
	session->gone = true;
	atomic_store(&line->name, 0);
	atomic_fetch_sub(
	    &line->bytes, (int64_t)(session->sent - session->written));
	session->written = session->sent;
	settle_sendings(session, 0, -ENOTCONN);
	list_remove(&session->pausing);
	session->close_event = NULL;
	if (!session->opened) { /* the upgrade failed after all */
		session_event_free(event);
		if (session->handler->state != HANDLER_SERVING)
			handlers_sweep_later(session->handler->handlers);
		session_free(session);
		return;
	}
	memcpy(event->data, reason, len);
	event->data[len] = '\0';
	event->len = len;
	event->code = code;
	session_push(session, event);
}
