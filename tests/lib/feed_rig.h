#ifndef TESTS_LIB_FEED_RIG_H
#define TESTS_LIB_FEED_RIG_H

/*
 * feed_rig: real commands on a real loop, executor and hub.
 *
 * Life      rig_new -> rig_add* -> rig_start -> rig_wait* -> rig_stop ->
 *           rig_free.  The loop runs on the test's own thread, only inside
 *           these functions; a deadline that passes fails the test.
 */

#include "daemon/feed/feed.h"

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RIG_COMMANDS_MAX 4
#define RIG_HEARD_BYTES (4 * 1024 * 1024)

struct rig {
	struct conf *conf; /* change it before rig_start() */
	struct hub *hub;
	es_loop *net;
	es_executor *sys; /* one thread */
	struct feeds *feeds;
	struct conf_command commands[RIG_COMMANDS_MAX]; /* likewise */
	char *args[RIG_COMMANDS_MAX][4];
	struct consumer consumer;
	/* What the consumer heard: "T:text\n" or "B:bytes\n" a message. */
	char *heard;
	size_t heard_len;
	uint64_t heard_messages;
	int64_t fail_nth; /* allocation of those from feeds_start() on */
	int dones; /* how often done() came */
	struct feed_stats stats[RIG_COMMANDS_MAX]; /* as of rig_look() */
	char errors[RIG_COMMANDS_MAX][128];
};

struct rig *rig_new(void);

/*
 * `sh -c script` into channel.  Back-off 10 ms to 40 ms, stop_timeout 60 s:
 * what the test waits for must not be that.  Its number.
 */
size_t rig_add(struct rig *rig, const char *channel, const char *script);

void rig_start(struct rig *rig); /* the consumer hears the first channel */
void rig_look(struct rig *rig);

/* Runs the loop, looking often, until fn says so. */
void rig_wait(struct rig *rig, bool (*fn)(struct rig *rig));

/* Runs the loop once around fn. */
void rig_do(struct rig *rig, void (*fn)(struct rig *rig));

/* feeds_stop(), and what is between it and done() unless fn is NULL. */
void rig_stop(struct rig *rig, void (*fn)(struct rig *rig));

/* Frees it all, feeds too, and fails unless every child ends. */
void rig_free(struct rig *rig);

/* The n-th message (from 0) as a number: a pid, most often. */
long rig_number(const struct rig *rig, size_t n);

/* Fails unless the consumer has heard exactly this. */
void rig_heard(const struct rig *rig, const char *want);

/* Nothing runs under this pid; a zombie is its new parent's business. */
bool rig_is_gone(long pid);

#endif
