#ifndef DAEMON_FEED_SINK_H
#define DAEMON_FEED_SINK_H

/*
 * sink: where a feed's messages go: into its channel, within its limits.
 *
 * Life     init -> (publish, wait)* -> flush -> fini.
 * Order    Messages reach the channel in the order of sink_publish().
 * Promise  Above max_rate a message waits or is dropped, as configured; one
 *          the hub has no memory for waits if the feed can wait, else it is
 *          dropped.  What is dropped is counted by its reason, and the log
 *          hears of it a bounded number of times.
 * Memory   What waits: as much as the feed gives after sink_wait() has said
 *          true, which is one read of it.
 * Threads  LOOP_THREAD of net.
 */

#include "conf/conf.h"
#include "daemon/base/buffer.h"
#include "daemon/base/limiter.h"
#include "daemon/base/list.h"
#include "daemon/feed/rate.h"
#include "daemon/hub/hub.h"
#include "daemon/loop/loop.h"

#include <stdbool.h>

#define SINK_RETRY_US 100000 /* after the hub had no memory */
#define SINK_MESSAGES_PER_ITERATION_MAX 4096

enum sink_bytes {
	SINK_ANY, /* text if it is UTF-8 */
	SINK_TEXT, /* known to be UTF-8 */
	SINK_JSON, /* known to be JSON */
	SINK_BINARY, /* meant to be binary */
};

struct sink {
	const char *kind; /* of feed, for the log */
	const struct conf_feed *conf;
	struct hub *hub;
	struct hub_publisher publisher;
	es_loop *net;
	bool waits; /* for the hub's memory; else: drops */
	void (*ready)(void *arg);
	void *arg;
	size_t channel_len, message_bytes_max;

	struct rate rate;
	struct list held;
	bool wanted; /* ready() is waited for */
	es_call *timer;
	int64_t wall_us;
	struct buffer replaced;

	struct limiter refused_limiter, over_rate_limiter, not_utf8_limiter;
	int refusing; /* the hub's last word: -errno, or 0 */
	uint64_t messages, bytes; /* published */
	uint64_t refused; /* by the hub or a filter, or no memory to wait */
	uint64_t over_rate; /* dropped */
	uint64_t not_utf8; /* rejected */
	uint64_t reads_cut; /* by who reads: feed_read_bytes_max was reached */
};

/* ready is called by nobody but for sink_wait(); all is borrowed. */
void sink_init(struct sink *sink, const char *kind,
    const struct conf_feed *conf, const struct conf_limits *limits,
    struct hub *hub, es_loop *net);
void sink_fini(struct sink *sink); /* what still waits is dropped */

/* A copy is taken where it has to wait. */
void sink_publish(struct sink *sink, enum sink_bytes what, const void *data,
    size_t len) LOOP_THREAD;

/*
 * true: read no more for now, ready(arg) comes, once, from a call on the loop.
 */
bool sink_wait(struct sink *sink) LOOP_THREAD;

/* It is to end: from now on max_rate makes nothing wait. */
void sink_hurry(struct sink *sink) LOOP_THREAD;

/* The feed has ended: what waits for its turn is published at once. */
void sink_flush(struct sink *sink) LOOP_THREAD;

/* Why the hub takes nothing at present; NULL: it does, as far as we know. */
const char *sink_refusal(const struct sink *sink) ANY_THREAD;

#endif
