#ifndef DAEMON_FEED_FEED_H
#define DAEMON_FEED_FEED_H

/*
 * feed: what publishes without being a consumer: commands, files, sockets,
 * upstreams.
 *
 * Life      start -> (each, apply)* -> stop -> done() -> free.  hurry between
 *           stop and done, if at all.
 * Order     What one feed hears is published in the order it came.
 * Promise   A feed that fails is tried again with back-off, for ever; no
 *           fault of one reaches another or ends the daemon.  Whatever a
 *           command started in its process group ends with it.
 * Memory    Per feed some of its messages (DESIGN says how many), each at most
 *           message_bytes_max, and what the kernel keeps.
 * Units     Microseconds, CLOCK_MONOTONIC.
 * Threads   LOOP_THREAD of the net loop, all of it; what may block is done by
 *           jobs on the executor.
 */

#include "conf/conf.h"
#include "daemon/hub/hub.h"
#include "daemon/loop/loop.h"

#include <stdint.h>

struct feeds;
struct feed_hooks; /* hooks.h */
struct glue;

struct feeds_options {
	struct hub *hub;
	es_loop *net;
	es_executor *sys;
	struct glue *glue; /* of net; NULL: no upstreams */
	/*
	 * An upstream has come back ("reconnected"), or the other side of a
	 * mirror has begun anew ("new_epoch"): for consumers of the channel
	 * who can be told.  May be NULL.
	 */
	void (*notice)(const char *channel, const char *upstream,
	    const char *state, void *arg);
	const struct feed_hooks *hooks; /* may be NULL; borrowed */
	void *arg; /* of all of these */
};

/* The strings are good until the function that got them returns. */
struct feed_stats {
	/* kind: "command", "file", "socket", "upstream" */
	const char *name, *kind, *channel;
	/*
	 * "starting", "running", "waiting" (for a consumer, for the file, for
	 * what its handler still does),
	 * "backoff", "stopping", "stopped", "finished"
	 */
	const char *state;
	int64_t since_us; /* it has been in this state */
	uint64_t messages, bytes; /* published, or given to a handler */
	bool compressed; /* an upstream's peer has agreed to compress */
	uint64_t compressed_bytes; /* of such messages, as they came */
	uint64_t restarts; /* starts after the first; reconnects */
	uint64_t failures; /* to start, to connect; ends nobody asked for */
	uint64_t lines_cut; /* too long: their beginning was published */
	uint64_t bytes_cut; /* of those, what was dropped */
	uint64_t lines_refused; /* the hub did not take them, or no memory */
	uint64_t over_rate; /* dropped for max_rate */
	uint64_t not_utf8; /* dropped for not_utf8 = reject */
	uint64_t reads_cut; /* feed_read_bytes_max reached; the rest waited */
	uint64_t stderr_lines, stderr_dropped; /* seen; not in the log */
	const char *last_error; /* NULL: nothing went wrong yet */
};

/*
 * Starts every feed of conf, of which it keeps references, and listens to the
 * hub's interest for those started on demand; what options names is borrowed
 * until feeds_free().  One that cannot be started is no error, it is tried
 * again.  -ENOMEM: nothing was started.
 */
int feeds_start(struct conf *conf, const struct feeds_options *options,
    struct feeds **ret_feeds) LOOP_THREAD;

/*
 * From now on the feeds are those of conf: what is equal in both goes on
 * untouched, what is gone is stopped as by feeds_stop(), what is new or
 * changed is started, after the end of what it replaces.
 * -ENOMEM: nothing has changed.
 */
int feeds_apply(struct feeds *feeds, struct conf *conf) LOOP_THREAD;

/*
 * SIGTERM to each process group, SIGKILL to what is left after the feed's
 * stop_timeout; a close to each upstream.  What they still give is published.
 * done(arg) comes once, from a call on the loop, when nothing of them is left;
 * it may free the feeds.  Once only.
 */
void feeds_stop(
    struct feeds *feeds, void (*done)(void *arg), void *arg) LOOP_THREAD;

/* The stop takes too long: an end, now.  done() comes as promised. */
void feeds_hurry(struct feeds *feeds) LOOP_THREAD;

/*
 * At any time, NULL too.  What is still there is ended and not waited for,
 * and a done() that has not come does not come.
 */
void feeds_free(struct feeds *feeds) LOOP_THREAD;

void feeds_each(struct feeds *feeds,
    void (*fn)(const struct feed_stats *stats, void *arg),
    void *arg) LOOP_THREAD;

#endif
