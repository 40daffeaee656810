/*
 * state: the file, its lock, and how it is replaced.
 *
 * The lock is on the file itself, not on one beside it that would stay
 * behind.  Since each save makes another file, the new one is locked before
 * it gets the name; and who has got a lock looks whether the name still means
 * the file it has locked.
 *
 * What can go wrong: the process dies between any two steps.  Then the name
 * means the old file or the new one, both whole; an unfinished new one lies
 * beside it and is overwritten by the next save.
 */

#include "daemon/ctl/state.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT ".new"
#define READ_BYTES 65536
#define ATTEMPTS_MAX 100 /* each lost to a save of somebody else's */

/* path has no symbolic links.  Where the file is, for the saves to come. */
static int
open_folder(struct state *state, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash + 1;
	char *folder;
	int error = 0;

	assert(path[0] == '/');
	if (strlen(name) + strlen(NEXT) > NAME_MAX)
		return -ENAMETOOLONG;
	(void)snprintf(state->name, sizeof(state->name), "%s", name);
	(void)snprintf(state->next, sizeof(state->next), "%s" NEXT, name);
	folder = slash == path ? memory_dup("/", 2)
			       : memory_dup(path, (size_t)(name - path));
	if (folder == NULL)
		return -ENOMEM;
	if (slash != path)
		folder[slash - path] = '\0';
	state->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state->folder < 0)
		error = -errno;
	memory_free(folder);
	return error;
}

/* 1: locked, and the name means it; 0: it does not any more. */
static int
lock(struct state *state)
{
	struct stat mine, named;

	if (fstat(state->file, &mine) < 0)
		return -errno;
	if (!S_ISREG(mine.st_mode))
		return -EINVAL;
	if (flock(state->file, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	state->mode = mine.st_mode & 0777;
	if (fstatat(state->folder, state->name, &named, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

static int
open_once(struct state *state, const char *path)
{
	char *real;
	int error;

	/* Not waiting: a FIFO is none of ours, and is refused below. */
	state->file = open(
	    path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	if (state->file < 0)
		return -errno;
	real = realpath(path, NULL);
	if (real == NULL)
		return errno == ENOENT ? 0 : -errno;
	error = open_folder(state, real);
	free(real); /* the C library's */
	return error < 0 ? error : lock(state);
}

static int
read_all(int file, struct buffer *text)
{
	uint8_t *piece = memory_alloc(READ_BYTES);
	int error = piece == NULL ? -ENOMEM : 0;
	ssize_t n = 1;

	while (error == 0 && n != 0) {
		n = read(file, piece, READ_BYTES);
		if (n < 0 && errno != EINTR)
			error = -errno;
		else if (n > 0)
			error = buffer_append(
			    text, piece, (size_t)n, STATE_BYTES_MAX);
	}
	memory_free(piece);
	return error == -EMSGSIZE ? -EFBIG : error;
}

int
state_open(struct state *state, const char *path, struct buffer *text)
{
	unsigned attempts = 0;
	int error;

	assert(text->len == 0);
	*state = (struct state){ .file = -EBADF, .folder = -EBADF };
	while ((error = open_once(state, path)) == 0) {
		state_close(state);
		if (++attempts == ATTEMPTS_MAX)
			return -EAGAIN;
	}
	if (error > 0)
		error = read_all(state->file, text);
	if (error < 0)
		state_close(state);
	return error < 0 ? error : 0;
}

void
state_close(struct state *state)
{
	if (state->file >= 0)
		(void)close(state->file); /* it was only read */
	if (state->folder >= 0)
		(void)close(state->folder); /* likewise */
	state->file = state->folder = -EBADF;
}

static int
write_all(int file, const uint8_t *data, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(file, data, len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return fsync(file) < 0 ? -errno : 0;
}

int
state_save(struct state *state, const void *text, size_t len)
{
	int file, error;

	assert(state->file >= 0);
	assert(state->folder >= 0);
	file = openat(state->folder, state->next,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return -errno;
	error = flock(file, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (error == 0 && fchmod(file, state->mode) < 0)
		error = -errno;
	if (error == 0)
		error = write_all(file, text, len);
	if (error == 0 && renameat(state->folder, state->next, state->folder,
			      state->name) < 0)
		error = -errno;
	if (error < 0) {
		(void)close(file); /* what it did not take is no loss */
		(void)unlinkat(state->folder, state->next, 0); /* likewise */
		return error;
	}
	(void)close(state->file); /* the old one, only read */
	state->file = file;
	return fsync(state->folder) < 0 ? -errno : 0;
}
