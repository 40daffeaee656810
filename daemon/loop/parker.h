#ifndef DAEMON_LOOP_PARKER_H
#define DAEMON_LOOP_PARKER_H

/*
 * parker: where one thread sleeps until another wakes it.
 *
 * Life      init -> (wait | wake)* -> fini, on the stack of the sleeper, who
 *           makes sure that nobody can wake it any more before fini().
 * Promise   A wake-up that comes before the wait ends the wait at once; many
 *           are as good as one.
 */

#include <pthread.h>

#include "daemon/loop/es.h"

struct parker {
	pthread_mutex_t lock; /* covers woken */
	pthread_cond_t cond;
	bool woken;
};

void parker_init(struct parker *parker);
void parker_fini(struct parker *parker);

/* Until woken, or woken before; false: deadline has passed. */
bool parker_wait(struct parker *parker, es_usec deadline);
void parker_wake(struct parker *parker) ANY_THREAD;

/* A condition variable that waits by the monotonic clock. */
void parker_cond_init(pthread_cond_t *cond);
/* False: deadline has passed.  lock is held. */
bool parker_cond_wait(
    pthread_cond_t *cond, pthread_mutex_t *lock, es_usec deadline);

#endif
