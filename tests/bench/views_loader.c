/*
 * views_loader: what a delivery costs in one encoding; README.md here.
 *
 * N consumers of one view of a channel, a publisher beside them, closed loop:
 * at most WINDOW messages are not yet with everybody, published BURST at a time
 * in one write.  The publisher is a raw consumer, too, and not counted.
 * What was measured goes to stdout, a line "name<TAB>value" each; a byte that
 * is lost, repeated or wrong ends the run with a sentence and exit code 1.
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

#include "tests/bench/chorus.h"
#include "tests/bench/dial.h"
#include "tests/bench/run.h"

#define EVENTS_MAX 1024
#define READ_BYTES (256u * 1024)
#define OPENING_MAX 256
#define PATIENCE_US INT64_C(10000000)

static const char *const view_names[CHORUS_VIEWS] = { "raw", "raw_deflate",
	"v1", "v1_deflate", "sse" };

enum member_state {
	MEMBER_CONNECTING,
	MEMBER_ASKED,
	MEMBER_GREETED, /* not before it is: the answer to subscribe is due */
	MEMBER_READY,
};

struct member {
	int fd;
	enum member_state state;
	uint64_t pos; /* in what is said */
	uint64_t next; /* the message it is at */
};

struct plan {
	uint16_t port;
	pid_t server;
	const char *channel;
	enum chorus_view view;
	size_t consumers, message_bytes, window, burst;
	int64_t warm_up_us, measure_us;
};

static struct loader {
	struct plan plan;
	struct dial dial;
	int epoll_fd;
	struct source source;
	struct chorus chorus;
	struct member *members; /* the last one publishes */
	size_t begun, ready;
	uint32_t *pending; /* by message: consumers without it */
	uint64_t completed, deliveries;
	int64_t heard_us;
	uint8_t *out;
	size_t out_len;
	char *message;
	uint8_t in[READ_BYTES];
} loader;

static const char usage[] =
    "usage: views_loader -p PORT -s SERVER_PID -v VIEW [-c CHANNEL]\n"
    "  [-n CONSUMERS] [-b MESSAGE_BYTES] [-W WINDOW] [-B BURST]\n"
    "  [-w WARM_UP_MS] [-t MEASURE_MS]\n"
    "VIEW is raw, raw_deflate, v1, v1_deflate or sse\n";

static bool
is_publisher(const struct member *member)
{
	return member == &loader.members[loader.plan.consumers];
}

static int
watch(struct member *member, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = member };

	if (epoll_ctl(loader.epoll_fd, operation, member->fd, &event) < 0)
		return run_fault("epoll_ctl: %m");
	return 0;
}

/* --- opening --- */

static int
put_request(const struct member *member, char *out, size_t size)
{
	const struct plan *plan = &loader.plan;
	bool raw = is_publisher(member) || plan->view <= CHORUS_RAW_DEFLATED;
	const char *more = "";
	char path[160];

	(void)snprintf(path, sizeof(path), "/ws%s%s", raw ? "/" : "",
	    raw ? plan->channel : "");
	if (!is_publisher(member)) {
		if (plan->view == CHORUS_SSE)
			return snprintf(out, size,
			    "GET /sse/%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
			    "Accept: text/event-stream\r\n\r\n",
			    plan->channel, plan->port);
		if (plan->view == CHORUS_V1)
			more = "Sec-WebSocket-Protocol: earshot.v1\r\n";
		else if (plan->view == CHORUS_RAW_DEFLATED)
			more = "Sec-WebSocket-Extensions: "
			       "permessage-deflate\r\n";
		else if (plan->view == CHORUS_V1_DEFLATED)
			more = "Sec-WebSocket-Protocol: earshot.v1\r\n"
			       "Sec-WebSocket-Extensions: "
			       "permessage-deflate\r\n";
	}
	return dial_put_upgrade(out, size, path, plan->port, more);
}

static int
ask(struct member *member)
{
	char request[1024];
	int len = put_request(member, request, sizeof(request));
	int r;

	if (len < 0 || (size_t)len >= sizeof(request))
		return run_fault("channel's name too long");
	r = dial_send(member->fd, request, (size_t)len);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return run_fault("request: %s", strerror(-r));
	member->state = MEMBER_ASKED;
	return watch(member, EPOLL_CTL_MOD, EPOLLIN);
}

static int
begin(struct member *member)
{
	int fd = dial_connect(&loader.dial, false);

	if (fd < 0)
		return run_fault(
		    "connection %zu: %s", loader.begun, strerror(-fd));
	loader.begun++;
	*member = (struct member){ .fd = fd, .state = MEMBER_CONNECTING };
	return watch(member, EPOLL_CTL_ADD, EPOLLOUT);
}

static int
subscribe(struct member *member)
{
	uint8_t frame[512];
	char text[256];
	int len = snprintf(text, sizeof(text),
	    "{\"id\":1,\"subscribe\":{\"channel\":\"%s\"}}",
	    loader.plan.channel);
	int r;

	assert(len > 0 && (size_t)len < sizeof(text));
	r = dial_send(member->fd, frame,
	    dial_put_frame(frame, FRAME_TEXT, text, (size_t)len));
	return r < 0 ? run_fault("subscribe: %s", strerror(-r)) : 0;
}

static bool
is_good(const struct member *member, const char *answer)
{
	enum chorus_view view =
	    is_publisher(member) ? CHORUS_RAW : loader.plan.view;
	bool deflated =
	    view == CHORUS_RAW_DEFLATED || view == CHORUS_V1_DEFLATED;

	if (view == CHORUS_SSE)
		return strncmp(answer, "HTTP/1.1 200", 12) == 0 &&
		       strcasestr(answer, "text/event-stream");
	return dial_is_upgraded(answer) &&
	       deflated == (strcasestr(answer, "permessage-deflate") != NULL);
}

static int
become(struct member *member, enum member_state state)
{
	member->state = state;
	if (state == MEMBER_READY)
		loader.ready++;
	return 0;
}

static int
answered(struct member *member)
{
	enum chorus_view view = loader.plan.view;
	char answer[DIAL_ANSWER_MAX + 1];
	ssize_t len = dial_answer(member->fd, answer);
	int r = 0;

	if (len == -EAGAIN)
		return 0;
	if (len < 0)
		return run_fault("answer: %s", strerror((int)-len));
	if (!is_good(member, answer))
		return run_fault("answer: %s", answer);
	if (is_publisher(member) || view <= CHORUS_RAW_DEFLATED)
		return become(member, MEMBER_READY);
	if (view != CHORUS_SSE)
		r = subscribe(member);
	return r < 0 ? r : become(member, MEMBER_GREETED);
}

/* --- reading --- */

/* Counts the messages that end at or before where the member is now. */
static void
count(struct member *member)
{
	while (
	    member->next < loader.chorus.messages &&
	    chorus_message_end(&loader.chorus, member->next) <= member->pos) {
		uint32_t *pending =
		    &loader.pending[member->next % SOURCE_LAG_MAX];

		loader.deliveries++;
		member->next++;
		assert(*pending > 0);
		/* All get them in order, so they complete in order. */
		if (--*pending == 0)
			loader.completed++;
	}
}

static int
read_some(struct member *member)
{
	ssize_t n = recv(member->fd, loader.in, sizeof(loader.in), 0);
	int r;

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return run_fault("the server ended a connection");
	if (is_publisher(member))
		return 0;
	r = chorus_take(&loader.chorus, &member->pos, loader.in, (size_t)n);
	if (r < 0)
		return r;
	if (member->state == MEMBER_GREETED &&
	    chorus_is_greeted(&loader.chorus, member->pos))
		(void)become(member, MEMBER_READY);
	count(member);
	return 0;
}

static int
handle(struct member *member)
{
	switch (member->state) {
	case MEMBER_CONNECTING:
		return ask(member);
	case MEMBER_ASKED:
		return answered(member);
	case MEMBER_GREETED:
	case MEMBER_READY:
		break;
	}
	return read_some(member);
}

/* --- publishing --- */

static int
flush(void)
{
	struct member *publisher = &loader.members[loader.plan.consumers];
	ssize_t n;

	if (loader.out_len == 0)
		return 0;
	n = send(publisher->fd, loader.out, loader.out_len,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : run_fault("publisher: %m");
	loader.out_len -= (size_t)n;
	memmove(loader.out, loader.out + n, loader.out_len);
	return 0;
}

static int
publish(void)
{
	for (size_t i = 0; i < loader.plan.burst; i++) {
		loader.pending[loader.source.next % SOURCE_LAG_MAX] =
		    (uint32_t)loader.plan.consumers;
		source_make(&loader.source, sample_now_us(), loader.message);
		loader.out_len += dial_put_frame(loader.out + loader.out_len,
		    FRAME_TEXT, loader.message, loader.plan.message_bytes);
	}
	return flush();
}

static int
poll_once(void)
{
	struct epoll_event events[EVENTS_MAX];
	int n, r = flush();

	if (r < 0)
		return r;
	n = epoll_wait(loader.epoll_fd, events, EVENTS_MAX, 0);
	if (n < 0 && errno != EINTR)
		return run_fault("epoll_wait: %m");
	for (int i = 0; r == 0 && i < n; i++)
		r = handle(events[i].data.ptr);
	if (n > 0)
		loader.heard_us = sample_now_us();
	else if (sample_now_us() - loader.heard_us > PATIENCE_US)
		return run_fault(
		    "nothing came for 10 s, %zu consumers ready", loader.ready);
	return r;
}

static int
open_all(void)
{
	size_t all = loader.plan.consumers + 1;
	int r = 0;

	while (r == 0 && loader.ready < all) {
		while (r == 0 && loader.begun < all &&
		       loader.begun < loader.ready + OPENING_MAX)
			r = begin(&loader.members[loader.begun]);
		if (r == 0)
			r = poll_once();
	}
	return r;
}

/* At least two bursts, else as many as fit in the time; then the last ends. */
static int
run_closed(int64_t duration_us)
{
	const struct plan *plan = &loader.plan;
	int64_t end_us = sample_now_us() + duration_us;
	uint64_t at_least = loader.source.next + 2 * plan->burst;
	int r = 0;

	while (r == 0) {
		uint64_t flying = loader.source.next - loader.completed;

		if (sample_now_us() >= end_us && loader.source.next >= at_least)
			break;
		if (flying + plan->burst <= plan->window && loader.out_len == 0)
			r = publish();
		if (r == 0)
			r = poll_once();
	}
	while (r == 0 && loader.completed < loader.source.next)
		r = poll_once();
	/* One more look: what comes twice comes after the last. */
	return r < 0 ? r : poll_once();
}

static int
measure(void)
{
	struct run_sample from, to;
	uint64_t deliveries, said, messages;
	int r = open_all();

	if (r == 0)
		r = run_closed(loader.plan.warm_up_us);
	if (r == 0)
		r = run_take_sample(loader.plan.server, &from);
	deliveries = loader.deliveries;
	said = loader.chorus.end;
	messages = loader.completed;
	if (r == 0)
		r = run_closed(loader.plan.measure_us);
	if (r == 0)
		r = run_take_sample(loader.plan.server, &to);
	if (r < 0)
		return r;
	run_put("deliveries", (int64_t)(loader.deliveries - deliveries));
	run_put("messages", (int64_t)(loader.completed - messages));
	run_put("bytes", (int64_t)(loader.chorus.end - said));
	run_put("published", (int64_t)loader.source.next);
	run_put_difference(&from, &to);
	return 0;
}

/* --- the run --- */

static int
loader_start(void)
{
	const struct plan *plan = &loader.plan;
	size_t frame_max = FRAME_HEADER_MAX + plan->message_bytes;

	if (source_init(
		&loader.source, (uint32_t)getpid(), plan->message_bytes) < 0 ||
	    chorus_init(&loader.chorus, plan->view, &loader.source) < 0)
		return run_fault("no memory");
	loader.dial.port = plan->port;
	loader.members = calloc(plan->consumers + 1, sizeof(struct member));
	loader.pending = calloc(SOURCE_LAG_MAX, sizeof(uint32_t));
	loader.out = malloc(plan->burst * frame_max);
	loader.message = malloc(plan->message_bytes);
	loader.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!loader.members || !loader.pending || !loader.out ||
	    !loader.message || loader.epoll_fd < 0)
		return run_fault("no memory, or epoll_create1: %m");
	loader.heard_us = sample_now_us();
	return run_raise_descriptors(plan->consumers + 1);
}

static void
loader_end(void)
{
	for (size_t i = 0; i < loader.begun; i++)
		dial_reset(loader.members[i].fd);
	chorus_fini(&loader.chorus);
	source_fini(&loader.source);
	free(loader.members);
	free(loader.pending);
	free(loader.out);
	free(loader.message);
}

static int
set_view(struct plan *plan, const char *text)
{
	for (int i = 0; i < CHORUS_VIEWS; i++)
		if (strcmp(text, view_names[i]) == 0) {
			plan->view = (enum chorus_view)i;
			return 0;
		}
	return -EINVAL;
}

static int
parse(struct plan *plan, int argc, char **argv)
{
	const char *view = view_names[CHORUS_RAW];
	const struct run_option options[] = {
		{ 'p', RUN_PORT, &plan->port, 1, 0 },
		{ 's', RUN_PID, &plan->server, 1, 0 },
		{ 'v', RUN_TEXT, &view, 0, 0 },
		{ 'c', RUN_TEXT, &plan->channel, 0, 0 },
		{ 'n', RUN_SIZE, &plan->consumers, 1, 0 },
		/* One frame, also with an envelope. */
		{ 'b', RUN_SIZE, &plan->message_bytes, SOURCE_BYTES_MIN,
		    FRAME_FRAGMENT_BYTES / 2 },
		{ 'W', RUN_SIZE, &plan->window, 1, 0 },
		{ 'B', RUN_SIZE, &plan->burst, 1, 0 },
		{ 'w', RUN_MS, &plan->warm_up_us, 1, 0 },
		{ 't', RUN_MS, &plan->measure_us, 1, 0 },
	};

	if (run_options(
		options, sizeof(options) / sizeof(*options), argc, argv) < 0)
		return -EINVAL;
	return set_view(plan, view) < 0 || plan->port == 0 ||
		       plan->server == 0 || plan->burst > plan->window ||
		       plan->window > SOURCE_LAG_MAX
		   ? -EINVAL
		   : 0;
}

int
main(int argc, char **argv)
{
	int r;

	loader.plan = (struct plan){ .channel = "bench",
		.consumers = 100,
		.message_bytes = 256,
		.window = 2,
		.burst = 1,
		.warm_up_us = 200 * 1000,
		.measure_us = 800 * 1000 };
	if (parse(&loader.plan, argc, argv) < 0) {
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
