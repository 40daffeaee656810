/*
 * stdin on the loop.
 *
 * What epoll takes is read when it is readable: one read(2) then does not
 * wait, whether or not the descriptor is in blocking mode.  What it refuses
 * (regular files, /dev/null) never waits and is read from calls, a slice each,
 * so that the connection has its turn in between.
 */

#include "daemon/ctl/input.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

static void read_slice(struct input *input) LOOP_THREAD;

static void
end(struct input *input, int error)
{
	assert(!input->ended);
	es_watch_free(input->watch);
	input->watch = NULL;
	input->ended = true;
	input->ops->end(error, input->arg);
}

static void
on_call(void *arg)
{
	struct input *input = arg;

	es_loop_assert(input->loop);
	es_call_unref(input->call);
	input->call = NULL;
	if (!input->paused)
		read_slice(input);
}

static void
call_again(struct input *input)
{
	int error = es_call_soon(
	    input->loop, "stdin", on_call, input, NULL, &input->call);

	if (error < 0)
		end(input, error);
}

static void
on_readable(int fd, unsigned what, void *arg)
{
	struct input *input = arg;

	(void)fd;
	(void)what;
	es_loop_assert(input->loop);
	read_slice(input);
}

static void
read_slice(struct input *input)
{
	char data[INPUT_SLICE_BYTES];
	const ssize_t n = read(input->fd, data, sizeof(data));

	if (n > 0)
		input->ops->data(data, (size_t)n, input->arg);
	else if (n == 0)
		end(input, 0);
	else if (errno != EAGAIN && errno != EINTR)
		end(input, -errno);
	if (!input->ended && !input->paused && input->watch == NULL &&
	    input->call == NULL)
		call_again(input);
}

int
input_start(struct input *input, es_loop *loop, int fd,
    const struct input_ops *ops, void *arg)
{
	*input =
	    (struct input){ .loop = loop, .fd = fd, .ops = ops, .arg = arg };
	if (es_watch_new(loop, "stdin", fd, ES_READ, on_readable, input,
		&input->watch) == 0)
		return 0;
	return es_call_soon(loop, "stdin", on_call, input, NULL, &input->call);
}

void
input_stop(struct input *input)
{
	es_watch_free(input->watch);
	input->watch = NULL;
	if (input->call != NULL) {
		(void)es_call_cancel(input->call);
		es_call_unref(input->call);
		input->call = NULL;
	}
	input->ended = true;
}

void
input_pause(struct input *input)
{
	input->paused = true;
	if (input->watch != NULL && es_watch_set(input->watch, 0) < 0)
		assert(false); /* taking away needs nothing */
}

void
input_resume(struct input *input)
{
	if (!input->paused || input->ended)
		return;
	input->paused = false;
	if (input->watch != NULL) {
		const int error = es_watch_set(input->watch, ES_READ);

		if (error < 0)
			end(input, error);
	} else if (input->call == NULL) {
		call_again(input);
	}
}
