#ifndef DAEMON_FEED_COMMAND_INTERNAL_H
#define DAEMON_FEED_COMMAND_INTERNAL_H

/*
 * command_internal: what command.c (the task that supervises) and
 * command_feed.c (what the set of feeds asks of it) share.
 *
 * Threads  LOOP_THREAD of the net loop.
 */

#include "daemon/child/ending.h"
#include "daemon/child/spawn.h"
#include "daemon/feed/feed_internal.h"
#include "daemon/feed/output.h"

struct command {
	struct feed feed;
	const struct conf_command *conf;
	es_future *task; /* NULL: not begun, or over */
	es_call *again; /* begins it, where there was no memory */
	es_future *news; /* what the task waits for; NULL: it does not */
	bool orphan; /* freed but for the task, which ends at once */

	bool unwanted; /* start = demand, and nobody listens */
	bool left; /* nobody listened: to end, and no back-off after it */

	es_future *spawning; /* the task's, while a job starts one */
	struct process *process;
	struct ending ending;
	struct output output;
	bool ended; /* the leader has; not reaped yet */
	bool failed; /* so the last one did */
	int64_t started_us, ran_us;
};

static inline es_loop *
command_net(const struct command *command)
{
	return command->feed.host->options.net;
}

/* An es_body_fn: the task. */
int command_supervise(void *command, es_value *ret);

/* The task has something to look at. */
void command_tell(struct command *command) LOOP_THREAD;

/* One of the pipes has. */
void command_on_output_ended(void *command);

/* No process, and no task any more: FEED_STOPPED or FEED_FINISHED. */
void command_set_ended(
    struct command *command, enum feed_state state) LOOP_THREAD;

#endif
