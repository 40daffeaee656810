/*
 * worker: a process in its place, started, heard, ended, started again.
 *
 * The happy path: a job on `sys` starts it -> its pipes and its end are
 * watched -> lines -> asked to stop: its stdin ends, it ends.
 *
 * What can go wrong:
 * - it cannot be started, or ends: back-off, and another one comes;
 * - it does not end with its stdin: SIGTERM, then SIGKILL at stop_timeout;
 * - it closes its stdin or its stdout and lives on: it is killed;
 * - it writes without end: read is a bounded number of bytes an iteration;
 * - its last line has no end: it is no command, whatever it says.
 */

#include "daemon/handler/worker.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/change.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 65536
#define LAST_BYTES_MAX (64 * READ_BYTES) /* read of a process that has ended */
#define ERR_LINE_BYTES_MAX 512
#define ERR_LINES_BURST 20
#define ERR_LINES_WHILE_US ES_S(10)
#define TERM_AFTER_US ES_S(1)
#define MUTE_US ES_S(1) /* from the end of its stdout to its own */
#define OPTION_PREFIX "EARSHOT_OPTION_"
#define IN_KEPT_BYTES (256 * 1024)

static void on_timer(void *arg);
static void finish(struct worker *worker) LOOP_THREAD;

static es_loop *
loop_of(const struct worker *worker)
{
	return worker->exec->handler->handlers->rooms.loop;
}

static const struct conf_handler *
conf_of(const struct worker *worker)
{
	return worker->exec->handler->conf;
}

void
worker_init(struct worker *worker, struct exec *exec, unsigned index)
{
	const struct conf_handler *conf = exec->handler->conf;

	*worker = (struct worker){
		.exec = exec,
		.index = index,
		.state = WORKER_STOPPED,
		.in_fd = -1,
		.out_fd = -1,
		.err_fd = -1,
	};
	buffer_init(&worker->in);
	list_init(&worker->ready);
	list_init(&worker->flight);
	lines_init(&worker->out, (size_t)conf->line_bytes_max);
	lines_init(&worker->err, ERR_LINE_BYTES_MAX);
	limiter_init(&worker->err_limiter, ERR_LINES_BURST, ERR_LINES_WHILE_US);
	limiter_init(&worker->bad_limiter, ERR_LINES_BURST, ERR_LINES_WHILE_US);
	backoff_init(
	    &worker->backoff, conf->backoff_min_us, conf->backoff_max_us);
}

/* Without memory for a timer its time is up at once. */
static void
arm(struct worker *worker, int64_t after_us)
{
	es_call_forget(&worker->timer);
	if (es_call_later(loop_of(worker), after_us, "handler process",
		on_timer, worker, NULL, &worker->timer) < 0)
		on_timer(worker);
}

/* Its pipes */

static void
close_fd(int *fd, es_watch **watch)
{
	es_watch_free(*watch);
	*watch = NULL;
	if (*fd >= 0)
		(void)close(*fd); /* a pipe's end: nothing can be lost */
	*fd = -1;
}

static void
on_stderr_line(const uint8_t *line, size_t len, void *arg)
{
	struct worker *worker = arg;
	uint64_t held;

	if (!limiter_allow(&worker->err_limiter, clock_now_us(), &held))
		return;
	if (held > 0)
		log_info("stderr: %" PRIu64 " lines left out handler=%s", held,
		    conf_of(worker)->name);
	log_info("%.*s handler=%s", (int)len, (const char *)line,
	    conf_of(worker)->name);
}

static void
on_stdout_line(const uint8_t *line, size_t len, void *arg)
{
	struct worker *worker = arg;

	es_loop_assert(loop_of(worker));
	if (worker->out.cut != worker->out_cut) { /* its beginning, no more */
		worker->out_cut = worker->out.cut;
		exec_on_bad(worker, "a line over line_bytes_max", line, len);
		return;
	}
	/* It stands in a buffer of ours that nobody reads again. */
	exec_on_line(worker, (uint8_t *)(uintptr_t)line, len);
}

static void
on_unended_line(const uint8_t *line, size_t len, void *arg)
{
	struct worker *worker = arg;

	es_loop_assert(loop_of(worker));
	exec_on_bad(worker, "a line without an end", line, len);
}

/* 1: there may be more; 0: nothing now; < 0: the end. */
static int
read_some(
    int fd, struct lines *lines, line_fn fn, struct worker *worker) LOOP_THREAD
{
	uint8_t bytes[READ_BYTES];
	const uint64_t lost = lines->lost;
	const ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	lines_feed(lines, bytes, (size_t)n, fn, worker);
	if (lines->lost > lost && lines == &worker->out)
		exec_on_bad(worker, "no memory for a line", "", 0);
	return 1;
}

static void
on_stdout(int fd, unsigned what, void *arg)
{
	struct worker *worker = arg;

	(void)what;
	es_loop_assert(loop_of(worker));
	if (read_some(fd, &worker->out, on_stdout_line, worker) >= 0)
		return;
	lines_end(&worker->out, on_unended_line, worker);
	close_fd(&worker->out_fd, &worker->out_watch);
	/* Most often it is ending, and that is told next. */
	if (worker->state == WORKER_UP)
		arm(worker, MUTE_US);
}

static void
on_stderr(int fd, unsigned what, void *arg)
{
	struct worker *worker = arg;

	(void)what;
	es_loop_assert(loop_of(worker));
	if (read_some(fd, &worker->err, on_stderr_line, worker) >= 0)
		return;
	lines_end(&worker->err, on_stderr_line, worker);
	close_fd(&worker->err_fd, &worker->err_watch);
}

static void
on_stdin(int fd, unsigned what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	es_loop_assert(loop_of(worker));
	worker_write(worker);
}

static void
watch_stdin(struct worker *worker, bool wanted) LOOP_THREAD
{
	if (worker->in_watch == NULL && wanted &&
	    es_watch_new(loop_of(worker), "handler stdin", worker->in_fd,
		ES_WRITE, on_stdin, worker, &worker->in_watch) < 0)
		worker_kill(worker, "cannot be written to: out of memory");
	if (worker->in_watch != NULL && !wanted) {
		es_watch_free(worker->in_watch);
		worker->in_watch = NULL;
	}
}

static es_usec
term_after(const struct worker *worker)
{
	return conf_of(worker)->stop_timeout_us < TERM_AFTER_US ? 0
								: TERM_AFTER_US;
}

/* Asked to end: its stdin does when every reply is in it. */
static void
end_stdin(struct worker *worker) LOOP_THREAD
{
	if (worker->in_fd < 0 || worker->state != WORKER_ENDING ||
	    worker->kills > 0 || worker->in.len > 0 || worker->asked_bytes > 0)
		return;
	close_fd(&worker->in_fd, &worker->in_watch);
	arm(worker, term_after(worker));
}

void
worker_write(struct worker *worker)
{
	ssize_t n;

	if (worker->in.len == 0)
		end_stdin(worker);
	if (worker->in_fd < 0 || worker->in.len == 0)
		return;
	n = write(worker->in_fd, worker->in.data, worker->in.len);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		close_fd(&worker->in_fd, &worker->in_watch);
		if (!process_has_ended(worker->process))
			worker_kill(worker, "closed its stdin and goes on");
		return;
	}
	if (n > 0) {
		worker->in_written += (uint64_t)n;
		buffer_consume(&worker->in, (size_t)n);
	}
	if (worker->in.len == 0 && worker->in.size > IN_KEPT_BYTES)
		buffer_fini(&worker->in);
	watch_stdin(worker, worker->in.len > 0);
	end_stdin(worker);
}

/* Its life */

static void
wait_or_stop(struct worker *worker) LOOP_THREAD
{
	struct exec *exec = worker->exec;
	int64_t delay_us;

	if (exec->stopping) {
		worker->state = WORKER_STOPPED;
		handlers_check_waiting(exec->handler->handlers);
		handlers_sweep_later(exec->handler->handlers);
		return;
	}
	exec->random = exec->random * UINT64_C(6364136223846793005) +
		       UINT64_C(1442695040888963407);
	delay_us = backoff_next(&worker->backoff, exec->random >> 16);
	worker->state = WORKER_DOWN;
	log_info("another one in %" PRId64 " ms handler=%s",
	    delay_us / ES_MS(1), conf_of(worker)->name);
	arm(worker, delay_us);
}

static void
on_end(void *arg)
{
	struct worker *worker = arg;

	es_loop_assert(loop_of(worker));
	finish(worker);
}

/* What stands in its pipe, but for what it would never end to say. */
static void
hear_rest(struct worker *worker) LOOP_THREAD
{
	int64_t left = LAST_BYTES_MAX;

	while (
	    worker->out_fd >= 0 && left > 0 &&
	    read_some(worker->out_fd, &worker->out, on_stdout_line, worker) > 0)
		left -= READ_BYTES;
}

/* What it still said counts; then its group goes, while it has its number. */
static void
finish(struct worker *worker)
{
	struct process *process = worker->process;
	char how[WORKER_ERROR_BYTES_MAX];
	int64_t left = LAST_BYTES_MAX;

	es_call_forget(&worker->timer);
	process_signal(process, SIGKILL);
	hear_rest(worker);
	lines_end(&worker->out, on_unended_line, worker);
	while (
	    worker->err_fd >= 0 && left > 0 &&
	    read_some(worker->err_fd, &worker->err, on_stderr_line, worker) > 0)
		left -= READ_BYTES;
	lines_end(&worker->err, on_stderr_line, worker);
	if (process_reap(process, how, sizeof(how), NULL) < 0)
		(void)snprintf(how, sizeof(how), "is being killed");
	if (worker->exec->stopping)
		log_debug("process %d %s handler=%s", (int)process->pid, how,
		    conf_of(worker)->name);
	else
		log_warn("process %d %s handler=%s", (int)process->pid, how,
		    conf_of(worker)->name);
	ending_unwatch(&worker->ending);
	close_fd(&worker->in_fd, &worker->in_watch);
	close_fd(&worker->out_fd, &worker->out_watch);
	close_fd(&worker->err_fd, &worker->err_watch);
	process_drop(process);
	worker->process = NULL;
	worker->state = WORKER_DOWN;
	exec_on_over(worker);
	buffer_fini(&worker->in);
	worker->in_total = worker->in_written = 0;
	backoff_ran(&worker->backoff, clock_now_us() - worker->started_us);
	wait_or_stop(worker);
}

static int
watch(struct worker *worker) LOOP_THREAD
{
	struct process *process = worker->process;
	es_loop *loop = loop_of(worker);
	int r;

	worker->in_fd = process->in_fd;
	worker->out_fd = process->out_fd;
	worker->err_fd = process->err_fd;
	process->in_fd = process->out_fd = process->err_fd = -1;
	r = es_watch_new(loop, "handler stdout", worker->out_fd, ES_READ,
	    on_stdout, worker, &worker->out_watch);
	if (r == 0)
		r = es_watch_new(loop, "handler stderr", worker->err_fd,
		    ES_READ, on_stderr, worker, &worker->err_watch);
	if (r == 0)
		r = ending_watch(
		    &worker->ending, loop, process, on_end, worker);
	return r;
}

static void
on_spawned(es_future *f, void *arg)
{
	struct worker *worker = arg;
	es_value value = ES_NOTHING;
	int r;

	es_loop_assert(loop_of(worker));
	assert(worker->state == WORKER_SPAWNING);
	r = es_future_take(f, &value);
	es_future_unref(f);
	worker->spawning = NULL;
	if (r < 0) {
		log_warn("process cannot be started: %s handler=%s",
		    strerrordesc_np(-r), conf_of(worker)->name);
		wait_or_stop(worker);
		return;
	}
	worker->process = value.p;
	worker->state = WORKER_UP;
	worker->kills = 0;
	worker->started_us = clock_now_us();
	if (watch(worker) < 0) {
		log_error("process cannot be watched handler=%s",
		    conf_of(worker)->name);
		finish(worker);
		return;
	}
	log_info("process %d runs handler=%s", (int)worker->process->pid,
	    conf_of(worker)->name);
	if (worker->exec->stopping)
		worker_stop(worker);
	else
		exec_on_up(worker);
}

/* option.KEY as variables, in one piece of memory.  NULL: there is none. */
static char **
options_new(const struct conf_handler *conf)
{
	const size_t count = conf->option_count;
	size_t bytes = (count + 1) * sizeof(char *), i;
	char **items, *text;

	for (i = 0; i < count; i++)
		bytes += sizeof(OPTION_PREFIX "=") +
			 strlen(conf->options[i].key) +
			 strlen(conf->options[i].value);
	items = memory_alloc(bytes);
	if (items == NULL)
		return NULL;
	text = (char *)(items + count + 1);
	for (i = 0; i < count; i++) {
		items[i] = text;
		text = stpcpy(text, OPTION_PREFIX);
		text = stpcpy(text, conf->options[i].key);
		text = stpcpy(text, "=");
		text = stpcpy(text, conf->options[i].value) + 1;
	}
	assert(text == (char *)items + bytes);
	return items;
}

static int
make_request(
    const struct conf_handler *conf, struct spawn_request **ret_request)
{
	char **options = options_new(conf);
	const struct conf_command like = { .exec = conf->exec,
		.environment = {
		    .items = options, .count = conf->option_count } };
	const int r =
	    options != NULL ? spawn_request_new(&like, ret_request) : -ENOMEM;

	memory_free(options);
	return r;
}

static int
submit(struct worker *worker)
{
	struct handlers_rooms *rooms = &worker->exec->handler->handlers->rooms;
	struct spawn_request *request;
	es_future *f;
	int r = make_request(conf_of(worker), &request);

	if (r < 0)
		return r;
	spawn_request_talk(request);
	r = es_executor_submit(rooms->sys, (uint64_t)(uintptr_t)worker->exec,
	    "start handler", spawn_job, request, spawn_request_free,
	    rooms->loop, &f);
	if (r < 0) {
		spawn_request_free(request);
		return r;
	}
	r = es_future_add_done_callback(
	    f, rooms->loop, on_spawned, worker, NULL);
	if (r < 0) {
		(void)es_future_cancel(f); /* or its value is dropped */
		es_future_unref(f);
		return r;
	}
	worker->spawning = f;
	return 0;
}

void
worker_start(struct worker *worker)
{
	int r;

	assert(worker->process == NULL);
	if (worker->starts++ > 0)
		worker->exec->handler->counts.restarts++;
	worker->state = WORKER_SPAWNING;
	r = submit(worker);
	if (r == 0)
		return;
	log_warn("process cannot be started: %s handler=%s",
	    strerrordesc_np(-r), conf_of(worker)->name);
	wait_or_stop(worker);
}

void
worker_kill(struct worker *worker, const char *why)
{
	if (worker->process == NULL || worker->kills > 1)
		return;
	log_warn("process %d %s: killed handler=%s", (int)worker->process->pid,
	    why, conf_of(worker)->name);
	worker->kills = 2;
	if (worker->state == WORKER_UP)
		worker->state = WORKER_ENDING;
	process_signal(worker->process, SIGKILL);
}

void
worker_stop(struct worker *worker)
{
	switch (worker->state) {
	case WORKER_STOPPED:
		return;
	case WORKER_DOWN:
		es_call_forget(&worker->timer);
		worker->state = WORKER_STOPPED;
		return;
	case WORKER_SPAWNING:
		(void)es_future_cancel(worker->spawning); /* or it is here */
		return;
	case WORKER_UP:
		worker->state = WORKER_ENDING;
		/* A filter may have what it published: the reply comes. */
		arm(worker, worker->asked_bytes > 0
				? conf_of(worker)->callback_timeout_us
				: term_after(worker));
		worker_write(worker);
		break;
	case WORKER_ENDING:
		break;
	}
	if (worker->exec->hurried && worker->process != NULL &&
	    worker->kills < 2) {
		worker->kills = 2;
		process_signal(worker->process, SIGKILL);
		/* The connections are cut before its end is noticed. */
		hear_rest(worker);
	}
}

static void
on_timer(void *arg)
{
	struct worker *worker = arg;

	es_loop_assert(loop_of(worker));
	es_call_unref(worker->timer);
	worker->timer = NULL;
	if (worker->state == WORKER_DOWN) {
		worker_start(worker);
	} else if (worker->state == WORKER_UP) {
		exec_on_bad(worker, "stdout closed", "", 0);
		worker_kill(worker, "closed its stdout and goes on");
	} else if (worker->state == WORKER_ENDING && worker->kills == 0) {
		if (worker->in.len > 0)
			exec_on_bad(worker, "replies are not read", "", 0);
		close_fd(&worker->in_fd, &worker->in_watch);
		worker->kills = 1;
		process_signal(worker->process, SIGTERM);
		arm(worker, conf_of(worker)->stop_timeout_us);
	} else if (worker->state == WORKER_ENDING) {
		worker_kill(worker, "does not end within its stop_timeout");
	}
}

void
worker_fini(struct worker *worker)
{
	es_call_forget(&worker->timer);
	if (worker->spawning != NULL) {
		(void)es_future_remove_done_callback(
		    worker->spawning, on_spawned, worker);
		(void)es_future_cancel(worker->spawning); /* else: dropped */
		es_future_unref(worker->spawning);
	}
	ending_unwatch(&worker->ending);
	close_fd(&worker->in_fd, &worker->in_watch);
	close_fd(&worker->out_fd, &worker->out_watch);
	close_fd(&worker->err_fd, &worker->err_watch);
	if (worker->process != NULL)
		process_drop(worker->process);
	buffer_fini(&worker->in);
	lines_fini(&worker->out);
	lines_fini(&worker->err);
}
