/*
 * bind: the happy path is socket(), bind(), chmod(), listen().
 *
 * - The path is there: if nobody answers at it, it was left by somebody who
 *   was killed, and is removed; a socket that answers, or another kind of
 *   file, is not touched.
 * - Between bind() and chmod() nobody gets in: the socket is made with the
 *   permissions it is to have, less what our umask takes.
 */

#include "daemon/feed/bind.h"
#include "daemon/base/memory.h"
#include "proto/decimal.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BIND_NAME_BYTES_MAX 65 /* of a user or group, with its NUL */
#define BIND_LOOKUP_BYTES 16384

struct bind_request {
	char path[108], owner[BIND_NAME_BYTES_MAX], group[BIND_NAME_BYTES_MAX];
	int type;
	mode_t mode;
};

int
bind_request_new(
    const struct conf_socket *conf, struct bind_request **ret_request)
{
	struct bind_request *request = memory_zalloc(sizeof(*request));

	if (!request)
		return -ENOMEM;
	assert(strlen(conf->path) < sizeof(request->path));
	(void)snprintf(request->path, sizeof(request->path), "%s", conf->path);
	(void)snprintf(request->owner, sizeof(request->owner), "%s",
	    conf->owner ? conf->owner : "");
	(void)snprintf(request->group, sizeof(request->group), "%s",
	    conf->group ? conf->group : "");
	request->type =
	    conf->kind == CONF_SOCKET_STREAM ? SOCK_STREAM : SOCK_DGRAM;
	request->mode = (mode_t)conf->mode;
	*ret_request = request;
	return 0;
}

void
bind_request_free(void *request)
{
	memory_free(request);
}

/* Of a user or group; the last of them is nobody's. */
static bool
is_number(const char *text, int64_t *ret)
{
	return decimal_get(text, strlen(text), ret) == 0 && *ret < UINT32_MAX;
}

static int
find_user(const char *name, uid_t *ret)
{
	char data[BIND_LOOKUP_BYTES];
	struct passwd user, *found = NULL;
	int64_t number;

	if (is_number(name, &number)) {
		*ret = (uid_t)number;
		return 0;
	}
	if (getpwnam_r(name, &user, data, sizeof(data), &found) != 0 || !found)
		return -EUSERS;
	*ret = found->pw_uid;
	return 0;
}

static int
find_group(const char *name, gid_t *ret)
{
	char data[BIND_LOOKUP_BYTES];
	struct group group, *found = NULL;
	int64_t number;

	if (is_number(name, &number)) {
		*ret = (gid_t)number;
		return 0;
	}
	if (getgrnam_r(name, &group, data, sizeof(data), &found) != 0 || !found)
		return -EUSERS;
	*ret = found->gr_gid;
	return 0;
}

static int
set_owner(const struct bind_request *request)
{
	uid_t user = (uid_t)-1;
	gid_t group = (gid_t)-1;
	int error = 0;

	if (request->owner[0])
		error = find_user(request->owner, &user);
	if (error == 0 && request->group[0])
		error = find_group(request->group, &group);
	if (error == 0 && (user != (uid_t)-1 || group != (gid_t)-1) &&
	    chown(request->path, user, group) < 0)
		error = -errno;
	return error;
}

/* Somebody who was killed has left it: it goes away. */
static int
remove_stale(const struct sockaddr_un *address, int type)
{
	struct stat st;
	int fd, error = 0;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) ==
		0 ||
	    errno != ECONNREFUSED)
		error = -EADDRINUSE; /* also one of the other kind */
	(void)close(fd); /* nothing was said */
	if (error == 0 && unlink(address->sun_path) < 0 && errno != ENOENT)
		error = -errno;
	return error;
}

static int
bind_path(const struct bind_request *request, struct bound *bound)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int error;

	memcpy(address.sun_path, request->path, sizeof(request->path));
	error = remove_stale(&address, request->type);
	if (error < 0)
		return error;
	if (fchmod(bound->fd, request->mode) < 0 ||
	    bind(bound->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    lstat(request->path, &st) < 0)
		return -errno;
	memcpy(bound->path, request->path, sizeof(bound->path));
	bound->device = st.st_dev;
	bound->inode = st.st_ino;
	error = set_owner(request);
	if (error == 0 && chmod(request->path, request->mode) < 0)
		error = -errno;
	if (error == 0 && request->type == SOCK_STREAM &&
	    listen(bound->fd, SOMAXCONN) < 0)
		error = -errno;
	return error;
}

const char *
bind_words(int error)
{
	if (error == -EEXIST)
		return "something else has its path";
	if (error == -EUSERS)
		return "no such user or group";
	return strerrordesc_np(-error);
}

int
bind_job(void *arg, es_value *ret)
{
	struct bind_request *request = arg;
	struct bound *bound = memory_zalloc(sizeof(*bound));
	int error;

	if (!bound) {
		memory_free(request);
		return -ENOMEM;
	}
	bound->fd =
	    socket(AF_UNIX, request->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	error = bound->fd < 0 ? -errno : bind_path(request, bound);
	memory_free(request);
	if (error < 0)
		bound_drop(bound);
	else
		*ret = ES_PTR(bound, bound_drop);
	return error;
}

void
bound_drop(void *arg)
{
	struct bound *bound = arg;
	struct stat st;

	if (bound->path[0] && lstat(bound->path, &st) == 0 &&
	    st.st_dev == bound->device && st.st_ino == bound->inode)
		(void)unlink(bound->path); /* at worst it stays, and is stale */
	if (bound->fd >= 0)
		(void)close(bound->fd); /* all that came has been read */
	memory_free(bound);
}
