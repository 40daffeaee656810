#ifndef CONF_FEEDS_H
#define CONF_FEEDS_H

/*
 * feeds: the settings of feeds, a part of conf.h.
 *
 * Memory   Strings belong to the struct conf.
 * Units    *_us are microseconds, *_bytes bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of an upstream: 8 KiB with its Origin. */
#define CONF_HEADERS_BYTES_MAX 7680

struct conf;

struct conf_list { /* of strings, NULL-terminated as well */
	char **items;
	size_t count;
};

enum conf_not_utf8 {
	CONF_NOT_UTF8_BINARY,
	CONF_NOT_UTF8_REJECT,
	CONF_NOT_UTF8_REPLACE
};
enum conf_over_rate { CONF_OVER_RATE_WAIT, CONF_OVER_RATE_DROP };
enum conf_framing { CONF_FRAMING_LINE, CONF_FRAMING_NULL };
enum conf_restart {
	CONF_RESTART_ALWAYS,
	CONF_RESTART_ON_FAILURE,
	CONF_RESTART_NEVER
};
enum conf_start { CONF_START_ALWAYS, CONF_START_DEMAND };
enum conf_begin { CONF_BEGIN_END, CONF_BEGIN_START };
enum conf_socket_kind { CONF_SOCKET_STREAM, CONF_SOCKET_DATAGRAM };

/* What all feeds have; the first member of each. */
struct conf_feed {
	char *name; /* "" where the section has none */
	int line;
	char *channel;
	int64_t message_bytes_max; /* 0: that of the limits */
	int64_t max_rate; /* messages a second; 0: any */
	enum conf_over_rate over_rate;
	enum conf_not_utf8 not_utf8;
	int64_t backoff_min_us, backoff_max_us;
};

struct conf_command {
	struct conf_feed feed;
	struct conf_list exec; /* program and arguments, no shell */
	struct conf_list environment; /* NAME=VALUE, added to ours */
	char *directory; /* NULL: ours */
	enum conf_framing framing;
	enum conf_restart restart;
	enum conf_start start;
	int64_t memory_max; /* of each process; 0: any */
	int64_t cpu_max_us; /* likewise */
	int64_t stop_timeout_us;
};

struct conf_file {
	struct conf_feed feed;
	char *path;
	enum conf_framing framing;
	enum conf_begin begin; /* where no place is remembered */
};

struct conf_socket {
	struct conf_feed feed;
	char *path;
	enum conf_socket_kind kind;
	enum conf_framing framing; /* stream */
	int64_t mode; /* permissions */
	char *owner, *group; /* NULL: ours */
	int64_t connections_max; /* stream */
};

struct conf_upstream {
	struct conf_feed feed;
	struct conf_list urls; /* tried in this order */
	struct conf_list sends; /* first messages */
	struct conf_list headers; /* "Name: value" */
	char *subprotocol, *origin; /* NULL: none */
	char *ca, *certificate, *key; /* NULL: the system's, none */
	int64_t connect_timeout_us, ping_interval_us, pong_timeout_us;
	int64_t stale_after_us; /* 0: silence is no fault */
	bool compression; /* permessage-deflate is offered */
	bool mirror; /* earshot.v1 */
	char *remote_channel; /* of a mirror; NULL: the channel's own name */
};

/*
 * Would a feed of a be the same with b?  All settings are equal, the line
 * apart.  Both are a struct conf_command, conf_file, ... of that kind.
 */
enum conf_feed_kind {
	CONF_COMMAND,
	CONF_FILE,
	CONF_SOCKET,
	CONF_UPSTREAM,
	CONF_FEED_KINDS
};
bool conf_feed_equal(enum conf_feed_kind kind, const void *a, const void *b);

/*
 * How many descriptors the feeds, and the processes of handlers, may hold at
 * once.
 */
int64_t conf_descriptors(const struct conf *conf);

/* The n-th feed of a kind; NULL: there are less. */
const struct conf_feed *conf_feed_at(
    const struct conf *conf, enum conf_feed_kind kind, size_t n);

#endif
