#ifndef DAEMON_BASE_CLOCK_H
#define DAEMON_BASE_CLOCK_H

/*
 * clock: the two clocks of the house, in microseconds.
 *
 * Units     Microseconds.  Deadlines and durations use the monotonic clock;
 *           the wall clock is only for what people read.
 * Threads   Every function: ANY_THREAD.
 */

#include <stdint.h>

#include "daemon/base/threads.h"

/* CLOCK_MONOTONIC: never goes back, says nothing about the date. */
int64_t clock_now_us(void) ANY_THREAD;

/* CLOCK_REALTIME: since 1970, may be set by anybody at any time. */
int64_t clock_wall_us(void) ANY_THREAD;

#endif
