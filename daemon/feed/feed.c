/*
 * feed: the set of feeds; each supervises itself (command.c).
 *
 * Stopping asks all of them at once and waits for the slowest.  done() comes
 * from a call of its own, so that it may free us; where there is no memory
 * for one it is called last thing by whoever noticed the end.
 */

#include "daemon/feed/feed.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/feed/command.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/random.h>

struct feeds {
	struct command_host host;
	void (*done)(void *arg);
	void *done_arg;
	es_call *done_call;
	bool stopping; /* every command has been asked */
	size_t count;
	struct command *commands[];
};

static uint64_t
feeds_random(void)
{
	uint64_t seed;

	/* It spreads delays, it keeps no secret. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t)clock_wall_us();
	return seed;
}

/*
 * An ignored SIGCHLD, inherited from whoever started us, would take dead
 * children away before command.c has signalled their groups.
 */
static void
feeds_keep_the_dead(void)
{
	struct sigaction action;

	if (sigaction(SIGCHLD, NULL, &action) < 0)
		return;
	if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT))
		return;
	action = (struct sigaction){ .sa_handler = SIG_DFL };
	(void)sigaction(SIGCHLD, &action, NULL); /* a valid number: works */
}

static void
feeds_on_done(void *arg)
{
	struct feeds *feeds = arg;

	es_call_unref(feeds->done_call);
	feeds->done_call = NULL;
	feeds->done(feeds->done_arg); /* last: may free us */
}

static void feeds_check_done(struct feeds *feeds) LOOP_THREAD;

static void
feeds_check_done(struct feeds *feeds)
{
	size_t i;

	if (!feeds->stopping)
		return;
	for (i = 0; i < feeds->count; i++)
		if (!command_is_stopped(feeds->commands[i]))
			return;
	feeds->stopping = false; /* once */
	if (es_call_soon(feeds->host.net, "feeds stopped", feeds_on_done, feeds,
		NULL, &feeds->done_call) < 0)
		feeds->done(feeds->done_arg);
}

static void
feeds_on_stopped(void *arg)
{
	struct feeds *feeds = arg;

	es_loop_assert(feeds->host.net);
	feeds_check_done(feeds);
}

int
feeds_start(const struct conf *conf, struct hub *hub, es_loop *net,
    es_executor *sys, struct feeds **ret_feeds)
{
	struct feeds *feeds;
	size_t i;

	feeds = memory_zalloc(
	    sizeof(*feeds) + conf->command_count * sizeof(feeds->commands[0]));
	if (!feeds)
		return -ENOMEM;
	feeds->host = (struct command_host){
		.hub = hub,
		.net = net,
		.sys = sys,
		.limits = &conf->limits,
		.random = feeds_random(),
		.stopped = feeds_on_stopped,
		.arg = feeds,
	};
	for (i = 0; i < conf->command_count; i++) {
		if (command_new(&conf->commands[i], &feeds->host,
			&feeds->commands[i]) < 0) {
			feeds_free(feeds);
			return -ENOMEM;
		}
		feeds->count++;
	}
	if (feeds->count > 0)
		feeds_keep_the_dead();
	for (i = 0; i < feeds->count; i++)
		command_start(feeds->commands[i]);
	*ret_feeds = feeds;
	return 0;
}

void
feeds_stop(struct feeds *feeds, void (*done)(void *arg), void *arg)
{
	size_t i;

	assert(done);
	assert(!feeds->done);
	feeds->done = done;
	feeds->done_arg = arg;
	for (i = 0; i < feeds->count; i++)
		command_stop(feeds->commands[i]);
	feeds->stopping = true;
	feeds_check_done(feeds); /* last: may free us */
}

void
feeds_hurry(struct feeds *feeds)
{
	bool stopping = feeds->stopping;
	size_t i;

	assert(feeds->done);
	/* Nobody may be done before all have been asked. */
	feeds->stopping = false;
	for (i = 0; i < feeds->count; i++)
		command_hurry(feeds->commands[i]);
	feeds->stopping = stopping;
	feeds_check_done(feeds); /* last: may free us */
}

void
feeds_free(struct feeds *feeds)
{
	size_t i;

	if (!feeds)
		return;
	if (feeds->done_call) {
		(void)es_call_cancel(feeds->done_call); /* or it is running */
		es_call_unref(feeds->done_call);
	}
	for (i = 0; i < feeds->count; i++)
		command_free(feeds->commands[i]);
	memory_free(feeds);
}

void
feeds_each(struct feeds *feeds,
    void (*fn)(const struct feed_stats *stats, void *arg), void *arg)
{
	struct feed_stats stats;
	size_t i;

	for (i = 0; i < feeds->count; i++) {
		command_get_stats(feeds->commands[i], &stats);
		fn(&stats, arg);
	}
}
