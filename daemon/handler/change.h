#ifndef DAEMON_HANDLER_CHANGE_H
#define DAEMON_HANDLER_CHANGE_H

/*
 * change: another configuration's handlers, made, loaded, applied; and the end
 * of those that were there before.
 *
 * Life     new (COMING) -> SERVING -> RETIRED -> its last session is over ->
 *          a process' handler is freed; a plugin's is ENDING, then ENDED, and
 *          freed with the set.
 * Threads  The net loop's.
 */

#include "daemon/handler/handler_internal.h"

/* life.c */
int handler_new(struct handlers *handlers, struct conf *conf,
    const struct conf_handler *of, struct handler **ret_handler) LOOP_THREAD;
void handler_retire(struct handler *handler) LOOP_THREAD;
void handler_free_sessions(struct handler *handler) LOOP_THREAD;
void handler_free(struct handler *handler) LOOP_THREAD;
/* A former one may have nothing left to do: looked at soon. */
void handlers_sweep_later(struct handlers *handlers) LOOP_THREAD;
void handlers_sweep(struct handlers *handlers) LOOP_THREAD;

/* change.c */
void changes_sweep(struct handlers *handlers) LOOP_THREAD;
void changes_free(struct handlers *handlers) LOOP_THREAD;

#endif
