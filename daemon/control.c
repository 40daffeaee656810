/*
 * control: what the roof answers on the control socket, and SIGUSR1: the state
 * in numbers and in lines for people; and the way to the main loop and back.
 *
 * The lines of `earshot status` and those of SIGUSR1 are the same ones.
 */

#include "daemon/net/control.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/daemon.h"
#include "proto/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BYTES_MAX ((size_t)4 * 1024 * 1024)
#define LINE_BYTES_MAX 512
#define FEEDS_SHOWN_MAX 16

/* Numbers for people */

static const char *
bytes(char out[static 32], uint64_t value)
{
	static const char units[] = " KMGT";
	double n = (double)value;
	size_t unit = 0;

	while (n >= 1024 && units[unit + 1] != '\0') {
		n /= 1024;
		unit++;
	}
	if (unit == 0)
		(void)snprintf(out, 32, "%" PRIu64, value);
	else
		(void)snprintf(
		    out, 32, n < 9.95 ? "%.1f%c" : "%.0f%c", n, units[unit]);
	return out;
}

static const char *
duration(char out[static 32], int64_t us)
{
	const int64_t s = us / LIMITS_S;

	if (s < 60)
		(void)snprintf(out, 32, "%" PRId64 " s", s);
	else if (s < 3600)
		(void)snprintf(
		    out, 32, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(out, 32, "%" PRId64 " h %" PRId64 " min",
		    s / 3600, s / 60 % 60);
	else
		(void)snprintf(out, 32, "%" PRId64 " d %" PRId64 " h",
		    s / 86400, s / 3600 % 24);
	return out;
}

/* What is added to a noun. */
static const char *
plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* Lines */

struct lines {
	void (*put)(const char *line, void *arg);
	void *arg;
	unsigned feeds, down;
};

__attribute__((format(printf, 2, 3))) static void
line(struct lines *lines, const char *fmt, ...)
{
	char text[LINE_BYTES_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
	va_end(args);
	lines->put(text, lines->arg);
}

static bool
is_down(const struct feed_stats *feed)
{
	return strcmp(feed->state, "backoff") == 0 ||
	       strcmp(feed->state, "stopped") == 0;
}

static void
count_feed(const struct feed_stats *feed, void *arg)
{
	struct lines *lines = arg;

	lines->feeds++;
	lines->down += is_down(feed);
}

static void
put_down(const struct feed_stats *feed, void *arg)
{
	struct lines *lines = arg;

	if (is_down(feed) && lines->down++ < FEEDS_SHOWN_MAX)
		line(lines, "feed %s (%s) is down: %s", feed->name, feed->kind,
		    feed->last_error != NULL ? feed->last_error : feed->state);
}

static void
put_address(const char *address, void *arg)
{
	line(arg, "listening on %s", address);
}

static void
put_feeds_lines(struct daemon *daemon, struct lines *lines) LOOP_THREAD
{
	feeds_each(daemon->feeds, count_feed, lines);
	if (lines->feeds > 0)
		line(lines, "%u feed%s, %u down", lines->feeds,
		    plural(lines->feeds), lines->down);
	lines->down = 0;
	feeds_each(daemon->feeds, put_down, lines);
}

static void
put_workers(struct daemon *daemon, struct lines *lines)
{
	es_executor_stats stats;
	char late[32];

	if (es_executor_get_stats(daemon->sys, &stats) == 0 && stats.queued > 0)
		line(lines, "workers: %u job%s wait%s, the first for %s",
		    stats.queued, plural(stats.queued),
		    stats.queued == 1 ? "s" : "", duration(late, stats.oldest));
}

static void
each_line(struct daemon *daemon, struct lines *lines) LOOP_THREAD
{
	const struct conf_limits *limits = &net_conf(daemon->net)->limits;
	struct net_status status;
	char a[32], b[32], c[32], d[32];

	net_status(daemon->net, &status);
	line(lines, "%s for %s, version " EARSHOT_VERSION ", pid %d",
	    status.closing ? "draining; running" : "serving",
	    duration(a, clock_now_us() - status.started_us), (int)getpid());
	line(lines,
	    "%" PRIu64 " connection%s of %" PRId64 ", %" PRIu64
	    " consumer%s, %" PRIu64 " channel%s of %" PRId64,
	    status.connections, plural(status.connections),
	    limits->connections_max, status.consumers, plural(status.consumers),
	    status.channels, plural(status.channels), limits->channels_max);
	line(lines,
	    "%" PRIu64 " message%s (%s) in, %" PRIu64 " message%s (%s) out",
	    status.messages_in, plural(status.messages_in),
	    bytes(a, status.bytes_in), status.messages_out,
	    plural(status.messages_out), bytes(b, status.bytes_out));
	line(lines, "memory: tapes %s of %s, other views %s of %s",
	    bytes(a, status.tapes_bytes),
	    bytes(b, (uint64_t)limits->tapes_bytes_max),
	    bytes(c, status.views_bytes),
	    bytes(d, (uint64_t)limits->views_bytes_max));
	if (!status.closing)
		net_each_listener(daemon->net, put_address, lines);
	put_feeds_lines(daemon, lines);
	put_workers(daemon, lines);
	if (daemon->control.reloaded_us != 0)
		line(lines, "%s %s ago%s%s",
		    daemon->control.reload_failed ? "reload failed"
						  : "reloaded",
		    duration(a, clock_now_us() - daemon->control.reloaded_us),
		    daemon->control.reload_failed ? ": " : "",
		    daemon->control.reload_failed ? daemon->control.fault : "");
}

/* SIGUSR1 */

static void
log_line(const char *text, void *arg)
{
	(void)arg;
	log_info("state: %s", text);
}

void
control_log_state(void *arg)
{
	struct daemon *daemon = arg;
	struct lines lines = { .put = log_line };

	es_loop_assert(daemon->net_loop);
	each_line(daemon, &lines);
}

/* JSON */

struct json {
	struct buffer *out;
	bool first;
	int error;
};

static void
put_string(struct json *json, const char *text)
{
	char quoted[LINE_BYTES_MAX * JSON_ESCAPE_MAX + 2];
	const size_t len = json_put_string(
	    quoted, sizeof(quoted), text, strnlen(text, LINE_BYTES_MAX));

	if (json->error == 0)
		json->error = buffer_append(json->out, quoted, len, BYTES_MAX);
}

__attribute__((format(printf, 2, 3))) static void
put(struct json *json, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (json->error == 0)
		json->error =
		    buffer_append(json->out, text, (size_t)len, BYTES_MAX);
}

static void
comma(struct json *json)
{
	if (!json->first)
		put(json, ",");
	json->first = false;
}

static void
put_line(const char *text, void *arg)
{
	struct json *json = arg;

	comma(json);
	put_string(json, text);
}

static void
put_numbers(struct daemon *daemon, struct json *json) LOOP_THREAD
{
	static const char *const levels[] = { "error", "warn", "info",
		"debug" };
	const struct conf_limits *limits = &net_conf(daemon->net)->limits;
	struct net_status status;

	net_status(daemon->net, &status);
	put(json,
	    "{\"state\":\"%s\",\"version\":\"" EARSHOT_VERSION
	    "\",\"pid\":%d,\"uptime\":%.3f,\"log_level\":\"%s\","
	    "\"log_dropped\":%" PRIu64 ",",
	    status.closing ? "draining" : "serving", (int)getpid(),
	    (double)(clock_now_us() - status.started_us) / LIMITS_S,
	    levels[log_get_level()], log_dropped());
	put(json,
	    "\"connections\":%" PRIu64 ",\"connections_max\":%" PRId64
	    ",\"consumers\":%" PRIu64 ",\"channels\":%" PRIu64
	    ",\"channels_max\":%" PRId64 ",",
	    status.connections, limits->connections_max, status.consumers,
	    status.channels, limits->channels_max);
	put(json,
	    "\"messages_in\":%" PRIu64 ",\"bytes_in\":%" PRIu64
	    ",\"messages_out\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",",
	    status.messages_in, status.bytes_in, status.messages_out,
	    status.bytes_out);
	put(json,
	    "\"tapes_bytes\":%" PRIu64 ",\"tapes_bytes_max\":%" PRId64
	    ",\"views_bytes\":%" PRIu64 ",\"views_bytes_max\":%" PRId64
	    ",\"intake_bytes\":%" PRIu64 ",",
	    status.tapes_bytes, limits->tapes_bytes_max, status.views_bytes,
	    limits->views_bytes_max, status.intake_bytes);
}

static void
put_reload(struct daemon *daemon, struct json *json)
{
	put(json, "\"reload\":");
	if (daemon->control.reloaded_us == 0) {
		put(json, "null,");
		return;
	}
	put(json, "{\"ok\":%s,\"age\":%.3f",
	    daemon->control.reload_failed ? "false" : "true",
	    (double)(clock_now_us() - daemon->control.reloaded_us) / LIMITS_S);
	if (daemon->control.reload_failed) {
		put(json, ",\"fault\":");
		put_string(json, daemon->control.fault);
	}
	put(json, "},");
}

static int
put_status(struct buffer *out, void *arg)
{
	struct daemon *daemon = arg;
	struct json json = { .out = out, .first = true };
	struct lines lines = { .put = put_line, .arg = &json };

	es_loop_assert(daemon->net_loop);
	put_numbers(daemon, &json);
	feeds_each(daemon->feeds, count_feed, &lines);
	put(&json, "\"feeds\":%u,\"feeds_down\":%u,", lines.feeds, lines.down);
	put_reload(daemon, &json);
	lines.feeds = lines.down = 0;
	put(&json, "\"report\":[");
	each_line(daemon, &lines);
	put(&json, "]}");
	return json.error;
}

static void
put_feed(const struct feed_stats *feed, void *arg)
{
	struct json *json = arg;

	comma(json);
	put(json,
	    "{\"name\":\"%s\",\"kind\":\"%s\",\"channel\":\"%s\","
	    "\"state\":\"%s\",\"since\":%.3f,",
	    feed->name, feed->kind, feed->channel, feed->state,
	    (double)(clock_now_us() - feed->since_us) / LIMITS_S);
	put(json,
	    "\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
	    ",\"compressed\":%s,\"compressed_bytes\":%" PRIu64
	    ",\"restarts\":%" PRIu64 ",\"failures\":%" PRIu64
	    ",\"lines_cut\":%" PRIu64 ",\"lines_refused\":%" PRIu64
	    ",\"last_error\":",
	    feed->messages, feed->bytes, feed->compressed ? "true" : "false",
	    feed->compressed_bytes, feed->restarts, feed->failures,
	    feed->lines_cut, feed->lines_refused);
	if (feed->last_error != NULL)
		put_string(json, feed->last_error);
	else
		put(json, "null");
	put(json, "}");
}

static int
put_feeds(struct buffer *out, void *arg)
{
	struct daemon *daemon = arg;
	struct json json = { .out = out, .first = true };

	es_loop_assert(daemon->net_loop);
	put(&json, "[");
	feeds_each(daemon->feeds, put_feed, &json);
	put(&json, "]");
	return json.error;
}

/* To the main loop and back */

struct request {
	struct daemon *daemon;
	uint64_t handle;
};

static void
reload_on_main(void *arg)
{
	struct request *request = arg;

	reload_begin(request->daemon, request->handle);
	memory_free(request);
}

static int
to_main(struct daemon *daemon, const char *name, es_fn fn, uint64_t handle)
{
	struct request *request = memory_alloc(sizeof(*request));
	int error;

	if (request == NULL)
		return -ENOMEM;
	*request = (struct request){ daemon, handle };
	error = es_call_soon(
	    daemon->main_loop, name, fn, request, memory_free, NULL);
	if (error < 0)
		memory_free(request);
	return error;
}

static void
answer_drain(void *arg)
{
	static const char body[] = "{\"state\":\"draining\"}\n";
	struct request *request = arg;
	struct daemon *daemon = request->daemon;

	es_loop_assert(daemon->net_loop);
	net_stop_intake(
	    daemon->net); /* the drain's first step, or it is done */
	net_control_answer(
	    daemon->net, request->handle, 200, body, sizeof(body) - 1);
	memory_free(request);
}

static void
drain_on_main(void *arg)
{
	struct request *request = arg;
	struct daemon *daemon = request->daemon;

	drain_begin(daemon);
	if (es_call_soon(daemon->net_loop, "draining", answer_drain, request,
		memory_free, NULL) < 0)
		memory_free(request); /* who asked is cut by the drain */
}

static int
on_drain(uint64_t handle, void *arg)
{
	return to_main(arg, "control drain", drain_on_main, handle);
}

static int
on_reload(uint64_t handle, void *arg)
{
	return to_main(arg, "control reload", reload_on_main, handle);
}

void
control_reloaded(struct daemon *daemon, bool ok, const char *fault)
{
	daemon->control.reloaded_us = clock_now_us();
	daemon->control.reload_failed = !ok;
	(void)snprintf(
	    daemon->control.fault, sizeof(daemon->control.fault), "%s", fault);
}

/* The file's place: as configured, else in the folder systemd has made. */
static const char *
find_path(struct daemon *daemon, bool *ret_must)
{
	const char *configured = daemon->conf->control_path;
	const char *folder = getenv("RUNTIME_DIRECTORY");
	int len;

	*ret_must = configured != NULL;
	if (configured == NULL && (folder == NULL || folder[0] != '/'))
		return NULL;
	len = configured != NULL
		  ? snprintf(daemon->control.path, sizeof(daemon->control.path),
			"%s", configured)
		  : snprintf(daemon->control.path, sizeof(daemon->control.path),
			"%.*s/control.sock", (int)strcspn(folder, ":"), folder);
	if (len == 0) /* none is wanted */
		return NULL;
	return (size_t)len < sizeof(daemon->control.path) ? daemon->control.path
							  : NULL;
}

void
control_open(struct daemon *daemon)
{
	struct net_control control = {
		.put_status = put_status,
		.put_feeds = put_feeds,
		.drain = on_drain,
		.reload = on_reload,
		.arg = daemon,
	};

	es_loop_assert(daemon->net_loop);
	control.path = find_path(daemon, &control.must);
	net_set_control(daemon->net, &control);
}
