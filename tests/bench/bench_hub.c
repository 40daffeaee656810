/*
 * What the hub itself costs: publish and flush with a write that takes all and
 * does nothing.  TSV on stdout: name, value, unit; each value is the median of
 * ROUNDS.  The consumers lie in connections of CONNECTION_BYTES, as they do in
 * the daemon, so that a visit touches memory like there.
 */

#include "daemon/base/wheel.h"
#include "daemon/hub/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 9
#define CONNECTION_BYTES 512
#define CONSUMERS_MAX 10000
#define DELIVERIES 4000000
#define MESSAGE_BYTES 128
#define CHANNELS 10000
#define KIB INT64_C(1024)
#define WALL_US INT64_C(1790000000000000)

struct connection {
	struct consumer consumer;
	struct wheel_entry entry;
	char rest[CONNECTION_BYTES - sizeof(struct consumer) -
		  sizeof(struct wheel_entry)];
};

struct bench {
	struct conf_channel channel;
	struct conf conf;
	struct hub *hub;
	struct connection *connections;
	char payload[MESSAGE_BYTES];
	uint64_t writes, bytes;
	double values[4][ROUNDS]; /* a column for each thing measured */
};

static double
now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void
need(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "bench_hub: %s\n", what);
	exit(1);
}

static int64_t
on_write(struct consumer *consumer, const struct span *span, bool *ret_blocked,
    void *arg)
{
	struct bench *bench = arg;

	(void)consumer;
	*ret_blocked = false;
	bench->writes++;
	bench->bytes += span->len;
	return (int64_t)span->len;
}

static bool
on_overrun(struct consumer *consumer, enum conf_overrun policy, int64_t from,
    int64_t to, bool inside, void *arg)
{
	(void)consumer, (void)policy, (void)from, (void)to, (void)inside;
	(void)arg;
	need(false, "a consumer was overtaken");
	return false;
}

static void
open_hub(struct bench *bench)
{
	static const struct hub_ops ops = { on_write, on_overrun };
	static char all[] = "**";

	bench->channel = (struct conf_channel){ .pattern = all,
		.history_messages = 1000000,
		.history_bytes = 16 * 1024 * KIB,
		.history_age_us = INT64_C(3600) * 1000000,
		.buffer_bytes = 1024 * KIB };
	bench->conf =
	    (struct conf){ .channels = &bench->channel, .channel_count = 1 };
	bench->conf.limits.channels_max = CHANNELS;
	bench->conf.limits.tapes_bytes_max = INT64_C(1) << 30;
	bench->conf.limits.message_bytes_max = 1024 * KIB;
	bench->conf.limits.flushes_per_iteration_max = 4096;
	bench->conf.limits.span_bytes_max = 64 * KIB;
	bench->conf.limits.views_bytes_max = 256 * 1024 * KIB;
	bench->conf.limits.view_build_bytes_per_iteration_max = 1024 * KIB;
	need(hub_new(&bench->conf, 42, &ops, bench, &bench->hub) == 0,
	    "no memory");
}

static void
publish(struct bench *bench, const char *channel, int count)
{
	const struct hub_message message = {
		.kind = MESSAGE_TEXT,
		.payload = bench->payload,
		.len = MESSAGE_BYTES,
		.checked = false,
	};

	for (int i = 0; i < count; i++)
		need(hub_publish(bench->hub, channel, strlen(channel),
			 HUB_OUTSIDE, &message, WALL_US, NULL) > 0,
		    "not published");
}

static void
subscribe(struct bench *bench, int consumers, enum view_kind view,
    enum from_kind kind)
{
	const struct from from = { .kind = kind };
	struct hub_answer answer;

	for (int i = 0; i < consumers; i++)
		need(hub_subscribe(bench->hub, &bench->connections[i].consumer,
			 "ticks", 5, view, &from, WALL_US, &answer) == 0,
		    "not subscribed");
}

static void
unsubscribe(struct bench *bench, int consumers)
{
	for (int i = 0; i < consumers; i++)
		hub_unsubscribe(bench->hub, &bench->connections[i].consumer);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
report(struct bench *bench, int column, const char *name, const char *unit)
{
	double *values = bench->values[column];

	qsort(values, ROUNDS, sizeof(*values), compare);
	(void)printf("%s\t%.2f\t%s\n", name, values[ROUNDS / 2], unit);
}

/* Bursts to live consumers: publish `burst` messages, flush, and again. */
static void
bench_live(struct bench *bench, int consumers, int burst)
{
	int turns = DELIVERIES / (consumers * burst) + 1;
	char name[64];

	open_hub(bench);
	publish(bench, "ticks", 200000); /* the history is full */
	subscribe(bench, consumers, VIEW_RAW, FROM_LIVE);
	for (int round = 0; round < ROUNDS; round++) {
		double publishing = 0, flushing = 0;
		uint64_t writes = bench->writes;

		for (int turn = 0; turn < turns; turn++) {
			double begin = now_ns(), middle;

			publish(bench, "ticks", burst);
			middle = now_ns();
			while (hub_flush(bench->hub, WALL_US))
				;
			publishing += middle - begin;
			flushing += now_ns() - middle;
		}
		writes = bench->writes - writes;
		need(writes >= (uint64_t)turns * (uint64_t)consumers,
		    "a consumer was left out");
		bench->values[0][round] = flushing / (double)writes;
		bench->values[1][round] =
		    flushing / ((double)turns * consumers * burst);
		bench->values[2][round] = publishing / ((double)turns * burst);
	}
	(void)snprintf(
	    name, sizeof(name), "live.c%d.burst%d.visit", consumers, burst);
	report(bench, 0, name, "ns");
	(void)snprintf(
	    name, sizeof(name), "live.c%d.burst%d.delivery", consumers, burst);
	report(bench, 1, name, "ns");
	(void)snprintf(
	    name, sizeof(name), "live.c%d.burst%d.publish", consumers, burst);
	report(bench, 2, name, "ns");
	unsubscribe(bench, consumers);
	hub_free(bench->hub);
}

/* All of a full history to consumers that come at once. */
static void
bench_replay(struct bench *bench, int consumers)
{
	open_hub(bench);
	publish(bench, "ticks", 200000);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t writes = bench->writes, bytes = bench->bytes;
		double begin = now_ns(), middle;

		subscribe(bench, consumers, VIEW_RAW, FROM_OLDEST);
		middle = now_ns();
		while (hub_flush(bench->hub, WALL_US))
			;
		bench->values[0][round] =
		    (now_ns() - middle) / (double)(bench->writes - writes);
		bench->values[1][round] = (double)(bench->bytes - bytes) /
					  (double)(bench->writes - writes) /
					  1024;
		bench->values[2][round] = (middle - begin) / consumers;
		unsubscribe(bench, consumers);
	}
	report(bench, 0, "replay.span", "ns");
	report(bench, 1, "replay.span", "KiB");
	report(bench, 2, "replay.subscribe", "ns");
	hub_free(bench->hub);
}

/* ns a delivery takes of a flush, encoding and all. */
static double
deliver(struct bench *bench, int consumers, int burst)
{
	int turns = DELIVERIES / 10 / (consumers * burst) + 20;
	double flushing = 0;

	for (int turn = 0; turn < turns; turn++) {
		double begin;

		publish(bench, "ticks", burst);
		begin = now_ns();
		while (hub_flush(bench->hub, WALL_US))
			;
		flushing += now_ns() - begin;
	}
	return flushing / ((double)turns * consumers * burst);
}

/*
 * Every view beside the raw one, in turns: a delivery to 1000 consumers, and
 * what encoding a message adds where there is one consumer.
 */
static void
bench_views(struct bench *bench, int burst)
{
	static const char *const names[VIEW_KINDS] = { "raw", "raw_deflated",
		"v1", "v1_deflated", "sse" };
	static double many[VIEW_KINDS][ROUNDS], one[VIEW_KINDS][ROUNDS];
	char name[64];

	open_hub(bench);
	publish(bench, "ticks", 200000);
	for (int round = 0; round < ROUNDS; round++)
		for (int view = 0; view < VIEW_KINDS; view++) {
			subscribe(bench, 1000, (enum view_kind)view, FROM_LIVE);
			many[view][round] = deliver(bench, 1000, burst);
			unsubscribe(bench, 1000);
			subscribe(bench, 1, (enum view_kind)view, FROM_LIVE);
			one[view][round] = deliver(bench, 1, burst);
			unsubscribe(bench, 1);
		}
	for (int view = 0; view < VIEW_KINDS; view++) {
		(void)snprintf(name, sizeof(name),
		    "views.%s.c1000.burst%d.delivery", names[view], burst);
		memcpy(bench->values[0], many[view], sizeof(many[view]));
		report(bench, 0, name, "ns");
		(void)snprintf(name, sizeof(name),
		    "views.%s.c1.burst%d.delivery", names[view], burst);
		memcpy(bench->values[0], one[view], sizeof(one[view]));
		report(bench, 0, name, "ns");
	}
	hub_free(bench->hub);
}

/* Round robin over many quiet channels: the table and cold tapes. */
static void
bench_channels(struct bench *bench)
{
	char name[16];

	open_hub(bench);
	for (int round = 0; round < ROUNDS; round++) {
		double begin = now_ns();

		for (int i = 0; i < CHANNELS; i++) {
			(void)snprintf(name, sizeof(name), "quiet.%d", i);
			publish(bench, name, 1);
		}
		bench->values[0][round] = (now_ns() - begin) / CHANNELS;
	}
	report(bench, 0, "channels.publish", "ns");
	(void)printf("channels.memory\t%.0f\tbytes\n",
	    (double)hub_memory_bytes(bench->hub) / CHANNELS);
	hub_free(bench->hub);
}

static void
on_fire(struct wheel_entry *entry, void *arg)
{
	wheel_set(arg, entry, entry->due_us + 25 * 1000000);
}

/* Deadlines of 25 s for all, a quarter of them moved in each 100 ms. */
static void
bench_wheel(struct bench *bench)
{
	static struct wheel wheel;
	int64_t now_us = 1000000;

	wheel_init(&wheel, now_us);
	for (int i = 0; i < CONSUMERS_MAX; i++) {
		wheel_entry_init(&bench->connections[i].entry);
		wheel_set(
		    &wheel, &bench->connections[i].entry, now_us + 2500 * i);
	}
	for (int round = 0; round < ROUNDS; round++) {
		double moving = 0, advancing = 0;

		for (int turn = 0; turn < 1000; turn++, now_us += 100000) {
			double begin = now_ns(), middle;

			for (int i = turn % 4; i < CONSUMERS_MAX; i += 4)
				wheel_set(&wheel, &bench->connections[i].entry,
				    now_us + 25 * 1000000);
			middle = now_ns();
			wheel_advance(&wheel, now_us, on_fire, &wheel);
			moving += middle - begin;
			advancing += now_ns() - middle;
		}
		bench->values[0][round] = moving / 1000 / (CONSUMERS_MAX / 4);
		bench->values[1][round] = advancing / 1000 / 10;
	}
	report(bench, 0, "wheel.move", "ns");
	report(bench, 1, "wheel.advance", "ns/tick");
}

int
main(void)
{
	static const int consumers[] = { 100, 1000, 10000 };
	static const int bursts[] = { 1, 16, 64 };
	static struct bench bench;

	bench.connections = calloc(CONSUMERS_MAX, sizeof(*bench.connections));
	need(bench.connections != NULL, "no memory");
	for (int i = 0; i < MESSAGE_BYTES; i++) /* neither noise nor nothing */
		bench.payload[i] =
		    "reading: 17.25 C, 731 mbar; "[i * 5 / 3 % 28];
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 3; j++)
			bench_live(&bench, consumers[i], bursts[j]);
	for (int j = 0; j < 3; j++)
		bench_views(&bench, bursts[j]);
	bench_replay(&bench, 1000);
	bench_channels(&bench);
	bench_wheel(&bench);
	free(bench.connections);
	return 0;
}
