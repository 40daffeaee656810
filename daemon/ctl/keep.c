/*
 * keep: the state file, written by a thread of its own.
 *
 * The happy path: a place has moved and stdout has its messages -> keep_look()
 * -> at once, or a second after the last time, its text is made and handed to
 * the executor -> it is on the disk -> if places moved meanwhile, again.
 *
 * What can go wrong: the disk does not take it.  That is said when it begins
 * and when it is over; the stream goes on, each second there is a new attempt,
 * and the exit code is 1 if the last one failed.
 */

#include "daemon/ctl/keep.h"
#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SHUTDOWN_TIMEOUT ES_S(1)

static void look(struct keep *keep, bool at_once) LOOP_THREAD;

static int
open_file(struct keep *keep)
{
	const int error = state_open(&keep->state, keep->path, &keep->text);

	switch (error) {
	case 0:
		return CTL_OK;
	case -EAGAIN:
		ctl_say("%s: in use by another earshot", keep->path);
		break;
	case -EINVAL:
		ctl_say("%s: not a regular file", keep->path);
		break;
	default:
		ctl_say("%s: %s", keep->path, strerror(-error));
	}
	keep->path = NULL; /* nothing to close */
	buffer_fini(&keep->text);
	return CTL_FAILED;
}

static int
read_file(struct keep *keep)
{
	char what[STATE_WHAT_MAX];
	size_t line;

	if (state_parse(&keep->text, keep->places, &line, what) == 0)
		return CTL_OK;
	ctl_say("%s:%zu: %s", keep->path, line, what);
	return CTL_USAGE;
}

/* To know now, and not after the first messages, that it can be written. */
static int
write_file(struct keep *keep) MAY_BLOCK
{
	const es_executor_opts options = { .name = "state", .threads = 1 };
	int error;

	buffer_clear(&keep->text);
	error = state_put(&keep->text, keep->places);
	if (error == 0)
		error =
		    state_save(&keep->state, keep->text.data, keep->text.len);
	if (error == 0)
		error = es_executor_new(&keep->executor, &options);
	if (error < 0)
		ctl_say("%s: %s", keep->path, strerror(-error));
	return error < 0 ? CTL_FAILED : CTL_OK;
}

int
keep_open(struct keep *keep, const char *path)
{
	*keep = (struct keep){ .path = path };
	return path != NULL ? open_file(keep) : CTL_OK;
}

size_t
keep_channels_max(const struct keep *keep)
{
	return state_channels_max(&keep->text);
}

int
keep_recall(struct keep *keep, struct places *places)
{
	int code;

	keep->places = places;
	if (keep->path == NULL)
		return CTL_OK;
	code = read_file(keep);
	return code == CTL_OK ? write_file(keep) : code;
}

void
keep_close(struct keep *keep)
{
	if (keep->path == NULL)
		return;
	if (es_executor_shutdown(
		keep->executor, ES_EXEC_CANCEL, SHUTDOWN_TIMEOUT) > 0)
		return; /* it is still writing, and needs its memory */
	state_close(&keep->state);
	buffer_fini(&keep->text);
}

void
keep_start(struct keep *keep, es_loop *loop, void (*done)(void *arg), void *arg)
{
	assert(keep->loop == NULL);
	keep->loop = loop;
	keep->done = done;
	keep->arg = arg;
	keep->saved_at = es_loop_time(loop) - KEEP_INTERVAL;
}

static void
forget_timer(struct keep *keep)
{
	if (keep->timer == NULL)
		return;
	(void)es_call_cancel(keep->timer); /* it may be the one running */
	es_call_unref(keep->timer);
	keep->timer = NULL;
}

void
keep_end(struct keep *keep)
{
	forget_timer(keep);
	es_future_unref(keep->future);
	keep->future = NULL;
	keep->loop = NULL;
}

static int
save(void *arg, es_value *ret)
{
	struct keep *keep = arg;

	(void)ret;
	return state_save(&keep->state, keep->text.data, keep->text.len);
}

static void
tell(struct keep *keep, int error)
{
	if (error < 0 && error != keep->error)
		ctl_say("%s: %s", keep->path, strerror(-error));
	else if (error == 0 && keep->error < 0)
		ctl_say("%s: saved again", keep->path);
	keep->error = error;
	if (error < 0)
		keep->places->unsaved = true;
}

/* What it has done is seen by keep_look(); this wakes the loop. */
static void
on_saved(es_future *future, void *arg)
{
	struct keep *keep = arg;

	(void)future;
	if (keep->loop == NULL) /* the run is over */
		return;
	es_loop_assert(keep->loop);
	keep_look(keep);
}

static int
submit(struct keep *keep) LOOP_THREAD
{
	int error;

	buffer_clear(&keep->text);
	error = state_put(&keep->text, keep->places);
	if (error < 0)
		return error;
	error = es_executor_submit(keep->executor, 0, "state.save", save, keep,
	    NULL, keep->loop, &keep->future);
	if (error < 0)
		return error;
	if (es_future_add_done_callback(
		keep->future, NULL, on_saved, keep, NULL) < 0)
		log_debug("%s: its end is seen later", keep->path);
	return 0;
}

static void
on_timer(void *arg)
{
	struct keep *keep = arg;

	es_loop_assert(keep->loop);
	forget_timer(keep);
	keep_look(keep);
}

static void
look(struct keep *keep, bool at_once)
{
	const es_usec now = es_loop_time(keep->loop);
	int error;

	assert(keep->future == NULL);
	if (keep->timer != NULL && !at_once)
		return;
	forget_timer(keep);
	if (!at_once && now < keep->saved_at + KEEP_INTERVAL) {
		if (es_call_at(keep->loop, keep->saved_at + KEEP_INTERVAL,
			"state.due", on_timer, keep, NULL, &keep->timer) < 0)
			keep->timer = NULL; /* the next look tries again */
		return;
	}
	keep->saved_at = now;
	keep->places->unsaved = false;
	error = submit(keep);
	if (error < 0)
		tell(keep, error);
}

static void
take_result(struct keep *keep) LOOP_THREAD
{
	const int error = es_future_result(keep->future, NULL);

	es_future_unref(keep->future);
	keep->future = NULL;
	tell(keep, error);
	if (!keep->finishing)
		return;
	if (error == 0 && keep->places->unsaved)
		look(keep, true);
	if (keep->future == NULL)
		keep->done(keep->arg);
}

void
keep_look(struct keep *keep)
{
	if (keep->path == NULL)
		return;
	if (keep->future != NULL && es_future_done(keep->future))
		take_result(keep);
	if (keep->future == NULL && !keep->finishing && keep->places->unsaved)
		look(keep, false);
}

bool
keep_finish(struct keep *keep)
{
	assert(!keep->finishing);
	if (keep->path == NULL)
		return true;
	keep->finishing = true;
	if (keep->future == NULL && keep->places->unsaved)
		look(keep, true);
	return keep->future == NULL;
}
