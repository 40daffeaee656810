/*
 * earshot sub: what is published on channels, to stdout.
 *
 * The happy path: the positions of the state file are read -> one connection
 * (dial.c), on which all channels are followed (follow.c), or one is listened
 * to (listen.c) -> sub_take() makes a line of each message -> before the loop
 * waits, what goes without waiting is written, and what stdout has taken is
 * kept -> the count is reached, or a signal comes: the connection closes, the
 * rest is written and kept.
 *
 * What can go wrong:
 * - the reader is slow: above a limit the connection is not read, the server
 *   keeps our place;
 * - the reader is gone: that is how `| head -1` ends, and no fault;
 * - a connection that does not close: it has its own deadline.  A second
 *   signal does not wait for it, nor for the reader, nor for the disk.
 */

#include "daemon/ctl/sub.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What stdout has taken may be kept. */
static void
settle(struct sub *sub)
{
	es_loop_assert(sub->session->loop);
	if (sub->keep.path == NULL)
		return;
	places_settle(&sub->places, sub->output.put, sub->output.taken);
	keep_look(&sub->keep);
}

static void
on_kept(void *arg)
{
	struct sub *sub = arg;

	if (sub->keep.error < 0)
		sub->exit_code = CTL_FAILED;
	session_finish(sub->session, sub->exit_code);
}

/* Connection and output must be done before the run is over. */
static void
end_if_done(struct sub *sub)
{
	es_loop_assert(sub->session->loop);
	if (!sub->ending || sub->keeping || !dial_is_over(&sub->dial) ||
	    sub->output.buffer.len > 0)
		return;
	sub->keeping = true;
	settle(sub);
	if (keep_finish(&sub->keep))
		on_kept(sub);
}

void
sub_end(struct sub *sub, int exit_code, uint16_t code, const char *reason)
{
	es_loop_assert(sub->session->loop);
	if (sub->ending)
		return;
	sub->ending = true;
	sub->exit_code = exit_code;
	dial_close(&sub->dial, code, reason);
	output_drain(&sub->output);
	end_if_done(sub);
}

void
sub_gave_up(void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	sub_end(sub, CTL_FAILED, 1000, "");
}

void
sub_over(void *arg)
{
	end_if_done(arg);
}

void
sub_take(struct sub *sub, struct place *place, const void *line, size_t len)
{
	int error;

	es_loop_assert(sub->session->loop);
	if (sub->ending)
		return;
	error = output_put(&sub->output, line, len);
	if (error == 0)
		error = output_put(&sub->output, "\n", 1);
	if (error < 0) {
		ctl_say("%s", strerror(-error));
		sub_end(sub, CTL_FAILED, 1000, "");
		return;
	}
	if (place->known)
		place_advance(&sub->places, place);
	sub->count++;
	if (sub->count == sub->options->count)
		sub_end(sub, CTL_OK, 1000, "");
}

static void
on_full(void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	dial_pause(&sub->dial, true);
}

static void
on_room(void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	dial_pause(&sub->dial, false);
}

static void
on_empty(void *arg)
{
	end_if_done(arg);
}

static void
on_broken(int error, void *arg)
{
	struct sub *sub = arg;

	es_loop_assert(sub->session->loop);
	if (error != -EPIPE)
		ctl_say("stdout: %s", strerror(-error));
	if (error != -EPIPE && sub->ending)
		sub->exit_code = CTL_FAILED; /* what was to come is lost */
	sub_end(sub, error == -EPIPE ? CTL_OK : CTL_FAILED, 1000, "");
	end_if_done(sub);
}

static const struct output_ops output_ops = { on_full, on_room, on_empty,
	on_broken };

static void
on_signal(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct sub *sub = arg;

	(void)signo;
	(void)info;
	es_loop_assert(sub->session->loop);
	if (sub->ending)
		session_finish(sub->session, sub->exit_code);
	else
		sub_end(sub, CTL_OK, 1000, "");
}

static void
start(struct session *session, void *arg)
{
	struct sub *sub = arg;
	int error;

	es_loop_assert(session->loop);
	sub->session = session;
	output_init(
	    &sub->output, session->loop, STDOUT_FILENO, &output_ops, sub);
	keep_start(&sub->keep, session->loop, on_kept, sub);
	error = es_add_signal_handler(session->loop, SIGINT, on_signal, sub);
	if (error == 0)
		error = es_add_signal_handler(
		    session->loop, SIGTERM, on_signal, sub);
	if (error == 0 && sub->options->raw)
		listen_start(sub);
	else if (error == 0)
		error = follow_start(sub);
	if (error < 0) {
		ctl_say("%s", strerror(-error));
		session_finish(session, CTL_FAILED);
	}
}

static void
before_wait(void *arg)
{
	struct sub *sub = arg;

	if (sub->session == NULL)
		return;
	es_loop_assert(sub->session->loop);
	output_flush(&sub->output);
	settle(sub);
}

static void
end(void *arg)
{
	struct sub *sub = arg;

	if (sub->session == NULL) /* it never started */
		return;
	es_loop_assert(sub->session->loop);
	dial_fini(&sub->dial);
	follow_end(sub);
	keep_end(&sub->keep);
	output_fini(&sub->output);
	buffer_fini(&sub->line);
}

/* A channel given twice counts once. */
static void
add_channels(struct sub *sub)
{
	const struct ctl_options *options = sub->options;
	size_t i;

	for (i = 0; i < options->channel_count; i++)
		(void)places_add(&sub->places, options->channels[i],
		    strlen(options->channels[i]));
	sub->channel_count = sub->places.count;
	assert(sub->channel_count > 0);
}

/* Where to go on.  An exit code. */
static int
recall(struct sub *sub)
{
	const int code = keep_open(&sub->keep, sub->options->state_path);
	const size_t kept = keep_channels_max(&sub->keep);

	if (code != CTL_OK)
		return code;
	if (places_init(&sub->places, sub->options->channel_count + kept) < 0) {
		ctl_say("%s", strerror(ENOMEM));
		return CTL_FAILED;
	}
	add_channels(sub);
	return keep_recall(&sub->keep, &sub->places);
}

int
sub_run(const struct ctl_options *options)
{
	static const struct session_task task = { start, before_wait, end };
	struct sub sub = { .options = options };
	int code;

	sub.states = options->verbosity > 0 || isatty(STDERR_FILENO);
	code = recall(&sub);
	if (code == CTL_OK)
		code = session_run(options, &task, &sub);
	keep_close(&sub.keep);
	places_fini(&sub.places);
	return code;
}
