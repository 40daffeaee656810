/*
 * Which listener gets which of the sockets that were passed to us, and the
 * table of listeners that follows.
 *
 * The happy path: a socket whose name is a listener's NAME is that listener's,
 * several of one name too (ListenStream= twice in one unit: IPv4 and IPv6).
 * What is left is looked for by address.  A listener without any binds by
 * itself, so the same configuration works with and without units.
 *
 * What can go wrong:
 * - a listener's socket is of the other kind, IP where a unix path is
 *   configured or the reverse: two files contradict each other, exit 1.  To
 *   take it would open to somebody what was not meant for them (a unix path's
 *   rights are those of a file), not to take it would leave the unit's clients
 *   waiting;
 * - a socket that no listener wants: a warning.  Its clients wait in vain, but
 *   those of the other listeners must not suffer from it.
 */

#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/net/net_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NOBODY SIZE_MAX

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
	struct sockaddr_storage room;
};

static int
get_address(int fd, union address *ret_address)
{
	socklen_t len = sizeof(*ret_address);

	/* A path may fill its field: then the kernel gives no NUL. */
	memset(ret_address, 0, sizeof(*ret_address));
	return getsockname(fd, &ret_address->any, &len) < 0 ? -errno : 0;
}

static const char *
put_address(const union address *address, char *out, size_t out_size)
{
	const bool v6 = address->any.sa_family == AF_INET6;
	const size_t path_max = sizeof(address->local.sun_path);
	const char *path = address->local.sun_path;
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->any.sa_family == AF_UNIX) {
		if (path[0] != '\0')
			(void)snprintf(
			    out, out_size, "unix:%.*s", (int)path_max, path);
		else
			(void)snprintf(out, out_size, "unix:@%.*s",
			    (int)path_max - 1, path + 1);
		return out;
	}
	(void)inet_ntop(address->any.sa_family,
	    v6 ? (const void *)&address->v6.sin6_addr
	       : (const void *)&address->v4.sin_addr,
	    host, sizeof(host)); /* "?" is what is left then */
	(void)snprintf(out, out_size, v6 ? "[%s]:%u" : "%s:%u", host,
	    ntohs(v6 ? address->v6.sin6_port : address->v4.sin_port));
	return out;
}

const char *
listener_address(int fd, char *out, size_t out_size)
{
	union address address;

	if (get_address(fd, &address) < 0)
		(void)snprintf(out, out_size, "an unknown address");
	else
		(void)put_address(&address, out, out_size);
	return out;
}

const char *
peer_address(int fd, char *out, size_t out_size)
{
	socklen_t len = sizeof(union address);
	union address address = { 0 };

	if (getpeername(fd, &address.any, &len) < 0)
		return NULL;
	return put_address(&address, out, out_size);
}

/* [::] without IPV6_V6ONLY, as systemd binds `ListenStream=8080`. */
static bool
takes_v4_too(const union address *address, int fd)
{
	int only = 1;
	socklen_t len = sizeof(only);

	return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr) &&
	       getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 &&
	       only == 0;
}

static bool
is_ip_of(const struct conf_listener *conf, const union address *address, int fd)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, conf->host, &v4) == 1) {
		if (address->any.sa_family == AF_INET)
			return address->v4.sin_addr.s_addr == v4.s_addr &&
			       ntohs(address->v4.sin_port) == conf->port;
		return v4.s_addr == htonl(INADDR_ANY) &&
		       ntohs(address->v6.sin6_port) == conf->port &&
		       takes_v4_too(address, fd);
	}
	return address->any.sa_family == AF_INET6 &&
	       inet_pton(AF_INET6, conf->host, &v6) == 1 &&
	       IN6_ARE_ADDR_EQUAL(&address->v6.sin6_addr, &v6) &&
	       ntohs(address->v6.sin6_port) == conf->port;
}

static bool
is_address_of(
    const struct conf_listener *conf, const union address *address, int fd)
{
	const bool local = address->any.sa_family == AF_UNIX;

	if (local != (conf->kind == CONF_ADDRESS_UNIX))
		return false;
	if (!local)
		return is_ip_of(conf, address, fd);
	return strncmp(conf->path, address->local.sun_path,
		   sizeof(address->local.sun_path)) == 0;
}

/* The listener of that name, or else at that address. */
static size_t
find_owner(const struct conf *conf, const struct net_socket *socket,
    const union address *address)
{
	size_t i;

	for (i = 0; i < conf->listener_count; i++)
		if (*socket->name != '\0' &&
		    strcmp(conf->listeners[i].name, socket->name) == 0)
			return i;
	for (i = 0; i < conf->listener_count; i++)
		if (is_address_of(&conf->listeners[i], address, socket->fd))
			return i;
	return NOBODY;
}

static int
check_owner(const struct conf_listener *conf, const struct net_socket *socket,
    const union address *address, struct net_fault *ret_fault)
{
	const bool local = address->any.sa_family == AF_UNIX;
	char text[160];

	(void)put_address(address, text, sizeof(text));
	if (local != (conf->kind == CONF_ADDRESS_UNIX)) {
		(void)snprintf(ret_fault->text, sizeof(ret_fault->text),
		    "listener %s: the socket passed by that name is %s, "
		    "expected %s as in listen = %s",
		    conf->name, text, local ? "an IP address" : "a unix path",
		    conf->address);
		ret_fault->configuration = true;
		return -EINVAL;
	}
	if (!is_address_of(conf, address, socket->fd))
		log_info("listener %s: %s was passed by that name and is "
			 "used in place of %s",
		    conf->name, text, conf->address);
	return 0;
}

/* Owners of all sockets, in owners[]; how many have one, or -EINVAL. */
static int
find_owners(const struct conf *conf, const struct net_socket *sockets,
    size_t count, size_t *owners, struct net_fault *ret_fault)
{
	union address address;
	int owned = 0;
	char text[160];
	size_t i;

	for (i = 0; i < count; i++) {
		if (get_address(sockets[i].fd, &address) < 0)
			owners[i] = NOBODY;
		else
			owners[i] = find_owner(conf, &sockets[i], &address);
		if (owners[i] == NOBODY) {
			log_event(LOG_LEVEL_WARN,
			    &(struct log_about){
				.event = EVENT_SOCKET_UNWANTED },
			    "fd %d (%s, %s) was passed to us and no "
			    "[listener] has that name or address: who "
			    "connects there waits for ever",
			    sockets[i].fd, sockets[i].name,
			    put_address(&address, text, sizeof(text)));
			continue;
		}
		if (check_owner(&conf->listeners[owners[i]], &sockets[i],
			&address, ret_fault) < 0)
			return -EINVAL;
		owned++;
	}
	return owned;
}

static void
add(struct net *net, const struct conf_listener *conf, int fd)
{
	struct listener *listener = &net->listeners[net->listener_count++];

	*listener = (struct listener){
		.conf = conf,
		.net = net,
		.vhost = conf->tls ? net->vhost_tls : net->vhost_plain,
		.fd = fd,
		.passed = fd >= 0,
	};
}

static void
close_unowned(
    const struct net_socket *sockets, size_t count, const size_t *owners)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (owners == NULL || owners[i] == NOBODY)
			(void)close(
			    sockets[i].fd); /* whoever made it keeps it */
}

int
listeners_make(struct net *net, const struct net_socket *sockets, size_t count,
    struct net_fault *ret_fault)
{
	const struct conf *conf = net->conf;
	size_t *owners = memory_alloc((count + 1) * sizeof(*owners));
	size_t i, k, before;
	int owned;

	assert(net->listeners == NULL);
	net->listeners = memory_zalloc(
	    (conf->listener_count + count + 1) * sizeof(*net->listeners));
	owned = owners == NULL || net->listeners == NULL
		    ? -ENOMEM
		    : find_owners(conf, sockets, count, owners, ret_fault);
	if (owned == -ENOMEM)
		(void)snprintf(ret_fault->text, sizeof(ret_fault->text),
		    "listeners: out of memory");
	if (owned < 0) {
		close_unowned(sockets, count, NULL);
		memory_free(owners);
		return owned;
	}
	for (i = 0; i < conf->listener_count; i++) {
		before = net->listener_count;
		for (k = 0; k < count; k++)
			if (owners[k] == i)
				add(net, &conf->listeners[i], sockets[k].fd);
		if (net->listener_count == before)
			add(net, &conf->listeners[i], -1);
	}
	assert(net->listener_count <= conf->listener_count + count);
	if (net->control.roof.path != NULL) {
		add(net, &net->control.conf, -1);
		net->listeners[net->listener_count - 1].control = true;
	}
	close_unowned(sockets, count, owners);
	memory_free(owners);
	return 0;
}
