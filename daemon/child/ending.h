#ifndef DAEMON_CHILD_ENDING_H
#define DAEMON_CHILD_ENDING_H

/*
 * ending: tells the loop that a child has ended, before it is reaped.
 *
 * Life     watch -> fn(arg), once -> or unwatch before; then watch again.
 * Threads  LOOP_THREAD of net.
 */

#include "daemon/child/spawn.h"
#include "daemon/loop/loop.h"

struct ending {
	es_loop *net;
	const struct process *process;
	void (*fn)(void *arg);
	void *arg;
	es_watch *watch; /* of the pidfd */
	es_call *look; /* where there is none */
};

/* process is borrowed until unwatched.  Errors as es_watch_new(). */
int ending_watch(struct ending *ending, es_loop *net,
    const struct process *process, void (*fn)(void *arg),
    void *arg) LOOP_THREAD;

/* fn is not called any more; may be called twice. */
void ending_unwatch(struct ending *ending); /* as es_watch_free() */

#endif
