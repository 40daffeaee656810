#ifndef DAEMON_FEED_FOLLOW_H
#define DAEMON_FEED_FOLLOW_H

/*
 * follow: a file by its name, through rotation and truncation.
 *
 * Life     new -> (follow_look) * -> unref.  One look at a time; its result is
 *          good until the next one begins.
 * Order    The bytes of one file come in its order, then those of the file
 *          that took its name, and so on.
 * Promise  A file that has had the name at the time of a look is read to its
 *          end, whatever becomes of its name, if it was only appended to.
 * Memory   FOLLOW_READ_BYTES, and FOLLOW_FILES_MAX descriptors.
 * Threads  follow_look() MAY_BLOCK; all else: any thread, but for the look's
 *          result, which is whose look it was.
 */

#include "daemon/feed/place.h"

#include <stdbool.h>

#define FOLLOW_READ_BYTES 65536
#define FOLLOW_FILES_MAX 16 /* rotated and not read to their end yet */

struct follow;

struct follow_look {
	/* Asked for */
	bool rescan; /* the folder's watch may be missing */
	bool save; /* keep `place` first: bytes before it are done with */
	struct place place; /* mark apart */

	/* Answered */
	int error; /* of opening or reading; -ENOENT: there is no such file */
	int save_error;
	bool fresh; /* what came before was of another file, and is over */
	bool truncated; /* ... which is this one, cut */
	uint64_t missed; /* files so far that had the name, unseen */
	const uint8_t *data;
	size_t len; /* 0: nothing more at present */
	struct place at; /* of data, mark apart */
};

/*
 * inotify_fd becomes the follow's, unless this fails; -1: there is none; a look
 * reads it.  store: where the place is kept, NULL: nowhere.  begin_at_end: of a
 * file that is there at the first look, if no place is known.  -ENOMEM.
 */
int follow_new(const char *path, const char *store, int inotify_fd,
    bool begin_at_end, struct follow **ret_follow) ANY_THREAD;
struct follow *follow_ref(struct follow *follow) ANY_THREAD;
void follow_unref(void *follow) ANY_THREAD; /* the last one closes it all */

/* Its next bytes, if there are any. */
void follow_look(struct follow *follow) MAY_BLOCK;
struct follow_look *follow_result(struct follow *follow) ANY_THREAD;

#endif
