/*
 * file: a file whose lines are messages, followed by its name.
 *
 * The happy path: inotify says that something changed -> a job on `sys` looks
 * (follow.c) -> its bytes become lines, lines become messages -> another look,
 * until one finds nothing -> the place is kept a second later, by a look, too.
 *
 * What can go wrong:
 * - The file is missing: waited for.  It is a folder, or may not be read:
 *   tried again with back-off, because permissions change without a word.
 * - inotify cannot be had, overflows, or does not know of what another machine
 *   writes: a look FILE_LOOK_US after the last finds it all the same.
 * - The sink asks for patience: no look until it is ready; the file keeps what
 *   it has.  The place does not move meanwhile, so a stop then says some of it
 *   again after the start, and loses nothing.
 * - The place cannot be kept: the log hears of it when that begins.
 * - It is rotated faster than we look: what is missed is counted and told.
 * - We are stopped: what is in the file by then is read, for a while.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/feed_internal.h"
#include "daemon/feed/follow.h"
#include "proto/lines.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define FILE_LOOK_US 5000000
#define FILE_SAVE_US 1000000
#define FILE_STOP_US 500000 /* for what is in the file at the stop */
#define FILE_SAY_AGAIN_US 10000000

struct file {
	struct feed feed;
	const struct conf_file *conf;
	struct follow *follow; /* NULL: not started */
	es_watch *watch; /* of inotify */
	es_future *looking; /* a job is */
	es_call *timer; /* of the next look, and of a back-off */
	bool again; /* something changed meanwhile */
	bool paused; /* the sink is waited for */
	bool last; /* the look that keeps the place for good */
	bool save_failed;
	struct lines lines;
	struct place place; /* before it everything is published */
	struct place next; /* likewise, once the sink waits no more */
	int64_t unsaved_us; /* since when it differs from what is kept; 0 */
	int64_t stopped_us;
	uint64_t cut_told, missed_told;
	struct limiter cut_limiter;
	bool stored; /* there is somewhere to keep the place */
};

static void file_look(struct file *file) LOOP_THREAD;
static void file_on_looked(es_future *f, void *arg);

static es_loop *
file_net(const struct file *file)
{
	return file->feed.host->options.net;
}

static void
file_on_timer(void *arg)
{
	struct file *file = arg;

	es_loop_assert(file_net(file));
	es_call_unref(file->timer);
	file->timer = NULL;
	follow_result(file->follow)->rescan = true;
	file_look(file);
}

/* No memory for a timer: the next change that is told brings the next look. */
static void
file_arm(struct file *file, int64_t delay_us)
{
	es_call_forget(&file->timer);
	if (es_call_later(file_net(file), delay_us, "file timer", file_on_timer,
		file, NULL, &file->timer) < 0)
		log_warn("file has no memory for a timer feed=%s channel=%s",
		    file->feed.conf->name, file->feed.conf->channel);
}

static void
file_set_ended(struct file *file) LOOP_THREAD
{
	es_call_forget(&file->timer);
	es_watch_free(file->watch);
	file->watch = NULL;
	feed_set_ended(&file->feed, FEED_STOPPED); /* last: may free us */
}

static int
file_look_job(void *arg, es_value *ret)
{
	(void)ret;
	follow_look(arg);
	follow_unref(arg);
	return 0;
}

/* -errno: there is no look. */
static int
file_submit(struct file *file)
{
	const struct feeds_options *options = &file->feed.host->options;
	es_future *f;
	int r;

	follow_ref(file->follow);
	/* A key: looks of one file never overtake each other. */
	r = es_executor_submit(options->sys, (uint64_t)(uintptr_t)file->follow,
	    "look at file", file_look_job, file->follow, follow_unref,
	    options->net, &f);
	if (r < 0) {
		follow_unref(file->follow);
		return r;
	}
	r = es_future_add_done_callback(
	    f, options->net, file_on_looked, file, NULL);
	if (r < 0) {
		es_future_unref(f);
		return r;
	}
	file->looking = f;
	return 0;
}

static void
file_look(struct file *file)
{
	struct follow_look *look = follow_result(file->follow);
	int64_t now_us = clock_now_us();
	int r;

	if (file->looking) {
		file->again = true;
		return;
	}
	if (file->paused)
		return;
	es_call_forget(&file->timer);
	file->again = false;
	look->save = file->stored && file->unsaved_us > 0 &&
		     (file->last || now_us - file->unsaved_us >= FILE_SAVE_US);
	if (look->save) {
		look->place = file->place;
		file->unsaved_us = 0;
	}
	r = file_submit(file);
	if (r == 0)
		return;
	feed_set_error(
	    &file->feed, "cannot be looked at: %s", strerrordesc_np(-r));
	if (file->feed.stop)
		file_set_ended(file); /* the place is an older one */
	else
		file_arm(file, feed_back_off(&file->feed, 0));
}

/* What is published of these bytes, and up to where all is. */
static void
file_publish(const uint8_t *line, size_t len, void *arg)
{
	struct file *file = arg;

	es_loop_assert(file->feed.host->options.net);
	sink_publish(&file->feed.sink, SINK_ANY, line, len);
}

/* All that was read so far in whole lines is published. */
static void
file_move_place(struct file *file)
{
	file->place = file->next;
	if (file->unsaved_us == 0)
		file->unsaved_us = clock_now_us();
}

static void
file_take(struct file *file, const struct follow_look *look) LOOP_THREAD
{
	const uint8_t *end;

	if (look->fresh)
		lines_end(&file->lines, file_publish, file);
	if (look->fresh || (file->next.inode == 0 && look->at.inode != 0)) {
		/* Kept at once: after a crash the end would be elsewhere. */
		if (file->next.inode == 0) {
			file->unsaved_us = 1; /* long ago */
			file->again = true;
		}
		file->next = look->at;
		if (!sink_wait(&file->feed.sink))
			file_move_place(file);
	}
	if (look->truncated && feed_may_say(&file->feed))
		log_info("file was truncated, read from its start"
			 " feed=%s channel=%s",
		    file->feed.conf->name, file->feed.conf->channel);
	if (look->missed != file->missed_told) {
		file->feed.failures += look->missed - file->missed_told;
		file->missed_told = look->missed;
		if (feed_may_say(&file->feed))
			log_warn("file was rotated too fast, %" PRIu64
				 " were missed so far feed=%s channel=%s",
			    look->missed, file->feed.conf->name,
			    file->feed.conf->channel);
	}
	if (look->len == 0)
		return;
	lines_feed(&file->lines, look->data, look->len, file_publish, file);
	if (file->lines.cut != file->cut_told) {
		uint64_t held;

		file->cut_told = file->lines.cut;
		if (limiter_allow(&file->cut_limiter, clock_now_us(), &held))
			log_warn("file's lines of more than %zu bytes are cut"
				 " off, %" PRIu64 " so far feed=%s channel=%s",
			    file->feed.sink.message_bytes_max, file->lines.cut,
			    file->feed.conf->name, file->feed.conf->channel);
	}
	end = memrchr(look->data, file->lines.end, look->len);
	if (!end)
		return;
	file->next = look->at;
	file->next.offset += end + 1 - look->data;
	if (!sink_wait(&file->feed.sink))
		file_move_place(file);
}

static void
file_tell_save(struct file *file, int error)
{
	bool failed = error < 0;

	if (failed && file->unsaved_us == 0)
		file->unsaved_us = clock_now_us(); /* tried again */
	if (failed == file->save_failed)
		return;
	file->save_failed = failed;
	if (failed)
		log_warn("file's place cannot be kept: %s feed=%s channel=%s",
		    strerrordesc_np(-error), file->feed.conf->name,
		    file->feed.conf->channel);
	else
		log_info("file's place is kept again feed=%s channel=%s",
		    file->feed.conf->name, file->feed.conf->channel);
}

/* The last look has found nothing: until something changes. */
static void
file_idle(struct file *file, int error) LOOP_THREAD
{
	struct feed *feed = &file->feed;
	int64_t delay_us = FILE_LOOK_US;

	if (error < 0 && error != -ENOENT) {
		feed_set_error(feed, "cannot be read: %s",
		    error == -EINVAL ? "it is no regular file"
				     : strerrordesc_np(-error));
		file_arm(file, feed_back_off(feed, 0));
		return;
	}
	if (error == -ENOENT && feed->state != FEED_WAITING) {
		feed_set_error(feed, "does not exist");
		feed_set_state(feed, FEED_WAITING);
		feed->failures++;
		if (feed_may_say(feed))
			log_info("file does not exist, waiting for it"
				 " feed=%s channel=%s",
			    feed->conf->name, feed->conf->channel);
	}
	if (file->watch && es_watch_set(file->watch, ES_READ) < 0)
		delay_us = FILE_SAVE_US; /* looked at instead */
	if (file->stored && file->unsaved_us > 0)
		delay_us = FILE_SAVE_US;
	file_arm(file, delay_us);
}

/* Asked to stop: what is in the file, for a while; then the place. */
static void
file_leave(struct file *file, bool more) LOOP_THREAD
{
	if (file->last) {
		file_set_ended(file);
		return;
	}
	sink_flush(&file->feed.sink);
	if (file->next.inode != 0)
		file_move_place(file);
	file->last = !more || clock_now_us() - file->stopped_us >= FILE_STOP_US;
	if (file->last && (!file->stored || file->unsaved_us == 0))
		file_set_ended(file);
	else
		file_look(file);
}

static void
file_on_looked(es_future *f, void *arg)
{
	struct file *file = arg;
	const struct follow_look *look = follow_result(file->follow);
	struct feed *feed = &file->feed;

	es_loop_assert(file_net(file));
	assert(f == file->looking);
	es_future_unref(f);
	file->looking = NULL;
	follow_result(file->follow)->rescan = false;
	if (look->save)
		file_tell_save(file, look->save_error);
	if (!file->last)
		file_take(file, look);
	if (look->error == 0 && feed->state != FEED_RUNNING && !feed->stop) {
		if (feed->state != FEED_STARTING)
			feed->starts++;
		feed_set_state(feed, FEED_RUNNING);
		backoff_init(&feed->backoff, feed->conf->backoff_min_us,
		    feed->conf->backoff_max_us);
	}
	if (feed->stop)
		file_leave(file, look->len > 0);
	else if (sink_wait(&feed->sink))
		file->paused = true;
	else if (look->len > 0 || file->again)
		file_look(file);
	else
		file_idle(file, look->error);
}

static void
file_on_ready(void *arg)
{
	struct file *file = arg;

	es_loop_assert(file_net(file));
	file->paused = false;
	file_move_place(file);
	file_look(file);
}

/*
 * The look reads the events, so that none of them comes between it and what
 * it sees; until it is over nobody listens here.
 */
static void
file_on_change(int fd, unsigned what, void *arg)
{
	struct file *file = arg;

	(void)fd;
	(void)what;
	es_loop_assert(file_net(file));
	if (es_watch_set(file->watch, 0) < 0)
		log_debug("file is watched all the time");
	if (file->feed.state != FEED_BACKOFF)
		file_look(file);
}

static int
file_open(struct file *file) LOOP_THREAD
{
	const bool at_end = file->conf->begin == CONF_BEGIN_END;
	char store[PATH_MAX];
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), r;

	file->stored = feed_store_name(&file->feed, "place", store);
	r = follow_new(file->conf->path, file->stored ? store : NULL, fd,
	    at_end, &file->follow);
	if (r < 0) {
		if (fd >= 0)
			(void)close(fd); /* nothing was watched */
		return r;
	}
	if (fd < 0) {
		log_warn("file is looked at every %d s: inotify: %s"
			 " feed=%s channel=%s",
		    FILE_LOOK_US / 1000000, strerrordesc_np(errno),
		    file->feed.conf->name, file->feed.conf->channel);
		return 0;
	}
	r = es_watch_new(file_net(file), "file changes", fd, ES_READ,
	    file_on_change, file, &file->watch);
	if (r < 0) {
		follow_unref(file->follow);
		file->follow = NULL;
	}
	return r;
}

static void file_start(struct feed *feed);

static void
file_on_open_again(void *arg)
{
	struct file *file = arg;

	es_loop_assert(file_net(file));
	es_call_unref(file->timer);
	file->timer = NULL;
	file_start(&file->feed);
}

static void
file_start(struct feed *feed)
{
	struct file *file = (struct file *)feed;
	int r;

	es_loop_assert(feed->host->options.net);
	feed->starts++;
	feed_set_state(feed, FEED_STARTING);
	r = file_open(file);
	if (r == 0) {
		file_look(file);
		return;
	}
	feed_set_error(feed, "cannot be followed: %s", strerrordesc_np(-r));
	if (es_call_later(file_net(file), feed_back_off(feed, 0), "file start",
		file_on_open_again, file, NULL, &file->timer) < 0)
		file_set_ended(file);
}

static int
file_new(const struct conf_feed *conf, struct conf *owner,
    struct feed_host *host, struct feed **ret_feed)
{
	struct file *file = memory_zalloc(sizeof(*file));

	if (!file)
		return -ENOMEM;
	file->conf = (const struct conf_file *)conf;
	feed_init(&file->feed, &file_type, conf, owner, host);
	file->feed.sink.waits = true;
	file->feed.sink.ready = file_on_ready;
	file->feed.sink.arg = file;
	lines_init(&file->lines, file->feed.sink.message_bytes_max);
	if (file->conf->framing == CONF_FRAMING_NULL)
		file->lines.end = '\0';
	limiter_init(&file->cut_limiter, 1, FILE_SAY_AGAIN_US);
	*ret_feed = &file->feed;
	return 0;
}

static void
file_stop(struct feed *feed)
{
	struct file *file = (struct file *)feed;

	es_loop_assert(feed->host->options.net);
	assert(!feed->stop);
	feed->stop = true;
	feed_set_state(feed, FEED_STOPPING);
	file->stopped_us = clock_now_us();
	sink_hurry(&feed->sink);
	file->paused = false;
	if (!file->follow)
		file_set_ended(file);
	else
		file_look(file);
}

/* The look may never end, on a dead disk: the place is an older one then. */
static void
file_hurry(struct feed *feed)
{
	struct file *file = (struct file *)feed;

	es_loop_assert(feed->host->options.net);
	assert(feed->stop);
	if (file->looking)
		(void)es_future_remove_done_callback(
		    file->looking, file_on_looked, file);
	es_future_unref(file->looking);
	file->looking = NULL;
	sink_flush(&feed->sink);
	file_set_ended(file);
}

static void
file_free(struct feed *feed)
{
	struct file *file = (struct file *)feed;

	es_call_forget(&file->timer);
	if (file->looking)
		(void)es_future_remove_done_callback(
		    file->looking, file_on_looked, file);
	es_future_unref(file->looking);
	es_watch_free(file->watch);
	if (file->follow)
		follow_unref(file->follow);
	lines_fini(&file->lines);
	feed_fini(feed);
	memory_free(file);
}

static void
file_get_stats(const struct feed *feed, struct feed_stats *ret)
{
	const struct file *file = (const struct file *)feed;

	feed_get_stats(feed, ret);
	ret->lines_cut = file->lines.cut;
	ret->bytes_cut = file->lines.dropped_bytes;
	ret->lines_refused += file->lines.lost;
}

const struct feed_type file_type = {
	.kind = "file",
	.new = file_new,
	.start = file_start,
	.stop = file_stop,
	.hurry = file_hurry,
	.free = file_free,
	.get_stats = file_get_stats,
};
