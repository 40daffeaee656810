#ifndef DAEMON_LOOP_THREAD_H
#define DAEMON_LOOP_THREAD_H

/*
 * thread: a loop on a thread of its own.
 *
 * Life      start -> stop.  The loop may stop itself; stop is still needed.
 * Memory    start takes a reference of its own on the loop.
 * Threads   The thread has the loop's name and all signals blocked.
 */

#include "daemon/loop/es.h"

/*
 * Returns when the loop runs: what is submitted next, runs.
 * Errors as es_loop_run(); -EAGAIN: no thread to be had.  -ENOMEM.
 */
int es_loop_thread_start(
    es_loop *loop, es_loop_thread **ret_thread) ES_CHECK MAY_BLOCK;

/*
 * Stops the loop, joins the thread, closes the loop with grace, frees thread.
 * As es_loop_close().  -EDEADLK: from that very thread; nothing is done.
 * NULL: 0.
 */
int es_loop_thread_stop(es_loop_thread *thread, es_usec grace) MAY_BLOCK;

/* Stops it where the scope ends; what would not end is in the reports. */
static inline void
es_loop_thread_cleanup(es_loop_thread **thread)
{
	(void)es_loop_thread_stop(*thread, ES_S(5));
}
#define ES_SCOPED_THREAD                                                       \
	__attribute__((cleanup(es_loop_thread_cleanup))) es_loop_thread

#endif
