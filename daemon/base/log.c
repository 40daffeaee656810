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
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"

/* What log_stop() waits for a writer that was told to give up. */
#define LOG_GIVE_UP_US 100000

/* Once lines are dropped, this much must be free before one is taken again. */
#define LOG_ROOM_AGAIN_BYTES (LOG_RING_BYTES / 4)

/* A line in the ring or on its way there: prefix, text, newline. */
#define LOG_PREFIX_BYTES_MAX 24
#define LOG_RECORD_BYTES_MAX (LOG_LINE_BYTES_MAX + LOG_PREFIX_BYTES_MAX)

enum log_shape { LOG_UNKNOWN, LOG_PLAIN, LOG_JOURNAL, LOG_COLOUR };

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

	int wake_fd, done_fd;
	atomic_bool stop; /* end when the ring is empty */
	atomic_bool give_up; /* end now */
	_Atomic uint64_t dropped;
	_Atomic int level;
	_Atomic int shape; /* LOG_UNKNOWN while there is no writer */
} log_state = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake_fd = -1,
	.done_fd = -1,
	.level = LOG_LEVEL_INFO,
};

static const struct {
	const char *journal, *plain, *colour;
} log_prefixes[] = {
	[LOG_LEVEL_ERROR] = { "<3>", "ERROR ", "\033[1;31mERROR\033[0m " },
	[LOG_LEVEL_WARN] = { "<4>", "WARN ", "\033[33mWARN\033[0m " },
	[LOG_LEVEL_INFO] = { "<6>", "INFO ", "\033[32mINFO\033[0m " },
	[LOG_LEVEL_DEBUG] = { "<7>", "DEBUG ", "\033[2mDEBUG\033[0m " },
};

static enum log_shape
log_find_shape(void)
{
	int shape =
	    atomic_load_explicit(&log_state.shape, memory_order_relaxed);

	if (shape != LOG_UNKNOWN)
		return (enum log_shape)shape;
	if (getenv("JOURNAL_STREAM"))
		return LOG_JOURNAL;
	return isatty(STDERR_FILENO) ? LOG_COLOUR : LOG_PLAIN;
}

static const char *
log_prefix(enum log_shape shape, enum log_level level)
{
	if (shape == LOG_JOURNAL)
		return log_prefixes[level].journal;
	if (shape == LOG_COLOUR)
		return log_prefixes[level].colour;
	return log_prefixes[level].plain;
}

/* Prefix, text and newline, as they are written.  Returns the length. */
static size_t log_format(char out[LOG_RECORD_BYTES_MAX], enum log_shape shape,
    enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

static size_t
log_format(char out[LOG_RECORD_BYTES_MAX], enum log_shape shape,
    enum log_level level, const char *fmt, va_list ap)
{
	const char *prefix = log_prefix(shape, level);
	size_t start = strlen(prefix), len = 0, i;
	int n;

	assert(start < LOG_PREFIX_BYTES_MAX);
	memcpy(out, prefix, start);
	n = vsnprintf(out + start, LOG_LINE_BYTES_MAX, fmt, ap);
	if (n > 0)
		len = (size_t)n < LOG_LINE_BYTES_MAX ? (size_t)n
						     : LOG_LINE_BYTES_MAX - 1;
	while (len > 0 && out[start + len - 1] == '\n')
		len--;
	/* What came from outside must not steer a terminal or forge a line. */
	for (i = start; i < start + len; i++)
		if (((unsigned char)out[i] < 0x20 && out[i] != '\t') ||
		    out[i] == 0x7f)
			out[i] = '?';
	out[start + len] = '\n';
	return start + len + 1;
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
	char text[LOG_PREFIX_BYTES_MAX + 64];
	int n;

	if (log_state.unsaid == 0)
		return true;
	if (LOG_RING_BYTES - log_state.len < LOG_ROOM_AGAIN_BYTES)
		return false;
	n = snprintf(text, sizeof(text), "%sdropped %llu lines\n",
	    log_prefix(log_find_shape(), LOG_LEVEL_WARN),
	    (unsigned long long)log_state.unsaid);
	assert(n > 0 && (size_t)n < sizeof(text));
	log_ring_put(text, (size_t)n);
	log_state.unsaid = 0;
	return true;
}

static void
log_wake(int fd)
{
	ssize_t r = write(fd, &(uint64_t){ 1 }, 8);

	(void)r; /* the counter is full only when the wake-up is there anyway */
}

/* By ourselves: no writer, before the start and after the end. */
static void
log_write_through(const char *text, size_t n)
{
	ssize_t r = write(STDERR_FILENO, text, n);

	(void)r; /* there is nobody to tell */
}

static void log_line(enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
log_line(enum log_level level, const char *fmt, va_list ap)
{
	char text[LOG_RECORD_BYTES_MAX];
	bool through, wake;
	int saved = errno;
	size_t n;

	if ((int)level >
	    atomic_load_explicit(&log_state.level, memory_order_relaxed))
		return;
	n = log_format(text, log_find_shape(), level, fmt, ap);
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
		log_write_through(text, n);
	errno = saved;
}

#define LOG_DEFINE(name, level)                                                \
	void name(const char *fmt, ...)                                        \
	{                                                                      \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, fmt);                                             \
		log_line(level, fmt, ap);                                      \
		va_end(ap);                                                    \
	}

LOG_DEFINE(log_error, LOG_LEVEL_ERROR)
LOG_DEFINE(log_warn, LOG_LEVEL_WARN)
LOG_DEFINE(log_info, LOG_LEVEL_INFO)
LOG_DEFINE(log_debug, LOG_LEVEL_DEBUG)

void
log_set_level(enum log_level level)
{
	assert(level >= LOG_LEVEL_ERROR && level <= LOG_LEVEL_DEBUG);
	atomic_store(&log_state.level, (int)level);
}

uint64_t
log_dropped(void)
{
	return atomic_load(&log_state.dropped);
}

/* The next piece for write(): at most what a pipe takes whole. */
static size_t
log_take(uint8_t out[PIPE_BUF])
{
	size_t n, first, i;

	pthread_mutex_lock(&log_state.lock);
	(void)log_ring_tell_dropped(); /* later, when there is room */
	n = log_state.len < PIPE_BUF ? log_state.len : PIPE_BUF;
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
log_write_all(const uint8_t *p, size_t n)
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
	uint8_t piece[PIPE_BUF];

	(void)arg;
	do {
		/* Read before the ring: what was put before a stop goes out. */
		bool last = atomic_load(&log_state.stop);
		size_t n = log_take(piece);

		if (n > 0)
			log_write_all(piece, n);
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
	atomic_store(&log_state.shape, (int)log_find_shape());
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
	if (!joined) {
		/* It sits in write(): the process is ending, it may stay. */
		(void)pthread_detach(log_state.writer);
		return;
	}
	pthread_mutex_lock(&log_state.lock);
	atomic_fetch_add(&log_state.dropped, log_state.lines);
	log_state.head = log_state.len = 0;
	log_state.lines = log_state.unsaid = 0;
	pthread_mutex_unlock(&log_state.lock);
	log_close_fds();
}
