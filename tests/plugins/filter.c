/*
 * filter: messages before they are published.  What holds the word of
 * option.word is refused, what begins with "loud " is changed to capitals, all
 * else is accepted.
 *
 * For the tests: "sleep MS" takes that long, "copy TEXT" publishes TEXT to the
 * same channel on the way and waits for it, "to CHANNEL TEXT" to another one,
 * "wrong" is changed to what is no message, "errno" is refused without a word.
 */

#include "daemon/handler/earshot.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct filter { /* one for each section that names this plugin */
	const struct es_host *host;
	const char *word; /* NULL: none is refused */
};

static bool
begins(const struct es_message *message, const char *with)
{
	return message->len >= strlen(with) &&
	       memcmp(message->data, with, strlen(with)) == 0;
}

static int
capitals(const struct es_host *host, const struct es_message *message,
    es_verdict *verdict)
{
	const size_t len = message->len - strlen("loud ");
	const char *from = (const char *)message->data + strlen("loud ");
	char *to = malloc(len + 1);
	size_t i;
	int r;

	if (!to)
		return -ENOMEM;
	for (i = 0; i < len; i++)
		to[i] = (char)toupper((unsigned char)from[i]);
	r = es_change(host, verdict, message->kind, to, len);
	free(to);
	return r;
}

static void
sleep_ms(long ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

	(void)nanosleep(&pause, NULL);
}

/* What it is answered stands in the log. */
static int
publish(const struct es_host *host, const char *channel, const char *text)
{
	char line[64];
	es_future *f;
	int r = es_publish(host, channel, ES_TEXT, text, strlen(text), &f);

	if (r == 0) {
		r = es_await(host, f, ES_WAIT_FOREVER);
		es_unref(host, f);
	}
	(void)snprintf(line, sizeof(line), "published: %d", r);
	es_log(host, ES_LOG_INFO, line);
	return 0;
}

static int
publish_elsewhere(const struct es_host *host, const char *text)
{
	char channel[64];
	const char *space = strchr(text, ' ');

	if (!space || (size_t)(space - text) >= sizeof(channel))
		return -EINVAL;
	(void)snprintf(
	    channel, sizeof(channel), "%.*s", (int)(space - text), text);
	return publish(host, channel, space + 1);
}

static int
on_publish(void *state, const struct es_message *message, es_verdict *verdict)
{
	const struct filter *filter = state;
	const struct es_host *host = filter->host;
	const char *text = message->data; /* a NUL is behind it */

	if (filter->word && strstr(text, filter->word))
		return es_refuse(host, verdict, "that word is not for here");
	if (begins(message, "loud "))
		return capitals(host, message, verdict);
	if (begins(message, "errno"))
		return -EPERM;
	if (begins(message, "wrong"))
		return es_change(host, verdict, ES_JSON, "{", 1) == -EBADMSG
			   ? 0
			   : -EIO;
	if (begins(message, "sleep "))
		sleep_ms(atol(text + strlen("sleep ")));
	if (begins(message, "copy "))
		return publish(host, message->channel, text + strlen("copy "));
	if (begins(message, "to "))
		return publish_elsewhere(host, text + strlen("to "));
	return 0;
}

/* As a handler of connections it publishes what it hears, and waits. */
static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	const struct es_host *host = ((const struct filter *)state)->host;
	char answer[32];
	es_future *f;
	int r = es_publish(
	    host, "checked", message->kind, message->data, message->len, &f);

	(void)user;
	if (r == 0) {
		r = es_await(host, f, ES_WAIT_FOREVER);
		es_unref(host, f);
	}
	(void)snprintf(answer, sizeof(answer), "%d", r);
	return es_send(host, conn, ES_TEXT, answer, strlen(answer), NULL);
}

int
earshot_plugin(const struct es_host *host, struct es_handler *handler)
{
	struct filter *filter = malloc(sizeof(*filter));

	if (!filter)
		return -ENOMEM;
	*filter = (struct filter){ host, es_option(host, "word") };
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.state = filter,
		.on_publish = on_publish,
		.on_message = on_message,
		.end = free,
	};
	return 0;
}
