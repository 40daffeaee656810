/*
 * Futures and waiting for them: invariants F1 to F12, X4's other half, and
 * what es_await answers on a loop's thread (DL1).
 */

#include "tests/unit/loop_rig.h"

static void
F1_F2_the_first_set_wins(void **state)
{
	es_future *f = es_future_new(NULL);
	es_value value;

	(void)state;
	rig_forget();
	assert_false(es_future_done(f));
	assert_int_equal(es_future_result(f, &value), -EINPROGRESS);
	assert_int_equal(es_future_take(f, &value), -EINPROGRESS);
	assert_int_equal(es_future_set_result(f, ES_INT(5)), 0);
	assert_true(es_future_done(f));
	value = ES_PTR(RIG_LETTER('v'), rig_note);
	assert_int_equal(es_future_set_result(f, value), -EALREADY);
	rig_expect(""); /* it stays the caller's */
	assert_int_equal(es_future_set_error(f, -EIO, "no"), -EALREADY);
	assert_int_equal(es_future_cancel(f), 0);
	assert_int_equal(es_future_result(f, &value), 0);
	assert_int_equal(value.i, 5);
	assert_null(es_future_error(f));
	es_future_unref(f);
}

static void
F1_F5_a_failure_carries_code_and_message(void **state)
{
	es_future *f = es_future_new(NULL);
	es_value value;

	(void)state;
	assert_int_equal(es_future_set_error(f, -EIO, "disk %d is gone", 3), 0);
	assert_int_equal(es_await(f, 0), -EIO);
	assert_int_equal(es_future_result(f, &value), -EIO);
	assert_int_equal(es_future_take(f, &value), -EIO);
	assert_string_equal(es_future_error(f), "disk 3 is gone");
	es_future_unref(f);
}

static void
F1_F8_a_cancel_without_producer_settles_at_once(void **state)
{
	es_future *f = es_future_new(NULL);

	(void)state;
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_future_cancel(f), 0);
	assert_int_equal(es_await(f, ES_FOREVER), -ECANCELED);
	assert_int_equal(es_future_set_result(f, ES_NOTHING), -EALREADY);
	assert_int_equal(es_future_cancel(NULL), 0);
	es_future_unref(f);
}

static void
note_letter(es_future *f, void *arg)
{
	assert_true(es_future_done(f));
	rig_note(arg);
}

static void
callback(es_future *f, es_loop *where, char c)
{
	assert_int_equal(es_future_add_done_callback(
			     f, where, note_letter, RIG_LETTER(c), rig_note),
	    0);
}

static void
F3_callbacks_are_queued_in_order_never_inline(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	rig_forget();
	callback(f, NULL, 'a');
	callback(f, loop, 'b');
	assert_int_equal(es_future_set_result(f, ES_NOTHING), 0);
	callback(f, NULL, 'c'); /* settled already: queued now */
	rig_expect("");
	rig_turn(loop);
	rig_expect("abc");
	es_future_unref(f);
	rig_end(loop);
}

static void
F3_callbacks_need_a_loop_to_run_on(void **state)
{
	es_future *f = es_future_new(NULL);

	(void)state;
	assert_int_equal(
	    es_future_add_done_callback(f, NULL, rig_never_done, NULL, NULL),
	    -EINVAL);
	es_future_unref(f);
}

static void
remove_b(es_future *f, void *arg)
{
	rig_note(arg);
	assert_int_equal(
	    es_future_remove_done_callback(f, note_letter, RIG_LETTER('b')), 1);
	callback(f, NULL, 'd');
}

static void
F4_a_callback_may_remove_and_add_others(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	rig_forget();
	assert_int_equal(es_future_add_done_callback(
			     f, NULL, remove_b, RIG_LETTER('a'), NULL),
	    0);
	callback(f, NULL, 'b'); /* its turn does not come: its drop does */
	callback(f, NULL, 'c');
	assert_int_equal(es_future_set_result(f, ES_NOTHING), 0);
	rig_turn(loop);
	rig_expect("abc");
	rig_turn(loop);
	rig_expect("abcd");
	es_future_unref(f);
	rig_end(loop);
}

static void
F4_removal_counts_what_it_removed(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	rig_forget();
	callback(f, NULL, 'a');
	callback(f, NULL, 'b');
	callback(f, NULL, 'a');
	callback(f, NULL, 'a');
	assert_int_equal(
	    es_future_remove_done_callback(f, note_letter, RIG_LETTER('b')), 1);
	assert_int_equal(
	    es_future_remove_done_callback(f, note_letter, RIG_LETTER('b')), 0);
	assert_int_equal(
	    es_future_remove_done_callback(f, note_letter, RIG_LETTER('a')), 3);
	assert_int_equal(es_future_set_result(f, ES_NOTHING), 0);
	rig_turn(loop);
	rig_expect("baaa"); /* drops, on the loop */
	es_future_unref(f);
	rig_end(loop);
}

static void
F6_a_timeout_changes_nothing(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);
	es_usec began = clock_now_us();

	(void)state;
	assert_int_equal(es_await(f, 0), -ETIMEDOUT);
	assert_int_equal(es_await(f, -5), -ETIMEDOUT);
	assert_int_equal(es_await(f, ES_MS(10)), -ETIMEDOUT);
	assert_true(clock_now_us() - began >= ES_MS(10));
	assert_false(es_future_done(f));
	assert_int_equal(es_future_set_result(f, ES_INT(9)), 0);
	assert_int_equal(es_await(f, 0), 0);
	es_future_unref(f);
	rig_end(loop);
}

struct waiter {
	es_future *f;
	struct rig_gate *started;
	int result;
	int64_t value;
	pthread_t thread;
};

static void *
wait_and_look(void *arg)
{
	struct waiter *w = arg;
	es_value value = ES_NOTHING;

	rig_open(w->started);
	w->result = es_await(w->f, RIG_PATIENCE);
	if (w->result == 0)
		(void)es_future_result(w->f, &value);
	w->value = value.i;
	return NULL;
}

static void
F7_W2_all_waiters_are_released_and_see_the_value(void **state)
{
	struct rig_gate started = RIG_GATE;
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);
	struct waiter waiters[5];
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		waiters[i] = (struct waiter){ .f = f, .started = &started };
		assert_int_equal(pthread_create(&waiters[i].thread, NULL,
				     wait_and_look, &waiters[i]),
		    0);
	}
	assert_true(rig_pass(&started, 5));
	assert_int_equal(es_future_set_result(f, ES_INT(77)), 0);
	for (i = 0; i < 5; i++) {
		assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
		assert_int_equal(waiters[i].result, 0);
		assert_int_equal(waiters[i].value, 77);
	}
	es_future_unref(f);
	rig_end(loop);
}

static void
answer_cancel(es_future *f, void *arg)
{
	rig_note(arg);
	assert_int_equal(es_future_set_result(f, ES_INT(1)), 0);
}

static void
F8_F9_the_hook_is_asked_once_and_a_result_is_a_result(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop), *homeless = es_future_new(NULL);
	es_value value;

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_future_set_cancel_hook(f, answer_cancel, RIG_LETTER('h')), 0);
	assert_int_equal(
	    es_future_set_cancel_hook(f, answer_cancel, RIG_LETTER('i')),
	    -EALREADY);
	assert_int_equal(
	    es_future_set_cancel_hook(homeless, answer_cancel, NULL), -EINVAL);
	assert_int_equal(es_future_cancel(f), 1);
	assert_int_equal(es_future_cancel(f), 1);
	assert_false(es_future_done(f));
	assert_int_equal(es_loop_run_until(loop, f), 0);
	rig_expect("h");
	assert_int_equal(es_future_take(f, &value), 0);
	assert_int_equal(value.i, 1);
	es_future_unref(f);
	es_future_unref(homeless);
	rig_end(loop);
}

static void
F8_a_hook_that_never_ran_leaves_nobody_hanging(void **state)
{
	es_loop *loop = rig_loop();
	es_future *f = es_future_new(loop);

	(void)state;
	assert_int_equal(es_future_set_cancel_hook(f, answer_cancel, NULL), 0);
	assert_int_equal(es_future_cancel(f), 1);
	rig_end(loop);
	assert_int_equal(es_await(f, ES_FOREVER), -ESHUTDOWN);
	es_future_unref(f);
}

static void
F11_the_value_is_lent_until_taken_once(void **state)
{
	es_future *f = es_future_new(NULL);
	es_value lent, taken;

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_future_set_result(f, ES_PTR(RIG_LETTER('v'), rig_note)), 0);
	assert_int_equal(es_future_result(f, &lent), 0);
	es_value_drop(&lent); /* harmless */
	rig_expect("");
	assert_int_equal(es_future_take(f, &taken), 0);
	assert_int_equal(es_future_take(f, &lent), -EALREADY);
	assert_int_equal(es_future_result(f, &lent), -EALREADY);
	assert_int_equal(es_await(f, 0), 0);
	es_future_unref(f);
	rig_expect("");
	es_value_drop(&taken);
	rig_expect("v");
}

static void
F11_the_last_reference_drops_an_untaken_value(void **state)
{
	es_future *f = es_future_new(NULL);

	(void)state;
	rig_forget();
	assert_int_equal(
	    es_future_set_result(f, ES_PTR(RIG_LETTER('v'), rig_note)), 0);
	(void)es_future_ref(f);
	es_future_unref(f);
	rig_expect("");
	es_future_unref(f);
	rig_expect("v");
	es_future_unref(NULL);
}

struct told {
	es_loop *loop;
	es_report_kind kind;
	char what[32], message[64];
	int code;
	unsigned count;
	bool on_loop;
};

static void
tell(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	struct told *told = arg;

	(void)took;
	told->loop = loop;
	told->kind = kind;
	told->code = code;
	told->count++;
	told->on_loop = es_loop_current() == loop;
	(void)snprintf(told->what, sizeof(told->what), "%s", what);
	(void)snprintf(
	    told->message, sizeof(told->message), "%s", message ? message : "");
}

static es_loop *
loop_that_tells(struct told *told)
{
	es_loop_opts opts = { .report = tell, .report_arg = told };
	es_loop *loop = NULL;

	*told = (struct told){ 0 };
	assert_int_equal(es_loop_new(&loop, &opts), 0);
	return loop;
}

static void
F12_a_failure_nobody_looked_at_is_reported_once(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told);
	es_future *f = es_future_new(loop);

	(void)state;
	es_future_set_name(f, "disk");
	assert_int_equal(es_future_set_error(f, -EIO, "gone"), 0);
	assert_int_equal(told.count, 0);
	es_future_unref(f);
	rig_turn(loop);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.kind, ES_R_ERROR);
	assert_int_equal(told.code, -EIO);
	rig_expect_name(told.what, "disk");
	assert_string_equal(told.message, "gone");
	assert_true(told.on_loop);
	rig_end(loop);
	assert_int_equal(told.count, 1);
}

static void
F12_each_way_of_looking_counts_and_cancels_never(void **state)
{
	struct told told;
	es_loop *loop = loop_that_tells(&told);
	es_value value;
	int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		es_future *f = es_future_new(loop);

		if (i == 4) /* before it settles, and it runs */
			assert_int_equal(es_future_add_done_callback(
					     f, NULL, note_letter, NULL, NULL),
			    0);
		assert_int_equal(
		    es_future_set_error(f, i == 5 ? -ECANCELED : -EIO, NULL),
		    0);
		if (i == 0)
			assert_int_equal(es_await(f, 0), -EIO);
		if (i == 1)
			assert_int_equal(es_future_result(f, NULL), -EIO);
		if (i == 2)
			assert_int_equal(es_future_take(f, &value), -EIO);
		if (i == 3)
			assert_null(es_future_error(f));
		es_future_unref(f);
		rig_turn(loop);
		assert_int_equal(told.count, 0);
	}
	rig_end(loop);
	assert_int_equal(told.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(F1_F2_the_first_set_wins),
		cmocka_unit_test(F1_F5_a_failure_carries_code_and_message),
		cmocka_unit_test(
		    F1_F8_a_cancel_without_producer_settles_at_once),
		cmocka_unit_test(F3_callbacks_are_queued_in_order_never_inline),
		cmocka_unit_test(F3_callbacks_need_a_loop_to_run_on),
		cmocka_unit_test(F4_a_callback_may_remove_and_add_others),
		cmocka_unit_test(F4_removal_counts_what_it_removed),
		cmocka_unit_test(F6_a_timeout_changes_nothing),
		cmocka_unit_test(
		    F7_W2_all_waiters_are_released_and_see_the_value),
		cmocka_unit_test(
		    F8_F9_the_hook_is_asked_once_and_a_result_is_a_result),
		cmocka_unit_test(
		    F8_a_hook_that_never_ran_leaves_nobody_hanging),
		cmocka_unit_test(F11_the_value_is_lent_until_taken_once),
		cmocka_unit_test(F11_the_last_reference_drops_an_untaken_value),
		cmocka_unit_test(
		    F12_a_failure_nobody_looked_at_is_reported_once),
		cmocka_unit_test(
		    F12_each_way_of_looking_counts_and_cancels_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
