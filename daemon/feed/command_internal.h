#ifndef DAEMON_FEED_COMMAND_INTERNAL_H
#define DAEMON_FEED_COMMAND_INTERNAL_H

/*
 * command_internal: what command.c (the supervisor) and command_feed.c (what
 * the set of feeds asks of it) share.
 *
 * Threads  LOOP_THREAD of the net loop.
 */

#include "daemon/child/ending.h"
#include "daemon/child/spawn.h"
#include "daemon/feed/feed_internal.h"
#include "daemon/feed/output.h"

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
	struct feed feed;
	const struct conf_command *conf;
	enum command_phase phase;
	bool unwanted; /* start = demand, and nobody listens */
	bool left; /* the process is ending because nobody listened */

	es_future *spawning;
	es_call *timer;
	struct process *process;
	struct ending ending;
	bool ended; /* the leader has; not reaped yet */
	bool failed; /* so the last one did */
	bool impatient; /* the pipes have had their time */
	int64_t started_us, ran_us, gone_by_us, probe_us;
	struct output output;
};

static inline es_loop *
command_net(const struct command *command)
{
	return command->feed.host->options.net;
}

/* The next process, if it may; else the back-off. */
void command_start(struct command *command) LOOP_THREAD;
void command_on_spawned(es_future *f, void *arg);
void command_on_output_ended(void *arg);

/* Nobody listens: until somebody does. */
void command_rest(struct command *command) LOOP_THREAD;
void command_terminate(struct command *command) LOOP_THREAD;
void command_kill(struct command *command) LOOP_THREAD;
void command_disarm(struct command *command) LOOP_THREAD;

/* No process, no timer: FEED_STOPPED or FEED_FINISHED. */
void command_set_ended(
    struct command *command, enum feed_state state) LOOP_THREAD;

#endif
