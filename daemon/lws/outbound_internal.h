#ifndef DAEMON_LWS_OUTBOUND_INTERNAL_H
#define DAEMON_LWS_OUTBOUND_INTERNAL_H

/* outbound_internal: what outgoing connections of both kinds need of it. */

#include "daemon/lws/outbound.h"

#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

struct outbound {
	struct glue *glue;
	es_loop *loop;
	struct lws_vhost *vhost;
	SSL_CTX *tls;
	bool insecure;
	bool trusting; /* nobody's certificates are missing in tls */
};

/* client_callback.c: the vhost's one protocol, and its one extension. */
extern const struct lws_protocols client_protocols[];
extern const struct lws_extension client_extensions[];

/* Before the first TLS connection: reads the system's certificates. */
void outbound_trust(struct outbound *outbound);

/* -EINVAL: not numeric, no port, no host or one that cannot stand in a head. */
int outbound_peer_check(const struct outbound_peer *peer);

/* Of a numeric address; its length, or -EINVAL. */
int outbound_sockaddr(
    const struct outbound_peer *peer, struct sockaddr_storage *ret_address);

/* HOST[:PORT] for a Host header; the port only if it is not the usual one. */
void outbound_authority(
    const struct outbound_peer *peer, char out[static OUTBOUND_AUTHORITY_MAX]);

/* Can stand in one line of a request: no control character. */
bool outbound_line_valid(const char *text);

#endif
