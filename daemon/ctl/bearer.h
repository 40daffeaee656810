#ifndef DAEMON_CTL_BEARER_H
#define DAEMON_CTL_BEARER_H

/*
 * bearer: the token that a command shows its server (RFC 6750 section 2.1).
 *
 * Life      bearer_init -> bearer_again* -> bearer_fini.
 * Promise   No word of a token is ever said: neither in a fault nor in a log.
 * Memory    BEARER_BYTES_MAX, wiped in the end.
 * Threads   Any, one at a time; bearer_init() may wait BEARER_WAIT_MS.
 */

#include "daemon/ctl/ctl.h"

#define BEARER_BYTES_MAX 8192
#define BEARER_WAIT_MS 10000 /* for what a pipe has: --token-file <(...) */
#define BEARER_NAME "Authorization: Bearer "

struct bearer {
	const char *path; /* options->token_path, borrowed */
	char header[sizeof(BEARER_NAME) + BEARER_BYTES_MAX]; /* "": none */
};

/*
 * The token of --token-file, else of EARSHOT_TOKEN, else none.  false: there
 * is none to be had, and text says why.
 */
bool bearer_init(struct bearer *bearer, const struct ctl_options *options,
    char text[static CTL_TEXT_MAX]);

/*
 * Reads the file again, if there is one: its token may be a new one.  What
 * cannot be read now, a pipe for instance, stays what it was.
 */
void bearer_again(struct bearer *bearer);
void bearer_fini(struct bearer *bearer);

/* "Authorization: Bearer ...", or NULL: none. */
const char *bearer_header(const struct bearer *bearer);

#endif
