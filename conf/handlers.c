/*
 * [handler NAME]: its keys, its defaults, and what only the whole can tell.
 *
 * What can go wrong, beyond a wrong value: a handler that is both plugin and
 * exec or neither; one that nothing is bound to; two of one path.
 */

#include "conf/keys_internal.h"
#include "daemon/base/memory.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define PATH_BYTES_MAX 256

static const struct conf_handler handler_defaults = {
	.workers = 1,
	.window = 32,
	.callback_timeout_us = 30 * LIMITS_S,
	.queue_messages = 64,
	.queue_bytes = LIMITS_MIB,
	.queue_bytes_total = 64 * LIMITS_MIB,
	.send_bytes_max = LIMITS_MIB,
	.in_flight_bytes_max = 16 * LIMITS_MIB,
	.line_bytes_max = 4 * LIMITS_MIB,
	.backoff_min_us = 250 * LIMITS_MS,
	.backoff_max_us = 30 * LIMITS_S,
	.stop_timeout_us = 5 * LIMITS_S,
};

/* Paths */

/* What the daemon itself answers. */
static bool
path_is_taken(struct text path)
{
	static const char *const ours[] = { "/", "/ws", "/sse", "/channels",
		"/healthz", "/readyz", "/metrics" };
	size_t i;

	for (i = 0; i < LENGTH(ours); i++) {
		const size_t len = strlen(ours[i]);

		if (text_equals(path, ours[i]))
			return true;
		if (len > 1 && path.len > len && path.at[len] == '/' &&
		    memcmp(path.at, ours[i], len) == 0)
			return true;
	}
	return false;
}

static bool
path_is_valid(struct text path)
{
	static const char marks[] = "-._~!$&'()*+,;=:@/";

	if (path.len == 0 || path.len > PATH_BYTES_MAX || path.at[0] != '/')
		return false;
	for (size_t i = 0; i < path.len; i++) {
		const char c = path.at[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') ||
			memchr(marks, c, sizeof(marks) - 1)))
			return false;
	}
	return true;
}

static SETTER(add_path)
{
	struct conf_list *list = field;

	if (value.len == 0) { /* a later file takes back what was there */
		list_clear(list);
		return 0;
	}
	if (!path_is_valid(value)) {
		fault_expected(reader, key, value,
		    "the path of a URL, as in /app, without ? and #");
		return 0;
	}
	if (path_is_taken(value)) {
		fault_expected(
		    reader, key, value, "a path that is not the daemon's own");
		return 0;
	}
	return list_add(list, value.at, value.len);
}

static SETTER(add_pattern)
{
	struct conf_list *list = field;

	if (value.len == 0) { /* a later file takes back what was there */
		list_clear(list);
		return 0;
	}
	if (!channel_pattern_valid(value.at, value.len)) {
		fault_expected(
		    reader, key, value, "a channel or a pattern with * or **");
		return 0;
	}
	return list_add(list, value.at, value.len);
}

static SETTER(add_upstream)
{
	struct conf_list *list = field;

	if (value.len == 0) { /* a later file takes back what was there */
		list_clear(list);
		return 0;
	}
	if (!channel_name_valid(value.at, value.len)) {
		fault_expected(
		    reader, key, value, "the NAME of an [upstream NAME]");
		return 0;
	}
	return list_add(list, value.at, value.len);
}

static SETTER(set_token)
{
	static const struct choice choices[] = {
		{ "optional", false },
		{ "required", true },
	};
	const int chosen = choose(value, choices, LENGTH(choices));

	if (chosen < 0)
		fault_expected(reader, key, value, "required or optional");
	else
		*(bool *)field = chosen;
	return 0;
}

/* Options */

/* The option of that key, made if there is none.  NULL: no memory. */
static struct conf_option *
get_option(struct conf_handler *handler, struct text key)
{
	struct conf_option *options;
	size_t i;

	for (i = 0; i < handler->option_count; i++)
		if (text_equals(key, handler->options[i].key))
			return &handler->options[i];
	options = memory_realloc(handler->options, (i + 1) * sizeof(*options));
	if (!options)
		return NULL;
	handler->options = options;
	options[i] = (struct conf_option){ .key = string_new(key) };
	if (!options[i].key)
		return NULL;
	handler->option_count++;
	return &options[i];
}

static SETTER(set_option)
{
	const size_t before = strcspn(key->name, ".") + 1;
	struct text name = { reader->word.at + before,
		reader->word.len - before };
	struct conf_option *option = get_option(field, name);

	if (!option)
		return -ENOMEM;
	return replace_string(&option->value, value);
}

#define FIELD(field) offsetof(struct conf_handler, field)

/* clang-format off */
const struct key handler_keys[] = {
	{ SECTION_HANDLER, "plugin", set_path, FIELD(plugin), 0, 0, 0 },
	{ SECTION_HANDLER, "exec", set_exec, FIELD(exec), 0, 0, 0 },
	{ SECTION_HANDLER, "path", add_path, FIELD(paths), 0, 0, LIST },
	{ SECTION_HANDLER, "channel", add_pattern,
	    FIELD(channels), 0, 0, LIST },
	{ SECTION_HANDLER, "consume", add_pattern,
	    FIELD(consumes), 0, 0, LIST },
	{ SECTION_HANDLER, "filter", add_pattern, FIELD(filters), 0, 0, LIST },
	{ SECTION_HANDLER, "upstream", add_upstream,
	    FIELD(upstreams), 0, 0, LIST },
	{ SECTION_HANDLER, "token", set_token, FIELD(token_required), 0, 0, 0 },
	{ SECTION_HANDLER, "option.KEY", set_option, 0, 0, 0, LIST | PREFIX },
	{ SECTION_HANDLER, "workers", set_COUNT, FIELD(workers), 1, 1024, 0 },
	{ SECTION_HANDLER, "window", set_COUNT, FIELD(window), 1, 1024, 0 },
	{ SECTION_HANDLER, "callback_timeout", set_TIME,
	    FIELD(callback_timeout_us), 10 * LIMITS_MS, CONF_DAY, 0 },
	{ SECTION_HANDLER, "queue_messages", set_COUNT,
	    FIELD(queue_messages), 1, 1000000, 0 },
	{ SECTION_HANDLER, "queue_bytes", set_BYTES,
	    FIELD(queue_bytes), 1, CONF_GIB, 0 },
	{ SECTION_HANDLER, "queue_bytes_total", set_BYTES,
	    FIELD(queue_bytes_total), 1, 1024 * CONF_GIB, 0 },
	{ SECTION_HANDLER, "send_bytes_max", set_BYTES,
	    FIELD(send_bytes_max), 1, CONF_GIB, 0 },
	{ SECTION_HANDLER, "in_flight_bytes_max", set_BYTES,
	    FIELD(in_flight_bytes_max), 1, CONF_GIB, 0 },
	{ SECTION_HANDLER, "line_bytes_max", set_BYTES,
	    FIELD(line_bytes_max), LIMITS_KIB, CONF_GIB, 0 },
	{ SECTION_HANDLER, "backoff_min", set_TIME,
	    FIELD(backoff_min_us), LIMITS_MS, CONF_HOUR, 0 },
	{ SECTION_HANDLER, "backoff_max", set_TIME,
	    FIELD(backoff_max_us), LIMITS_MS, CONF_DAY, 0 },
	{ SECTION_HANDLER, "stop_timeout", set_TIME,
	    FIELD(stop_timeout_us), 0, CONF_HOUR, 0 },
};
/* clang-format on */

const size_t handler_key_count = LENGTH(handler_keys);

/* Life */

int
handler_add(struct conf *conf, const struct section *section)
{
	struct conf_handler *handlers, *handler;

	handlers = memory_realloc(
	    conf->handlers, (conf->handler_count + 1) * sizeof(*handlers));
	if (!handlers)
		return -ENOMEM;
	conf->handlers = handlers;
	handler = &handlers[conf->handler_count];
	*handler = handler_defaults;
	handler->line = section->line;
	handler->name =
	    string_new((struct text){ section->name, strlen(section->name) });
	handler->file =
	    string_new((struct text){ section->file, strlen(section->file) });
	conf->handler_count++; /* what there is of it is freed with the rest */
	if (!handler->name || !handler->file)
		return -ENOMEM;
	return 0;
}

static void
handler_fini(struct conf_handler *handler)
{
	size_t i;

	for (i = 0; i < handler->option_count; i++) {
		memory_free(handler->options[i].key);
		memory_free(handler->options[i].value);
	}
	memory_free(handler->options);
	memory_free(handler->name);
	memory_free(handler->file);
	memory_free(handler->plugin);
	list_clear(&handler->exec);
	list_clear(&handler->paths);
	list_clear(&handler->channels);
	list_clear(&handler->consumes);
	list_clear(&handler->filters);
	list_clear(&handler->upstreams);
}

void
handlers_fini(struct conf *conf)
{
	size_t i;

	for (i = 0; i < conf->handler_count; i++)
		handler_fini(&conf->handlers[i]);
	memory_free(conf->handlers);
}

/* Whether another configuration's are the same */

static bool
string_equal(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool
list_equal(const struct conf_list *a, const struct conf_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static bool
options_equal(const struct conf_handler *a, const struct conf_handler *b)
{
	if (a->option_count != b->option_count)
		return false;
	for (size_t i = 0; i < a->option_count; i++)
		if (!string_equal(a->options[i].key, b->options[i].key) ||
		    !string_equal(a->options[i].value, b->options[i].value))
			return false;
	return true;
}

bool
conf_handler_equal(const struct conf_handler *a, const struct conf_handler *b)
{
	return string_equal(a->name, b->name) &&
	       string_equal(a->plugin, b->plugin) &&
	       list_equal(&a->exec, &b->exec) &&
	       list_equal(&a->paths, &b->paths) &&
	       list_equal(&a->channels, &b->channels) &&
	       list_equal(&a->consumes, &b->consumes) &&
	       list_equal(&a->filters, &b->filters) &&
	       list_equal(&a->upstreams, &b->upstreams) &&
	       a->token_required == b->token_required && options_equal(a, b) &&
	       a->workers == b->workers && a->window == b->window &&
	       a->callback_timeout_us == b->callback_timeout_us &&
	       a->queue_messages == b->queue_messages &&
	       a->queue_bytes == b->queue_bytes &&
	       a->queue_bytes_total == b->queue_bytes_total &&
	       a->send_bytes_max == b->send_bytes_max &&
	       a->in_flight_bytes_max == b->in_flight_bytes_max &&
	       a->line_bytes_max == b->line_bytes_max &&
	       a->backoff_min_us == b->backoff_min_us &&
	       a->backoff_max_us == b->backoff_max_us &&
	       a->stop_timeout_us == b->stop_timeout_us;
}

/* The whole */

static bool
list_has(const struct conf_list *list, const char *item, size_t before)
{
	size_t i;

	for (i = 0; i < before; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}

static void
check_paths(struct reader *reader, const struct section *section)
{
	const struct conf *conf = &reader->conf->public;
	const struct conf_handler *handler = &conf->handlers[section->index];

	for (size_t i = 0; i < handler->paths.count; i++) {
		const char *path = handler->paths.items[i];
		bool taken = list_has(&handler->paths, path, i);

		for (size_t j = 0; j < section->index && !taken; j++) {
			const struct conf_list *other =
			    &conf->handlers[j].paths;

			taken = list_has(other, path, other->count);
		}
		if (taken)
			reader_fault(reader,
			    "%s has path = %s, which is taken, expected one "
			    "handler for a path",
			    quote_section(section).text, path);
	}
}

/* NULL: there is none of that name. */
static const struct conf_upstream *
find_upstream(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->upstream_count; i++)
		if (strcmp(conf->upstreams[i].feed.name, name) == 0)
			return &conf->upstreams[i];
	return NULL;
}

static bool
upstream_is_taken(const struct conf *conf, size_t index, size_t item)
{
	const struct conf_list *mine = &conf->handlers[index].upstreams;
	bool taken = list_has(mine, mine->items[item], item);

	for (size_t i = 0; i < index && !taken; i++) {
		const struct conf_list *other = &conf->handlers[i].upstreams;

		taken = list_has(other, mine->items[item], other->count);
	}
	return taken;
}

static void
check_upstreams(struct reader *reader, const struct section *section)
{
	const struct conf *conf = &reader->conf->public;
	const struct conf_list *names =
	    &conf->handlers[section->index].upstreams;

	for (size_t i = 0; i < names->count; i++) {
		const struct conf_upstream *upstream =
		    find_upstream(conf, names->items[i]);

		if (!upstream)
			reader_fault(reader,
			    "%s has upstream = %s, expected an [upstream %s]",
			    quote_section(section).text, names->items[i],
			    names->items[i]);
		else if (upstream->mirror)
			reader_fault(reader,
			    "%s has upstream = %s, which has mirror = yes, "
			    "expected consume = %s, the channel it fills",
			    quote_section(section).text, names->items[i],
			    upstream->feed.channel ?: "CHANNEL");
		if (upstream_is_taken(conf, section->index, i))
			reader_fault(reader,
			    "%s has upstream = %s, which is taken, expected "
			    "one handler for an upstream",
			    quote_section(section).text, names->items[i]);
	}
}

static void
check_token(struct reader *reader, const struct section *section)
{
	const struct conf *conf = &reader->conf->public;
	const struct conf_handler *handler = &conf->handlers[section->index];

	if (!handler->token_required)
		return;
	if (handler->paths.count + handler->channels.count == 0)
		reader_fault(reader,
		    "%s has token = required, expected path or channel: who "
		    "connects",
		    quote_section(section).text);
	if (conf->auth.token_keys.count == 0)
		reader_fault(reader,
		    "%s has token = required, expected [auth] token_key: what "
		    "to check it with",
		    quote_section(section).text);
}

void
handler_check(struct reader *reader, const struct section *section)
{
	const struct conf_handler *handler =
	    &reader->conf->public.handlers[section->index];

	if ((handler->plugin != NULL) == (handler->exec.count > 0))
		reader_fault(reader,
		    "%s has %s plugin and exec, expected one of the two",
		    quote_section(section).text,
		    handler->plugin ? "both" : "neither");
	if (handler->paths.count + handler->channels.count +
		handler->consumes.count + handler->filters.count +
		handler->upstreams.count ==
	    0)
		reader_fault(reader,
		    "%s is bound to nothing, expected path, channel, consume, "
		    "filter or upstream",
		    quote_section(section).text);
	if (handler->backoff_min_us > handler->backoff_max_us)
		reader_fault(reader,
		    "%s has backoff_min over backoff_max, expected at most "
		    "that",
		    quote_section(section).text);
	check_paths(reader, section);
	check_upstreams(reader, section);
	check_token(reader, section);
}
