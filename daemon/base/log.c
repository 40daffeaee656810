/*
 * log: a ring of bytes between everybody and one writer.
 *
 * - The happy path: a caller formats on its own stack, takes the lock for
 *   one memcpy and, if the ring was empty, writes the eventfd.  The writer
 *   copies a piece out under the lock and writes it without.
 * - stderr is a full pipe: the writer waits in poll(), the ring fills up,
 *   lines are dropped and counted.  The writer writes at most PIPE_BUF bytes
 *   after poll() said so, which a pipe then takes whole; where somebody else
 *   fills the pipe in between, only the writer blocks.
 * - Stopping: the eventfd ends the wait in poll().  A writer that somebody
 *   else's pipe blocks all the same is left to itself; the ring is static,
 *   so it touches nothing that has gone.
 *
 * An eventfd and not a condition variable, because the writer must wait for
 * stderr and for work at the same place.
 */

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/events.h"
#include "daemon/base/log_line.h"

/*
 * What log_stop() waits for a writer that was told to give up: on a busy
 * machine it may have to wait for its turn.
 */
#define LOG_GIVE_UP_US 500000

/* Once lines are dropped, this much must be free before one is taken again. */
#define LOG_ROOM_AGAIN_BYTES (LOG_RING_BYTES / 4)

/* The writer takes a line with all its fields at once. */
_Static_assert(LOG_RECORD_BYTES_MAX <= PIPE_BUF, "one piece");

static struct {
	/*
	 * Covers ring, head, len, lines, unsaid, running.  Free: the
	 * len bytes from head on, modulo the size, are whole lines of text
	 * (the writer may have taken the beginning of the first), and lines
	 * counts their newlines.
	 */
	pthread_mutex_t lock;
	uint8_t ring[LOG_RING_BYTES];
	size_t head, len;
	uint64_t lines;
	uint64_t unsaid; /* dropped, and not yet told */
	bool running;

	/* Only log_start() and log_stop() touch these. */
	pthread_t writer;
	enum log_shape writes; /* what the writer finds in the ring */

	int wake_fd, done_fd;
	atomic_bool stop; /* end when the ring is empty */
	atomic_bool give_up; /* end now */
	_Atomic uint64_t dropped;
	_Atomic int level;
	_Atomic int shape; /* LOG_UNKNOWN while there is no writer */
	_Atomic(log_sink_fn) sink;
} log_state = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake_fd = -1,
	.done_fd = -1,
	.level = LOG_LEVEL_INFO,
};

static enum log_shape
log_find_shape(void)
{
	int shape =
	    atomic_load_explicit(&log_state.shape, memory_order_relaxed);

	if (shape != LOG_UNKNOWN)
		return (enum log_shape)shape;
	if (atomic_load(&log_state.sink) != NULL)
		return LOG_FIELDS;
	if (getenv("JOURNAL_STREAM"))
		return LOG_PREFIX;
	return isatty(STDERR_FILENO) ? LOG_COLOUR : LOG_PLAIN;
}

/* The lock is held, and there is room. */
static void
log_ring_put(const char *text, size_t n)
{
	size_t tail = (log_state.head + log_state.len) % LOG_RING_BYTES;
	size_t first = LOG_RING_BYTES - tail < n ? LOG_RING_BYTES - tail : n;

	assert(n <= LOG_RING_BYTES - log_state.len);
	memcpy(log_state.ring + tail, text, first);
	memcpy(log_state.ring, text + first, n - first);
	log_state.len += n;
	log_state.lines++;
}

/*
 * The lock is held.  Says what is missing in its place, before anything else
 * is taken, and not for each line that fits in between.  False: not yet.
 */
static bool
log_ring_tell_dropped(void)
{
	char text[LOG_RECORD_BYTES_MAX];
	size_t n;

	if (log_state.unsaid == 0)
		return true;
	if (LOG_RING_BYTES - log_state.len < LOG_ROOM_AGAIN_BYTES)
		return false;
	n = log_line_putf(text, log_find_shape(), LOG_LEVEL_WARN,
	    &(struct log_about){ .event = EVENT_LINES_DROPPED },
	    "dropped %llu lines", (unsigned long long)log_state.unsaid);
	log_ring_put(text, n);
	log_state.unsaid = 0;
	return true;
}

static void
log_wake(int fd)
{
	ssize_t r = write(fd, &(uint64_t){ 1 }, 8);

	(void)r; /* the counter is full only when the wake-up is there anyway */
}

/* Splits a line of LOG_FIELDS where its fields end.  Returns how many. */
static int
log_split(char *line, size_t len, struct iovec fields[LOG_FIELDS_MAX])
{
	char *end = line + len - 1; /* the newline is nobody's */
	int count = 0;

	assert(len > 0 && *end == '\n');
	while (count < LOG_FIELDS_MAX) {
		char *next = memchr(line, LOG_FIELD_END, (size_t)(end - line));

		fields[count].iov_base = line;
		fields[count++].iov_len =
		    (size_t)((next != NULL ? next : end) - line);
		if (next == NULL)
			break;
		line = next + 1;
	}
	return count;
}

/* "<N>text" out of the first two fields, where the sink takes nothing. */
static size_t
log_unsplit(const struct iovec *fields, char out[LOG_RECORD_BYTES_MAX])
{
	static const size_t priority = sizeof("PRIORITY=") - 1;
	static const size_t message = sizeof("MESSAGE=") - 1;
	const char *text = fields[1].iov_base;
	const char *level = fields[0].iov_base;

	return (size_t)snprintf(out, LOG_RECORD_BYTES_MAX, "<%c>%.*s\n",
	    level[priority], (int)(fields[1].iov_len - message),
	    text + message);
}

/* True: the sink has it.  Else it is in out, as it is for stderr. */
static bool
log_sink_line(
    char *line, size_t len, char out[LOG_RECORD_BYTES_MAX], size_t *ret_len)
{
	const log_sink_fn sink = atomic_load(&log_state.sink);
	struct iovec fields[LOG_FIELDS_MAX];
	const int count = log_split(line, len, fields);

	assert(count >= 2);
	if (sink != NULL && sink(fields, count) >= 0)
		return true;
	*ret_len = log_unsplit(fields, out);
	return false;
}

/*
 * By ourselves: no writer, before the start and after the end.  Then only
 * events go to the sink: a process that ends at once may be gone before the
 * journal asks which unit it was, and of stderr it knows.
 */
static void
log_write_through(char *text, size_t n, enum log_shape shape, bool event)
{
	char line[LOG_RECORD_BYTES_MAX];
	struct iovec fields[LOG_FIELDS_MAX];
	ssize_t r;

	if (shape == LOG_FIELDS) {
		if (event && log_sink_line(text, n, line, &n))
			return;
		if (!event && log_split(text, n, fields) >= 2)
			n = log_unsplit(fields, line);
		text = line;
	}
	r = write(STDERR_FILENO, text, n);
	(void)r; /* there is nobody to tell */
}

static void log_line(enum log_level level, const struct log_about *about,
    const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

static void
log_line(enum log_level level, const struct log_about *about, const char *fmt,
    va_list ap)
{
	char text[LOG_RECORD_BYTES_MAX];
	enum log_shape shape;
	bool through, wake;
	int saved = errno;
	size_t n;

	if ((int)level >
	    atomic_load_explicit(&log_state.level, memory_order_relaxed))
		return;
	shape = log_find_shape();
	n = log_line_put(text, shape, level, about, fmt, ap);
	pthread_mutex_lock(&log_state.lock);
	through = !log_state.running;
	if (!through) {
		wake = log_state.len == 0;
		if (!log_ring_tell_dropped() ||
		    n > LOG_RING_BYTES - log_state.len) {
			log_state.unsaid++;
			atomic_fetch_add(&log_state.dropped, 1);
		} else {
			log_ring_put(text, n);
		}
		if (wake)
			log_wake(log_state.wake_fd);
	}
	pthread_mutex_unlock(&log_state.lock);
	if (through)
		log_write_through(
		    text, n, shape, about != NULL && about->event != NULL);
	errno = saved;
}

#define LOG_DEFINE(name, level)                                                \
	void name(const char *fmt, ...)                                        \
	{                                                                      \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, fmt);                                             \
		log_line(level, NULL, fmt, ap);                                \
		va_end(ap);                                                    \
	}

LOG_DEFINE(log_error, LOG_LEVEL_ERROR)
LOG_DEFINE(log_warn, LOG_LEVEL_WARN)
LOG_DEFINE(log_info, LOG_LEVEL_INFO)
LOG_DEFINE(log_debug, LOG_LEVEL_DEBUG)

void
log_event(
    enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(level, about, fmt, ap);
	va_end(ap);
}

void
log_set_sink(log_sink_fn sink)
{
	atomic_store(&log_state.sink, sink);
}

void
log_set_level(enum log_level level)
{
	assert(level >= LOG_LEVEL_ERROR && level <= LOG_LEVEL_DEBUG);
	atomic_store(&log_state.level, (int)level);
}

enum log_level
log_get_level(void)
{
	return (enum log_level)atomic_load(&log_state.level);
}

uint64_t
log_dropped(void)
{
	return atomic_load(&log_state.dropped);
}

/* The lock is held.  Up to and with the first newline; 0: there is none. */
static size_t
log_first_line(void)
{
	size_t first = LOG_RING_BYTES - log_state.head;
	const uint8_t *at = log_state.ring + log_state.head, *end;

	if (first > log_state.len)
		first = log_state.len;
	end = memchr(at, '\n', first);
	if (end != NULL)
		return (size_t)(end - at) + 1;
	end = memchr(log_state.ring, '\n', log_state.len - first);
	return end != NULL ? first + (size_t)(end - log_state.ring) + 1 : 0;
}

/* The next piece: one line for the sink, else what a pipe takes whole. */
static size_t
log_take(char out[PIPE_BUF], enum log_shape shape)
{
	size_t n, first, i;

	pthread_mutex_lock(&log_state.lock);
	(void)log_ring_tell_dropped(); /* later, when there is room */
	n = log_state.len < PIPE_BUF ? log_state.len : PIPE_BUF;
	if (shape == LOG_FIELDS)
		n = log_first_line();
	assert(n <= PIPE_BUF);
	first = LOG_RING_BYTES - log_state.head;
	if (first > n)
		first = n;
	memcpy(out, log_state.ring + log_state.head, first);
	memcpy(out + first, log_state.ring, n - first);
	for (i = 0; i < n; i++)
		if (out[i] == '\n')
			log_state.lines--;
	log_state.head = (log_state.head + n) % LOG_RING_BYTES;
	log_state.len -= n;
	pthread_mutex_unlock(&log_state.lock);
	return n;
}

/* Waits until stderr takes bytes.  False: told to give up. */
static bool
log_wait_stderr(void)
{
	struct pollfd fds[2] = {
		{ .fd = STDERR_FILENO, .events = POLLOUT },
		{ .fd = log_state.wake_fd, .events = POLLIN },
	};

	while (!atomic_load(&log_state.give_up)) {
		uint64_t count;
		ssize_t r;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return false;
		if (fds[0].revents)
			return true;
		if (fds[1].revents) {
			r = read(log_state.wake_fd, &count, sizeof(count));
			(void)r; /* it only has to be quiet again */
		}
	}
	return false;
}

/* Writes it all.  A stderr that is gone takes nothing, and nobody to tell. */
static void
log_write_all(const char *p, size_t n)
{
	while (n > 0 && log_wait_stderr()) {
		ssize_t r = write(STDERR_FILENO, p, n);

		if (r < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
	}
}

static void
log_wait_work(void)
{
	struct pollfd fd = { .fd = log_state.wake_fd, .events = POLLIN };
	uint64_t count;
	ssize_t r;

	if (poll(&fd, 1, -1) < 0)
		return;
	r = read(log_state.wake_fd, &count, sizeof(count));
	(void)r; /* it only has to be quiet again */
}

static void *
log_writer(void *arg)
{
	const enum log_shape shape = log_state.writes;
	char piece[PIPE_BUF], line[LOG_RECORD_BYTES_MAX];

	(void)arg;
	do {
		/* Read before the ring: what was put before a stop goes out. */
		bool last = atomic_load(&log_state.stop);
		size_t n = log_take(piece, shape);

		if (n > 0 && shape != LOG_FIELDS)
			log_write_all(piece, n);
		else if (n > 0 && !log_sink_line(piece, n, line, &n))
			log_write_all(line, n);
		else if (n > 0)
			continue;
		else if (last)
			break;
		else
			log_wait_work();
	} while (!atomic_load(&log_state.give_up));
	log_wake(log_state.done_fd);
	return NULL;
}

static void
log_close_fds(void)
{
	/* Eventfds have nothing to lose. */
	if (log_state.wake_fd >= 0)
		(void)close(log_state.wake_fd);
	if (log_state.done_fd >= 0)
		(void)close(log_state.done_fd);
	log_state.wake_fd = log_state.done_fd = -1;
}

static int
log_open_fds(void)
{
	int r = 0;

	log_state.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (log_state.wake_fd >= 0)
		log_state.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (log_state.done_fd < 0) {
		r = -errno;
		log_close_fds();
	}
	return r;
}

int
log_start(void)
{
	sigset_t all, before;
	int r;

	if (log_state.wake_fd >= 0)
		return -EALREADY;
	r = log_open_fds();
	if (r < 0)
		return r;
	atomic_store(&log_state.stop, false);
	atomic_store(&log_state.give_up, false);
	log_state.writes = log_find_shape();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&log_state.writer, NULL, log_writer, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		log_close_fds();
		return -r;
	}
	(void)pthread_setname_np(log_state.writer, "log"); /* a nicety */
	pthread_mutex_lock(&log_state.lock);
	atomic_store(&log_state.shape, (int)log_state.writes);
	log_state.running = true;
	pthread_mutex_unlock(&log_state.lock);
	return 0;
}

/* Joins the writer within the time.  False: it still runs. */
static bool
log_join(int64_t timeout_us)
{
	struct pollfd fd = { .fd = log_state.done_fd, .events = POLLIN };
	int64_t end = clock_now_us() + timeout_us;
	int r;

	do {
		int64_t left = end - clock_now_us();
		struct timespec ts = { 0 };

		if (left > 0) {
			ts.tv_sec = left / 1000000;
			ts.tv_nsec = left % 1000000 * 1000;
		}
		r = ppoll(&fd, 1, &ts, NULL);
	} while (r < 0 && errno == EINTR);
	return r > 0 && pthread_join(log_state.writer, NULL) == 0;
}

void
log_stop(int64_t timeout_us)
{
	bool joined;

	assert(timeout_us >= 0);
	if (log_state.wake_fd < 0)
		return;
	pthread_mutex_lock(&log_state.lock);
	log_state.running = false;
	atomic_store(&log_state.shape, LOG_UNKNOWN);
	atomic_store(&log_state.stop, true);
	log_wake(log_state.wake_fd);
	pthread_mutex_unlock(&log_state.lock);
	joined = log_join(timeout_us);
	if (!joined) {
		atomic_store(&log_state.give_up, true);
		log_wake(log_state.wake_fd);
		joined = log_join(LOG_GIVE_UP_US);
	}
	atomic_store(&log_state.sink, NULL);
	pthread_mutex_lock(&log_state.lock);
	atomic_fetch_add(&log_state.dropped, log_state.lines);
	log_state.head = log_state.len = 0;
	log_state.lines = log_state.unsaid = 0;
	pthread_mutex_unlock(&log_state.lock);
	if (joined)
		log_close_fds();
	else /* It sits in write(): the process is ending, it may stay. */
		(void)pthread_detach(log_state.writer);
}
