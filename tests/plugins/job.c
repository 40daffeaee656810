/*
 * job: consumes `jobs`, works on each of them on a worker of its own, until
 * there is the file option.until, and publishes the result on `results`.
 */

#include "daemon/handler/earshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct es_host *host;

struct job {
	size_t len;
	char text[];
};

static void
work(void *arg)
{
	const char *until = es_option(host, "until");
	const struct timespec time = { 0, 1000000 };
	struct job *job = arg;
	char result[256];
	int len;

	while (until && access(until, F_OK) != 0)
		(void)nanosleep(&time, NULL);
	len = snprintf(
	    result, sizeof(result), "done: %.*s", (int)job->len, job->text);
	if (len >= (int)sizeof(result))
		len = sizeof(result) - 1;
	if (es_publish(host, "results", ES_TEXT, result, (size_t)len, NULL))
		es_log(host, ES_LOG_ERROR, "a result was not published");
	free(job);
}

static void
report(void *arg)
{
	struct job *job = arg;

	es_log(host, ES_LOG_WARN, "a job was not begun");
	free(job);
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	struct job *job = malloc(sizeof(*job) + message->len);
	int r;

	(void)state;
	(void)conn;
	(void)user;
	if (!job)
		return -ENOMEM;
	job->len = message->len;
	memcpy(job->text, message->data, message->len);
	r = es_run(host, work, job, report, NULL);
	if (r < 0)
		free(job);
	return r;
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_message = on_message,
	};
	return 0;
}
