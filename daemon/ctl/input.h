#ifndef DAEMON_CTL_INPUT_H
#define DAEMON_CTL_INPUT_H

/*
 * input: stdin, a bounded slice at a time.
 *
 * Life      input_start -> (data | pause | resume)* -> end -> input_stop.
 * Order     data in the order of the stream; end once, after it.
 * Memory    One slice, on the stack.
 * Threads   LOOP_THREAD.
 */

#include "daemon/loop/loop.h"

#include <stdbool.h>

#define INPUT_SLICE_BYTES 65536

struct input_ops {
	void (*data)(const void *data, size_t len, void *arg);
	void (*end)(int error, void *arg); /* 0, or what read(2) said */
};

struct input {
	es_loop *loop;
	int fd;
	const struct input_ops *ops;
	void *arg;
	es_watch *watch; /* NULL: a file, read from calls */
	es_call *call;
	bool paused, ended;
};

/* -ENOMEM, -ESHUTDOWN. */
int input_start(struct input *input, es_loop *loop, int fd,
    const struct input_ops *ops, void *arg) LOOP_THREAD;
void input_stop(struct input *input) LOOP_THREAD; /* zeroed: no-op */

void input_pause(struct input *input) LOOP_THREAD;
void input_resume(struct input *input) LOOP_THREAD;

#endif
