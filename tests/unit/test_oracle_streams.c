/*
 * CPython's tests of queues and of signals, ported; each is named after its
 * origin.  Entries 65 to 67 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_queues.py, test_events.py, test_unix_events.py.
 * A queue with a bound is a stream: get is es_next(), put is es_send().
 */

#include "tests/unit/oracle_rig.h"
#include "tests/unit/task_rig.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/time.h>

struct queue {
	es_tx *tx;
	es_rx *rx;
	bool started, finished;
};

static void
queue_open(struct queue *q, unsigned max)
{
	es_stream_opts opts = { .max_items = max };

	*q = (struct queue){ 0 };
	assert_int_equal(es_stream_new(loop, &opts, &q->tx, &q->rx), 0);
}

static void
queue_close(struct queue *q)
{
	(void)es_tx_end(q->tx, 0, NULL);
	(void)es_rx_close(q->rx);
}

static void
put_nowait(struct queue *q, int64_t i, int expected)
{
	assert_int_equal(es_send(q->tx, ES_INT(i), 1, 0), expected);
}

static void
get_nowait(struct queue *q, int64_t expected)
{
	es_value value = ES_NOTHING;

	assert_int_equal(es_next(q->rx, 0, &value), 1);
	assert_int_equal(value.i, expected);
}

static int
queue_get(void *arg, es_value *ret)
{
	struct queue *q = arg;
	int r;

	q->started = true;
	r = es_next(q->rx, ES_FOREVER, ret);
	q->finished = r == 1;
	return r == 1 ? 0 : r;
}

static void
put_1(void *arg)
{
	put_nowait(arg, 1, 0);
}

static void
O65_queues_test_blocking_get_wait(void **state)
{
	struct queue q;
	es_future *get;

	(void)state;
	queue_open(&q, 0);
	get = spawn(queue_get, &q);
	rig_turn(loop);
	assert_true(q.started);
	assert_false(q.finished);
	rig_later(loop, ORACLE_EPSILON, put_1, &q);
	assert_int_equal(es_loop_run_until(loop, get), 0);
	assert_true(q.finished);
	oracle_expect_int(get, 1);
	es_future_unref(get);
	queue_close(&q);
}

static int
queue_put_twice(void *arg, es_value *ret)
{
	struct queue *q = arg;
	int r;

	(void)ret;
	q->started = true;
	r = es_send(q->tx, ES_INT(1), 1, ES_FOREVER);
	if (r == 0)
		r = es_send(q->tx, ES_INT(2), 1, ES_FOREVER);
	q->finished = r == 0;
	return r;
}

static void
get_1(void *arg)
{
	get_nowait(arg, 1);
}

static void
O65_queues_test_blocking_put_wait(void **state)
{
	struct queue q;
	es_future *put;

	(void)state;
	queue_open(&q, 1);
	rig_later(loop, ORACLE_EPSILON, get_1, &q);
	put = spawn(queue_put_twice, &q);
	rig_turn(loop);
	assert_true(q.started);
	assert_false(q.finished);
	assert_int_equal(es_loop_run_until(loop, put), 0);
	assert_true(q.finished);
	es_future_unref(put);
	queue_close(&q);
}

static void
O65_queues_test_nonblocking_get_exception(void **state)
{
	struct queue q;
	es_value value = ES_INT(9);

	(void)state;
	queue_open(&q, 0);
	assert_int_equal(es_next(q.rx, 0, &value), -ETIMEDOUT);
	assert_int_equal(value.i, 9); /* untouched */
	queue_close(&q);
}

static void
O65_queues_test_nonblocking_put_exception(void **state)
{
	struct queue q;

	(void)state;
	queue_open(&q, 1);
	put_nowait(&q, 1, 0);
	put_nowait(&q, 2, -EAGAIN);
	queue_close(&q);
}

struct putter {
	struct queue *q;
	int64_t item;
};

static int
queue_put(void *arg, es_value *ret)
{
	struct putter *p = arg;

	(void)ret;
	return es_send(p->q->tx, ES_INT(p->item), 1, ES_FOREVER);
}

/* Takes what is there, once; more putters than room must all go on. */
static int
queue_take_all(void *arg, es_value *ret)
{
	struct queue *q = arg;
	es_value value;
	int64_t n = 0;
	int r = es_yield();

	if (r < 0)
		return r;
	while (es_next(q->rx, 0, &value) == 1)
		n++;
	*ret = ES_INT(n);
	return 0;
}

static void
O65_queues_test_why_are_putters_waiting(void **state)
{
	struct queue q;
	struct putter putters[4];
	es_future *f[5], *all = NULL;
	int i;

	(void)state;
	queue_open(&q, 2);
	f[0] = spawn(queue_take_all, &q);
	for (i = 0; i < 4; i++) {
		putters[i] = (struct putter){ &q, i };
		f[i + 1] = spawn(queue_put, &putters[i]);
	}
	assert_int_equal(es_gather(loop, f, 5, 0, &all), 0);
	assert_int_equal(es_loop_run_until(loop, all), 0);
	es_future_unref(all);
	get_nowait(&q, 2);
	get_nowait(&q, 3);
	queue_close(&q);
}

/* B8: a put that is cancelled when there is room loses or doubles nothing. */
static void
O66_queues_test_put_cancel_drop(void **state)
{
	struct queue q;
	struct putter two = { &q, 2 };
	es_future *writer;

	(void)state;
	queue_open(&q, 1);
	put_nowait(&q, 1, 0);
	writer = spawn(queue_put, &two);
	rig_turn(loop); /* it waits for room */
	get_nowait(&q, 1);
	assert_int_equal(es_future_cancel(writer), 1);
	if (es_loop_run_until(loop, writer) == -ECANCELED) {
		es_future_unref(writer);
		writer = spawn(queue_put, &two);
		assert_int_equal(es_loop_run_until(loop, writer), 0);
	}
	es_future_unref(writer);
	get_nowait(&q, 2);
	assert_int_equal(es_next(q.rx, 0, &(es_value){ 0 }), -ETIMEDOUT);
	queue_close(&q);
}

static int
get_with_timeout(void *arg, es_value *ret)
{
	return es_next(((struct queue *)arg)->rx, ES_MS(100), ret);
}

/*
 * test_cancelled_getters_not_being_held_in_self_getters
 * Who no longer waits is not woken: the next getter gets the value.
 */
static void
O66_queues_test_cancelled_getters_not_being_held(void **state)
{
	struct queue q;
	es_future *get;

	(void)state;
	queue_open(&q, 5);
	assert_int_equal(run(get_with_timeout, &q), -ETIMEDOUT);
	get = spawn(queue_get, &q);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(get), 1);
	assert_int_equal(es_loop_run_until(loop, get), -ECANCELED);
	es_future_unref(get);
	put_nowait(&q, 1, 0);
	get = spawn(queue_get, &q);
	assert_int_equal(es_loop_run_until(loop, get), 0);
	oracle_expect_int(get, 1);
	es_future_unref(get);
	queue_close(&q);
}

/* test_cancelled_puts_not_being_held_in_self_putters */
static void
O66_queues_test_cancelled_puts_not_being_held(void **state)
{
	struct queue q;
	struct putter two = { &q, 2 }, three = { &q, 3 };
	es_future *put, *next;

	(void)state;
	queue_open(&q, 1);
	put_nowait(&q, 1, 0);
	put = spawn(queue_put, &two);
	next = spawn(queue_put, &three);
	rig_turn(loop);
	assert_int_equal(es_future_cancel(put), 1);
	assert_int_equal(es_loop_run_until(loop, put), -ECANCELED);
	get_nowait(&q, 1);
	assert_int_equal(es_loop_run_until(loop, next), 0);
	get_nowait(&q, 3);
	es_future_unref(put);
	es_future_unref(next);
	queue_close(&q);
}

static int
block_signals(void **state)
{
	static const int signos[] = { SIGINT, SIGALRM, SIGHUP, SIGCHLD, 0 };

	(void)state;
	return es_signals_block(signos);
}

struct caught {
	es_loop *loop;
	unsigned n;
};

static void
catch_and_stop(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct caught *caught = arg;

	assert_int_equal(info->ssi_signo, signo);
	caught->n++;
	es_loop_stop(caught->loop);
}

static int
add_handler(int signo, struct caught *caught)
{
	return es_add_signal_handler(loop, signo, catch_and_stop, caught);
}

/* S6: what can have no handler is a bad number, for removing, too. */
static void
O67_events_test_add_signal_handler(void **state)
{
	struct caught caught = { .loop = loop };
	sigset_t mask;

	(void)state;
	assert_int_equal(add_handler(NSIG + 1, &caught), -EINVAL);
	assert_int_equal(es_remove_signal_handler(loop, NSIG + 1), -EINVAL);
	assert_int_equal(add_handler(0, &caught), -EINVAL);
	assert_int_equal(es_remove_signal_handler(loop, 0), -EINVAL);
	assert_int_equal(add_handler(-1, &caught), -EINVAL);
	assert_int_equal(es_remove_signal_handler(loop, -1), -EINVAL);
	assert_int_equal(add_handler(SIGKILL, &caught), -EINVAL);
	assert_int_equal(es_remove_signal_handler(loop, SIGKILL), -EINVAL);

	assert_int_equal(add_handler(SIGINT, &caught), 0);
	assert_int_equal(kill(getpid(), SIGINT), 0);
	assert_int_equal(es_loop_run(loop), 0);
	assert_int_equal(caught.n, 1);
	assert_int_equal(es_remove_signal_handler(loop, SIGINT), 1);
	/* S5: there the default comes back; here it stays blocked. */
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGINT), 1);
	assert_int_equal(es_remove_signal_handler(loop, SIGINT), 0);
}

static void
O67_events_test_signal_handling_while_selecting(void **state)
{
	struct itimerval once = { .it_value = { .tv_usec = 10000 } };
	struct caught caught = { .loop = loop };

	(void)state;
	assert_int_equal(add_handler(SIGALRM, &caught), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &once, NULL), 0);
	rig_later(loop, ES_S(60), rig_stop, loop);
	assert_int_equal(es_loop_run(loop), 0);
	assert_int_equal(caught.n, 1);
}

static void
O67_unix_events_test_close(void **state)
{
	struct caught caught = { 0 };

	(void)state;
	assert_int_equal(add_handler(SIGHUP, &caught), 0);
	assert_int_equal(add_handler(SIGCHLD, &caught), 0);
	assert_int_equal(add_handler(SIGHUP, &caught), -EALREADY);
	rig_end(loop);
	loop = rig_loop(); /* both are free again */
	assert_int_equal(add_handler(SIGHUP, &caught), 0);
	assert_int_equal(add_handler(SIGCHLD, &caught), 0);
	assert_int_equal(caught.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(O65_queues_test_blocking_get_wait),
		IN_LOOP(O65_queues_test_blocking_put_wait),
		IN_LOOP(O65_queues_test_nonblocking_get_exception),
		IN_LOOP(O65_queues_test_nonblocking_put_exception),
		IN_LOOP(O65_queues_test_why_are_putters_waiting),
		IN_LOOP(O66_queues_test_put_cancel_drop),
		IN_LOOP(O66_queues_test_cancelled_getters_not_being_held),
		IN_LOOP(O66_queues_test_cancelled_puts_not_being_held),
		IN_LOOP(O67_events_test_add_signal_handler),
		IN_LOOP(O67_events_test_signal_handling_while_selecting),
		IN_LOOP(O67_unix_events_test_close),
	};

	return cmocka_run_group_tests(tests, block_signals, NULL);
}
