#ifndef DAEMON_FEED_MIRROR_H
#define DAEMON_FEED_MIRROR_H

/*
 * mirror: a channel of another earshot, followed by its positions.
 *
 * Life     init -> (subscribe -> take*)* -> fini.
 * Order    Within the other side's epoch every message once, in order: after
 *          a new connection from where the last one broke.
 * Promise  Another epoch, and messages the other side did not keep, are told
 *          by what mirror_take() returns and counted.
 * Threads  Quiet: the caller serialises.
 */

#include "daemon/base/buffer.h"
#include "proto/v1_event.h"

#include <stdbool.h>

enum mirror_news {
	MIRROR_NOTHING,
	MIRROR_MESSAGE, /* event->message is to be published */
	MIRROR_BEGUN, /* subscribed, and nothing is missing */
	MIRROR_NEW_EPOCH, /* subscribed; the other side has begun anew */
	MIRROR_GAP, /* messages that the other side does not have any more */
	MIRROR_CLOSING, /* it goes away: retry_after_ms */
};

struct mirror {
	bool known; /* position means something */
	bool begun; /* the answer to our subscribe was there */
	struct position position; /* the last one taken */
	struct buffer text; /* what is being parsed */
	uint64_t missing; /* told of as gaps */
};

void mirror_init(struct mirror *mirror);
void mirror_fini(struct mirror *mirror);

/* The first message on a new connection; out gets it.  -ENOMEM. */
int mirror_subscribe(
    struct mirror *mirror, const char *channel, struct buffer *out);

/*
 * One message of the other side; *ret_event is good until the next.
 * -EBADMSG: it is not earshot.v1, or not what may come; -EACCES: it refuses,
 * ret_event says why; -ENOMEM.
 */
int mirror_take(struct mirror *mirror, const void *data, size_t len,
    enum mirror_news *ret_news, struct v1_event *ret_event);

#endif
