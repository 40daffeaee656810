/*
 * stdout without waiting for its reader.
 *
 * Its file status flags are not ours to change (they belong to everybody who
 * has it open), so it may be in blocking mode.  poll(2) says when a write of
 * up to a page does not wait: a pipe that polls writable has room for one, a
 * regular file never waits.  What stays is written when a watch says so.
 */

#include "daemon/ctl/output.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 4096 /* PIPE_BUF: what a writable pipe takes at once */

static void
on_hangup(int fd, unsigned what, void *arg)
{
	struct output *output = arg;
	struct pollfd poller = { .fd = fd };

	(void)what;
	es_loop_assert(output->loop);
	if (poll(&poller, 1, 0) <= 0 || !(poller.revents & POLLERR))
		return;
	es_watch_free(output->hangup);
	output->hangup = NULL;
	output->is_broken = true;
	output->ops->broken(-EPIPE, output->arg);
}

void
output_init(struct output *output, es_loop *loop, int fd,
    const struct output_ops *ops, void *arg)
{
	struct stat about;

	*output =
	    (struct output){ .loop = loop, .fd = fd, .ops = ops, .arg = arg };
	if (fstat(fd, &about) < 0)
		return; /* the first write will say so */
	output->is_file = S_ISREG(about.st_mode);
	/*
	 * A reader who leaves is noticed even if nothing is to be written; or,
	 * without memory for this watch, when something is.
	 */
	if (S_ISFIFO(about.st_mode) &&
	    es_watch_new(loop, "stdout", fd, ES_READ, on_hangup, output,
		&output->hangup) < 0)
		output->hangup = NULL;
}

void
output_fini(struct output *output)
{
	es_watch_free(output->watch);
	es_watch_free(output->hangup);
	buffer_fini(&output->buffer);
}

int
output_put(struct output *output, const void *data, size_t len)
{
	int error;

	if (output->is_broken)
		return 0;
	error = buffer_append(&output->buffer, data, len, SIZE_MAX / 2);
	if (error < 0)
		return error;
	output->put += len;
	if (!output->is_full && output->buffer.len > OUTPUT_HIGH_BYTES) {
		output->is_full = true;
		output->ops->full(output->arg);
	}
	return 0;
}

static void
on_writable(int fd, unsigned what, void *arg)
{
	struct output *output = arg;

	(void)fd;
	(void)what;
	es_loop_assert(output->loop);
	es_watch_free(output->watch);
	output->watch = NULL;
	output_flush(output);
}

static bool
takes_bytes(const struct output *output)
{
	struct pollfd poller = { .fd = output->fd, .events = POLLOUT };

	return output->is_file || poll(&poller, 1, 0) != 0;
}

/* How many bytes went out; *ret_error: 0, or what the last write said. */
static size_t
write_some(struct output *output, int *ret_error)
{
	const size_t len = output->buffer.len;
	size_t done = 0;
	ssize_t n;

	*ret_error = 0;
	while (done < len && takes_bytes(output)) {
		n = write(output->fd, output->buffer.data + done,
		    output->is_file || len - done < PIECE_BYTES ? len - done
								: PIECE_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			*ret_error = -errno;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

static void
broke(struct output *output, int error)
{
	output->is_broken = true;
	buffer_clear(&output->buffer);
	output->ops->broken(error, output->arg);
}

void
output_flush(struct output *output)
{
	size_t done;
	int error;

	es_loop_assert(output->loop);
	if (output->is_broken || output->watch != NULL)
		return;
	if (output->buffer.len > 0) {
		done = write_some(output, &error);
		buffer_consume(&output->buffer, done);
		output->taken += done;
		if (error == 0 && output->buffer.len > 0)
			error = es_watch_new(output->loop, "stdout", output->fd,
			    ES_WRITE, on_writable, output, &output->watch);
		if (error < 0) {
			broke(output, error);
			return;
		}
	}
	if (output->is_full && output->buffer.len < OUTPUT_LOW_BYTES) {
		output->is_full = false;
		output->ops->room(output->arg);
	}
	if (output->drain && output->buffer.len == 0) {
		output->drain = false;
		output->ops->empty(output->arg);
	}
}

void
output_drain(struct output *output)
{
	output->drain = true;
}
