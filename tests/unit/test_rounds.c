/*
 * The same short life over and over: what is left behind by one in a
 * thousand shows.  ROUNDS is how often, 500 unless the environment says
 * otherwise; `make check-rounds` has 10000.
 *
 * limit: 120
 */

#include "tests/unit/loop_rig.h"

#include <malloc.h>

#define ROUNDS_DEFAULT 500
#define SUBMITTERS 4
#define KINDS 4
#define ACCEPTED_BEFORE_CLOSE 50

static unsigned
rounds_wanted(void)
{
	const char *text = getenv("ROUNDS");
	long n = text ? strtol(text, NULL, 10) : 0;

	return n > 0 ? (unsigned)n : ROUNDS_DEFAULT;
}

static unsigned
count_threads(void)
{
	return rig_count_in("/proc/self/task");
}

/* A thread that was joined may still be listed for a moment. */
static void
expect_nothing_left(unsigned fds, unsigned threads)
{
	es_usec until = clock_now_us() + RIG_PATIENCE;

	while (count_threads() != threads && clock_now_us() < until)
		sched_yield();
	assert_int_equal(count_threads(), threads);
	assert_int_equal(rig_count_fds(), fds);
}

static void
start_and_stop(void)
{
	es_loop *loop = rig_loop();
	es_loop_thread *thread = NULL;

	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	assert_int_equal(es_loop_thread_stop(thread, 0), 0);
	assert_int_equal(es_loop_get_state(loop), ES_LOOP_CLOSED);
	es_loop_unref(loop);
}

/* ThreadSanitizer has a thread of its own from the first one on. */
static int
warm_up(void **state)
{
	(void)state;
	start_and_stop();
	return 0;
}

static void
start_and_stop_at_once_as_often_as_one_likes(void **state)
{
	unsigned fds = rig_count_fds(), threads = count_threads();
	unsigned i, rounds = rounds_wanted();

	(void)state;
	for (i = 0; i < rounds; i++)
		start_and_stop();
	expect_nothing_left(fds, threads);
}

/* The loop's thread has just begun, or is about to wait, or waits. */
static void
a_stop_is_never_missed(void **state)
{
	unsigned fds = rig_count_fds(), threads = count_threads();
	unsigned i, rounds = rounds_wanted();

	(void)state;
	for (i = 0; i < rounds; i++) {
		es_loop *loop = rig_loop();
		es_loop_thread *thread = NULL;
		struct rig_gate gate = RIG_GATE;
		unsigned spin;

		assert_int_equal(es_loop_thread_start(loop, &thread), 0);
		rig_soon(loop, rig_open, &gate);
		if (i % 2)
			assert_true(rig_pass(&gate, 1));
		for (spin = 0; spin < i % 64 * 16; spin++)
			__asm__ volatile("" ::: "memory");
		/* A call that was accepted has run, or has no drop. */
		assert_int_equal(es_loop_thread_stop(thread, 0), 0);
		es_loop_unref(loop);
	}
	expect_nothing_left(fds, threads);
}

/* One of the threads that submit while the loop closes. */
struct submitter {
	es_loop *loop; /* one reference */
	struct rig_gate *warm;
	pthread_t thread;
	unsigned accepted[KINDS], unsettled;
	_Atomic unsigned ran[KINDS], dropped[KINDS];
};

/* What one submission carries: it tells its submitter what became of it. */
struct parcel {
	struct submitter *from;
	unsigned kind;
};

static void
parcel_run(void *arg)
{
	struct parcel *parcel = arg;

	atomic_fetch_add(&parcel->from->ran[parcel->kind], 1);
	free(parcel);
}

static void
parcel_drop(void *arg)
{
	struct parcel *parcel = arg;

	atomic_fetch_add(&parcel->from->dropped[parcel->kind], 1);
	free(parcel);
}

static int
parcel_body(void *arg, es_value *ret)
{
	*ret = ES_INT(((struct parcel *)arg)->kind);
	parcel_run(arg);
	return 0;
}

static int
submit_kind(struct submitter *s, unsigned kind, es_future **ret_future)
{
	struct parcel *parcel = malloc(sizeof(*parcel));
	int r = -ENOSYS;

	*parcel = (struct parcel){ .from = s, .kind = kind };
	if (kind == 0)
		r = es_call_soon(
		    s->loop, "soon", parcel_run, parcel, parcel_drop, NULL);
	if (kind == 1)
		r = es_call_later(s->loop, 100, "later", parcel_run, parcel,
		    parcel_drop, NULL);
	if (kind == 2)
		r = es_loop_invoke(s->loop, "invoke", parcel_body, parcel,
		    parcel_drop, ret_future);
	if (kind == 3)
		r = es_spawn(s->loop, "task", parcel_body, parcel, parcel_drop,
		    ret_future);
	if (r < 0)
		free(parcel); /* refused: it is still ours */
	return r;
}

/* Until the loop refuses; each future has an end by then. */
static void *
submit_until_refused(void *arg)
{
	struct submitter *s = arg;
	unsigned kind = 0, n = 0;
	int r;

	for (;;) {
		es_future *f = NULL;

		r = submit_kind(s, kind, &f);
		if (r < 0)
			break;
		s->accepted[kind]++;
		if (f) {
			r = es_await(f, RIG_PATIENCE);
			if (r != 0 && r != -ESHUTDOWN && r != -ECANCELED)
				s->unsettled++;
			es_future_unref(f);
		}
		if (++n == ACCEPTED_BEFORE_CLOSE)
			rig_open(s->warm);
		kind = (kind + 1) % KINDS;
	}
	assert_int_equal(r, -ESHUTDOWN);
	es_loop_unref(s->loop);
	return NULL;
}

/* All were waited for, so none of their ends is news. */
static void
count_report(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took, void *arg)
{
	(void)loop;
	(void)what;
	(void)code;
	(void)message;
	(void)took;
	if (kind == ES_R_ERROR || kind == ES_R_LEFTOVER)
		atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static void
submit_while_it_closes(void)
{
	_Atomic unsigned reports = 0;
	es_loop_opts opts = { .report = count_report, .report_arg = &reports };
	struct rig_gate warm = RIG_GATE;
	struct submitter submitters[SUBMITTERS];
	es_loop_thread *thread = NULL;
	es_loop *loop = NULL;
	unsigned i, kind;

	assert_int_equal(es_loop_new(&loop, &opts), 0);
	assert_int_equal(es_loop_thread_start(loop, &thread), 0);
	for (i = 0; i < SUBMITTERS; i++) {
		memset(&submitters[i], 0, sizeof(submitters[i]));
		submitters[i].warm = &warm;
		submitters[i].loop = es_loop_ref(loop);
		assert_int_equal(pthread_create(&submitters[i].thread, NULL,
				     submit_until_refused, &submitters[i]),
		    0);
	}
	assert_true(rig_pass(&warm, 1)); /* one of them is in full swing */
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	es_loop_unref(loop);
	for (i = 0; i < SUBMITTERS; i++) {
		struct submitter *s = &submitters[i];

		assert_int_equal(pthread_join(s->thread, NULL), 0);
		assert_int_equal(s->unsettled, 0);
		for (kind = 0; kind < KINDS; kind++)
			assert_int_equal(
			    s->ran[kind] + s->dropped[kind], s->accepted[kind]);
	}
	assert_int_equal(reports, 0);
}

static void
C2_X3_X4_four_threads_submit_everything_while_it_closes(void **state)
{
	unsigned fds = rig_count_fds(), threads = count_threads();
	unsigned i, rounds = rounds_wanted() / 5;

	(void)state;
	for (i = 0; i < rounds; i++)
		submit_while_it_closes();
	expect_nothing_left(fds, threads);
}

static int
nap_and_give(void *arg, es_value *ret)
{
	int r = es_yield();

	*ret = ES_INT((intptr_t)arg);
	return r;
}

/* Row 2 of the coverage: a thousand runs, and nothing grows. */
static void
es_run_leaves_nothing(void **state)
{
	unsigned fds = 0, threads = 0, i, rounds = rounds_wanted() * 2;
	size_t before = 0, after;
	es_value value;

	(void)state;
	for (i = 0; i < rounds + 10; i++) {
		if (i == 10) { /* what is made once, is made */
			fds = rig_count_fds();
			threads = count_threads();
			before = mallinfo2().uordblks;
		}
		value = ES_NOTHING;
		assert_int_equal(
		    es_run(nap_and_give, (void *)(intptr_t)i, &value), 0);
		assert_int_equal(value.i, i);
	}
	after = mallinfo2().uordblks;
	expect_nothing_left(fds, threads);
	assert_true(after <= before + 4096);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start_and_stop_at_once_as_often_as_one_likes),
		cmocka_unit_test(a_stop_is_never_missed),
		cmocka_unit_test(
		    C2_X3_X4_four_threads_submit_everything_while_it_closes),
		cmocka_unit_test(es_run_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
