/*
 * Bad input: NULL where a header does not allow it is asserted, never followed;
 * where it says "NULL: no-op" that is what happens.
 */

#include "tests/unit/loop_rig.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static es_loop *loop;
static es_future *f;
static es_executor *executor;
static es_tx *tx;
static es_rx *rx;

static void
never_watched(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	rig_never(arg);
}

static void
never_signalled(int signo, const struct signalfd_siginfo *info, void *arg)
{
	(void)signo;
	(void)info;
	rig_never(arg);
}

static int
never_feeds(es_tx *end, void *arg)
{
	(void)end;
	rig_never(arg);
	return 0;
}

/* Each is refused by an assert. */
#define REFUSED(R)                                                             \
	R(es_loop_new(NULL, NULL))                                             \
	R(es_loop_ref(NULL))                                                   \
	R(es_loop_run(NULL))                                                   \
	R(es_loop_run_until(NULL, f))                                          \
	R(es_loop_run_until(loop, NULL))                                       \
	R(es_loop_run_until_idle(NULL))                                        \
	R(es_loop_stop(NULL))                                                  \
	R(es_loop_close(NULL, 0))                                              \
	R(es_loop_close(loop, -1))                                             \
	R(es_loop_get_state(NULL))                                             \
	R(es_loop_get_stats(NULL, &(es_loop_stats){ 0 }))                      \
	R(es_loop_get_stats(loop, NULL))                                       \
	R(es_loop_reset_longest(NULL))                                         \
	R(es_loop_check_stuck(NULL, 0))                                        \
	R(es_loop_event_base(NULL))                                            \
	R(es_loop_set_hooks(NULL, NULL, NULL, NULL))                           \
	R(es_loop_enter(NULL, "x"))                                            \
	R(es_loop_leave(NULL))                                                 \
	R(es_loop_assert(NULL))                                                \
	R(es_call_soon(NULL, "x", rig_never, NULL, NULL, NULL))                \
	R(es_call_soon(loop, "x", NULL, NULL, NULL, NULL))                     \
	R(es_call_later(NULL, 0, "x", rig_never, NULL, NULL, NULL))            \
	R(es_call_at(loop, 0, "x", NULL, NULL, NULL, NULL))                    \
	R(es_call_cancel(NULL))                                                \
	R(es_loop_invoke(loop, "x", rig_never_body, NULL, NULL, NULL))         \
	R(es_loop_invoke(loop, "x", NULL, NULL, NULL, &f))                     \
	R(es_loop_invoke(NULL, "x", rig_never_body, NULL, NULL, &f))           \
	R(es_future_ref(NULL))                                                 \
	R(es_future_set_result(NULL, ES_NOTHING))                              \
	R(es_future_set_error(NULL, -EIO, NULL))                               \
	R(es_future_set_error(f, 0, NULL))                                     \
	R(es_future_set_cancel_hook(NULL, rig_never_done, NULL))               \
	R(es_future_set_cancel_hook(f, NULL, NULL))                            \
	R(es_future_set_name(NULL, "x"))                                       \
	R(es_future_done(NULL))                                                \
	R(es_future_result(NULL, NULL))                                        \
	R(es_future_take(NULL, &(es_value){ 0 }))                              \
	R(es_future_take(f, NULL))                                             \
	R(es_future_error(NULL))                                               \
	R(es_future_add_done_callback(NULL, loop, rig_never_done, NULL, NULL)) \
	R(es_future_add_done_callback(f, loop, NULL, NULL, NULL))              \
	R(es_future_remove_done_callback(NULL, rig_never_done, NULL))          \
	R(es_future_remove_done_callback(f, NULL, NULL))                       \
	R(es_await(NULL, 0))                                                   \
	R(es_await_any(NULL, 1, 0, &(size_t){ 0 }))                            \
	R(es_await_any(&f, 1, 0, NULL))                                        \
	R(es_gather(loop, NULL, 1, 0, &f))                                     \
	R(es_gather(loop, &f, 1, 0, NULL))                                     \
	R(es_group_new(NULL, &(es_group *){ NULL }))                           \
	R(es_group_new(loop, NULL))                                            \
	R(es_group_spawn(NULL, "x", rig_never_body, NULL, NULL, NULL))         \
	R(es_group_cancel(NULL))                                               \
	R(es_group_close(NULL, 0))                                             \
	R(es_spawn(NULL, "x", rig_never_body, NULL, NULL, NULL))               \
	R(es_spawn(loop, "x", NULL, NULL, NULL, NULL))                         \
	R(es_task_name(NULL))                                                  \
	R(es_fail(0, "no failure"))                                            \
	R(es_fail(-EIO, NULL_FORMAT))                                          \
	R(es_shield_begin(-1))                                                 \
	R(es_run(NULL, NULL, NULL))                                            \
	R(es_run_in_executor(executor, "x", NULL, NULL, NULL))                 \
	R(es_executor_new(NULL, NULL))                                         \
	R(es_executor_submit(                                                  \
	    NULL, 0, "x", rig_never_body, NULL, NULL, NULL, NULL))             \
	R(es_executor_submit(executor, 0, "x", NULL, NULL, NULL, NULL, NULL))  \
	R(es_executor_load(NULL, NULL, NULL))                                  \
	R(es_executor_get_stats(executor, NULL))                               \
	R(es_executor_quiet(NULL, NULL, &f))                                   \
	R(es_executor_quiet(executor, NULL, NULL))                             \
	R(es_stream_new(NULL, NULL, &tx, &rx))                                 \
	R(es_stream_new(loop, NULL, NULL, &rx))                                \
	R(es_stream_new(loop, NULL, &tx, NULL))                                \
	R(es_stream_spawn(loop, "x", NULL, NULL, NULL, NULL, &rx))             \
	R(es_stream_spawn(loop, "x", never_feeds, NULL, NULL, NULL, NULL))     \
	R(es_send(NULL, ES_NOTHING, 0, 0))                                     \
	R(es_next(NULL, 0, &(es_value){ 0 }))                                  \
	R(es_next(rx, 0, NULL))                                                \
	R(es_tx_on_room(NULL, loop, rig_never, NULL))                          \
	R(es_tx_on_room(tx, NULL, rig_never, NULL))                            \
	R(es_tx_on_room(tx, loop, NULL, NULL))                                 \
	R(es_tx_end(tx, 1, NULL))                                              \
	R(es_rx_on_ready(NULL, loop, rig_never, NULL))                         \
	R(es_rx_on_ready(rx, NULL, rig_never, NULL))                           \
	R(es_rx_on_ready(rx, loop, NULL, NULL))                                \
	R(es_rx_error(NULL))                                                   \
	R(es_collect(NULL, 1, 0, &(es_value *){ NULL }, &(size_t){ 0 }))       \
	R(es_collect(rx, 1, 0, NULL, &(size_t){ 0 }))                          \
	R(es_signals_block(NULL))                                              \
	R(es_add_signal_handler(NULL, SIGHUP, never_signalled, NULL))          \
	R(es_add_signal_handler(loop, SIGHUP, NULL, NULL))                     \
	R(es_remove_signal_handler(NULL, SIGHUP))                              \
	R(es_loop_thread_start(NULL, &(es_loop_thread *){ NULL }))             \
	R(es_loop_thread_start(loop, NULL))                                    \
	R(es_watch_new(NULL, "x", 0, ES_READ, never_watched, NULL,             \
	    &(es_watch *){ NULL }))                                            \
	R(es_watch_new(                                                        \
	    loop, "x", 0, ES_READ, NULL, NULL, &(es_watch *){ NULL }))         \
	R(es_watch_new(loop, "x", 0, ES_READ, never_watched, NULL, NULL))      \
	R(es_watch_set(NULL, ES_READ))

/* Not seen through by the compiler. */
static const char *volatile null_format;
#define NULL_FORMAT null_format

#define TEXT_OF(call) #call,
static const char *const texts[] = { REFUSED(TEXT_OF) };
#define CALLS (sizeof(texts) / sizeof(texts[0]))

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-result"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
static void
make_call(size_t i)
{
	size_t n = 0;

#define CALL_OF(call)                                                          \
	if (n++ == i)                                                          \
		call;
	REFUSED(CALL_OF)
}
#pragma GCC diagnostic pop

/* Real ones, of this process. */
static bool
make_tools(void)
{
	es_executor_opts opts = { .threads = 1 };

	if (es_loop_new(&loop, NULL) < 0 ||
	    es_executor_new(&executor, &opts) < 0 ||
	    es_stream_new(loop, NULL, &tx, &rx) < 0)
		return false;
	f = es_future_new(loop);
	return f && es_future_set_result(f, ES_NOTHING) == 0;
}

/* How a child ended that made the call: the signal, or 0. */
static int
ends_by(size_t i)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGABRT, SIG_DFL); /* cmocka has a handler */
		(void)signal(SIGSEGV, SIG_DFL);
		(void)close(STDERR_FILENO);
		if (make_tools())
			make_call(i);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
null_is_asserted(void **state)
{
	const char *mode = getenv("EARSHOT_TEST_MODE");
	unsigned wrong = 0;
	size_t i;

	(void)state;
#ifdef NDEBUG
	skip();
#endif
	if (mode && strstr(mode, "grind"))
		skip(); /* who aborts leaves things behind, it would say */
	for (i = 0; i < CALLS; i++) {
		const int signo = ends_by(i);

		if (signo == SIGABRT)
			continue;
		print_error("%s: %s\n", texts[i],
		    signo ? strsignal(signo) : "nothing happened");
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static void
null_is_no_op_where_the_header_says_so(void **state)
{
	(void)state;
	es_loop_unref(NULL);
	es_call_unref(NULL);
	es_future_unref(NULL);
	es_watch_free(NULL);
	assert_int_equal(es_future_cancel(NULL), 0);
	assert_int_equal(es_await_take(NULL, 0, NULL), -EINVAL);
	assert_int_equal(es_executor_shutdown(NULL, 0, 0), 0);
	assert_int_equal(es_tx_end(NULL, 0, NULL), 0);
	assert_int_equal(es_rx_close(NULL), 0);
	assert_int_equal(es_loop_thread_stop(NULL, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(null_is_asserted),
		cmocka_unit_test(null_is_no_op_where_the_header_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
