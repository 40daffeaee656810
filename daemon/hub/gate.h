#ifndef DAEMON_HUB_GATE_H
#define DAEMON_HUB_GATE_H

/*
 * gate: who is asked before a message is on its tape, and who waits for that.
 *
 * Life     hub_set_gate; a publisher: init -> its messages -> end.
 * Order    A publisher's messages that one filter is asked about have their
 *          verdicts in the order of their publishes, and so do those that are
 *          let through reach their tapes.  Between publishers and between
 *          filters there is none but that of the verdicts.  Where another
 *          filter is asked about a channel from now on, or none, what a
 *          publisher says next waits for what the former one has of it.
 * Promise  hub_publish() said -EINPROGRESS: one verdict comes, from a later
 *          call of the caller's loop, unless the publisher ends before it; what
 *          was asked is let through or not all the same.
 * Memory   Bounded by publishers that heed `full`, or have a limit of their own
 *          for what waits; whoever cannot at once may publish a little more.
 * Threads  Quiet, as the hub; part of its door: hub.h includes it.
 */

#include "daemon/base/list.h"
#include "proto/message.h"
#include "proto/position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;
struct hub_publisher;

struct hub_message {
	enum message_kind kind;
	const void *payload;
	size_t len;
	bool checked; /* text known to be UTF-8, JSON known to be JSON */
	bool judged; /* nobody is asked about it any more */
	struct hub_publisher *publisher; /* hears of it where a gate is */
	uint64_t cookie; /* the publisher's, in the verdict */
};

struct hub_verdict {
	/* As hub_publish(), or -EACCES: refused; -EIO: the filter failed. */
	int64_t offset;
	struct position position;
	const char *text; /* -EACCES: why; else NULL; lent */
	uint64_t cookie; /* the message's */
	size_t len; /* as it was published */
};

struct hub_publisher_ops {
	/* May end the publisher. */
	void (*verdict)(
	    struct hub_publisher *publisher, const struct hub_verdict *verdict);
	/* Publish no more for now; go on.  NULL: it looks at publisher.full. */
	void (*full)(struct hub_publisher *publisher, bool full);
};

/* Embedded in whoever publishes; the fields behind strict are a gate's. */
struct hub_publisher {
	const struct hub_publisher_ops *ops;
	const void *owner; /* a filter: it is not asked about its own */
	bool strict; /* behind one that fails the rest is dropped, untold */
	uint32_t full; /* > 0: publish no more for now */
	uint32_t former; /* > 0: its gate is asked about all it publishes */
	struct list asking;
};

struct hub_gate {
	/* Who is asked about that channel; NULL: nobody. */
	void *(*find)(const char *channel, size_t len, void *arg);
	/*
	 * 0: it will be; message is copied.  1: nobody is about this one.
	 * -ENOMEM; -ESHUTDOWN; -EIO: it has failed.  filter is what find said,
	 * NULL only for a publisher with former ones.
	 */
	int (*ask)(void *filter, const char *channel, size_t len,
	    const struct hub_message *message, int64_t now_us, void *arg);
	/* The publisher has ended; it has asked before. */
	void (*leave)(struct hub_publisher *publisher, void *arg);
};

/* Borrowed until hub_free(); NULL: none.  Every channel is looked up anew. */
void hub_set_gate(struct hub *hub, const struct hub_gate *gate, void *arg);

void hub_publisher_init(struct hub_publisher *publisher,
    const struct hub_publisher_ops *ops, const void *owner);
void hub_publisher_end(struct hub *hub, struct hub_publisher *publisher);

#endif
