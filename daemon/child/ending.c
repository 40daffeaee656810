/*
 * ending: the pidfd of a process becomes readable when it ends, all threads
 * of it.  SIGCHLD is not used: it says neither who nor how many, and it is
 * the whole process's, which libraries and plugins want for themselves.
 *
 * Where there is no pidfd (a sandbox that forbids the call, an old kernel,
 * valgrind) we look ENDING_LOOKS_US apart.  A look that cannot be asked for is
 * not forgotten: fn then hears at once, and finds out that it lives.
 */

#include "daemon/child/ending.h"

#include <assert.h>

#define ENDING_LOOKS_US 20000

static void
ending_tell(struct ending *ending)
{
	void (*fn)(void *arg) = ending->fn;
	void *arg = ending->arg;

	ending_unwatch(ending);
	fn(arg); /* last: may free us */
}

static void
ending_on_readable(int fd, unsigned what, void *arg)
{
	struct ending *ending = arg;

	(void)what;
	es_loop_assert(ending->net);
	assert(fd == ending->process->pidfd);
	ending_tell(ending);
}

static int ending_look_later(struct ending *ending);

static void
ending_on_look(void *arg)
{
	struct ending *ending = arg;

	es_loop_assert(ending->net);
	es_call_unref(ending->look);
	ending->look = NULL;
	if (process_has_ended(ending->process) || ending_look_later(ending) < 0)
		ending_tell(ending);
}

static int
ending_look_later(struct ending *ending)
{
	assert(!ending->look);
	return es_call_later(ending->net, ENDING_LOOKS_US, "command look",
	    ending_on_look, ending, NULL, &ending->look);
}

int
ending_watch(struct ending *ending, es_loop *net, const struct process *process,
    void (*fn)(void *arg), void *arg)
{
	assert(fn);
	assert(!process->reaped);
	*ending = (struct ending){
		.net = net,
		.process = process,
		.fn = fn,
		.arg = arg,
	};
	if (process->pidfd < 0)
		return ending_look_later(ending);
	return es_watch_new(net, "command end", process->pidfd, ES_READ,
	    ending_on_readable, ending, &ending->watch);
}

void
ending_unwatch(struct ending *ending)
{
	es_watch_free(ending->watch);
	ending->watch = NULL;
	es_call_forget(&ending->look);
}
