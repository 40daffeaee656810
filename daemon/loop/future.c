/*
 * future: settled once, under its lock; read without it afterwards.
 *
 * - Settling writes code, message and value, then the flag; then it wakes
 *   the waiters, all under the lock, because a waiter lives on the stack of
 *   whoever waits and leaves under the same lock.
 * - A done callback is linked twice: in the future, so that it can be
 *   removed, and in its loop, so that closing the loop finds it.  It ends
 *   where a call ends: run or dropped on its loop's thread, or dropped by
 *   the thread that closes.
 */

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/memory.h"
#include "daemon/loop/future_internal.h"

struct done_callback {
	struct loop_later later;
	struct list in_future;
	es_future *f; /* one reference */
	es_loop *loop; /* held */
	es_done_fn fn;
	void *arg;
	es_drop drop;
	bool removed; /* under the future's lock */
};

struct future_hook {
	struct loop_item item;
	es_future *f; /* one reference, while queued */
	void (*fn)(es_future *f, void *arg);
	void *arg;
};

/* A const future is one its holder does not settle; notes are still taken. */
static es_future *
future_notes(const es_future *f)
{
	return (es_future *)(uintptr_t)f;
}

es_future *
future_new(es_loop *home, const char *name, const struct future_ops *ops,
    void *producer)
{
	es_future *f;

	loop_generation_init();
	if (home && loop_forked(home))
		return NULL;
	f = memory_zalloc(sizeof(*f));
	if (!f)
		return NULL;
	refs_are_atomic(&f->refs, sizeof(f->refs));
	refs_are_atomic(&f->name, sizeof(f->name));
	refs_are_atomic(&f->settled, sizeof(f->settled));
	refs_are_atomic(&f->taken, sizeof(f->taken));
	refs_are_atomic(&f->seen, sizeof(f->seen));
	f->refs = 1;
	f->generation = loop_generation;
	f->name = name;
	f->home = home ? loop_hold(home) : NULL;
	f->ops = ops;
	f->producer = producer;
	(void)pthread_mutex_init(&f->lock, NULL); /* cannot fail */
	list_init(&f->waiters);
	list_init(&f->callbacks);
	return f;
}

es_future *
es_future_new(es_loop *home)
{
	return future_new(home, NULL, NULL, NULL);
}

es_future *
es_future_ref(es_future *f)
{
	assert(f);
	refs_take(&f->refs);
	return f;
}

static void
future_free(es_future *f)
{
	assert(list_empty(&f->waiters) && list_empty(&f->callbacks));
	if (f->settled && !f->taken)
		es_value_drop(&f->value);
	if (f->ops)
		f->ops->release(f->producer);
	if (f->home)
		loop_release(f->home);
	memory_free(f->message);
	memory_free(f->hook);
	(void)pthread_mutex_destroy(&f->lock); /* nobody holds it */
	loop_free_object(f, sizeof(*f));
}

static void
future_report(void *arg)
{
	es_future *f = arg;

	loop_report(f->home, ES_R_ERROR, f->name, f->code, f->message, 0);
}

static void
future_report_done(void *arg)
{
	es_future_unref(arg);
}

/* The report goes to the home's thread, carried by the future itself. */
static void
future_tell_unseen(es_future *f)
{
	atomic_store(&f->seen, true);
	if (f->home && !loop_is_here(f->home)) {
		atomic_store(&f->refs, 1);
		if (loop_call_report(f->home, f->name, future_report,
			future_report_done, f) == 0)
			return;
		atomic_store(&f->refs, 0);
	}
	future_report(f); /* no home, or it is gone: better here than never */
	future_free(f);
}

void
es_future_unref(es_future *f)
{
	if (!f || future_forked(f) || !refs_drop(&f->refs))
		return;
	if (f->settled && f->code < 0 && f->code != -ECANCELED && !f->seen)
		future_tell_unseen(f);
	else
		future_free(f);
}

void
es_future_set_name(es_future *f, const char *name)
{
	assert(f);
	atomic_store(&f->name, name);
}

/* The lock is held. */
static void
future_wake_all(es_future *f)
{
	struct list *node;

	while ((node = list_first(&f->waiters))) {
		struct future_waiter *waiter =
		    LIST_ENTRY(node, struct future_waiter, node);

		list_remove(node);
		waiter->wake(waiter);
	}
	LIST_EACH_SAFE(cb, next, &f->callbacks)
	{
		struct done_callback *done =
		    LIST_ENTRY(cb, struct done_callback, in_future);

		(void)loop_post_later(done->loop, &done->later);
	}
}

/* On success the message is the future's. */
static int
future_settle(es_future *f, int code, es_value value, char *message)
{
	assert(code <= 0);
	pthread_mutex_lock(&f->lock);
	if (future_settled(f)) {
		pthread_mutex_unlock(&f->lock);
		return -EALREADY;
	}
	f->code = code;
	f->value = value;
	f->message = message;
	refs_publish(&f->settled);
	atomic_store_explicit(&f->settled, true, memory_order_release);
	future_wake_all(f);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

int
future_settle_code(es_future *f, int code)
{
	int r = future_settle(f, code, ES_NOTHING, NULL);

	/* That a loop has closed is no failure nobody heard of. */
	if (r == 0 && code == -ESHUTDOWN)
		atomic_store(&f->seen, true);
	return r;
}

int
future_settle_body(
    es_future *f, int code, es_value *value, const struct loop_failure *failure)
{
	char *message = NULL;
	int r;

	if (code >= 0) {
		r = future_settle(f, 0, *value, NULL);
		if (r < 0)
			es_value_drop(value);
		return r;
	}
	es_value_drop(value); /* a failure has none */
	if (failure && failure->text[0])
		message = memory_dup(failure->text, strlen(failure->text) + 1);
	r = future_settle(f, code, ES_NOTHING, message);
	if (r < 0)
		memory_free(message);
	return r;
}

int
es_future_set_result(es_future *f, es_value v)
{
	assert(f);
	if (future_forked(f))
		return -ECHILD;
	if (f->ops)
		return loop_misuse("es_future_set_result");
	return future_settle(f, 0, v, NULL);
}

int
es_future_set_error(es_future *f, int code, const char *fmt, ...)
{
	struct loop_failure failure = { 0 };
	va_list ap;

	assert(f && code < 0);
	if (future_forked(f))
		return -ECHILD;
	if (f->ops)
		return loop_misuse("es_future_set_error");
	if (fmt) {
		va_start(ap, fmt);
		(void)vsnprintf(failure.text, sizeof(failure.text), fmt,
		    ap); /* cut on purpose */
		va_end(ap);
	}
	return future_settle_body(f, code, &ES_NOTHING, &failure);
}

bool
es_future_done(const es_future *f)
{
	assert(f);
	return future_settled(f);
}

int
future_code_seen(es_future *f)
{
	if (!future_settled(f))
		return -EINPROGRESS;
	atomic_store_explicit(&f->seen, true, memory_order_relaxed);
	return f->code;
}

int
es_future_result(const es_future *f, es_value *ret)
{
	int r;

	assert(f);
	if (future_forked(f))
		return -ECHILD;
	r = future_code_seen(future_notes(f));
	if (r == 0 && atomic_load(&f->taken))
		return -EALREADY;
	if (r == 0 && ret) {
		*ret = f->value;
		ret->drop = NULL; /* lent */
	}
	return r;
}

int
es_future_take(es_future *f, es_value *ret)
{
	int r;

	assert(f && ret);
	if (future_forked(f))
		return -ECHILD;
	r = future_code_seen(f);
	if (r < 0)
		return r;
	if (atomic_exchange(&f->taken, true))
		return -EALREADY;
	*ret = f->value;
	return 0;
}

const char *
es_future_error(const es_future *f)
{
	assert(f);
	if (future_forked(f) || !future_settled(f))
		return NULL;
	atomic_store(&future_notes(f)->seen, true);
	return f->message;
}

int
es_future_set_cancel_hook(
    es_future *f, void (*hook)(es_future *f, void *arg), void *arg)
{
	struct future_hook *h;
	int r = 0;

	assert(f && hook);
	if (future_forked(f))
		return -ECHILD;
	if (f->ops)
		return loop_misuse("es_future_set_cancel_hook");
	if (!f->home)
		return -EINVAL;
	h = memory_zalloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->fn = hook;
	h->arg = arg;
	pthread_mutex_lock(&f->lock);
	if (future_settled(f) || f->hook)
		r = -EALREADY;
	else
		f->hook = h;
	pthread_mutex_unlock(&f->lock);
	if (r < 0)
		memory_free(h);
	return r;
}

static void
future_hook_run(struct loop_item *item, bool closing)
{
	struct future_hook *hook = LIST_ENTRY(item, struct future_hook, item);
	es_future *f = hook->f;

	if (closing)
		(void)future_settle_code(f, -ESHUTDOWN); /* or is settled */
	else
		hook->fn(f, hook->arg);
	es_future_unref(f);
}

/* Whether the producer was asked, and has not answered on the spot. */
static bool
future_ask_hook(es_future *f)
{
	struct future_hook *hook = f->hook;

	if (!hook)
		return false;
	hook->item.name = f->name ? f->name : "cancel hook";
	hook->item.run = future_hook_run;
	hook->f = es_future_ref(f);
	if (loop_post(f->home, &hook->item) == 0)
		return true;
	es_future_unref(f);
	return false;
}

int
es_future_cancel(es_future *f)
{
	bool asked;
	int r;

	if (!f)
		return 0;
	if (future_forked(f))
		return -ECHILD;
	pthread_mutex_lock(&f->lock);
	if (future_settled(f)) {
		pthread_mutex_unlock(&f->lock);
		return 0;
	}
	asked = f->asked;
	f->asked = true;
	pthread_mutex_unlock(&f->lock);
	if (asked)
		return 1;
	if (f->ops) {
		r = f->ops->cancel(f, f->producer);
		if (r == 0) /* too late, then as well as now */
			future_forget_asked(f);
		return r;
	}
	if (future_ask_hook(f))
		return 1;
	return future_settle_code(f, -ECANCELED) == 0;
}

void
future_forget_asked(es_future *f)
{
	pthread_mutex_lock(&f->lock);
	f->asked = false;
	pthread_mutex_unlock(&f->lock);
}

static void
done_run(struct loop_item *item, bool closing)
{
	struct done_callback *done =
	    LIST_ENTRY(item, struct done_callback, later.item);
	bool runs;

	pthread_mutex_lock(&done->f->lock);
	runs = !closing && !done->removed;
	list_remove(&done->in_future);
	pthread_mutex_unlock(&done->f->lock);
	if (runs) {
		(void)future_code_seen(done->f); /* the callback looks */
		done->fn(done->f, done->arg);
	} else if (done->drop) {
		done->drop(done->arg);
	}
	es_future_unref(done->f);
	loop_release(done->loop);
	memory_free(done);
}

int
es_future_add_done_callback(
    es_future *f, es_loop *where, es_done_fn fn, void *arg, es_drop drop)
{
	struct done_callback *done;
	es_loop *loop;
	int r;

	assert(f && fn);
	loop = where ? where : f->home;
	if (!loop)
		return -EINVAL;
	if (future_forked(f) || loop_forked(loop))
		return -ECHILD;
	done = memory_zalloc(sizeof(*done));
	if (!done)
		return -ENOMEM;
	done->later.item.name = f->name ? f->name : "done callback";
	done->later.item.run = done_run;
	list_init(&done->later.node);
	list_init(&done->in_future);
	done->fn = fn;
	done->arg = arg;
	done->drop = drop;
	done->loop = loop_hold(loop);
	done->f = es_future_ref(f);
	pthread_mutex_lock(&f->lock);
	r = future_settled(f) ? loop_post_outside(loop, &done->later.item)
			      : loop_add_later(loop, &done->later);
	if (r == 0)
		list_append(&f->callbacks, &done->in_future);
	pthread_mutex_unlock(&f->lock);
	if (r < 0) {
		es_future_unref(f);
		loop_release(loop);
		memory_free(done);
	}
	return r;
}

int
es_future_remove_done_callback(es_future *f, es_done_fn fn, void *arg)
{
	int n = 0;

	assert(f && fn);
	if (future_forked(f))
		return -ECHILD;
	pthread_mutex_lock(&f->lock);
	LIST_EACH_SAFE(cb, next, &f->callbacks)
	{
		struct done_callback *done =
		    LIST_ENTRY(cb, struct done_callback, in_future);

		if (done->fn != fn || done->arg != arg)
			continue;
		done->removed = true;
		list_remove(cb);
		n++;
		/* Queued already, or now: its drop runs on its loop. */
		(void)loop_post_later(done->loop, &done->later);
	}
	pthread_mutex_unlock(&f->lock);
	return n;
}

bool
future_add_waiter(es_future *f, struct future_waiter *waiter,
    void (*wake)(struct future_waiter *waiter))
{
	bool pending;

	pthread_mutex_lock(&f->lock);
	list_init(&waiter->node);
	waiter->wake = wake;
	pending = !future_settled(f);
	if (pending)
		list_append(&f->waiters, &waiter->node);
	pthread_mutex_unlock(&f->lock);
	return pending;
}

bool
future_remove_waiter(es_future *f, struct future_waiter *waiter)
{
	bool was;

	pthread_mutex_lock(&f->lock);
	was = !list_empty(&waiter->node);
	list_remove(&waiter->node);
	pthread_mutex_unlock(&f->lock);
	return was;
}
