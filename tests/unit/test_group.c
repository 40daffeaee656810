/*
 * Gathers and groups: invariants G1 to G7.
 */

#include "tests/unit/task_rig.h"

struct nap {
	es_usec time;
	int code;
	char letter; /* 'h': fails with its code when cancelled, too */
};

static int
task_nap(void *arg, es_value *ret)
{
	struct nap *nap = arg;
	int r = es_sleep(nap->time);

	if (r == 0 || nap->letter == 'h')
		r = nap->code;
	rig_note_char(r == -ECANCELED ? 'c' : nap->letter);
	if (r == 0)
		*ret = ES_INT(nap->letter);
	return r < 0 ? es_fail(r, "nap %c", nap->letter) : 0;
}

static es_future *
gather(es_future **f, size_t n, unsigned flags)
{
	es_future *whole = NULL;

	assert_int_equal(es_gather(loop, f, n, flags, &whole), 0);
	return whole;
}

static const struct es_outcome *
outcomes(es_future *whole)
{
	es_value value = ES_NOTHING;

	assert_int_equal(es_future_result(whole, &value), 0);
	assert_non_null(value.p);
	return value.p;
}

static void
G1_results_are_in_argument_order(void **state)
{
	struct nap naps[3] = { { ES_MS(90), 0, 'a' }, { ES_MS(60), 0, 'b' },
		{ ES_MS(30), 0, 'c' } };
	es_future *f[3], *whole;
	const es_outcome *o;
	es_value value;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		f[i] = spawn(task_nap, &naps[i]);
	whole = gather(f, 3, 0);
	assert_int_equal(es_loop_run_until(loop, whole), 0);
	rig_expect("cba");
	o = outcomes(whole);
	for (i = 0; i < 3; i++) {
		assert_int_equal(o[i].code, 0);
		assert_int_equal(o[i].value.i, 'a' + (int)i);
	}
	assert_int_equal(es_future_take(whole, &value), 0);
	es_value_drop(&value);
	es_future_unref(whole);
}

static void
G1_of_none_is_settled_at_once(void **state)
{
	es_future *whole = gather(NULL, 0, 0);

	(void)state;
	assert_int_equal(es_await(whole, 0), 0);
	assert_int_equal(es_future_cancel(whole), 0);
	es_future_unref(whole);
	assert_int_equal(es_gather(NULL, NULL, 0, 0, &whole), -EINVAL);
	assert_int_equal(es_gather(loop, NULL, 0, 64, &whole), -EINVAL);
}

static void
G2_with_all_failures_are_outcomes(void **state)
{
	struct nap naps[3] = { { ES_MS(1), 0, 'a' }, { 0, -EIO, 'b' },
		{ ES_S(1000), 0, 'c' } };
	es_future *f[3], *whole, *kept;
	const es_outcome *o;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		f[i] = spawn(task_nap, &naps[i]);
	kept = es_future_ref(f[2]);
	whole = gather(f, 3, ES_GATHER_ALL);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(kept), 1); /* G4: an outcome too */
	assert_int_equal(es_loop_run_until(loop, whole), 0);
	o = outcomes(whole);
	assert_int_equal(o[0].code, 0);
	assert_int_equal(o[1].code, -EIO);
	assert_int_equal(o[2].code, -ECANCELED);
	es_future_unref(kept);
	es_future_unref(whole);
}

static void
G3_the_first_failure_cancels_the_others_and_waits(void **state)
{
	struct nap naps[3] = { { ES_S(1000), 0, 'x' }, { ES_MS(2), -EIO, 'f' },
		{ ES_S(1000), 0, 'x' } };
	es_future *f[3], *whole, *kept;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		f[i] = spawn(task_nap, &naps[i]);
	kept = es_future_ref(f[0]);
	whole = gather(f, 3, 0);
	assert_int_equal(es_loop_run_until(loop, whole), -EIO);
	rig_expect("fcc"); /* they have ended before it has */
	assert_string_equal(es_future_error(whole), "nap f");
	assert_int_equal(es_future_result(kept, NULL), -ECANCELED);
	es_future_unref(kept);
	es_future_unref(whole);
}

static void
G4_a_member_cancelled_from_outside_is_a_failure(void **state)
{
	struct nap naps[2] = { { ES_S(1000), 0, 'x' }, { ES_S(1000), 0, 'x' } };
	es_future *f[2], *whole, *kept;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++)
		f[i] = spawn(task_nap, &naps[i]);
	kept = es_future_ref(f[1]);
	whole = gather(f, 2, 0);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(kept), 1);
	assert_int_equal(es_loop_run_until(loop, whole), -ECANCELED);
	rig_expect("cc");
	es_future_unref(kept);
	es_future_unref(whole);
}

static void
G5_cancelling_the_whole_cancels_all(void **state)
{
	unsigned flags;

	(void)state;
	for (flags = 0; flags <= ES_GATHER_ALL; flags++) {
		struct nap naps[2] = { { ES_S(1000), 0, 'x' },
			{ ES_S(1000), 0, 'x' } };
		es_future *f[2], *whole;
		size_t i;

		rig_forget();
		for (i = 0; i < 2; i++)
			f[i] = spawn(task_nap, &naps[i]);
		whole = gather(f, 2, flags);
		rig_turn(loop);
		assert_int_equal(es_future_cancel(whole), 1);
		assert_int_equal(es_loop_run_until(loop, whole),
		    flags == ES_GATHER_ALL ? 0 : -ECANCELED);
		rig_expect("cc");
		assert_int_equal(es_future_cancel(whole), 0);
		es_future_unref(whole);
	}
}

/* They have settled, and the loop has not come round to the whole yet. */
static void
G5_when_all_have_settled_there_is_nothing_to_cancel(void **state)
{
	es_future *f = es_future_new(loop), *kept = es_future_ref(f), *whole;

	(void)state;
	whole = gather(&f, 1, 0);
	assert_int_equal(es_future_set_result(kept, ES_NOTHING), 0);
	assert_false(es_future_done(whole));
	assert_int_equal(es_future_cancel(whole), 0);
	assert_int_equal(es_future_cancel(whole), 0);
	assert_int_equal(es_loop_run_until(loop, whole), 0);
	es_future_unref(kept);
	es_future_unref(whole);
}

static void
G6_the_same_future_twice_gives_two_equal_outcomes(void **state)
{
	struct nap nap = { ES_MS(1), 0, 'a' };
	es_future *f[2], *whole;
	const es_outcome *o;

	(void)state;
	f[0] = spawn(task_nap, &nap);
	f[1] = es_future_ref(f[0]);
	whole = gather(f, 2, 0);
	assert_int_equal(es_loop_run_until(loop, whole), 0);
	o = outcomes(whole);
	assert_int_equal(o[0].value.i, 'a');
	assert_int_equal(o[1].value.i, 'a');
	es_future_unref(whole);
}

static void
settled_members_and_foreign_ones_count_too(void **state)
{
	es_loop *other = rig_loop();
	es_future *f[3], *whole;
	const es_outcome *o;

	(void)state;
	f[0] = es_future_new(NULL);
	f[1] = es_future_new(other);
	f[2] = es_future_new(loop);
	assert_int_equal(es_future_set_result(f[0], ES_INT(1)), 0);
	whole = gather(f, 3, ES_GATHER_ALL);
	assert_int_equal(es_future_set_error(f[1], -EIO, NULL), 0);
	assert_false(es_future_done(whole));
	assert_int_equal(es_future_set_result(f[2], ES_INT(3)), 0);
	assert_int_equal(es_loop_run_until(loop, whole), 0);
	o = outcomes(whole);
	assert_int_equal(o[0].value.i, 1);
	assert_int_equal(o[1].code, -EIO);
	assert_int_equal(o[2].value.i, 3);
	es_future_unref(whole);
	rig_end(other);
}

static void
X4_a_gather_of_a_closed_loop_settles(void **state)
{
	es_loop *home = rig_loop();
	es_future *f = es_future_new(NULL), *whole = NULL, *kept;

	(void)state;
	kept = es_future_ref(f);
	assert_int_equal(es_gather(home, &f, 1, 0, &whole), 0);
	rig_end(home);
	assert_int_equal(es_await(whole, ES_FOREVER), -ESHUTDOWN);
	assert_int_equal(es_future_set_result(kept, ES_NOTHING), 0);
	assert_int_equal(es_await(whole, 0), -ESHUTDOWN);
	es_future_unref(kept);
	es_future_unref(whole);
	f = es_future_new(NULL);
	assert_int_equal(es_gather(home = rig_loop(), &f, 1, 0, &whole), 0);
	assert_int_equal(es_loop_close(home, 0), 0);
	es_future_unref(whole);
	kept = es_future_new(NULL);
	assert_int_equal(es_gather(home, &kept, 1, 0, &whole), -ESHUTDOWN);
	es_future_unref(kept);
	es_loop_unref(home);
}

static int
task_gather_self(void *arg, es_value *ret)
{
	es_future *whole = NULL, *f[1];

	(void)ret;
	f[0] = es_future_ref(*(es_future **)arg);
	if (es_gather(loop, f, 1, ES_GATHER_ALL, &whole) < 0)
		return -EPROTO;
	return es_await_take(whole, ES_FOREVER, NULL);
}

static void
DL2_a_gather_of_oneself_is_refused(void **state)
{
	es_future *f = NULL;

	(void)state;
	f = spawn(task_gather_self, &f);
	assert_int_equal(es_loop_run_until(loop, f), -EDEADLK);
	es_future_unref(f);
}

struct grouped {
	es_group *group;
	struct nap naps[3];
	es_usec timeout;
	int late, result, in_call;
	es_future *first;
	size_t n;
};

static int
task_with_group(void *arg, es_value *ret)
{
	struct grouped *g = arg;
	size_t i;

	(void)ret;
	if (es_group_new(loop, &g->group) < 0)
		return -EPROTO;
	for (i = 0; i < g->n; i++)
		if (es_group_spawn(g->group, "nap", task_nap, &g->naps[i], NULL,
			i == 0 ? &g->first : NULL) < 0)
			return -EPROTO;
	g->result = es_group_close(g->group, g->timeout);
	rig_note_char('.');
	return 0;
}

static void
G7_close_waits_for_all_members(void **state)
{
	struct grouped g = { .n = 3,
		.timeout = ES_S(1000),
		.naps = { { ES_MS(90), 0, 'a' }, { ES_MS(60), 0, 'b' },
		    { ES_MS(30), 0, 'c' } } };

	(void)state;
	assert_int_equal(run(task_with_group, &g), 0);
	assert_int_equal(g.result, 0);
	rig_expect("cba.");
	es_future_unref(g.first);
	g = (struct grouped){ .n = 0 };
	assert_int_equal(run(task_with_group, &g), 0);
	assert_int_equal(g.result, 0);
}

static void
G7_a_failure_cancels_the_group_and_is_its_code(void **state)
{
	struct grouped g = { .n = 3,
		.timeout = ES_S(1000),
		.naps = { { ES_S(1000), 0, 'x' }, { ES_MS(2), -EIO, 'f' },
		    { ES_S(1000), 0, 'x' } } };

	(void)state;
	assert_int_equal(run(task_with_group, &g), 0);
	assert_int_equal(g.result, -EIO);
	rig_expect("fcc.");
	es_future_unref(g.first);
}

static void
G7_a_member_cancelled_alone_cancels_nobody(void **state)
{
	struct grouped g = { .n = 2,
		.timeout = ES_S(1000),
		.naps = { { ES_S(1000), 0, 'x' }, { ES_MS(5), 0, 'a' } } };
	es_future *f = spawn(task_with_group, &g);

	(void)state;
	rig_turn(loop);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(g.first), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(g.result, 0);
	rig_expect("ca.");
	es_future_unref(g.first);
	es_future_unref(f);
}

static void
G7_at_the_time_out_members_are_cancelled(void **state)
{
	struct grouped g = { .n = 2,
		.timeout = ES_MS(5),
		.naps = { { ES_S(1000), 0, 'x' }, { ES_MS(1), 0, 'a' } } };

	(void)state;
	assert_int_equal(run(task_with_group, &g), 0);
	assert_int_equal(g.result, -ETIMEDOUT);
	rig_expect("ac.");
	es_future_unref(g.first);
}

static void
G7_a_cancelled_closer_takes_its_members_along(void **state)
{
	struct grouped g = { .n = 2,
		.timeout = ES_S(1000),
		.naps = { { ES_S(1000), 0, 'x' }, { ES_S(1000), 0, 'x' } } };
	es_future *f = spawn(task_with_group, &g);

	(void)state;
	rig_turn(loop);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(g.result, -ECANCELED);
	rig_expect("cc.");
	es_future_unref(g.first);
	es_future_unref(f);
}

static void
call_with_group(void *arg)
{
	struct grouped *g = arg;

	assert_int_equal(es_group_new(loop, &g->group), 0);
	assert_int_equal(es_group_spawn(g->group, "nap", task_nap, &g->naps[0],
			     NULL, &g->first),
	    0);
	g->in_call = es_group_close(g->group, ES_S(1000));
	es_group_cancel(g->group);
	g->late =
	    es_group_spawn(g->group, "x", rig_never_body, NULL, rig_note, NULL);
}

static void
call_close_group(void *arg)
{
	struct grouped *g = arg;

	g->result = es_group_close(g->group, 0);
}

static void
W_groups_belong_to_the_loops_thread_and_calls_cannot_wait(void **state)
{
	struct grouped g = { .naps = { { ES_S(1000), 0, 'x' } }, .result = 1 };

	(void)state;
	assert_int_equal(es_group_new(loop, &g.group), -EPERM);
	rig_soon(loop, call_with_group, &g);
	rig_turn(loop);
	assert_int_equal(g.in_call, -EDEADLK);
	assert_int_equal(g.late, -ESHUTDOWN);
	assert_int_equal(
	    es_group_spawn(g.group, "x", task_nap, NULL, NULL, NULL), -EPERM);
	assert_int_equal(es_group_close(g.group, 0), -EPERM);
	while (!es_future_done(g.first))
		rig_turn(loop);
	rig_soon(loop, call_close_group, &g); /* without members it can */
	rig_turn(loop);
	assert_int_equal(g.result, 0);
	es_future_unref(g.first);
}

static void
a_member_that_never_began_is_dropped_and_gone(void **state)
{
	struct grouped g = {
		.n = 1, .timeout = ES_S(1000), .naps = { { 0, 0, 'x' } }
	};
	es_future *f = spawn(task_with_group, &g);

	(void)state;
	rig_turn(loop); /* the member is queued, and has not begun */
	assert_int_equal(es_future_cancel(g.first), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(g.result, 0);
	rig_expect(".");
	es_future_unref(g.first);
	es_future_unref(f);
}

static void
count_report(es_loop *where, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	(void)where;
	(void)message;
	(void)took;
	rig_expect_name(what, "nap");
	assert_int_equal(kind, ES_R_ERROR);
	assert_int_equal(code, -EIO);
	++*(unsigned *)arg;
}

static void
loop_that_counts(unsigned *reports)
{
	es_loop_opts opts = { .slow = ES_FOREVER,
		.report = count_report,
		.report_arg = reports };

	*reports = 0;
	rig_forget();
	assert_int_equal(es_loop_new(&loop, &opts), 0);
}

/* A member without a future of its own: all its user has is the group's. */
static void
G7_F12_a_failure_that_close_returns_is_seen(void **state)
{
	struct grouped g = { .n = 2,
		.timeout = ES_S(1000),
		.naps = { { ES_S(1000), 0, 'x' }, { ES_MS(1), -EIO, 'f' } } };
	unsigned reports;

	(void)state;
	loop_that_counts(&reports);
	assert_int_equal(run(task_with_group, &g), 0);
	assert_int_equal(g.result, -EIO);
	es_future_unref(g.first);
	rig_turn(loop);
	assert_int_equal(reports, 0);
	rig_end(loop);
}

static void
G7_F12_a_failure_that_close_cannot_return_is_reported(void **state)
{
	struct grouped g = { .n = 2,
		.timeout = ES_S(1000),
		.naps = { { ES_S(1000), 0, 'x' }, { 0, -EIO, 'f' } } };
	unsigned reports;
	es_future *f;

	(void)state;
	loop_that_counts(&reports);
	f = spawn(task_with_group, &g);
	rig_turn(loop);
	rig_turn(loop);
	/* The nap fails in the turn in which the cancel is delivered. */
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_loop_run_until(loop, f), 0);
	assert_int_equal(g.result, -ECANCELED);
	rig_expect("fc.");
	es_future_unref(g.first);
	es_future_unref(f);
	rig_turn(loop);
	assert_int_equal(reports, 1);
	rig_end(loop);
}

/* Cancelled by the first failure, it fails too: that one nobody is told. */
static void
G7_F12_a_second_failure_is_reported(void **state)
{
	struct grouped g = { .n = 3,
		.timeout = ES_S(1000),
		.naps = { { ES_S(1000), 0, 'x' }, { 0, -EIO, 'f' },
		    { ES_S(1000), -EIO, 'h' } } };
	unsigned reports;

	(void)state;
	loop_that_counts(&reports);
	assert_int_equal(run(task_with_group, &g), 0);
	assert_int_equal(g.result, -EIO);
	es_future_unref(g.first);
	rig_turn(loop);
	assert_int_equal(reports, 1);
	rig_end(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(G1_results_are_in_argument_order),
		IN_LOOP(G1_of_none_is_settled_at_once),
		IN_LOOP(G2_with_all_failures_are_outcomes),
		IN_LOOP(G3_the_first_failure_cancels_the_others_and_waits),
		IN_LOOP(G4_a_member_cancelled_from_outside_is_a_failure),
		IN_LOOP(G5_cancelling_the_whole_cancels_all),
		IN_LOOP(G5_when_all_have_settled_there_is_nothing_to_cancel),
		IN_LOOP(G6_the_same_future_twice_gives_two_equal_outcomes),
		IN_LOOP(settled_members_and_foreign_ones_count_too),
		IN_LOOP(X4_a_gather_of_a_closed_loop_settles),
		IN_LOOP(DL2_a_gather_of_oneself_is_refused),
		IN_LOOP(G7_close_waits_for_all_members),
		IN_LOOP(G7_a_failure_cancels_the_group_and_is_its_code),
		IN_LOOP(G7_a_member_cancelled_alone_cancels_nobody),
		IN_LOOP(G7_at_the_time_out_members_are_cancelled),
		IN_LOOP(G7_a_cancelled_closer_takes_its_members_along),
		IN_LOOP(
		    W_groups_belong_to_the_loops_thread_and_calls_cannot_wait),
		IN_LOOP(a_member_that_never_began_is_dropped_and_gone),
		cmocka_unit_test(G7_F12_a_failure_that_close_returns_is_seen),
		cmocka_unit_test(
		    G7_F12_a_failure_that_close_cannot_return_is_reported),
		cmocka_unit_test(G7_F12_a_second_failure_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
