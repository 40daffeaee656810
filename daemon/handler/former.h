#ifndef DAEMON_HANDLER_FORMER_H
#define DAEMON_HANDLER_FORMER_H

/*
 * former: a publisher's order from one filter to the next, where a reload
 * comes in between.
 *
 * Life     former_begin -> (former_hold)* -> the last ask is answered:
 *          former_through -> former_release.
 * Order    What is held is published in its order, and before what comes then.
 * Promise  What is held is published, to whoever is asked by then, or its
 *          publisher is told why not; behind one that was refused a strict
 *          publisher's rest is dropped.
 * Memory   Counted with the session's queue; the publisher is asked to wait.
 *          Those that do not heed that have a limit of their own.
 * Threads  The net loop.
 */

#include "daemon/handler/filter.h"

/* It is asked no more, or about less, and has asks; also again. */
void former_begin(struct asking *asking) LOOP_THREAD;
/* filter may be NULL: none.  0: it need not wait; 1: it does; -ENOMEM. */
int former_hold(const struct handler *filter, const struct hub_message *message,
    const char *channel, size_t len, int64_t now_us) LOOP_THREAD;
/* All its asks are answered; what waits is published by a later call. */
void former_through(struct asking *asking) LOOP_THREAD;
void former_release(struct handlers *handlers) LOOP_THREAD;
/* Nobody is told. */
void former_drop(struct asking *asking) LOOP_THREAD;
/* It is being freed. */
void former_forget(struct asking *asking) LOOP_THREAD;
/*
 * The publisher ends.  true: something of it is held, and its askings are those
 * of an heir that publishes that.
 */
bool former_inherit(struct hub_publisher *publisher) LOOP_THREAD;

#endif
