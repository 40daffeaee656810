#ifndef TESTS_LIB_PEERS_H
#define TESTS_LIB_PEERS_H

/*
 * peers: a hub with consumers that read what they are given.
 *
 * Shape    Every message can be made again from its channel's name and its
 *          offset, so the receiver sees order, loss, repetition, gaps and
 *          any wrong byte with no help from the hub, and fails the test.
 * Life     peers_setup -> publish, connect, flush ... -> peers_teardown.
 * Errors   Failed cmocka assertions.
 */

#include "daemon/hub/hub.h"
#include "tests/lib/receiver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEERS_CHANNELS 4
#define PEERS_MAX 1000
#define PEERS_NOW_US INT64_C(1790000000000000)
#define PEERS_MESSAGE_MIN 16 /* of JSON: 40 */
#define PEERS_MESSAGE_MAX (1024 * 1024)

struct peer {
	struct consumer consumer;
	int channel;
	int64_t expected; /* the next offset */
	bool open, blocked, broken, closed;
	bool stalled; /* does not read: its socket takes nothing */
	struct receiver receiver;
	uint64_t writes;
};

struct peers_message {
	enum message_kind kind;
	size_t len;
	int64_t time_us;
};

struct peers_channel {
	int64_t newest, size;
	uint64_t epoch;
	struct peers_message *messages; /* by offset */
	int64_t used_us; /* the last publish or end of a consumer */
	int consumers;
};

struct peers {
	struct conf_channel channels[PEERS_CHANNELS];
	struct conf conf;
	struct hub *hub;
	unsigned short random[3];
	bool nasty; /* sockets block, break and take pieces */
	bool failing; /* so do allocations of the hub's, one in a flush */
	enum view_kind view; /* of those that connect */
	int64_t now_us;
	struct peers_channel of[PEERS_CHANNELS];
	struct peer peers[PEERS_MAX];
	struct receiver_tools tools;
	struct buffer expected, expected_lines; /* what was compared last */
	int expected_channel;
	int64_t expected_offset;
	uint64_t received, bytes, overruns, skipped, cut_inside, resumed;
	uint64_t vanished; /* channels */
	uint64_t failures; /* of allocations */
	uint64_t taken_now, writes_now; /* in the last flush */
};

/* For cmocka: *state is a struct peers with generous limits and 1 MiB kept. */
int peers_setup(void **state);
int peers_teardown(void **state);

int64_t peers_pick(struct peers *peers, int64_t below); /* at random */

/* A text of that length; of that kind. */
void peers_publish(struct peers *peers, int channel, size_t len);
void peers_publish_kind(
    struct peers *peers, int channel, enum message_kind kind, size_t len);

/* Publishes until segments are long: spans then end where the test says. */
void peers_warm(struct peers *peers, int channel);

/* Checks the hub's answer too. */
void peers_connect(struct peers *peers, struct peer *peer, int channel,
    const struct from *from);
void peers_listen(
    struct peers *peers, struct peer *peer, int channel); /* live */
void peers_disconnect(struct peers *peers, struct peer *peer);
void peers_writable(struct peers *peers, struct peer *peer);

bool peers_flush(struct peers *peers); /* what hub_flush() says */

#endif
