#ifndef DAEMON_CHILD_SPAWN_H
#define DAEMON_CHILD_SPAWN_H

/*
 * spawn: one program started in a process group of its own.
 *
 * Life      request_new -> spawn_job (or request_free) -> struct process ->
 *           signal*, exited -> reap, then release; or drop at any time.
 * Promise   The program has stdin from /dev/null or from us, stdout and
 *           stderr into two pipes, no other descriptor of ours, every signal
 *           at its default and none blocked, and nothing of what systemd
 *           tells us alone (NOTIFY_SOCKET, LISTEN_*, WATCHDOG_*) in its
 *           environment.
 * Memory    A request is the job's once it runs.  A process is the caller's;
 *           a value nobody takes is dropped, and the program with it.
 * Threads   The job: an executor's.  All else: ANY_THREAD, one at a time.
 */

#include "conf/conf.h"
#include "daemon/loop/es.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct spawn_request;

struct process {
	pid_t pid; /* and its group's number, which it holds until reaped */
	bool reaped;
	int pidfd; /* readable when it has ended; -1: cannot be had here */
	int out_fd, err_fd; /* what it writes; non-blocking; -1: closed */
	int in_fd; /* what it reads, if it was asked for; likewise */
};

/*
 * Copies what it needs of conf.  With a limit on memory or time /bin/sh sets
 * it and becomes the program.  -EINVAL: there is none.  -ENOMEM.
 */
int spawn_request_new(const struct conf_command *conf,
    struct spawn_request **ret_request) ANY_THREAD;
/* Its stdin will be a pipe from us. */
void spawn_request_talk(struct spawn_request *request) ANY_THREAD;
void spawn_request_free(void *request) ANY_THREAD; /* an es_drop */

/*
 * An es_body_fn: starts the program, which waits until the kernel has found
 * and loaded it.  *ret is a struct process of the heap, its drop is
 * process_drop().  The errno of what failed: -ENOENT, -EACCES (the program),
 * -EMFILE, -EAGAIN (the process), -ENOMEM.
 */
int spawn_job(void *request, es_value *ret) MAY_BLOCK;

/*
 * To the whole group, before the leader is reaped: only until then is the
 * group's number certainly its own.
 */
void process_signal(const struct process *process, int signo) ANY_THREAD;

/* The leader has, and can be reaped; or is nobody we know. */
bool process_has_ended(const struct process *process) ANY_THREAD;

/*
 * Takes the leader's status, and says in words how it ended ("ended with
 * status 1").  *ret_failed, unless NULL: other than with status 0.
 * -EAGAIN: it lives.
 */
int process_reap(struct process *process, char *ret_text, size_t size,
    bool *ret_failed) ANY_THREAD;

/*
 * After reaping: is anybody left in the group?  Takes the statuses of those
 * who became our own children.
 */
bool process_group_left(const struct process *process) ANY_THREAD;

/* Closes what is open; the struct itself is the caller's. */
void process_release(struct process *process) ANY_THREAD;

/* Kills the group, waits for nothing, frees it all.  An es_drop. */
void process_drop(void *process) ANY_THREAD;

#endif
