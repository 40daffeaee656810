#ifndef DAEMON_CTL_SUB_H
#define DAEMON_CTL_SUB_H

/*
 * sub: what the files of `earshot sub` share.
 *
 * sub.c has the whole (stdout, signals, counting, the end), listen.c the one
 * channel (connecting, resuming, what a close means).
 */

#include "daemon/base/buffer.h"
#include "daemon/ctl/output.h"
#include "daemon/ctl/retry.h"
#include "daemon/ctl/session.h"
#include "daemon/lws/client.h"
#include "proto/position.h"

struct sub;

/* One channel. */
struct listening {
	struct sub *sub;
	const char *channel;
	struct client *client; /* NULL: waiting to connect, or over */
	struct addresses addresses;
	struct retry retry;
	es_call *again;
	es_usec opened_at;
	bool has_position;
	struct position position; /* what we have, and all before it */
};

struct sub {
	struct session *session;
	const struct ctl_options *options;
	struct output output;
	struct listening *listening; /* one for each channel */
	int64_t count; /* messages so far */
	bool states; /* tell them on stderr */
	bool paused;
	bool ending;
	int exit_code;
	size_t open; /* connections that have not told their end */
	struct buffer line;
};

/* listen.c */
void listen_start(struct listening *listening) LOOP_THREAD;
/* Says goodbye if it is connected; tries no more. */
void listen_close(struct listening *listening) LOOP_THREAD;
void listen_stop(struct listening *listening) LOOP_THREAD; /* frees */

/* sub.c: a message, its offset 0 if it is not known. */
void sub_message(struct sub *sub, const char *channel, int64_t offset,
    enum client_kind kind, const void *data, size_t len) LOOP_THREAD;
/* Everything closes, the rest is written, then the exit code. */
void sub_end(struct sub *sub, int exit_code) LOOP_THREAD;
/* A connection is over. */
void sub_closed(struct sub *sub) LOOP_THREAD;

#endif
