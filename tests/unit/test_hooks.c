/*
 * What runs around a batch: descriptors' callbacks (L14), the owner's hooks;
 * and the last reference.
 */

#include "tests/unit/loop_rig.h"

#include <sys/eventfd.h>

struct inside {
	es_loop *loop;
	es_watch *watch;
	es_future *f;
	int fd;
	bool in_callback, ran_inside;
};

static void
inside_done(es_future *f, void *arg)
{
	struct inside *in = arg;

	(void)f;
	in->ran_inside = in->in_callback;
	es_loop_stop(in->loop);
}

static void
inside_readable(int fd, unsigned what, void *arg)
{
	struct inside *in = arg;

	(void)fd;
	(void)what;
	in->in_callback = true;
	(void)es_future_set_result(in->f, ES_NOTHING);
	in->in_callback = false;
	es_watch_free(in->watch);
}

static void
inside_watch(void *arg)
{
	struct inside *in = arg;

	assert_int_equal(es_watch_new(in->loop, "inside", in->fd, ES_READ,
			     inside_readable, in, &in->watch),
	    0);
}

static void
L14_F3_nothing_runs_inside_a_descriptors_callback(void **state)
{
	struct inside in = { .loop = rig_loop() };

	(void)state;
	in.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	in.f = es_future_new(in.loop);
	in.ran_inside = true;
	assert_int_equal(
	    es_future_add_done_callback(in.f, NULL, inside_done, &in, NULL), 0);
	rig_soon(in.loop, inside_watch, &in);
	assert_int_equal(es_loop_run(in.loop), 0);
	assert_false(in.ran_inside);
	es_future_unref(in.f);
	rig_end(in.loop);
	close(in.fd);
}

struct hooks {
	es_loop *loop;
	es_usec shorten, asked;
	int before, after;
};

static void
hook_before(es_usec *wait, void *arg)
{
	struct hooks *h = arg;

	h->before++;
	h->asked = *wait;
	if (h->shorten < *wait)
		*wait = h->shorten;
}

static void
hook_after(void *arg)
{
	struct hooks *h = arg;

	if (++h->after == 5)
		es_loop_stop(h->loop);
}

static void
hooks_run_in_every_iteration_and_may_shorten_the_wait(void **state)
{
	struct hooks h = { .loop = rig_loop() };
	es_usec began = clock_now_us();

	(void)state;
	assert_int_equal(
	    es_loop_set_hooks(h.loop, hook_before, hook_after, &h), 0);
	/* Nothing is queued, batches are empty, and 0 means: do not block. */
	assert_int_equal(es_loop_run(h.loop), 0);
	assert_int_equal(h.before, 5);
	assert_int_equal(h.after, 5);
	assert_true(h.asked > ES_S(3600));
	h.shorten = ES_MS(5);
	h.after = 4;
	assert_int_equal(es_loop_run(h.loop), 0);
	assert_int_equal(h.after, 5);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	assert_true(clock_now_us() - began >= ES_MS(5));
	rig_end(h.loop);
}

static void
hook_submit(es_usec *wait, void *arg)
{
	struct hooks *h = arg;

	(void)wait;
	if (h->before++ == 0)
		rig_soon(h->loop, rig_stop, h->loop);
}

static void
what_before_poll_submits_is_not_waited_for(void **state)
{
	struct hooks h = { .loop = rig_loop() };
	es_usec began = clock_now_us();

	(void)state;
	assert_int_equal(es_loop_set_hooks(h.loop, hook_submit, NULL, &h), 0);
	assert_int_equal(es_loop_run(h.loop), 0);
	assert_true(clock_now_us() - began < RIG_PATIENCE);
	assert_int_equal(h.before, 1);
	rig_end(h.loop);
}

static void
the_last_reference_closes_an_idle_loop(void **state)
{
	unsigned fds = rig_count_fds();
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	assert_int_equal(es_call_soon(loop, "never", rig_note, RIG_LETTER('f'),
			     rig_note, NULL),
	    0);
	(void)es_loop_ref(loop);
	es_loop_unref(loop);
	rig_expect("");
	es_loop_unref(loop);
	assert_int_equal(rig_count_fds(), fds);
	rig_expect("f");
}

static void
unref_here(void *arg)
{
	es_loop_unref(arg);
	rig_note_char('u');
}

static void
the_last_reference_may_go_while_it_runs(void **state)
{
	unsigned fds = rig_count_fds();
	es_loop *loop = rig_loop();

	(void)state;
	rig_forget();
	rig_soon(loop, unref_here, loop);
	rig_soon(loop, rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	rig_expect("u");
	assert_int_equal(rig_count_fds(), fds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    L14_F3_nothing_runs_inside_a_descriptors_callback),
		cmocka_unit_test(
		    hooks_run_in_every_iteration_and_may_shorten_the_wait),
		cmocka_unit_test(what_before_poll_submits_is_not_waited_for),
		cmocka_unit_test(the_last_reference_closes_an_idle_loop),
		cmocka_unit_test(the_last_reference_may_go_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
