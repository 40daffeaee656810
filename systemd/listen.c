/*
 * listen: LISTEN_FDS and its relatives, checked before anybody trusts them.
 *
 * The happy path: libsystemd reads the variables and sets close-on-exec -> the
 * kernel is asked about each descriptor -> the good ones are kept.
 *
 * What can go wrong, each told and none of it fatal, because a daemon that
 * serves what it can serves more than one that does not start:
 * - the variables make no sense, or count descriptors that are not there:
 *   nothing is taken;
 * - the names do not match the descriptors in number: taken without names;
 * - a descriptor is no socket, no stream, of another family, a connection
 *   (Accept=yes): closed.
 */

#include "systemd/listen.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define FAULT_BYTES 512

struct teller {
	listen_fault_fn fn;
	void *arg;
};

static void tell(const struct teller *teller, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
tell(const struct teller *teller, const char *fmt, ...)
{
	char text[FAULT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is told as well */
	va_end(ap);
	teller->fn(text, teller->arg);
}

static int
get_option(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1
								    : value;
}

/* What it is instead of what we need, and what to write; or NULL. */
static const char *
find_fault(int fd)
{
	struct stat st;
	int family;

	if (fstat(fd, &st) < 0)
		return "is not open";
	if (!S_ISSOCK(st.st_mode))
		return "is no socket, expected ListenStream= in the .socket "
		       "unit";
	family = get_option(fd, SO_DOMAIN);
	if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
		return "is a socket of another family, expected IPv4, IPv6 or "
		       "unix";
	if (get_option(fd, SO_TYPE) != SOCK_STREAM)
		return "is no stream socket, expected ListenStream= in the "
		       ".socket unit";
	if (get_option(fd, SO_ACCEPTCONN) != 1)
		return "does not listen, expected Accept=no in the .socket "
		       "unit";
	return NULL;
}

static int
prepare(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	/* libsystemd has set close-on-exec. */
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* *ret_names stays NULL where the descriptors have none. */
static int
ask_manager(char ***ret_names, const struct teller *teller)
{
	int n = sd_listen_fds_with_names(0, ret_names);

	if (n == -EINVAL && getenv("LISTEN_FDNAMES") != NULL) {
		n = sd_listen_fds(0);
		if (n >= 0)
			tell(teller,
			    "LISTEN_FDNAMES=%s does not name LISTEN_FDS=%d "
			    "descriptors; they are told apart by address only",
			    getenv("LISTEN_FDNAMES"), n);
	}
	if (n < 0)
		tell(teller,
		    "LISTEN_FDS=%s: %s; no socket is taken from the service "
		    "manager",
		    getenv("LISTEN_FDS"), strerror(-n));
	return n < 0 ? 0 : n;
}

static int
take_all(struct listen_sockets *sockets, int n, char **names,
    const struct teller *teller)
{
	int i;

	sockets->items = memory_zalloc((size_t)n * sizeof(*sockets->items));
	for (i = 0; i < n; i++) {
		const int fd = SD_LISTEN_FDS_START + i;
		const char *name = names != NULL ? names[i] : "";
		const char *fault = find_fault(fd);
		char *copy;

		if (fault == NULL && prepare(fd) < 0)
			fault = "cannot be made non-blocking";
		if (fault != NULL) {
			tell(teller, "fd %d (%s), passed to us, %s", fd, name,
			    fault);
			(void)close(fd); /* it may not even be open */
			continue;
		}
		copy = memory_dup(name, strlen(name) + 1);
		if (copy == NULL || sockets->items == NULL) {
			memory_free(copy);
			return -ENOMEM;
		}
		sockets->items[sockets->count].fd = fd;
		sockets->items[sockets->count++].name = copy;
	}
	return 0;
}

int
listen_take(
    struct listen_sockets *ret_sockets, listen_fault_fn fault, void *arg)
{
	const struct teller teller = { fault, arg };
	struct listen_sockets sockets = { 0 };
	char **names = NULL;
	int n, i, r = 0;

	assert(fault != NULL);
	n = ask_manager(&names, &teller);
	if (n > 0)
		r = take_all(&sockets, n, names, &teller);
	for (i = 0; names != NULL && names[i] != NULL; i++)
		free(names[i]); /* libsystemd's, from malloc() */
	free(names);
	(void)sd_listen_fds(1); /* only the variables are meant */
	if (r < 0) {
		for (i = 0; i < n; i++)
			(void)close(SD_LISTEN_FDS_START + i);
		listen_free(&sockets);
		return r;
	}
	*ret_sockets = sockets;
	return 0;
}

void
listen_free(struct listen_sockets *sockets)
{
	size_t i;

	for (i = 0; i < sockets->count; i++)
		memory_free(sockets->items[i].name);
	memory_free(sockets->items);
	*sockets = (struct listen_sockets){ 0 };
}
