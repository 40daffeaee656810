#ifndef DAEMON_HANDLER_CONSUME_H
#define DAEMON_HANDLER_CONSUME_H

/*
 * consume: channels whose messages are a handler's, a session for each.
 *
 * Life     consume_apply -> (a publish is told of, consume_more)* -> end.
 * Threads  LOOP_THREAD of net.
 */

#include "daemon/handler/handler_internal.h"

struct session;

/* Other handlers serve: channels of former ones go over. */
void consume_apply(struct handlers *handlers) LOOP_THREAD;
/* A former handler's is handled to its end: its successor goes on there. */
void consume_over(struct session *session) LOOP_THREAD;
/* Reads from the tape what fits into the session's queue. */
void consume_more(struct session *session) LOOP_THREAD;
void consume_tick(struct handlers *handlers) LOOP_THREAD;
/* Messages that came when the processes for them had been told to end. */
int64_t consume_left(struct handlers *handlers) LOOP_THREAD;
void consume_end(struct handlers *handlers) LOOP_THREAD;

#endif
