#ifndef DAEMON_HANDLER_EARSHOT_CALLS_H
#define DAEMON_HANDLER_EARSHOT_CALLS_H

/*
 * earshot_calls: the host's functions as plugins call them; earshot.h
 * includes it.
 *
 * Order    Of one thread: everything happens in the order of the calls.
 * Memory   ret_future may be NULL: nobody waits for the answer.
 * Threads  Any; own threads of the plugin too.
 */

#include "daemon/handler/earshot.h"

/* option.KEY of the handler's section; NULL: not given. */
static inline const char *
es_option(const struct es_host *host, const char *key)
{
	return host->option(host->self, key);
}

static inline void
es_log(const struct es_host *host, enum es_log_level level, const char *text)
{
	host->log(host->self, level, text);
}

/*
 * A message to the peer.  The future: 0, given to the socket; -ENOTCONN, the
 * peer left before.  -EAGAIN: send_bytes_max are on their way to it.
 */
static inline int
es_send(const struct es_host *host, es_conn conn, enum es_kind kind,
    const void *data, size_t len, es_future **ret_future)
{
	return host->send(host->self, conn, kind, data, len, ret_future);
}

/* After what was sent.  Twice is once; on_close comes as ever. */
static inline int
es_close(
    const struct es_host *host, es_conn conn, uint16_t code, const char *reason)
{
	return host->close(host->self, conn, code, reason);
}

/*
 * The connection hears the channel, as raw consumers do.  from: NULL, "-N",
 * "oldest" or "EPOCH:OFFSET".  The future brings a struct es_subscribed.
 */
static inline int
es_subscribe(const struct es_host *host, es_conn conn, const char *channel,
    const char *from, es_future **ret_future)
{
	return host->subscribe(host->self, conn, channel, from, ret_future);
}

static inline int
es_unsubscribe(const struct es_host *host, es_conn conn, const char *channel,
    es_future **ret_future)
{
	return host->unsubscribe(host->self, conn, channel, ret_future);
}

/* The future brings a struct es_info. */
static inline int
es_info(const struct es_host *host, es_conn conn, es_future **ret_future)
{
	return host->info(host->self, conn, ret_future);
}

/* The future brings a struct es_position, once the message is on its tape. */
static inline int
es_publish(const struct es_host *host, const char *channel, enum es_kind kind,
    const void *data, size_t len, es_future **ret_future)
{
	return host->publish(host->self, channel, kind, data, len, ret_future);
}

/* The future brings a struct es_history with at most limit messages. */
static inline int
es_history(const struct es_host *host, const char *channel, const char *from,
    size_t limit, es_future **ret_future)
{
	return host->history(host->self, channel, from, limit, ret_future);
}

/* fn(arg) on a worker; drop(arg) if it does not come to that. */
static inline int
es_run(const struct es_host *host, void (*fn)(void *arg), void *arg,
    es_drop drop, es_future **ret_future)
{
	return host->run(host->self, 0, fn, arg, drop, ret_future);
}

/* The same, not before that time has passed. */
static inline int
es_call_later(const struct es_host *host, int64_t delay_us,
    void (*fn)(void *arg), void *arg, es_drop drop, es_future **ret_future)
{
	return host->run(host->self, delay_us, fn, arg, drop, ret_future);
}

/*
 * The future's code; -ETIMEDOUT, and nothing has changed; -EDEADLK: it could
 * never end.  Blocks.
 */
static inline int
es_await(const struct es_host *host, es_future *f, int64_t timeout_us)
{
	return host->await(host->self, f, timeout_us);
}

/* What it brought, lent as long as f is held; NULL: nothing (yet). */
static inline const void *
es_result(const struct es_host *host, const es_future *f)
{
	return host->result(host->self, f);
}

/* 1: asked; what has not begun does not happen.  0: too late. */
static inline int
es_cancel(const struct es_host *host, es_future *f)
{
	return host->cancel(host->self, f);
}

static inline void
es_unref(const struct es_host *host, es_future *f)
{
	host->unref(host->self, f);
}

/* Inside on_publish: the message is to be this one.  < 0: it is as it was. */
static inline int
es_change(const struct es_host *host, es_verdict *verdict, enum es_kind kind,
    const void *data, size_t len)
{
	return host->change(host->self, verdict, kind, data, len);
}

/* Inside on_publish: it is not to be; reason, up to 123 bytes, is told. */
static inline int
es_refuse(const struct es_host *host, es_verdict *verdict, const char *reason)
{
	return host->refuse(host->self, verdict, reason);
}

#endif
