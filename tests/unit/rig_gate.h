#ifndef TESTS_UNIT_RIG_GATE_H
#define TESTS_UNIT_RIG_GATE_H

/*
 * rig_gate: where a test's threads wait for each other, with patience, and
 * how it sees that nothing was left behind.
 */

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define RIG_PATIENCE INT64_C(20000000) /* a wait of that many us has failed */

/* A counter that can be waited for from another thread. */
struct rig_gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned count;
};
#define RIG_GATE                                                               \
	{                                                                      \
		.lock = PTHREAD_MUTEX_INITIALIZER,                             \
		.cond = PTHREAD_COND_INITIALIZER                               \
	}

/* Also an es_fn. */
static inline void
rig_open(void *arg)
{
	struct rig_gate *gate = arg;

	pthread_mutex_lock(&gate->lock);
	gate->count++;
	pthread_cond_broadcast(&gate->cond);
	pthread_mutex_unlock(&gate->lock);
}

/* False: it was not opened that many times in time. */
static inline bool
rig_pass(struct rig_gate *gate, unsigned count)
{
	struct timespec ts;
	bool passed;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += RIG_PATIENCE / 1000000;
	pthread_mutex_lock(&gate->lock);
	while (gate->count < count)
		if (pthread_cond_timedwait(&gate->cond, &gate->lock, &ts) != 0)
			break;
	passed = gate->count >= count;
	pthread_mutex_unlock(&gate->lock);
	return passed;
}

static inline unsigned
rig_count_in(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	if (!dir)
		abort();
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline unsigned
rig_count_fds(void)
{
	return rig_count_in("/proc/self/fd");
}

#endif
