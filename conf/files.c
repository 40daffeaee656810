/*
 * Configuration files: one, and the drop-ins in the folder that bears its name.
 *
 * - A file that cannot be read is a fault like any other: the rest is read.
 * - No drop-ins is the usual case, so a folder that is not there is no fault.
 * - A pipe will do for a file (`-c <(...)`), so its size is learnt by reading.
 */

#include "conf/conf_internal.h"
#include "daemon/base/io.h"
#include "daemon/base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One byte more than may be, so that conf_read_text() sees what is too long. */
static ssize_t
read_file(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = io_read_all(fd, data, size);
	(void)close(fd); /* it was only read */
	return len;
}

static void
fault_unreadable(const char *path, const char *expected, int error,
    conf_fault_fn fault, void *arg)
{
	struct reader reader = { .file = path, .fault = fault, .arg = arg };

	reader_fault(
	    &reader, "%s, expected %s", strerrordesc_np(-error), expected);
}

static int
read_one(struct conf *conf, const char *path, conf_fault_fn fault, void *arg)
{
	size_t size = CONF_FILE_BYTES_MAX + 1;
	char *data = memory_alloc(size);
	ssize_t len;
	int result = 1;

	if (!data)
		return -ENOMEM;
	len = read_file(path, data, size);
	if (len >= 0)
		result =
		    conf_read_text(conf, path, data, (size_t)len, fault, arg);
	else
		fault_unreadable(path, "a file to read", (int)len, fault, arg);
	memory_free(data);
	return result;
}

static bool
dropin_name(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len > 5 &&
	       strcmp(name + len - 5, ".conf") == 0;
}

/* In the order of their bytes, whatever the locale. */
static void
insert_sorted(char **names, size_t count, char *name)
{
	while (count > 0 && strcmp(names[count - 1], name) > 0) {
		names[count] = names[count - 1];
		count--;
	}
	names[count] = name;
}

/*
 * The full names of the drop-ins in folder.  Their number, -errno, -E2BIG when
 * there are more than CONF_DROPINS_MAX.  names are the caller's to free.
 */
static int
list_dropins(const char *folder, char **names)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int count = 0, error = 0;

	if (!dir)
		return -errno;
	while (error == 0 && (errno = 0, entry = readdir(dir))) {
		char name[PATH_MAX];
		int len;
		char *copy;

		if (!dropin_name(entry->d_name))
			continue;
		len = snprintf(
		    name, sizeof(name), "%s/%s", folder, entry->d_name);
		if (len >= (int)sizeof(name))
			error = -ENAMETOOLONG;
		else if (count == CONF_DROPINS_MAX)
			error = -E2BIG;
		else if (!(copy = memory_dup(name, (size_t)len + 1)))
			error = -ENOMEM;
		else
			insert_sorted(names, (size_t)count++, copy);
	}
	if (error == 0)
		error = -errno; /* of readdir() */
	(void)closedir(dir); /* it was only read */
	if (error == 0)
		return count;
	while (count > 0)
		memory_free(names[--count]);
	return error;
}

static int
read_dropins(
    struct conf *conf, const char *folder, conf_fault_fn fault, void *arg)
{
	char *names[CONF_DROPINS_MAX];
	int count = list_dropins(folder, names);
	int result = 0;

	if (count == -ENOENT)
		return 0;
	if (count == -ENOMEM)
		return -ENOMEM;
	if (count < 0) {
		fault_unreadable(folder, "a folder of at most 256 .conf files",
		    count, fault, arg);
		return 1;
	}
	for (int i = 0; i < count; i++) {
		if (result >= 0) {
			int n = read_one(conf, names[i], fault, arg);

			result = n < 0 ? n : result + n;
		}
		memory_free(names[i]);
	}
	return result;
}

int
conf_read_files(
    struct conf *conf, const char *path, conf_fault_fn fault, void *arg)
{
	char folder[PATH_MAX];
	int len = snprintf(folder, sizeof(folder), "%s.d", path);
	int faults, more;

	if (len >= (int)sizeof(folder)) {
		fault_unreadable(
		    path, "a shorter name", -ENAMETOOLONG, fault, arg);
		return 1;
	}
	faults = read_one(conf, path, fault, arg);
	if (faults < 0)
		return faults;
	more = read_dropins(conf, folder, fault, arg);
	return more < 0 ? more : faults + more;
}
