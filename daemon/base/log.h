#ifndef DAEMON_BASE_LOG_H
#define DAEMON_BASE_LOG_H

/*
 * log: diagnostics to stderr or the journal that never make their caller wait.
 *
 * Order     Lines of one thread come out in their order.
 * Promise   A call copies its line into a fixed ring and returns, even while
 *           stderr is a full pipe; the thread "log" writes.  When the ring
 *           is full the line is dropped and counted, and "dropped N lines"
 *           is printed in its place when there is room again.
 * Life      log_start() -> calls -> log_stop().  Before and after that a
 *           call writes to stderr by itself, as well as it can, and may wait.
 * Memory    LOG_RING_BYTES, once, and nothing per line.  A line is cut at
 *           LOG_LINE_BYTES_MAX; control characters become '?'.
 * Shape     With a sink, fields: "PRIORITY=N", "MESSAGE=text" and what it is
 *           about.  Else on stderr, under systemd (JOURNAL_STREAM is set)
 *           "<N>text" with syslog's numbers; "LEVEL text" otherwise, coloured
 *           on a terminal.
 * Errors    The calls give none, and leave errno as it was.
 */

#include <stdint.h>

#include "daemon/base/threads.h"

#define LOG_RING_BYTES (256 * 1024)
#define LOG_LINE_BYTES_MAX 2048

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

struct iovec;

/*
 * Takes one line, as "KEY=value" each; may wait.  Below 0: the line goes to
 * stderr.  Called by the writer; before the start by whoever logs an event,
 * all other lines go to stderr then.
 */
typedef int (*log_sink_fn)(const struct iovec *fields, int count);

/* Before log_start(); log_stop() takes it off.  NULL: stderr. */
void log_set_sink(log_sink_fn sink) ANY_THREAD;

/*
 * Starts the writer, with every signal blocked.  -EALREADY: it runs.
 * -EAGAIN, -EMFILE, -ENOMEM: no thread or descriptor to be had; calls go on
 * writing by themselves.
 */
int log_start(void) ANY_THREAD;

/*
 * Gives the writer up to timeout_us to empty the ring, and ends it.  What
 * did not get out is lost, and counted as dropped.
 */
void log_stop(int64_t timeout_us) MAY_BLOCK;

/* Lines above this level are ignored.  LOG_LEVEL_INFO at the beginning. */
void log_set_level(enum log_level level) ANY_THREAD;
enum log_level log_get_level(void) ANY_THREAD;

/* One line; no newline at the end is needed. */
void log_error(const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) ANY_THREAD
    __attribute__((format(printf, 1, 2)));

/* What a line is about; NULL: nothing of that kind. */
struct log_about {
	const char *event; /* of events.h; told to the journal only */
	const char *conn, *feed, *channel, *peer;
};

/* "text conn=... channel=...", and fields of those names for the journal. */
void log_event(enum log_level level, const struct log_about *about,
    const char *fmt, ...) ANY_THREAD __attribute__((format(printf, 3, 4)));

/* Lines that were dropped since the start of the process. */
uint64_t log_dropped(void) ANY_THREAD;

#endif
