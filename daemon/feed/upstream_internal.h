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
#include "daemon/feed/hooks.h"
#include "daemon/feed/kept.h"
#include "daemon/feed/mirror.h"
#include "daemon/feed/resolve.h"
#include "daemon/lws/client.h"

#define UPSTREAM_TEXT_MAX OUTBOUND_TEXT_MAX
#define UPSTREAM_CLOSE_US ES_S(1) /* for the peer's answer to our close */

#define UPSTREAM_SHOWN_BYTES 100 /* of a url in the log, at most */
#define UPSTREAM_HINT_MS_MAX INT64_C(86400000) /* of a closing, believed */
#define UPSTREAM_FILES 3 /* ca, certificate, key */

/* What a file was when it was read. */
struct stamp {
	int64_t mtime_ns, size;
	uint64_t device, inode;
};

struct upstream {
	struct feed feed;
	const struct conf_upstream *conf;
	es_future *task;
	es_call *again; /* there was no memory for the task */
	bool orphan; /* freed but for the task, which ends at once */

	/* What happened; news settles when something has. */
	es_future *news;
	bool opened, ended, refused; /* refused: it never was open */
	bool fallen; /* we have ended it ourselves: its text is feed.error */

	/* The connection */
	struct outbound *outbound;
	struct stamp stamps[UPSTREAM_FILES]; /* of what outbound believes */
	struct client *client;
	const char *url; /* what is being tried */
	char shown[UPSTREAM_SHOWN_BYTES]; /* of that, without its query */
	uint64_t round; /* of the glue's; since it began: */
	uint64_t round_bytes, round_messages;
	struct url peer;
	const char *path, *address;
	char path_room[2048];
	uint64_t compressed_bytes; /* of connections before this one */

	bool sink_waits, asked_to_rest, leaving, paused;
	int64_t opened_us, heard_us, message_us, pinged_us; /* 0: none due */
	int64_t retry_after_us; /* the peer has asked for, at least */

	/* Its handler */
	void *session; /* NULL: none, or the connection is gone */
	size_t own_messages; /* in the queue, and not the handler's */
	bool error_told;
	uint64_t given, given_bytes;

	struct mirror mirror;
	struct kept kept; /* of a mirror */
	uint64_t gaps_told;
	struct limiter gap_limiter;
};

/* trust.c: its outbound, anew if the files it came from have changed. */
int trust_open(struct upstream *upstream) LOOP_THREAD;
void trust_show_url(struct upstream *upstream); /* fills shown */

/* The task has something to look at. */
void upstream_tell(struct upstream *upstream) LOOP_THREAD;

/* connection.c: each an es_body_fn, to be run as a plain call. */
int connection_open(void *upstream, es_value *ret);
int connection_ping(void *upstream, es_value *ret);
int connection_rest(void *upstream, es_value *ret); /* read no more */
int connection_close(void *upstream, es_value *ret); /* politely */
int connection_drop(void *upstream, es_value *ret); /* at once */

/* Reads if nobody asks for patience, else not. */
void connection_set_reading(struct upstream *upstream) LOOP_THREAD;
void connection_free(struct upstream *upstream) LOOP_THREAD;
/* What came compressed, as it came. */
uint64_t connection_compressed_bytes(
    const struct upstream *upstream) LOOP_THREAD;
/* We end it: why, for the log, the metrics and its handler. */
void connection_fall(
    struct upstream *upstream, uint16_t code, const char *why) LOOP_THREAD;

/* What of a mirror is published is noted. */
void connection_keep(struct upstream *upstream) LOOP_THREAD;

/* hooks.c: its handler, if it has one, hears … */
void hooks_open(struct upstream *upstream) LOOP_THREAD;
void hooks_message(struct upstream *upstream, bool binary, const void *data,
    size_t len) LOOP_THREAD;
void hooks_sent(struct upstream *upstream, size_t len) LOOP_THREAD;
/* ... feed.error, the first of this connection. */
void hooks_error(struct upstream *upstream, int error) LOOP_THREAD;
/* ... that the connection is gone, once. */
void hooks_over(struct upstream *upstream, uint16_t code, const char *reason,
    size_t len) LOOP_THREAD;
void hooks_failed(struct upstream *upstream) LOOP_THREAD;
/* It has something to do still, of this connection or the last. */
bool hooks_is_busy(const struct upstream *upstream) LOOP_THREAD;

#endif
