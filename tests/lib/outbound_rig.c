/* A loop, a glue and an outbound, made and ended on the loop. */

#include "tests/lib/outbound_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
before_poll(es_usec *wait, void *arg)
{
	struct rig *rig = arg;

	es_loop_assert(rig->loop);
	if (rig->glue != NULL)
		glue_before_poll(rig->glue, wait);
}

static void
after_batch(void *arg)
{
	struct rig *rig = arg;

	es_loop_assert(rig->loop);
	if (rig->glue != NULL)
		glue_after_batch(rig->glue);
}

static void
on_alarm(void *arg)
{
	struct rig *rig = arg;

	rig->late = true;
	es_loop_stop(rig->loop);
}

static void
on_run(void *arg)
{
	struct rig *rig = arg;

	rig->fn(rig->arg);
}

void
rig_run(struct rig *rig, es_fn fn, void *arg)
{
	rig->fn = fn;
	rig->arg = arg;
	assert_int_equal(
	    es_call_soon(rig->loop, "rig.run", on_run, rig, NULL, NULL), 0);
	assert_int_equal(es_call_later(rig->loop, ES_S(RIG_S), "rig.alarm",
			     on_alarm, rig, NULL, &rig->alarm),
	    0);
	assert_int_equal(es_loop_run(rig->loop), 0);
	(void)es_call_cancel(rig->alarm);
	es_call_unref(rig->alarm);
	rig->alarm = NULL;
	assert_false(rig->late);
}

void
rig_done(struct rig *rig)
{
	es_loop_stop(rig->loop);
}

static void
open_on_loop(void *arg)
{
	const struct glue_options options = { .fds_max = 256,
		.heads_max = 16,
		.head_bytes_max = 4096,
		.request_timeout_s = 30,
		.client_only = true };
	char text[OUTBOUND_TEXT_MAX];
	struct rig *rig = arg;

	es_loop_assert(rig->loop);
	assert_int_equal(glue_open(rig->loop, &options, &rig->glue), 0);
	assert_int_equal(
	    outbound_open(rig->glue, rig->options, text, &rig->outbound), 0);
	rig_done(rig);
}

void
rig_open(struct rig *rig, const struct outbound_options *options)
{
	static const struct outbound_options none;

	*rig = (struct rig){ .options = options != NULL ? options : &none };
	assert_int_equal(es_loop_new(&rig->loop, NULL), 0);
	assert_int_equal(
	    es_loop_set_hooks(rig->loop, before_poll, after_batch, rig), 0);
	rig_run(rig, open_on_loop, rig);
}

static void
close_on_loop(void *arg)
{
	struct rig *rig = arg;
	struct glue *glue = rig->glue;

	es_loop_assert(rig->loop);
	outbound_close(rig->outbound);
	rig->glue = NULL;
	glue_close(glue);
	rig_done(rig);
}

void
rig_close(struct rig *rig)
{
	rig_run(rig, close_on_loop, rig);
	assert_int_equal(es_loop_close(rig->loop, 0), 0);
	es_loop_unref(rig->loop);
}
