#include "tests/seeds/delay_server.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX 2048
#define BACKLOG 128
#define PATIENCE ES_S(30)

struct delay_server {
	es_loop *loop;
	es_loop_thread *thread;
	int fd;
	unsigned short port;
	es_usec delay;
	_Atomic unsigned answered, at_once, at_once_max;
};

struct connection {
	struct delay_server *server;
	int fd;
	size_t len;
	char request[REQUEST_BYTES_MAX];
};

static void
connection_free(void *arg)
{
	struct connection *c = arg;

	close(c->fd);
	free(c);
}

/* Until the empty line, or an error. */
static int
read_request(struct connection *c)
{
	while (!memmem(c->request, c->len, "\r\n\r\n", 4)) {
		ssize_t n;
		int r = es_await_fd(c->fd, ES_READ, PATIENCE);

		if (r < 0)
			return r;
		if (c->len == sizeof(c->request))
			return -EMSGSIZE;
		n = read(
		    c->fd, c->request + c->len, sizeof(c->request) - c->len);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		c->len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* It fits any send buffer, so it goes in one piece or not at all. */
static int
write_answer(struct connection *c)
{
	const char *path = memchr(c->request, ' ', c->len), *end;
	char answer[REQUEST_BYTES_MAX + 128];
	int len;

	if (!path)
		return -EPROTO;
	path++;
	end = memchr(path, ' ', c->len - (size_t)(path - c->request));
	if (!end)
		return -EPROTO;
	len = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n"
	    "Connection: close\r\n\r\n%.*s",
	    (size_t)(end - path), (int)(end - path), path);
	return send(c->fd, answer, (size_t)len, MSG_NOSIGNAL) == len ? 0 : -EIO;
}

static void
note_at_once(struct delay_server *server)
{
	unsigned n = atomic_fetch_add(&server->at_once, 1) + 1;

	/* Only this loop's thread writes it. */
	if (n > atomic_load(&server->at_once_max))
		atomic_store(&server->at_once_max, n);
}

static int
serve(void *arg, es_value *ret)
{
	struct connection *c = arg;
	struct delay_server *server = c->server;
	int r = read_request(c);

	(void)ret;
	if (r == 0) {
		note_at_once(server);
		r = es_sleep(server->delay);
		atomic_fetch_sub(&server->at_once, 1);
	}
	if (r == 0)
		r = write_answer(c);
	if (r == 0)
		atomic_fetch_add(&server->answered, 1);
	connection_free(c);
	return r == -ECANCELED ? r : 0; /* what went wrong, the client sees */
}

static int
start_serving(struct delay_server *server, int fd)
{
	struct connection *c = malloc(sizeof(*c));
	int r = -ENOMEM;

	if (!c) {
		close(fd);
		return r;
	}
	c->server = server;
	c->fd = fd;
	c->len = 0;
	r = es_spawn(server->loop, "serve", serve, c, connection_free, NULL);
	if (r < 0)
		connection_free(c);
	return r;
}

static int
accept_all(void *arg, es_value *ret)
{
	struct delay_server *server = arg;
	int r;

	(void)ret;
	while ((r = es_await_fd(server->fd, ES_READ, ES_FOREVER)) > 0) {
		int fd = accept4(
		    server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			continue; /* it went away before we came */
		r = start_serving(server, fd);
		if (r < 0)
			break;
	}
	return r;
}

static int
listen_anywhere(struct delay_server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	server->fd =
	    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server->fd < 0)
		return -errno;
	if (bind(server->fd, (struct sockaddr *)&address, len) < 0 ||
	    listen(server->fd, BACKLOG) < 0 ||
	    getsockname(server->fd, (struct sockaddr *)&address, &len) < 0)
		return -errno;
	server->port = ntohs(address.sin_port);
	return 0;
}

static int
start_thread(struct delay_server *server)
{
	int r = es_loop_new(&server->loop, &(es_loop_opts){ .name = "server" });

	if (r == 0)
		r = es_spawn(
		    server->loop, "accept", accept_all, server, NULL, NULL);
	if (r == 0)
		r = es_loop_thread_start(server->loop, &server->thread);
	return r;
}

int
delay_server_start(es_usec delay, struct delay_server **ret_server)
{
	struct delay_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->delay = delay;
	r = listen_anywhere(server);
	if (r == 0)
		r = start_thread(server);
	if (r < 0)
		delay_server_stop(server);
	else
		*ret_server = server;
	return r;
}

unsigned short
delay_server_port(const struct delay_server *server)
{
	return server->port;
}

unsigned
delay_server_answered(const struct delay_server *server)
{
	return atomic_load(&server->answered);
}

unsigned
delay_server_at_once_max(const struct delay_server *server)
{
	return atomic_load(&server->at_once_max);
}

void
delay_server_stop(struct delay_server *server)
{
	(void)es_loop_thread_stop(server->thread, ES_S(5)); /* reported */
	es_loop_unref(server->loop);
	if (server->fd >= 0)
		close(server->fd);
	free(server);
}
