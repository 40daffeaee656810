#ifndef DAEMON_FEED_COMMAND_H
#define DAEMON_FEED_COMMAND_H

/*
 * command: a program whose stdout's lines are messages, kept running.
 *
 * Life     new -> start -> (stats)* -> stop -> host.stopped() -> free.
 *          hurry after stop; free at any time.
 * Threads  LOOP_THREAD of host.net.
 */

#include "daemon/feed/feed.h"

/* What all commands share; lives longer than they do. */
struct command_host {
	struct hub *hub;
	es_loop *net;
	es_executor *sys;
	const struct conf_limits *limits;
	uint64_t random; /* state of the generator behind the back-off */
	void (*stopped)(void *arg); /* a command has become stopped */
	void *arg;
};

struct command;

/* conf and host are borrowed.  -ENOMEM. */
int command_new(const struct conf_command *conf, struct command_host *host,
    struct command **ret_command) LOOP_THREAD;
void command_start(struct command *command) LOOP_THREAD;

/* host->stopped() when nothing of it is left, perhaps before this returns. */
void command_stop(struct command *command) LOOP_THREAD;
void command_hurry(struct command *command) LOOP_THREAD;
bool command_is_stopped(const struct command *command) LOOP_THREAD;

/* Kills what is left and waits for nothing.  NULL: no-op. */
void command_free(struct command *command) LOOP_THREAD;

void command_get_stats(
    const struct command *command, struct feed_stats *ret) LOOP_THREAD;

#endif
