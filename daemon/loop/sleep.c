/*
 * sleep: waits that are for no future: time, the next turn, a descriptor.
 */

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <poll.h>

#include "daemon/base/clock.h"
#include "daemon/loop/wait.h"

/* A wait_ready_fn. */
static bool
sleep_never_ready(void *arg)
{
	(void)arg;
	return false;
}

/* Why a task may not wait now: cancelled, or its shield's time is up. */
static int
sleep_check(const es_task *task)
{
	if (task->shield_count == 0)
		return atomic_load(&task->cancelled) ? -ECANCELED : 0;
	return clock_now_us() >= task_shield_until(task) ? -ETIMEDOUT : 0;
}

int
es_yield(void)
{
	es_task *task = loop_here.task;
	int r;

	if (!task)
		return loop_misuse("es_yield");
	r = sleep_check(task);
	if (r < 0)
		return r;
	task_arm(task, ES_FOREVER);
	task_wake(task);
	task_suspend(task);
	return sleep_check(task);
}

int
es_sleep(es_usec duration)
{
	es_usec deadline = wait_deadline(duration);
	struct wait wait;
	int r;

	if (duration <= 0 && loop_here.task)
		return es_yield();
	r = wait_begin(&wait, NULL, false);
	if (r < 0)
		return r;
	r = wait_pause(&wait, deadline, sleep_never_ready, NULL);
	wait_end(&wait);
	/* Its end is what a sleep is for; a shield's limit is not. */
	return r == -ETIMEDOUT && clock_now_us() >= deadline ? 0 : r;
}

struct fd_wait {
	struct event event;
	es_task *task;
	unsigned ready;
};

static void
fd_on_event(evutil_socket_t fd, short events, void *arg)
{
	struct fd_wait *w = arg;

	(void)fd;
	w->ready |= ((events & EV_READ) ? ES_READ : 0) |
		    ((events & EV_WRITE) ? ES_WRITE : 0);
	task_wake(w->task);
}

/* A wait_ready_fn. */
static bool
fd_is_ready(void *arg)
{
	return ((struct fd_wait *)arg)->ready != 0;
}

static int
fd_wait_add(struct fd_wait *w, int fd, unsigned what)
{
	short events = (short)(((what & ES_READ) ? EV_READ : 0) |
			       ((what & ES_WRITE) ? EV_WRITE : 0));

	es_loop_assert(w->task->loop);
	event_assign(
	    &w->event, w->task->loop->base, fd, events, fd_on_event, w);
	errno = 0;
	if (event_add(&w->event, NULL) == 0)
		return 0;
	return errno ? -errno : -ENOMEM;
}

static int
fd_wait_run(struct fd_wait *w, es_usec timeout)
{
	struct wait wait;
	int r = wait_begin(&wait, NULL, false);

	assert(r == 0); /* a task, and for no future */
	r = wait_pause(&wait, wait_deadline(timeout), fd_is_ready, w);
	wait_end(&wait);
	return r;
}

/* What it is ready for already. */
static unsigned
fd_look(int fd, unsigned what)
{
	struct pollfd p = { .fd = fd };
	unsigned ready = 0;

	p.events = (short)(((what & ES_READ) ? POLLIN : 0) |
			   ((what & ES_WRITE) ? POLLOUT : 0));
	if (poll(&p, 1, 0) <= 0)
		return 0;
	if (p.revents & (POLLIN | POLLHUP | POLLERR))
		ready |= ES_READ;
	if (p.revents & (POLLOUT | POLLHUP | POLLERR))
		ready |= ES_WRITE;
	return ready & what;
}

int
es_await_fd(int fd, unsigned what, es_usec timeout)
{
	struct fd_wait w = { .task = loop_here.task };
	int r;

	if (!w.task)
		return loop_misuse("es_await_fd");
	if (fd < 0 || what == 0 || (what & ~(ES_READ | ES_WRITE)))
		return -EINVAL;
	w.ready = fd_look(fd, what);
	if (w.ready)
		return (int)w.ready;
	r = fd_wait_add(&w, fd, what);
	if (r < 0)
		return r;
	r = fd_wait_run(&w, timeout);
	(void)event_del(&w.event); /* fails for bad fds only */
	return r == 0 ? (int)w.ready : r;
}
