/*
 * record: publishes every callback on channel `events`, in words, and does
 * what it is told: option.open_ms, option.message_ms (blocks that long),
 * option.open_until, option.message_until (blocks until there is such a file),
 * option.refuse (a close code); a message "fail" fails, "close CODE REASON"
 * closes twice, "user" tells how many messages this connection had.
 */

#include "daemon/handler/earshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct es_host *host;

static int
number(const char *option)
{
	const char *text = es_option(host, option);

	return text ? atoi(text) : 0;
}

static void
block(int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	if (ms > 0)
		(void)nanosleep(&time, NULL);
}

static void
block_until(const char *option)
{
	const char *path = es_option(host, option);

	while (path && access(path, F_OK) != 0)
		block(1);
}

static void
tell(const char *what, es_conn conn, const char *more, size_t len)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s %llx %.*s", what,
	    (unsigned long long)conn, (int)len, more);

	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	while (es_publish(host, "events", ES_TEXT, text, (size_t)n, NULL) ==
	       -EAGAIN)
		block(1);
}

static int
on_open(void *state, es_conn conn, const struct es_open *open, void **user)
{
	size_t i;

	(void)state;
	tell("open", conn, open->path, strlen(open->path));
	for (i = 0; i < open->header_count; i++)
		if (strcmp(open->headers[i].name, "x-test") == 0)
			tell("header", conn, open->headers[i].value,
			    strlen(open->headers[i].value));
	if (*open->query)
		tell("query", conn, open->query, strlen(open->query));
	if (*open->channel)
		tell("channel", conn, open->channel, strlen(open->channel));
	block(number("open_ms"));
	block_until("open_until");
	*user = calloc(1, sizeof(int));
	return number("refuse");
}

static void
close_twice(es_conn conn, const char *data, size_t len)
{
	char text[128] = "";
	char *reason;
	long code;

	memcpy(text, data, len < sizeof(text) ? len : sizeof(text) - 1);
	code = strtol(text, &reason, 10);
	reason += *reason == ' ';
	if (es_close(host, conn, (uint16_t)code, reason))
		tell("refused", conn, reason, strlen(reason));
	(void)es_close(host, conn, 1000, "a second time");
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	int *count = user;
	char text[32];

	(void)state;
	if (message->channel)
		tell("consumed", conn, message->channel,
		    strlen(message->channel));
	tell("message", conn, message->data, message->len);
	block(number("message_ms"));
	block_until("message_until");
	if (count)
		++*count;
	if (message->len == 4 && memcmp(message->data, "fail", 4) == 0)
		return -EIO;
	if (message->len > 6 && memcmp(message->data, "close ", 6) == 0)
		close_twice(
		    conn, (const char *)message->data + 6, message->len - 6);
	if (message->len == 4 && memcmp(message->data, "user", 4) == 0) {
		(void)snprintf(text, sizeof(text), "%d", *count);
		return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
	}
	return 0;
}

static void
on_error(void *state, es_conn conn, void *user, int error, const char *text)
{
	char both[256];

	(void)state;
	(void)user;
	(void)snprintf(both, sizeof(both), "%d %s", error, text);
	tell("error", conn, both, strlen(both));
}

static void
on_close(
    void *state, es_conn conn, void *user, uint16_t code, const char *reason)
{
	char both[256];

	(void)state;
	(void)user;
	(void)snprintf(both, sizeof(both), "%u %s", code, reason);
	tell("close", conn, both, strlen(both));
}

static void
drop_user(void *user)
{
	tell("dropped", 0, "", 0);
	free(user);
}

static void
end(void *state)
{
	(void)state;
	es_log(host, ES_LOG_INFO, "end() of record");
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_open = on_open,
		.on_message = on_message,
		.on_error = on_error,
		.on_close = on_close,
		.drop_user = drop_user,
		.end = end,
	};
	return 0;
}
