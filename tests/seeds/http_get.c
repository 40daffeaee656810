#include "tests/seeds/http_get.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/loop/loop.h"

#define ANSWER_BYTES_MAX 4096
#define PATIENCE_MS 30000

static int
wait_for(int fd, unsigned what)
{
	struct pollfd p = { .fd = fd };
	int r;

	if (es_task_current())
		return es_await_fd(fd, what, ES_MS(PATIENCE_MS));
	p.events = what == ES_READ ? POLLIN : POLLOUT;
	r = poll(&p, 1, PATIENCE_MS);
	return r > 0 ? 1 : r == 0 ? -ETIMEDOUT : -errno;
}

static int
connect_to(int fd, unsigned short port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(int);
	int r, error = 0;

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	r = wait_for(fd, ES_WRITE);
	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

/* Until the server closes.  How many bytes. */
static int
read_all(int fd, char *answer, size_t size)
{
	size_t len = 0;

	for (;;) {
		int r = wait_for(fd, ES_READ);
		ssize_t n;

		if (r < 0)
			return r;
		n = read(fd, answer + len, size - len);
		if (n == 0)
			return (int)len;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
		if (len == size)
			return -EMSGSIZE;
	}
}

static int
take_body(const char *answer, size_t len, char *body, size_t size)
{
	static const char ok[] = "HTTP/1.1 200 ";
	const char *end = memmem(answer, len, "\r\n\r\n", 4);
	size_t n;

	if (!end || strncmp(answer, ok, sizeof(ok) - 1) != 0)
		return -EPROTO;
	end += 4;
	n = len - (size_t)(end - answer);
	if (n >= size)
		return -EMSGSIZE;
	memcpy(body, end, n);
	body[n] = '\0';
	return (int)n;
}

int
http_get(unsigned short port, const char *path, char *body, size_t size)
{
	char text[ANSWER_BYTES_MAX];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int len, r;

	if (fd < 0)
		return -errno;
	r = connect_to(fd, port);
	len = snprintf(text, sizeof(text),
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
	if (r == 0 && send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		r = -EIO;
	if (r == 0)
		r = read_all(fd, text, sizeof(text));
	close(fd);
	return r < 0 ? r : take_body(text, (size_t)r, body, size);
}
