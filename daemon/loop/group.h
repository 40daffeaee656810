#ifndef DAEMON_LOOP_GROUP_H
#define DAEMON_LOOP_GROUP_H

/*
 * group: several futures as one, and sets of tasks that end together.
 */

#include "daemon/loop/es.h"

typedef struct es_outcome {
	int code;
	es_value value; /* lent: good as long as the array */
} es_outcome;

#define ES_GATHER_ALL 1u /* failures and cancellations are outcomes */

/*
 * A future for n others; its value is an array of n es_outcome, in the order
 * of the arguments, and it settles when all have.  Without ES_GATHER_ALL the
 * first failure cancels the others and, when they have ended, is the result.
 * Cancelling it cancels all.  Consumes n references on success; the same
 * future may be given twice.  Values stay with their futures.
 * -EINVAL: no home.  -ENOMEM, -ESHUTDOWN, -ECHILD: f stay the caller's.
 */
int es_gather(es_loop *home, es_future **f, size_t n, unsigned flags,
    es_future **ret_future) ES_CHECK ANY_THREAD;

/* Members may come and go.  -EPERM: not the loop's thread.  -ENOMEM. */
int es_group_new(es_loop *loop, es_group **ret_group) ES_CHECK LOOP_THREAD;

/*
 * As es_spawn().  A member that fails cancels the group; one that is
 * cancelled does not.  -ESHUTDOWN: the group is cancelled, or closing.
 */
int es_group_spawn(es_group *group, const char *name, es_body_fn fn, void *arg,
    es_drop drop, es_future **ret_future) ES_CHECK LOOP_THREAD;

void es_group_cancel(es_group *group) LOOP_THREAD;

/*
 * Waits for all, cancels them when the time is up or the waiter is
 * cancelled, waits for their end, and frees the group.  The first failure;
 * -ECANCELED: the waiter was cancelled; -ETIMEDOUT: members were cancelled;
 * 0.  -EDEADLK: in a call, while there are members; nothing is freed.
 */
int es_group_close(es_group *group, es_usec timeout) ES_CHECK LOOP_THREAD;

#endif
