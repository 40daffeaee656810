/*
 * generate: es_stream_spawn() and es_collect(), made of streams and tasks.
 */

#include <assert.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/stream_internal.h"
#include "daemon/loop/wait.h"

#define COLLECT_SIZE_MIN 16

struct generator {
	es_tx *tx;
	es_stream_fn fn;
	void *arg;
	es_drop drop;
};

/* What the reader is told; a loop that closes cancels, and says so. */
static int
generator_code(int code)
{
	if (code >= 0)
		return 0;
	return code == -ECANCELED && loop_is_closing(loop_here.loop)
		   ? -ESHUTDOWN
		   : code;
}

/*
 * A task's body.  The failure is the reader's; where the reader has gone, a
 * producer that was stopped has ended as it should.
 */
static int
generator_body(void *arg, es_value *ret)
{
	struct generator *g = arg;
	int code = g->fn(g->tx, g->arg);

	(void)ret;
	(void)es_tx_end(g->tx, generator_code(code),
	    loop_here.failure->text[0] ? loop_here.failure->text : NULL);
	memory_free(g);
	return 0;
}

/* It never began. */
static void
generator_drop(void *arg)
{
	struct generator *g = arg;

	(void)es_tx_end(g->tx, generator_code(-ECANCELED), NULL);
	if (g->drop)
		g->drop(g->arg);
	memory_free(g);
}

int
es_stream_spawn(es_loop *loop, const char *name, es_stream_fn fn, void *arg,
    es_drop drop, const es_stream_opts *opts, es_rx **ret_rx)
{
	struct generator *g;
	es_future *producer;
	es_rx *rx;
	int r;

	assert(loop && fn && ret_rx);
	if (loop_forked(loop))
		return -ECHILD;
	g = memory_alloc(sizeof(*g));
	if (!g)
		return -ENOMEM;
	*g = (struct generator){ .fn = fn, .arg = arg, .drop = drop };
	r = es_stream_new(loop, opts, &g->tx, &rx);
	if (r < 0)
		goto err_free_generator;
	r = es_spawn(loop, name, generator_body, g, generator_drop, &producer);
	if (r < 0)
		goto err_end_stream;
	stream_set_producer(rx, producer);
	*ret_rx = rx;
	return 0;

err_end_stream:
	(void)es_tx_end(g->tx, 0, NULL);
	(void)es_rx_close(rx);
err_free_generator:
	memory_free(g);
	return r;
}

struct collection {
	es_value *values;
	size_t n, size, max;
};

static int
collection_add(struct collection *c, es_value value)
{
	es_value *values;
	size_t size;

	if (c->n == c->max)
		return -EMSGSIZE;
	if (c->n == c->size) {
		size = c->size ? c->size * 2 : COLLECT_SIZE_MIN;
		size = size < c->max ? size : c->max;
		values = memory_realloc(c->values, size * sizeof(*values));
		if (!values)
			return -ENOMEM;
		c->values = values;
		c->size = size;
	}
	c->values[c->n++] = value;
	return 0;
}

/* 0: the end was read; else why not. */
static int
collection_fill(struct collection *c, es_rx *rx, es_usec timeout)
{
	es_usec deadline = wait_deadline(timeout);
	es_value value;
	int r;

	for (;;) {
		es_usec left = deadline == ES_FOREVER
				   ? ES_FOREVER
				   : deadline - clock_now_us();

		r = es_next(rx, left, &value);
		if (r != 1)
			return r;
		r = collection_add(c, value);
		if (r < 0) {
			es_value_drop(&value);
			return r;
		}
	}
}

int
es_collect(es_rx *rx, size_t max, es_usec timeout, es_value **ret_values,
    size_t *ret_n)
{
	struct collection c = { .max = max };
	size_t i;
	int r;

	assert(rx && ret_values && ret_n);
	r = collection_fill(&c, rx, timeout);
	if (r == -ECHILD)
		return r;
	(void)es_rx_close(rx); /* always 0 here */
	if (r < 0) {
		for (i = 0; i < c.n; i++)
			es_value_drop(&c.values[i]);
		memory_free(c.values);
		return r;
	}
	*ret_values = c.values;
	*ret_n = c.n;
	return 0;
}
