#ifndef DAEMON_HUB_HUB_H
#define DAEMON_HUB_HUB_H

/*
 * hub: channels, their consumers, rights and limits; publish and flush.
 *
 * Life     hub_new -> publish, subscribe, flush -> (every consumer removed)
 *          -> hub_free.
 * Order    Every consumer gets a channel's messages in offset order, each
 *          once; a gap is told through hub_ops.overrun.
 * Promise  hub_flush() does a bounded number of consumers and bytes, and all
 *          in turn; nothing is allocated per message per consumer.
 * Threads  Quiet: no thread, lock, descriptor or clock; the caller (the net
 *          loop) serialises and says what time it is (wall clock, us).
 */

#include "conf/conf.h"
#include "daemon/auth/token.h"
#include "daemon/base/buffer.h"
#include "daemon/base/list.h"
#include "daemon/hub/gate.h"
#include "daemon/hub/stats.h"
#include "daemon/tape/tape.h"
#include "proto/position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel;

/* Embedded in a connection; the fields are the hub's. */
struct consumer {
	struct channel *channel; /* NULL: not subscribed */
	struct cursor cursor;
	struct list pending; /* in hub.pending: to be visited */
	uint32_t index; /* in the channel's array */
	bool blocked; /* waits for hub_consumer_writable() */
	bool ended; /* broken or overrun: not visited again */
	enum view_kind view; /* what it reads */
};

struct hub_ops {
	/*
	 * Hand these bytes to the consumer's socket.  Returns how many were
	 * taken, whole frames if the view has some; *ret_blocked: no more
	 * before hub_consumer_writable().  < 0: broken, on its way down.
	 * Must not add or remove consumers, nor publish.
	 */
	int64_t (*write)(struct consumer *consumer, const struct span *span,
	    bool *ret_blocked, void *arg);
	/*
	 * The messages from..to are gone for this consumer.  true: go on after
	 * them; false: it has been ended (closed) by the callee.  `inside`:
	 * a message was begun, the stream cannot go on: must end it.
	 */
	bool (*overrun)(struct consumer *consumer, enum conf_overrun policy,
	    int64_t from, int64_t to, bool inside, void *arg);
};

struct identity { /* who asks */
	unsigned rights; /* enum conf_rights: what everybody may */
	struct token *token; /* adds what it allows; NULL: there is none */
};

enum hub_origin { HUB_OUTSIDE, HUB_INSIDE }; /* inside: feeds, handlers */

struct hub_answer {
	struct position position; /* just before the first that follows */
	bool recovered; /* nothing is missing */
	int64_t gap_from, gap_to; /* named when some is; else 0, 0 */
};

/* conf is borrowed until hub_free(), hub_apply(); seed: epochs are of it. */
int hub_new(const struct conf *conf, uint64_t seed, const struct hub_ops *ops,
    void *arg, struct hub **ret_hub);
void hub_free(struct hub *hub); /* NULL: no-op; no consumer may be left */
void hub_apply(struct hub *hub, const struct conf *conf); /* from now on */

/* The second counts who may not. */
bool identity_may(const struct identity *who, enum conf_rights right,
    const char *channel, size_t len);
bool hub_may(struct hub *hub, const struct identity *who,
    enum conf_rights right, const char *channel, size_t len);

/*
 * Publish to a channel, made on first use.  The offset, or
 * -EINVAL (name), -EMSGSIZE (message_bytes_max), -EILSEQ (text is not UTF-8),
 * -EBADMSG (not JSON), -ENFILE (channels_max), -ENOBUFS (tapes_bytes_max),
 * -ESHUTDOWN (closing and HUB_OUTSIDE), -ENOMEM; or of a gate: -EINPROGRESS
 * (the verdict comes), -EIO (a filter failed).  *ret_position may be NULL.
 */
int64_t hub_publish(struct hub *hub, const char *channel, size_t len,
    enum hub_origin origin, const struct hub_message *message, int64_t now_us,
    struct position *ret_position);

/*
 * The consumer hears the channel (made on first use) from `from` on.
 * -EINVAL, -ENFILE, -ESHUTDOWN, -ENOMEM as above.
 */
int hub_subscribe(struct hub *hub, struct consumer *consumer,
    const char *channel, size_t len, enum view_kind view,
    const struct from *from, int64_t now_us, struct hub_answer *ret_answer);
void hub_unsubscribe(struct hub *hub, struct consumer *consumer);

/*
 * History: the messages that a reader with `from` and a limit is to get are
 * first..last (last < first: none); of FROM_LIVE the last `limit` ones.
 * -EINVAL (name), -ENOENT (no such channel).
 */
struct hub_history {
	struct hub_answer answer;
	int64_t oldest, newest, first, last;
};
int hub_history(struct hub *hub, const char *channel, size_t len,
    const struct from *from, int64_t limit, int64_t now_us,
    struct hub_history *ret_history);

/*
 * One message; its payload is lent until the hub's next function, in scratch
 * if it has several fragments.  -ENOENT: no such channel; -ESTALE: not kept
 * any more, or the channel is another by that name; -ENOMEM.
 */
int hub_read(struct hub *hub, const char *channel, size_t len, uint64_t epoch,
    int64_t offset, struct buffer *scratch, struct message *ret_message);

/* It takes bytes again: visit it in the next flush, if it was blocked. */
void hub_consumer_writable(struct hub *hub, struct consumer *consumer);
bool hub_consumer_at_end(const struct consumer *consumer);
int64_t hub_consumer_lag(const struct consumer *consumer); /* messages */
const char *hub_consumer_channel(const struct consumer *consumer);

/*
 * Write to every consumer that lacks something and can take it; at most
 * flushes_per_iteration_max of them, about 16 MiB, a few spans to each, and
 * view_build_bytes_per_iteration_max of what must be encoded for that.
 * true: some are left, come again.
 */
bool hub_flush(struct hub *hub, int64_t now_us);
bool hub_flush_wanted(const struct hub *hub);
/* Refuse publishes from outside and new subscriptions from now on. */
void hub_close_intake(struct hub *hub);

/*
 * Trim by age, let idle channels vanish: a bounded number a call, all in turn.
 * Once a second or so: who got no memory for a view has another try.
 */
void hub_tick(struct hub *hub, int64_t now_us);

#endif
