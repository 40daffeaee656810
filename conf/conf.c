/*
 * Life of a configuration: defaults, reading a text, what only the whole can
 * tell.
 *
 * The happy path: conf_read_text() goes through the items of a text, opening
 * sections and setting keys; conf_finish() looks at how they fit together and
 * adds the default channel.  Faults are told as they are found and reading
 * goes on, so that one run of --check shows all of them.  A section or key that
 * was refused is not told of again as missing.
 */

#include "conf/conf_internal.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct conf_channel channel_defaults = {
	.history_messages = 1000,
	.history_bytes = 16 * LIMITS_MIB,
	.history_age_us = 3600 * LIMITS_S,
	.buffer_bytes = LIMITS_MIB,
	.idle_expiry_us = 3600 * LIMITS_S,
	.overrun = CONF_OVERRUN_SKIP,
};

static const struct conf conf_defaults = {
	.auth = {
		.anonymous = CONF_SUBSCRIBE,
		.token_leeway_us = 30 * LIMITS_S,
	},
	.drain_timeout_us = 10 * LIMITS_S,
	.drain_retry_spread_us = 2 * LIMITS_S,
	.drain_close_rate = 5000,
	.log_level = LOG_LEVEL_INFO,
	.limits = {
#define LIMIT_DEFAULT(name, kind, def, min, max, what) .name = (def),
		CONF_LIMITS(LIMIT_DEFAULT)
#undef LIMIT_DEFAULT
	},
};

#define LIMIT_CHECK(name, kind, def, min, max, what)                           \
	_Static_assert((def) >= (min) && (def) <= (max) && (min) >= 0, #name);
CONF_LIMITS(LIMIT_CHECK)
#undef LIMIT_CHECK

/* Strings and lists */

char *
string_new(struct text text)
{
	char *string = memory_alloc(text.len + 1);

	if (!string)
		return NULL;
	if (text.len > 0)
		memcpy(string, text.at, text.len);
	string[text.len] = '\0';
	return string;
}

int
list_add(struct conf_list *list, const char *text, size_t len)
{
	char *string = string_new((struct text){ text, len });
	char **items;

	if (!string)
		return -ENOMEM;
	items = memory_realloc(
	    list->items, (list->count + 2) * sizeof(*list->items));
	if (!items) {
		memory_free(string);
		return -ENOMEM;
	}
	list->items = items;
	list->items[list->count++] = string;
	list->items[list->count] = NULL;
	return 0;
}

void
list_clear(struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		memory_free(list->items[i]);
	memory_free(list->items);
	*list = (struct conf_list){ 0 };
}

/* Life */

struct conf *
conf_new(void)
{
	struct conf_private *conf = memory_zalloc(sizeof(*conf));

	if (!conf)
		return NULL;
	conf->public = conf_defaults;
	atomic_init(&conf->references, 1);
	return &conf->public;
}

static void
listener_fini(struct conf_listener *listener)
{
	memory_free(listener->name);
	memory_free(listener->host);
	memory_free(listener->path);
	memory_free(listener->address);
	list_clear(&listener->origins);
}

static void
sections_free(struct conf_private *conf)
{
	for (size_t i = 0; i < conf->section_count; i++) {
		memory_free(conf->sections[i].name);
		memory_free(conf->sections[i].file);
	}
	memory_free(conf->sections);
}

struct conf *
conf_ref(struct conf *conf)
{
	int before =
	    atomic_fetch_add(&((struct conf_private *)conf)->references, 1);

	assert(before > 0);
	return conf;
}

void
conf_free(struct conf *conf)
{
	if (!conf ||
	    atomic_fetch_sub(&((struct conf_private *)conf)->references, 1) > 1)
		return;
	for (size_t i = 0; i < conf->listener_count; i++)
		listener_fini(&conf->listeners[i]);
	for (size_t i = 0; i < conf->channel_count; i++)
		memory_free(conf->channels[i].pattern);
	memory_free(conf->listeners);
	memory_free(conf->channels);
	feeds_fini(conf);
	handlers_fini(conf);
	auth_fini(&conf->auth);
	memory_free(conf->tls_certificate);
	memory_free(conf->tls_key);
	memory_free(conf->state_directory);
	memory_free(conf->control_path);
	sections_free((struct conf_private *)conf);
	list_clear(&((struct conf_private *)conf)->texts);
	memory_free(conf);
}

/* Objects of sections: the caller counts them, from 0 */

int
listener_add(struct conf *conf, const char *name, int line)
{
	struct conf_listener *listeners, *listener;

	listeners = memory_realloc(
	    conf->listeners, (conf->listener_count + 1) * sizeof(*listeners));
	if (!listeners)
		return -ENOMEM;
	conf->listeners = listeners;
	listener = &listeners[conf->listener_count];
	*listener = (struct conf_listener){ .line = line, .compression = true };
	listener->name = string_new((struct text){ name, strlen(name) });
	if (!listener->name)
		return -ENOMEM;
	conf->listener_count++;
	return 0;
}

int
conf_add_channel(struct conf *conf, const char *pattern)
{
	struct conf_channel *channels, *channel;

	channels = memory_realloc(
	    conf->channels, (conf->channel_count + 1) * sizeof(*channels));
	if (!channels)
		return -ENOMEM;
	conf->channels = channels;
	channel = &channels[conf->channel_count];
	*channel = channel_defaults;
	channel->pattern =
	    string_new((struct text){ pattern, strlen(pattern) });
	if (!channel->pattern)
		return -ENOMEM;
	conf->channel_count++;
	return 0;
}

/* Reading */

static int
read_items(struct reader *reader, struct text text)
{
	struct parse parse = { .left = text };
	struct item item;
	int error = 0;

	while (error == 0 && parse_next(&parse, &item)) {
		reader->line = item.line;
		switch (item.kind) {
		case ITEM_SECTION:
			error = section_open(reader, &item);
			break;
		case ITEM_KEY:
			error = key_set(reader, &item);
			break;
		case ITEM_FAULT:
			reader_fault(reader, "%s", item.fault);
			break;
		}
	}
	return error;
}

/* Editors of other systems begin UTF-8 with a byte order mark. */
static struct text
skip_byte_order_mark(struct text text)
{
	if (text.len >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
		return (struct text){ text.at + 3, text.len - 3 };
	return text;
}

int
conf_read_text(struct conf *conf, const char *file, const char *text,
    size_t len, conf_fault_fn fault, void *arg)
{
	struct conf_private *private = (struct conf_private *)conf;
	struct reader reader = {
		.conf = private,
		.file = file,
		.fault = fault,
		.arg = arg,
		.before_sections = true,
	};
	int error;

	assert(conf);
	assert(text || len == 0);

	if (list_add(&private->texts, file, strlen(file)) < 0)
		return -ENOMEM;
	if (len > CONF_FILE_BYTES_MAX) {
		reader_fault(&reader, "too long, expected at most %d bytes",
		    CONF_FILE_BYTES_MAX);
		return reader.fault_count;
	}
	if (len == 0)
		return 0;
	error = read_items(
	    &reader, skip_byte_order_mark((struct text){ text, len }));
	return error < 0 ? error : reader.fault_count;
}

/* What only the whole can tell */

static bool
same_address(const struct conf_listener *a, const struct conf_listener *b)
{
	if (!a->address || !b->address || a->kind != b->kind)
		return false;
	if (a->kind == CONF_ADDRESS_UNIX)
		return strcmp(a->path, b->path) == 0;
	/* Port 0 is a new one each time. */
	return a->port != 0 && a->port == b->port &&
	       strcmp(a->host, b->host) == 0;
}

static void
check_listener(struct reader *reader, const struct section *section)
{
	const struct conf *conf = &reader->conf->public;
	const struct conf_listener *listener = &conf->listeners[section->index];

	if (listener->tls && (!conf->tls_certificate || !conf->tls_key))
		reader_fault(reader,
		    "%s has tls = yes, expected certificate and key in [tls]",
		    quote_section(section).text);
	for (size_t i = 0; i < section->index; i++) {
		if (!same_address(listener, &conf->listeners[i]))
			continue;
		reader_fault(reader,
		    "%s listens on %s, which is taken by line %d, expected "
		    "another address",
		    quote_section(section).text, listener->address,
		    conf->listeners[i].line);
		break;
	}
}

static void
check_sections(struct reader *reader)
{
	struct conf_private *conf = reader->conf;

	for (size_t i = 0; i < conf->section_count; i++) {
		const struct section *section = &conf->sections[i];

		reader->file = section->file;
		reader->line = section->line;
		keys_tell_missing(reader, section);
		if (section->kind == SECTION_LISTENER)
			check_listener(reader, section);
		else if (section_is_feed(section->kind))
			feed_check(reader, section);
		else if (section->kind == SECTION_HANDLER)
			handler_check(reader, section);
	}
}

static bool
default_channel_there(const struct conf *conf)
{
	return conf->channel_count > 0 &&
	       strcmp(conf->channels[conf->channel_count - 1].pattern, "**") ==
		   0;
}

int
conf_finish(struct conf *conf, conf_fault_fn fault, void *arg)
{
	struct conf_private *private = (struct conf_private *)conf;
	struct reader reader = {
		.conf = private,
		.file = private->texts.count > 0 ? private->texts.items[0]
						 : "configuration",
		.fault = fault,
		.arg = arg,
	};

	if (conf->listener_count == 0)
		reader_fault(&reader,
		    "no section [listener], expected at least one with listen "
		    "= ADDRESS:PORT");
	check_sections(&reader);
	if (!default_channel_there(conf) && conf_add_channel(conf, "**") < 0)
		return -ENOMEM;
	assert(default_channel_there(conf));
	return reader.fault_count;
}

/* Questions */

const struct conf_channel *
conf_channel_for(const struct conf *conf, const char *name, size_t len)
{
	for (size_t i = 0; i < conf->channel_count; i++) {
		const struct conf_channel *channel = &conf->channels[i];

		if (channel_pattern_match(
			channel->pattern, strlen(channel->pattern), name, len))
			return channel;
	}
	return NULL;
}

static void
print_limit(const char *name, enum number_kind kind, int64_t value,
    const char *what, void (*put)(const char *line, void *arg), void *arg)
{
	char number[32], line[256];
	int len;

	(void)number_put(number, sizeof(number), kind, value);
	len = snprintf(line, sizeof(line), "%s = %s   %s", name, number, what);
	assert(len > 0);
	assert((size_t)len < sizeof(line));
	put(line, arg);
}

void
conf_print_limits(const struct conf *conf,
    void (*put)(const char *line, void *arg), void *arg)
{
#define LIMIT_PRINT(name, kind, def, min, max, what)                           \
	print_limit(#name, kind, conf->limits.name, what, put, arg);
	CONF_LIMITS(LIMIT_PRINT)
#undef LIMIT_PRINT
}
