#ifndef DAEMON_FEED_KEPT_H
#define DAEMON_FEED_KEPT_H

/*
 * kept: a mirror's position, in the state directory over restarts of ours.
 *
 * Life     open -> load -> (moved)* -> finish -> fini.
 * Promise  What is kept never runs ahead of what was told by kept_moved(), and
 *          is KEPT_SAVE_US behind at most while the disk works; after
 *          kept_finish() has given NULL it is the same.
 * Shape    One line of text in a file of its own:
 *          "earshot-position 1 EPOCH:OFFSET CHANNEL", the channel being the
 *          other side's.  To change it: another number, and kept_load() takes
 *          both.
 * Threads  LOOP_THREAD of net; jobs on `sys` read and write the file.
 */

#include "daemon/feed/feed_internal.h"
#include "proto/position.h"

#define KEPT_SAVE_US 1000000 /* after it moved */

struct kept {
	const struct feed *feed; /* for the log */
	const char *channel;
	char *store; /* NULL: nowhere */
	struct position position, saved;
	es_call *timer;
	es_future *saving;
	bool failed;
};

/* channel is borrowed.  Without a state directory nothing is kept. */
void kept_open(struct kept *kept, const struct feed *feed,
    const char *channel) LOOP_THREAD;
void kept_fini(struct kept *kept) LOOP_THREAD;

/*
 * The file is being read: kept_loaded() takes what the future brings.
 * -ENOENT: nothing is kept; -ENOMEM, -EAGAIN, -ESHUTDOWN.
 */
int kept_load(struct kept *kept, es_future **ret_future) LOOP_THREAD;
/* -ENOENT: there was none of this channel; -EBADMSG; what the system says. */
int kept_loaded(
    struct kept *kept, es_future *f, struct position *ret_position) LOOP_THREAD;

/* All up to this position is published. */
void kept_moved(struct kept *kept, const struct position *position) LOOP_THREAD;

/*
 * At the end: a future to wait for and to give to kept_finished(), again and
 * again until NULL.
 */
es_future *kept_finish(struct kept *kept) LOOP_THREAD;
void kept_finished(struct kept *kept, es_future *f) LOOP_THREAD;

#endif
