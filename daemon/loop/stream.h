#ifndef DAEMON_LOOP_STREAM_H
#define DAEMON_LOOP_STREAM_H

/*
 * stream: a bounded row of values to one reader, across threads.
 *
 * Order     As sent; nothing is lost or doubled while both ends are there.
 * Life      new -> (send | next)* -> tx_end, rx_close, in any order.
 * Promise   After the last value the reader gets 0, or the producer's code,
 *           every time from then on.  A reader that leaves, early or by the
 *           end of a scope, drops what is queued, lets send fail with -EPIPE
 *           and cancels a producer of es_stream_spawn().  When the loop has
 *           closed the reader gets the rest, then -ESHUTDOWN.
 * Memory    At most max_items and max_bytes (as told to send); one value
 *           that is larger passes when the stream is empty.
 * Threads   ANY_THREAD; one reader at a time, any number of senders.
 * Errors    Time-outs other than 0 wait: in a call on a loop -EDEADLK, unless
 *           it can go on at once.  -ECANCELED, -ECHILD.
 */

#include "daemon/loop/es.h"

#define ES_STREAM_ITEMS_DEFAULT 64
#define ES_STREAM_BYTES_DEFAULT (1024 * 1024)

typedef struct es_tx es_tx;
typedef struct es_rx es_rx;

typedef struct es_stream_opts {
	unsigned max_items; /* 0: the default */
	size_t max_bytes; /* 0: the default */
} es_stream_opts;

/* opts may be NULL.  -ENOMEM, -ESHUTDOWN. */
int es_stream_new(es_loop *loop, const es_stream_opts *opts, es_tx **ret_tx,
    es_rx **ret_rx) ES_CHECK ANY_THREAD;

/*
 * A generator: the task fn(tx, arg) feeds the stream, which ends with fn's
 * code (0 when it was stopped because the reader left); tx is not ended by
 * fn.  Ownership of arg as for es_spawn().
 */
typedef int (*es_stream_fn)(es_tx *tx, void *arg);
int es_stream_spawn(es_loop *loop, const char *name, es_stream_fn fn, void *arg,
    es_drop drop, const es_stream_opts *opts,
    es_rx **ret_rx) ES_CHECK ANY_THREAD;

/*
 * Waits for room.  0: the value is the stream's; else it stays the caller's.
 * -EAGAIN: no room, with a time-out of 0.  -ETIMEDOUT.  -EPIPE: the reader
 * is gone.  -ESHUTDOWN: no room, and the loop is closed.  -ENOMEM.
 */
int es_send(
    es_tx *tx, es_value v, size_t bytes, es_usec timeout) ES_CHECK ANY_THREAD;

/*
 * Queues fn(arg) on where, once, when there is room or the reader has gone;
 * now, if that is so.  Forgotten by tx_end.  -EALREADY: one is pending.
 */
int es_tx_on_room(
    es_tx *tx, es_loop *where, es_fn fn, void *arg) ES_CHECK ANY_THREAD;

/*
 * The end: code 0, or the failure the reader gets, with a message (copied;
 * may be NULL).  Frees tx.  NULL: no-op.  0.
 */
int es_tx_end(es_tx *tx, int code, const char *message) ANY_THREAD;

/* 1: *ret is a value, the caller's; 0: the end; < 0: error.  B: -ETIMEDOUT
 * loses nothing. */
int es_next(es_rx *rx, es_usec timeout, es_value *ret) ES_CHECK ANY_THREAD;

/* As es_tx_on_room(): when there is a value, or the end. */
int es_rx_on_ready(
    es_rx *rx, es_loop *where, es_fn fn, void *arg) ES_CHECK ANY_THREAD;

/* The producer's message, once the end was read; or NULL. */
const char *es_rx_error(const es_rx *rx) ANY_THREAD;

/* Frees rx.  NULL: no-op.  0. */
int es_rx_close(es_rx *rx) ANY_THREAD;

/*
 * All values in one array, to be dropped one by one and freed with free().
 * Consumes rx.  -EMSGSIZE: more than max; everything is dropped, as it is on
 * any failure.
 */
int es_collect(es_rx *rx, size_t max, es_usec timeout, es_value **ret_values,
    size_t *ret_n) ES_CHECK ANY_THREAD;

#define es_each(v, rx, timeout)                                                \
	for (es_value v; es_next((rx), (timeout), &v) == 1; es_value_drop(&v))

static inline void
es_rx_cleanup(es_rx **rx)
{
	(void)es_rx_close(*rx);
}
#define ES_SCOPED_RX __attribute__((cleanup(es_rx_cleanup))) es_rx

#endif
