/*
 * Trust and addresses of outgoing connections.
 *
 * The TLS context is ours and is lent to libwebsockets' vhost, so that both
 * kinds of connections (client.c through the library, link.c without it)
 * believe the same certificates.
 */

#include "daemon/base/memory.h"
#include "daemon/lws/outbound_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

static int
trust_fault(
    const char *path, const char *expected, char text[static OUTBOUND_TEXT_MAX])
{
	const unsigned long error = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(error)
				 ? strerror(ERR_GET_REASON(error))
				 : ERR_reason_error_string(error);

	(void)snprintf(text, OUTBOUND_TEXT_MAX, "%s: %s, expected %s", path,
	    reason != NULL ? reason : "cannot be used", expected);
	ERR_clear_error();
	return -EINVAL;
}

static int
tls_new(const struct outbound_options *options,
    char text[static OUTBOUND_TEXT_MAX], SSL_CTX **ret_tls)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (tls == NULL)
		return -ENOMEM;
	if (SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(tls);
		return -EIO;
	}
	SSL_CTX_set_verify(
	    tls, options->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_RELEASE_BUFFERS |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	ERR_clear_error();
	if (options->ca_path != NULL &&
	    SSL_CTX_load_verify_file(tls, options->ca_path) != 1) {
		SSL_CTX_free(tls);
		return trust_fault(
		    options->ca_path, "certificates in PEM", text);
	}
	if (options->certificate_path != NULL &&
	    SSL_CTX_use_certificate_chain_file(
		tls, options->certificate_path) != 1) {
		SSL_CTX_free(tls);
		return trust_fault(
		    options->certificate_path, "a certificate in PEM", text);
	}
	if (options->key_path != NULL &&
	    SSL_CTX_use_PrivateKey_file(
		tls, options->key_path, SSL_FILETYPE_PEM) != 1) {
		SSL_CTX_free(tls);
		return trust_fault(options->key_path,
		    "the key of the certificate in PEM", text);
	}
	*ret_tls = tls;
	return 0;
}

/*
 * Some twenty milliseconds, for those who need it.  No certificates there is
 * nobody trusted; the connection will say so.
 */
void
outbound_trust(struct outbound *outbound)
{
	if (outbound->trusting)
		return;
	outbound->trusting = true;
	(void)SSL_CTX_set_default_verify_paths(outbound->tls);
	ERR_clear_error();
}

static struct lws_vhost *
vhost_open(struct outbound *outbound)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.vhost_name = "outbound",
		.protocols = client_protocols,
		.extensions = client_extensions,
		.provided_client_ssl_ctx = outbound->tls,
		.options = LWS_SERVER_OPTION_DISABLE_TLS_SESSION_CACHE,
		.alpn = "http/1.1",
		.retry_and_idle_policy = glue_no_validity(),
	};

	return lws_create_vhost(glue_context(outbound->glue), &info);
}

int
outbound_open(struct glue *glue, const struct outbound_options *options,
    char ret_text[static OUTBOUND_TEXT_MAX], struct outbound **ret_outbound)
{
	struct outbound *outbound = memory_zalloc(sizeof(*outbound));
	int error;

	if (outbound == NULL)
		return -ENOMEM;
	outbound->glue = glue;
	outbound->loop = glue_loop(glue);
	outbound->insecure = options->insecure;
	outbound->trusting = options->insecure || options->ca_path != NULL;
	es_loop_assert(outbound->loop);
	error = tls_new(options, ret_text, &outbound->tls);
	if (error < 0)
		goto err_free;
	outbound->vhost = vhost_open(outbound);
	if (outbound->vhost == NULL) {
		error = -EIO;
		goto err_free_tls;
	}
	*ret_outbound = outbound;
	return 0;

err_free_tls:
	SSL_CTX_free(outbound->tls);
err_free:
	memory_free(outbound);
	return error;
}

void
outbound_close(struct outbound *outbound)
{
	if (outbound == NULL)
		return;
	es_loop_assert(outbound->loop);
	lws_vhost_destroy(outbound->vhost);
	SSL_CTX_free(outbound->tls);
	memory_free(outbound);
}

int
outbound_sockaddr(
    const struct outbound_peer *peer, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(peer->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(peer->port) };

	if (inet_pton(AF_INET, peer->address, &in.sin_addr) == 1) {
		memcpy(ret_address, &in, sizeof(in));
		return (int)sizeof(in);
	}
	if (inet_pton(AF_INET6, peer->address, &in6.sin6_addr) == 1) {
		memcpy(ret_address, &in6, sizeof(in6));
		return (int)sizeof(in6);
	}
	return -EINVAL;
}

int
outbound_peer_check(const struct outbound_peer *peer)
{
	struct sockaddr_storage address;
	const size_t len = strlen(peer->host);

	if (outbound_sockaddr(peer, &address) < 0 || peer->port == 0)
		return -EINVAL;
	if (len == 0 || len > OUTBOUND_AUTHORITY_MAX - 9)
		return -EINVAL;
	if (!outbound_line_valid(peer->host) || strchr(peer->host, ' '))
		return -EINVAL;
	return 0;
}

void
outbound_authority(
    const struct outbound_peer *peer, char out[static OUTBOUND_AUTHORITY_MAX])
{
	const bool v6 = strchr(peer->host, ':') != NULL;
	const uint16_t usual = peer->tls ? 443 : 80;
	int len = snprintf(out, OUTBOUND_AUTHORITY_MAX, "%s%s%s", v6 ? "[" : "",
	    peer->host, v6 ? "]" : "");

	assert(len > 0 && len < OUTBOUND_AUTHORITY_MAX - 6);
	if (peer->port != usual)
		(void)snprintf(out + len, OUTBOUND_AUTHORITY_MAX - (size_t)len,
		    ":%u", peer->port);
}

bool
outbound_line_valid(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}
