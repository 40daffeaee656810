/*
 * changes: a rename is two events with one cookie, MOVED_FROM with the old
 * name and MOVED_TO with the new one, behind each other.  A file that was moved
 * away and is moved on (log.1 becomes log.2) is followed.
 */

#include "daemon/feed/changes.h"

#include <assert.h>
#include <string.h>
#include <sys/inotify.h>

/* Which of the names it is; count: none. */
static size_t
changes_find(const struct changes *changes, const char *name)
{
	size_t i;

	for (i = 0; i < changes->count; i++)
		if (strcmp(changes->names[i], name) == 0)
			break;
	return i;
}

static void
changes_put(struct changes *changes, size_t at, const char *name)
{
	assert(at < CHANGES_NAMES_MAX);
	strncpy(changes->names[at], name, CHANGES_NAME_BYTES - 1);
	changes->names[at][CHANGES_NAME_BYTES - 1] = '\0';
}

static void
changes_forget(struct changes *changes, size_t at)
{
	assert(at < changes->count);
	changes->count--;
	memmove(changes->names[at], changes->names[at + 1],
	    (changes->count - at) * CHANGES_NAME_BYTES);
}

static bool
changes_from(struct changes *changes, uint32_t cookie, const char *moved,
    const char *name)
{
	const bool ours = strcmp(moved, name) == 0;
	const size_t at = changes_find(changes, moved);

	if (!ours && at == changes->count)
		return false;
	changes->cookie = cookie;
	changes->moving = ours ? changes->count : at;
	return ours;
}

/* The other half, if it is one of ours. */
static void
changes_to(struct changes *changes, uint32_t cookie, const char *moved)
{
	if (cookie == 0 || cookie != changes->cookie)
		return;
	changes->cookie = 0;
	if (changes->moving < changes->count) {
		changes_put(changes, changes->moving, moved);
		return;
	}
	if (changes->count == CHANGES_NAMES_MAX) {
		changes_forget(changes, 0);
		changes->forgotten++;
	}
	changes_put(changes, changes->count++, moved);
}

static bool
changes_take_one(struct changes *changes, const struct inotify_event *event,
    const char *moved, const char *name)
{
	/* Those of the folder have a name; those of the file, and the news
	 * that some were lost, have none. */
	if (event->mask & IN_Q_OVERFLOW)
		changes->forgotten++;
	if (event->len == 0)
		return true;
	if (event->mask & IN_MOVED_FROM)
		return changes_from(changes, event->cookie, moved, name);
	if (event->mask & IN_MOVED_TO)
		changes_to(changes, event->cookie, moved);
	return strcmp(moved, name) == 0;
}

void
changes_drop(struct changes *changes, size_t n)
{
	assert(n <= changes->count);
	/* Of a move whose half is there only what stays is of interest. */
	if (changes->moving >= n)
		changes->moving -= n;
	else
		changes->cookie = 0;
	changes->count -= n;
	memmove(changes->names[0], changes->names[n],
	    changes->count * CHANGES_NAME_BYTES);
}

bool
changes_take(
    struct changes *changes, const void *events, size_t len, const char *name)
{
	const char *at = events;
	bool meant = false;

	while (len >= sizeof(struct inotify_event)) {
		struct inotify_event event;
		size_t size;

		memcpy(&event, at, sizeof(event));
		size = sizeof(event) + event.len;
		if (size > len)
			break;
		if (changes_take_one(changes, &event, at + sizeof(event), name))
			meant = true;
		at += size;
		len -= size;
	}
	return meant;
}
