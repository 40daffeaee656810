#ifndef CONF_CONF_H
#define CONF_CONF_H

/*
 * conf: the configuration, from text to checked settings.
 *
 * Shape    INI as systemd reads it (earshot.conf.5).  Every fault is told as
 *          `file:line: what, what was expected`; none stops the reading.
 * Life     conf_new -> conf_read_text* -> conf_finish -> use -> conf_free.
 * Memory   Strings belong to the struct conf.  Everything is bounded by
 *          CONF_FILE_BYTES_MAX per text and CONF_SECTIONS_MAX.
 * Units    *_us are microseconds, *_bytes bytes, *_count numbers.
 * Threads  Pure but for conf_read_files(), which reads files: any thread.
 */

#include "conf/auth.h"
#include "conf/feeds.h"
#include "conf/limits.h"

#define CONF_FILE_BYTES_MAX (1024 * 1024)
#define CONF_SECTIONS_MAX 1024
#define CONF_ARGS_MAX 64
#define CONF_CONTROL_PATH_MAX 108 /* with its NUL: struct sockaddr_un */

enum conf_address_kind { CONF_ADDRESS_IP, CONF_ADDRESS_UNIX };
enum conf_overrun {
	CONF_OVERRUN_SKIP,
	CONF_OVERRUN_LATEST,
	CONF_OVERRUN_CLOSE
};

struct conf_listener {
	char *name; /* "" where the section has none */
	int line;
	enum conf_address_kind kind;
	char *host; /* numeric, without brackets; IP only */
	uint16_t port;
	char *path; /* unix only */
	char *address; /* as written, for messages */
	bool tls;
	bool compression; /* permessage-deflate is accepted */
	struct conf_list origins; /* empty: same host only; "*": any */
};

struct conf_channel { /* [channel PATTERN], in file order: first match wins */
	char *pattern;
	int64_t history_messages, history_bytes, history_age_us;
	int64_t buffer_bytes;
	int64_t idle_expiry_us; /* 0: never */
	enum conf_overrun overrun;
};

struct conf_option { /* option.KEY = value, for the handler itself */
	char *key, *value;
};

struct conf_handler {
	char *name, *file; /* file, line: where its section begins */
	int line;
	char *plugin; /* one of the two; NULL, empty: the other */
	struct conf_list exec; /* program and arguments, no shell */
	struct conf_list paths; /* WebSocket endpoints of its own */
	struct conf_list channels; /* patterns: raw connections to those */
	struct conf_list consumes, filters; /* patterns: messages of those */
	struct conf_list upstreams; /* names of sections [upstream] */
	bool token_required; /* of who connects */
	struct conf_option *options;
	size_t option_count;
	int64_t workers, window; /* processes of exec; events in a pipe */
	int64_t callback_timeout_us;
	int64_t queue_messages, queue_bytes; /* of one connection */
	int64_t queue_bytes_total;
	int64_t send_bytes_max; /* on their way to one connection */
	int64_t in_flight_bytes_max; /* on their way onto the loop */
	int64_t line_bytes_max; /* of what a process says */
	int64_t backoff_min_us, backoff_max_us, stop_timeout_us;
};

struct conf {
	struct conf_listener *listeners; /* at least one after conf_finish() */
	size_t listener_count;
	char *tls_certificate, *tls_key; /* NULL: not given */
	struct conf_auth auth;
	int64_t drain_timeout_us; /* 10 s */
	int64_t drain_retry_spread_us; /* 2 s */
	int64_t drain_close_rate; /* closes per second, 5000 */
	int log_level; /* enum log_level, info */
	struct conf_limits limits;
	struct conf_channel *channels; /* the last one is the default `**` */
	size_t channel_count;
	struct conf_command *commands;
	size_t command_count;
	struct conf_file *files;
	size_t file_count;
	struct conf_socket *sockets;
	size_t socket_count;
	struct conf_upstream *upstreams;
	size_t upstream_count;
	char *state_directory; /* NULL: not given */
	struct conf_handler *handlers;
	size_t handler_count;
	char *control_path; /* NULL: not given; "": none is wanted */
};

/* One fault; text has no line end and names file and line already. */
typedef void (*conf_fault_fn)(const char *text, void *arg);

/* Defaults only, one reference.  NULL: no memory. */
struct conf *conf_new(void);
/* What keeps a piece of it holds a reference; any thread. */
struct conf *conf_ref(struct conf *conf);
void conf_free(struct conf *conf); /* the last reference; NULL: no-op */

/* Reads one text; faults name file.  How many were told, or -ENOMEM. */
int conf_read_text(struct conf *conf, const char *file, const char *text,
    size_t len, conf_fault_fn fault, void *arg);

/*
 * Reads path, then path's directory's NAME.d/ files ending in .conf in the
 * order of their names (earshot.conf -> earshot.conf.d/).  A file that cannot
 * be read is a fault.  The number of faults, or -ENOMEM.
 */
int conf_read_files(
    struct conf *conf, const char *path, conf_fault_fn fault, void *arg);

/*
 * What only the whole can tell (two listeners on one address, …), then adds
 * the default channel.  The number of faults, or -ENOMEM.
 */
int conf_finish(struct conf *conf, conf_fault_fn fault, void *arg);

/* The first [channel PATTERN] that matches name; never NULL after finish. */
const struct conf_channel *conf_channel_for(
    const struct conf *conf, const char *name, size_t len);

/* But for where they stand. */
bool conf_handler_equal(
    const struct conf_handler *a, const struct conf_handler *b);

/* "FILE:LINE: " of a key of a section without name; "": it was not given. */
void conf_where(const struct conf *conf, const char *section, const char *key,
    char *out, size_t out_size);

/* Each limit, its value and what happens there, a line each, through put. */
void conf_print_limits(const struct conf *conf,
    void (*put)(const char *line, void *arg), void *arg);

#endif
