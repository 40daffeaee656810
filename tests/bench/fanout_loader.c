/*
 * fanout_loader: loads one WebSocket server and measures it; README.md here.
 *
 * Three ways, one of them is given:
 *   -y       closed loop: at most WINDOW messages are not yet with everybody,
 *            published BURST at a time in one write
 *   -r RATE  open loop: RATE messages a second whatever happens, latency from
 *            the moment a message was due until a consumer had read it
 *   -i       idle: opens, holds, and sees that one message reaches everybody
 * What was measured goes to stdout, a line "name<TAB>value" each.  A message
 * that is lost, repeated, out of order or not byte for byte what was published
 * ends the run with a sentence on stderr and exit code 1.
 */

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/loader.h"

#define DESCRIPTORS_MAX 20000
#define DESCRIPTORS_SPARE 64

enum way {
	WAY_NONE,
	WAY_CLOSED,
	WAY_OPEN,
	WAY_IDLE,
};

struct plan {
	enum way way;
	struct loader_args loader;
	size_t window, burst;
	int64_t rate;
	int64_t warm_up_us, measure_us;
	pid_t server;
};

struct sample {
	int64_t at_us;
	struct sample_cpu server; /* zero where it was not named */
	struct sample_cpu loader;
	uint64_t deliveries;
};

static const char usage[] =
    "usage: fanout_loader -p PORT (-y | -r RATE | -i) [-s SERVER_PID]\n"
    "  [-n CONSUMERS] [-k STALLED] [-b MESSAGE_BYTES] [-W WINDOW] [-B BURST]\n"
    "  [-w WARM_UP_MS] [-t MEASURE_MS] [-K CONNECTS_IN_FLIGHT]\n"
    "  [-c CONSUMER_PATH] [-P PUBLISHER_PATH]\n";

static void
put(const char *name, int64_t value)
{
	(void)printf("%s\t%" PRId64 "\n", name, value);
}

static int
take_sample(struct loader *loader, const struct plan *plan, struct sample *out)
{
	int r = plan->server > 0 ? sample_cpu(plan->server, &out->server) : 0;

	if (r == 0)
		r = sample_cpu(getpid(), &out->loader);
	out->at_us = sample_now_us();
	out->deliveries = loader->deliveries;
	return r < 0 ? loader_fault(loader, "schedstat: %s", strerror(-r)) : 0;
}

static void
put_difference(const struct sample *from, const struct sample *to)
{
	put("deliveries", (int64_t)(to->deliveries - from->deliveries));
	put("wall_us", to->at_us - from->at_us);
	put("cpu_us", to->server.run_us - from->server.run_us);
	put("server_wait_us", to->server.wait_us - from->server.wait_us);
	put("loader_wait_us", to->loader.wait_us - from->loader.wait_us);
}

static int
open_all(struct loader *loader, const struct plan *plan)
{
	struct sample before = { 0 }, after = { 0 };
	int r = take_sample(loader, plan, &before);

	if (r == 0)
		r = loader_open(loader);
	if (r == 0)
		r = take_sample(loader, plan, &after);
	if (r < 0)
		return r;
	put("opened", (int64_t)loader->opened);
	put("open_wall_us", after.at_us - before.at_us);
	put("open_cpu_us", after.server.run_us - before.server.run_us);
	put("open_server_wait_us",
	    after.server.wait_us - before.server.wait_us);
	put("open_loader_wait_us",
	    after.loader.wait_us - before.loader.wait_us);
	return 0;
}

/* --- closed loop --- */

/* At least two bursts, else as many as fit in the time; then the last ends. */
static int
run_closed(struct loader *loader, const struct plan *plan, int64_t duration_us)
{
	int64_t end_us = sample_now_us() + duration_us;
	uint64_t at_least = loader->source.next + 2 * plan->burst;
	int r = 0;

	while (r == 0) {
		int64_t now_us = sample_now_us();
		uint64_t flying = loader->source.next - loader->completed;

		if (now_us >= end_us && loader->source.next >= at_least)
			break;
		if (flying + plan->burst <= plan->window &&
		    loader->out_len == 0)
			r = loader_publish(loader, plan->burst, now_us);
		if (r == 0)
			r = loader_poll(loader, 0);
	}
	return r < 0 ? r : loader_settle(loader);
}

static int
measure_closed(struct loader *loader, const struct plan *plan)
{
	struct sample from = { 0 }, to = { 0 };
	int r = run_closed(loader, plan, plan->warm_up_us);

	if (r == 0)
		r = take_sample(loader, plan, &from);
	if (r == 0)
		r = run_closed(loader, plan, plan->measure_us);
	if (r == 0)
		r = take_sample(loader, plan, &to);
	if (r == 0)
		put_difference(&from, &to);
	return r;
}

/* --- open loop --- */

static int
run_open(struct loader *loader, const struct plan *plan, int64_t duration_us)
{
	int64_t start_us = sample_now_us();
	int64_t count = duration_us * plan->rate / 1000000;
	int64_t sent = 0;
	int r = 0;

	while (r == 0 && sent < count) {
		int64_t due_us = start_us + sent * 1000000 / plan->rate;

		/* The stamp is when it was due: a late loader hides nothing. */
		if (sample_now_us() >= due_us) {
			r = loader_publish(loader, 1, due_us);
			sent++;
		}
		if (r == 0)
			r = loader_poll(loader, 0);
	}
	return r;
}

static int
measure_open(struct loader *loader, const struct plan *plan)
{
	const struct sample_histogram *latency = &loader->latency;
	struct sample from = { 0 }, to = { 0 };
	uint64_t stalled_bytes;
	int r = run_open(loader, plan, plan->warm_up_us);

	if (r == 0)
		r = loader_settle(loader);
	if (r == 0)
		r = take_sample(loader, plan, &from);
	loader->latency_from = loader->source.next;
	if (r == 0)
		r = run_open(loader, plan, plan->measure_us);
	if (r == 0)
		r = loader_settle(loader);
	if (r == 0)
		r = take_sample(loader, plan, &to);
	if (r < 0)
		return r;
	put_difference(&from, &to);
	put("latency_p50_us", sample_percentile(latency, 0.5));
	put("latency_p99_us", sample_percentile(latency, 0.99));
	put("latency_p999_us", sample_percentile(latency, 0.999));
	put("latency_max_us", (int64_t)latency->max);
	if (loader->args.stalled == 0)
		return 0;
	/* What stalled consumers did not take, each, of all that was sent. */
	stalled_bytes = loader->stalled_bytes / loader->args.stalled;
	put("stalled_behind_bytes",
	    (int64_t)(loader->source.next * loader->args.message_bytes -
		      stalled_bytes));
	put("stalled_closed", (int64_t)loader->stalled_closed);
	return 0;
}

/* --- idle --- */

static int
hold(struct loader *loader, int64_t duration_us)
{
	int64_t end_us = sample_now_us() + duration_us;
	int r = 0;

	while (r == 0) {
		int64_t left_us = end_us - sample_now_us();

		if (left_us <= 0)
			break;
		r = loader_poll(loader, (int)(left_us / 1000) + 1);
	}
	return r;
}

static int
measure_idle(struct loader *loader, const struct plan *plan, int64_t rss_before)
{
	struct sample from = { 0 }, to = { 0 };
	int64_t rss_after = 0;
	int r = take_sample(loader, plan, &from);

	if (r == 0)
		r = hold(loader, plan->measure_us);
	if (r == 0)
		r = take_sample(loader, plan, &to);
	if (plan->server > 0)
		rss_after = sample_rss_bytes(plan->server);
	/* They were consumers all the while, not only connections. */
	if (r == 0)
		r = loader_publish(loader, 1, sample_now_us());
	if (r == 0)
		r = loader_settle(loader);
	if (r < 0)
		return r;
	if (rss_before < 0 || rss_after < 0)
		return loader_fault(
		    loader, "memory of process %d", (int)plan->server);
	put_difference(&from, &to);
	put("rss_before_bytes", rss_before);
	put("rss_after_bytes", rss_after);
	return 0;
}

/* --- the run --- */

static int
run(struct loader *loader, const struct plan *plan)
{
	int64_t rss_before = 0;
	int r;

	if (plan->way == WAY_IDLE && plan->server > 0)
		rss_before = sample_rss_bytes(plan->server);
	r = open_all(loader, plan);
	if (r < 0)
		return r;
	switch (plan->way) {
	case WAY_CLOSED:
		return measure_closed(loader, plan);
	case WAY_OPEN:
		return measure_open(loader, plan);
	case WAY_IDLE:
		return measure_idle(loader, plan, rss_before);
	case WAY_NONE:
		break;
	}
	return -EINVAL;
}

/* The one number reader here: digits only, within min and max. */
static int
number(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min ||
	    value > max) {
		(void)fprintf(stderr,
		    "fanout_loader: \"%s\": a number from %" PRId64
		    " to %" PRId64 " was expected\n",
		    text, min, max);
		return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

static int
set_number(struct plan *plan, int option, const char *text)
{
	int64_t value = 0;
	int64_t min = option == 'k' || option == 'w' ? 0 : 1;
	int64_t max = option == 'p' ? UINT16_MAX : INT32_MAX;
	int r;

	if (option == 'b') {
		min = SOURCE_BYTES_MIN;
		max = SOURCE_BYTES_MAX;
	}
	r = number(text, min, max, &value);
	if (r < 0)
		return r;
	switch (option) {
	case 'p':
		plan->loader.port = (uint16_t)value;
		break;
	case 'n':
		plan->loader.consumers = (size_t)value;
		break;
	case 'k':
		plan->loader.stalled = (size_t)value;
		break;
	case 'b':
		plan->loader.message_bytes = (size_t)value;
		break;
	case 'K':
		plan->loader.opening_max = (size_t)value;
		break;
	case 'W':
		plan->window = (size_t)value;
		break;
	case 'B':
		plan->burst = (size_t)value;
		break;
	case 'w':
		plan->warm_up_us = value * 1000;
		break;
	case 't':
		plan->measure_us = value * 1000;
		break;
	case 's':
		plan->server = (pid_t)value;
		break;
	default:
		assert(option == 'r');
		plan->rate = value;
		break;
	}
	return 0;
}

static int
parse(struct plan *plan, int argc, char **argv)
{
	int option, r = 0;

	while (r == 0 && (option = getopt(argc, argv,
			      "yir:p:n:k:b:K:W:B:w:t:s:c:P:")) != -1) {
		switch (option) {
		case 'y':
			plan->way = WAY_CLOSED;
			break;
		case 'i':
			plan->way = WAY_IDLE;
			break;
		case 'c':
			plan->loader.path = optarg;
			break;
		case 'P':
			plan->loader.publish_path = optarg;
			break;
		case '?':
			r = -EINVAL;
			break;
		default:
			if (option == 'r')
				plan->way = WAY_OPEN;
			r = set_number(plan, option, optarg);
			break;
		}
	}
	if (r < 0 || optind != argc || plan->way == WAY_NONE ||
	    plan->loader.port == 0 || plan->burst > plan->window ||
	    plan->window > SOURCE_LAG_MAX ||
	    plan->loader.stalled >= plan->loader.consumers)
		return -EINVAL;
	return 0;
}

static int
raise_descriptors(size_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_max > DESCRIPTORS_MAX)
		limit.rlim_max = DESCRIPTORS_MAX;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return wanted + DESCRIPTORS_SPARE > limit.rlim_cur ? -EMFILE : 0;
}

int
main(int argc, char **argv)
{
	static struct loader loader; /* its histogram is 128 KiB */
	struct plan plan = {
		.loader = { .path = "/ws/bench",
		    .consumers = 100,
		    .message_bytes = 128,
		    .opening_max = 256 },
		.window = 2,
		.burst = 1,
		.warm_up_us = 200 * 1000,
		.measure_us = 800 * 1000,
	};
	int r;

	if (parse(&plan, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	r = raise_descriptors(plan.loader.consumers + 1);
	if (r == 0)
		r = loader_init(&loader, &plan.loader, (uint32_t)getpid());
	if (r < 0) {
		(void)fprintf(stderr, "fanout_loader: %s\n", strerror(-r));
		return 1;
	}
	r = run(&loader, &plan);
	if (r < 0)
		(void)fprintf(stderr, "fanout_loader: %s\n",
		    loader.fault[0] ? loader.fault : strerror(-r));
	loader_fini(&loader);
	return r < 0 || fflush(stdout) != 0;
}
