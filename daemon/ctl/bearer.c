/*
 * The token: one line of a file, or EARSHOT_TOKEN.
 *
 * What can go wrong: a file that is not there or holds something else, told by
 * its name and never by what is in it; a pipe that says nothing, for which
 * only the first reading waits.
 */

#include "daemon/ctl/bearer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (BEARER_BYTES_MAX + 2) /* and a line end */

/* b64token of RFC 6750: nothing that could end the header's line. */
static bool
is_token(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') ||
			(text[i] >= 'A' && text[i] <= 'Z') ||
			(text[i] >= 'a' && text[i] <= 'z') ||
			(text[i] != '\0' && strchr("-._~+/=", text[i]))))
			return false;
	return len > 0 && len <= BEARER_BYTES_MAX;
}

static bool
take(struct bearer *bearer, const char *text, size_t len)
{
	char *at = bearer->header + strlen(BEARER_NAME);

	if (!is_token(text, len))
		return false;
	memcpy(bearer->header, BEARER_NAME, strlen(BEARER_NAME));
	memcpy(at, text, len);
	at[len] = '\0';
	return true;
}

/* Up to the end; their number or -errno. */
static ssize_t
read_all(int fd, char *text, size_t size, int wait_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n == 0)
			break;
		if (n > 0) {
			len += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (poll(&poll_fd, 1, wait_ms) == 0)
			return -ETIMEDOUT;
	}
	return (ssize_t)len;
}

/* -EINVAL: what is in there is no token. */
static int
read_file(struct bearer *bearer, int wait_ms)
{
	char text[FILE_BYTES_MAX + 1];
	int fd =
	    open(bearer->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t len;
	bool taken = false;

	if (fd < 0)
		return -errno;
	len = read_all(fd, text, sizeof(text), wait_ms);
	(void)close(fd); /* it was only read */
	if (len > 0 && text[len - 1] == '\n')
		len -= len > 1 && text[len - 2] == '\r' ? 2 : 1;
	if (len > 0)
		taken = take(bearer, text, (size_t)len);
	explicit_bzero(text, sizeof(text));
	return taken ? 0 : len < 0 ? (int)len : -EINVAL;
}

bool
bearer_init(struct bearer *bearer, const struct ctl_options *options,
    char text[static CTL_TEXT_MAX])
{
	const char *given = options->token_text;
	int error;

	bearer->path = options->token_path;
	bearer->header[0] = '\0';
	if (bearer->path != NULL) {
		error = read_file(bearer, BEARER_WAIT_MS);
		if (error == 0)
			return true;
		(void)snprintf(text, CTL_TEXT_MAX, "--token-file %s: %s",
		    bearer->path,
		    error == -EINVAL ? "no token, expected one in one line"
				     : strerror(-error));
		return false;
	}
	if (given == NULL || take(bearer, given, strlen(given)))
		return true;
	(void)snprintf(text, CTL_TEXT_MAX, "EARSHOT_TOKEN: no token");
	return false;
}

void
bearer_again(struct bearer *bearer)
{
	if (bearer->path != NULL)
		(void)read_file(bearer, 0); /* it stays what it was */
}

void
bearer_fini(struct bearer *bearer)
{
	explicit_bzero(bearer, sizeof(*bearer));
}

const char *
bearer_header(const struct bearer *bearer)
{
	return bearer->header[0] != '\0' ? bearer->header : NULL;
}
