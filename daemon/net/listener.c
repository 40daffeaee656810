/*
 * Listening sockets, our own or passed to us (passed.c): bind, accept, adopt.
 *
 * libwebsockets could listen by itself, but accepts without CLOEXEC, cannot
 * be given systemd's sockets in 4.3, and unlinks unix paths; see daemon/lws.
 *
 * A socket that was passed belongs to who passed it: we accept from it and at
 * the end close our descriptor, no more.  It is never shut down and its path
 * never unlinked, so what connects meanwhile waits for our successor.
 *
 * What can go wrong while accepting:
 * - connections_max reached: accepted and closed at once, counted, so that
 *   the backlog does not hide it from the client;
 * - heads_max requests being read: accepting pauses until one is through;
 * - no descriptor or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): accepting
 *   pauses for ACCEPT_RETRY_US, one log line; spinning would cost the others.
 */

#include "daemon/base/clock.h"
#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_RETRY_US ES_MS(100)
#define LISTEN_BACKLOG 4096 /* the kernel cuts it to somaxconn */
#define UNIX_MODE 0660

static void
fault(struct net_fault *ret_fault, const struct conf_listener *conf,
    const char *what, int error)
{
	(void)snprintf(ret_fault->text, sizeof(ret_fault->text),
	    "listener%s%s: %s: %s: %s", *conf->name ? " " : "", conf->name,
	    conf->address, what, strerror(error));
	ret_fault->configuration = false;
}

static void
pause_accepting(struct net *net, bool control)
{
	size_t i;

	net->accept_paused = true;
	for (i = 0; i < net->listener_count; i++) {
		if (net->listeners[i].control && !control)
			continue;
		es_watch_free(net->listeners[i].watch);
		net->listeners[i].watch = NULL;
	}
}

static void
on_accept_retry(void *arg)
{
	struct net *net = arg;

	glue_on_loop(net->glue);
	es_call_unref(net->accept_retry);
	net->accept_retry = NULL;
	listeners_resume(net);
}

static void
accept_failed(struct net *net, int error) LOOP_THREAD
{
	if (error == EAGAIN && net->accept_failures > 0) {
		log_info("accept: nobody waits any more, after %" PRIu64
			 " failures",
		    net->accept_failures);
		net->accept_failures = 0;
	}
	if (error == EAGAIN || error == ECONNABORTED || error == EINTR)
		return;
	net->counts.accept_errors++;
	if (net->accept_failures++ == 0)
		log_event(LOG_LEVEL_WARN,
		    &(struct log_about){ .event = EVENT_ACCEPT_PAUSED },
		    "accept: %s; trying again every %d ms", strerror(error),
		    (int)(ACCEPT_RETRY_US / ES_MS(1)));
	if (net->accept_retry != NULL)
		return;
	pause_accepting(net, true);
	if (es_call_later(net->loop, ACCEPT_RETRY_US, "accept retry",
		on_accept_retry, net, NULL, &net->accept_retry) < 0)
		listeners_resume(net); /* no memory for a timer: no pause */
}

static void
adopt(struct listener *listener, int fd) LOOP_THREAD
{
	struct net *net = listener->net;
	const bool tls = listener->conf->tls;
	struct conn *conn;
	const int on = 1;

	if (listener->conf->kind == CONF_ADDRESS_IP)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
		    sizeof(on)); /* only speed depends on it */
	if (conn_new(net, listener, fd, &conn) < 0) {
		(void)close(fd);
		net->counts.accept_errors++;
		return;
	}
	net->counts.accepted++;
	/* On failure WSI_DESTROY may have freed it: it unsets the slot. */
	const uint32_t slot = conn->slot, generation = conn->generation;
	if (glue_adopt(net->glue, listener->vhost, fd, tls, conn, &conn->wsi) <
	    0) {
		net->counts.accept_errors++;
		if (net->slots[slot] == conn &&
		    net->generations[slot] == generation)
			conn_free(conn);
	}
}

static bool
is_full(const struct listener *listener)
{
	const struct net *net = listener->net;
	const uint64_t control = net->control.conn_count;

	if (listener->control)
		return control >= CONTROL_CONNECTIONS_MAX;
	return net->conn_count - control >=
	       (uint64_t)net->conf->limits.connections_max;
}

static bool
accept_one(struct listener *listener) LOOP_THREAD
{
	struct net *net = listener->net;
	const int fd =
	    accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		accept_failed(net, errno);
		return false;
	}
	if (is_full(listener)) {
		if (listener->control)
			net->counts.refused_control++;
		else
			net->counts.refused_connections++;
		(void)close(fd);
		return true;
	}
	adopt(listener, fd);
	return true;
}

static void
on_connections(int fd, unsigned what, void *arg)
{
	struct listener *listener = arg;
	struct net *net = listener->net;
	int64_t i;

	(void)fd;
	(void)what;
	glue_on_loop(net->glue);
	for (i = 0; i < net->conf->limits.accepts_per_iteration_max; i++) {
		if (!listener->control &&
		    net->state_counts[CONN_HANDSHAKE] >=
			(uint64_t)net->conf->limits.heads_max) {
			net->counts.refused_heads++;
			pause_accepting(net, false);
			return;
		}
		if (!accept_one(listener))
			return;
	}
	net->counts.accepts_cut++;
}

void
listeners_resume(struct net *net)
{
	size_t i;

	if (net->accept_retry != NULL)
		return;
	net->accept_paused = false;
	for (i = 0; i < net->listener_count; i++) {
		struct listener *listener = &net->listeners[i];

		if (!net->listening && !listener->control)
			continue;
		if (listener->watch == NULL && listener->fd >= 0 &&
		    es_watch_new(net->loop, "accept", listener->fd, ES_READ,
			on_connections, listener, &listener->watch) < 0)
			log_error("listener %s cannot be watched",
			    listener->conf->address);
	}
}

/*
 * A socket nobody answers on is a leftover and may go; a file of another kind
 * answers nobody either, and stays.  One whose backlog is full is in use.
 */
static int
unlink_stale(const struct sockaddr_un *address)
{
	struct stat found;
	int fd, error = 0;

	if (lstat(address->sun_path, &found) < 0 || !S_ISSOCK(found.st_mode))
		return 0; /* bind() tells */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) ==
	    0)
		error = -EADDRINUSE;
	else if (errno == ECONNREFUSED && unlink(address->sun_path) < 0)
		error = -errno;
	(void)close(fd);
	return error;
}

static int
bind_unix(struct listener *listener, const char **ret_what)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = listener->conf->path;
	int error;

	*ret_what = "bind";
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	(void)strcpy(address.sun_path, path);
	error = unlink_stale(&address);
	if (error < 0)
		return error;
	listener->fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return -errno;
	if (bind(listener->fd, (const struct sockaddr *)&address,
		sizeof(address)) < 0)
		return -errno;
	listener->unlink_path = true;
	if (chmod(path, UNIX_MODE) < 0)
		return -errno;
	return 0;
}

static int
bind_ip(struct listener *listener, const char **ret_what)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *info;
	const int on = 1;
	char port[8];
	int error = 0;

	(void)snprintf(port, sizeof(port), "%u", listener->conf->port);
	*ret_what = "address";
	if (getaddrinfo(listener->conf->host, port, &hints, &info) != 0)
		return -EADDRNOTAVAIL;
	*ret_what = "bind";
	listener->fd = socket(
	    info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		error = -errno;
	if (error == 0) {
		(void)setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on,
		    sizeof(on)); /* bind() tells what matters */
		if (info->ai_family == AF_INET6)
			(void)setsockopt(listener->fd, IPPROTO_IPV6,
			    IPV6_V6ONLY, &on, sizeof(on));
		if (bind(listener->fd, info->ai_addr, info->ai_addrlen) < 0)
			error = -errno;
	}
	freeaddrinfo(info);
	return error;
}

/* The port may have been 0: say which one it became. */
static void
announce(const struct listener *listener)
{
	const bool ip = listener->conf->kind == CONF_ADDRESS_IP;
	const char *scheme = listener->conf->tls ? "wss://" : "ws://";
	char address[160];

	(void)listener_address(listener->fd, address, sizeof(address));
	log_info("%s%s on %s%s", listener->passed ? "passed to us, " : "",
	    listener->control ? "control" : "listening", ip ? scheme : "",
	    address);
}

static int
listener_open(struct listener *listener, struct net_fault *ret_fault)
{
	const char *what = "bind";
	int error;

	error = listener->conf->kind == CONF_ADDRESS_UNIX
		    ? bind_unix(listener, &what)
		    : bind_ip(listener, &what);
	if (error == 0 && listen(listener->fd, LISTEN_BACKLOG) < 0) {
		what = "listen";
		error = -errno;
	}
	if (error < 0)
		fault(ret_fault, listener->conf, what, -error);
	return error;
}

static void
listener_close(struct listener *listener)
{
	es_watch_free(listener->watch);
	listener->watch = NULL;
	if (listener->fd >= 0)
		(void)close(listener->fd);
	listener->fd = -1;
	if (listener->unlink_path)
		(void)unlink(listener->conf->path);
	listener->unlink_path = false;
}

/* Without one that nobody asked for the daemon goes on. */
static int
open_control(struct listener *listener, struct net_fault *ret_fault)
{
	const int error = listener_open(listener, ret_fault);

	if (error == 0 || listener->net->control.roof.must)
		return error;
	log_warn("%s; nobody can control this daemon", ret_fault->text);
	listener_close(listener);
	return 0;
}

int
listeners_open(struct net *net, const struct net_socket *sockets, size_t count,
    struct net_fault *ret_fault)
{
	int error = listeners_make(net, sockets, count, ret_fault);
	size_t i;

	for (i = 0; i < net->listener_count && error == 0; i++)
		if (net->listeners[i].control)
			error = open_control(&net->listeners[i], ret_fault);
		else if (!net->listeners[i].passed)
			error = listener_open(&net->listeners[i], ret_fault);
	if (error < 0) {
		listeners_close(net);
		control_close(net);
		return error;
	}
	for (i = 0; i < net->listener_count; i++)
		if (net->listeners[i].fd >= 0)
			announce(&net->listeners[i]);
	net->listening = true;
	listeners_resume(net);
	return 0;
}

void
listeners_close(struct net *net)
{
	size_t i;

	net->listening = false;
	if (net->accept_retry != NULL) {
		(void)es_call_cancel(net->accept_retry); /* on its thread */
		es_call_unref(net->accept_retry);
		net->accept_retry = NULL;
	}
	for (i = 0; i < net->listener_count; i++) {
		if (!net->listeners[i].control)
			listener_close(&net->listeners[i]);
	}
	listeners_resume(net); /* control, if it rested */
}

void
control_close(struct net *net)
{
	size_t i;

	for (i = 0; i < net->listener_count; i++)
		if (net->listeners[i].control)
			listener_close(&net->listeners[i]);
}

void
net_each_listener(
    struct net *net, void (*put)(const char *address, void *arg), void *arg)
{
	char text[160];
	size_t i;

	for (i = 0; i < net->listener_count; i++)
		if (net->listeners[i].fd >= 0 && !net->listeners[i].control)
			put(listener_address(
				net->listeners[i].fd, text, sizeof(text)),
			    arg);
}
