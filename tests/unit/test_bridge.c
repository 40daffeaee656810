/*
 * What plugins call, before their loop has begun and after it has ended: an
 * error at once, and nothing that waits is left waiting.
 */

#include "daemon/handler/change.h"
#include "daemon/handler/outbox.h"
#include "daemon/handler/plugin.h"
#include "tests/lib/told.h"
#include "tests/unit/rig_hub.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "[listener]\nlisten = [::1]:1\n"
			   "[handler]\nplugin = /lib/none.so\npath = /x\n";

struct rig {
	struct conf *conf;
	struct hub *hub;
	struct handlers *handlers;
	struct handler *handler;
	const struct es_host *host;
	es_loop *loop;
	es_loop_thread *thread;
	es_executor *work;
};

static int
set_up(void **state)
{
	static const struct handler_ops ops = { .find = NULL };
	static struct rig rig;

	memset(&rig, 0, sizeof(rig));
	*state = &rig;
	rig.conf = told_nothing(text);
	assert_int_equal(es_loop_new(&rig.loop, NULL), 0);
	assert_int_equal(es_executor_new(&rig.work, NULL), 0);
	assert_int_equal(hub_new(rig.conf, 1, &rig_hub_ops, NULL, &rig.hub), 0);
	assert_int_equal(handlers_new(
			     &(struct handlers_rooms){
				 .conf = rig.conf,
				 .hub = rig.hub,
				 .loop = rig.loop,
				 .work = rig.work,
				 .ops = &ops,
				 .slots = 1,
			     },
			     &rig.handlers),
	    0);
	assert_int_equal(handler_new(rig.handlers, rig.conf,
			     &rig.conf->handlers[0], &rig.handler),
	    0);
	bridge_init(rig.handler);
	rig.host = &rig.handler->host;
	return 0;
}

/* As handlers_start(), but for the plugin. */
static void
begin(struct rig *rig)
{
	outbox_open(rig->handlers->outbox);
	assert_int_equal(es_loop_thread_start(rig->loop, &rig->thread), 0);
}

static void
end(struct rig *rig)
{
	assert_int_equal(es_loop_thread_stop(rig->thread, 0), 0);
	rig->thread = NULL;
}

static int
tear_down(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(
	    es_executor_shutdown(rig->work, ES_EXEC_CANCEL, ES_S(5)), 0);
	handlers_free(rig->handlers);
	hub_free(rig->hub);
	if (es_loop_close(rig->loop, 0) != 0)
		fail_msg("not closed");
	es_loop_unref(rig->loop);
	conf_free(rig->conf);
	return 0;
}

static void
nothing(void *arg)
{
	(void)arg;
}

/* Neither taken nor kept: nobody would ever come back to it. */
static void
refuses_everything(const struct es_host *host)
{
	es_future *f = NULL;

	assert_int_equal(
	    host->publish(host->self, "c", ES_TEXT, "x", 1, NULL), -ESHUTDOWN);
	assert_int_equal(
	    host->publish(host->self, "c", ES_TEXT, "x", 1, &f), -ESHUTDOWN);
	assert_int_equal(
	    host->history(host->self, "c", "oldest", 1, &f), -ESHUTDOWN);
	assert_int_equal(
	    host->run(host->self, 1, nothing, NULL, NULL, &f), -ESHUTDOWN);
	assert_int_equal(
	    host->run(host->self, 0, nothing, NULL, NULL, &f), -ESHUTDOWN);
	assert_null(f);
	assert_int_equal(
	    host->send(host->self, 1, ES_TEXT, "x", 1, &f), -ENOTCONN);
}

static void
nothing_is_taken_before_the_loop_has_begun(void **state)
{
	struct rig *rig = *state;

	refuses_everything(rig->host);
	assert_int_equal(rig->handler->in_flight, 0);
}

static void
nothing_is_taken_when_the_loop_has_ended(void **state)
{
	struct rig *rig = *state;
	es_future *f;

	begin(rig);
	assert_int_equal(
	    rig->host->publish(rig->host->self, "c", ES_TEXT, "x", 1, &f), 0);
	assert_int_equal(rig->host->await(rig->host->self, f, ES_S(10)), 0);
	rig->host->unref(rig->host->self, f);
	end(rig);
	refuses_everything(rig->host);
	assert_int_equal(rig->handler->in_flight, 0);
}

/* Holds the loop until there are requests that it has not come to. */
static void
hold(void *arg)
{
	es_future *go = arg;

	while (!es_future_done(go))
		;
}

static void
what_is_pending_when_the_loop_ends_settles(void **state)
{
	struct rig *rig = *state;
	es_future *go, *published, *past, *later;

	begin(rig);
	go = es_future_new(rig->loop);
	assert_int_equal(
	    es_call_soon(rig->loop, "hold", hold, go, NULL, NULL), 0);
	assert_int_equal(rig->host->run(rig->host->self, INT64_C(60000000),
			     nothing, NULL, NULL, &later),
	    0);
	es_loop_stop(rig->loop); /* after this batch */
	assert_int_equal(rig->host->publish(
			     rig->host->self, "c", ES_TEXT, "x", 1, &published),
	    0);
	assert_int_equal(
	    rig->host->history(rig->host->self, "c", "oldest", 1, &past), 0);
	(void)es_future_set_result(go, ES_NOTHING);
	end(rig);
	/* Run in the last batch or dropped: settled, either way. */
	assert_true(es_future_done(published));
	assert_true(es_future_done(past));
	assert_int_equal(
	    rig->host->await(rig->host->self, later, ES_FOREVER), -ECANCELED);
	assert_int_equal(rig->handler->in_flight, 0);
	rig->host->unref(rig->host->self, published);
	rig->host->unref(rig->host->self, past);
	rig->host->unref(rig->host->self, later);
	es_future_unref(go);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_taken_before_the_loop_has_begun),
		TEST(nothing_is_taken_when_the_loop_has_ended),
		TEST(what_is_pending_when_the_loop_ends_settles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
