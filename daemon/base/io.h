#ifndef DAEMON_BASE_IO_H
#define DAEMON_BASE_IO_H

/*
 * io: what a file descriptor holds, whole.
 *
 * Memory   The caller's.
 * Threads  Any; it waits as long as the descriptor does.
 */

#include <stddef.h>
#include <sys/types.h>

/*
 * Reads to the end, at most size bytes, over interruptions.  Their number, or
 * -errno of read(2); what was read before is then lost.
 */
ssize_t io_read_all(int fd, void *bytes, size_t size);

#endif
