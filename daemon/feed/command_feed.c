/*
 * command_feed: a command as one of the feeds: made, begun, asked to end,
 * freed at any point of its life.
 */

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/command_internal.h"
#include "daemon/loop/task.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void command_begin(void *arg);

/* There is no memory for the task; or it was freed before its first step. */
static void
command_dropped(void *arg)
{
	struct command *command = arg;

	if (command->orphan) {
		memory_free(command);
		return;
	}
	es_loop_assert(command_net(command));
	es_future_unref(command->task);
	command->task = NULL;
	if (command->feed.stop) {
		command_set_ended(command, FEED_STOPPED);
		return;
	}
	feed_set_error(
	    &command->feed, "cannot be started: %s", strerrordesc_np(ENOMEM));
	if (es_call_later(command_net(command),
		feed_back_off(&command->feed, 0), "command begin",
		command_begin, command, NULL, &command->again) == 0)
		return;
	log_error("command stays stopped: no memory feed=%s channel=%s",
	    command->feed.conf->name, command->feed.conf->channel);
	command_set_ended(command, FEED_STOPPED);
}

static void
command_begin(void *arg)
{
	struct command *command = arg;

	es_loop_assert(command_net(command));
	es_call_forget(&command->again);
	if (es_spawn(command_net(command), "command", command_supervise,
		command, command_dropped, &command->task) < 0)
		command_dropped(command);
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

static void
command_start(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	feed_set_state(feed, command->unwanted ? FEED_WAITING : FEED_STARTING);
	command_begin(command);
}

/* Its process is to end, if there is one or one is being started. */
static void
command_leave(struct command *command) LOOP_THREAD
{
	if ((command->process || command->spawning) &&
	    command->feed.state != FEED_STOPPING) {
		feed_set_state(&command->feed, FEED_STOPPING);
		if (feed_may_say(&command->feed))
			log_info("command is asked to stop feed=%s channel=%s",
			    command->feed.conf->name,
			    command->feed.conf->channel);
	}
	if (command->spawning)
		(void)es_future_cancel(command->spawning); /* or it is here */
	command_tell(command);
}

static void
command_stop(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	assert(!feed->stop);
	feed->stop = true;
	sink_hurry(&feed->sink);
	es_call_forget(&command->again);
	if (command->task)
		command_leave(command);
	else
		command_set_ended(command, FEED_STOPPED);
}

static void
command_hurry(struct feed *feed)
{
	es_loop_assert(feed->host->options.net);
	assert(feed->stop);
	feed->hurry = true;
	command_tell((struct command *)feed);
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
	if (wanted) {
		command_tell(command);
	} else {
		command->left = true;
		command_leave(command);
	}
}

static void
command_free(struct feed *feed)
{
	struct command *command = (struct command *)feed;

	es_loop_assert(feed->host->options.net);
	es_call_forget(&command->again);
	if (command->spawning)
		(void)es_future_cancel(command->spawning); /* else: dropped */
	ending_unwatch(&command->ending);
	output_close(&command->output);
	if (command->process)
		process_drop(command->process);
	output_fini(&command->output);
	feed_fini(feed);
	command->orphan = true;
	if (!command->task) {
		memory_free(command);
		return;
	}
	(void)es_future_cancel(command->task); /* the rest is its */
	es_future_unref(command->task);
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
	.start = command_start,
	.stop = command_stop,
	.hurry = command_hurry,
	.wanted = command_wanted,
	.free = command_free,
	.get_stats = command_get_stats,
};
