#ifndef DAEMON_FEED_OUTPUT_H
#define DAEMON_FEED_OUTPUT_H

/*
 * output: what a command writes; stdout to its channel, stderr to the log.
 *
 * Life     init -> (open -> ended()* -> close)* -> fini.
 * Order    Lines are published in the order they were written.
 * Promise  While the sink asks to wait stdout is not read; the program waits.
 *          One call reads at most limits.feed_read_bytes_max and publishes
 *          OUTPUT_MESSAGES_PER_ITERATION_MAX messages and what one more read
 *          gives.  The log gets a bounded number of lines, whatever comes.
 * Memory   The beginning of one line each: limits.message_bytes_max, and
 *          OUTPUT_STDERR_LINE_BYTES_MAX.
 * Threads  LOOP_THREAD of net.
 */

#include "conf/conf.h"
#include "daemon/base/limiter.h"
#include "daemon/feed/sink.h"
#include "daemon/loop/loop.h"
#include "proto/lines.h"

#include <stdbool.h>

#define OUTPUT_MESSAGES_PER_ITERATION_MAX 4096
#define OUTPUT_STDERR_BYTES_PER_ITERATION_MAX 65536
#define OUTPUT_STDERR_LINE_BYTES_MAX 512

/* One of the two pipes. */
struct output_pipe {
	struct output *output;
	int fd; /* -1: it has ended, or was closed */
	es_watch *watch;
	struct lines lines;
	line_fn fn;
};

struct output {
	const struct conf_command *conf; /* names, for the log */
	const struct conf_limits *limits;
	struct sink *sink;
	es_loop *net;
	void (*ended)(void *arg); /* one of the pipes has */
	void *arg;
	struct output_pipe out, err;
	struct limiter err_limiter, cut_limiter;
	uint64_t lines; /* of stdout */
	uint64_t cut_told, stderr_lines;
};

/* ended and arg are to be set; all pointers are borrowed. */
void output_init(struct output *output, const struct conf_command *conf,
    const struct conf_limits *limits, struct sink *sink);
void output_fini(struct output *output); /* closed */

/*
 * Takes the reading ends of two pipes, which do not block.  Failed, as
 * es_watch_new(): they are closed.
 */
int output_open(struct output *output, int out_fd, int err_fd) LOOP_THREAD;

/* Who still writes is not heard any more; without a word to ended(). */
void output_close(struct output *output); /* as es_watch_free() */

bool output_stdout_is_open(const struct output *output) ANY_THREAD;
bool output_is_closed(const struct output *output) ANY_THREAD; /* both */

#endif
