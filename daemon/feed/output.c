/*
 * output: the happy path is read() -> lines -> hub_publish(), sixteen
 * kilobytes at a time, until the pipe is empty or the iteration's share is
 * used up; the watch then comes back with the next iteration.
 *
 * - A pipe ends: a last line without a newline is a line.
 * - A line that is too long: lines.c.  The log hears of the first in a while.
 * - stderr is for the log, which is no place for a program's every word: a
 *   burst is shown, the rest is counted and told with the next shown line.
 */

#include "daemon/feed/output.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_READ_BYTES 16384
#define OUTPUT_STDERR_BURST 20
#define OUTPUT_SAY_AGAIN_US 10000000

static void
output_publish(const uint8_t *line, size_t len, void *arg)
{
	struct output *output = arg;

	es_loop_assert(output->net);
	output->lines++;
	sink_publish(output->sink, SINK_ANY, line, len);
}

static void
output_tell_cut(struct output *output)
{
	uint64_t held;

	if (output->out.lines.cut == output->cut_told)
		return;
	output->cut_told = output->out.lines.cut;
	if (limiter_allow(&output->cut_limiter, clock_now_us(), &held))
		log_warn("command's lines of more than %zu"
			 " bytes are cut off, %" PRIu64
			 " so far feed=%s channel=%s",
		    output->sink->message_bytes_max, output->out.lines.cut,
		    output->conf->feed.name, output->conf->feed.channel);
}

/* The log takes care of control characters, this of what is no text. */
static void
output_log(const uint8_t *line, size_t len, void *arg)
{
	struct output *output = arg;
	char text[OUTPUT_STDERR_LINE_BYTES_MAX];
	bool valid = utf8_valid(line, len);
	uint64_t held;
	size_t i;

	assert(len <= sizeof(text));
	output->stderr_lines++;
	if (!limiter_allow(&output->err_limiter, clock_now_us(), &held))
		return;
	for (i = 0; i < len; i++)
		text[i] = line[i] == 0 || (line[i] >= 0x80 && !valid)
			      ? '?'
			      : (char)line[i];
	if (held > 0)
		log_info("command said %" PRIu64
			 " lines more, not shown feed=%s channel=%s",
		    held, output->conf->feed.name, output->conf->feed.channel);
	log_info("command says: %.*s feed=%s channel=%s", (int)len, text,
	    output->conf->feed.name, output->conf->feed.channel);
}

/* Not watched while the sink asks for patience; looked at before a read. */
static bool
output_waits(struct output *output, struct output_pipe *pipe) LOOP_THREAD
{
	return pipe == &output->out && sink_wait(output->sink) &&
	       es_watch_set(pipe->watch, 0) <= 0;
}

/*
 * Reads for one iteration.  false: the end of the file, or an error; a pipe
 * has none that would pass.
 */
static bool
output_read(struct output *output, struct output_pipe *pipe,
    int64_t bytes_max) LOOP_THREAD
{
	uint64_t before = output->lines;
	uint8_t data[OUTPUT_READ_BYTES];
	int64_t left = bytes_max;

	assert(bytes_max > 0);
	while (left > 0 && !output_waits(output, pipe) &&
	       output->lines - before < OUTPUT_MESSAGES_PER_ITERATION_MAX) {
		size_t most =
		    left < OUTPUT_READ_BYTES ? (size_t)left : OUTPUT_READ_BYTES;
		ssize_t n = read(pipe->fd, data, most);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		lines_feed(&pipe->lines, data, (size_t)n, pipe->fn, output);
		left -= n;
	}
	if (left <= 0 && pipe == &output->out)
		output->sink->reads_cut++;
	return true;
}

static void
output_close_pipe(struct output *output, struct output_pipe *pipe)
{
	if (pipe->fd < 0)
		return;
	es_watch_free(pipe->watch);
	pipe->watch = NULL;
	(void)close(pipe->fd); /* a reading end: nothing to lose */
	pipe->fd = -1;
	lines_end(&pipe->lines, pipe->fn, output);
}

static void
output_on_readable(int fd, unsigned what, void *arg)
{
	struct output_pipe *pipe = arg;
	struct output *output = pipe->output;
	bool more;

	(void)what;
	es_loop_assert(output->net);
	assert(fd == pipe->fd);
	more = output_read(output, pipe,
	    pipe == &output->out ? output->limits->feed_read_bytes_max
				 : OUTPUT_STDERR_BYTES_PER_ITERATION_MAX);
	output_tell_cut(output);
	if (more)
		return;
	output_close_pipe(output, pipe);
	output->ended(output->arg); /* last: may free us */
}

/* The sink takes messages again. */
static void
output_on_ready(void *arg)
{
	struct output *output = arg;

	es_loop_assert(output->net);
	if (!output->out.watch || es_watch_set(output->out.watch, ES_READ) == 0)
		return;
	output_close_pipe(output, &output->out); /* nobody would read it */
	output->ended(output->arg); /* last: may free us */
}

static void
output_init_pipe(
    struct output *output, struct output_pipe *pipe, size_t max, line_fn fn)
{
	*pipe = (struct output_pipe){ .output = output, .fd = -1, .fn = fn };
	lines_init(&pipe->lines, max);
}

void
output_init(struct output *output, const struct conf_command *conf,
    const struct conf_limits *limits, struct sink *sink)
{
	*output = (struct output){
		.conf = conf,
		.limits = limits,
		.sink = sink,
		.net = sink->net,
	};
	sink->ready = output_on_ready;
	sink->arg = output;
	output_init_pipe(
	    output, &output->out, sink->message_bytes_max, output_publish);
	if (conf->framing == CONF_FRAMING_NULL)
		output->out.lines.end = '\0';
	output_init_pipe(
	    output, &output->err, OUTPUT_STDERR_LINE_BYTES_MAX, output_log);
	limiter_init(
	    &output->err_limiter, OUTPUT_STDERR_BURST, OUTPUT_SAY_AGAIN_US);
	limiter_init(&output->cut_limiter, 1, OUTPUT_SAY_AGAIN_US);
}

void
output_fini(struct output *output)
{
	assert(output_is_closed(output));
	lines_fini(&output->out.lines);
	lines_fini(&output->err.lines);
}

int
output_open(struct output *output, int out_fd, int err_fd)
{
	int r;

	assert(output->ended);
	assert(output_is_closed(output));
	output->out.fd = out_fd;
	output->err.fd = err_fd;
	r = es_watch_new(output->net, "command stdout", out_fd, ES_READ,
	    output_on_readable, &output->out, &output->out.watch);
	if (r == 0)
		r = es_watch_new(output->net, "command stderr", err_fd, ES_READ,
		    output_on_readable, &output->err, &output->err.watch);
	if (r < 0)
		output_close(output);
	return r;
}

void
output_close(struct output *output)
{
	output_close_pipe(output, &output->out);
	output_close_pipe(output, &output->err);
}

bool
output_stdout_is_open(const struct output *output)
{
	return output->out.fd >= 0;
}

bool
output_is_closed(const struct output *output)
{
	return output->out.fd < 0 && output->err.fd < 0;
}
