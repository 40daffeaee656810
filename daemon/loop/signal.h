#ifndef DAEMON_LOOP_SIGNAL_H
#define DAEMON_LOOP_SIGNAL_H

/*
 * signal: process signals as calls on a loop.
 *
 * Life      es_signals_block() first thing in main(), before any thread;
 *           then handlers.  Closing the loop removes its handlers.
 * Order     Equal signals that wait together become one call.
 * Threads   Handlers run on the loop's thread, never in signal context.
 */

#include "daemon/loop/es.h"

struct signalfd_siginfo;

typedef void (*es_signal_fn)(
    int signo, const struct signalfd_siginfo *info, void *arg);

/*
 * Blocks the signals (0 ends the list) in this thread and all it starts
 * later, and ignores SIGPIPE.  -EINVAL: SIGKILL, SIGSTOP, no such signal.
 */
int es_signals_block(const int *signos) ES_CHECK ANY_THREAD;

/*
 * One handler per signal and process.  -EALREADY: has one.  -EINVAL: there is
 * no such signal, it is SIGKILL or SIGSTOP, or it is not blocked on this
 * thread.  -ESHUTDOWN: the loop is closed.  -ENOMEM, -ECHILD.
 */
int es_add_signal_handler(
    es_loop *loop, int signo, es_signal_fn fn, void *arg) ES_CHECK ANY_THREAD;

/*
 * 1: removed, 0: there was none on this loop; -EINVAL: no such signal, or
 * SIGKILL, SIGSTOP.  -ECHILD.  The signal stays blocked.  On another
 * thread than the loop's, a call under way may still be running.
 */
int es_remove_signal_handler(es_loop *loop, int signo) ANY_THREAD;

/* In the child between fork() and exec: default actions, nothing blocked. */
void es_signals_reset(void) ANY_THREAD;

#endif
