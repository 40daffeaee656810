#ifndef DAEMON_CTL_OUTPUT_H
#define DAEMON_CTL_OUTPUT_H

/*
 * output: stdout, written when the loop has nothing else to do, never waited
 * for.
 *
 * Life      output_init -> put*, flush* -> output_fini.
 * Order     Bytes go out as they came in.
 * Memory    What the reader has not taken; above OUTPUT_HIGH_BYTES its user
 *           is asked to stop, below OUTPUT_LOW_BYTES to go on.
 * Threads   LOOP_THREAD.
 */

#include "daemon/base/buffer.h"
#include "daemon/loop/loop.h"

#include <stdbool.h>

#define OUTPUT_HIGH_BYTES ((size_t)256 * 1024)
#define OUTPUT_LOW_BYTES ((size_t)64 * 1024)

struct output_ops {
	void (*full)(void *arg);
	void (*room)(void *arg);
	void (*empty)(void *arg); /* after output_drain() */
	void (*broken)(int error, void *arg); /* -EPIPE: nobody reads */
};

struct output {
	es_loop *loop;
	int fd;
	const struct output_ops *ops;
	void *arg;
	struct buffer buffer;
	uint64_t put, taken; /* bytes so far: ours, and of those stdout's */
	es_watch *watch; /* until it takes bytes again */
	es_watch *hangup;
	bool is_file, is_full, is_broken, drain;
};

void output_init(struct output *output, es_loop *loop, int fd,
    const struct output_ops *ops, void *arg) LOOP_THREAD;
void output_fini(struct output *output) LOOP_THREAD;

/* -ENOMEM; broken: dropped. */
int output_put(struct output *output, const void *data, size_t len);

/* Writes what goes without waiting. */
void output_flush(struct output *output) LOOP_THREAD;

/* Once all is written: ops.empty, from a flush. */
void output_drain(struct output *output);

#endif
