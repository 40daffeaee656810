#ifndef TESTS_LIB_CLIENT_RIG_H
#define TESTS_LIB_CLIENT_RIG_H

/*
 * client_rig: one outgoing WebSocket connection to a scripted peer, and
 * everything it said.
 *
 * Life     client_test_init -> (options, at_*) -> client_test_run -> look.
 */

#include "daemon/base/buffer.h"
#include "daemon/lws/client.h"
#include "proto/frame.h"
#include "tests/lib/outbound_rig.h"
#include "tests/lib/peer.h"

/* One connection, what was asked of it and everything it said. */
struct client_test {
	struct rig rig;
	struct peer *peer;
	struct client_options options;
	struct client *client;
	int open_result, opened, closed, failed, rooms;
	size_t sent_bytes; /* by on_sent */
	unsigned messages;
	struct buffer heard; /* 't' or 'b', the payload, '|' */
	unsigned code, status;
	char reason[256], text[OUTBOUND_TEXT_MAX], body[CLIENT_BODY_MAX + 1];
	char header[CLIENT_HEADER_VALUE_MAX];
	void (*at_open)(struct client_test *test);
	void (*at_message)(struct client_test *test);
	void (*at_room)(struct client_test *test);
	bool free_at_end;
};

void client_test_init(struct client_test *test, peer_script script, void *arg);
/* The whole life of it; returns how many connections the peer saw. */
int client_test_run(
    struct client_test *test, const struct outbound_options *trust);
/*
 * Many connections, each without the price of a rig: init, rig_open, (once,
 * next)*, once, rig_close.
 */
int client_test_once(struct client_test *test);
void client_test_next(struct client_test *test, peer_script script, void *arg);
/* What arrived; it is forgotten. */
void client_test_heard(struct client_test *test, const char *text);

/* For rig_run(). */
void client_test_begin(void *arg);
void client_test_free(void *arg);

/* For scripts: a close frame, and its answer awaited. */
void client_peer_closes(struct peer *peer, const char *code_and_reason);
/* A script: three messages, a close with 1001. */
void client_peer_hello(struct peer *peer, void *arg);

#endif
