#ifndef DAEMON_CTL_SUB_H
#define DAEMON_CTL_SUB_H

/*
 * sub: what the files of `earshot sub` share.
 *
 * sub.c has the whole (stdout, signals, counting, the end), follow.c what is
 * said in earshot.v1, listen.c the raw view of one channel.
 */

#include "daemon/base/buffer.h"
#include "daemon/ctl/dial.h"
#include "daemon/ctl/heard.h"
#include "daemon/ctl/keep.h"
#include "daemon/ctl/output.h"
#include "daemon/ctl/place.h"
#include "daemon/ctl/session.h"

/* Of follow.c. */
struct follow {
	struct hearing hearing;
	struct again *again; /* one for each channel */
	size_t next; /* before it all are asked for */
	struct buffer object; /* the one being read */
	struct buffer command;
};

struct sub {
	struct session *session;
	const struct ctl_options *options;
	struct output output;
	struct dial dial;
	struct places places;
	size_t channel_count; /* places listened to, the first ones */
	struct keep keep;
	struct follow follow;
	int64_t count; /* messages so far */
	bool states; /* tell them on stderr */
	bool ending;
	bool keeping; /* the last save is under way */
	int exit_code;
	struct buffer line;
};

/* follow.c; start: -ENOMEM. */
int follow_start(struct sub *sub) LOOP_THREAD;
void follow_end(struct sub *sub) LOOP_THREAD;

/* listen.c */
void listen_start(struct sub *sub) LOOP_THREAD;

/* sub.c: a message of that channel as a line, without its newline. */
void sub_take(struct sub *sub, struct place *place, const void *line,
    size_t len) LOOP_THREAD;
/* The connection is given up, which has been said. */
void sub_gave_up(void *arg) LOOP_THREAD;
/* It is over. */
void sub_over(void *arg) LOOP_THREAD;
/*
 * The connection closes with code and reason, what was taken is written and
 * kept, then the exit code.
 */
void sub_end(struct sub *sub, int exit_code, uint16_t code,
    const char *reason) LOOP_THREAD;

#endif
