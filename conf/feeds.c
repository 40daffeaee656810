/*
 * Feeds of all kinds: their arrays, what they are where nothing is said, and
 * what only the whole of them can tell.
 *
 * Each kind is a struct of its own that begins with struct conf_feed; the
 * table below is all that differs.  To add a kind: a struct in feeds.h, a row
 * here, its section in keys.c and its keys in keys_feed.c.
 */

#include "conf/keys_internal.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define FEED_DEFAULTS                                                          \
	.feed = { .backoff_min_us = 250 * LIMITS_MS,                           \
		.backoff_max_us = 30 * LIMITS_S }

static const struct conf_command command_defaults = {
	FEED_DEFAULTS,
	.stop_timeout_us = 5 * LIMITS_S,
};

static const struct conf_file file_defaults = { FEED_DEFAULTS };

static const struct conf_socket socket_defaults = {
	FEED_DEFAULTS,
	.mode = 0660,
	.connections_max = 64,
};

static const struct conf_upstream upstream_defaults = {
	FEED_DEFAULTS,
	.connect_timeout_us = 10 * LIMITS_S,
	.ping_interval_us = 25 * LIMITS_S,
	.pong_timeout_us = 10 * LIMITS_S,
	.compression = true,
};

static const struct feed_kind {
	enum section_kind section;
	size_t size, array, count; /* of one; offsets in struct conf */
	const void *defaults;
} feed_kinds[CONF_FEED_KINDS] = {
#define KIND(section, name)                                                    \
	{                                                                      \
		section, sizeof(struct conf_##name),                           \
		    offsetof(struct conf, name##s),                            \
		    offsetof(struct conf, name##_count), &name##_defaults      \
	}
	[CONF_COMMAND] = KIND(SECTION_COMMAND, command),
	[CONF_FILE] = KIND(SECTION_FILE, file),
	[CONF_SOCKET] = KIND(SECTION_SOCKET, socket),
	[CONF_UPSTREAM] = KIND(SECTION_UPSTREAM, upstream),
#undef KIND
};

static const struct feed_kind *
kind_of(enum section_kind section)
{
	for (size_t i = 0; i < LENGTH(feed_kinds); i++)
		if (feed_kinds[i].section == section)
			return &feed_kinds[i];
	return NULL;
}

bool
section_is_feed(enum section_kind kind)
{
	return kind_of(kind) != NULL;
}

static size_t
count_of(const struct conf *conf, const struct feed_kind *kind)
{
	return *(const size_t *)((const char *)conf + kind->count);
}

static struct conf_feed *
nth_of(const struct conf *conf, const struct feed_kind *kind, size_t n)
{
	char *array = *(char *const *)((const char *)conf + kind->array);

	assert(n < count_of(conf, kind));
	return (struct conf_feed *)(array + n * kind->size);
}

size_t
feed_count(const struct conf *conf, enum section_kind kind)
{
	assert(section_is_feed(kind));
	return count_of(conf, kind_of(kind));
}

struct conf_feed *
feed_at(const struct conf *conf, enum section_kind kind, size_t n)
{
	assert(section_is_feed(kind));
	return nth_of(conf, kind_of(kind), n);
}

const struct conf_feed *
conf_feed_at(const struct conf *conf, enum conf_feed_kind kind, size_t n)
{
	assert(kind < CONF_FEED_KINDS);
	return n < count_of(conf, &feed_kinds[kind])
		   ? nth_of(conf, &feed_kinds[kind], n)
		   : NULL;
}

/* A process: its pipes and its pidfd.  A file: its folder is watched. */
#define PROCESS_DESCRIPTORS 4
#define FILE_DESCRIPTORS 2
#define UPSTREAM_DESCRIPTORS 1

int64_t
conf_descriptors(const struct conf *conf)
{
	int64_t count = (int64_t)conf->command_count * PROCESS_DESCRIPTORS +
			(int64_t)conf->file_count * FILE_DESCRIPTORS +
			(int64_t)conf->upstream_count * UPSTREAM_DESCRIPTORS;

	for (size_t i = 0; i < conf->socket_count; i++)
		count += 1 + (conf->sockets[i].kind == CONF_SOCKET_STREAM
				     ? conf->sockets[i].connections_max
				     : 0);
	for (size_t i = 0; i < conf->handler_count; i++)
		if (conf->handlers[i].exec.count > 0)
			count +=
			    conf->handlers[i].workers * PROCESS_DESCRIPTORS;
	return count;
}

struct conf_feed *
feed_add(
    struct conf *conf, enum section_kind section, const char *name, int line)
{
	const struct feed_kind *kind = kind_of(section);
	char **array = (char **)((char *)conf + kind->array), *grown;
	size_t n = count_of(conf, kind);
	struct conf_feed *feed;

	grown = memory_realloc(*array, (n + 1) * kind->size);
	if (!grown)
		return NULL;
	*array = grown;
	feed = (struct conf_feed *)(grown + n * kind->size);
	memcpy(feed, kind->defaults, kind->size);
	feed->line = line;
	feed->name = string_new((struct text){ name, strlen(name) });
	if (!feed->name)
		return NULL;
	*(size_t *)((char *)conf + kind->count) = n + 1;
	return feed;
}

void
feeds_fini(struct conf *conf)
{
	for (size_t i = 0; i < LENGTH(feed_kinds); i++) {
		const struct feed_kind *kind = &feed_kinds[i];

		for (size_t n = 0; n < count_of(conf, kind); n++) {
			struct conf_feed *feed = nth_of(conf, kind, n);

			keys_fini(kind->section, feed);
			memory_free(feed->name);
		}
		memory_free(*(char **)((char *)conf + kind->array));
	}
}

bool
conf_feed_equal(enum conf_feed_kind kind, const void *a, const void *b)
{
	const struct conf_feed *left = a, *right = b;

	assert(kind < CONF_FEED_KINDS);
	return strcmp(left->name, right->name) == 0 &&
	       keys_equal(feed_kinds[kind].section, a, b);
}

/* What only the whole can tell */

/* Whose channel this feed would fill, too; the first in a file counts. */
static void
check_channel(struct reader *reader, const struct section *section,
    const struct conf_feed *feed)
{
	const struct conf_private *conf = reader->conf;

	for (size_t i = 0; i < conf->section_count && feed->channel; i++) {
		const struct section *other = &conf->sections[i];
		const struct conf_feed *there;

		if (other == section)
			break;
		if (!section_is_feed(other->kind))
			continue;
		there = feed_at(&conf->public, other->kind, other->index);
		if (!there->channel ||
		    strcmp(there->channel, feed->channel) != 0)
			continue;
		reader_fault(reader,
		    "%s fills channel %s, which %s fills already, expected "
		    "one feed for a channel",
		    quote_section(section).text, feed->channel,
		    quote_section(other).text);
		break;
	}
}

static void
check_upstream(struct reader *reader, const struct section *section,
    const struct conf_upstream *upstream)
{
	size_t bytes = 0, i;

	if (!upstream->certificate != !upstream->key)
		reader_fault(reader,
		    "%s has certificate or key alone, expected both",
		    quote_section(section).text);
	if (upstream->mirror &&
	    (upstream->subprotocol || upstream->sends.count > 0))
		reader_fault(reader,
		    "%s has mirror = yes, expected no subprotocol and no send",
		    quote_section(section).text);
	for (i = 0; i < upstream->headers.count; i++)
		bytes += strlen(upstream->headers.items[i]) + 2;
	if (bytes > CONF_HEADERS_BYTES_MAX)
		reader_fault(reader,
		    "%s has %zu bytes of header, expected at most %d",
		    quote_section(section).text, bytes, CONF_HEADERS_BYTES_MAX);
	if (!upstream->mirror && upstream->remote_channel)
		reader_fault(reader,
		    "%s has remote_channel, expected mirror = yes with it",
		    quote_section(section).text);
}

void
feed_check(struct reader *reader, const struct section *section)
{
	const struct conf_feed *feed =
	    feed_at(&reader->conf->public, section->kind, section->index);

	if (feed->backoff_min_us > feed->backoff_max_us)
		reader_fault(reader,
		    "%s has backoff_min over backoff_max, expected at most "
		    "that",
		    quote_section(section).text);
	check_channel(reader, section, feed);
	if (section->kind == SECTION_UPSTREAM)
		check_upstream(
		    reader, section, (const struct conf_upstream *)feed);
}
