#ifndef TESTS_SEEDS_HTTP_GET_H
#define TESTS_SEEDS_HTTP_GET_H

/*
 * http_get: a GET of a path from loopback, one connection each.
 *
 * The same function for synchronous and asynchronous code: in a task it
 * suspends the task wherever it waits, anywhere else it blocks the thread.
 */

#include <stddef.h>

/*
 * The body, with a NUL, in body of size bytes; its length.  -EMSGSIZE: it is
 * longer.  -EPROTO: not a 200.  -ECANCELED: the task was; what sockets say.
 */
int http_get(unsigned short port, const char *path, char *body, size_t size);

#endif
