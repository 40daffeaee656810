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

#include "daemon/feed/command.h"
#include "daemon/base/clock.h"
#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/backoff.h"
#include "daemon/feed/ending.h"
#include "daemon/feed/output.h"
#include "daemon/feed/spawn.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_ERROR_BYTES_MAX 160

/* Between a program's last word and its end there is always some time. */
#define COMMAND_MUTE_US_MIN 1000000

/* After SIGKILL: for what is still in the pipes; for the group to vanish. */
#define COMMAND_DRAIN_US 100000
#define COMMAND_GONE_US_MAX 500000
#define COMMAND_PROBE_US_MIN 1000
#define COMMAND_PROBE_US_MAX 50000

enum command_state {
	COMMAND_STARTING,
	COMMAND_RUNNING,
	COMMAND_BACKOFF,
	COMMAND_STOPPING,
	COMMAND_STOPPED
};

enum command_phase {
	PHASE_NONE, /* no process; the timer ends the back-off */
	PHASE_SPAWN, /* a job is starting one */
	PHASE_ALIVE, /* no timer */
	PHASE_MUTE, /* stdout has ended; the timer sends SIGTERM */
	PHASE_TERMED, /* SIGTERM was sent; the timer sends SIGKILL */
	PHASE_KILLED, /* SIGKILL was sent; the timer closes the pipes */
	PHASE_GONE /* the leader is reaped; the timer looks at the group */
};

struct command {
	const struct conf_command *conf;
	struct command_host *host;

	enum command_state state;
	enum command_phase phase;
	int64_t since_us; /* state */
	bool stop, hurry; /* asked for */

	es_future *spawning;
	es_call *timer;
	struct process *process;
	struct ending ending;
	bool ended; /* the leader has; not reaped yet */
	bool impatient; /* the pipes have had their time */
	int64_t started_us, ran_us, gone_by_us, probe_us;

	struct backoff backoff;
	struct output output;
	uint64_t starts;
	char error[COMMAND_ERROR_BYTES_MAX]; /* the last; "" */
};

static const char *const command_states[] = {
	[COMMAND_STARTING] = "starting",
	[COMMAND_RUNNING] = "running",
	[COMMAND_BACKOFF] = "backoff",
	[COMMAND_STOPPING] = "stopping",
	[COMMAND_STOPPED] = "stopped",
};

static void command_on_timer(void *arg);
static void command_on_spawned(es_future *f, void *arg);

static void
command_set_state(struct command *command, enum command_state state)
{
	command->state = state;
	command->since_us = clock_now_us();
}

static void command_set_error(struct command *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
command_set_error(struct command *command, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(command->error, sizeof(command->error), fmt,
	    ap); /* cut where it is too long */
	va_end(ap);
}

/* false: no memory, there will be no timer. */
static bool
command_arm(struct command *command, int64_t delay_us)
{
	assert(!command->timer);
	return es_call_later(command->host->net, delay_us, "command timer",
		   command_on_timer, command, NULL, &command->timer) == 0;
}

static void
command_disarm(struct command *command)
{
	if (!command->timer)
		return;
	(void)es_call_cancel(command->timer); /* on its own thread: always */
	es_call_unref(command->timer);
	command->timer = NULL;
}

static void
command_set_stopped(struct command *command)
{
	assert(command->phase == PHASE_NONE);
	assert(!command->timer);
	command_set_state(command, COMMAND_STOPPED);
	log_info("command has stopped feed=%s channel=%s", command->conf->name,
	    command->conf->channel);
	command->host->stopped(command->host->arg); /* last: may free us */
}

/* What was tried has failed or ended; error says how. */
static void
command_wait(struct command *command)
{
	struct command_host *host = command->host;
	int64_t delay_us;

	assert(command->phase == PHASE_NONE);
	if (command->stop) {
		command_set_stopped(command);
		return;
	}
	host->random = host->random * UINT64_C(6364136223846793005) +
		       UINT64_C(1442695040888963407);
	delay_us = backoff_next(&command->backoff, host->random >> 16);
	command_set_state(command, COMMAND_BACKOFF);
	log_event(LOG_LEVEL_WARN,
	    &(struct log_about){ .event = EVENT_FEED_DOWN,
		.feed = command->conf->name,
		.channel = command->conf->channel },
	    "command %s; again in %" PRId64 " ms", command->error,
	    delay_us / 1000);
	if (command_arm(command, delay_us))
		return;
	log_error("command stays stopped: no memory feed=%s channel=%s",
	    command->conf->name, command->conf->channel);
	command_set_stopped(command);
}

static int
command_submit(struct command *command)
{
	struct command_host *host = command->host;
	struct spawn_request *request;
	es_future *f;
	int r;

	r = spawn_request_new(&command->conf->exec, &request);
	if (r < 0)
		return r;
	/* One key: programs on a dead disk take one worker of `sys`, not all */
	r = es_executor_submit(host->sys, (uint64_t)(uintptr_t)host,
	    "start command", spawn_job, request, spawn_request_free, host->net,
	    &f);
	if (r < 0) {
		spawn_request_free(request);
		return r;
	}
	r = es_future_add_done_callback(
	    f, host->net, command_on_spawned, command, NULL);
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
	assert(!command->stop);
	command->starts++;
	command_set_state(command, COMMAND_STARTING);
	log_debug("command starts feed=%s channel=%s", command->conf->name,
	    command->conf->channel);
	r = command_submit(command);
	if (r == 0) {
		command->phase = PHASE_SPAWN;
		return;
	}
	command_set_error(
	    command, "cannot be started: %s", strerrordesc_np(-r));
	command_wait(command);
}

/* Nothing of the process is left, or nothing that we could wait for. */
static void
command_gone(struct command *command)
{
	memory_free(command->process);
	command->process = NULL;
	command->phase = PHASE_NONE;
	backoff_ran(&command->backoff, command->ran_us);
	command_wait(command);
}

/* After the last SIGKILL, which needs a moment to reach them all. */
static void
command_probe(struct command *command)
{
	struct process *process = command->process;
	char how[COMMAND_ERROR_BYTES_MAX];
	bool left;

	assert(command->phase == PHASE_GONE);
	left = !process->reaped &&
	       process_reap(process, how, sizeof(how)) == -EAGAIN;
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
		    command->conf->name, command->conf->channel);
		command_gone(command);
		return;
	}
	command->probe_us *= 2;
	if (command->probe_us > COMMAND_PROBE_US_MAX)
		command->probe_us = COMMAND_PROBE_US_MAX;
}

static void
command_await_gone(struct command *command)
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
command_finish(struct command *command)
{
	struct process *process = command->process;

	command_disarm(command);
	process_signal(process, SIGKILL);
	output_close(&command->output);
	(void)process_reap(process, command->error, sizeof(command->error));
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
command_enter(
    struct command *command, enum command_phase phase, int64_t delay_us)
{
	command_disarm(command);
	command->phase = phase;
	if (!command_arm(command, delay_us))
		command_on_timer(command);
}

static void
command_terminate(struct command *command)
{
	process_signal(command->process, SIGTERM);
	command_enter(command, PHASE_TERMED, command->conf->stop_timeout_us);
}

static void
command_kill(struct command *command)
{
	process_signal(command->process, SIGKILL);
	command_enter(command, PHASE_KILLED, COMMAND_DRAIN_US);
}

static void
command_on_timer(void *arg)
{
	struct command *command = arg;

	es_loop_assert(command->host->net);
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
		    command->conf->name, command->conf->channel);
		command_set_state(command, COMMAND_STOPPING);
		command_terminate(command);
		break;
	case PHASE_TERMED:
		log_warn("command does not end within its stop_timeout: killed"
			 " feed=%s channel=%s",
		    command->conf->name, command->conf->channel);
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

static void
command_on_output_ended(void *arg)
{
	struct command *command = arg;
	int64_t grace_us = command->conf->stop_timeout_us;

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
	return ending_watch(&command->ending, command->host->net, process,
	    command_on_end, command);
}

/* It runs and cannot be watched: out of memory or of descriptors. */
static void
command_give_up(struct command *command, int error)
{
	command_set_error(
	    command, "cannot be watched: %s", strerrordesc_np(-error));
	process_signal(command->process, SIGKILL);
	output_close(&command->output);
	process_release(command->process);
	command->ran_us = 0;
	command_await_gone(command);
}

/* The process is there, watched or not. */
static void
command_begin(struct command *command)
{
	command->ended = command->impatient = false;
	command->started_us = clock_now_us();
	command->phase = PHASE_ALIVE;
	if (command->hurry) {
		command_kill(command);
	} else if (command->stop) {
		command_terminate(command);
	} else {
		command_set_state(command, COMMAND_RUNNING);
		log_info("command runs pid=%d feed=%s channel=%s",
		    (int)command->process->pid, command->conf->name,
		    command->conf->channel);
	}
}

static void
command_on_spawned(es_future *f, void *arg)
{
	struct command *command = arg;
	es_value value = ES_NOTHING;
	int r;

	es_loop_assert(command->host->net);
	assert(command->phase == PHASE_SPAWN);
	assert(f == command->spawning);
	r = es_future_take(f, &value);
	es_future_unref(f);
	command->spawning = NULL;
	command->phase = PHASE_NONE;
	if (r < 0) {
		if (!command->stop) /* else it was cancelled */
			command_set_error(command, "cannot be started: %s",
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

int
command_new(const struct conf_command *conf, struct command_host *host,
    struct command **ret_command)
{
	struct command *command = memory_zalloc(sizeof(*command));

	if (!command)
		return -ENOMEM;
	command->conf = conf;
	command->host = host;
	command->state = COMMAND_STOPPED;
	command->since_us = clock_now_us();
	backoff_init(
	    &command->backoff, conf->backoff_min_us, conf->backoff_max_us);
	output_init(&command->output, conf, host->limits, host->hub, host->net);
	command->output.ended = command_on_output_ended;
	command->output.arg = command;
	*ret_command = command;
	return 0;
}

void
command_stop(struct command *command)
{
	assert(!command->stop);
	command->stop = true;
	if (command->state == COMMAND_STOPPED)
		return;
	if (command->phase == PHASE_NONE) {
		command_disarm(command);
		command_set_stopped(command);
		return;
	}
	command_set_state(command, COMMAND_STOPPING);
	log_info("command is asked to stop feed=%s channel=%s",
	    command->conf->name, command->conf->channel);
	if (command->phase == PHASE_SPAWN)
		(void)es_future_cancel(command->spawning); /* or it is here */
	else if (command->phase == PHASE_ALIVE || command->phase == PHASE_MUTE)
		command_terminate(command);
}

void
command_hurry(struct command *command)
{
	assert(command->stop);
	command->hurry = true;
	if (command->phase == PHASE_TERMED)
		command_kill(command);
}

bool
command_is_stopped(const struct command *command)
{
	return command->state == COMMAND_STOPPED;
}

void
command_free(struct command *command)
{
	if (!command)
		return;
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
	memory_free(command);
}

void
command_get_stats(const struct command *command, struct feed_stats *ret)
{
	const struct output *output = &command->output;

	*ret = (struct feed_stats){
		.name = command->conf->name,
		.kind = "command",
		.channel = command->conf->channel,
		.state = command_states[command->state],
		.since_us = command->since_us,
		.messages = output->messages,
		.bytes = output->bytes,
		.restarts = command->starts > 0 ? command->starts - 1 : 0,
		.lines_cut = output->out.lines.cut,
		.bytes_cut = output->out.lines.dropped_bytes,
		.lines_refused = output->refused + output->out.lines.lost,
		.stderr_lines = output->stderr_lines,
		.stderr_dropped = output->err_limiter.held_ever,
		.last_error = output_refusal(output),
	};
	if (!ret->last_error && command->error[0])
		ret->last_error = command->error;
}
