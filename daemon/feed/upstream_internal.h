#ifndef DAEMON_FEED_UPSTREAM_INTERNAL_H
#define DAEMON_FEED_UPSTREAM_INTERNAL_H

/*
 * upstream_internal: what upstream.c (the task: when) and connection.c (calls
 * on the loop: how) share.
 *
 * Threads  LOOP_THREAD.  What touches libwebsockets is a plain call; the task
 *          only waits and decides.
 */

#include "daemon/feed/feed_internal.h"
#include "daemon/feed/mirror.h"
#include "daemon/feed/resolve.h"
#include "daemon/lws/client.h"

#define UPSTREAM_TEXT_MAX OUTBOUND_TEXT_MAX
#define UPSTREAM_QUEUE_BYTES (1024 * 1024) /* to the peer, not sent yet */
#define UPSTREAM_CLOSE_US ES_S(1) /* for the peer's answer to our close */

struct upstream {
	struct feed feed;
	const struct conf_upstream *conf;
	es_future *task;
	bool orphan; /* freed but for the task, which ends at once */

	/* What happened; news settles when something has. */
	es_future *news;
	bool opened, ended, refused; /* refused: it never was open */
	bool fallen; /* we have ended it ourselves: its text is feed.error */

	/* The connection */
	struct outbound *outbound;
	struct client *client;
	const char *url; /* what is being tried */
	struct url peer;
	const char *path, *address;
	char path_room[2048];

	bool sink_waits, asked_to_rest, paused;
	int64_t opened_us, heard_us, message_us, pinged_us; /* 0: none due */
	int64_t retry_after_us; /* the peer has asked for; 0: it has not */
	struct mirror mirror;
	uint64_t gaps_told;
	struct limiter gap_limiter;
};

/* The task has something to look at. */
void upstream_tell(struct upstream *upstream) LOOP_THREAD;

/* connection.c: each an es_body_fn, to be run as a plain call. */
int connection_open(void *upstream, es_value *ret);
int connection_ping(void *upstream, es_value *ret);
int connection_close(void *upstream, es_value *ret); /* politely */
int connection_drop(void *upstream, es_value *ret); /* at once */

/* Reads if nobody asks for patience, else not. */
void connection_set_reading(struct upstream *upstream) LOOP_THREAD;
void connection_free(struct upstream *upstream) LOOP_THREAD;

#endif
