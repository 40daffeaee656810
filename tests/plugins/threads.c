/*
 * threads: ten threads of its own that call everything, on all connections
 * there are, while those come and go; for the thread sanitizer.
 */

#include "daemon/handler/earshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define THREADS 10
#define CONNS 64

static const struct es_host *host;
static _Atomic es_conn conns[CONNS];
static _Atomic uint64_t calls, failed, opened, closed, ran, dropped;
static atomic_bool stopping;
static pthread_t threads[THREADS];

static void
count(int r)
{
	atomic_fetch_add(&calls, 1);
	if (r < 0)
		atomic_fetch_add(&failed, 1);
}

static void
wait_for(int r, es_future **given, unsigned dice)
{
	es_future *f;

	count(r);
	if (r < 0)
		return;
	f = *given;
	if (dice % 3 == 0)
		(void)es_await(host, f, 100000);
	if (dice % 3 == 1)
		(void)es_cancel(host, f);
	(void)es_result(host, f);
	es_unref(host, f);
}

static void
run(void *arg)
{
	(void)arg;
	atomic_fetch_add(&ran, 1);
}

static void
drop(void *arg)
{
	(void)arg;
	atomic_fetch_add(&dropped, 1);
}

static void
call_one(es_conn conn, unsigned dice)
{
	es_future *f;

	switch (dice % 11) {
	case 0:
		count(es_send(host, conn, ES_TEXT, "tick", 4, NULL));
		return;
	case 1:
		wait_for(
		    es_send(host, conn, ES_BINARY, &dice, sizeof(dice), &f), &f,
		    dice);
		return;
	case 2:
		count(es_publish(host, "all", ES_TEXT, "tock", 4, NULL));
		return;
	case 3:
		wait_for(
		    es_publish(host, "all", ES_JSON, "{}", 2, &f), &f, dice);
		return;
	case 4:
		wait_for(es_subscribe(host, conn, "all", "-1", &f), &f, dice);
		return;
	case 5:
		wait_for(es_unsubscribe(host, conn, "all", &f), &f, dice);
		return;
	case 6:
		wait_for(es_info(host, conn, &f), &f, dice);
		return;
	case 7:
		wait_for(es_history(host, "all", "oldest", 5, &f), &f, dice);
		return;
	case 8:
		wait_for(es_run(host, run, NULL, drop, &f), &f, dice);
		return;
	case 9:
		wait_for(es_call_later(host, dice % 2000, run, NULL, drop, &f),
		    &f, dice);
		return;
	default:
		if (dice % 97 == 0)
			count(es_close(host, conn, 4000, "enough"));
		return;
	}
}

static void *
thread(void *arg)
{
	unsigned dice = (unsigned)(uintptr_t)arg * 2654435761u + 1;
	const struct timespec pause = { 0, 200000 };

	while (!atomic_load(&stopping)) {
		dice = dice * 1664525u + 1013904223u;
		call_one(atomic_load(&conns[(dice >> 8) % CONNS]), dice >> 16);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

static int
on_open(void *state, es_conn conn, const struct es_open *open, void **user)
{
	(void)state;
	(void)open;
	(void)user;
	atomic_store(&conns[atomic_fetch_add(&opened, 1) % CONNS], conn);
	return 0;
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	(void)state;
	(void)user;
	return es_send(
	    host, conn, message->kind, message->data, message->len, NULL);
}

static void
on_close(
    void *state, es_conn conn, void *user, uint16_t code, const char *reason)
{
	(void)state;
	(void)conn;
	(void)user;
	(void)code;
	(void)reason;
	atomic_fetch_add(&closed, 1);
}

static void
end(void *state)
{
	char text[160];
	int i;

	(void)state;
	atomic_store(&stopping, true);
	for (i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	(void)snprintf(text, sizeof(text),
	    "calls=%llu failed=%llu opened=%llu closed=%llu ran=%llu",
	    (unsigned long long)calls, (unsigned long long)failed,
	    (unsigned long long)opened, (unsigned long long)closed,
	    (unsigned long long)ran);
	es_log(host, ES_LOG_INFO, text);
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	uintptr_t i;

	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_open = on_open,
		.on_message = on_message,
		.on_close = on_close,
		.end = end,
	};
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)i))
			return -EAGAIN;
	return 0;
}
