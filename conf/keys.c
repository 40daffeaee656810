/*
 * The table of sections and keys, and a setter for each type of value.
 *
 * A setter reads the value first and stores it when it is right: a fault
 * leaves what was there, so faults never add up to others.
 *
 * To add a key: a field in conf.h, its default in conf.c, a row here, a
 * paragraph in earshot.conf.5.  A limit is a row in limits.h and a paragraph.
 */

#include "conf/keys_internal.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct section_type section_types[SECTION_KINDS] = {
	[SECTION_LISTENER] = { "listener", NAME_OPTIONAL },
	[SECTION_TLS] = { "tls", NAME_NONE },
	[SECTION_LIMITS] = { "limits", NAME_NONE },
	[SECTION_DRAIN] = { "drain", NAME_NONE },
	[SECTION_AUTH] = { "auth", NAME_NONE },
	[SECTION_CHANNEL] = { "channel", NAME_PATTERN },
	[SECTION_COMMAND] = { "command", NAME_OPTIONAL },
	[SECTION_FILE] = { "file", NAME_OPTIONAL },
	[SECTION_SOCKET] = { "socket", NAME_OPTIONAL },
	[SECTION_UPSTREAM] = { "upstream", NAME_OPTIONAL },
	[SECTION_STATE] = { "state", NAME_NONE },
	[SECTION_HANDLER] = { "handler", NAME_OPTIONAL },
	[SECTION_LOG] = { "log", NAME_NONE },
	[SECTION_CONTROL] = { "control", NAME_NONE },
};

/* Numbers: counts, sizes, times */

static size_t
put_count(char *out, size_t out_size, int64_t count)
{
	return (size_t)snprintf(out, out_size, "%lld", (long long)count);
}

static const struct number {
	int (*read)(struct text text, int64_t *ret_value);
	size_t (*put)(char *out, size_t out_size, int64_t value);
	const char *noun, *units;
} numbers[] = {
	[COUNT] = { value_count, put_count, "a number", "" },
	[BYTES] = { value_bytes, value_put_bytes, "a size",
	    " with K, M or G or no unit, as in 64K" },
	[TIME] = { value_time, value_put_time, "a time",
	    " with us, ms, s, m, h or d, as in 30s" },
};

size_t
number_put(char *out, size_t out_size, enum number_kind kind, int64_t value)
{
	return numbers[kind].put(out, out_size, value);
}

static int
set_number(struct reader *reader, const struct key *key, void *field,
    struct text value, const struct number *number)
{
	char min[32], max[32], what[32];
	int64_t read;
	int error = number->read(value, &read);

	if (error == 0 && read >= key->min && read <= key->max) {
		*(int64_t *)field = read;
		return 0;
	}
	(void)number->put(min, sizeof(min), key->min); /* lengths unused */
	(void)number->put(max, sizeof(max), key->max);
	if (error == -EINVAL)
		(void)snprintf(what, sizeof(what), "not %s", number->noun);
	reader_fault(reader, "%s = %s is %s, expected %s to %s%s", key->name,
	    quote(value).text,
	    error == -EINVAL ? what
	    : error == -EDOM ? "without a unit"
			     : "out of range",
	    min, max, number->units);
	return 0;
}

int
set_COUNT(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	return set_number(reader, key, field, value, &numbers[COUNT]);
}

int
set_BYTES(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	return set_number(reader, key, field, value, &numbers[BYTES]);
}

int
set_TIME(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	return set_number(reader, key, field, value, &numbers[TIME]);
}

/* Words */

int
choose(struct text word, const struct choice *choices, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (text_equals(word, choices[i].word))
			return choices[i].value;
	return -1;
}

void
fault_expected(struct reader *reader, const struct key *key, struct text value,
    const char *expected)
{
	reader_fault(reader, "%s = %s, expected %s", key->name,
	    quote(value).text, expected);
}

int
set_yes_no(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	static const struct choice choices[] = { { "yes", 1 }, { "no", 0 } };
	int chosen = choose(value, choices, LENGTH(choices));

	if (chosen < 0)
		fault_expected(reader, key, value, "yes or no");
	else
		*(bool *)field = chosen;
	return 0;
}

static int
set_overrun(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	static const struct choice choices[] = {
		{ "skip", CONF_OVERRUN_SKIP },
		{ "latest", CONF_OVERRUN_LATEST },
		{ "close", CONF_OVERRUN_CLOSE },
	};
	int chosen = choose(value, choices, LENGTH(choices));

	if (chosen < 0)
		fault_expected(reader, key, value, "skip, latest or close");
	else
		*(enum conf_overrun *)field = (enum conf_overrun)chosen;
	return 0;
}

static int
set_level(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	static const struct choice choices[] = {
		{ "error", LOG_LEVEL_ERROR },
		{ "warn", LOG_LEVEL_WARN },
		{ "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG },
	};
	int chosen = choose(value, choices, LENGTH(choices));

	if (chosen < 0)
		fault_expected(
		    reader, key, value, "error, warn, info or debug");
	else
		*(int *)field = chosen;
	return 0;
}

/* Strings */

int
replace_string(char **field, struct text value)
{
	char *copy = string_new(value);

	if (!copy)
		return -ENOMEM;
	memory_free(*field);
	*field = copy;
	return 0;
}

int
set_path(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	if (value_path_valid(value))
		return replace_string(field, value);
	fault_expected(reader, key, value, "an absolute path");
	return 0;
}

/* "none" is kept as an empty path. */
static int
set_control(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	const size_t prefix = sizeof("unix:") - 1;
	const struct text path = { value.at + prefix, value.len - prefix };

	if (text_equals(value, "none"))
		return replace_string(field, (struct text){ "", 0 });
	if (value.len > prefix && memcmp(value.at, "unix:", prefix) == 0 &&
	    value_path_valid(path) && path.len < CONF_CONTROL_PATH_MAX)
		return replace_string(field, path);
	fault_expected(reader, key, value, "unix:/PATH or none");
	return 0;
}

int
set_channel(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	if (channel_name_valid(value.at, value.len))
		return replace_string(field, value);
	fault_expected(reader, key, value,
	    "a channel: 1 to 128 of A-Z a-z 0-9 _ - . : beginning with a "
	    "letter or digit");
	return 0;
}

static int
set_address(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	struct conf_listener *listener = field;
	struct address address;
	char *host, *path, *written;

	if (value_address(value, &address) < 0) {
		fault_expected(reader, key, value,
		    "ADDRESS:PORT with a numeric address, [IPV6]:PORT or "
		    "unix:/PATH");
		return 0;
	}
	written = string_new(value);
	host = string_new((struct text){ address.host, strlen(address.host) });
	path = string_new((struct text){ address.path, strlen(address.path) });
	if (!written || !host || !path) {
		memory_free(written);
		memory_free(host);
		memory_free(path);
		return -ENOMEM;
	}
	memory_free(listener->address);
	memory_free(listener->host);
	memory_free(listener->path);
	listener->kind = address.kind;
	listener->address = written;
	listener->host = host;
	listener->path = path;
	listener->port = address.port;
	return 0;
}

/* Lists */

/* Browsers write origins in lower case, so that is how they are kept. */
static int
add_origin(struct conf_list *list, struct text origin)
{
	int error = list_add(list, origin.at, origin.len);

	if (error < 0)
		return error;
	for (char *c = list->items[list->count - 1]; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return 0;
}

static int
set_origins(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	struct conf_list *list = field;
	struct text word;
	int error = 0;

	if (value.len == 0)
		list_clear(list);
	while (error == 0 && value_next_word(&value, &word)) {
		if (!value_origin_valid(word)) {
			fault_expected(reader, key, word,
			    "*, SCHEME://HOST[:PORT] or HOST[:PORT]");
		} else if (list->count == CONF_ARGS_MAX) {
			reader_fault(reader,
			    "more origins than one listener takes, expected "
			    "at most %d",
			    CONF_ARGS_MAX);
			break;
		} else {
			error = add_origin(list, word);
		}
	}
	return error;
}

/* The arguments of value into list.  -EINVAL: the fault is told. */
static int
split_exec(struct reader *reader, const struct key *key, struct text value,
    char *argument, struct conf_list *list)
{
	const char *fault = "";

	for (;;) {
		int more = value_next_argument(&value, argument, &fault);

		if (more == 0)
			return 0;
		if (more == 1 && list->count == CONF_ARGS_MAX) {
			reader_fault(reader,
			    "%s with too many words, expected at most %d",
			    key->name, CONF_ARGS_MAX);
			return -EINVAL;
		}
		if (more < 0) {
			reader_fault(reader, "%s with %s", key->name, fault);
			return more;
		}
		if (list_add(list, argument, strlen(argument)) < 0)
			return -ENOMEM;
	}
}

int
set_exec(struct reader *reader, const struct key *key, void *field,
    struct text value)
{
	struct conf_list *list = field, new = { 0 };
	char *argument = memory_alloc(value.len + 1);
	const char *program;
	int error;

	if (!argument)
		return -ENOMEM;
	error = split_exec(reader, key, value, argument, &new);
	memory_free(argument);
	program = new.count > 0 ? new.items[0] : "";
	if (error == 0 && program[0] != '/' &&
	    (program[0] == '\0' || strchr(program, '/'))) {
		fault_expected(reader, key, value,
		    "PROGRAM ARGUMENTS with an absolute path or a name to be "
		    "found in PATH");
		error = -EINVAL;
	}
	if (error < 0) {
		list_clear(&new);
		return error == -ENOMEM ? error : 0;
	}
	list_clear(list);
	*list = new;
	return 0;
}

/* The table */

#define FIELD(type, field) offsetof(struct type, field)

/* clang-format off */
static const struct key keys[] = {
	{ SECTION_LISTENER, "listen", set_address, 0, 0, 0, MANDATORY },
	{ SECTION_LISTENER, "tls", set_yes_no,
	    FIELD(conf_listener, tls), 0, 0, 0 },
	{ SECTION_LISTENER, "compression", set_yes_no,
	    FIELD(conf_listener, compression), 0, 0, 0 },
	{ SECTION_LISTENER, "origins", set_origins,
	    FIELD(conf_listener, origins), 0, 0, LIST },
	{ SECTION_TLS, "certificate", set_path,
	    FIELD(conf, tls_certificate), 0, 0, MANDATORY },
	{ SECTION_TLS, "key", set_path,
	    FIELD(conf, tls_key), 0, 0, MANDATORY },
#define LIMIT_ROW(name, kind, def, min, max, what) \
	{ SECTION_LIMITS, #name, set_##kind, \
	    FIELD(conf, limits.name), min, max, 0 },
	CONF_LIMITS(LIMIT_ROW)
#undef LIMIT_ROW
	{ SECTION_DRAIN, "timeout", set_TIME,
	    FIELD(conf, drain_timeout_us), 0, CONF_HOUR, 0 },
	{ SECTION_DRAIN, "retry_spread", set_TIME,
	    FIELD(conf, drain_retry_spread_us), 0, CONF_HOUR, 0 },
	{ SECTION_DRAIN, "close_rate", set_COUNT,
	    FIELD(conf, drain_close_rate), 1, 1000000, 0 },
	{ SECTION_CHANNEL, "history_messages", set_COUNT,
	    FIELD(conf_channel, history_messages), 0, 1000000000, 0 },
	{ SECTION_CHANNEL, "history_bytes", set_BYTES,
	    FIELD(conf_channel, history_bytes), 0, 1024 * CONF_GIB, 0 },
	{ SECTION_CHANNEL, "history_age", set_TIME,
	    FIELD(conf_channel, history_age_us), 0, 36500 * CONF_DAY, 0 },
	{ SECTION_CHANNEL, "buffer_bytes", set_BYTES,
	    FIELD(conf_channel, buffer_bytes), 64 * LIMITS_KIB, CONF_GIB, 0 },
	{ SECTION_CHANNEL, "idle_expiry", set_TIME,
	    FIELD(conf_channel, idle_expiry_us), 0, 36500 * CONF_DAY, 0 },
	{ SECTION_CHANNEL, "overrun", set_overrun,
	    FIELD(conf_channel, overrun), 0, 0, 0 },
	{ SECTION_STATE, "directory", set_path,
	    FIELD(conf, state_directory), 0, 0, 0 },
	{ SECTION_LOG, "level", set_level, FIELD(conf, log_level), 0, 0, 0 },
	{ SECTION_CONTROL, "listen", set_control,
	    FIELD(conf, control_path), 0, 0, 0 },
};
/* clang-format on */

/* Of this table, then of those of the other files; NULL: no more. */
static const struct key *
key_at(size_t index)
{
	if (index < LENGTH(keys))
		return &keys[index];
	index -= LENGTH(keys);
	if (index < feed_key_count)
		return &feed_keys[index];
	index -= feed_key_count;
	if (index < handler_key_count)
		return &handler_keys[index];
	index -= handler_key_count;
	return index < auth_key_count ? &auth_keys[index] : NULL;
}

/* A fault lists what could have been meant; limits are the most there are. */
#define KNOWN_MAX (CONF_FAULT_TEXT_MAX / 2)
#define NAME_BYTES(name, kind, def, min, max, what) +sizeof(#name ", ")
_Static_assert(0 CONF_LIMITS(NAME_BYTES) < KNOWN_MAX, "names of all limits");
#undef NAME_BYTES

/* option.KEY stands for all that begin so. */
static bool
key_is(const struct key *key, struct text name)
{
	const size_t dot = strcspn(key->name, ".");

	if (key->flags & PREFIX)
		return name.len > dot + 1 &&
		       memcmp(name.at, key->name, dot + 1) == 0;
	return text_equals(name, key->name);
}

/* NULL: there is none. */
static const struct key *
find_key(enum section_kind section, struct text name, size_t *ret_index)
{
	const struct key *key;
	size_t i;

	for (i = 0; (key = key_at(i)); i++)
		if (key->section == section && key_is(key, name))
			break;
	assert(i < CONF_KEYS_MAX); /* a section remembers each */
	*ret_index = i;
	return key;
}

static void
fault_unknown(struct reader *reader, struct text name)
{
	char known[KNOWN_MAX] = "";
	const struct key *key;
	size_t len = 0;

	for (size_t i = 0; (key = key_at(i)); i++) {
		if (key->section != reader->section->kind)
			continue;
		len += (size_t)snprintf(known + len, sizeof(known) - len,
		    "%s%s", len > 0 ? ", " : "", key->name);
		assert(len < sizeof(known));
	}
	reader_fault(reader, "unknown key %s in [%s], expected %s%s",
	    quote(name).text, section_types[reader->section->kind].word,
	    strchr(known, ',') ? "one of " : "", known);
}

int
key_set(struct reader *reader, const struct item *item)
{
	struct section *section = reader->section;
	const struct key *key;
	struct given *given;
	size_t index;

	assert(item->kind == ITEM_KEY);

	if (!section) {
		if (reader->before_sections)
			reader_fault(reader,
			    "key %s before any section, expected [SECTION] "
			    "above it",
			    quote(item->word).text);
		return 0;
	}
	key = find_key(section->kind, item->word, &index);
	if (!key) {
		fault_unknown(reader, item->word);
		return 0;
	}
	reader->word = item->word;
	given = &section->keys[index];
	if (!(key->flags & LIST) && given->text == section->opened.text &&
	    given->line >= section->opened.line)
		reader_fault(reader,
		    "key %s a second time, expected once (it is in line %d)",
		    key->name, given->line);
	*given = (struct given){ section->opened.text, item->line };
	return key->set(reader, key,
	    (char *)section_object(reader->conf, section) + key->offset,
	    item->rest);
}

void
conf_where(const struct conf *conf, const char *section, const char *key,
    char *out, size_t out_size)
{
	const struct conf_private *private = (const struct conf_private *)conf;
	const struct text name = { key, strlen(key) };

	out[0] = '\0';
	for (size_t i = 0; i < private->section_count; i++) {
		const struct section *found = &private->sections[i];
		const struct given *given;
		size_t index;

		if (strcmp(section_types[found->kind].word, section) != 0 ||
		    !find_key(found->kind, name, &index))
			continue;
		given = &found->keys[index];
		if (given->line > 0)
			(void)snprintf(out, out_size,
			    "%s:%d: ", private->texts.items[given->text - 1],
			    given->line); /* cut is fine */
	}
}

void
keys_tell_missing(struct reader *reader, const struct section *section)
{
	const struct key *key;

	for (size_t i = 0; (key = key_at(i)); i++)
		if (key->section == section->kind && key->flags & MANDATORY &&
		    section->keys[i].line == 0)
			reader_fault(reader, "%s has no %s, expected %s = ...",
			    quote_section(section).text, key->name, key->name);
}
