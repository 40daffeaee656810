/*
 * signal: one signalfd per loop, one handler per signal and process.
 *
 * A handler is an item of the loop's queue: read from the signalfd, it is
 * queued, and what waits together is one call.  The table says which loop a
 * signal belongs to; its lock is never held while a handler runs.
 */

#include "daemon/loop/signal.h"

#include <assert.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/loop/loop_internal.h"

#define SIGNAL_NUMBERS 65 /* the kernel's, 1 to 64 */

struct signal_handler {
	struct loop_item item;
	struct signalfd_siginfo info;
	int signo;
	es_signal_fn fn;
	void *arg;
	es_loop *loop; /* held */
	_Atomic unsigned refs; /* the table's, the queue's */
	atomic_bool removed;
};

static struct {
	/* Covers by_number.  Free: each entry has its table reference. */
	pthread_mutex_t lock;
	struct signal_handler *by_number[SIGNAL_NUMBERS];
} signal_table = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool
signal_is_possible(int signo)
{
	return signo > 0 && signo < SIGNAL_NUMBERS && signo != SIGKILL &&
	       signo != SIGSTOP;
}

int
es_signals_block(const int *signos)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;
	int r;

	assert(signos);
	sigemptyset(&set);
	for (; *signos; signos++)
		if (!signal_is_possible(*signos) ||
		    sigaddset(&set, *signos) < 0)
			return -EINVAL;
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r != 0)
		return -r;
	return sigaction(SIGPIPE, &ignore, NULL) < 0 ? -errno : 0;
}

void
es_signals_reset(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;
	int signo;

	for (signo = 1; signo < SIGNAL_NUMBERS; signo++)
		if (signal_is_possible(signo))
			(void)sigaction(signo, &action, NULL); /* libc's own */
	sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL); /* cannot fail */
}

static void
signal_unref(struct signal_handler *handler)
{
	if (!refs_drop(&handler->refs))
		return;
	loop_release(handler->loop);
	memory_free(handler);
}

static void
signal_run(struct loop_item *item, bool closing)
{
	struct signal_handler *handler =
	    LIST_ENTRY(item, struct signal_handler, item);
	struct signalfd_siginfo info = handler->info;

	loop_item_begin(handler->loop, item); /* the next is another call */
	if (!closing && !atomic_load(&handler->removed))
		handler->fn(handler->signo, &info, handler->arg);
	signal_unref(handler);
}

/* On the loop's thread, in the poll. */
static void
signal_deliver(es_loop *loop, const struct signalfd_siginfo *info)
{
	struct signal_handler *handler = NULL;
	bool queued;

	if (info->ssi_signo >= SIGNAL_NUMBERS)
		return;
	pthread_mutex_lock(&signal_table.lock);
	handler = signal_table.by_number[info->ssi_signo];
	if (handler && handler->loop != loop)
		handler = NULL;
	if (handler)
		refs_take(&handler->refs);
	pthread_mutex_unlock(&signal_table.lock);
	if (!handler)
		return;
	/* Only this thread queues it: a look is as good as a lock. */
	queued = handler->item.queued;
	handler->info = *info;
	if (queued || loop_post(loop, &handler->item) < 0)
		signal_unref(handler);
}

static void
signal_on_readable(evutil_socket_t fd, short what, void *arg)
{
	es_loop *loop = arg;
	struct signalfd_siginfo info;

	(void)what;
	es_loop_assert(loop);
	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signal_deliver(loop, &info);
}

/* The table's lock is held.  The loop's signalfd reads what is its own. */
static int
signal_update_fd(es_loop *loop)
{
	sigset_t set;
	int signo;

	sigemptyset(&set);
	for (signo = 1; signo < SIGNAL_NUMBERS; signo++)
		if (signal_table.by_number[signo] &&
		    signal_table.by_number[signo]->loop == loop)
			sigaddset(&set, signo);
	return signalfd(loop->signal_fd, &set, 0) < 0 ? -errno : 0;
}

/* What is read changed: the loop's thread is the one to tell the kernel. */
static void
signal_update_run(struct loop_item *item, bool closing)
{
	es_loop *loop = LIST_ENTRY(item, es_loop, signal_item);

	loop_item_begin(loop, item);
	if (closing)
		return;
	pthread_mutex_lock(&signal_table.lock);
	(void)signal_update_fd(loop); /* worked when the fd was made */
	pthread_mutex_unlock(&signal_table.lock);
}

/*
 * The table's lock is held.  Here, if no other thread can be reading the
 * signalfd; else the loop does it in its next iteration, and what comes
 * until then waits.
 */
static int
signal_update(es_loop *loop)
{
	if (loop_is_here(loop) || es_loop_get_state(loop) == ES_LOOP_IDLE)
		return signal_update_fd(loop);
	return loop_post_again(loop, &loop->signal_item);
}

/* 0, if this thread's mask says that the signal waits for a reader. */
static int
signal_check(int signo)
{
	sigset_t mask;

	if (!signal_is_possible(signo))
		return -EINVAL;
	(void)pthread_sigmask(SIG_BLOCK, NULL, &mask); /* cannot fail */
	return sigismember(&mask, signo) == 1 ? 0 : -EINVAL;
}

static struct signal_handler *
signal_new(es_loop *loop, int signo, es_signal_fn fn, void *arg)
{
	struct signal_handler *handler = memory_zalloc(sizeof(*handler));

	if (!handler)
		return NULL;
	handler->item.name = "signal";
	handler->item.run = signal_run;
	handler->signo = signo;
	handler->fn = fn;
	handler->arg = arg;
	refs_are_atomic(&handler->refs, sizeof(handler->refs));
	refs_are_atomic(&handler->removed, sizeof(handler->removed));
	handler->refs = 1;
	handler->loop = loop_hold(loop);
	return handler;
}

int
es_add_signal_handler(es_loop *loop, int signo, es_signal_fn fn, void *arg)
{
	struct signal_handler *handler;
	int r;

	assert(loop && fn);
	if (loop_forked(loop))
		return -ECHILD;
	r = signal_check(signo);
	if (r < 0)
		return r;
	handler = signal_new(loop, signo, fn, arg);
	if (!handler)
		return -ENOMEM;
	pthread_mutex_lock(&signal_table.lock);
	if (loop->signal_fd < 0) {
		r = -ESHUTDOWN;
	} else if (signal_table.by_number[signo]) {
		r = -EALREADY;
	} else {
		signal_table.by_number[signo] = handler;
		r = signal_update(loop);
		if (r < 0)
			signal_table.by_number[signo] = NULL;
	}
	pthread_mutex_unlock(&signal_table.lock);
	if (r < 0)
		signal_unref(handler);
	return r;
}

int
es_remove_signal_handler(es_loop *loop, int signo)
{
	struct signal_handler *handler = NULL;

	assert(loop);
	if (loop_forked(loop))
		return -ECHILD;
	if (!signal_is_possible(signo))
		return -EINVAL;
	pthread_mutex_lock(&signal_table.lock);
	if (signal_table.by_number[signo] &&
	    signal_table.by_number[signo]->loop == loop) {
		handler = signal_table.by_number[signo];
		signal_table.by_number[signo] = NULL;
		(void)signal_update(loop); /* closed: then it is done */
	}
	pthread_mutex_unlock(&signal_table.lock);
	if (!handler)
		return 0;
	atomic_store(&handler->removed, true);
	signal_unref(handler);
	return 1;
}

/* Nobody else knows the loop, or it is closing: this is its thread. */
static void
signal_owns_loop(const es_loop *loop) PROVES_LOOP
{
	assert(loop);
	(void)loop;
}

int
loop_signals_init(es_loop *loop)
{
	sigset_t none;

	signal_owns_loop(loop);
	loop->signal_item.name = "signals";
	loop->signal_item.run = signal_update_run;
	sigemptyset(&none);
	loop->signal_fd = signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		return -errno;
	loop->signal_event = event_new(loop->base, loop->signal_fd,
	    EV_READ | EV_PERSIST, signal_on_readable, loop);
	if (!loop->signal_event || event_add(loop->signal_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void
loop_signals_fini(es_loop *loop)
{
	int signo, fd;

	signal_owns_loop(loop);
	for (signo = 1; signo < SIGNAL_NUMBERS; signo++)
		if (signal_is_possible(signo))
			(void)es_remove_signal_handler(loop, signo); /* any */
	if (loop->signal_event)
		event_free(loop->signal_event);
	loop->signal_event = NULL;
	pthread_mutex_lock(&signal_table.lock);
	fd = loop->signal_fd;
	loop->signal_fd = -1;
	pthread_mutex_unlock(&signal_table.lock);
	if (fd >= 0)
		(void)close(fd); /* a signalfd has nothing to lose */
}
