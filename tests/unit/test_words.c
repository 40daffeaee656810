/*
 * Who may call what: the table W, row by row, tried on a thread, in a call,
 * in a task and in a job; W1: the checks are in every build.
 */

#include "tests/unit/loop_rig.h"

#include <sys/eventfd.h>

enum place { THREAD, CALL, TASK, JOB, PLACES };

static const char *const names[PLACES] = { "thread", "call", "task", "job" };

/* What is tried on, in each place anew. */
struct tools {
	es_loop *loop; /* running, elsewhere or here */
	es_loop *other; /* idle */
	es_future *pending;
	es_executor *executor;
	es_tx *tx;
	es_rx *rx; /* full */
	es_tx *tx_empty;
	es_rx *rx_empty;
	int fd;
};

typedef int (*try_fn)(struct tools *t);

static int
body_nothing(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	return 0;
}

static void
call_nothing(void *arg)
{
	(void)arg;
}

static int
try_stop(struct tools *t)
{
	es_loop_stop(t->other);
	return 0;
}

static int
try_call(struct tools *t)
{
	return es_call_soon(t->loop, "x", call_nothing, NULL, NULL, NULL);
}

static int
try_spawn(struct tools *t)
{
	return es_spawn(t->loop, "x", body_nothing, NULL, NULL, NULL);
}

static int
try_invoke(struct tools *t)
{
	es_future *f = NULL;
	int r = es_loop_invoke(t->loop, "x", body_nothing, NULL, NULL, &f);

	es_future_unref(f);
	return r;
}

static int
try_submit(struct tools *t)
{
	return es_executor_submit(
	    t->executor, 0, "x", body_nothing, NULL, NULL, NULL, NULL);
}

static int
try_future(struct tools *t)
{
	es_future *f = es_future_new(t->loop);
	int r = es_future_set_result(f, ES_NOTHING);

	es_future_unref(f);
	return r;
}

static int
try_await(struct tools *t)
{
	return es_await(t->pending, ES_MS(1));
}

static int
try_await_any(struct tools *t)
{
	size_t which;

	return es_await_any(&t->pending, 1, ES_MS(1), &which);
}

static int
try_await_take(struct tools *t)
{
	es_future *f = es_future_new(t->loop);

	return es_await_take(f, ES_MS(1), NULL);
}

static int
try_next(struct tools *t)
{
	es_value value;

	return es_next(t->rx_empty, ES_MS(1), &value);
}

static int
try_next_0(struct tools *t)
{
	es_value value;

	return es_next(t->rx_empty, 0, &value);
}

static int
try_send(struct tools *t)
{
	return es_send(t->tx, ES_INT(1), 1, ES_MS(1));
}

static int
try_send_0(struct tools *t)
{
	return es_send(t->tx, ES_INT(1), 1, 0);
}

static int
try_sleep(struct tools *t)
{
	(void)t;
	return es_sleep(ES_MS(1));
}

static int
try_yield(struct tools *t)
{
	(void)t;
	return es_yield();
}

static int
try_await_fd(struct tools *t)
{
	return es_await_fd(t->fd, ES_READ, ES_MS(1));
}

/* A shield outside of a task does nothing. */
static int
try_shield(struct tools *t)
{
	(void)t;
	es_shield_begin(ES_MS(1));
	es_shield_end();
	return 0;
}

static int
try_group(struct tools *t)
{
	es_group *group = NULL;
	int r = es_group_new(t->loop, &group);

	return r < 0 ? r : es_group_close(group, 0);
}

static void
watch_nothing(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static int
try_watch(struct tools *t)
{
	es_watch *watch = NULL;
	int r = es_watch_new(
	    t->loop, "x", t->fd, ES_READ, watch_nothing, NULL, &watch);

	es_watch_free(watch);
	return r;
}

static int
try_event_base(struct tools *t)
{
	return es_loop_event_base(t->loop) ? 0 : -EPERM;
}

static int
try_run(struct tools *t)
{
	es_loop_stop(t->other);
	return es_loop_run(t->other);
}

static int
try_run_until_idle(struct tools *t)
{
	return es_loop_run_until_idle(t->other);
}

static int
try_es_run(struct tools *t)
{
	(void)t;
	return es_run(body_nothing, NULL, NULL);
}

static int
try_run_running(struct tools *t)
{
	return es_loop_run(t->loop);
}

static int
try_close_running(struct tools *t)
{
	return es_loop_close(t->loop, 0);
}

static int
try_close(struct tools *t)
{
	es_loop *idle = NULL;
	int r = es_loop_new(&idle, NULL);

	(void)t;
	if (r == 0)
		r = es_loop_close(idle, 0);
	es_loop_unref(idle);
	return r;
}

static const struct {
	const char *name;
	try_fn fn;
	int expected[PLACES];
} rows[] = {
	{ "stop", try_stop, { 0, 0, 0, 0 } },
	{ "call_soon", try_call, { 0, 0, 0, 0 } },
	{ "spawn", try_spawn, { 0, 0, 0, 0 } },
	{ "invoke", try_invoke, { 0, 0, 0, 0 } },
	{ "submit", try_submit, { 0, 0, 0, 0 } },
	{ "future", try_future, { 0, 0, 0, 0 } },
	{ "await", try_await,
	    { -ETIMEDOUT, -EDEADLK, -ETIMEDOUT, -ETIMEDOUT } },
	{ "await_any", try_await_any,
	    { -ETIMEDOUT, -EDEADLK, -ETIMEDOUT, -ETIMEDOUT } },
	{ "await_take", try_await_take,
	    { -ETIMEDOUT, -EDEADLK, -ETIMEDOUT, -ETIMEDOUT } },
	{ "next", try_next, { -ETIMEDOUT, -EDEADLK, -ETIMEDOUT, -ETIMEDOUT } },
	{ "next 0", try_next_0,
	    { -ETIMEDOUT, -ETIMEDOUT, -ETIMEDOUT, -ETIMEDOUT } },
	{ "send", try_send, { -ETIMEDOUT, -EDEADLK, -ETIMEDOUT, -ETIMEDOUT } },
	{ "send 0", try_send_0, { -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN } },
	{ "sleep", try_sleep, { 0, -EDEADLK, 0, 0 } },
	{ "yield", try_yield, { -EPERM, -EPERM, 0, -EPERM } },
	{ "await_fd", try_await_fd, { -EPERM, -EPERM, -ETIMEDOUT, -EPERM } },
	{ "shield", try_shield, { 0, 0, 0, 0 } },
	{ "group", try_group, { -EPERM, 0, 0, -EPERM } },
	{ "watch", try_watch, { -EPERM, 0, 0, -EPERM } },
	{ "event_base", try_event_base, { -EPERM, 0, 0, -EPERM } },
	{ "run", try_run, { 0, -EBUSY, -EBUSY, 0 } },
	{ "run_until_idle", try_run_until_idle, { 0, -EBUSY, -EBUSY, 0 } },
	{ "es_run", try_es_run, { 0, -EBUSY, -EBUSY, 0 } },
	{ "run a running one", try_run_running,
	    { -EBUSY, -EBUSY, -EBUSY, -EBUSY } },
	{ "close", try_close, { 0, -EBUSY, -EBUSY, 0 } },
	{ "close a running one", try_close_running,
	    { -EBUSY, -EBUSY, -EBUSY, -EBUSY } },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct trial {
	struct tools *tools;
	int got[ROWS];
};

static int
trial_body(void *arg, es_value *ret)
{
	struct trial *trial = arg;
	size_t i;

	(void)ret;
	for (i = 0; i < ROWS; i++)
		trial->got[i] = rows[i].fn(trial->tools);
	return 0;
}

static void
tools_open(struct tools *t, es_loop_thread **thread)
{
	es_stream_opts one = { .max_items = 1 };

	*t = (struct tools){ .loop = rig_loop(), .other = rig_loop() };
	t->pending = es_future_new(t->loop);
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(es_executor_new(&t->executor, NULL), 0);
	assert_int_equal(es_stream_new(t->loop, &one, &t->tx, &t->rx), 0);
	assert_int_equal(es_send(t->tx, ES_INT(0), 1, 0), 0);
	assert_int_equal(
	    es_stream_new(t->loop, &one, &t->tx_empty, &t->rx_empty), 0);
	assert_int_equal(es_loop_thread_start(t->loop, thread), 0);
}

static void
tools_close(struct tools *t, es_loop_thread *thread)
{
	(void)es_tx_end(t->tx, 0, NULL);
	(void)es_rx_close(t->rx);
	(void)es_tx_end(t->tx_empty, 0, NULL);
	(void)es_rx_close(t->rx_empty);
	assert_int_equal(es_executor_shutdown(t->executor, 0, ES_S(5)), 0);
	assert_int_equal(es_loop_thread_stop(thread, ES_S(5)), 0);
	es_future_unref(t->pending);
	es_loop_unref(t->loop);
	rig_end(t->other);
	close(t->fd);
}

/* On a running loop, in place. */
static void
try_in(enum place place, struct trial *trial)
{
	es_future *f = NULL;
	int r = 0;

	if (place == THREAD)
		r = trial_body(trial, NULL);
	else if (place == CALL)
		r = es_loop_invoke(
		    trial->tools->loop, "trial", trial_body, trial, NULL, &f);
	else if (place == TASK)
		r = es_spawn(
		    trial->tools->loop, "trial", trial_body, trial, NULL, &f);
	else
		r = es_executor_submit(trial->tools->executor, 0, "trial",
		    trial_body, trial, NULL, NULL, &f);
	assert_int_equal(r, 0);
	if (f)
		assert_int_equal(es_await_take(f, RIG_PATIENCE, NULL), 0);
}

static void
W_W1_each_function_in_each_place_answers_as_said(void **state)
{
	es_loop_thread *thread = NULL;
	struct trial trial;
	struct tools t;
	int place, wrong = 0;
	size_t i;

	(void)state;
	tools_open(&t, &thread);
	for (place = THREAD; place < PLACES; place++) {
		trial = (struct trial){ .tools = &t };
		try_in((enum place)place, &trial);
		for (i = 0; i < ROWS; i++) {
			if (trial.got[i] == rows[i].expected[place])
				continue;
			print_error("%s in a %s: %d, not %d\n", rows[i].name,
			    names[place], trial.got[i],
			    rows[i].expected[place]);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
	tools_close(&t, thread);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    W_W1_each_function_in_each_place_answers_as_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
