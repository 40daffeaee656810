/*
 * command_feed: a command as one of the feeds: made, started on demand or at
 * once, stopped, freed at any point of its life.
 */

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/command_internal.h"

#include <assert.h>
#include <errno.h>

static void
command_start_or_rest(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	if (command->unwanted)
		command_rest(command);
	else
		command_start(command);
}

static int
command_new(const struct conf_feed *conf, struct conf *owner,
    struct feed_host *host, struct feed **ret_feed)
{
	struct command *command = memory_zalloc(sizeof(*command));

	if (!command)
		return -ENOMEM;
	command->conf = (const struct conf_command *)conf;
	feed_init(&command->feed, &command_type, conf, owner, host);
	command->unwanted = command->conf->start == CONF_START_DEMAND;
	output_init(&command->output, command->conf, &owner->limits,
	    &command->feed.sink);
	command->output.ended = command_on_output_ended;
	command->output.arg = command;
	*ret_feed = &command->feed;
	return 0;
}

/* Its process is to end, if there is one or one is being started. */
static void
command_leave(struct command *command) LOOP_THREAD
{
	feed_set_state(&command->feed, FEED_STOPPING);
	log_info("command is asked to stop feed=%s channel=%s",
	    command->feed.conf->name, command->feed.conf->channel);
	if (command->phase == PHASE_SPAWN)
		(void)es_future_cancel(command->spawning); /* or it is here */
	else if (command->phase == PHASE_ALIVE || command->phase == PHASE_MUTE)
		command_terminate(command);
}

static void
command_stop(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	assert(!feed->stop);
	feed->stop = true;
	sink_hurry(&feed->sink);
	if (command->phase == PHASE_NONE) {
		command_disarm(command);
		command_set_ended(command, FEED_STOPPED);
	} else {
		command_leave(command);
	}
}

static void
command_hurry(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	assert(feed->stop);
	feed->hurry = true;
	if (command->phase == PHASE_TERMED)
		command_kill(command);
}

/*
 * A process that has been asked to end ends, whoever comes meanwhile; then the
 * next one begins at once.
 */
static void
command_wanted(struct feed *feed, bool wanted)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	if (command->conf->start != CONF_START_DEMAND || feed->stop ||
	    command->unwanted == !wanted)
		return;
	command->unwanted = !wanted;
	if (command->feed.starts == 0 && feed->state == FEED_STOPPED)
		return; /* it is about to begin */
	if (feed->state == FEED_FINISHED)
		return;
	if (!wanted && command->phase == PHASE_NONE) {
		command_disarm(command);
		command_rest(command);
	} else if (!wanted) {
		command->left = true;
		command_leave(command);
	} else if (command->phase == PHASE_NONE && !command->timer) {
		command_start(command);
	}
}

static void
command_free(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	command_disarm(command);
	if (command->spawning) {
		(void)es_future_remove_done_callback(
		    command->spawning, command_on_spawned, command);
		(void)es_future_cancel(command->spawning); /* else: dropped */
		es_future_unref(command->spawning);
	}
	ending_unwatch(&command->ending);
	output_close(&command->output);
	if (command->process)
		process_drop(command->process);
	output_fini(&command->output);
	feed_fini(feed);
	memory_free(command);
}

static void
command_get_stats(const struct feed *feed, struct feed_stats *ret)
{
	const struct command *command = (const struct command *)feed;
	const struct output *output = &command->output;

	feed_get_stats(feed, ret);
	ret->lines_cut = output->out.lines.cut;
	ret->bytes_cut = output->out.lines.dropped_bytes;
	ret->lines_refused += output->out.lines.lost;
	ret->stderr_lines = output->stderr_lines;
	ret->stderr_dropped = output->err_limiter.held_ever;
}

const struct feed_type command_type = {
	.kind = "command",
	.new = command_new,
	.start = command_start_or_rest,
	.stop = command_stop,
	.hurry = command_hurry,
	.wanted = command_wanted,
	.free = command_free,
	.get_stats = command_get_stats,
};
