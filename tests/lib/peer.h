#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

/*
 * peer: the other end of one connection, a thread that follows a script.
 *
 * Life     peer_start (a port of its own on 127.0.0.1) -> the script runs for
 *          each of `times` connections -> peer_end joins it.
 * Threads  The script runs on the peer's thread, blocking; a peer_* function
 *          that fails ends the script's connection and makes peer_end() say so.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer;

typedef void (*peer_script)(struct peer *peer, void *arg);

struct peer_options {
	peer_script script;
	void *arg;
	int times; /* connections, one after the other; 0: one */
	const char *tls_name; /* NULL: plain; else a certificate for it */
};

struct peer *peer_start(const struct peer_options *options);
uint16_t peer_port(const struct peer *peer);
/* The certificate in PEM, in a file; it is gone after peer_end(). */
const char *peer_certificate(const struct peer *peer);
/* How many connections the script saw; the peer is freed. */
int peer_end(struct peer *peer);

/* For scripts. */
bool peer_read_head(struct peer *peer, char *out, size_t size); /* a request */
bool peer_read(struct peer *peer, void *data, size_t len);
bool peer_write(struct peer *peer, const void *data, size_t len);
bool peer_puts(struct peer *peer, const char *text);
/* Reads the request and answers 101 with those headers ("" or with CR LF). */
bool peer_upgrade(struct peer *peer, const char *headers);
/* ... and head is the request. */
bool peer_upgrade_heard(
    struct peer *peer, const char *headers, char *head, size_t size);
/* One frame of the client's, unmasked in place; its length or -1. */
int64_t peer_read_frame(
    struct peer *peer, unsigned *ret_opcode, void *data, size_t size);
bool peer_write_frame(
    struct peer *peer, bool fin, unsigned opcode, const void *data, size_t len);
/* Waits until the client's end is closed. */
void peer_wait_end(struct peer *peer);

#endif
