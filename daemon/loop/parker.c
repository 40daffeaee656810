/*
 * parker: a mutex and a condition variable.  A bare futex would save some
 * nanoseconds beside a wake-up that costs microseconds, and be invisible to
 * the tools that look for races.
 */

#include "daemon/loop/parker.h"

#include <assert.h>
#include <time.h>

void
parker_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int r;

	(void)pthread_condattr_init(&attr); /* never fails on Linux */
	r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	assert(r == 0);
	r = pthread_cond_init(cond, &attr);
	assert(r == 0);
	(void)r;
	(void)pthread_condattr_destroy(&attr); /* never fails on Linux */
}

bool
parker_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, es_usec deadline)
{
	struct timespec ts;

	assert(deadline >= 0);
	if (deadline == ES_FOREVER)
		return pthread_cond_wait(cond, lock) == 0;
	ts.tv_sec = deadline / 1000000;
	ts.tv_nsec = deadline % 1000000 * 1000;
	return pthread_cond_timedwait(cond, lock, &ts) == 0;
}

void
parker_init(struct parker *parker)
{
	(void)pthread_mutex_init(&parker->lock, NULL); /* cannot fail */
	parker_cond_init(&parker->cond);
	parker->woken = false;
}

void
parker_fini(struct parker *parker)
{
	/*
	 * The last wake may still be inside its unlock: having the lock once
	 * more means that it is out.
	 */
	pthread_mutex_lock(&parker->lock);
	pthread_mutex_unlock(&parker->lock);
	(void)pthread_cond_destroy(&parker->cond); /* nobody waits */
	(void)pthread_mutex_destroy(&parker->lock); /* nobody holds it */
}

bool
parker_wait(struct parker *parker, es_usec deadline)
{
	bool woken;

	pthread_mutex_lock(&parker->lock);
	while (!parker->woken)
		if (!parker_cond_wait(&parker->cond, &parker->lock, deadline))
			break;
	woken = parker->woken;
	parker->woken = false;
	pthread_mutex_unlock(&parker->lock);
	return woken;
}

void
parker_wake(struct parker *parker)
{
	pthread_mutex_lock(&parker->lock);
	parker->woken = true;
	pthread_cond_signal(&parker->cond);
	pthread_mutex_unlock(&parker->lock);
}
