/*
 * stream: a ring under a lock, and who waits at either end.
 *
 * - Waiters are linked in the stream and woken one at a time; a woken one
 *   looks again, and passes the wake-up on where it leaves something.  A
 *   value is in the ring or with its owner, never in a wake-up, so no cancel
 *   can lose it.
 * - Notices (on_room, on_ready) are made when they are asked for, so that
 *   telling cannot fail.
 * - The values of a stream whose reader leaves are dropped without the lock:
 *   their drops may do anything.
 */

#include <assert.h>
#include <string.h>

#include "daemon/base/memory.h"
#include "daemon/loop/stream_internal.h"
#include "daemon/loop/wait.h"

#define STREAM_RING_MIN 8

struct stream_item {
	es_value value;
	size_t bytes;
};

struct stream_waiter {
	struct list node;
	struct wait wait;
	struct stream *stream;
	size_t bytes; /* a sender's */
	struct loop_blocked blocked;
};

/* A call that is queued when something is so. */
struct stream_notice {
	_Atomic unsigned refs; /* the stream's, the loop's */
	struct loop_later later;
	es_loop *loop; /* held */
	es_fn fn;
	void *arg;
	atomic_bool over; /* it has run, or must not run any more */
};

struct stream {
	_Atomic unsigned refs; /* the ends' */
	unsigned generation;
	es_loop *loop; /* held */
	unsigned max_items;
	size_t max_bytes;
	es_future *producer; /* es_stream_spawn()'s task, or NULL */

	/*
	 * Covers the rest.  Free: items of ring are in use from head on;
	 * where there is room, or the reader has gone, no sender waits that
	 * was not woken; likewise the reader.
	 */
	pthread_mutex_t lock;
	struct stream_item *ring;
	unsigned size, head, items;
	size_t bytes;
	struct list senders, readers;
	struct stream_notice *on_room, *on_ready;
	bool tx_gone, rx_gone;
	int code;
	char *message;
};

/* The ends are the stream, by other names. */
struct es_tx {
	struct stream stream;
};
struct es_rx {
	struct stream stream;
};

static struct stream *
stream_of_tx(es_tx *tx)
{
	assert(tx);
	return &tx->stream;
}

static struct stream *
stream_of_rx(es_rx *rx)
{
	assert(rx);
	return &rx->stream;
}

static void
stream_unref(struct stream *s)
{
	if (!refs_drop(&s->refs))
		return;
	assert(s->tx_gone && s->rx_gone && s->items == 0);
	assert(list_empty(&s->senders) && list_empty(&s->readers));
	es_future_unref(s->producer);
	loop_release(s->loop);
	memory_free(s->ring);
	memory_free(s->message);
	(void)pthread_mutex_destroy(&s->lock); /* nobody holds it */
	loop_free_object(s, sizeof(*s));
}

static bool
stream_forked(const struct stream *s)
{
	return s->generation != loop_generation;
}

/* The lock is held. */
static bool
stream_has_room(const struct stream *s, size_t bytes)
{
	if (s->items == 0)
		return true; /* one of any size passes */
	return s->items < s->max_items && bytes <= s->max_bytes &&
	       s->bytes <= s->max_bytes - bytes;
}

/* The lock is held. */
static bool
stream_can_send(const struct stream *s, size_t bytes)
{
	return s->rx_gone || stream_has_room(s, bytes);
}

/* The lock is held. */
static bool
stream_can_read(const struct stream *s)
{
	return s->items > 0 || s->tx_gone;
}

static void
notice_unref(struct stream_notice *notice)
{
	if (!refs_drop(&notice->refs))
		return;
	loop_release(notice->loop);
	memory_free(notice);
}

static void
notice_run(struct loop_item *item, bool closing)
{
	struct stream_notice *notice =
	    LIST_ENTRY(item, struct stream_notice, later.item);

	if (!atomic_exchange(&notice->over, true) && !closing)
		notice->fn(notice->arg);
	notice_unref(notice);
}

/* The stream does not want it any more. */
static void
notice_forget(struct stream_notice *notice)
{
	if (!notice)
		return;
	atomic_store(&notice->over, true);
	(void)loop_post_later(notice->loop, &notice->later); /* to be freed */
	notice_unref(notice);
}

static void
notice_tell(struct stream_notice *notice)
{
	if (notice)
		(void)loop_post_later(notice->loop, &notice->later); /* once */
}

/* The lock is held.  *slot becomes the notice. */
static int
notice_ask(struct stream_notice **slot, es_loop *where, es_fn fn, void *arg)
{
	struct stream_notice *notice;
	int r;

	if (*slot && !atomic_load(&(*slot)->over))
		return -EALREADY;
	notice = memory_zalloc(sizeof(*notice));
	if (!notice)
		return -ENOMEM;
	refs_are_atomic(&notice->refs, sizeof(notice->refs));
	refs_are_atomic(&notice->over, sizeof(notice->over));
	notice->refs = 2;
	notice->later.item.name = "stream";
	notice->later.item.run = notice_run;
	list_init(&notice->later.node);
	notice->fn = fn;
	notice->arg = arg;
	r = loop_add_later(where, &notice->later);
	if (r < 0) {
		memory_free(notice);
		return r;
	}
	notice->loop = loop_hold(where);
	notice_forget(*slot);
	*slot = notice;
	return 0;
}

/* The lock is held.  The first sender that waits, if it could go on. */
static void
stream_wake_sender(struct stream *s)
{
	struct list *node = list_first(&s->senders);

	if (node) {
		struct stream_waiter *waiter =
		    LIST_ENTRY(node, struct stream_waiter, node);

		if (stream_can_send(s, waiter->bytes))
			wait_wake(&waiter->wait);
	}
	if (stream_can_send(s, 1))
		notice_tell(s->on_room);
}

/* The lock is held. */
static void
stream_wake_reader(struct stream *s)
{
	struct list *node = list_first(&s->readers);

	if (!stream_can_read(s))
		return;
	if (node)
		wait_wake(&LIST_ENTRY(node, struct stream_waiter, node)->wait);
	notice_tell(s->on_ready);
}

/* The lock is held. */
static int
stream_grow(struct stream *s)
{
	unsigned size = s->size ? s->size * 2 : STREAM_RING_MIN, i;
	struct stream_item *ring = memory_alloc(size * sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	for (i = 0; i < s->items; i++)
		ring[i] = s->ring[(s->head + i) % s->size];
	memory_free(s->ring);
	s->ring = ring;
	s->size = size;
	s->head = 0;
	return 0;
}

/* -EAGAIN: no room. */
static int
stream_put(struct stream *s, es_value value, size_t bytes)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (s->rx_gone)
		r = -EPIPE;
	else if (!stream_has_room(s, bytes))
		r = -EAGAIN;
	else if (s->items == s->size)
		r = stream_grow(s);
	if (r == 0) {
		s->ring[(s->head + s->items) % s->size] =
		    (struct stream_item){ value, bytes };
		s->items++;
		s->bytes += bytes;
		stream_wake_reader(s);
		stream_wake_sender(s); /* there may be room for more */
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* 1: a value; else what es_next() says; -EAGAIN: neither value nor end. */
static int
stream_take(struct stream *s, es_value *ret)
{
	int r = -EAGAIN;

	pthread_mutex_lock(&s->lock);
	if (s->items > 0) {
		struct stream_item *item = &s->ring[s->head];

		*ret = item->value;
		s->bytes -= item->bytes;
		s->head = (s->head + 1) % s->size;
		s->items--;
		stream_wake_sender(s);
		stream_wake_reader(s); /* there may be more */
		r = 1;
	} else if (s->tx_gone) {
		r = s->code;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* A wait_ready_fn. */
static bool
stream_sender_ready(void *arg)
{
	struct stream_waiter *waiter = arg;
	struct stream *s = waiter->stream;
	bool ready;

	pthread_mutex_lock(&s->lock);
	ready = stream_can_send(s, waiter->bytes);
	pthread_mutex_unlock(&s->lock);
	return ready || atomic_load(&waiter->blocked.closed);
}

/* A wait_ready_fn. */
static bool
stream_reader_ready(void *arg)
{
	struct stream_waiter *waiter = arg;
	struct stream *s = waiter->stream;
	bool ready;

	pthread_mutex_lock(&s->lock);
	ready = stream_can_read(s);
	pthread_mutex_unlock(&s->lock);
	return ready || atomic_load(&waiter->blocked.closed);
}

/* 0: look again.  -ESHUTDOWN: the loop has closed; else as wait_pause(). */
static int
stream_wait(struct stream *s, struct list *where, size_t bytes,
    es_usec deadline, wait_ready_fn ready)
{
	struct stream_waiter waiter = { .stream = s, .bytes = bytes };
	int r = wait_begin(&waiter.wait, NULL, false);

	if (r < 0)
		return r;
	list_init(&waiter.node);
	pthread_mutex_lock(&s->lock);
	list_append(where, &waiter.node);
	pthread_mutex_unlock(&s->lock);
	waiter.blocked.task = waiter.wait.task;
	waiter.blocked.parker = waiter.wait.task ? NULL : &waiter.wait.parker;
	loop_block(s->loop, &waiter.blocked);
	r = wait_pause(&waiter.wait, deadline, ready, &waiter);
	loop_unblock(s->loop, &waiter.blocked);
	pthread_mutex_lock(&s->lock);
	list_remove(&waiter.node);
	/* A wake-up that came too late for us is the next one's. */
	stream_wake_sender(s);
	stream_wake_reader(s);
	pthread_mutex_unlock(&s->lock);
	wait_end(&waiter.wait);
	return r == 0 && atomic_load(&waiter.blocked.closed) ? -ESHUTDOWN : r;
}

int
es_send(es_tx *tx, es_value v, size_t bytes, es_usec timeout)
{
	es_usec deadline = wait_deadline(timeout);
	struct stream *s = stream_of_tx(tx);
	int r, why = 0;

	if (stream_forked(s))
		return -ECHILD;
	for (;;) {
		r = stream_put(s, v, bytes);
		if (r != -EAGAIN || timeout <= 0)
			return r;
		if (why < 0)
			return why;
		why = stream_wait(
		    s, &s->senders, bytes, deadline, stream_sender_ready);
	}
}

int
es_next(es_rx *rx, es_usec timeout, es_value *ret)
{
	es_usec deadline = wait_deadline(timeout);
	struct stream *s = stream_of_rx(rx);
	int r, why = 0;

	assert(ret);
	if (stream_forked(s))
		return -ECHILD;
	if (timeout <= 0)
		why = loop_is_closed(s->loop) ? -ESHUTDOWN : -ETIMEDOUT;
	for (;;) {
		r = stream_take(s, ret);
		if (r != -EAGAIN)
			return r;
		if (why < 0)
			return why;
		why = stream_wait(
		    s, &s->readers, 0, deadline, stream_reader_ready);
	}
}

int
es_tx_on_room(es_tx *tx, es_loop *where, es_fn fn, void *arg)
{
	struct stream *s = stream_of_tx(tx);
	int r;

	assert(where && fn);
	if (stream_forked(s) || loop_forked(where))
		return -ECHILD;
	pthread_mutex_lock(&s->lock);
	r = notice_ask(&s->on_room, where, fn, arg);
	if (r == 0 && stream_can_send(s, 1))
		notice_tell(s->on_room);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int
es_rx_on_ready(es_rx *rx, es_loop *where, es_fn fn, void *arg)
{
	struct stream *s = stream_of_rx(rx);
	int r;

	assert(where && fn);
	if (stream_forked(s) || loop_forked(where))
		return -ECHILD;
	pthread_mutex_lock(&s->lock);
	r = notice_ask(&s->on_ready, where, fn, arg);
	if (r == 0 && stream_can_read(s))
		notice_tell(s->on_ready);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int
es_tx_end(es_tx *tx, int code, const char *message)
{
	struct stream *s;
	struct stream_notice *forgotten;

	if (!tx)
		return 0;
	s = stream_of_tx(tx);
	assert(code <= 0);
	if (stream_forked(s))
		return -ECHILD;
	pthread_mutex_lock(&s->lock);
	assert(!s->tx_gone && list_empty(&s->senders));
	s->tx_gone = true;
	s->code = code;
	if (code < 0 && message) /* without memory: without the words */
		s->message = memory_dup(message, strlen(message) + 1);
	forgotten = s->on_room;
	s->on_room = NULL;
	stream_wake_reader(s);
	pthread_mutex_unlock(&s->lock);
	notice_forget(forgotten);
	stream_unref(s);
	return 0;
}

/* Nobody else reads, and nobody can send any more: no lock. */
static void
stream_drop_items(struct stream *s)
{
	for (; s->items > 0; s->items--) {
		es_value_drop(&s->ring[s->head].value);
		s->head = (s->head + 1) % s->size;
	}
	s->bytes = 0;
}

int
es_rx_close(es_rx *rx)
{
	struct stream *s;
	struct stream_notice *forgotten;

	if (!rx)
		return 0;
	s = stream_of_rx(rx);
	if (stream_forked(s))
		return -ECHILD;
	pthread_mutex_lock(&s->lock);
	assert(!s->rx_gone && list_empty(&s->readers));
	s->rx_gone = true;
	forgotten = s->on_ready;
	s->on_ready = NULL;
	LIST_EACH_SAFE(node, next, &s->senders)
	wait_wake(&LIST_ENTRY(node, struct stream_waiter, node)->wait);
	notice_tell(s->on_room);
	pthread_mutex_unlock(&s->lock);
	notice_forget(forgotten);
	stream_drop_items(s);
	(void)es_future_cancel(s->producer); /* or there is none */
	stream_unref(s);
	return 0;
}

const char *
es_rx_error(const es_rx *rx)
{
	/* Only the lock inside is written. */
	struct stream *s = stream_of_rx((es_rx *)(uintptr_t)rx);
	const char *message;

	if (stream_forked(s))
		return NULL;
	pthread_mutex_lock(&s->lock);
	message = s->tx_gone && s->items == 0 ? s->message : NULL;
	pthread_mutex_unlock(&s->lock);
	return message;
}

/* Both ends are the caller's. */
static struct stream *
stream_make(es_loop *loop, const es_stream_opts *opts)
{
	struct stream *s = memory_zalloc(sizeof(*s));

	if (!s)
		return NULL;
	refs_are_atomic(&s->refs, sizeof(s->refs));
	s->refs = 2;
	s->generation = loop_generation;
	s->loop = loop_hold(loop);
	s->max_items =
	    opts && opts->max_items ? opts->max_items : ES_STREAM_ITEMS_DEFAULT;
	s->max_bytes =
	    opts && opts->max_bytes ? opts->max_bytes : ES_STREAM_BYTES_DEFAULT;
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail */
	list_init(&s->senders);
	list_init(&s->readers);
	return s;
}

int
es_stream_new(
    es_loop *loop, const es_stream_opts *opts, es_tx **ret_tx, es_rx **ret_rx)
{
	struct stream *s;

	assert(loop && ret_tx && ret_rx);
	if (loop_forked(loop))
		return -ECHILD;
	if (loop_is_closed(loop))
		return -ESHUTDOWN;
	s = stream_make(loop, opts);
	if (!s)
		return -ENOMEM;
	*ret_tx = (es_tx *)s;
	*ret_rx = (es_rx *)s;
	return 0;
}

void
stream_set_producer(es_rx *rx, es_future *producer)
{
	assert(!rx->stream.producer && producer);
	rx->stream.producer = producer;
}
