#ifndef DAEMON_FEED_BIND_H
#define DAEMON_FEED_BIND_H

/*
 * bind: a unix socket at a path, with its permissions, made by a job.
 *
 * Threads  The job: an executor's.  All else: any thread.
 */

#include "conf/conf.h"
#include "daemon/loop/es.h"

#include <stdbool.h>
#include <sys/stat.h>

struct bound {
	int fd; /* does not block; listens if it is a stream's */
	dev_t device;
	ino_t inode; /* of the path */
	char path[108];
};

struct bind_request;

/* Copies what it needs.  -ENOMEM. */
int bind_request_new(const struct conf_socket *conf,
    struct bind_request **ret_request) ANY_THREAD;
void bind_request_free(void *request) ANY_THREAD; /* an es_drop */

/*
 * An es_body_fn; *ret is a struct bound of the heap, its drop is bound_drop().
 * -EADDRINUSE: somebody answers there.  -EEXIST: it is no socket.  -EUSERS:
 * no such owner or group.  Else what the system says.
 */
int bind_job(void *request, es_value *ret) MAY_BLOCK;
const char *bind_words(int error) ANY_THREAD; /* for the log */

/* Closes it, and removes the path if it still is this socket's. */
void bound_drop(void *bound) ANY_THREAD;

#endif
