/*
 * resume_loader: consumers that come back for what they missed; README.md.
 *
 * COUNT times, at most K at once: connect, upgrade, receive exactly the bytes
 * that are missing, close and wait for the server's close.  FILE has all the
 * frames of the channel as they go on the wire, FRAME_BYTES each:
 *   -e EPOCH  a consumer lacks the last 1 to MISSED of them and says so by its
 *             position, `?from=EPOCH:OFFSET`, which must be recovered
 *   without   every consumer wants the whole file (PATH says how) and hangs up
 *             when it has it
 * What was measured goes to stdout, a line "name<TAB>value" each.  A byte that
 * is not the file's ends the run with a sentence and exit code 1.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/dial.h"
#include "tests/bench/run.h"

#define EVENTS_MAX 256
#define READ_BYTES (256u * 1024)
#define PATIENCE_MS 10000
#define CLOSE_CODE "\x03\xe8" /* 1000 */

enum slot_state {
	SLOT_FREE,
	SLOT_CONNECTING,
	SLOT_ASKED,
	SLOT_READING,
	SLOT_CLOSING,
};

struct slot {
	int fd;
	enum slot_state state;
	size_t at; /* in the file */
	int64_t begun_us;
	uint8_t close[4]; /* the server's frame */
	size_t close_len;
};

struct plan {
	uint16_t port;
	pid_t server;
	const char *path, *file, *epoch;
	size_t frame_bytes, missed_max, count, slots;
};

static struct loader {
	struct plan plan;
	struct dial dial;
	int epoll_fd;
	const uint8_t *data;
	size_t len;
	struct slot *slots;
	size_t begun, done;
	uint64_t messages, bytes;
	struct sample_histogram latency;
	uint8_t in[READ_BYTES];
} loader;

static const char usage[] =
    "usage: resume_loader -p PORT -s SERVER_PID -c PATH -F FILE\n"
    "  [-b FRAME_BYTES] [-e EPOCH] [-m MISSED] [-n COUNT] [-K AT_ONCE]\n";

static int
watch(struct slot *slot, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = slot };

	if (epoll_ctl(loader.epoll_fd, operation, slot->fd, &event) < 0)
		return run_fault("epoll_ctl: %m");
	return 0;
}

/* How many messages the consumer whose turn it is lacks: 1 to MISSED. */
static size_t
missed(size_t turn)
{
	return 1 + turn % loader.plan.missed_max;
}

static int
ask(struct slot *slot)
{
	const struct plan *plan = &loader.plan;
	size_t all = loader.len / plan->frame_bytes;
	char path[256], request[1024];
	int len, r;

	if (plan->epoch)
		(void)snprintf(path, sizeof(path), "%s?from=%s:%zu", plan->path,
		    plan->epoch, slot->at / plan->frame_bytes);
	else
		(void)snprintf(path, sizeof(path), "%s", plan->path);
	assert(slot->at / plan->frame_bytes < all);
	len = dial_put_upgrade(request, sizeof(request), path, plan->port, "");
	if (len < 0)
		return run_fault("path too long");
	r = dial_send(slot->fd, request, (size_t)len);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return run_fault("request: %s", strerror(-r));
	slot->state = SLOT_ASKED;
	return watch(slot, EPOLL_CTL_MOD, EPOLLIN);
}

static int
begin(struct slot *slot)
{
	const struct plan *plan = &loader.plan;
	size_t lacks =
	    plan->epoch ? missed(loader.begun) * plan->frame_bytes : loader.len;
	int fd = dial_connect(&loader.dial, false);

	if (fd < 0)
		return run_fault(
		    "connection %zu: %s", loader.begun, strerror(-fd));
	*slot = (struct slot){ .fd = fd,
		.state = SLOT_CONNECTING,
		.at = loader.len - lacks,
		.begun_us = sample_now_us() };
	loader.begun++;
	loader.bytes += lacks;
	loader.messages += lacks / plan->frame_bytes;
	return watch(slot, EPOLL_CTL_ADD, EPOLLOUT);
}

/* The next one takes its place. */
static int
finish(struct slot *slot)
{
	sample_add(&loader.latency, sample_now_us() - slot->begun_us);
	dial_reset(slot->fd);
	slot->state = SLOT_FREE;
	loader.done++;
	return loader.begun < loader.plan.count ? begin(slot) : 0;
}

static int
answered(struct slot *slot)
{
	char answer[DIAL_ANSWER_MAX + 1];
	ssize_t len = dial_answer(slot->fd, answer);

	if (len == -EAGAIN)
		return 0;
	if (len < 0)
		return run_fault("answer: %s", strerror((int)-len));
	if (!dial_is_upgraded(answer) ||
	    (loader.plan.epoch &&
		!strcasestr(answer, "\r\nEarshot-Recovered: true\r\n")))
		return run_fault("answer: %s", answer);
	slot->state = SLOT_READING;
	return 0;
}

static int
say_close(struct slot *slot)
{
	uint8_t frame[FRAME_HEADER_MAX + 2];
	size_t len = dial_put_frame(frame, FRAME_CLOSE, CLOSE_CODE, 2);
	int r = dial_send(slot->fd, frame, len);

	slot->state = SLOT_CLOSING;
	return r < 0 ? run_fault("close: %s", strerror(-r)) : 0;
}

static int
take(struct slot *slot, const uint8_t *data, size_t len)
{
	if (len > loader.len - slot->at)
		return run_fault("%zu bytes more than there are",
		    len - (loader.len - slot->at));
	if (memcmp(data, loader.data + slot->at, len) != 0)
		return run_fault(
		    "other bytes within %zu after byte %zu", len, slot->at);
	slot->at += len;
	if (slot->at < loader.len)
		return 0;
	return loader.plan.epoch ? say_close(slot) : finish(slot);
}

/* Nothing but the answer to our close, and the end. */
static int
take_close(struct slot *slot, const uint8_t *data, size_t len)
{
	static const uint8_t wanted[4] = { 0x88, 2, 3, 0xe8 };

	if (len > 0 && slot->close_len + len > sizeof(slot->close))
		return run_fault("more than a close after the last message");
	memcpy(slot->close + slot->close_len, data, len);
	slot->close_len += len;
	if (len > 0)
		return 0;
	if (slot->close_len != sizeof(wanted) ||
	    memcmp(slot->close, wanted, sizeof(wanted)) != 0)
		return run_fault("ended without a close of 1000");
	return finish(slot);
}

static int
read_some(struct slot *slot)
{
	ssize_t n = recv(slot->fd, loader.in, sizeof(loader.in), 0);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return run_fault("recv: %m");
	if (slot->state == SLOT_CLOSING)
		return take_close(slot, loader.in, (size_t)n);
	if (n == 0)
		return run_fault("the server hung up at byte %zu", slot->at);
	return take(slot, loader.in, (size_t)n);
}

static int
handle(struct slot *slot)
{
	int r = 0;

	switch (slot->state) {
	case SLOT_CONNECTING:
		return ask(slot);
	case SLOT_ASKED:
		r = answered(slot);
		if (r < 0 || slot->state != SLOT_READING)
			return r;
		return read_some(slot);
	case SLOT_READING:
	case SLOT_CLOSING:
		return read_some(slot);
	case SLOT_FREE:
		break;
	}
	return 0;
}

static int
run_all(void)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t heard_us = sample_now_us();
	int r = 0;

	for (size_t i = 0; r == 0 && i < loader.plan.slots; i++)
		if (loader.begun < loader.plan.count)
			r = begin(&loader.slots[i]);
	while (r == 0 && loader.done < loader.plan.count) {
		int n = epoll_wait(loader.epoll_fd, events, EVENTS_MAX, 0);

		if (n < 0 && errno != EINTR)
			return run_fault("epoll_wait: %m");
		for (int i = 0; r == 0 && i < n; i++)
			r = handle(events[i].data.ptr);
		if (n > 0)
			heard_us = sample_now_us();
		else if (sample_now_us() - heard_us > PATIENCE_MS * 1000)
			return run_fault(
			    "nothing came for 10 s, %zu of %zu done",
			    loader.done, loader.plan.count);
	}
	return r;
}

static int
measure(void)
{
	struct run_sample from, to;
	int r = run_take_sample(loader.plan.server, &from);

	if (r == 0)
		r = run_all();
	if (r == 0)
		r = run_take_sample(loader.plan.server, &to);
	if (r < 0)
		return r;
	run_put("count", (int64_t)loader.done);
	run_put("messages", (int64_t)loader.messages);
	run_put("bytes", (int64_t)loader.bytes);
	run_put_difference(&from, &to);
	run_put("took_p50_us", sample_percentile(&loader.latency, 0.5));
	run_put("took_p99_us", sample_percentile(&loader.latency, 0.99));
	return 0;
}

static int
loader_start(void)
{
	const struct plan *plan = &loader.plan;
	int fd = open(plan->file, O_RDONLY | O_CLOEXEC);
	struct stat status;
	void *data;

	if (fd < 0 || fstat(fd, &status) < 0)
		return run_fault("%s: %m", plan->file);
	loader.len = (size_t)status.st_size;
	data = mmap(
	    NULL, loader.len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	(void)close(fd); /* the mapping keeps it */
	if (data == MAP_FAILED)
		return run_fault("%s: %m", plan->file);
	loader.data = data;
	if (loader.len % plan->frame_bytes != 0 ||
	    loader.len / plan->frame_bytes <= plan->missed_max)
		return run_fault("%s is not frames enough", plan->file);
	loader.dial.port = plan->port;
	loader.slots = calloc(plan->slots, sizeof(struct slot));
	loader.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!loader.slots || loader.epoll_fd < 0)
		return run_fault("epoll_create1: %m");
	return run_raise_descriptors(plan->slots);
}

static int
parse(struct plan *plan, int argc, char **argv)
{
	const struct run_option options[] = {
		{ 'p', RUN_PORT, &plan->port, 1, 0 },
		{ 's', RUN_PID, &plan->server, 1, 0 },
		{ 'c', RUN_TEXT, &plan->path, 0, 0 },
		{ 'F', RUN_TEXT, &plan->file, 0, 0 },
		{ 'e', RUN_TEXT, &plan->epoch, 0, 0 },
		{ 'b', RUN_SIZE, &plan->frame_bytes, 1, 0 },
		{ 'm', RUN_SIZE, &plan->missed_max, 1, 0 },
		{ 'n', RUN_SIZE, &plan->count, 1, 0 },
		{ 'K', RUN_SIZE, &plan->slots, 1, 0 },
	};

	if (run_options(
		options, sizeof(options) / sizeof(*options), argc, argv) < 0)
		return -EINVAL;
	return !plan->path || !plan->file || plan->port == 0 ||
		       plan->server == 0
		   ? -EINVAL
		   : 0;
}

int
main(int argc, char **argv)
{
	loader.plan = (struct plan){
		.frame_bytes = 1, .missed_max = 1, .count = 1, .slots = 1
	};
	if (parse(&loader.plan, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	if (loader_start() < 0 || measure() < 0)
		return 1;
	return fflush(stdout) != 0;
}
