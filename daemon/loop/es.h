#ifndef DAEMON_LOOP_ES_H
#define DAEMON_LOOP_ES_H

/*
 * es: the types every part of the run-time shares.
 *
 * Units     es_usec is microseconds; absolute times are CLOCK_MONOTONIC.
 * Errors    Every function that returns int: >= 0 is success, < 0 one of
 *           these.  A future carries its producer's own code, any -errno.
 *   -EAGAIN      the queue or the stream is full; nothing was taken
 *   -EALREADY    settled, taken, or set before
 *   -EBUSY       the loop is running, or a loop runs on this thread
 *   -ECANCELED   cancelled
 *   -ECHILD      the object was made before fork(), in the parent
 *   -EDEADLK     this wait could never end
 *   -EINPROGRESS not settled yet
 *   -EINTR       stopped before the future settled
 *   -EINVAL      an argument makes no sense
 *   -EMSGSIZE    more than the given maximum
 *   -ENOMEM      out of memory
 *   -EPERM       only the loop's own thread, a task or a job may do this
 *   -EPIPE       the other end of the stream is gone
 *   -ESHUTDOWN   the loop is closed, the executor is shut down
 *   -ETIMEDOUT   the time is up
 * NULL where a header does not allow it, and what else no caller in its right
 * mind does, is asserted: the process aborts, in release builds too.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/threads.h"

typedef int64_t es_usec;
#define ES_FOREVER INT64_MAX
#define ES_MS(n) ((es_usec)(n)*1000)
#define ES_S(n) ((es_usec)(n)*1000000)

#define ES_CHECK __attribute__((warn_unused_result))
#define ES_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

typedef struct es_loop es_loop;
typedef struct es_call es_call;
typedef struct es_watch es_watch;
typedef struct es_loop_thread es_loop_thread;
typedef struct es_future es_future;
typedef struct es_task es_task;
typedef struct es_executor es_executor;
typedef struct es_group es_group;

typedef void (*es_fn)(void *arg);
typedef void (*es_drop)(void *arg); /* releases arg; NULL: nothing to release */

/*
 * A result in flight.  Whoever holds it calls es_value_drop() once, or hands
 * it on.  A value that is only lent has no drop, so dropping it is harmless.
 */
typedef struct es_value {
	union {
		void *p;
		int64_t i;
		uint64_t u;
	};
	es_drop drop; /* called with .p */
} es_value;

#define ES_NOTHING ((es_value){ .p = NULL, .drop = NULL })
#define ES_INT(n) ((es_value){ .i = (n), .drop = NULL })
#define ES_PTR(q, d) ((es_value){ .p = (q), .drop = (d) })

static inline void
es_value_drop(es_value *v)
{
	if (v->drop)
		v->drop(v->p);
	*v = ES_NOTHING;
}

/*
 * What es_loop_invoke(), tasks and jobs run: 0 with the result in *ret (left
 * alone, it is ES_NOTHING), or a negative code.
 */
typedef int (*es_body_fn)(void *arg, es_value *ret);

#endif
