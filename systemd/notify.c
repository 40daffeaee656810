/*
 * notify: sd_notify(3)'s datagrams, sent so that nobody has to wait.
 *
 * - The happy path: one socket per call, one datagram, closed.  This happens
 *   once a second, not once a message.
 * - The manager is slow: its queue is full after net.unix.max_dgram_qlen
 *   datagrams (10 where nobody raised it).  sd_notify() of systemd 252 then
 *   waits inside sendmsg(), on our main loop; with MSG_DONTWAIT we are told
 *   -EAGAIN.  That is the only reason why the sending is ours.
 * - There is no manager, or its socket went away: an errno, no more.
 *
 * vsock addresses (systemd 254, for virtual machines) are not spoken.
 */

#include "systemd/notify.h"
#include "daemon/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define NOTIFY_ASSIGNMENTS_BYTES_MAX 128
#define NOTIFY_MESSAGE_BYTES_MAX                                               \
	(NOTIFY_ASSIGNMENTS_BYTES_MAX + NOTIFY_STATUS_BYTES_MAX + 1)

/* 1: *ret_address is where the manager listens; 0: there is none. */
static int
notify_address(struct sockaddr_un *ret_address, socklen_t *ret_len)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len;

	if (!name)
		return 0;
	len = strlen(name);
	if ((name[0] != '/' && name[0] != '@') || len < 2 ||
	    len >= sizeof(ret_address->sun_path))
		return -EINVAL;
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_address->sun_path, name, len);
	if (name[0] == '@')
		ret_address->sun_path[0] = '\0';
	/* A path counts its NUL, an abstract name is as long as it is. */
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
			       (name[0] == '/'));
	return 1;
}

static int
notify_send(const char *text, size_t len)
{
	struct sockaddr_un address;
	socklen_t address_len;
	ssize_t n;
	int fd, r;

	assert(len > 0);
	assert(len < NOTIFY_MESSAGE_BYTES_MAX);
	r = notify_address(&address, &address_len);
	if (r <= 0)
		return r;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	n = sendto(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL,
	    (const struct sockaddr *)&address, address_len);
	r = n < 0 ? -errno : 1;
	(void)close(fd); /* nothing is buffered in it */
	return r;
}

/* The first max bytes, or less so that no character is cut in two. */
static size_t
notify_cut(const char *text, size_t max)
{
	size_t end = max;

	/* text[max] is there: is it the rest of a character? */
	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	/* More than three of them in a row are no text to be careful with. */
	return max - end <= 3 ? end : max;
}

/* assignments, then STATUS= and the formatted text, if there is any. */
static int notify_tell(const char *assignments, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static int
notify_tell(const char *assignments, const char *fmt, va_list ap)
{
	char status[NOTIFY_STATUS_BYTES_MAX + 2];
	char text[NOTIFY_MESSAGE_BYTES_MAX];
	size_t len, i;
	int n;

	assert(assignments);
	assert(fmt);
	n = vsnprintf(status, sizeof(status), fmt, ap);
	if (n < 0)
		return -EINVAL;
	len = (size_t)n;
	if (len > NOTIFY_STATUS_BYTES_MAX)
		len = notify_cut(status, NOTIFY_STATUS_BYTES_MAX);
	/* A line end would begin an assignment of the text's own choice. */
	for (i = 0; i < len; i++)
		if ((unsigned char)status[i] < 0x20 || status[i] == 0x7f)
			status[i] = ' ';
	n = snprintf(
	    text, sizeof(text), "%sSTATUS=%.*s", assignments, (int)len, status);
	assert(n > 0);
	assert((size_t)n < sizeof(text));
	return notify_send(text, (size_t)n);
}

int
notify_status(const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = notify_tell("", fmt, ap);
	va_end(ap);
	return r;
}

/* notify_tell() for a text that is no format. */
static int notify_tellf(const char *assignments, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
notify_tellf(const char *assignments, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = notify_tell(assignments, fmt, ap);
	va_end(ap);
	return r;
}

int
notify_ready(const char *status)
{
	assert(status);
	return notify_tellf("READY=1\n", "%s", status);
}

int
notify_reloading(const char *status)
{
	char assignments[NOTIFY_ASSIGNMENTS_BYTES_MAX];
	int n;

	assert(status);
	n = snprintf(assignments, sizeof(assignments),
	    "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n", clock_now_us());
	assert(n > 0 && (size_t)n < sizeof(assignments));
	return notify_tellf(assignments, "%s", status);
}

int
notify_stopping(int64_t extend_us, const char *fmt, ...)
{
	char assignments[NOTIFY_ASSIGNMENTS_BYTES_MAX];
	va_list ap;
	int n, r;

	assert(extend_us >= 0);
	n = snprintf(assignments, sizeof(assignments),
	    "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\n", extend_us);
	assert(n > 0 && (size_t)n < sizeof(assignments));
	va_start(ap, fmt);
	r = notify_tell(assignments, fmt, ap);
	va_end(ap);
	return r;
}

int
notify_errno(int err, const char *fmt, ...)
{
	char assignments[NOTIFY_ASSIGNMENTS_BYTES_MAX];
	va_list ap;
	int n, r;

	assert(err > 0);
	n = snprintf(assignments, sizeof(assignments), "ERRNO=%d\n", err);
	assert(n > 0 && (size_t)n < sizeof(assignments));
	va_start(ap, fmt);
	r = notify_tell(assignments, fmt, ap);
	va_end(ap);
	return r;
}

int64_t
notify_watchdog_interval_us(void)
{
	uint64_t interval_us = 0;

	/* A value that is no number is an error there, and no watchdog here. */
	if (sd_watchdog_enabled(0, &interval_us) <= 0)
		return 0;
	return interval_us > INT64_MAX ? INT64_MAX : (int64_t)interval_us;
}

int
notify_watchdog(void)
{
	static const char text[] = "WATCHDOG=1";

	return notify_send(text, sizeof(text) - 1);
}
