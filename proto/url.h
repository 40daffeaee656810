#ifndef PROTO_URL_H
#define PROTO_URL_H

/*
 * url: percent encoding, query arguments and ws/http addresses (RFC 3986).
 *
 * Threads  Pure functions: any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decodes %XX of text into out (out_size bytes, NUL added).  The length, or
 * -EINVAL: a broken or %00 escape; -EMSGSIZE: out is too small.
 */
int url_decode(char *out, size_t out_size, const char *text, size_t len);

/*
 * The value of argument `name` in a query string (without '?', as sent),
 * decoded into out with its NUL.  The length, -ENOENT when it is not there,
 * -EINVAL and -EMSGSIZE as url_decode(); an argument given twice: -EINVAL.
 */
int url_query_get(const char *query, size_t query_len, const char *name,
    char *out, size_t out_size);

/* Writes text percent-encoded for a path segment; length or -EMSGSIZE. */
int url_encode(char *out, size_t out_size, const char *text, size_t len);

struct url {
	bool tls; /* wss, https */
	char host[256];
	uint16_t port; /* of the scheme where the text names none */
	char path[512]; /* begins with '/', without a final one: "" if none */
};

/*
 * ws://, wss://, http://, https:// HOST[:PORT][/PATH]; HOST may be a bracketed
 * IPv6 address (stored without brackets).  0 or -EINVAL.
 */
int url_parse(const char *text, struct url *ret_url);

#endif
