#ifndef DAEMON_LOOP_WAIT_H
#define DAEMON_LOOP_WAIT_H

/*
 * wait: this task's, job's or thread's wait for something to become true.
 *
 * Life      begin -> (what can wake it is told of it) -> pause -> (and told
 *           to forget it) -> end, on the waiter's stack.
 * Order     What is ready wins, then the cancel, then the deadline.
 */

#include "daemon/loop/job_internal.h"
#include "daemon/loop/task_internal.h"

struct wait {
	es_task *task; /* NULL: this is a thread */
	struct job *job;
	struct parker parker; /* of a thread */
	bool regardless; /* of being cancelled, and of shields' limits */
};

typedef bool (*wait_ready_fn)(void *arg);

/* When a wait of at most timeout ends; a negative one has ended. */
es_usec wait_deadline(es_usec timeout);

/*
 * f: the one future it is about, or NULL.  -EDEADLK: a call on a loop cannot
 * wait, or this wait would be for ever.
 */
int wait_begin(struct wait *wait, es_future *f, bool regardless);

/* 0: ready.  -ECANCELED, -ETIMEDOUT. */
int wait_pause(
    struct wait *wait, es_usec deadline, wait_ready_fn ready, void *arg);

/* Any thread, under the lock of whatever was told of the wait. */
void wait_wake(struct wait *wait);

void wait_end(struct wait *wait);

#endif
