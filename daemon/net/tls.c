/*
 * Vhosts, one plain and one with TLS where a listener wants it, and the check
 * of certificate and key that says what is wrong with them: the library would
 * only fail.  And whether a TLS connection has been said goodbye to.
 */

#include "daemon/base/log.h"
#include "daemon/net/net_internal.h"

#include <errno.h>
#include <libwebsockets.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

static int
tls_fault(const struct conf *conf, struct net_fault *ret_fault, const char *key,
    const char *path)
{
	/* What went wrong; then who failed by it, up to "PEM lib". */
	const unsigned long first = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(first)
				 ? strerrordesc_np(ERR_GET_REASON(first))
				 : ERR_reason_error_string(first);
	char where[256];

	conf_where(conf, "tls", key, where, sizeof(where));
	(void)snprintf(ret_fault->text, sizeof(ret_fault->text),
	    "%s%s = %s: %s, expected %s in PEM", where, key, path,
	    reason != NULL ? reason : "cannot be used",
	    strcmp(key, "key") == 0 ? "the certificate's private key"
				    : "a certificate chain");
	ret_fault->configuration = true;
	ERR_clear_error();
	return -EINVAL;
}

static bool
wants_tls(const struct conf *conf)
{
	size_t i;

	for (i = 0; i < conf->listener_count; i++)
		if (conf->listeners[i].tls)
			return true;
	return false;
}

int
tls_check(const struct conf *conf, struct net_fault *ret_fault)
{
	SSL_CTX *context;
	int error = 0;

	if (!wants_tls(conf))
		return 0;
	context = SSL_CTX_new(TLS_server_method());
	if (context == NULL)
		return -ENOMEM;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(
		context, conf->tls_certificate) != 1)
		error = tls_fault(
		    conf, ret_fault, "certificate", conf->tls_certificate);
	else if (SSL_CTX_use_PrivateKey_file(
		     context, conf->tls_key, SSL_FILETYPE_PEM) != 1 ||
		 SSL_CTX_check_private_key(context) != 1)
		error = tls_fault(conf, ret_fault, "key", conf->tls_key);
	SSL_CTX_free(context);
	return error;
}

int
net_check(const struct conf *conf, struct net_fault *ret_fault)
{
	(void)snprintf(
	    ret_fault->text, sizeof(ret_fault->text), "out of memory");
	return tls_check(conf, ret_fault);
}

/*
 * New handshakes have them.  The library knows the vhost by both names, and
 * says nothing of what it could not read: the files were checked just before.
 */
void
tls_reload(struct net *net)
{
	if (net->vhost_tls == NULL)
		return;
	(void)lws_tls_cert_updated(glue_context(net->glue),
	    net->conf->tls_certificate, net->conf->tls_key, NULL, 0, NULL, 0);
	ERR_clear_error();
}

/*
 * The library answers the offer and lets RSV1 pass; the payload comes as it
 * is, and ws.c inflates it.
 */
static int
on_extension(struct lws_context *context, const struct lws_extension *extension,
    struct lws *wsi, enum lws_extension_callback_reasons reason, void *user,
    void *in, size_t len)
{
	/* What is repeated to a client that asks for it; true in any case. */
	static const struct lws_ext_options agreed[] = {
		{ "server_no_context_takeover", EXTARG_NONE },
		{ "client_no_context_takeover", EXTARG_NONE },
		{ NULL, EXTARG_NONE },
	};

	(void)context;
	(void)extension;
	(void)wsi;
	(void)user;
	(void)len;
	if (reason == LWS_EXT_CB_CONSTRUCT)
		*(const struct lws_ext_options **)in = agreed;
	return 0;
}

static struct lws_vhost *
vhost_open(struct net *net, const char *name,
    const struct lws_protocols *protocols, bool tls)
{
	static const struct lws_extension extensions[] = {
		{ "permessage-deflate", on_extension, "permessage-deflate" },
		{ 0 },
	};
	struct lws_context_creation_info info = {
		.extensions = extensions,
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.vhost_name = name,
		.protocols = protocols,
		.retry_and_idle_policy = glue_no_validity(),
		.alpn = "http/1.1", /* raw frames would corrupt HTTP/2 */
		/*
		 * Of this option the library's table of peers remains, which
		 * it leaves out then.  We have no use for it, and of a unix
		 * socket it reads an address that nobody wrote.
		 */
		.options = LWS_SERVER_OPTION_UNIX_SOCK,
		.iface = "", /* it unlinks that in the end */
		/* Ours come first; these are the library's, behind them. */
		.keepalive_timeout =
		    (int)(net->conf->limits.keepalive_timeout / LIMITS_S) + 2,
		.timeout_secs_ah_idle =
		    (unsigned)(net->conf->limits.handshake_timeout / LIMITS_S) +
		    2,
	};

	if (tls) {
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
		info.ssl_cert_filepath = net->conf->tls_certificate;
		info.ssl_private_key_filepath = net->conf->tls_key;
		info.ssl_options_set = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
	}
	return lws_create_vhost(glue_context(net->glue), &info);
}

/*
 * The library has ended the connection in both protocols and waits for the
 * peer to close the socket, which not every client does.
 */
bool
tls_goodbye_sent(struct lws *wsi)
{
	SSL *ssl = lws_get_ssl(wsi);

	return ssl != NULL && (SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN) != 0;
}

int
vhosts_open(struct net *net, const struct lws_protocols *protocols,
    struct net_fault *ret_fault)
{
	net->vhost_plain = vhost_open(net, "plain", protocols, false);
	if (net->vhost_plain != NULL && wants_tls(net->conf))
		net->vhost_tls = vhost_open(net, "tls", protocols, true);
	if (net->vhost_plain == NULL ||
	    (wants_tls(net->conf) && net->vhost_tls == NULL)) {
		(void)snprintf(ret_fault->text, sizeof(ret_fault->text),
		    "libwebsockets refuses a vhost; log level debug says more");
		return -EIO;
	}
	return 0;
}
