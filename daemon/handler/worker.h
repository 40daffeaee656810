#ifndef DAEMON_HANDLER_WORKER_H
#define DAEMON_HANDLER_WORKER_H

/*
 * worker: one place for a process of an exec handler, and its two sides:
 * worker.c keeps a process in it, exec.c speaks with it.
 *
 * Life     init -> start -> (up -> over)* -> stop -> stopped -> fini.
 * Order    What is put into `in` is written in that order; lines of stdout
 *          are told in order, and all of them before the process' end is.
 * Threads  The net loop.
 */

#include "daemon/base/backoff.h"
#include "daemon/base/limiter.h"
#include "daemon/child/ending.h"
#include "daemon/child/spawn.h"
#include "daemon/handler/exec.h"
#include "proto/lines.h"

#define WORKER_ERROR_BYTES_MAX 160
#define EXEC_AHEAD_BYTES_MAX (1024 * 1024) /* in `in`, not written yet */

enum worker_state {
	WORKER_DOWN, /* the timer ends the back-off */
	WORKER_SPAWNING,
	WORKER_UP,
	WORKER_ENDING, /* asked to end; the timer asks more firmly */
	WORKER_STOPPED
};

struct worker {
	struct exec *exec;
	unsigned index;
	enum worker_state state;

	es_future *spawning;
	struct process *process;
	struct ending ending;
	es_call *timer;
	int kills; /* how firmly it has been asked to end */
	struct backoff backoff;
	int64_t started_us;
	uint64_t starts;

	int in_fd, out_fd, err_fd; /* -1: closed */
	es_watch *in_watch, *out_watch, *err_watch;
	struct buffer in; /* not written yet */
	uint64_t in_total, in_written; /* of this process */
	struct lines out, err;
	uint64_t out_cut; /* of out's lines; those were told */
	struct limiter err_limiter, bad_limiter;

	/* exec.c */
	struct list ready; /* sessions with an event to give */
	struct list flight; /* sessions whose event is with the process */
	unsigned flying; /* of those */
	uint32_t sessions; /* that are with this place */
	uint64_t seq;
	int64_t progress_us; /* since then the oldest in flight is it */
	es_call *pump, *late;
	bool unsaid; /* something put into `in` is to be written */
	struct hub_publisher publisher;
	int64_t asked_bytes; /* of its publishes that wait for a filter */
};

struct exec {
	struct handler *handler;
	uint64_t random;
	bool stopping, hurried;
	unsigned count;
	struct worker workers[];
};

/* worker.c */
void worker_init(struct worker *worker, struct exec *exec, unsigned index);
void worker_start(struct worker *worker) LOOP_THREAD;
void worker_stop(struct worker *worker) LOOP_THREAD; /* also again: at once */
void worker_fini(struct worker *worker) LOOP_THREAD;
/* Write what `in` holds, as much as goes. */
void worker_write(struct worker *worker) LOOP_THREAD;
/* It has broken the rules, or takes too long: another one comes. */
void worker_kill(struct worker *worker, const char *why) LOOP_THREAD;

/* exec.c: what is in `in` and what is ready goes, once for an iteration. */
void exec_pump_later(struct worker *worker, es_usec delay);

/* command.c */
struct wire_command;
/* text: the line it stands in, for the log. */
void command_run(struct worker *worker, const struct wire_command *command,
    const void *text, size_t len) LOOP_THREAD;
/* To a line that is not run as a command; text: NULL, the error's own. */
void command_reply(
    struct worker *worker, int64_t id, int error, const char *text) LOOP_THREAD;
/* The handler's session of that name; NULL: gone, or another's. */
struct session *command_session(struct worker *worker, es_conn conn);
void command_init(struct worker *worker);
/* The process has gone: nobody waits for replies any more. */
void command_forget(struct worker *worker) LOOP_THREAD;

/* exec.c: what worker.c tells. */
void exec_on_up(struct worker *worker) LOOP_THREAD;
void exec_on_line(struct worker *worker, uint8_t *line, size_t len) LOOP_THREAD;
void exec_on_bad(struct worker *worker, const char *what, const void *line,
    size_t len) LOOP_THREAD;
void exec_on_over(struct worker *worker) LOOP_THREAD;
/* What a command of its process did wrong, to the connection's on_error. */
void exec_tell(
    struct session *session, int error, const char *text) LOOP_THREAD;
/* The session whose event of that number it has; NULL: none. */
struct session *exec_flying(struct worker *worker, uint64_t seq);

#endif
