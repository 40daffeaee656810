#ifndef DAEMON_LOOP_WATCH_H
#define DAEMON_LOOP_WATCH_H

/*
 * watch: descriptors, foreign code on the loop's event base, and hooks.
 *
 * Order     Callbacks of descriptors run inside the poll, before the batch
 *           of the same iteration.
 * Memory    The descriptor stays the caller's, and so does the watch, until
 *           es_watch_free(); a closed loop only silences it.
 * Errors    -EPERM: not the loop's thread, or the loop does not run.
 */

#include "daemon/loop/es.h"

struct event_base;

#define ES_READ 1u
#define ES_WRITE 2u

typedef void (*es_watch_fn)(int fd, unsigned what, void *arg);

/*
 * Calls fn for as long as fd is ready for what (ES_READ, ES_WRITE or both);
 * an error or a hang-up on fd counts as both.  name: static, for reports.
 * -EINVAL: nothing to watch for.  -EPERM, -ENOMEM, -ESHUTDOWN; what
 * epoll_ctl() says about fd, where it is a regular file for instance.
 */
int es_watch_new(es_loop *loop, const char *name, int fd, unsigned what,
    es_watch_fn fn, void *arg, es_watch **ret_watch) ES_CHECK LOOP_THREAD;

/* Another interest, 0 for none for the time being.  Errors as new. */
int es_watch_set(es_watch *watch, unsigned what) ES_CHECK LOOP_THREAD;

/*
 * Also from inside fn; fn is not called after it returns.  On the loop's
 * thread while it runs; between runs and after close on any.
 */
void es_watch_free(es_watch *watch); /* NULL: no-op */

/* For libraries that bring their own events.  NULL: as for -EPERM. */
struct event_base *es_loop_event_base(es_loop *loop) LOOP_THREAD;

/*
 * Foreign code that the base calls back begins with enter and ends with
 * leave: in between it counts as a call of that name, timed, and seen by the
 * watchdog.  Asserts that this is the loop's thread, outside of any call.
 */
void es_loop_enter(es_loop *loop, const char *name) PROVES_LOOP;
void es_loop_leave(es_loop *loop) LOOP_THREAD;

/* Asserts that this is the loop's thread. */
void es_loop_assert(const es_loop *loop) PROVES_LOOP;

/*
 * One owner may hook into the iteration, while the loop is idle or on its
 * thread; either may be NULL.  before_poll runs just before each wait and
 * may shorten it: *wait is what the loop would wait, 0 is not at all.
 * after_batch runs after every batch, an empty one too, before the next
 * wait: what descriptors' callbacks collected is acted upon there.  Both may
 * submit calls.  -EPERM: runs on another thread.  -ESHUTDOWN.
 */
typedef void (*es_before_poll_fn)(es_usec *wait, void *arg);
typedef void (*es_after_batch_fn)(void *arg);
int es_loop_set_hooks(es_loop *loop, es_before_poll_fn before_poll,
    es_after_batch_fn after_batch, void *arg) ES_CHECK ANY_THREAD;

#endif
