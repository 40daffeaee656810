#ifndef DAEMON_FEED_FEED_INTERNAL_H
#define DAEMON_FEED_FEED_INTERNAL_H

/*
 * feed_internal: what all kinds of feeds have, and what the set calls them by.
 *
 * Life     type->new -> start -> (wanted, get_stats)* -> stop ->
 *          feed_set_stopped() -> free.  hurry after stop; free at any time.
 * Order    A feed that says it is stopped is freed by a later call, never from
 *          inside.
 * Threads  LOOP_THREAD of host->options.net.
 */

#include "daemon/base/backoff.h"
#include "daemon/base/limiter.h"
#include "daemon/feed/feed.h"
#include "daemon/feed/sink.h"

#include <limits.h>

#define FEED_ERROR_BYTES_MAX 240

/* State changes that the log hears of, of each feed. */
#define FEED_SAY_BURST 40
#define FEED_SAY_AGAIN_US 10000000

struct feed;

enum feed_state {
	FEED_STARTING,
	FEED_RUNNING,
	FEED_WAITING,
	FEED_BACKOFF,
	FEED_STOPPING,
	FEED_STOPPED,
	FEED_FINISHED /* by itself, and not to be started again */
};

/* What all feeds share; lives longer than they do. */
struct feed_host {
	struct feeds_options options;
	uint64_t random; /* state of the generator behind the back-offs */
	/* A feed has become stopped, or finished. */
	void (*stopped)(struct feed *feed, void *arg);
	void *arg;
};

struct feed_type {
	const char *kind;
	/* conf is a struct conf_command, ... of the kind; -ENOMEM. */
	int (*new)(const struct conf_feed *conf, struct conf *owner,
	    struct feed_host *host, struct feed **ret_feed);
	void (*start)(struct feed *feed);
	void (*stop)(struct feed *feed);
	void (*hurry)(struct feed *feed); /* may be NULL */
	void (*wanted)(struct feed *feed, bool wanted); /* may be NULL */
	void (*free)(struct feed *feed); /* ends in feed_fini() */
	void (*get_stats)(const struct feed *feed, struct feed_stats *ret);
};

struct feed {
	const struct feed_type *type;
	struct feed_host *host;
	struct conf *owner; /* a reference: conf lives in it */
	const struct conf_feed *conf;
	struct list node; /* in feeds.c */
	bool begun, retiring; /* likewise */

	enum feed_state state;
	int64_t since_us;
	bool stop, hurry; /* asked for */
	uint64_t starts, failures;
	struct backoff backoff;
	struct limiter say;
	struct sink sink;
	char error[FEED_ERROR_BYTES_MAX]; /* the last; "" */
};

extern const struct feed_type command_type, file_type, socket_type,
    upstream_type;

/* upstream.c: as feeds_go_on(). */
void upstream_go_on(struct feed *feed) LOOP_THREAD;

/* The feed is zeroed memory; a reference on owner is taken. */
void feed_init(struct feed *feed, const struct feed_type *type,
    const struct conf_feed *conf, struct conf *owner, struct feed_host *host);
void feed_fini(struct feed *feed);

void feed_set_state(struct feed *feed, enum feed_state state) LOOP_THREAD;

/* Peers have a say in it: it becomes one line of UTF-8 here, cut if long. */
void feed_set_error(struct feed *feed, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * May the log hear of what happens to this feed?  Whoever is outside can make
 * it happen as often as he likes.  What may not is counted and told later.
 */
bool feed_may_say(struct feed *feed) LOOP_THREAD;

/* Error is one that is no end: counted, logged. */
void feed_count_failure(struct feed *feed) LOOP_THREAD;

/*
 * What was tried has failed, error says how: BACKOFF, counted, logged; how
 * long it is to last, no less than at_least_us.
 */
int64_t feed_back_off(struct feed *feed, int64_t at_least_us) LOOP_THREAD;

/* It is over: state is FEED_STOPPED or FEED_FINISHED. */
void feed_set_ended(struct feed *feed, enum feed_state state) LOOP_THREAD;

/*
 * Where it keeps something over restarts.  false: there is no state
 * directory, or the name is too long.
 */
bool feed_store_name(
    const struct feed *feed, const char *suffix, char out[PATH_MAX]);

/* The part of the stats that all have. */
void feed_get_stats(const struct feed *feed, struct feed_stats *ret);

#endif
