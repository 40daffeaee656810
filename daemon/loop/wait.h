#ifndef DAEMON_LOOP_WAIT_H
#define DAEMON_LOOP_WAIT_H

/*
 * wait: how the waiting functions find out on what they are, and wait there.
 *
 * One thread's wait on something that wakes its parker: a future, a stream.
 */

#include "daemon/loop/job_internal.h"

/* When a wait of at most timeout ends; a negative one has ended. */
es_usec wait_deadline(es_usec timeout);

#endif
