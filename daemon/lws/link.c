/*
 * A stream of bytes to somewhere, without libwebsockets: its raw client role
 * begins TLS before the socket exists (connect.c of 4.3.5), and its HTTP
 * client hides which request a lost connection belonged to.
 *
 * The happy path: connect(2) -> writable: connected -> with TLS SSL_connect()
 * until it is done -> OPEN: reading and writing as its user likes.
 *
 * A fault makes it BROKEN; its code is what every later call answers.  Only a
 * failed write to plain TCP does not: the peer's last words may be waiting.
 */

#include "daemon/lws/link.h"
#include "daemon/base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINK_TEXT_MAX 160

enum link_state { LINK_CONNECTING, LINK_HANDSHAKE, LINK_OPEN, LINK_BROKEN };

struct link {
	es_loop *loop;
	enum link_state state;
	int fd;
	SSL *tls; /* NULL: plain TCP */
	es_watch *watch;
	unsigned interest; /* what the watch watches for */
	bool wants_write;
	link_ready_fn ready;
	void *arg;
	int error;
	char text[LINK_TEXT_MAX];
};

static int
broken(struct link *link, int error, const char *text)
{
	assert(error < 0);
	if (link->state == LINK_BROKEN)
		return link->error;
	link->state = LINK_BROKEN;
	link->error = error;
	(void)snprintf(link->text, sizeof(link->text), "%s",
	    text != NULL ? text : strerror(-error));
	return error;
}

/* What the descriptor is watched for, after whatever happened. */
static void
watch_sync(struct link *link)
{
	unsigned interest = ES_READ; /* a broken one too: its user must hear */
	int error;

	es_loop_assert(link->loop);
	if (link->state == LINK_CONNECTING)
		interest = ES_WRITE;
	else if (link->wants_write)
		interest |= ES_WRITE;
	if (interest == link->interest)
		return;
	error = es_watch_set(link->watch, interest);
	if (error < 0)
		(void)broken(link, error, NULL);
	else
		link->interest = interest;
}

static int
tls_fault(struct link *link)
{
	const long verdict = SSL_get_verify_result(link->tls);
	const unsigned long error = ERR_peek_error();
	char text[LINK_TEXT_MAX];
	const char *reason = ERR_reason_error_string(error);

	if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		reason = X509_verify_cert_error_string(verdict);
	(void)snprintf(text, sizeof(text), "TLS: %s",
	    reason != NULL ? reason : "the peer broke off");
	ERR_clear_error();
	return broken(link, -EPROTO, text);
}

/* What an SSL function that returned n means; 0 is the end of the stream. */
static int
tls_result(struct link *link, int n, int error)
{
	switch (SSL_get_error(link->tls, n)) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		link->wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return broken(link, error > 0 ? -error : -ECONNRESET, NULL);
	default:
		return tls_fault(link);
	}
}

static void
handshake(struct link *link)
{
	int n, error;

	ERR_clear_error();
	errno = 0;
	link->wants_write = false;
	n = SSL_connect(link->tls);
	error = errno;
	if (n == 1)
		link->state = LINK_OPEN;
	else if (tls_result(link, n, error) == 0)
		(void)broken(link, -ECONNRESET, "TLS: the peer broke off");
}

static void
connected(struct link *link)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		(void)broken(link, -error, NULL);
	} else if (link->tls == NULL) {
		link->state = LINK_OPEN;
	} else {
		link->state = LINK_HANDSHAKE;
		handshake(link);
	}
}

static void
on_ready(int fd, unsigned what, void *arg)
{
	struct link *link = arg;

	(void)fd;
	(void)what;
	es_loop_assert(link->loop);
	if (link->state == LINK_CONNECTING)
		connected(link);
	else if (link->state == LINK_HANDSHAKE)
		handshake(link);
	else
		link->wants_write = false; /* unless it is full again */
	watch_sync(link);
	if (link->state >= LINK_OPEN)
		link->ready(link->arg); /* may close the link */
}

static bool
is_address(const char *host)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, bytes) == 1 ||
	       inet_pton(AF_INET6, host, bytes) == 1;
}

static int
tls_open(struct link *link, struct outbound *outbound, const char *host)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	char name[OUTBOUND_AUTHORITY_MAX]; /* the macro wants no const */
	X509_VERIFY_PARAM *param;
	int done;

	(void)snprintf(name, sizeof(name), "%s", host);
	outbound_trust(outbound);
	link->tls = SSL_new(outbound->tls);
	if (link->tls == NULL)
		return -ENOMEM;
	param = SSL_get0_param(link->tls);
	X509_VERIFY_PARAM_set_hostflags(
	    param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (is_address(host))
		done = X509_VERIFY_PARAM_set1_ip_asc(param, host);
	else
		done = X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
		       SSL_set_tlsext_host_name(link->tls, name) == 1;
	if (done != 1 || SSL_set_fd(link->tls, link->fd) != 1 ||
	    SSL_set_alpn_protos(link->tls, alpn, sizeof(alpn) - 1) != 0)
		return -ENOMEM;
	return 0;
}

static int
start(struct link *link, const struct outbound_peer *peer)
{
	struct sockaddr_storage address;
	const int one = 1, len = outbound_sockaddr(peer, &address);

	assert(len > 0);
	link->fd = socket(
	    address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return -errno;
	/* Without it an answer may cost the other side's delayed ack. */
	(void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(link->fd, (const struct sockaddr *)&address,
		(socklen_t)len) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return 0;
}

int
link_open(struct outbound *outbound, const struct outbound_peer *peer,
    link_ready_fn ready, void *arg, struct link **ret_link)
{
	struct link *link;
	int error;

	es_loop_assert(outbound->loop);
	if (outbound_peer_check(peer) < 0)
		return -EINVAL;
	link = memory_zalloc(sizeof(*link));
	if (link == NULL)
		return -ENOMEM;
	link->loop = outbound->loop;
	link->ready = ready;
	link->arg = arg;
	error = start(link, peer);
	if (error == 0 && peer->tls)
		error = tls_open(link, outbound, peer->host);
	if (error == 0)
		error = es_watch_new(link->loop, "link", link->fd, ES_WRITE,
		    on_ready, link, &link->watch);
	if (error < 0) {
		link_close(link);
		return error;
	}
	link->interest = ES_WRITE;
	*ret_link = link;
	return 0;
}

void
link_close(struct link *link)
{
	if (link == NULL)
		return;
	es_loop_assert(link->loop);
	es_watch_free(link->watch);
	if (link->tls != NULL && link->state == LINK_OPEN)
		(void)SSL_shutdown(link->tls); /* nobody waits for theirs */
	SSL_free(link->tls);
	if (link->fd >= 0)
		(void)close(link->fd);
	ERR_clear_error();
	memory_free(link);
}

bool
link_is_open(const struct link *link)
{
	return link->state == LINK_OPEN;
}

static int64_t
tls_read(struct link *link, void *data, size_t len)
{
	size_t n;
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_read_ex(link->tls, data, len, &n);
	if (result == 1)
		return (int64_t)n;
	return tls_result(link, result, errno);
}

int64_t
link_read(struct link *link, void *data, size_t len)
{
	int64_t n;

	assert(len > 0);
	if (link->state == LINK_BROKEN)
		return link->error;
	if (link->state != LINK_OPEN)
		return -EAGAIN;
	if (link->tls != NULL)
		n = tls_read(link, data, len);
	else
		n = recv(link->fd, data, len, 0);
	if (link->tls == NULL && n < 0)
		n = errno == EAGAIN || errno == EINTR
			? -EAGAIN
			: broken(link, -errno, NULL);
	watch_sync(link);
	return n;
}

static int64_t
tls_write(struct link *link, const void *data, size_t len)
{
	size_t n;
	int result, error;

	ERR_clear_error();
	errno = 0;
	result = SSL_write_ex(link->tls, data, len, &n);
	if (result == 1)
		return (int64_t)n;
	error = tls_result(link, result, errno);
	return error != 0 ? error : broken(link, -EPIPE, NULL);
}

static int64_t
plain_write(struct link *link, const void *data, size_t len, bool more)
{
	const ssize_t n =
	    send(link->fd, data, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));

	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EINTR)
		return -errno; /* what was sent to us can still be read */
	link->wants_write = true;
	return -EAGAIN;
}

int64_t
link_write(struct link *link, const void *data, size_t len, bool more)
{
	int64_t n;

	assert(len > 0);
	if (link->state == LINK_BROKEN)
		return link->error;
	if (link->state != LINK_OPEN)
		return -EAGAIN;
	n = link->tls != NULL ? tls_write(link, data, len)
			      : plain_write(link, data, len, more);
	watch_sync(link);
	return n;
}

const char *
link_text(const struct link *link)
{
	return link->text;
}
