#ifndef DAEMON_LWS_OUTBOUND_H
#define DAEMON_LWS_OUTBOUND_H

/*
 * outbound: what outgoing connections share: whom they trust, whom they call.
 *
 * Life      outbound_open -> connections -> outbound_close, when the last of
 *           them is closed or freed.  One for each set of certificates.
 * Threads   LOOP_THREAD of the glue's loop.
 */

#include "daemon/lws/lws.h"

#include <stdbool.h>
#include <stdint.h>

#define OUTBOUND_TEXT_MAX 256
#define OUTBOUND_AUTHORITY_MAX 264 /* [HOST]:PORT and a NUL */

struct outbound;

struct outbound_options {
	const char *ca_path; /* PEM: these and no others; NULL: the system's */
	const char *certificate_path, *key_path; /* ours; NULL: none */
	bool insecure; /* whoever answers is believed */
};

/* The other end.  Strings are copied by whoever is given one. */
struct outbound_peer {
	const char *address; /* numeric, no brackets: nothing is looked up */
	uint16_t port;
	const char *host; /* as in the URL: Host, SNI, certificate's name */
	bool tls;
};

/*
 * -EINVAL: a path cannot be used, the text says why.  -ENOMEM; -EIO: the
 * library refuses.
 */
int outbound_open(struct glue *glue, const struct outbound_options *options,
    char ret_text[static OUTBOUND_TEXT_MAX],
    struct outbound **ret_outbound) LOOP_THREAD;
void outbound_close(struct outbound *outbound) LOOP_THREAD; /* NULL: no-op */

#endif
