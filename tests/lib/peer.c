/*
 * A scripted server for one connection at a time, plain or TLS, with the few
 * words of HTTP and WebSocket that the tests of outgoing connections need.
 */

#include "tests/lib/peer.h"
#include "proto/base64.h"
#include "proto/frame.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_S 20 /* for the client's bytes; longer: the script fails */

struct peer {
	struct peer_options options;
	pthread_t thread;
	int listener, fd;
	uint16_t port;
	int seen;
	SSL_CTX *context;
	SSL *tls;
	char certificate[256];
};

static EVP_PKEY *
make_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	assert(key != NULL);
	return key;
}

/* Signed by itself, so that it is its own authority. */
static X509 *
make_certificate(EVP_PKEY *key, const char *name)
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_NAME_new();
	X509_EXTENSION *names;
	char text[128];

	assert(certificate != NULL && subject != NULL);
	(void)snprintf(text, sizeof(text), "%s:%s",
	    name[0] >= '0' && name[0] <= '9' ? "IP" : "DNS", name);
	names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
	assert(names != NULL);
	(void)X509_set_version(certificate, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	(void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
	    (const unsigned char *)"peer", -1, -1, 0);
	(void)X509_set_subject_name(certificate, subject);
	(void)X509_set_issuer_name(certificate, subject);
	(void)X509_set_pubkey(certificate, key);
	(void)X509_add_ext(certificate, names, -1);
	assert(X509_sign(certificate, key, EVP_sha256()) > 0);
	X509_EXTENSION_free(names);
	X509_NAME_free(subject);
	return certificate;
}

static void
tls_prepare(struct peer *peer)
{
	const char *folder = getenv("TMPDIR");
	EVP_PKEY *key = make_key();
	X509 *certificate = make_certificate(key, peer->options.tls_name);
	FILE *file;
	int fd;

	(void)snprintf(peer->certificate, sizeof(peer->certificate),
	    "%s/peer-XXXXXX", folder != NULL ? folder : "/tmp");
	fd = mkstemp(peer->certificate);
	assert(fd >= 0);
	file = fdopen(fd, "w");
	assert(file != NULL && PEM_write_X509(file, certificate) == 1);
	(void)fclose(file);
	peer->context = SSL_CTX_new(TLS_server_method());
	assert(peer->context != NULL);
	assert(SSL_CTX_use_certificate(peer->context, certificate) == 1);
	assert(SSL_CTX_use_PrivateKey(peer->context, key) == 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void
serve(struct peer *peer)
{
	const struct timeval wait = { .tv_sec = WAIT_S };

	(void)setsockopt(
	    peer->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	(void)setsockopt(
	    peer->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (peer->context != NULL) {
		peer->tls = SSL_new(peer->context);
		(void)SSL_set_fd(peer->tls, peer->fd);
		if (SSL_accept(peer->tls) == 1)
			peer->options.script(peer, peer->options.arg);
		SSL_free(peer->tls);
		ERR_clear_error();
		peer->tls = NULL;
		return;
	}
	peer->options.script(peer, peer->options.arg);
}

static void *
run(void *arg)
{
	struct peer *peer = arg;
	int i;

	for (i = 0; i < peer->options.times; i++) {
		peer->fd = accept(peer->listener, NULL, NULL);
		if (peer->fd < 0)
			break;
		peer->seen++;
		serve(peer);
		(void)close(peer->fd);
	}
	return NULL;
}

struct peer *
peer_start(const struct peer_options *options)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(address);
	struct peer *peer = calloc(1, sizeof(*peer));

	assert(peer != NULL);
	peer->options = *options;
	if (peer->options.times == 0)
		peer->options.times = 1;
	if (options->tls_name != NULL)
		tls_prepare(peer);
	peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(peer->listener >= 0);
	assert(bind(peer->listener, (struct sockaddr *)&address, len) == 0);
	assert(listen(peer->listener, 16) == 0);
	assert(getsockname(peer->listener, (struct sockaddr *)&address, &len) ==
	       0);
	peer->port = ntohs(address.sin_port);
	assert(pthread_create(&peer->thread, NULL, run, peer) == 0);
	return peer;
}

uint16_t
peer_port(const struct peer *peer)
{
	return peer->port;
}

const char *
peer_certificate(const struct peer *peer)
{
	return peer->certificate;
}

int
peer_end(struct peer *peer)
{
	int seen;

	(void)shutdown(peer->listener, SHUT_RDWR); /* ends accept() */
	(void)pthread_join(peer->thread, NULL);
	(void)close(peer->listener);
	if (peer->context != NULL)
		(void)unlink(peer->certificate);
	SSL_CTX_free(peer->context);
	seen = peer->seen;
	free(peer);
	return seen;
}

bool
peer_read(struct peer *peer, void *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		const ssize_t n =
		    peer->tls != NULL
			? SSL_read(
			      peer->tls, (char *)data + at, (int)(len - at))
			: recv(peer->fd, (char *)data + at, len - at, 0);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

bool
peer_write(struct peer *peer, const void *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		const ssize_t n =
		    peer->tls != NULL
			? SSL_write(peer->tls, (const char *)data + at,
			      (int)(len - at))
			: send(peer->fd, (const char *)data + at, len - at,
			      MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

bool
peer_puts(struct peer *peer, const char *text)
{
	return peer_write(peer, text, strlen(text));
}

bool
peer_read_head(struct peer *peer, char *out, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		if (!peer_read(peer, out + len, 1))
			return false;
		out[++len] = '\0';
		if (len >= 4 && memcmp(out + len - 4, "\r\n\r\n", 4) == 0)
			return true;
	}
	return false;
}

bool
peer_upgrade(struct peer *peer, const char *headers)
{
	char head[4096];

	return peer_upgrade_heard(peer, headers, head, sizeof(head));
}

bool
peer_upgrade_heard(
    struct peer *peer, const char *headers, char *head, size_t size)
{
	static const char name[] = "Sec-WebSocket-Key: ";
	unsigned char hash[SHA_DIGEST_LENGTH];
	char text[128], accept_key[64], *key;

	if (!peer_read_head(peer, head, size))
		return false;
	key = strcasestr(head, name);
	if (key == NULL)
		return false;
	(void)snprintf(text, sizeof(text),
	    "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
	    key + sizeof(name) - 1);
	(void)SHA1((const unsigned char *)text, strlen(text), hash);
	accept_key[base64_put(accept_key, hash, sizeof(hash))] = '\0';
	return peer_puts(peer, "HTTP/1.1 101 Switching Protocols\r\n"
			       "Upgrade: websocket\r\n"
			       "Connection: Upgrade\r\n"
			       "Sec-WebSocket-Accept: ") &&
	       peer_puts(peer, accept_key) && peer_puts(peer, "\r\n") &&
	       peer_puts(peer, headers) && peer_puts(peer, "\r\n");
}

int64_t
peer_read_frame(
    struct peer *peer, unsigned *ret_opcode, void *data, size_t size)
{
	uint8_t bytes[FRAME_HEADER_MAX], *payload = data;
	struct frame_header header;
	size_t len = 2, i;
	int error;

	if (!peer_read(peer, bytes, len))
		return -1;
	while ((error = frame_get_header(bytes, len, &header)) < 0) {
		if (len == sizeof(bytes) || !peer_read(peer, bytes + len, 1))
			return -1;
		len++;
	}
	if (!header.masked || header.payload_bytes > size ||
	    !peer_read(peer, data, header.payload_bytes))
		return -1;
	for (i = 0; i < header.payload_bytes; i++)
		payload[i] ^= header.mask[i % 4];
	*ret_opcode = header.opcode;
	return (int64_t)header.payload_bytes;
}

bool
peer_write_frame(
    struct peer *peer, bool fin, unsigned opcode, const void *data, size_t len)
{
	uint8_t bytes[FRAME_HEADER_MAX];
	const size_t n =
	    frame_put_header(bytes, fin, 0, (enum frame_opcode)opcode, len);

	return peer_write(peer, bytes, n) && peer_write(peer, data, len);
}

void
peer_wait_end(struct peer *peer)
{
	char data[65536];
	ssize_t n;

	do
		n = peer->tls != NULL ? SSL_read(peer->tls, data, sizeof(data))
				      : recv(peer->fd, data, sizeof(data), 0);
	while (n > 0);
}
