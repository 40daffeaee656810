#ifndef DAEMON_FEED_PLACE_H
#define DAEMON_FEED_PLACE_H

/*
 * place: how far a file has been read, kept over restarts.
 *
 * Shape    One line of text in a file of its own:
 *          "earshot-place 1 DEVICE INODE OFFSET MARK PATH", MARK being the
 *          bytes before OFFSET in hex, "-" for none.  To change it: another
 *          number, and place_load() takes both.
 * Threads  MAY_BLOCK: files are read and written; any thread but a loop's.
 */

#include "daemon/base/threads.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PLACE_MARK_BYTES 32

struct place {
	uint64_t device, inode;
	int64_t offset;
	uint8_t mark[PLACE_MARK_BYTES]; /* what stands before offset */
	size_t mark_len;
};

/* The mark of what stands before place->offset in fd. */
void place_mark(struct place *place, int fd) MAY_BLOCK;

/* Is fd the file of the place, as far as it had been read? */
bool place_fits(
    const struct place *place, int fd, const struct stat *st) MAY_BLOCK;

/*
 * store is where it is kept, path the file it is a place in.  -ENOENT: there
 * is none of path.  -EBADMSG: it is no place.  Else what the system says.
 */
int place_load(
    struct place *ret_place, const char *store, const char *path) MAY_BLOCK;
/* Of what is kept in such a file: the text, and another one in its place. */
ssize_t place_read(const char *store, char *text, size_t size) MAY_BLOCK;
int place_write(const char *store, const char *text, size_t len) MAY_BLOCK;
int place_save(
    const struct place *place, const char *store, const char *path) MAY_BLOCK;

#endif
