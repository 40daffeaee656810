/*
 * command: the task that supervises a program whose lines are published.
 *
 * The happy path: a job on `sys` starts the program (starting) -> its pipes
 * and its pidfd are watched (running) -> lines are published -> the pidfd
 * becomes readable, both pipes end, the leader is reaped and its group is
 * empty -> back-off -> again, for ever; or, once asked, stopped.  The task
 * waits and decides; what others call only tells it.
 *
 * What can go wrong:
 * - It cannot be started, or ends at once: the same back-off.
 * - It ignores SIGTERM: SIGKILL after stop_timeout.
 * - It ends and leaves others in its group: they get SIGTERM.  Those who
 *   hold one of the pipes have stop_timeout to end, and what they write is
 *   published; then, or where nobody holds a pipe, SIGKILL.  All that happens
 *   before the leader is reaped, so the group's number is still its own.
 * - Somebody outside the group holds a pipe: it is closed under him.
 * - It closes its stdout and lives on: it has stop_timeout to end by itself,
 *   then it is stopped, because a feed that cannot say anything any more
 *   would be silent for ever.
 * - The group is not empty even after SIGKILL (somebody waits for a dead
 *   disk; or process 1 of a container reaps no orphans, and their zombies
 *   count): after COMMAND_GONE_US_MAX the log says so and we go on.
 * - The hub refuses a line: it is dropped and counted.
 * - No memory to be told what happens: the task looks, COMMAND_LOOK_US apart.
 * - Freed while the task lives: the task ends at its next step, and the last
 *   memory with it.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/command_internal.h"
#include "daemon/loop/task.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

/* Between a program's last word and its end there is always some time. */
#define COMMAND_MUTE_US_MIN ES_S(1)

/* After SIGKILL: for what is still in the pipes; for the group to vanish. */
#define COMMAND_DRAIN_US ES_MS(100)
#define COMMAND_GONE_US_MAX ES_MS(500)
#define COMMAND_PROBE_US_MIN ES_MS(1)
#define COMMAND_PROBE_US_MAX ES_MS(50)

#define COMMAND_LOOK_US ES_MS(100) /* without memory for news */

void
command_tell(struct command *command)
{
	if (command->news) /* else nobody waits, and looks before it does */
		(void)es_future_set_result(command->news, ES_NOTHING);
}

/*
 * In the task: until something happens, or that time.  0: who waits for it
 * looks whether it did; -ETIMEDOUT, -ECANCELED.
 */
static int
command_wait(struct command *command, es_usec until)
{
	const es_usec left = until - clock_now_us();
	es_future *f;
	int r;

	if (left <= 0)
		return -ETIMEDOUT;
	assert(!command->news);
	f = command->news = es_future_new(command_net(command));
	if (!f)
		return es_sleep(
		    left < COMMAND_LOOK_US ? left : COMMAND_LOOK_US);
	r = es_await(f, left);
	command->news = NULL;
	es_future_unref(f);
	return command->orphan ? -ECANCELED : r;
}

/* Its end is asked for: for good, or because nobody listens. */
static bool
command_is_asked(const struct command *command)
{
	return command->feed.stop || command->left;
}

/* Both are, the leader and what it says. */
static bool
command_is_over(const struct command *command)
{
	return command->ended && output_is_closed(&command->output);
}

/* Is it not to be started again, after an end like the last? */
static bool
command_is_finished(const struct command *command)
{
	return command->conf->restart == CONF_RESTART_NEVER ||
	       (command->conf->restart == CONF_RESTART_ON_FAILURE &&
		   !command->failed);
}

void
command_on_output_ended(void *arg)
{
	struct command *command = arg;

	es_loop_assert(command_net(command));
	command_tell(command);
}

static void
command_on_end(void *arg)
{
	struct command *command = arg;

	es_loop_assert(command_net(command));
	assert(!command->ended);
	command->ended = true;
	command->ran_us = clock_now_us() - command->started_us;
	command_tell(command);
}

/* The job that starts the next process. */
static int
command_submit(struct command *command, es_future **ret_future)
{
	struct feed_host *host = command->feed.host;
	struct spawn_request *request;
	int r;

	r = spawn_request_new(command->conf, &request);
	if (r < 0)
		return r;
	/* One key: programs on a dead disk take one worker of `sys`, not all */
	r = es_executor_submit(host->options.sys, (uint64_t)(uintptr_t)host,
	    "start command", spawn_job, request, spawn_request_free,
	    host->options.net, ret_future);
	if (r < 0)
		spawn_request_free(request);
	return r;
}

/*
 * In the task: the next process.  A job that runs when its end is asked for
 * is waited for, because its process has to be ended.
 */
static int
command_spawn(struct command *command)
{
	es_value value = ES_NOTHING;
	int r = command_submit(command, &command->spawning);

	if (r < 0)
		return r;
	r = es_await(command->spawning, ES_FOREVER);
	if (r == 0 && !command->orphan)
		r = es_future_take(command->spawning, &value);
	es_future_unref(command->spawning); /* not taken: dropped */
	command->spawning = NULL;
	command->process = value.p;
	return r;
}

/* The pipes are the output's from here on, watched or not. */
static int
command_watch(struct command *command) LOOP_THREAD
{
	struct process *process = command->process;
	int out_fd = process->out_fd, err_fd = process->err_fd, r;

	process->out_fd = process->err_fd = -1;
	r = output_open(&command->output, out_fd, err_fd);
	if (r < 0)
		return r;
	return ending_watch(&command->ending, command_net(command), process,
	    command_on_end, command);
}

/* In the task: as long as it runs, can speak, and nobody asks for its end. */
static int
command_listen(struct command *command) LOOP_THREAD
{
	es_usec until = command->conf->stop_timeout_us;
	int r = 0;

	feed_set_state(&command->feed, FEED_RUNNING);
	if (feed_may_say(&command->feed))
		log_info("command runs pid=%d feed=%s channel=%s",
		    (int)command->process->pid, command->feed.conf->name,
		    command->feed.conf->channel);
	while (r == 0 && !command->ended && !command_is_asked(command) &&
	       output_stdout_is_open(&command->output))
		r = command_wait(command, ES_FOREVER);
	if (until < COMMAND_MUTE_US_MIN)
		until = COMMAND_MUTE_US_MIN;
	until += clock_now_us();
	while (r == 0 && !command->ended && !command_is_asked(command))
		r = command_wait(command, until);
	if (r != -ETIMEDOUT)
		return r;
	log_warn("command closed its stdout and goes on: it is stopped"
		 " feed=%s channel=%s",
	    command->feed.conf->name, command->feed.conf->channel);
	feed_set_state(&command->feed, FEED_STOPPING);
	return 0;
}

/* In the task: no more patience, but for what is in the pipes already. */
static int
command_kill(struct command *command)
{
	const es_usec until = clock_now_us() + COMMAND_DRAIN_US;
	int r = 0;

	process_signal(command->process, SIGKILL);
	while (r == 0 && !command_is_over(command))
		r = command_wait(command, until);
	if (r == -ETIMEDOUT)
		r = 0;
	while (r == 0 && !command->ended)
		r = command_wait(command, ES_FOREVER);
	return r;
}

/* In the task: it, or whom it left in its group, is to end. */
static int
command_terminate(struct command *command)
{
	const es_usec until = clock_now_us() + command->conf->stop_timeout_us;
	int r = 0;

	if (!command->feed.hurry)
		process_signal(command->process, SIGTERM);
	while (r == 0 && !command->feed.hurry && !command_is_over(command))
		r = command_wait(command, until);
	if (r == -ETIMEDOUT)
		log_warn("command does not end within its stop_timeout: killed"
			 " feed=%s channel=%s",
		    command->feed.conf->name, command->feed.conf->channel);
	else if (r < 0 || command_is_over(command))
		return r;
	return command_kill(command);
}

/*
 * In the task: nothing is left to hear, and what is left of the group is
 * killed while the number is still theirs.  SIGKILL needs a moment to reach
 * them all.
 */
static int
command_bury(struct command *command) LOOP_THREAD
{
	struct process *process = command->process;
	const es_usec until = clock_now_us() + COMMAND_GONE_US_MAX;
	es_usec probe = COMMAND_PROBE_US_MIN;
	char how[FEED_ERROR_BYTES_MAX];
	int r;

	process_signal(process, SIGKILL);
	output_close(&command->output);
	if (command->ended)
		(void)process_reap(process, command->feed.error,
		    sizeof(command->feed.error), &command->failed);
	process_release(process);
	while ((!process->reaped &&
		   process_reap(process, how, sizeof(how), NULL) == -EAGAIN) ||
	       process_group_left(process)) {
		if (clock_now_us() >= until) {
			log_warn("command's group is not empty after SIGKILL"
				 " feed=%s channel=%s",
			    command->feed.conf->name,
			    command->feed.conf->channel);
			break;
		}
		r = es_sleep(probe);
		if (r < 0)
			return r;
		probe = probe < COMMAND_PROBE_US_MAX / 2 ? 2 * probe
							 : COMMAND_PROBE_US_MAX;
	}
	memory_free(process);
	command->process = NULL;
	backoff_ran(&command->feed.backoff, command->ran_us);
	return 0;
}

/* In the task: a process from its start to its end; error says how it was. */
static int
command_live(struct command *command) LOOP_THREAD
{
	int r;

	command->feed.starts++;
	command->left = command->ended = false;
	command->failed = true; /* until it has shown otherwise */
	command->ran_us = 0;
	feed_set_state(&command->feed, FEED_STARTING);
	log_debug("command starts feed=%s channel=%s", command->feed.conf->name,
	    command->feed.conf->channel);
	r = command_spawn(command);
	if (command->orphan)
		return -ECANCELED;
	if (r < 0) {
		if (!command_is_asked(command)) /* else: cancelled */
			feed_set_error(&command->feed, "cannot be started: %s",
			    strerrordesc_np(-r));
		return 0;
	}
	command->started_us = clock_now_us();
	command->left = command->unwanted; /* who left may be back */
	r = command_watch(command);
	if (r < 0) { /* out of memory or of descriptors */
		feed_set_error(&command->feed, "cannot be watched: %s",
		    strerrordesc_np(-r));
		return command_bury(command);
	}
	if (!command_is_asked(command))
		r = command_listen(command);
	if (r == 0)
		r = command_terminate(command);
	return r == 0 ? command_bury(command) : r;
}

/* In the task: nobody listens; until somebody does. */
static int
command_rest(struct command *command) LOOP_THREAD
{
	int r = 0;

	command->feed.error[0] = '\0'; /* its end was asked for */
	log_debug("command waits for a consumer feed=%s channel=%s",
	    command->feed.conf->name, command->feed.conf->channel);
	feed_set_state(&command->feed, FEED_WAITING);
	while (r == 0 && command->unwanted && !command->feed.stop)
		r = command_wait(command, ES_FOREVER);
	return r;
}

/* In the task: after an end that was not asked for; error says how. */
static int
command_back_off(struct command *command) LOOP_THREAD
{
	const es_usec until = clock_now_us() + feed_back_off(&command->feed, 0);
	int r = 0;

	while (r == 0 && !command_is_asked(command))
		r = command_wait(command, until);
	return r == -ETIMEDOUT ? 0 : r;
}

void
command_set_ended(struct command *command, enum feed_state state)
{
	es_future_unref(command->task);
	command->task = NULL;
	sink_flush(&command->feed.sink);
	feed_set_ended(&command->feed, state); /* last: may free us */
}

int
command_supervise(void *arg, es_value *ret)
{
	struct command *command = arg;
	bool finished = false;
	int r = 0;

	(void)ret;
	es_loop_assert(command_net(command));
	while (r == 0 && !finished && !command->feed.stop) {
		if (command->unwanted) {
			r = command_rest(command);
			continue;
		}
		r = command_live(command);
		if (r < 0 || command_is_asked(command))
			continue;
		finished = command_is_finished(command);
		if (!finished)
			r = command_back_off(command);
	}
	if (command->orphan) {
		memory_free(command);
		return 0;
	}
	if (finished)
		log_info("command %s feed=%s channel=%s", command->feed.error,
		    command->feed.conf->name, command->feed.conf->channel);
	command_set_ended(command, finished ? FEED_FINISHED : FEED_STOPPED);
	return 0;
}
