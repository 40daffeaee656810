/*
 * answer: answers each message with option.name and how many its object has
 * had; consumed ones go to channel `seen` as "NAME TEXT".  option.ms: works
 * that long on each; option.until: blocks in each until there is that file;
 * option.load_ms: takes that long to load; option.timer:
 * has a timer that arms itself, for ever, and must not run after end();
 * option.last: publishes to that channel in end(), and waits.  A message
 * "limits": answers how many of channel `seen` it gets, and how a publish of
 * 100 bytes went.
 */

#include "daemon/handler/earshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct es_host *host;
static _Atomic int count;
static _Atomic bool over;

static void
block(const char *option)
{
	const char *text = es_option(host, option);
	const int ms = text ? atoi(text) : 0;
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	if (ms > 0)
		(void)nanosleep(&time, NULL);
}

static void
block_until(const char *option)
{
	const char *file = es_option(host, option);
	const struct timespec pause = { 0, 2000000 };

	while (file && access(file, F_OK) != 0)
		(void)nanosleep(&pause, NULL);
}

static void
on_timer(void *arg)
{
	if (over)
		abort();
	(void)es_call_later(host, 5000, on_timer, arg, NULL, NULL);
}

static int
on_consumed(const char *name, const struct es_message *message)
{
	char text[256];
	const int len = snprintf(text, sizeof(text), "%s %.*s", name,
	    (int)message->len, (const char *)message->data);

	return es_publish(host, "seen", ES_TEXT, text, (size_t)len, NULL);
}

static int
on_limits(es_conn conn)
{
	static const char large[100] = "";
	const struct es_history *past;
	es_future *f;
	char text[64];
	size_t got = 0;
	int r = es_history(host, "seen", "oldest", 1000, &f);

	if (r == 0 && es_await(host, f, ES_WAIT_FOREVER) == 0) {
		past = es_result(host, f);
		got = past->count;
	}
	if (r == 0)
		es_unref(host, f);
	r = es_publish(host, "large", ES_BINARY, large, sizeof(large), NULL);
	(void)snprintf(text, sizeof(text), "%zu %s", got,
	    r == -EMSGSIZE ? "EMSGSIZE"
	    : r == 0       ? "ok"
			   : "?");
	return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	const char *name = es_option(host, "name");
	char text[64];
	int len;

	(void)state;
	(void)user;
	block("ms");
	block_until("until");
	if (over)
		abort();
	if (message->channel)
		return on_consumed(name, message);
	if (message->len == 6 && memcmp(message->data, "limits", 6) == 0)
		return on_limits(conn);
	len = snprintf(text, sizeof(text), "%s %d", name, ++count);
	return es_send(host, conn, ES_TEXT, text, (size_t)len, NULL);
}

static void
publish_last(const char *channel)
{
	char text[64];
	es_future *f;
	int r = es_publish(host, channel, ES_TEXT, "last", 4, &f);

	if (r == 0) {
		r = es_await(host, f, 1000000);
		es_unref(host, f);
	}
	(void)snprintf(text, sizeof(text), "published at the end: %d", r);
	es_log(host, ES_LOG_INFO, text);
}

static void
end(void *state)
{
	(void)state;
	over = true;
	if (es_option(host, "last"))
		publish_last(es_option(host, "last"));
	es_log(host, ES_LOG_INFO, "end() of answer");
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	block("load_ms");
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_message = on_message,
		.end = end,
	};
	if (es_option(host, "timer"))
		on_timer(NULL);
	return 0;
}
