#ifndef DAEMON_HANDLER_HANDLER_H
#define DAEMON_HANDLER_HANDLER_H

/*
 * handler: the user's synchronous callbacks, and their way back to the loop.
 *
 * Life     handlers_new -> handlers_start -> (session_new -> session_open ->
 *          events -> session_gone)* -> handlers_await_idle -> handlers_end ->
 *          handlers_unload -> handlers_free.
 * Order    The callbacks of a session come one at a time and in order: open,
 *          what happened, close.
 * Promise  Every open has one close.  Nothing that was taken is dropped but
 *          by a deadline, which counts it.  No callback runs on the loop.
 * Memory   A session's queue is bounded by pausing its reader; one read's
 *          worth of messages may come after that.
 * Threads  LOOP_THREAD of net, except where a function says otherwise.
 */

#define ES_NO_WRAPPERS

#include "conf/conf.h"
#include "daemon/base/buffer.h"
#include "daemon/handler/earshot.h"
#include "daemon/hub/hub.h"
#include "daemon/loop/loop.h"

struct handlers;
struct handler; /* one section of the configuration */
struct session; /* what a handler knows of a connection, or of a channel */

/* What the handlers ask of connections; conn is as given to session_new(). */
struct handler_ops {
	/* The session of the connection of that name; NULL: gone. */
	struct session *(*find)(void *net, uint32_t slot, uint32_t generation);
	/* Its bytes on the wire; -ENOTCONN: closing; -ENOMEM. */
	int64_t (*send)(
	    void *conn, enum message_kind kind, const void *data, size_t len);
	void (*close)(void *conn, uint16_t code, const char *reason);
	bool (*closing)(void *conn); /* whoever closes it */
	/* As hub_subscribe(); -EALREADY; -ENOTCONN; -EMFILE: too many. */
	int (*subscribe)(void *conn, const char *channel, size_t len,
	    const struct from *from, struct hub_answer *ret_answer);
	/* -ENOENT: not subscribed. */
	int (*unsubscribe)(void *conn, const char *channel, size_t len);
	uint32_t (*subscriptions)(void *conn);
	void (*pause)(void *conn, bool pause);
};

struct handlers_rooms { /* borrowed until handlers_free() */
	struct conf *conf; /* until handlers_start() is over */
	struct hub *hub;
	es_loop *loop;
	es_executor *work, *sys;
	const struct handler_ops *ops;
	void *net;
	uint32_t slots; /* names have slots below that */
};

int handlers_new(const struct handlers_rooms *rooms,
    struct handlers **ret_handlers) LOOP_THREAD; /* -ENOMEM */

/*
 * Loads the plugins and starts the processes, while the loop runs.  -ENOENT,
 * -ENOEXEC, …: ret_text says which plugin and what is wrong with it.
 */
int handlers_start(
    struct handlers *handlers, char *ret_text, size_t size) MAY_BLOCK;

/*
 * Another configuration: plugins that are new or others are loaded, programs
 * looked for, and nothing has changed yet.  0: apply or abandon follows, on
 * the loop.  ret_text, unless "": what is wrong with the configuration, with
 * file and line.  -ETIMEDOUT, -ECANCELED, -ENOMEM: given up.
 */
int handlers_prepare(struct handlers *handlers, struct conf *conf,
    es_usec timeout, char *ret_text, size_t size) MAY_BLOCK;
/* What was prepared serves; who is with another handler stays with it. */
void handlers_apply(struct handlers *handlers) LOOP_THREAD;
void handlers_abandon(struct handlers *handlers) LOOP_THREAD;

/* Bound to a path, or to raw connections of a channel.  handlers: or NULL. */
struct handler *handlers_for_path(
    struct handlers *handlers, const char *path, size_t len) LOOP_THREAD;
struct handler *handlers_for_channel(
    struct handlers *handlers, const char *channel, size_t len) LOOP_THREAD;
bool handler_wants_token(const struct handler *handler) LOOP_THREAD;

/*
 * A connection that will be a session; open is copied.  -ENOMEM.  Then
 * session_open() when it is one, or session_gone() at once.
 */
int session_new(struct handler *handler, void *conn, uint32_t slot,
    uint32_t generation, const struct es_open *open,
    struct session **ret_session) LOOP_THREAD;
void session_open(struct session *session) LOOP_THREAD;
/* -ENOMEM; -ESHUTDOWN: taken no more, the daemon is closing. */
int session_message(struct session *session, enum message_kind kind,
    const void *data, size_t len) LOOP_THREAD;
/* Something went wrong and the connection lives. */
void session_error(
    struct session *session, int error, const char *text) LOOP_THREAD;
/* The same; one with the gap of that channel that still waits to be told. */
void session_gap(struct session *session, const char *channel, int64_t from,
    int64_t to) LOOP_THREAD;
/* So many bytes of what was sent are the kernel's now. */
void session_written(struct session *session, size_t bytes) LOOP_THREAD;
/* The connection is gone, conn with it.  The last call for this session. */
void session_gone(
    struct session *session, uint16_t code, const char *reason) LOOP_THREAD;

/* From now on messages are not taken. */
void handlers_stop_intake(struct handlers *handlers) LOOP_THREAD;

/*
 * done(arg), once, from a call on the loop, when everything taken has been
 * handled and no callback runs; or after handlers_hurry().
 */
void handlers_await_idle(
    struct handlers *handlers, void (*done)(void *arg), void *arg) LOOP_THREAD;

/*
 * All connections are gone: done(arg) when every on_close has run and every
 * process has ended; or, after handlers_hurry(), at once.
 */
void handlers_end(
    struct handlers *handlers, void (*done)(void *arg), void *arg) LOOP_THREAD;
void handlers_hurry(struct handlers *handlers) LOOP_THREAD;

/* Callbacks that did not run, or did not end, because time was up. */
uint64_t handlers_left(const struct handlers *handlers) LOOP_THREAD;

/* Functions of plugins that wait for their time do not run any more. */
void handlers_disarm(struct handlers *handlers) LOOP_THREAD; /* NULL: no-op */

/* The plugins' end(), at most that long.  Before the executor is shut down. */
int handlers_unload(struct handlers *handlers, es_usec timeout) MAY_BLOCK;

/* What the filters' and the loaders' threads left running.  NULL: 0. */
int handlers_stop_threads(struct handlers *handlers, es_usec timeout) MAY_BLOCK;

/* At any time, NULL too; no worker may be in a callback. */
void handlers_free(struct handlers *handlers) LOOP_THREAD;

int handlers_put_metrics(struct buffer *out, void *handlers) LOOP_THREAD;
/* For STATUS: callbacks that run for longer than callback_timeout. */
uint32_t handlers_stuck(const struct handlers *handlers) LOOP_THREAD;

#endif
