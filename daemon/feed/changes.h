#ifndef DAEMON_FEED_CHANGES_H
#define DAEMON_FEED_CHANGES_H

/*
 * changes: what inotify's events say of one name in a folder: whether to look,
 * and under which names those are that have been moved away from it.
 *
 * Order    Names in the order in which they were moved away.
 * Memory   CHANGES_NAMES_MAX names; the oldest are forgotten, and counted.
 * Threads  Quiet: the caller serialises.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANGES_NAMES_MAX 64
#define CHANGES_NAME_BYTES 256 /* NAME_MAX and a NUL */

struct changes {
	char names[CHANGES_NAMES_MAX][CHANGES_NAME_BYTES];
	size_t count;
	uint32_t cookie; /* of a move whose other half may follow; 0: none */
	size_t moving; /* which of the names it is; count: our own */
	uint64_t forgotten; /* also: events that the kernel had no room for */
};

/*
 * Events as they were read; name is ours.  true: they are about it, or about
 * the file itself, or some were lost.
 */
bool changes_take(
    struct changes *changes, const void *events, size_t len, const char *name);

/* The first n names are of no concern any more. */
void changes_drop(struct changes *changes, size_t n);

#endif
