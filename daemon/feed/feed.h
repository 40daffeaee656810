#ifndef DAEMON_FEED_FEED_H
#define DAEMON_FEED_FEED_H

/*
 * feed: what publishes without being a consumer; commands, so far.
 *
 * Life      start -> (each)* -> stop -> done() -> free.  hurry between stop
 *           and done, if at all.
 * Order     A command's lines are published in the order it wrote them.
 * Promise   A feed that fails is tried again with back-off, for ever; no
 *           fault of a command reaches another feed or ends the daemon.
 *           Whatever a command started in its process group ends with it.
 * Memory    Per command at most limits.message_bytes_max (the beginning of a
 *           line) and what the kernel keeps in two pipes.
 * Units     Microseconds, CLOCK_MONOTONIC.
 * Threads   LOOP_THREAD of the net loop, all of it; processes are started by
 *           jobs on the executor.
 */

#include "conf/conf.h"
#include "daemon/hub/hub.h"
#include "daemon/loop/loop.h"

#include <stdint.h>

struct feeds;

/* The strings are good until the function that got them returns. */
struct feed_stats {
	const char *name, *kind, *channel; /* kind: "command" */
	/* "starting", "running", "backoff", "stopping", "stopped" */
	const char *state;
	int64_t since_us; /* it has been in this state */
	uint64_t messages, bytes; /* published */
	uint64_t restarts; /* starts after the first */
	uint64_t lines_cut; /* too long: their beginning was published */
	uint64_t bytes_cut; /* of those, what was dropped */
	uint64_t lines_refused; /* the hub did not take them, or no memory */
	uint64_t stderr_lines, stderr_dropped; /* seen; not in the log */
	const char *last_error; /* NULL: nothing went wrong yet */
};

/*
 * Starts every feed of conf.  conf, hub, net and sys are borrowed until
 * feeds_free(); one that cannot be started is no error, it is tried again.
 * -ENOMEM: nothing was started.
 */
int feeds_start(const struct conf *conf, struct hub *hub, es_loop *net,
    es_executor *sys, struct feeds **ret_feeds) LOOP_THREAD;

/*
 * SIGTERM to each process group, SIGKILL to what is left after the feed's
 * stop_timeout.  What they still write is published.  done(arg) comes once,
 * from a call on the loop, when no process of theirs is left; it may free the
 * feeds.  Once only.
 */
void feeds_stop(
    struct feeds *feeds, void (*done)(void *arg), void *arg) LOOP_THREAD;

/* The stop takes too long: SIGKILL now.  done() comes as promised. */
void feeds_hurry(struct feeds *feeds) LOOP_THREAD;

/*
 * At any time, NULL too.  What is still there is killed and not waited for,
 * and a done() that has not come does not come.
 */
void feeds_free(struct feeds *feeds) LOOP_THREAD;

void feeds_each(struct feeds *feeds,
    void (*fn)(const struct feed_stats *stats, void *arg),
    void *arg) LOOP_THREAD;

#endif
