#ifndef SYSTEMD_NOTIFY_H
#define SYSTEMD_NOTIFY_H

/*
 * notify: what the daemon tells the service manager, and what it asks for.
 *
 * Promise   Never waits: where the manager's queue is full the answer is
 *           -EAGAIN, nothing was told, and the caller says it again later.
 *           Without NOTIFY_SOCKET everything here is a no-op.
 * Order     What was told arrives in the order of the calls.
 * Shape     One datagram per call, sd_notify(3).  A status is one line: control
 *           characters become spaces, and it is cut at
 *           NOTIFY_STATUS_BYTES_MAX, between two characters.
 * Units     Microseconds.
 * Threads   Every function: ANY_THREAD, while nobody changes the environment.
 * Errors    1: told, 0: there is nobody to tell; -EAGAIN: see above; -EINVAL:
 *           NOTIFY_SOCKET is not an address; else why the socket could not be
 *           had or written (-ENOENT, -ECONNREFUSED, -EACCES, -EMFILE).
 */

#include "daemon/base/threads.h"

#include <stdint.h>

#define NOTIFY_STATUS_BYTES_MAX 512

/* READY=1: every listener accepts.  Also after a reload. */
int notify_ready(const char *status) ANY_THREAD;

/*
 * RELOADING=1 and MONOTONIC_USEC=, the moment of the call: a reload begins.
 * notify_ready() ends it, however it went.
 */
int notify_reloading(const char *status) ANY_THREAD;

/* STATUS=: the line `systemctl status` shows. */
int notify_status(const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 1, 2)));

/*
 * STOPPING=1, and once for the whole stop EXTEND_TIMEOUT_USEC: from now on the
 * manager gives us extend_us to end.
 */
int notify_stopping(int64_t extend_us, const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 2, 3)));

/* ERRNO=: why the daemon is going to fail; err is an errno, above 0. */
int notify_errno(int err, const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 2, 3)));

/*
 * How long the manager waits for a notify_watchdog() before it kills us; ask
 * again in half of it.  0: there is no watchdog, or it is meant for another
 * process.
 */
int64_t notify_watchdog_interval_us(void) ANY_THREAD;

/* WATCHDOG=1: the data path moves. */
int notify_watchdog(void) ANY_THREAD;

#endif
