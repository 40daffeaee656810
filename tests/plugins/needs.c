/*
 * needs: does what users of such systems get wrong, for 62-eight-needs.py and
 * 63-handler-limits.py.  Its messages are words: "name", "remember", "stale",
 * "loop", "close", "forever", "publish FILE"; a connection that is opened with
 * ?close is closed in its on_open.  "flood" sends and "fill" publishes until it
 * may not, "pending" waits in its on_close for the last send, "later" for a
 * function in 50 ms, "calls" has as many of those wait as may.  "info",
 * "history FROM", "subscribe FROM" say what these bring.  Threads are joined in
 * end().
 */

#include "daemon/handler/earshot.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 8
#define HOUR_US INT64_C(3600000000)
#define BLOCK_BYTES 32768
#define BLOCKS_MAX 1000

static const struct es_host *host;
static _Atomic es_conn remembered, closing;
static char file[256];
static atomic_bool stopping;
static pthread_t threads[THREADS_MAX];
static unsigned thread_count;
static char block[BLOCK_BYTES];
static es_future *last;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	es_log(host, ES_LOG_INFO, text);
}

static void
nothing(void *arg)
{
	(void)arg;
}

static int
await(int r, es_future **f)
{
	if (r == 0) {
		r = es_await(host, *f, ES_WAIT_FOREVER);
		es_unref(host, *f);
	}
	return r;
}

static void
run(void *arg)
{
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static int
publish_and_wait(const char *text)
{
	es_future *f;

	return await(
	    es_publish(host, "needs", ES_TEXT, text, strlen(text), &f), &f);
}

static void
call_later(void)
{
	static _Atomic unsigned ran;
	struct timespec from, to;
	es_future *f;
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	r = await(es_call_later(host, 50000, run, &ran, NULL, &f), &f);
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	say("later: %d, ran %u, after %ld ms", r, ran,
	    (to.tv_sec - from.tv_sec) * 1000 +
		(to.tv_nsec - from.tv_nsec) / 1000000);
}

static _Atomic unsigned calls_ran;

/* From a worker: where it is the only one, none of them begins meanwhile. */
static void
calls(void)
{
	int runs = 0, laters = 0, r, s;

	while ((r = es_run(host, run, &calls_ran, NULL, NULL)) == 0)
		runs++;
	while (
	    (s = es_call_later(host, 100000, run, &calls_ran, NULL, NULL)) == 0)
		laters++;
	say("calls: %d run, %d later, then %d %d", runs, laters, r, s);
}

static int
call_and_wait(void)
{
	es_future *f;

	return await(es_call_later(host, HOUR_US, nothing, NULL, NULL, &f), &f);
}

/* On the loop, which may wait for nothing. */
static void
on_drop(void *arg)
{
	char thread[16] = "";

	(void)arg;
	(void)pthread_getname_np(pthread_self(), thread, sizeof(thread));
	say("dropped on %s: %d", thread, publish_and_wait("not waited for"));
}

static void *
wait_forever(void *arg)
{
	(void)arg;
	say("waits forever");
	say("waited: %d", call_and_wait());
	return NULL;
}

static void *
close_twice(void *arg)
{
	(void)arg;
	(void)es_close(host, closing, 4001, "first");
	(void)es_close(host, closing, 4002, "second");
	return NULL;
}

/* Whenever there is a file with the next number. */
static void *
publish_alone(void *arg)
{
	const struct timespec pause = { 0, 1000000 };
	char path[300];
	int number = 0;

	(void)arg;
	while (!atomic_load(&stopping)) {
		(void)snprintf(path, sizeof(path), "%s.%d", file, number);
		if (access(path, F_OK) == 0) {
			(void)es_publish(
			    host, "needs", ES_TEXT, "awake", 5, NULL);
			number++;
		}
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

static void
start(void *(*fn)(void *arg))
{
	if (thread_count < THREADS_MAX &&
	    pthread_create(&threads[thread_count], NULL, fn, NULL) == 0)
		thread_count++;
}

/* How many were taken before one was not; last: the future of that. */
static void
until_refused(const char *what, es_conn conn, bool wait)
{
	es_future *f = NULL;
	int count = 0, r = 0;

	while (count < BLOCKS_MAX) {
		r = conn != 0 ? es_send(host, conn, ES_BINARY, block,
				    sizeof(block), wait ? &f : NULL)
			      : es_publish(host, "slow", ES_BINARY, block,
				    sizeof(block), NULL);
		if (r < 0)
			break;
		if (last != NULL)
			es_unref(host, last);
		last = f;
		f = NULL;
		count++;
	}
	say("%s: %d taken, then %d", what, count, r);
}

static int
answer_stale(es_conn conn)
{
	const es_conn old = remembered;
	es_future *f;
	char text[128];

	(void)snprintf(text, sizeof(text), "%d %d %d %d",
	    es_send(host, old, ES_TEXT, "for nobody", 10, NULL),
	    es_close(host, old, 4009, "for nobody"),
	    es_subscribe(host, old, "needs", NULL, NULL),
	    es_info(host, old, &f));
	return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
}

static int
answer_info(es_conn conn)
{
	const struct es_info *info;
	es_future *f;
	char text[256];
	int r = es_info(host, conn, &f);

	if (r < 0 || (r = es_await(host, f, ES_WAIT_FOREVER)) < 0)
		return r;
	info = es_result(host, f);
	(void)snprintf(text, sizeof(text), "%u %d %llu %llu %s %s %s",
	    info->subscriptions, info->closing,
	    (unsigned long long)info->unsent_bytes,
	    (unsigned long long)info->queued_messages, info->open.path,
	    info->open.query, info->open.peer);
	if (info->closing)
		say("closing");
	es_unref(host, f);
	return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
}

static int
answer_history(es_conn conn, const char *from)
{
	const struct es_history *past;
	es_future *f;
	char text[512];
	int len, r = es_history(host, "past", from, 3, &f);
	size_t i;

	if (r < 0 || (r = es_await(host, f, ES_WAIT_FOREVER)) < 0)
		return r;
	past = es_result(host, f);
	len = snprintf(text, sizeof(text), "%lld-%lld %s",
	    (long long)past->oldest, (long long)past->newest,
	    past->recovered ? "all" : "gap");
	for (i = 0; i < past->count; i++) {
		const struct es_message *m = &past->messages[i];

		len += snprintf(text + len, sizeof(text) - (size_t)len,
		    " %d:%.*s@%lld%s", m->kind, (int)(m->len < 8 ? m->len : 8),
		    (const char *)m->data, (long long)m->position.offset,
		    m->position.epoch == past->epoch && m->time_us > 0 ? ""
								       : "?");
	}
	es_unref(host, f);
	return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
}

static int
answer_subscribe(es_conn conn, const char *from)
{
	const struct es_subscribed *got;
	es_future *f;
	char text[128];
	int r = es_subscribe(host, conn, "past", from, &f);

	if (r < 0 || (r = es_await(host, f, ES_WAIT_FOREVER)) < 0)
		return r;
	got = es_result(host, f);
	(void)snprintf(text, sizeof(text), "%016llx:%lld %s %lld-%lld",
	    (unsigned long long)got->position.epoch,
	    (long long)got->position.offset, got->recovered ? "all" : "gap",
	    (long long)got->gap_from, (long long)got->gap_to);
	es_unref(host, f);
	return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
}

static int
answer_name(es_conn conn)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%u.%u", (unsigned)conn,
	    (unsigned)(conn >> 32));
	return es_send(host, conn, ES_TEXT, text, strlen(text), NULL);
}

static int
on_open(void *state, es_conn conn, const struct es_open *open, void **user)
{
	(void)state;
	(void)user;
	if (strcmp(open->query, "close") != 0)
		return 0;
	closing = conn;
	close_twice(NULL);
	return 0;
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	const char *word = message->data; /* there is a NUL behind it */
	es_future *f;

	(void)state;
	(void)user;
	closing = conn;
	if (strcmp(word, "name") == 0)
		return answer_name(conn);
	if (strcmp(word, "stale") == 0)
		return answer_stale(conn);
	if (strcmp(word, "info") == 0)
		return answer_info(conn);
	if (strncmp(word, "history ", 8) == 0)
		return answer_history(conn, word + 8);
	if (strncmp(word, "subscribe ", 10) == 0)
		return answer_subscribe(conn, word + 10);
	if (strcmp(word, "calls") == 0)
		calls();
	if (strcmp(word, "closing") == 0) {
		(void)es_close(host, conn, 4001, "first");
		(void)answer_info(conn);
	}
	if (strcmp(word, "later") == 0)
		call_later();
	if (strcmp(word, "flood") == 0)
		until_refused(word, conn, false);
	if (strcmp(word, "fill") == 0)
		until_refused(word, 0, false);
	if (strcmp(word, "pending") == 0)
		until_refused(word, conn, true);
	if (strcmp(word, "unsubscribe") == 0)
		return es_unsubscribe(host, conn, "past", NULL);
	if (strcmp(word, "remember") == 0)
		remembered = conn;
	if (strcmp(word, "forever") == 0)
		start(wait_forever);
	if (strcmp(word, "close in a thread") == 0)
		start(close_twice);
	if (strcmp(word, "close") == 0)
		close_twice(NULL);
	if (sscanf(word, "publish %255s", file) == 1)
		start(publish_alone);
	if (strcmp(word, "loop") == 0 &&
	    es_call_later(host, 10000, nothing, NULL, on_drop, &f) == 0) {
		(void)es_cancel(host, f);
		es_unref(host, f);
	}
	return 0;
}

static void
on_close(
    void *state, es_conn conn, void *user, uint16_t code, const char *reason)
{
	(void)state;
	(void)conn;
	(void)user;
	say("close %u %s", code, reason);
	if (last == NULL)
		return;
	say("pending: %d", es_await(host, last, ES_WAIT_FOREVER));
	es_unref(host, last);
	last = NULL;
}

static void
end(void *state)
{
	(void)state;
	say("ran: %u", calls_ran);
	say("end: %d %d", publish_and_wait("end"), call_and_wait());
	atomic_store(&stopping, true);
	while (thread_count > 0)
		(void)pthread_join(threads[--thread_count], NULL);
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_open = on_open,
		.on_message = on_message,
		.on_close = on_close,
		.end = end,
	};
	say("begin: %d", publish_and_wait("begin"));
	return 0;
}
