#ifndef DAEMON_HANDLER_EXEC_H
#define DAEMON_HANDLER_EXEC_H

/*
 * exec: a handler's processes, and which session is with which.
 *
 * Life     exec_new -> exec_start -> exec_ready* -> exec_stop (or _hurry) ->
 *          exec_free.
 * Order    A session's events are given one at a time, the next when the
 *          process has said that it is done with the one before.
 * Promise  A session stays with its process' place when the process dies:
 *          the one that comes after it goes on.
 * Threads  The net loop; processes are started by jobs on `sys`.
 */

#include "daemon/handler/handler_internal.h"

struct session;

int exec_new(struct handler *handler) LOOP_THREAD; /* -ENOMEM */
void exec_start(struct exec *exec) LOOP_THREAD;
/* arg: struct loading.  An es_body_fn: is there a program of that name? */
int exec_look_job(void *arg, es_value *ret) MAY_BLOCK;

/* The session has events: they go to its process in their turn. */
void exec_ready(struct session *session) LOOP_THREAD;
void exec_forget(struct session *session) LOOP_THREAD; /* it is freed */

/*
 * Ends the processes.  true: none is left; else handlers_check_waiting()
 * when none is, and it may be asked again.
 */
bool exec_stop(struct exec *exec) LOOP_THREAD;
void exec_hurry(struct exec *exec) LOOP_THREAD; /* kill them now */
void exec_free(struct exec *exec) LOOP_THREAD; /* NULL: no-op */

/* Its processes are to end: nothing is given to them any more. */
bool exec_is_ending(const struct exec *exec) LOOP_THREAD;

/* For metrics: processes that run. */
uint32_t exec_running(const struct exec *exec);

#endif
