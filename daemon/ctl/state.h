#ifndef DAEMON_CTL_STATE_H
#define DAEMON_CTL_STATE_H

/*
 * state: the file of `earshot sub --state`.
 *
 * Life      state_open -> state_parse -> state_save* -> state_close.
 * Shape     STATE_HEADER, then a line for each channel: its name, a space,
 *           its position.
 * Promise   The file is always a whole one, the old or the new, also after a
 *           crash; who has it open is the only one.
 * Threads   One at a time.
 * Errors    0 or -errno.
 */

#include "daemon/base/buffer.h"
#include "daemon/base/threads.h"
#include "daemon/ctl/place.h"

#include <limits.h>
#include <sys/types.h>

#define STATE_HEADER "earshot sub 1"
#define STATE_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define STATE_WHAT_MAX 256

struct state {
	int file; /* the file as it is now, locked */
	int folder;
	char name[NAME_MAX + 1]; /* in the folder */
	char next[NAME_MAX + 1]; /* where the next one is written */
	mode_t mode;
};

/*
 * Opens, makes it if it is missing, locks, and reads what it says into text.
 * -EAGAIN: another process has it.  -EFBIG: longer than STATE_BYTES_MAX.
 * -EINVAL: no regular file.  -ENAMETOOLONG, -ENOMEM, what the kernel says.
 */
int state_open(struct state *state, const char *path, struct buffer *text);
void state_close(struct state *state);

/* Replaces it. */
int state_save(struct state *state, const void *text, size_t len) MAY_BLOCK;

/* How many channels a text can have. */
size_t state_channels_max(const struct buffer *text);

/*
 * Recalls what the text says; nothing is fine too.  places has room for all
 * of it.  -EBADMSG: line *ret_line is not as it should be, what says why.
 */
int state_parse(const struct buffer *text, struct places *places,
    size_t *ret_line, char what[static STATE_WHAT_MAX]);

/* What stdout has taken, at the end of text.  -ENOMEM. */
int state_put(struct buffer *text, const struct places *places);

#endif
