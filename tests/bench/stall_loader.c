/*
 * stall_loader: half of the consumers stop reading and come back; README.md.
 *
 * Consumers of three channels (overrun = skip, latest, close) in three forms;
 * a publisher on each.  RATE messages a second on every channel, whatever
 * happens: a warm-up in which all read; the stall, in which STALLED of them do
 * not and the latency of the others counts; the return, which must end with
 * everybody told what stall.h promises and all who were not closed up to date.
 * What was measured goes to stdout, a line "name<TAB>value" each.
 */

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/dial.h"
#include "tests/bench/run.h"
#include "tests/bench/stall.h"

#define EVENTS_MAX 1024
#define READ_BYTES (64u * 1024)
#define OPENING_MAX 256
#define RETURN_US INT64_C(20000000) /* by then all is told */
#define WIDE_BYTES (256 * 1024)

struct publisher {
	struct stall_member member; /* reads what it said, too */
	uint8_t *out;
	size_t out_len, out_size;
};

struct plan {
	uint16_t port;
	pid_t server;
	size_t live, stalled, message_bytes, kept_bytes;
	int64_t rate, warm_up_us, stall_us;
};

static struct loader {
	struct plan plan;
	struct dial dial;
	int epoll_fd;
	struct stall_channel channels[STALL_POLICIES];
	struct publisher publishers[STALL_POLICIES];
	struct stall_member *members; /* the stalled ones last */
	size_t begun, ready, count;
	struct sample_histogram stall_latency, return_latency;
	struct run_sample samples[2]; /* begin and end of the stall */
	int64_t rss_before, rss_after, returned_us;
	char *message;
	uint8_t in[READ_BYTES];
} loader;

static const char usage[] =
    "usage: stall_loader -p PORT -s SERVER_PID [-n READING] [-k STALLED]\n"
    "  [-b MESSAGE_BYTES] [-m BUFFER_BYTES] [-r RATE] [-w WARM_UP_MS]\n"
    "  [-t STALL_MS]\n";

static int
watch(struct stall_member *member, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = member };

	if (epoll_ctl(loader.epoll_fd, operation, member->fd, &event) < 0)
		return run_fault("epoll_ctl: %m");
	return 0;
}

/* --- opening --- */

static int
ask(struct stall_member *member)
{
	static const char *const more[STALL_FORMS] = { "", "",
		"Sec-WebSocket-Protocol: earshot.v1\r\n" };
	char path[64], request[512];
	int len, r;

	if (member->form == STALL_V1)
		(void)snprintf(path, sizeof(path), "/ws");
	else
		(void)snprintf(path, sizeof(path), "/ws/%s%s",
		    member->channel->name,
		    member->form == STALL_SILENT ? "?gap=silent" : "");
	len = dial_put_upgrade(request, sizeof(request), path, loader.plan.port,
	    more[member->form]);
	assert(len > 0);
	r = dial_send(member->fd, request, (size_t)len);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return run_fault("request: %s", strerror(-r));
	member->state = STALL_ASKED;
	return watch(member, EPOLL_CTL_MOD, EPOLLIN);
}

static struct stall_member *
member_at(size_t index)
{
	return index < STALL_POLICIES ? &loader.publishers[index].member
				      : &loader.members[index - STALL_POLICIES];
}

static int
begin(struct stall_member *member)
{
	int fd = dial_connect(&loader.dial, member->stalls);

	if (fd < 0)
		return run_fault(
		    "connection %zu: %s", loader.begun, strerror(-fd));
	loader.begun++;
	member->fd = fd;
	return watch(member, EPOLL_CTL_ADD, EPOLLOUT);
}

/* --- reading --- */

static int
read_some(struct stall_member *member)
{
	bool was_reading = member->state == STALL_READING;
	ssize_t n = recv(member->fd, loader.in, sizeof(loader.in), 0);
	int r;

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return run_fault("recv: %m");
	r = stall_take(member, loader.in, (size_t)n);
	if (r == 0 && !was_reading && member->state == STALL_READING)
		loader.ready++;
	if (r == 0 && member->state == STALL_CLOSED)
		r = watch(member, EPOLL_CTL_DEL, 0);
	return r;
}

static int
handle(struct stall_member *member)
{
	char answer[DIAL_ANSWER_MAX + 1];
	ssize_t len;
	int r;

	if (member->state == STALL_CONNECTING)
		return ask(member);
	if (member->state != STALL_ASKED)
		return read_some(member);
	len = dial_answer(member->fd, answer);
	if (len == -EAGAIN)
		return 0;
	if (len < 0)
		return run_fault("answer: %s", strerror((int)-len));
	r = stall_answered(member, answer);
	if (r == 0 && member->state == STALL_READING)
		loader.ready++;
	return r;
}

/* --- publishing --- */

static int
flush(struct publisher *publisher)
{
	ssize_t n;

	if (publisher->out_len == 0)
		return 0;
	n = send(publisher->member.fd, publisher->out, publisher->out_len,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : run_fault("publisher: %m");
	publisher->out_len -= (size_t)n;
	memmove(publisher->out, publisher->out + n, publisher->out_len);
	return 0;
}

static int
publish(int64_t due_us)
{
	int r = 0;

	for (int i = 0; r == 0 && i < STALL_POLICIES; i++) {
		struct publisher *publisher = &loader.publishers[i];
		struct source *source = &loader.channels[i].source;

		if (publisher->out_size - publisher->out_len <
		    source->message_bytes + FRAME_HEADER_MAX)
			return run_fault("the server does not take messages");
		source_make(source, due_us, loader.message);
		publisher->out_len +=
		    dial_put_frame(publisher->out + publisher->out_len,
			FRAME_TEXT, loader.message, source->message_bytes);
		r = flush(publisher);
	}
	return r;
}

static int
poll_once(void)
{
	struct epoll_event events[EVENTS_MAX];
	int n, r = 0;

	for (int i = 0; r == 0 && i < STALL_POLICIES; i++)
		r = flush(&loader.publishers[i]);
	if (r < 0)
		return r;
	n = epoll_wait(loader.epoll_fd, events, EVENTS_MAX, 0);
	if (n < 0 && errno != EINTR)
		return run_fault("epoll_wait: %m");
	for (int i = 0; r == 0 && i < n; i++)
		r = handle(events[i].data.ptr);
	return r;
}

/* --- the phases --- */

static int
open_all(void)
{
	int64_t end_us = sample_now_us() + RETURN_US;
	int r = 0;

	while (r == 0 && loader.ready < loader.count) {
		while (r == 0 && loader.begun < loader.count &&
		       loader.begun < loader.ready + OPENING_MAX)
			r = begin(member_at(loader.begun));
		if (r == 0)
			r = poll_once();
		if (sample_now_us() > end_us)
			return run_fault("%zu of %zu connections are open",
			    loader.ready, loader.count);
	}
	return r;
}

static bool
all_done(void)
{
	for (size_t i = 0; i < loader.count; i++)
		if (!stall_is_done(member_at(i)))
			return false;
	return true;
}

static size_t
overtaken_count(void)
{
	size_t count = 0;

	for (size_t i = 0; i < loader.count; i++)
		count += member_at(i)->overtaken;
	return count;
}

/* Until the time is over, or, on the return, all stalled ones were told. */
static int
run_open(int64_t duration_us, bool returning)
{
	int64_t start_us = sample_now_us();
	int64_t count = duration_us * loader.plan.rate / 1000000;
	int64_t sent = 0;
	int r = 0;

	while (r == 0 && sent < count) {
		int64_t due_us = start_us + sent * 1000000 / loader.plan.rate;

		/* The stamp is when it was due: a late loader hides nothing. */
		if (sample_now_us() >= due_us) {
			r = publish(due_us);
			sent++;
			if (returning &&
			    overtaken_count() == loader.plan.stalled)
				break;
		}
		if (r == 0)
			r = poll_once();
	}
	return r;
}

/* For the words of a fault: the first to whom something is still due. */
static int
tell_left(void)
{
	const struct stall_member *member = member_at(0);

	for (size_t i = 0; i < loader.count; i++) {
		member = member_at(i);
		if (!stall_is_done(member))
			break;
	}
	if (member->stalls && !member->overtaken)
		return run_fault("a consumer of %s was never overtaken: stall "
				 "longer, or faster",
		    member->channel->name);
	return run_fault("a consumer of %s is at %llu of %llu",
	    member->channel->name, (unsigned long long)member->next,
	    (unsigned long long)member->channel->source.next);
}

static int
settle(void)
{
	int64_t end_us = sample_now_us() + RETURN_US;
	int r = 0;

	while (r == 0 && !all_done()) {
		for (int i = 0; r == 0 && i < 16; i++)
			r = poll_once();
		if (r < 0 || sample_now_us() <= end_us)
			continue;
		return tell_left();
	}
	/* One more look: what comes twice comes after the last. */
	return r < 0 ? r : poll_once();
}

/* Messages from now on count in that histogram. */
static void
count_latency(struct sample_histogram *histogram)
{
	for (int i = 0; i < STALL_POLICIES; i++) {
		struct stall_channel *channel = &loader.channels[i];

		channel->latency = histogram;
		channel->latency_from =
		    histogram ? channel->source.next : UINT64_MAX;
	}
}

static int
set_away(bool away)
{
	int wide = WIDE_BYTES, r = 0;

	for (size_t i = 0; r == 0 && i < loader.count; i++) {
		struct stall_member *member = member_at(i);

		if (!member->stalls)
			continue;
		member->away = away;
		/* Coming back it need not be as slow as it was narrow. */
		if (!away && setsockopt(member->fd, SOL_SOCKET, SO_RCVBUF,
				 &wide, sizeof(wide)) < 0)
			return run_fault("SO_RCVBUF: %m");
		r = watch(
		    member, away ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, EPOLLIN);
	}
	for (int i = 0; i < STALL_POLICIES; i++)
		loader.channels[i].resumed_at = loader.channels[i].source.next;
	return r;
}

static int
measure_stall(void)
{
	pid_t server = loader.plan.server;
	int r = set_away(true);

	loader.rss_before = sample_rss_bytes(server);
	if (r == 0)
		r = run_take_sample(server, &loader.samples[0]);
	count_latency(&loader.stall_latency);
	if (r == 0)
		r = run_open(loader.plan.stall_us, false);
	if (r == 0)
		r = run_take_sample(server, &loader.samples[1]);
	loader.rss_after = sample_rss_bytes(server);
	if (loader.rss_before < 0 || loader.rss_after < 0)
		return run_fault("memory of process %d", (int)server);
	return r;
}

static int
measure_return(void)
{
	int64_t begin_us = sample_now_us();
	int r = 0;

	count_latency(&loader.return_latency);
	if (loader.plan.stalled > 0) {
		r = set_away(false);
		if (r == 0)
			r = run_open(RETURN_US, true);
	}
	count_latency(NULL);
	if (r == 0)
		r = settle();
	loader.returned_us = sample_now_us() - begin_us;
	return r;
}

static void
report(void)
{
	static const char *const outcomes[STALL_POLICIES] = { "told_skip",
		"told_latest", "told_close" };
	int64_t told[STALL_POLICIES] = { 0 }, lost = 0, deliveries = 0;

	for (size_t i = 0; i < loader.count; i++) {
		const struct stall_member *member = member_at(i);

		told[member->channel->policy] += member->overtaken;
		lost += (int64_t)member->lost;
		deliveries += (int64_t)member->deliveries;
	}
	run_put_difference(&loader.samples[0], &loader.samples[1]);
	run_put(
	    "latency_p50_us", sample_percentile(&loader.stall_latency, 0.5));
	run_put(
	    "latency_p99_us", sample_percentile(&loader.stall_latency, 0.99));
	run_put(
	    "return_p99_us", sample_percentile(&loader.return_latency, 0.99));
	run_put("return_us", loader.returned_us);
	run_put("rss_before_bytes", loader.rss_before);
	run_put("rss_after_bytes", loader.rss_after);
	run_put("deliveries", deliveries);
	run_put("lost", lost);
	for (int i = 0; i < STALL_POLICIES; i++)
		run_put(outcomes[i], told[i]);
}

static int
measure(void)
{
	int r = open_all();

	count_latency(NULL);
	if (r == 0)
		r = run_open(loader.plan.warm_up_us, false);
	if (r == 0)
		r = measure_stall();
	if (r == 0)
		r = measure_return();
	if (r == 0)
		report();
	return r;
}

/* --- the run --- */

static int
init_channel(int i)
{
	static const char *const names[STALL_POLICIES] = { "skip", "latest",
		"close" };
	const struct plan *plan = &loader.plan;
	struct stall_channel *channel = &loader.channels[i];
	struct publisher *publisher = &loader.publishers[i];

	*channel = (struct stall_channel){ .policy = (enum stall_policy)i,
		.kept_bytes = plan->kept_bytes };
	(void)snprintf(channel->name, sizeof(channel->name), "%s", names[i]);
	publisher->member = (struct stall_member){ .channel = channel };
	publisher->out_size = 64 * (plan->message_bytes + FRAME_HEADER_MAX);
	publisher->out = malloc(publisher->out_size);
	return publisher->out
		   ? source_init(&channel->source,
			 (uint32_t)getpid() * STALL_POLICIES + (uint32_t)i,
			 plan->message_bytes)
		   : -ENOMEM;
}

static int
loader_start(void)
{
	const struct plan *plan = &loader.plan;
	size_t members = plan->live + plan->stalled;
	int r = 0;

	loader.dial.port = plan->port;
	loader.count = members + STALL_POLICIES;
	loader.members = calloc(members, sizeof(struct stall_member));
	loader.message = malloc(plan->message_bytes);
	loader.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!loader.members || !loader.message || loader.epoll_fd < 0)
		return run_fault("no memory, or epoll_create1: %m");
	for (int i = 0; r == 0 && i < STALL_POLICIES; i++)
		r = init_channel(i);
	if (r < 0)
		return run_fault("no memory");
	for (size_t i = 0; i < members; i++)
		loader.members[i] = (struct stall_member){
			.channel = &loader.channels[i % STALL_POLICIES],
			.form =
			    (enum stall_form)(i / STALL_POLICIES % STALL_FORMS),
			.stalls = i >= plan->live,
		};
	return run_raise_descriptors(loader.count);
}

static void
loader_end(void)
{
	for (size_t i = 0; i < loader.begun; i++) {
		dial_reset(member_at(i)->fd);
		buffer_fini(&member_at(i)->in);
	}
	for (int i = 0; i < STALL_POLICIES; i++) {
		source_fini(&loader.channels[i].source);
		free(loader.publishers[i].out);
	}
	free(loader.members);
	free(loader.message);
}

static int
parse(struct plan *plan, int argc, char **argv)
{
	const struct run_option options[] = {
		{ 'p', RUN_PORT, &plan->port, 1, 0 },
		{ 's', RUN_PID, &plan->server, 1, 0 },
		{ 'n', RUN_SIZE, &plan->live, 1, 0 },
		{ 'k', RUN_SIZE, &plan->stalled, 0, 0 },
		/* One frame, also in v1. */
		{ 'b', RUN_SIZE, &plan->message_bytes, SOURCE_BYTES_MIN,
		    FRAME_FRAGMENT_BYTES / 2 },
		{ 'm', RUN_SIZE, &plan->kept_bytes, 1, 0 },
		{ 'r', RUN_COUNT, &plan->rate, 1, 0 },
		{ 'w', RUN_MS, &plan->warm_up_us, 1, 0 },
		{ 't', RUN_MS, &plan->stall_us, 1, 0 },
	};

	if (run_options(
		options, sizeof(options) / sizeof(*options), argc, argv) < 0)
		return -EINVAL;
	return plan->port == 0 || plan->server == 0 ? -EINVAL : 0;
}

int
main(int argc, char **argv)
{
	struct plan *plan = &loader.plan;
	int r;

	*plan = (struct plan){ .live = 500,
		.stalled = 500,
		.message_bytes = 2048,
		.kept_bytes = 64 * 1024,
		.rate = 50,
		.warm_up_us = 2000000,
		.stall_us = 30000000 };
	if (parse(plan, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	r = loader_start();
	if (r == 0)
		r = measure();
	loader_end();
	return r < 0 || fflush(stdout) != 0;
}
