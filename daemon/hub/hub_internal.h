#ifndef DAEMON_HUB_HUB_INTERNAL_H
#define DAEMON_HUB_HUB_INTERNAL_H

/*
 * hub, inside: what the files of this room share.
 *
 * Shape    A channel's consumers stand in one dense array of three parts:
 *          [0, done)      live, visited in the running pass
 *          [done, live)   live, to be visited in it
 *          [live, count)  parked: behind, and waiting for their turn in
 *                         hub.pending, hub.unbuilt or hub.starved, or for
 *                         their socket, or ended
 *          A live consumer was at the end of the tape when the pass before
 *          this one ended.  So publishing touches no consumer, and a pass
 *          touches none that cannot take bytes.
 *          Channels stand in a dense array too; the table holds indexes.
 * Threads  Quiet, as the hub.
 */

#include "daemon/hub/hub.h"

#include <assert.h>

/* A visit writes this many spans at most; who lacks more waits in line. */
#define HUB_VISIT_SPANS_MAX 4

/* Bytes one hub_flush() hands out, give or take a visit: some milliseconds. */
#define HUB_FLUSH_BYTES_MAX (INT64_C(16) * 1024 * 1024)

#define HUB_TICK_CHANNELS_MAX 256u /* trimmed by one hub_tick() */

struct channel {
	struct tape *tape;
	const struct conf_channel *conf;
	struct consumer **consumers;
	uint32_t done, live, count, room;
	struct list dirty; /* in hub.dirty: a pass is due or running */
	int64_t pass_to; /* the newest message when the pass began */
	uint64_t messages_in, bytes_in;
	int64_t used_us; /* it was in use when a tick looked at it then */
	bool used; /* since that */
	void *token; /* hub_watch() */
	void *filter; /* of that gate_round; NULL: nobody is asked */
	uint32_t gate_round;
	uint64_t hash; /* of the name */
	uint32_t name_len;
	char name[]; /* NUL-terminated */
};

struct hub {
	const struct conf *conf;
	struct hub_ops ops;
	void *arg;
	hub_news_fn news; /* NULL: nobody wants to know */
	void *news_arg;
	const struct hub_gate *gate; /* NULL: nobody is ever asked */
	void *gate_arg;
	uint32_t gate_round; /* no channel has that of an earlier gate */
	uint64_t hash_key[2];
	uint64_t epoch_state;
	struct channel **channels;
	uint32_t channel_count, channel_room;
	uint32_t *table; /* index into channels + 1; 0: free */
	uint32_t table_size;
	struct list dirty; /* channels */
	struct list pending; /* consumers */
	struct list unbuilt; /* consumers whose view is to be built first */
	struct list starved; /* there was no memory for that: at a tick again */
	struct views *views;
	hub_interest_fn interest; /* may be NULL */
	void *interest_arg;
	bool pending_first;
	bool closing;
	uint32_t tick_next;
	uint64_t tapes_bytes;
	struct hub_counts counts;
};

/* channel.c.  What random numbers are made of; never the same twice. */
uint64_t hub_random(struct hub *hub);

/*
 * The channel of that name, made if there is none.  -EINVAL (name), -ENFILE,
 * -ENOMEM; these are counted.
 */
int channel_get(struct hub *hub, const char *name, size_t len,
    struct channel **ret_channel);
/* NULL: there is none. */
struct channel *channel_find(
    const struct hub *hub, const char *name, size_t len);
void channel_free(struct channel *channel); /* without consumers */

/*
 * Asked once a tick: nobody heard or published for idle_expiry, and its
 * history is empty.
 */
bool channel_expired(struct channel *channel, int64_t now_us);
/* The channel at that index goes, the last one takes its place. */
void channel_vanish(struct hub *hub, uint32_t index);
void channel_trim(struct hub *hub, struct channel *channel, int64_t now_us);
/* What the hub's configuration says of it, anew. */
void channel_configure(const struct hub *hub, struct channel *channel);

/* consumer.c: the first message that follows, and what is told about it. */
int64_t channel_first_for(const struct channel *channel,
    const struct from *from, struct hub_answer *ret_answer);

/* gate.c: 0: publish it; -EINPROGRESS: not yet; -ENOMEM, -EIO. */
int gate_pass(struct hub *hub, struct channel *channel,
    const struct hub_message *message, int64_t now_us);

/* flush.c: who had no memory to build a view has another try. */
void hub_feed_starved(struct hub *hub);

int channel_reserve(struct channel *channel); /* one more.  -ENOMEM */
void channel_add(struct channel *channel, struct consumer *consumer);
void channel_remove(struct channel *channel, struct consumer *consumer);

void channel_park(struct channel *channel, struct consumer *consumer);
void channel_unpark(struct channel *channel, struct consumer *consumer);

static inline bool
channel_parked(const struct channel *channel, const struct consumer *consumer)
{
	assert(channel->consumers[consumer->index] == consumer);
	return consumer->index >= channel->live;
}

/*
 * Live consumers lack what was published from that offset on: a pass is due,
 * and until it is through the tape holds all that they have not been given.
 */
static inline void
channel_mark_dirty(struct hub *hub, struct channel *channel, int64_t offset)
{
	if (channel->live == 0 || !list_empty(&channel->dirty))
		return;
	list_append(&hub->dirty, &channel->dirty);
	tape_hold(channel->tape, offset);
}

static inline void
channel_mark_clean(struct channel *channel)
{
	channel->done = 0;
	list_remove(&channel->dirty);
	tape_hold(channel->tape, TAPE_HOLD_NONE);
}

#endif
