/*
 * command: the supervisor, all of it.
 *
 * The happy path: a job on `sys` starts the program (starting) -> its pipes
 * and its pidfd are watched (running) -> lines are published -> the pidfd
 * becomes readable, both pipes end, the leader is reaped and its group is
 * empty -> back-off -> again, for ever; or, once asked, stopped.
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
 * - No memory for a timer: what would have come later comes at once.
 *
 * The process goes through the phases below; `state` is what people see.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/command_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Between a program's last word and its end there is always some time. */
#define COMMAND_MUTE_US_MIN 1000000

/* After SIGKILL: for what is still in the pipes; for the group to vanish. */
#define COMMAND_DRAIN_US 100000
#define COMMAND_GONE_US_MAX 500000
#define COMMAND_PROBE_US_MIN 1000
#define COMMAND_PROBE_US_MAX 50000

static void command_on_timer(void *arg);

/* Asked to end: for good, or because nobody listens. */
static bool
command_is_leaving(const struct command *command)
{
	return command->feed.stop || command->unwanted;
}

/* false: no memory, there will be no timer. */
static bool
command_arm(struct command *command, int64_t delay_us)
{
	assert(!command->timer);
	return es_call_later(command_net(command), delay_us, "command timer",
		   command_on_timer, command, NULL, &command->timer) == 0;
}

void
command_disarm(struct command *command)
{
	if (!command->timer)
		return;
	(void)es_call_cancel(command->timer); /* on its own thread: always */
	es_call_unref(command->timer);
	command->timer = NULL;
}

void
command_set_ended(struct command *command, enum feed_state state)
{
	assert(command->phase == PHASE_NONE);
	assert(!command->timer);
	sink_flush(&command->feed.sink);
	feed_set_ended(&command->feed, state); /* last: may free us */
}

/* Nobody listens: until somebody does, see command_wanted(). */
void
command_rest(struct command *command)
{
	command->feed.error[0] = '\0'; /* its end was asked for */
	log_debug("command waits for a consumer feed=%s channel=%s",
	    command->feed.conf->name, command->feed.conf->channel);
	feed_set_state(&command->feed, FEED_WAITING);
}

/* Is it to be started again after an end like the last? */
static bool
command_is_finished(const struct command *command)
{
	return command->conf->restart == CONF_RESTART_NEVER ||
	       (command->conf->restart == CONF_RESTART_ON_FAILURE &&
		   !command->failed);
}

/* What was tried has failed or ended; error says how. */
static void
command_wait(struct command *command) LOOP_THREAD
{
	assert(command->phase == PHASE_NONE);
	if (command->feed.stop) {
		command_set_ended(command, FEED_STOPPED);
	} else if (command->unwanted) {
		command_rest(command);
	} else if (command->left) {
		command_start(command); /* somebody came meanwhile */
	} else if (command->feed.starts > 0 && command_is_finished(command)) {
		log_info("command %s feed=%s channel=%s", command->feed.error,
		    command->feed.conf->name, command->feed.conf->channel);
		command_set_ended(command, FEED_FINISHED);
	} else if (!command_arm(command, feed_back_off(&command->feed))) {
		log_error("command stays stopped: no memory feed=%s channel=%s",
		    command->feed.conf->name, command->feed.conf->channel);
		command_set_ended(command, FEED_STOPPED);
	}
}

static int
command_submit(struct command *command)
{
	struct feed_host *host = command->feed.host;
	es_loop *net = host->options.net;
	struct spawn_request *request;
	es_future *f;
	int r;

	r = spawn_request_new(command->conf, &request);
	if (r < 0)
		return r;
	/* One key: programs on a dead disk take one worker of `sys`, not all */
	r = es_executor_submit(host->options.sys, (uint64_t)(uintptr_t)host,
	    "start command", spawn_job, request, spawn_request_free, net, &f);
	if (r < 0) {
		spawn_request_free(request);
		return r;
	}
	r = es_future_add_done_callback(
	    f, net, command_on_spawned, command, NULL);
	if (r < 0) {
		(void)es_future_cancel(f); /* or its value is dropped */
		es_future_unref(f);
		return r;
	}
	command->spawning = f;
	return 0;
}

void
command_start(struct command *command)
{
	int r;

	assert(command->phase == PHASE_NONE);
	assert(!command_is_leaving(command));
	command->feed.starts++;
	command->left = false;
	command->failed = true; /* until it has shown otherwise */
	feed_set_state(&command->feed, FEED_STARTING);
	log_debug("command starts feed=%s channel=%s", command->feed.conf->name,
	    command->feed.conf->channel);
	r = command_submit(command);
	if (r == 0) {
		command->phase = PHASE_SPAWN;
		return;
	}
	feed_set_error(
	    &command->feed, "cannot be started: %s", strerrordesc_np(-r));
	command_wait(command);
}

/* Nothing of the process is left, or nothing that we could wait for. */
static void
command_gone(struct command *command) LOOP_THREAD
{
	memory_free(command->process);
	command->process = NULL;
	command->phase = PHASE_NONE;
	backoff_ran(&command->feed.backoff, command->ran_us);
	command_wait(command);
}

/* After the last SIGKILL, which needs a moment to reach them all. */
static void
command_probe(struct command *command) LOOP_THREAD
{
	struct process *process = command->process;
	char how[FEED_ERROR_BYTES_MAX];
	bool left;

	assert(command->phase == PHASE_GONE);
	left = !process->reaped &&
	       process_reap(process, how, sizeof(how), NULL) == -EAGAIN;
	if (!left)
		left = process_group_left(process);
	if (!left) {
		command_gone(command);
		return;
	}
	if (clock_now_us() >= command->gone_by_us ||
	    !command_arm(command, command->probe_us)) {
		log_warn("command's group is not empty after SIGKILL"
			 " feed=%s channel=%s",
		    command->feed.conf->name, command->feed.conf->channel);
		command_gone(command);
		return;
	}
	command->probe_us *= 2;
	if (command->probe_us > COMMAND_PROBE_US_MAX)
		command->probe_us = COMMAND_PROBE_US_MAX;
}

static void
command_await_gone(struct command *command) LOOP_THREAD
{
	command->phase = PHASE_GONE;
	command->gone_by_us = clock_now_us() + COMMAND_GONE_US_MAX;
	command->probe_us = COMMAND_PROBE_US_MIN;
	command_probe(command);
}

/*
 * The leader has ended and there is nothing left to hear: what is left of its
 * group is killed while the number is still theirs.
 */
static void
command_finish(struct command *command) LOOP_THREAD
{
	struct process *process = command->process;

	command_disarm(command);
	process_signal(process, SIGKILL);
	output_close(&command->output);
	(void)process_reap(process, command->feed.error,
	    sizeof(command->feed.error), &command->failed);
	process_release(process);
	command_await_gone(command);
}

/* Both, the leader and what it says. */
static bool
command_is_over(const struct command *command)
{
	return command->ended &&
	       (command->impatient || output_is_closed(&command->output));
}

/*
 * The phase's timer begins; without memory for one its time is up at once.
 * The command may be gone when this returns.
 */
static void
command_enter(struct command *command, enum command_phase phase,
    int64_t delay_us) LOOP_THREAD
{
	command_disarm(command);
	command->phase = phase;
	if (!command_arm(command, delay_us))
		command_on_timer(command);
}

void
command_terminate(struct command *command)
{
	process_signal(command->process, SIGTERM);
	command_enter(command, PHASE_TERMED, command->conf->stop_timeout_us);
}

void
command_kill(struct command *command)
{
	process_signal(command->process, SIGKILL);
	command_enter(command, PHASE_KILLED, COMMAND_DRAIN_US);
}

static void
command_on_timer(void *arg)
{
	struct command *command = arg;

	es_loop_assert(command_net(command));
	assert(command->phase != PHASE_SPAWN && command->phase != PHASE_ALIVE);
	es_call_unref(command->timer);
	command->timer = NULL;
	switch (command->phase) {
	case PHASE_NONE:
		command_start(command);
		break;
	case PHASE_MUTE:
		log_warn("command closed its stdout and goes on: it is stopped"
			 " feed=%s channel=%s",
		    command->feed.conf->name, command->feed.conf->channel);
		feed_set_state(&command->feed, FEED_STOPPING);
		command_terminate(command);
		break;
	case PHASE_TERMED:
		log_warn("command does not end within its stop_timeout: killed"
			 " feed=%s channel=%s",
		    command->feed.conf->name, command->feed.conf->channel);
		command_kill(command);
		break;
	case PHASE_KILLED:
		command->impatient = true;
		if (command_is_over(command))
			command_finish(command);
		break;
	case PHASE_GONE:
		command_probe(command);
		break;
	case PHASE_SPAWN:
	case PHASE_ALIVE:
		break; /* asserted above */
	}
}

void
command_on_output_ended(void *arg)
{
	struct command *command = arg;
	int64_t grace_us = command->conf->stop_timeout_us;

	es_loop_assert(command->feed.host->options.net);
	if (grace_us < COMMAND_MUTE_US_MIN)
		grace_us = COMMAND_MUTE_US_MIN;
	if (command_is_over(command))
		command_finish(command);
	else if (command->phase == PHASE_ALIVE &&
		 !output_stdout_is_open(&command->output))
		command_enter(command, PHASE_MUTE, grace_us);
}

static void
command_on_end(void *arg)
{
	struct command *command = arg;
	bool asked =
	    command->phase != PHASE_ALIVE && command->phase != PHASE_MUTE;

	es_loop_assert(command->feed.host->options.net);
	assert(!command->ended);
	command->ended = true;
	command->ran_us = clock_now_us() - command->started_us;
	if (!asked)
		process_signal(command->process, SIGTERM); /* whom it left */
	if (command_is_over(command))
		command_finish(command);
	else if (!asked)
		command_enter(
		    command, PHASE_TERMED, command->conf->stop_timeout_us);
}

static int command_watch(struct command *command) LOOP_THREAD;

/* The pipes are the output's from here on, watched or not. */
static int
command_watch(struct command *command)
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

/* It runs and cannot be watched: out of memory or of descriptors. */
static void
command_give_up(struct command *command, int error) LOOP_THREAD
{
	feed_set_error(
	    &command->feed, "cannot be watched: %s", strerrordesc_np(-error));
	process_signal(command->process, SIGKILL);
	output_close(&command->output);
	process_release(command->process);
	command->ran_us = 0;
	command_await_gone(command);
}

/* The process is there, watched or not. */
static void
command_begin(struct command *command) LOOP_THREAD
{
	command->ended = command->impatient = false;
	command->started_us = clock_now_us();
	command->phase = PHASE_ALIVE;
	if (command->feed.hurry) {
		command_kill(command);
	} else if (command_is_leaving(command)) {
		command_terminate(command);
	} else {
		feed_set_state(&command->feed, FEED_RUNNING);
		log_info("command runs pid=%d feed=%s channel=%s",
		    (int)command->process->pid, command->feed.conf->name,
		    command->feed.conf->channel);
	}
}

void
command_on_spawned(es_future *f, void *arg)
{
	struct command *command = arg;
	es_value value = ES_NOTHING;
	int r;

	es_loop_assert(command_net(command));
	assert(command->phase == PHASE_SPAWN);
	assert(f == command->spawning);
	r = es_future_take(f, &value);
	es_future_unref(f);
	command->spawning = NULL;
	command->phase = PHASE_NONE;
	if (r < 0) {
		if (!command_is_leaving(command)) /* else: cancelled */
			feed_set_error(&command->feed, "cannot be started: %s",
			    strerrordesc_np(-r));
		command_wait(command);
		return;
	}
	command->process = value.p;
	r = command_watch(command);
	if (r < 0)
		command_give_up(command, r);
	else
		command_begin(command);
}
