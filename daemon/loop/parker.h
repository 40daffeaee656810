#ifndef DAEMON_LOOP_PARKER_H
#define DAEMON_LOOP_PARKER_H

/*
 * parker: where one thread sleeps until another has a reason to wake it.
 *
 * Life      init -> (wait | wake)* -> fini, on the stack of the sleeper, who
 *           makes sure that nobody can wake it any more before fini().
 * Promise   A reason given before the wait ends the wait at once.
 */

#include <pthread.h>

#include "daemon/loop/es.h"

enum parker_reason {
	PARKER_SETTLED = 1,
	PARKER_CLOSED = 2,
	PARKER_CANCELLED = 4,
	PARKER_READY = 8,
};

struct parker {
	pthread_mutex_t lock; /* covers reasons */
	pthread_cond_t cond;
	unsigned reasons;
};

void parker_init(struct parker *parker);
void parker_fini(struct parker *parker);

/* The reasons so far, which are then forgotten; 0: deadline has passed. */
unsigned parker_wait(struct parker *parker, es_usec deadline);
void parker_wake(struct parker *parker, enum parker_reason reason) ANY_THREAD;

/* A condition variable that waits by the monotonic clock. */
void parker_cond_init(pthread_cond_t *cond);
/* False: deadline has passed.  lock is held. */
bool parker_cond_wait(
    pthread_cond_t *cond, pthread_mutex_t *lock, es_usec deadline);

#endif
