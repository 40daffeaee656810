/*
 * callback_trip: from the loop to a callback on a worker and back, without a
 * socket.
 *
 *   callback_trip ECHO_SO TRIPS
 *
 * A message is given to a session of the handler room; the plugin sends it
 * back; when the send arrives on the loop the next one is given.  Prints
 * p50_us and p99_us of a trip, in hundredths of a microsecond's resolution.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/handler/handler.h"

static struct handlers *handlers;
static struct session *session;
static es_loop *loop;
static es_executor *work;
static es_future *over;
static int64_t *took_ns, began_ns;
static int trips, done;

static int64_t
now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
next(void *arg)
{
	(void)arg;
	es_loop_assert(loop);
	began_ns = now_ns();
	if (session_message(session, MESSAGE_TEXT, "trip", 4) < 0)
		abort();
}

static struct session *
op_find(void *net, uint32_t slot, uint32_t generation)
{
	(void)net;
	(void)slot;
	(void)generation;
	return session;
}

static int64_t
op_send(void *conn, enum message_kind kind, const void *data, size_t len)
{
	(void)conn;
	(void)kind;
	(void)data;
	took_ns[done++] = now_ns() - began_ns;
	if (done < trips) {
		/* Not before the worker is out of the callback. */
		if (es_call_later(loop, 20, "next", next, NULL, NULL, NULL) < 0)
			abort();
	} else {
		(void)es_future_set_result(over, ES_NOTHING);
	}
	return (int64_t)len + 2;
}

static void
op_pause(void *conn, bool pause)
{
	(void)conn;
	(void)pause;
}

static int
open_session(void *arg, es_value *ret)
{
	const struct es_open open = { .path = "/" };

	(void)arg;
	(void)ret;
	es_loop_assert(loop);
	if (session_new(handlers_for_path(handlers, "/trip", 5), &session, 0, 0,
		&open, &session) < 0)
		return -ENOMEM;
	session_open(session);
	next(NULL);
	return 0;
}

static int
make(void *arg, es_value *ret)
{
	static const struct handler_ops ops = {
		.find = op_find,
		.send = op_send,
		.pause = op_pause,
	};
	const struct handlers_rooms rooms = {
		.conf = arg,
		.loop = loop,
		.work = work,
		.ops = &ops,
		.slots = 1,
	};

	(void)ret;
	es_loop_assert(loop);
	return handlers_new(&rooms, &handlers);
}

static int
compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int
run(es_body_fn fn, void *arg)
{
	es_future *f;
	const int r = es_loop_invoke(loop, "bench", fn, arg, NULL, &f);

	return r < 0 ? r : es_await_take(f, ES_FOREVER, NULL);
}

static void
on_fault(const char *text, void *arg)
{
	(void)arg;
	(void)fprintf(stderr, "%s\n", text);
}

int
main(int argc, char **argv)
{
	struct conf *conf = conf_new();
	es_loop_thread *thread;
	char text[4096];

	if (argc != 3 || !conf)
		return 1;
	trips = atoi(argv[2]);
	took_ns = calloc((size_t)trips, sizeof(*took_ns));
	(void)snprintf(text, sizeof(text),
	    "[listener]\nlisten = 127.0.0.1:0\n[handler]\nplugin = %s\n"
	    "path = /trip\nsend_bytes_max = 1G\n",
	    argv[1]);
	if (!took_ns ||
	    conf_read_text(conf, "bench", text, strlen(text), on_fault, NULL) ||
	    conf_finish(conf, on_fault, NULL) || es_loop_new(&loop, NULL) ||
	    es_executor_new(&work, NULL) || es_loop_thread_start(loop, &thread))
		return 1;
	over = es_future_new(loop);
	if (!over || run(make, conf) ||
	    handlers_start(handlers, text, sizeof(text)) ||
	    run(open_session, NULL) || es_await(over, ES_S(60)) < 0) {
		(void)fprintf(stderr, "callback_trip: %s\n", text);
		return 1;
	}
	qsort(took_ns, (size_t)trips, sizeof(*took_ns), compare);
	printf("p50_us\t%.2f\n", (double)took_ns[trips / 2] / 1000);
	printf("p99_us\t%.2f\n", (double)took_ns[trips / 100 * 99] / 1000);
	(void)fflush(stdout);
	_exit(0); /* a bench: what is open goes with the process */
}
