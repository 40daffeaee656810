#ifndef DAEMON_LOOP_TASK_H
#define DAEMON_LOOP_TASK_H

/*
 * task: functions with a stack of their own, all on their loop's thread.
 *
 * Life      spawn -> runs from the next iteration on -> ends.  The loop keeps
 *           a task until it ends.
 * Order     A task runs until it waits; calls and tasks of one loop never
 *           run at the same time.  What it read before a wait may be stale.
 * Promise   A body's 0 settles its future with *ret, a negative code with
 *           the message of es_fail(), -ECANCELED as cancelled.  A cancel
 *           before the first step: the body never runs, drop does.
 * Memory    ES_TASK_STACK_BYTES of stack and a guard page: no large arrays,
 *           no getaddrinfo(), no code of strangers; those belong on an
 *           executor.  Where no stack is to be had when a task begins, its
 *           arg is dropped and its future gets -ENOMEM.
 * Errors    Cancellation stays: once asked for, every wait returns
 *           -ECANCELED, until es_uncancel() or within a shield.  A wait for
 *           what has happened already returns that, cancelled or not.  Where
 *           cancel and time-out meet, the cancel wins; where cancel and
 *           result meet, the result does, and the cancel stays.
 */

#include "daemon/loop/es.h"

#define ES_TASK_STACK_BYTES (64 * 1024)
#define ES_SHIELDS_MAX 8 /* one inside the other */

typedef es_body_fn es_task_fn;

/*
 * The body starts in a later iteration, never inside.  name: static.
 * ret_future may be NULL; a failure is then reported.  Ownership of arg as
 * for es_call_soon().  -ENOMEM, -ESHUTDOWN, -ECHILD.
 */
int es_spawn(es_loop *loop, const char *name, es_task_fn fn, void *arg,
    es_drop drop, es_future **ret_future) ES_CHECK ANY_THREAD;

es_task *es_task_current(void) ANY_THREAD; /* or NULL: this is no task */
const char *es_task_name(const es_task *task) ANY_THREAD;

/*
 * 0; -ECANCELED; -ETIMEDOUT: a shield's limit came first.  In a job and on
 * plain threads too, which are blocked; in a call -EDEADLK.
 */
int es_sleep(es_usec duration) ES_CHECK ANY_THREAD;

/* One iteration later; what was queued before runs before.  -EPERM: no task. */
int es_yield(void) ES_CHECK ANY_THREAD;

/*
 * Until fd is ready: ES_READ, ES_WRITE or both.  -ETIMEDOUT, -ECANCELED;
 * -EPERM: no task; errors as es_watch_new().
 */
int es_await_fd(int fd, unsigned what, es_usec timeout) ES_CHECK ANY_THREAD;

/* Sets the message of the failure the body is about to return; gives code. */
int es_fail(int code, const char *fmt, ...) ANY_THREAD ES_PRINTF(2, 3);

/* Whether the task, or the job, was asked to end. */
bool es_cancelled(void) ANY_THREAD;
/* The cancel was heard: waits work again, until the next one. */
void es_uncancel(void) ANY_THREAD;

/*
 * In between waits work although cancelled, none of them beyond most from
 * the begin (-ETIMEDOUT).  They nest; the earliest limit rules.  In tasks
 * only; elsewhere nothing happens.
 */
void es_shield_begin(es_usec most) ANY_THREAD;
void es_shield_end(void) ANY_THREAD;

/*
 * submit + es_await_take(): a task goes on when fn has returned, so arg may
 * be on its stack.  executor NULL: the loop's own, made on first use, ended
 * by es_loop_close(); only in tasks, else -EPERM.  In a call -EDEADLK.
 */
int es_run_in_executor(es_executor *executor, const char *name, es_body_fn fn,
    void *arg, es_value *ret) ES_CHECK ANY_THREAD;

/*
 * New loop, one task run to its end, what it left behind cancelled and
 * ended, loop closed; as often as one likes.  fn's code and value.
 * -EBUSY: a loop runs on this thread.
 */
int es_run(es_body_fn fn, void *arg, es_value *ret) MAY_BLOCK;

#endif
