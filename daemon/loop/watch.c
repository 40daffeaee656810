/*
 * watch: a descriptor on libevent, its callback timed and named as a call.
 */

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon/base/memory.h"
#include "daemon/loop/loop_internal.h"

struct es_watch {
	struct event event;
	struct list in_loop;
	es_loop *loop; /* NULL: it has closed */
	const char *name;
	int fd;
	unsigned what;
	es_watch_fn fn;
	void *arg;
};

static void
watch_on_event(evutil_socket_t fd, short events, void *arg)
{
	es_watch *watch = arg;
	es_loop *loop = watch->loop;
	unsigned what = ((events & EV_READ) ? ES_READ : 0) |
			((events & EV_WRITE) ? ES_WRITE : 0);

	es_loop_enter(loop, watch->name);
	watch->fn(fd, what, watch->arg); /* may free the watch */
	es_loop_leave(loop);
}

static int
watch_arm(es_watch *watch, unsigned what) LOOP_THREAD
{
	short events = (short)(EV_PERSIST | ((what & ES_READ) ? EV_READ : 0) |
			       ((what & ES_WRITE) ? EV_WRITE : 0));

	watch->what = what;
	if (what == 0)
		return 0;
	event_assign(&watch->event, watch->loop->base, watch->fd, events,
	    watch_on_event, watch);
	errno = 0;
	if (event_add(&watch->event, NULL) < 0)
		return errno ? -errno : -ENOMEM;
	return 0;
}

int
es_watch_new(es_loop *loop, const char *name, int fd, unsigned what,
    es_watch_fn fn, void *arg, es_watch **ret_watch)
{
	es_watch *watch;
	int r;

	assert(loop && fn && ret_watch);
	if (loop_forked(loop))
		return -ECHILD;
	if (atomic_load(&loop->state) == ES_LOOP_CLOSED)
		return -ESHUTDOWN;
	if (!loop_is_here(loop))
		return loop_misuse("es_watch_new");
	if (fd < 0 || what == 0 || (what & ~(ES_READ | ES_WRITE)))
		return -EINVAL;
	watch = memory_zalloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->loop = loop;
	watch->name = name;
	watch->fd = fd;
	watch->fn = fn;
	watch->arg = arg;
	list_init(&watch->in_loop);
	r = watch_arm(watch, what);
	if (r < 0) {
		memory_free(watch);
		return r;
	}
	list_append(&loop->watches, &watch->in_loop);
	*ret_watch = watch;
	return 0;
}

int
es_watch_set(es_watch *watch, unsigned what)
{
	unsigned before;
	int r;

	assert(watch);
	if (!watch->loop)
		return -ESHUTDOWN;
	if (loop_forked(watch->loop))
		return -ECHILD;
	if (!loop_is_here(watch->loop))
		return loop_misuse("es_watch_set");
	if (what & ~(ES_READ | ES_WRITE))
		return -EINVAL;
	if (what == watch->what)
		return 0;
	before = watch->what;
	if (before)
		(void)event_del(&watch->event); /* fails for bad fds only */
	r = watch_arm(watch, what);
	if (r < 0)
		watch->what = 0;
	return r;
}

/* The watch has left the loop; nothing calls back any more. */
static void
watch_detach(es_watch *watch)
{
	if (watch->what)
		(void)event_del(&watch->event); /* fails for bad fds only */
	watch->what = 0;
	list_remove(&watch->in_loop);
	watch->loop = NULL;
}

void
es_watch_free(es_watch *watch)
{
	if (!watch)
		return;
	if (watch->loop) {
		if (loop_forked(watch->loop))
			return;
		assert(loop_is_here(watch->loop) ||
		       atomic_load(&watch->loop->state) == ES_LOOP_IDLE);
		watch_detach(watch);
	}
	loop_free_object(watch, sizeof(*watch));
}

void
loop_watches_fini(es_loop *loop)
{
	struct list *node;

	while ((node = list_first(&loop->watches)))
		watch_detach(LIST_ENTRY(node, es_watch, in_loop));
	assert(list_empty(&loop->watches));
}
