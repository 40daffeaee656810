/*
 * crowd: many WebSocket consumers of one channel that check all they hear.
 *
 *   crowd [-n CONSUMERS] [-s STUCK] [-q MESSAGES] PORT PATH
 *
 * Every message is the text "PUBLISHER NUMBER PADDING": each publisher counts
 * from 1 without holes, all consumers hear the same messages in the same
 * order.  What the first one hears becomes the stream; the others compare.
 * The last STUCK of the consumers do not read.
 *
 * On stdout a JSON object a line, "at" as Python's time.monotonic():
 *   {"event":"open"}      all are upgraded
 *   {"event":"flowing"}   each reader has MESSAGES
 *   {"event":"readers"}   each reader has ended
 *   {"event":"end",…}     all have, or stdin has: the summary, see report()
 *   {"event":"fault"}     what no server may do; the first of them
 * The line "read" on stdin makes the stuck ones read.
 *
 * A close frame is answered as a client should and the end awaited; bytes
 * after it are a fault.
 */

#include "daemon/base/buffer.h"
#include "daemon/base/clock.h"
#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256 * 1024)
#define CARRY_BYTES_MAX (READ_BYTES + 65536 + FRAME_HEADER_MAX)
#define OPENING_MAX 128 /* below the daemon's heads_max */
#define FAULTS_SHOWN 10
#define PUBLISHERS_MAX 64
#define CODES_MAX 8
#define STUCK_SEGMENT_BYTES 536 /* else the kernel gives it megabytes */

/* The example of RFC 6455 section 1.3; no randomness is tested here. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum ear_state { EAR_ASKED, EAR_OPEN, EAR_CLOSED, EAR_ENDED };

struct ear {
	int fd;
	enum ear_state state;
	bool stuck;
	size_t at; /* messages of the stream heard */
	struct buffer carry; /* a frame that is not whole yet */
};

struct message {
	uint8_t *payload;
	size_t len;
};

static struct {
	const char *path;
	uint16_t port;
	int epoll_fd;
	struct ear *ears;
	size_t count, stuck, quorum;
	size_t asked, opened, quorate, readers_ended, ended;

	struct message *stream;
	size_t stream_len, stream_size;
	unsigned long long last[PUBLISHERS_MAX]; /* number, by publisher */

	struct {
		unsigned code;
		size_t count;
	} codes[CODES_MAX];
	long
	    *retries; /* the milliseconds of each reason, retry_count of them */
	size_t retry_count, reasons_other, cuts, resets, faults;
	int64_t first_close_us, last_close_us, last_end_us;
} crowd;

static uint8_t read_buffer[READ_BYTES];

static double
seconds(int64_t us)
{
	return (double)us / 1e6;
}

static void fault(const struct ear *ear, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
fault(const struct ear *ear, const char *fmt, ...)
{
	char text[256];
	va_list args;
	char *c;

	if (crowd.faults++ >= FAULTS_SHOWN)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
	va_end(args);
	for (c = text; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '?';
	printf("{\"event\":\"fault\",\"consumer\":%zd,\"heard\":%zu,"
	       "\"text\":\"%s\"}\n",
	    ear - crowd.ears, ear->at, text);
}

static void
tell(const char *event)
{
	printf(
	    "{\"event\":\"%s\",\"at\":%.6f}\n", event, seconds(clock_now_us()));
	(void)fflush(stdout);
}

static void
watch(struct ear *ear, int operation)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = ear };

	if (epoll_ctl(crowd.epoll_fd, operation, ear->fd, &event) < 0) {
		perror("crowd: epoll_ctl");
		exit(1);
	}
}

static void
end(struct ear *ear)
{
	assert(ear->state != EAR_ENDED);
	(void)close(ear->fd); /* takes it out of the epoll too */
	ear->state = EAR_ENDED;
	buffer_fini(&ear->carry);
	crowd.ended++;
	crowd.last_end_us = clock_now_us();
	if (ear->stuck)
		return;
	crowd.readers_ended++;
	if (crowd.readers_ended == crowd.count - crowd.stuck)
		tell("readers");
}

/* The first to hear a message checks what it says of itself. */
static void
stream_add(const struct ear *ear, const uint8_t *payload, size_t len)
{
	struct message *message;
	unsigned long long number = 0;
	unsigned publisher = PUBLISHERS_MAX;
	char text[64] = "";

	if (crowd.stream_len == crowd.stream_size) {
		crowd.stream_size = crowd.stream_size * 2 + 1024;
		crowd.stream = reallocarray(
		    crowd.stream, crowd.stream_size, sizeof(*crowd.stream));
	}
	assert(crowd.stream != NULL);
	message = &crowd.stream[crowd.stream_len++];
	message->len = len;
	message->payload = malloc(len + 1);
	assert(message->payload != NULL);
	memcpy(message->payload, payload, len);

	memcpy(text, payload, len < sizeof(text) ? len : sizeof(text) - 1);
	if (sscanf(text, "%u %llu", &publisher, &number) != 2 ||
	    publisher >= PUBLISHERS_MAX)
		fault(ear, "not a message of ours: %s", text);
	else if (number != crowd.last[publisher] + 1)
		fault(ear, "publisher %u: %llu came after %llu", publisher,
		    number, crowd.last[publisher]);
	else
		crowd.last[publisher] = number;
}

static void
on_message(struct ear *ear, const uint8_t *payload, size_t len)
{
	const struct message *message;

	if (ear->at == crowd.stream_len)
		stream_add(ear, payload, len);
	message = &crowd.stream[ear->at];
	if (message->len != len || memcmp(message->payload, payload, len) != 0)
		fault(ear, "heard %.*s, others %.*s", len < 40 ? (int)len : 40,
		    (const char *)payload, 40, (char *)message->payload);
	ear->at++;
	if (ear->stuck || ear->at != crowd.quorum)
		return;
	crowd.quorate++;
	if (crowd.quorate == crowd.count - crowd.stuck)
		tell("flowing");
}

static void
note_code(unsigned code)
{
	size_t i;

	for (i = 0; i < CODES_MAX - 1; i++)
		if (crowd.codes[i].count == 0 || crowd.codes[i].code == code)
			break;
	crowd.codes[i].code = code;
	crowd.codes[i].count++;
}

static void
note_reason(const char *reason)
{
	int used = 0;
	long ms;

	if (sscanf(reason, "shutdown retry_after_ms=%ld%n", &ms, &used) != 1 ||
	    reason[used] != '\0' || ms < 0) {
		crowd.reasons_other++;
		return;
	}
	crowd.retries[crowd.retry_count++] = ms; /* once per consumer */
}

/* A mask of zeroes is a mask.  A socket that is gone says so when read. */
static void
answer(
    const struct ear *ear, unsigned opcode, const uint8_t *payload, size_t len)
{
	uint8_t frame[6 + 125] = { (uint8_t)(0x80 | opcode),
		(uint8_t)(0x80 | len) };

	assert(len <= 125);
	if (len > 0)
		memcpy(frame + 6, payload, len);
	(void)send(ear->fd, frame, 6 + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
on_close(struct ear *ear, const uint8_t *payload, size_t len)
{
	char reason[126] = "";
	unsigned code = 1005;

	if (len >= 2) {
		code = (unsigned)payload[0] << 8 | payload[1];
		memcpy(reason, payload + 2, len - 2);
	}
	note_code(code);
	note_reason(reason);
	crowd.last_close_us = clock_now_us();
	if (crowd.first_close_us == 0)
		crowd.first_close_us = crowd.last_close_us;
	ear->state = EAR_CLOSED;
	answer(ear, FRAME_CLOSE, payload, len >= 2 ? 2 : 0);
}

static void
on_frame(
    struct ear *ear, const struct frame_header *header, const uint8_t *payload)
{
	const size_t len = (size_t)header->payload_bytes;

	if (ear->state == EAR_CLOSED)
		fault(ear, "opcode %d after the close frame", header->opcode);
	else if (header->masked || header->rsv != 0 || !header->fin)
		fault(ear, "masked, reserved bits or not the last fragment");
	else if (header->opcode == FRAME_TEXT)
		on_message(ear, payload, len);
	else if (header->opcode == FRAME_CLOSE)
		on_close(ear, payload, len);
	else if (header->opcode == FRAME_PING)
		answer(ear, FRAME_PONG, payload, len);
	else
		fault(ear, "opcode %d", header->opcode);
}

/* The answer to the upgrade; its length, 0: more is to come, -1: refused. */
static ssize_t
on_answer(struct ear *ear, const uint8_t *data, size_t len)
{
	const uint8_t *mark = memmem(data, len, "\r\n\r\n", 4);

	if (mark == NULL)
		return 0;
	if (memcmp(data, "HTTP/1.1 101", 12) != 0 ||
	    memmem(data, len, ACCEPT, strlen(ACCEPT)) == NULL) {
		fault(ear, "the upgrade was answered %.*s", 40,
		    (const char *)data);
		return -1;
	}
	ear->state = EAR_OPEN;
	crowd.opened++;
	if (ear->stuck)
		watch(ear, EPOLL_CTL_DEL);
	if (crowd.opened == crowd.count)
		tell("open");
	return mark + 4 - data;
}

/* How many of the bytes were whole; -1: of no more use. */
static ssize_t
parse(struct ear *ear, const uint8_t *data, size_t len)
{
	size_t done = 0;

	if (ear->state == EAR_ASKED) {
		const ssize_t head = on_answer(ear, data, len);

		if (head <= 0)
			return head;
		done = (size_t)head;
	}
	while (done < len) {
		struct frame_header header;
		const int r =
		    frame_get_header(data + done, len - done, &header);

		if (r == -EAGAIN ||
		    (r > 0 && header.payload_bytes > len - done - (size_t)r))
			break;
		if (r < 0) {
			fault(ear, "a broken frame: %s", strerror(-r));
			return -1;
		}
		on_frame(ear, &header, data + done + r);
		done += (size_t)r + (size_t)header.payload_bytes;
	}
	return (ssize_t)done;
}

static int
take(struct ear *ear, const uint8_t *data, size_t len)
{
	const bool carried = ear->carry.len > 0;
	ssize_t done;

	if (carried) {
		if (buffer_append(&ear->carry, data, len, CARRY_BYTES_MAX) < 0)
			return -1;
		data = ear->carry.data;
		len = ear->carry.len;
	}
	done = parse(ear, data, len);
	if (done < 0)
		return -1;
	if (carried) {
		buffer_consume(&ear->carry, (size_t)done);
		return 0;
	}
	return buffer_append(
	    &ear->carry, data + done, len - (size_t)done, CARRY_BYTES_MAX);
}

static void
on_end(struct ear *ear, bool reset)
{
	crowd.resets += reset;
	if (ear->state != EAR_CLOSED) {
		crowd.cuts++;
		if (!ear->stuck)
			fault(ear, "the end came without a close frame%s",
			    reset ? ", a reset" : "");
	}
	end(ear);
}

static void
on_readable(struct ear *ear)
{
	const ssize_t n =
	    recv(ear->fd, read_buffer, sizeof(read_buffer), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		on_end(ear, n < 0);
	else if (take(ear, read_buffer, (size_t)n) < 0)
		end(ear);
}

/* Before connect(): that is when the window is agreed on. */
static int
set_stuck(int fd)
{
	const int small = 1, segment = STUCK_SEGMENT_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) < 0)
		return -1;
	return setsockopt(
	    fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
}

static void
ask(struct ear *ear)
{
	const struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(crowd.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	char request[512];
	const int one = 1;
	const int len = snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
	    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
	    crowd.path, crowd.port);

	assert(len > 0 && (size_t)len < sizeof(request));
	ear->stuck = (size_t)(ear - crowd.ears) >= crowd.count - crowd.stuck;
	ear->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ear->fd < 0 || (ear->stuck && set_stuck(ear->fd) < 0) ||
	    connect(ear->fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
	    setsockopt(ear->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) <
		0 ||
	    send(ear->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
		perror("crowd: connect");
		exit(1);
	}
	crowd.asked++;
	watch(ear, EPOLL_CTL_ADD);
}

static void
put_times(void)
{
	printf(",\"first_close\":%.6f,\"last_close\":%.6f,\"last_end\":%.6f",
	    seconds(crowd.first_close_us), seconds(crowd.last_close_us),
	    seconds(crowd.last_end_us));
}

static void
put_lists(void)
{
	size_t i;

	printf(",\"last\":[");
	for (i = 0; i < PUBLISHERS_MAX; i++)
		printf("%s%llu", i > 0 ? "," : "", crowd.last[i]);
	printf("],\"retries\":[");
	for (i = 0; i < crowd.retry_count; i++)
		printf("%s%ld", i > 0 ? "," : "", crowd.retries[i]);
	printf("],\"codes\":{");
	for (i = 0; i < CODES_MAX && crowd.codes[i].count > 0; i++)
		printf("%s\"%u\":%zu", i > 0 ? "," : "", crowd.codes[i].code,
		    crowd.codes[i].count);
	printf("}");
}

/*
 * least, most: messages that the readers have; stuck_sum: what the stuck have
 * together; last: the last number of each publisher; cuts: ends without a
 * close frame; retries: the hints of all closes, in milliseconds.
 */
static void
report(void)
{
	const size_t readers = crowd.count - crowd.stuck;
	size_t i, least = SIZE_MAX, most = 0, stuck_sum = 0;

	for (i = 0; i < readers; i++) {
		least = crowd.ears[i].at < least ? crowd.ears[i].at : least;
		most = crowd.ears[i].at > most ? crowd.ears[i].at : most;
	}
	for (i = readers; i < crowd.count; i++)
		stuck_sum += crowd.ears[i].at;
	printf("{\"event\":\"end\",\"faults\":%zu,\"readers\":%zu,"
	       "\"readers_ended\":%zu,\"ended\":%zu,\"cuts\":%zu,"
	       "\"resets\":%zu,\"least\":%zu,\"most\":%zu,\"stuck_sum\":%zu,"
	       "\"reasons_other\":%zu",
	    crowd.faults, readers, crowd.readers_ended, crowd.ended, crowd.cuts,
	    crowd.resets, least, most, stuck_sum, crowd.reasons_other);
	put_times();
	put_lists();
	printf("}\n");
	(void)fflush(stdout);
}

/* false: stdin has ended. */
static bool
on_command(void)
{
	char line[64];
	const ssize_t n = read(STDIN_FILENO, line, sizeof(line));
	size_t i;

	if (n <= 0 || memmem(line, (size_t)n, "read", 4) == NULL)
		return n > 0;
	for (i = crowd.count - crowd.stuck; i < crowd.count; i++)
		if (crowd.ears[i].state == EAR_OPEN)
			watch(&crowd.ears[i], EPOLL_CTL_ADD);
	return true;
}

static void
run(void)
{
	struct epoll_event events[256];
	bool going = true;
	int i, n;

	while (going && crowd.ended < crowd.count) {
		while (crowd.asked < crowd.count &&
		       crowd.asked < crowd.opened + OPENING_MAX)
			ask(&crowd.ears[crowd.asked]);
		n = epoll_wait(crowd.epoll_fd, events, 256, -1);
		for (i = 0; i < n; i++)
			if (events[i].data.ptr == NULL)
				going = on_command();
			else
				on_readable(events[i].data.ptr);
	}
}

static void
parse_arguments(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:s:q:")) != -1) {
		const size_t value = optarg ? strtoul(optarg, NULL, 10) : 0;

		if (option == 'n')
			crowd.count = value;
		else if (option == 's')
			crowd.stuck = value;
		else if (option == 'q')
			crowd.quorum = value;
		else
			exit(2);
	}
	if (argc - optind != 2 || crowd.count < 1 ||
	    crowd.stuck > crowd.count) {
		(void)fprintf(stderr,
		    "crowd [-n CONSUMERS] [-s STUCK] [-q MESSAGES] PORT "
		    "PATH\n");
		exit(2);
	}
	crowd.port = (uint16_t)strtoul(argv[optind], NULL, 10);
	crowd.path = argv[optind + 1];
}

int
main(int argc, char **argv)
{
	struct epoll_event event = { .events = EPOLLIN };
	size_t i;

	crowd.count = 1;
	parse_arguments(argc, argv);
	crowd.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	crowd.ears = calloc(crowd.count, sizeof(*crowd.ears));
	crowd.retries = calloc(crowd.count, sizeof(*crowd.retries));
	if (crowd.epoll_fd < 0 || crowd.ears == NULL || crowd.retries == NULL ||
	    epoll_ctl(crowd.epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) <
		0) {
		perror("crowd");
		return 1;
	}
	run();
	report();
	for (i = 0; i < crowd.count; i++)
		buffer_fini(&crowd.ears[i].carry);
	for (i = 0; i < crowd.stream_len; i++)
		free(crowd.stream[i].payload);
	free(crowd.stream);
	free(crowd.retries);
	free(crowd.ears);
	return 0;
}
