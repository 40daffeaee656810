#ifndef SYSTEMD_LISTEN_H
#define SYSTEMD_LISTEN_H

/*
 * listen: the sockets the service manager passed, sd_listen_fds(3).
 *
 * Life      listen_take(), once, before any other thread and any descriptor of
 *           ours -> use -> listen_free().
 * Promise   What is given out is a listening stream socket of IPv4, IPv6 or
 *           unix, non-blocking and close-on-exec.  Everything else that was
 *           passed is told, one sentence each, and closed.
 * Memory    The descriptors are the caller's; listen_free() leaves them open.
 * Threads   Changes the environment: before any other thread.
 */

#include "daemon/base/threads.h"

#include <stddef.h>

struct listen_socket {
	int fd;
	char *name; /* FileDescriptorName=, "" where none was told */
};

struct listen_sockets {
	struct listen_socket *items;
	size_t count;
};

/* One sentence about what cannot be used; without a line end. */
typedef void (*listen_fault_fn)(const char *text, void *arg);

/*
 * Takes what was passed to this process, and the variables that say so out of
 * the environment.  0, also where nothing was passed; -ENOMEM: everything is
 * closed.
 */
int listen_take(struct listen_sockets *ret_sockets, listen_fault_fn fault,
    void *arg) ANY_THREAD;

void listen_free(struct listen_sockets *sockets) ANY_THREAD;

#endif
