#ifndef DAEMON_LOOP_LOOP_INTERNAL_H
#define DAEMON_LOOP_LOOP_INTERNAL_H

/*
 * loop_internal: the loop's layout, for the files of the room.
 *
 * Order     Locks are taken in this order: a future's, a loop's, a parker's.
 *           An executor's lock is taken with none of the others held, and
 *           only a parker's is taken under it.
 */

#include <pthread.h>

#include "daemon/loop/context.h"
#include "daemon/loop/queue.h"

struct event;
struct job;

#define LOOP_MESSAGE_BYTES_MAX 256 /* of a failure, with the NUL */

/* Message of the failure that the running body is about to return. */
struct loop_failure {
	char text[LOOP_MESSAGE_BYTES_MAX];
};

/* What runs on this thread. */
struct loop_here {
	es_loop *loop;
	es_task *task;
	struct job *job;
	struct loop_failure *failure;
};
extern _Thread_local struct loop_here loop_here;

/* Raised in the child by fork(): what is older is not its own. */
extern unsigned loop_generation;
void loop_generation_init(void);

struct es_loop {
	_Atomic unsigned refs; /* the users'; together they hold once */
	_Atomic unsigned holds; /* keep the struct */
	unsigned generation;
	_Atomic int state;

	char name[ES_LOOP_NAME_BYTES_MAX];
	es_usec slow, slow_told; /* limit; when the log last heard of one */
	unsigned slice;
	es_report_fn report;
	void *report_arg;

	/*
	 * Covers the fields to the next blank line.  Free: every accepted
	 * item is in the queue, in the batch that runs, or its timer is in
	 * the heap; once closed, all of them are empty and stay so.
	 */
	pthread_mutex_t lock;
	struct loop_item *head, **tail;
	struct heap timers;
	uint64_t seq;
	bool refuse; /* what comes from outside */
	bool closed; /* everything */
	bool poked; /* the next poll must not wait */
	struct list later; /* done callbacks of pending futures, and such */
	struct list blocked; /* who waits for futures of this home */
	struct list tasks;
	es_usec wake_by; /* a poll waits no longer; ES_FOREVER */

	atomic_bool stop, sleeping;
	_Atomic unsigned in_flight; /* wake-ups that may still use wake_fd */
	atomic_bool dead; /* wake_fd must not be used any more */
	int wake_fd;

	_Atomic uint64_t jobs; /* of executors, with this home */
	es_executor *executor LOOP_OWNED; /* its own, or NULL */
	struct context_cache stacks LOOP_OWNED;

	struct event_base *base LOOP_OWNED;
	struct event *wake_event LOOP_OWNED;
	struct event *tick_event LOOP_OWNED;
	struct event *signal_event LOOP_OWNED;
	enum { LOOP_TICK_NONE, LOOP_TICK_NEAR, LOOP_TICK_FAR } tick LOOP_OWNED;
	int signal_fd;
	struct loop_item signal_item; /* updates what is read from it */
	struct list watches LOOP_OWNED;
	es_before_poll_fn before_poll LOOP_OWNED;
	es_after_batch_fn after_batch LOOP_OWNED;
	void *hook_arg LOOP_OWNED;
	struct loop_item *batch LOOP_OWNED;
	bool polling LOOP_OWNED;
	es_usec turn_start LOOP_OWNED; /* since the last wait; 0: not yet */

	_Atomic uint64_t iterations, calls, wakeups, slow_calls;
	_Atomic uint64_t queued_count, timer_count, task_count;
	_Atomic es_usec longest, longest_iteration;
	_Atomic es_usec busy_since, stuck_told;
	const char *_Atomic busy_with;
};

static inline bool
loop_forked(const es_loop *loop)
{
	return loop->generation != loop_generation;
}

static inline bool
loop_is_here(const es_loop *loop)
{
	return loop_here.loop == loop;
}

/* now + delay, at most ES_FOREVER. */
es_usec loop_deadline(es_usec delay);

/* Keep the struct, not the loop open. */
es_loop *loop_hold(es_loop *loop);
void loop_release(es_loop *loop);

/* loop.c.  claim makes this thread the loop's: 0, -EBUSY, -ESHUTDOWN. */
int loop_claim(es_loop *loop) PROVES_LOOP;
void loop_unclaim(es_loop *loop, es_loop_state state);
void loop_iterate(es_loop *loop) LOOP_THREAD;
typedef void (*loop_started_fn)(void *arg);
int loop_run_told(es_loop *loop, loop_started_fn started, void *arg);
void loop_call_begin(es_loop *loop, const char *name, es_usec now);
es_usec loop_call_end(es_loop *loop, const char *name, es_usec began);

/* close.c */
int loop_close(es_loop *loop, es_usec grace);
void loop_free(es_loop *loop);

/* report.c: misuse is -EPERM; with ES_DEBUG an abort, and frees overwrite. */
int loop_misuse(const char *function);
void loop_free_object(void *p, size_t n);
void loop_report(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took);

/* call.c: fn(arg), then drop(arg), on the loop's thread or at its close. */
int loop_call_report(
    es_loop *loop, const char *name, es_fn fn, es_drop drop, void *arg);

/* signal.c */
int loop_signals_init(es_loop *loop);
void loop_signals_fini(es_loop *loop);

/* watch.c */
void loop_watches_fini(es_loop *loop) LOOP_THREAD;

#endif
