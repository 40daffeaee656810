/*
 * kept: the happy path: kept_load() -> kept_moved() arms a timer -> a job
 * writes the line beside the old one and renames it -> moved again, and so on
 * -> kept_finish() writes the last one.
 *
 * - There is no file, or it is another channel's: from the oldest, as ever.
 * - It cannot be written: the log hears of it when that begins, and it is
 *   tried again.
 * - The daemon dies in between: what moved in the last second is not known,
 *   and comes again.
 */

#include "daemon/feed/kept.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/place.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define KEPT_HEAD "earshot-position 1 "
#define KEPT_TEXT_MAX                                                          \
	(sizeof(KEPT_HEAD) + POSITION_TEXT_MAX + CHANNEL_NAME_MAX + 2)

/* Between the loop and a job; whoever has the pointer has it alone. */
struct kept_job {
	char text[KEPT_TEXT_MAX];
	struct position position;
	int error;
	char store[];
};

static void on_saved(es_future *f, void *arg);

static int
kept_job_new(const struct kept *kept, struct kept_job **ret_job)
{
	const size_t len = strlen(kept->store) + 1;
	struct kept_job *job = memory_zalloc(sizeof(*job) + len);

	if (!job)
		return -ENOMEM;
	memcpy(job->store, kept->store, len);
	*ret_job = job;
	return 0;
}

/*
 * What is written last is what stays: who has the same file, also before and
 * after a reload, has the same key (FNV-1a).
 */
static uint64_t
store_key(const char *store)
{
	uint64_t key = UINT64_C(0xcbf29ce484222325);

	for (; *store != '\0'; store++)
		key = (key ^ (uint8_t)*store) * UINT64_C(0x100000001b3);
	return key;
}

static int
kept_submit(struct kept *kept, const char *name, es_job_fn fn,
    struct kept_job *job, es_future **ret_future)
{
	const struct feeds_options *options = &kept->feed->host->options;
	const int r = es_executor_submit(options->sys, store_key(kept->store),
	    name, fn, job, memory_free, options->net, ret_future);

	if (r < 0)
		memory_free(job);
	return r;
}

/* On sys */

static int
load_job(void *arg, es_value *ret)
{
	struct kept_job *job = arg;
	const ssize_t n =
	    place_read(job->store, job->text, sizeof(job->text) - 1);

	job->error = n < 0 ? (int)n : 0;
	*ret = ES_PTR(job, memory_free);
	return 0;
}

static int
save_job(void *arg, es_value *ret)
{
	struct kept_job *job = arg;

	job->error = place_write(job->store, job->text, strlen(job->text));
	*ret = ES_PTR(job, memory_free);
	return 0;
}

/* On the loop */

void
kept_open(struct kept *kept, const struct feed *feed, const char *channel)
{
	char store[PATH_MAX];

	kept->feed = feed;
	kept->channel = channel;
	if (!feed_store_name(feed, "position", store))
		return;
	kept->store = memory_dup(store, strlen(store) + 1);
	if (!kept->store)
		log_warn("upstream's position is not kept: no memory feed=%s",
		    feed->conf->name);
}

int
kept_load(struct kept *kept, es_future **ret_future)
{
	struct kept_job *job;
	int r;

	if (!kept->store)
		return -ENOENT;
	r = kept_job_new(kept, &job);
	return r < 0 ? r
		     : kept_submit(
			   kept, "load position", load_job, job, ret_future);
}

static int
kept_get(const struct kept *kept, char *text, struct position *ret_position)
{
	const size_t head = strlen(KEPT_HEAD);
	char *position = text + head, *channel;

	text[strcspn(text, "\n")] = '\0';
	if (strncmp(text, KEPT_HEAD, head) != 0)
		return -EBADMSG;
	channel = strchr(position, ' ');
	if (!channel)
		return -EBADMSG;
	if (strcmp(channel + 1, kept->channel) != 0)
		return -ENOENT; /* it mirrors another one now */
	return position_get(
		   position, (size_t)(channel - position), ret_position) < 0
		   ? -EBADMSG
		   : 0;
}

int
kept_loaded(struct kept *kept, es_future *f, struct position *ret_position)
{
	struct kept_job *job;
	es_value value;
	int r = es_future_take(f, &value);

	if (r < 0)
		return r;
	job = value.p;
	r = job->error < 0 ? job->error
			   : kept_get(kept, job->text, ret_position);
	memory_free(job);
	if (r == 0)
		kept->position = kept->saved = *ret_position;
	return r;
}

static bool
kept_is_dirty(const struct kept *kept)
{
	return kept->position.epoch != kept->saved.epoch ||
	       kept->position.offset != kept->saved.offset;
}

static int
kept_save(struct kept *kept) LOOP_THREAD
{
	struct kept_job *job;
	char position[POSITION_TEXT_MAX];
	int r;

	assert(!kept->saving);
	r = kept_job_new(kept, &job);
	if (r < 0)
		return r;
	job->position = kept->position;
	(void)position_put(position, &kept->position);
	(void)snprintf(job->text, sizeof(job->text), KEPT_HEAD "%s %s\n",
	    position, kept->channel);
	return kept_submit(kept, "save position", save_job, job, &kept->saving);
}

static void
on_timer(void *arg)
{
	struct kept *kept = arg;
	es_loop *net = kept->feed->host->options.net;

	es_loop_assert(net);
	es_call_unref(kept->timer);
	kept->timer = NULL;
	if (kept->saving || !kept_is_dirty(kept))
		return;
	if (kept_save(kept) == 0 && es_future_add_done_callback(kept->saving,
					net, on_saved, kept, NULL) < 0) {
		es_future_unref(kept->saving); /* written, if all is well */
		kept->saving = NULL;
	}
}

/* Without memory for a timer the next message tries again. */
static void
kept_arm(struct kept *kept) LOOP_THREAD
{
	if (!kept->timer && !kept->saving && kept_is_dirty(kept) &&
	    es_call_later(kept->feed->host->options.net, KEPT_SAVE_US,
		"save position", on_timer, kept, NULL, &kept->timer) < 0)
		kept->timer = NULL;
}

static void
kept_tell(struct kept *kept, int error)
{
	const bool failed = error < 0;

	if (failed == kept->failed)
		return;
	kept->failed = failed;
	if (failed)
		log_warn("upstream's position cannot be kept: %s"
			 " feed=%s channel=%s",
		    strerrordesc_np(-error), kept->feed->conf->name,
		    kept->feed->conf->channel);
	else
		log_info("upstream's position is kept again feed=%s channel=%s",
		    kept->feed->conf->name, kept->feed->conf->channel);
}

static void
kept_take(struct kept *kept, es_future *f)
{
	struct kept_job *job;
	es_value value;
	int r = es_future_take(f, &value);

	assert(f == kept->saving);
	es_future_unref(kept->saving);
	kept->saving = NULL;
	if (r == 0) {
		job = value.p;
		r = job->error;
		if (r == 0)
			kept->saved = job->position;
		memory_free(job);
	}
	kept_tell(kept, r);
}

static void
on_saved(es_future *f, void *arg)
{
	struct kept *kept = arg;

	es_loop_assert(kept->feed->host->options.net);
	kept_take(kept, f);
	kept_arm(kept);
}

void
kept_moved(struct kept *kept, const struct position *position)
{
	if (!kept->store)
		return;
	kept->position = *position;
	kept_arm(kept);
}

es_future *
kept_finish(struct kept *kept)
{
	es_call_forget(&kept->timer);
	if (kept->saving) {
		(void)es_future_remove_done_callback(
		    kept->saving, on_saved, kept);
		return kept->saving;
	}
	if (!kept->store || !kept_is_dirty(kept))
		return NULL;
	return kept_save(kept) == 0 ? kept->saving : NULL;
}

/* Failed, it is not tried again: the end does not wait for a full disk. */
void
kept_finished(struct kept *kept, es_future *f)
{
	kept_take(kept, f);
	if (kept->failed)
		kept->saved = kept->position;
}

void
kept_fini(struct kept *kept)
{
	es_call_forget(&kept->timer);
	if (kept->saving)
		(void)es_future_remove_done_callback(
		    kept->saving, on_saved, kept);
	es_future_unref(kept->saving);
	kept->saving = NULL;
	memory_free(kept->store);
	kept->store = NULL;
}
