/*
 * call: functions on a loop, queued or timed, and invoke.
 *
 * A call's state decides between fn and drop: whoever moves it away from
 * WAITING first - the batch that reaches it, or a cancel - has decided.
 * Whatever was decided, drop runs where the item is run or closed, on the
 * loop's side, never on the cancelling thread.
 */

#include <assert.h>
#include <string.h>

#include "daemon/base/memory.h"
#include "daemon/loop/future_internal.h"
#include "daemon/loop/loop_internal.h"

enum call_state { CALL_WAITING, CALL_RUN, CALL_CANCELLED };

struct es_call {
	struct loop_item item;
	struct loop_timer timer;
	es_fn fn;
	void *arg;
	es_drop drop;
	es_loop *loop; /* held if handled */
	_Atomic unsigned refs;
	_Atomic int state;
	bool handled; /* somebody outside has a reference */
};

void
es_call_unref(es_call *call)
{
	if (!call || (call->handled && loop_forked(call->loop)) ||
	    !refs_drop(&call->refs))
		return;
	assert(atomic_load(&call->state) != CALL_WAITING);
	if (call->handled)
		loop_release(call->loop);
	loop_free_object(call, sizeof(*call));
}

/* True: this thread has decided what becomes of the call. */
static bool
call_decide(es_call *call, enum call_state state)
{
	int waiting = CALL_WAITING;

	return atomic_compare_exchange_strong(
	    &call->state, &waiting, (int)state);
}

static void
call_run(struct loop_item *item, bool closing)
{
	es_call *call = LIST_ENTRY(item, es_call, item);

	if (!closing && call_decide(call, CALL_RUN)) {
		call->fn(call->arg);
	} else {
		(void)call_decide(call, CALL_CANCELLED); /* or it was */
		if (call->drop)
			call->drop(call->arg);
	}
	es_call_unref(call);
}

/* handled: the second reference goes to the caller. */
static es_call *
call_new(es_loop *loop, const char *name, es_fn fn, void *arg, es_drop drop,
    bool handled)
{
	es_call *call = memory_alloc(sizeof(*call));

	if (!call)
		return NULL;
	call->item = (struct loop_item){ .name = name, .run = call_run };
	heap_node_init(&call->timer.node);
	call->timer.item = &call->item;
	call->timer.reserved = false;
	call->fn = fn;
	call->arg = arg;
	call->drop = drop;
	call->loop = handled ? loop_hold(loop) : loop;
	refs_are_atomic(&call->refs, sizeof(call->refs));
	refs_are_atomic(&call->state, sizeof(call->state));
	atomic_init(&call->refs, handled ? 2 : 1);
	atomic_init(&call->state, CALL_WAITING);
	call->handled = handled;
	return call;
}

/* It was refused: nothing has happened, arg is the caller's. */
static void
call_free_refused(es_call *call)
{
	if (call->handled)
		loop_release(call->loop);
	memory_free(call);
}

int
es_call_soon(es_loop *loop, const char *name, es_fn fn, void *arg, es_drop drop,
    es_call **ret_call)
{
	es_call *call;
	int r;

	assert(loop && fn);
	if (loop_forked(loop))
		return -ECHILD;
	call = call_new(loop, name, fn, arg, drop, ret_call != NULL);
	if (!call)
		return -ENOMEM;
	if (ret_call)
		*ret_call = call; /* before it can run */
	r = loop_post_outside(loop, &call->item);
	if (r < 0) {
		if (ret_call)
			*ret_call = NULL;
		call_free_refused(call);
	}
	return r;
}

int
es_call_at(es_loop *loop, es_usec when, const char *name, es_fn fn, void *arg,
    es_drop drop, es_call **ret_call)
{
	es_call *call;
	int r;

	assert(loop && fn);
	if (loop_forked(loop))
		return -ECHILD;
	call = call_new(loop, name, fn, arg, drop, ret_call != NULL);
	if (!call)
		return -ENOMEM;
	if (ret_call)
		*ret_call = call; /* before it can run */
	r = loop_post_at(loop, &call->timer, when);
	if (r < 0) {
		if (ret_call)
			*ret_call = NULL;
		call_free_refused(call);
	}
	return r;
}

int
es_call_later(es_loop *loop, es_usec delay, const char *name, es_fn fn,
    void *arg, es_drop drop, es_call **ret_call)
{
	return es_call_at(
	    loop, loop_deadline(delay), name, fn, arg, drop, ret_call);
}

int
es_call_cancel(es_call *call)
{
	bool alone;

	assert(call && call->handled);
	if (loop_forked(call->loop))
		return -ECHILD;
	if (!call_decide(call, CALL_CANCELLED))
		return 0;
	/*
	 * A timer leaves the heap at once.  With nothing to drop, on the
	 * loop's own thread, that was all; else the loop runs the drop.
	 */
	alone = !call->drop && loop_is_here(call->loop);
	if (loop_untime(call->loop, &call->timer, !alone) && alone)
		es_call_unref(call);
	return 1;
}

void
es_call_forget(es_call **call)
{
	if (!*call)
		return;
	(void)es_call_cancel(*call); /* or it has run */
	es_call_unref(*call);
	*call = NULL;
}

/* A fire-and-forget call for reports: drop runs after fn, too. */
struct report_call {
	struct loop_item item;
	es_fn fn;
	es_drop drop;
	void *arg;
};

static void
report_call_run(struct loop_item *item, bool closing)
{
	struct report_call *call = LIST_ENTRY(item, struct report_call, item);

	(void)closing; /* a loop that closes still wants to hear of it */
	call->fn(call->arg);
	call->drop(call->arg);
	memory_free(call);
}

int
loop_call_report(
    es_loop *loop, const char *name, es_fn fn, es_drop drop, void *arg)
{
	struct report_call *call = memory_alloc(sizeof(*call));
	int r;

	if (!call)
		return -ENOMEM;
	*call = (struct report_call){
		.item = { .name = name, .run = report_call_run },
		.fn = fn,
		.drop = drop,
		.arg = arg,
	};
	r = loop_post(loop, &call->item);
	if (r < 0)
		memory_free(call);
	return r;
}

/* A function whose result somebody wants: what the call carries. */
struct invocation {
	es_body_fn fn;
	void *arg;
	es_drop drop;
	es_future *f; /* one reference */
};

static void
invocation_free(struct invocation *inv)
{
	es_future_unref(inv->f);
	memory_free(inv);
}

static void
invocation_run(void *arg)
{
	struct loop_failure failure = { 0 }, *saved = loop_here.failure;
	struct invocation *inv = arg;
	es_value value = ES_NOTHING;
	int r;

	loop_here.failure = &failure;
	r = inv->fn(inv->arg, &value);
	loop_here.failure = saved;
	(void)future_settle_body(inv->f, r, &value, &failure); /* first one */
	invocation_free(inv);
}

/* Cancelled, and its future is settled; or the loop closes. */
static void
invocation_drop(void *arg)
{
	struct invocation *inv = arg;

	(void)future_settle_code(inv->f, -ESHUTDOWN); /* or it is settled */
	if (inv->drop)
		inv->drop(inv->arg);
	invocation_free(inv);
}

static int
invocation_cancel(es_future *f, void *producer)
{
	if (es_call_cancel(producer) == 1)
		return future_settle_code(f, -ECANCELED) == 0;
	return 1; /* it runs; there is nothing to tell it with */
}

static void
invocation_release(void *producer)
{
	es_call_unref(producer);
}

static const struct future_ops invocation_ops = {
	.cancel = invocation_cancel,
	.release = invocation_release,
};

int
es_loop_invoke(es_loop *loop, const char *name, es_body_fn fn, void *arg,
    es_drop drop, es_future **ret_future)
{
	struct invocation *inv;
	es_future *f;
	es_call *call;
	int r = -ENOMEM;

	assert(loop && fn && ret_future);
	if (loop_forked(loop))
		return -ECHILD;
	inv = memory_alloc(sizeof(*inv));
	if (!inv)
		return -ENOMEM;
	call = call_new(loop, name, invocation_run, inv, invocation_drop, true);
	if (!call)
		goto err_free_inv;
	f = future_new(loop, name, &invocation_ops, call);
	if (!f)
		goto err_free_call;
	*inv = (struct invocation){
		.fn = fn, .arg = arg, .drop = drop, .f = es_future_ref(f)
	};
	r = loop_post_outside(loop, &call->item);
	if (r < 0)
		goto err_free_future;
	*ret_future = f;
	return 0;

err_free_future:
	f->ops = NULL; /* the call is freed here, not with the future */
	es_future_unref(f);
	es_future_unref(f);
err_free_call:
	call_free_refused(call);
err_free_inv:
	memory_free(inv);
	return r;
}
