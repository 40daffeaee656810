/*
 * follow: the happy path is one pread() where the last one ended.
 *
 * - Another file has the name: it is opened at once, so that it is not lost
 *   when it is rotated too, and waits in a row.  The first of the row is left
 *   when it has been read to its end and the next one is not empty: who writes
 *   has changed over, and writes no more to the old one.
 * - It was rotated away again before we looked: the folder's events say what
 *   it is called now.
 * - The file is shorter than where we are, or what stands before that place
 *   has changed: it was truncated (copytruncate) and is read from its start.
 *   What was written between our last read and the truncation is only in the
 *   copy.
 * - There is no file: waited for.  It is something else: an error each time.
 * - We were not running when it was rotated: the place says which file it was,
 *   and it is looked for among those whose names begin with ours.
 */

#include "daemon/feed/follow.h"
#include "daemon/base/memory.h"
#include "daemon/feed/changes.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define FOLLOW_DONE_MAX 32
#define FOLLOW_EVENTS_BYTES 16384

struct source {
	int fd, watch; /* -1: none */
	struct place at; /* the next byte */
};

struct follow {
	atomic_int references;
	char path[PATH_MAX], folder[PATH_MAX], store[PATH_MAX];
	const char *name; /* in path */
	int inotify_fd;
	bool begin_at_end, begun;
	struct source sources[FOLLOW_FILES_MAX];
	size_t count;
	struct place done[FOLLOW_DONE_MAX]; /* the last that were read */
	size_t done_next;
	struct changes changes;
	struct follow_look look;
	uint8_t data[FOLLOW_READ_BYTES];
};

int
follow_new(const char *path, const char *store, int inotify_fd,
    bool begin_at_end, struct follow **ret_follow)
{
	struct follow *follow = memory_zalloc(sizeof(*follow));

	if (!follow)
		return -ENOMEM;
	atomic_init(&follow->references, 1);
	(void)snprintf(follow->path, sizeof(follow->path), "%s", path);
	(void)snprintf(
	    follow->store, sizeof(follow->store), "%s", store ? store : "");
	memcpy(follow->folder, follow->path, sizeof(follow->folder));
	assert(strchr(follow->path, '/'));
	follow->name = strrchr(follow->path, '/') + 1;
	follow->folder[follow->name - follow->path] = '\0';
	follow->inotify_fd = inotify_fd;
	follow->begin_at_end = begin_at_end;
	*ret_follow = follow;
	return 0;
}

struct follow *
follow_ref(struct follow *follow)
{
	(void)atomic_fetch_add(&follow->references, 1); /* not 0 before */
	return follow;
}

void
follow_unref(void *arg)
{
	struct follow *follow = arg;
	size_t i;

	if (atomic_fetch_sub(&follow->references, 1) > 1)
		return;
	for (i = 0; i < follow->count; i++)
		(void)close(follow->sources[i].fd); /* was only read */
	if (follow->inotify_fd >= 0)
		(void)close(follow->inotify_fd);
	memory_free(follow);
}

struct follow_look *
follow_result(struct follow *follow)
{
	return &follow->look;
}

/* An open regular file becomes the last of the row. */
static void
follow_append(
    struct follow *follow, int fd, const struct stat *st, int64_t offset)
{
	struct source *source = &follow->sources[follow->count++];
	char self[32];

	assert(follow->count <= FOLLOW_FILES_MAX);
	*source = (struct source){ .fd = fd, .watch = -1 };
	source->at.device = st->st_dev;
	source->at.inode = st->st_ino;
	source->at.offset = offset;
	place_mark(&source->at, fd);
	/*
	 * This file, not who has the name by now: one that was rotated would
	 * have its successor's watch, and take it along.  Without a watch it
	 * is looked at now and then.
	 */
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* fits */
	if (follow->inotify_fd >= 0)
		source->watch = inotify_add_watch(follow->inotify_fd, self,
		    IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB);
}

static void
follow_drop_first(struct follow *follow)
{
	struct source *first = &follow->sources[0];

	assert(follow->count > 0);
	if (first->watch >= 0) /* fails where the file is gone */
		(void)inotify_rm_watch(follow->inotify_fd, first->watch);
	(void)close(first->fd); /* was only read */
	follow->done[follow->done_next++ % FOLLOW_DONE_MAX] = first->at;
	follow->count--;
	memmove(first, first + 1, follow->count * sizeof(*first));
}

/* -errno, -EISDIR for a folder, -EINVAL for what else is no file. */
static int
follow_open(const char *path, int *ret_fd, struct stat *ret_st)
{
	/* A pipe without a writer would make us wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, ret_st) < 0)
		error = -errno;
	else if (S_ISDIR(ret_st->st_mode))
		error = -EISDIR;
	else if (!S_ISREG(ret_st->st_mode))
		error = -EINVAL;
	if (error < 0)
		(void)close(fd); /* was not even read */
	else
		*ret_fd = fd;
	return error;
}

/* The file of the place, under another name of the folder's. */
static void
follow_find_rotated(struct follow *follow, const struct place *place)
{
	DIR *folder = opendir(follow->folder);
	struct dirent *entry;
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (!folder)
		return;
	while ((entry = readdir(folder)) && follow->count == 0) {
		if (entry->d_ino != place->inode ||
		    strncmp(
			entry->d_name, follow->name, strlen(follow->name)) != 0)
			continue;
		if (snprintf(path, sizeof(path), "%s%s", follow->folder,
			entry->d_name) >= (int)sizeof(path) ||
		    follow_open(path, &fd, &st) < 0)
			continue;
		if (place_fits(place, fd, &st))
			follow_append(follow, fd, &st, place->offset);
		else
			(void)close(fd); /* was only read */
	}
	(void)closedir(folder); /* was only read */
}

/* The first look: where to go on. */
static void
follow_begin(struct follow *follow)
{
	struct place place;
	struct stat st;
	int fd;
	bool known = follow->store[0] &&
		     place_load(&place, follow->store, follow->path) == 0;

	follow->begun = true;
	if (follow_open(follow->path, &fd, &st) < 0) {
		if (known)
			follow_find_rotated(follow, &place);
		return; /* whatever appears is new */
	}
	if (known && place_fits(&place, fd, &st)) {
		follow_append(follow, fd, &st, place.offset);
		return;
	}
	if (known)
		follow_find_rotated(follow, &place);
	follow_append(
	    follow, fd, &st, follow->begin_at_end && !known ? st.st_size : 0);
}

/* Is it in the row?  While it is open nobody else has its number. */
static bool
follow_has(const struct follow *follow, const struct stat *st)
{
	size_t i;

	for (i = 0; i < follow->count; i++)
		if (follow->sources[i].at.inode == st->st_ino &&
		    follow->sources[i].at.device == st->st_dev)
			return true;
	return false;
}

/* Was it in the row?  Numbers are used again, so its bytes have to fit, too. */
static bool
follow_had(const struct follow *follow, int fd, const struct stat *st)
{
	size_t i;

	for (i = 0; i < FOLLOW_DONE_MAX; i++)
		if (follow->done[i].inode != 0 &&
		    place_fits(&follow->done[i], fd, st))
			return true;
	return false;
}

/*
 * Those that had the name since the last look and were moved away, in their
 * order.  Comes after the name was looked at: whoever had it before whoever
 * has it now was moved before, and its event is there.
 */
static void
follow_take_moved(struct follow *follow)
{
	struct changes *changes = &follow->changes;
	char path[PATH_MAX];
	struct stat st;
	size_t i;
	int fd;

	for (i = 0; i < changes->count && follow->count < FOLLOW_FILES_MAX;
	     i++) {
		if (snprintf(path, sizeof(path), "%s%s", follow->folder,
			changes->names[i]) >= (int)sizeof(path) ||
		    follow_open(path, &fd, &st) < 0)
			continue;
		if (follow_has(follow, &st) || follow_had(follow, fd, &st))
			(void)close(fd); /* was not even read */
		else
			follow_append(follow, fd, &st, 0);
	}
	changes_drop(changes, i); /* the next look has room for the others */
	follow->look.missed = changes->forgotten;
}

static void
follow_read_events(struct follow *follow)
{
	char data[FOLLOW_EVENTS_BYTES]
	    __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while (follow->inotify_fd >= 0 &&
	       (n = read(follow->inotify_fd, data, sizeof(data))) > 0)
		(void)changes_take(
		    &follow->changes, data, (size_t)n, follow->name);
}

/* Whoever has the name now is the last of the row. */
static int
follow_take_name(struct follow *follow)
{
	struct stat st;
	int fd, error = 0;

	if (stat(follow->path, &st) < 0)
		error = -errno;
	follow_read_events(follow);
	follow_take_moved(follow);
	if (error < 0 || follow_has(follow, &st) ||
	    follow->count == FOLLOW_FILES_MAX) /* the next look has more room */
		return error;
	error = follow_open(follow->path, &fd, &st);
	if (error == 0 && follow_has(follow, &st))
		(void)close(fd); /* another one by now, and not new either */
	else if (error == 0)
		follow_append(follow, fd, &st, 0);
	return error;
}

/* The next one has been begun: nobody writes to the first any more. */
static bool
follow_has_successor(const struct follow *follow)
{
	struct stat st;

	if (follow->count > 2)
		return true;
	return follow->count == 2 && fstat(follow->sources[1].fd, &st) == 0 &&
	       st.st_size > 0;
}

static void
follow_check_truncated(struct follow *follow, struct source *source)
{
	struct stat st;

	if (fstat(source->fd, &st) < 0 ||
	    place_fits(&source->at, source->fd, &st))
		return;
	source->at.offset = 0;
	source->at.mark_len = 0;
	follow->look.fresh = follow->look.truncated = true;
}

static void
follow_read(struct follow *follow)
{
	struct follow_look *look = &follow->look;

	while (follow->count > 0) {
		bool left = follow_has_successor(follow);
		struct source *source = &follow->sources[0];
		ssize_t n;

		follow_check_truncated(follow, source);
		n = pread(source->fd, follow->data, sizeof(follow->data),
		    source->at.offset);
		look->at = source->at;
		if (n < 0)
			look->error = -errno;
		if (n > 0) {
			look->data = follow->data;
			look->len = (size_t)n;
			source->at.offset += n;
			place_mark(&source->at, source->fd);
			return;
		}
		if (!left)
			return;
		follow_drop_first(follow);
		look->fresh = true;
	}
}

static void
follow_save(struct follow *follow)
{
	struct follow_look *look = &follow->look;
	size_t i;

	look->place.mark_len = 0; /* unless we still have the file */
	for (i = 0; i < follow->count; i++)
		if (follow->sources[i].at.inode == look->place.inode &&
		    follow->sources[i].at.device == look->place.device) {
			place_mark(&look->place, follow->sources[i].fd);
			break;
		}
	look->save_error =
	    place_save(&look->place, follow->store, follow->path);
}

void
follow_look(struct follow *follow)
{
	struct follow_look *look = &follow->look;
	bool first = !follow->begun;

	look->fresh = look->truncated = false;
	look->data = NULL;
	look->len = 0;
	look->at = (struct place){ 0 };
	look->save_error = 0;
	if (look->save && follow->store[0])
		follow_save(follow);
	/* Before the file is looked for: whatever comes later is told. */
	if ((first || look->rescan) && follow->inotify_fd >= 0)
		(void)inotify_add_watch(follow->inotify_fd, follow->folder,
		    IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
	if (first) {
		follow_read_events(follow);
		follow->changes.count = 0; /* of no concern yet */
		follow_begin(follow);
	}
	look->error = follow_take_name(follow);
	if (follow->count > 0)
		follow_read(follow);
}
