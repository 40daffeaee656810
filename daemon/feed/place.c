/*
 * place: written to a second file and renamed, so that a crash leaves the old
 * place or the new one.  It is not synced: after a crash of the whole machine
 * an older place may be found, and some lines come twice.
 */

#include "daemon/feed/place.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLACE_TEXT_MAX (PATH_MAX + 256)

void
place_mark(struct place *place, int fd)
{
	size_t want = PLACE_MARK_BYTES;
	ssize_t n;

	assert(place->offset >= 0);
	if ((int64_t)want > place->offset)
		want = (size_t)place->offset;
	n = want > 0 ? pread(fd, place->mark, want, place->offset - (off_t)want)
		     : 0;
	place->mark_len = n == (ssize_t)want ? want : 0;
}

bool
place_fits(const struct place *place, int fd, const struct stat *st)
{
	struct place now = { .offset = place->offset };

	if (st->st_dev != place->device || st->st_ino != place->inode ||
	    st->st_size < place->offset)
		return false;
	if (place->mark_len == 0)
		return true; /* nothing had been read, or nobody could tell */
	place_mark(&now, fd);
	return now.mark_len == place->mark_len &&
	       memcmp(now.mark, place->mark, now.mark_len) == 0;
}

static int
place_get_mark(struct place *place, const char *hex)
{
	size_t i, len = strlen(hex);
	unsigned byte;

	if (strcmp(hex, "-") == 0)
		return 0;
	if (len % 2 != 0 || len / 2 > PLACE_MARK_BYTES)
		return -EBADMSG;
	for (i = 0; i < len / 2; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return -EBADMSG;
		place->mark[i] = (uint8_t)byte;
	}
	place->mark_len = len / 2;
	return 0;
}

static int
place_get(struct place *ret_place, char *text, const char *path)
{
	char mark[2 * PLACE_MARK_BYTES + 1];
	struct place place = { 0 };
	int at = 0, error;

	text[strcspn(text, "\n")] = '\0';
	if (sscanf(text,
		"earshot-place 1 %" SCNu64 " %" SCNu64 " %" SCNd64 " %64s %n",
		&place.device, &place.inode, &place.offset, mark, &at) != 4 ||
	    at == 0 || place.offset < 0)
		return -EBADMSG;
	if (strcmp(text + at, path) != 0)
		return -ENOENT; /* the feed follows another file now */
	error = place_get_mark(&place, mark);
	if (error == 0)
		*ret_place = place;
	return error;
}

int
place_load(struct place *ret_place, const char *store, const char *path)
{
	char text[PLACE_TEXT_MAX];
	const ssize_t n = place_read(store, text, sizeof(text) - 1);

	if (n < 0)
		return (int)n;
	text[n] = '\0';
	return place_get(ret_place, text, path);
}

ssize_t
place_read(const char *store, char *text, size_t size)
{
	int fd = open(store, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size);
	(void)close(fd); /* was only read */
	return n < 0 ? -EIO : n;
}

int
place_write(const char *store, const char *text, size_t len)
{
	char name[PATH_MAX];
	ssize_t n;
	int fd, error = 0;

	if (snprintf(name, sizeof(name), "%s.new", store) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n != (ssize_t)len)
		error = n < 0 ? -errno : -ENOSPC;
	if (close(fd) < 0 && error == 0)
		error = -errno;
	if (error == 0 && rename(name, store) < 0)
		error = -errno;
	return error;
}

int
place_save(const struct place *place, const char *store, const char *path)
{
	char text[PLACE_TEXT_MAX], mark[2 * PLACE_MARK_BYTES + 1] = "-";
	size_t i;
	int len;

	for (i = 0; i < place->mark_len; i++)
		(void)snprintf(mark + 2 * i, 3, "%02x", place->mark[i]);
	len = snprintf(text, sizeof(text),
	    "earshot-place 1 %" PRIu64 " %" PRIu64 " %" PRId64 " %s %s\n",
	    place->device, place->inode, place->offset, mark, path);
	if (len >= (int)sizeof(text))
		return -ENAMETOOLONG;
	return place_write(store, text, (size_t)len);
}
