/*
 * The keys of feeds, and the setters only they need.  As keys.c.
 *
 * What a setter stores tells what a field is, so that feeds can be freed and
 * compared key by key: whoever adds a key cannot forget to compare it.
 */

#include "conf/keys_internal.h"
#include "daemon/base/memory.h"
#include "proto/channel.h"
#include "proto/url.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define URL_BYTES_MAX 2048

/* Words */

static int
set_choice(struct reader *reader, const struct key *key, int *field,
    struct text value, const struct choice choices[3], const char *expected)
{
	int chosen = choose(value, choices, choices[2].word ? 3 : 2);

	if (chosen < 0)
		fault_expected(reader, key, value, expected);
	else
		*field = chosen;
	return 0;
}

/* An enum whose values are the words' places; all of them are ints. */
#define CHOICE_SETTER(name, expected, first, second, third)                    \
	static SETTER(name)                                                    \
	{                                                                      \
		static const struct choice choices[] = { { first, 0 },         \
			{ second, 1 }, { third, 2 } };                         \
                                                                               \
		return set_choice(                                             \
		    reader, key, field, value, choices, expected);             \
	}

CHOICE_SETTER(
    set_not_utf8, "binary, reject or replace", "binary", "reject", "replace")
CHOICE_SETTER(set_over_rate, "wait or drop", "wait", "drop", NULL)
CHOICE_SETTER(set_framing, "line or null", "line", "null", NULL)
CHOICE_SETTER(
    set_restart, "always, on_failure or never", "always", "on_failure", "never")
CHOICE_SETTER(set_start, "always or demand", "always", "demand", NULL)
CHOICE_SETTER(set_begin, "end or start", "end", "start", NULL)
CHOICE_SETTER(set_kind, "stream or datagram", "stream", "datagram", NULL)

_Static_assert(sizeof(enum conf_framing) == sizeof(int), "CHOICE_SETTER");

/* Strings */

static bool
is_printable(struct text value)
{
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.at[i] < ' ' || value.at[i] == 0x7f)
			return false;
	return value.len > 0;
}

static bool
is_token_character(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static SETTER(set_token)
{
	size_t n = 0;

	while (n < value.len && is_token_character(value.at[n]))
		n++;
	if (n > 0 && n == value.len && n <= 64)
		return replace_string(field, value);
	fault_expected(reader, key, value,
	    "a token of at most 64 letters, digits and signs like - . _");
	return 0;
}

static SETTER(set_origin)
{
	if (value_origin_valid(value) && !text_equals(value, "*"))
		return replace_string(field, value);
	fault_expected(reader, key, value, "SCHEME://HOST[:PORT]");
	return 0;
}

static SETTER(set_user)
{
	if (is_printable(value) && value.len <= 64 &&
	    !memchr(value.at, ' ', value.len))
		return replace_string(field, value);
	fault_expected(reader, key, value, "the name or number of one");
	return 0;
}

/* Has to fit into a socket's address. */
static SETTER(set_socket_path)
{
	if (value_path_valid(value) && value.len < 108)
		return replace_string(field, value);
	fault_expected(
	    reader, key, value, "an absolute path of at most 107 bytes");
	return 0;
}

static SETTER(set_mode)
{
	int64_t mode = 0;
	size_t i;

	for (i = 0; i < value.len && i < 5; i++) {
		if (value.at[i] < '0' || value.at[i] > '7')
			break;
		mode = mode * 8 + (value.at[i] - '0');
	}
	if (i == value.len && i >= 3 && mode <= 0777) {
		*(int64_t *)field = mode;
		return 0;
	}
	fault_expected(reader, key, value, "octal permissions, as in 0660");
	return 0;
}

/* Lists, a value each */

static int
add_value(struct reader *reader, const struct key *key, struct conf_list *list,
    struct text value)
{
	if (list->count < CONF_ARGS_MAX)
		return list_add(list, value.at, value.len);
	reader_fault(reader, "%s too often, expected at most %d times",
	    key->name, CONF_ARGS_MAX);
	return 0;
}

static bool
is_url(struct text value)
{
	char text[URL_BYTES_MAX];
	struct url url;
	char *path;

	if (value.len >= sizeof(text) || !is_printable(value) ||
	    memchr(value.at, '#', value.len) ||
	    memchr(value.at, ' ', value.len))
		return false;
	memcpy(text, value.at, value.len);
	text[value.len] = '\0';
	if (strncmp(text, "ws://", 5) != 0 && strncmp(text, "wss://", 6) != 0)
		return false;
	/* The path is the peer's: only its beginning is looked for. */
	path = strstr(text, "://") + 3;
	path += strcspn(path, "/?");
	*path = '\0';
	return url_parse(text, &url) == 0;
}

static SETTER(add_urls)
{
	struct conf_list *list = field;
	struct text word;
	int error = 0;

	if (value.len == 0)
		list_clear(list);
	while (error == 0 && value_next_word(&value, &word)) {
		if (!is_url(word)) {
			fault_expected(reader, key, word,
			    "ws://HOST[:PORT][/PATH] or wss://...");
			break;
		}
		/* libwebsockets would check a certificate for the name "[". */
		if (word.len > 7 && memcmp(word.at, "wss://[", 7) == 0) {
			fault_expected(reader, key, word,
			    "a name or an IPv4 address behind wss://");
			break;
		}
		error = add_value(reader, key, list, word);
	}
	return error;
}

static SETTER(add_send)
{
	if (value.len > 0)
		return add_value(reader, key, field, value);
	list_clear(field);
	return 0;
}

static SETTER(add_header)
{
	size_t n = 0;

	if (value.len == 0) {
		list_clear(field);
		return 0;
	}
	while (n < value.len && is_token_character(value.at[n]))
		n++;
	if (n > 0 && n < value.len && value.at[n] == ':' && is_printable(value))
		return add_value(reader, key, field, value);
	fault_expected(reader, key, value, "NAME: VALUE");
	return 0;
}

static SETTER(add_environment)
{
	const char *equals;

	if (value.len == 0) {
		list_clear(field);
		return 0;
	}
	equals = memchr(value.at, '=', value.len);
	if (equals && equals > value.at &&
	    !memchr(value.at, ' ', (size_t)(equals - value.at)))
		return add_value(reader, key, field, value);
	fault_expected(reader, key, value, "NAME=VALUE");
	return 0;
}

/* The table */

#define FIELD(type, field) offsetof(struct conf_##type, field)

/* clang-format off */
#define FEED_ROWS(section, type) \
	{ section, "channel", set_channel, \
	    FIELD(type, feed.channel), 0, 0, MANDATORY }, \
	{ section, "message_bytes_max", set_BYTES, \
	    FIELD(type, feed.message_bytes_max), 1, 256 * LIMITS_MIB, 0 }, \
	{ section, "max_rate", set_COUNT, \
	    FIELD(type, feed.max_rate), 0, 1000000000, 0 }, \
	{ section, "over_rate", set_over_rate, \
	    FIELD(type, feed.over_rate), 0, 0, 0 }, \
	{ section, "not_utf8", set_not_utf8, \
	    FIELD(type, feed.not_utf8), 0, 0, 0 }, \
	{ section, "backoff_min", set_TIME, \
	    FIELD(type, feed.backoff_min_us), LIMITS_MS, CONF_HOUR, 0 }, \
	{ section, "backoff_max", set_TIME, \
	    FIELD(type, feed.backoff_max_us), LIMITS_MS, CONF_DAY, 0 }

const struct key feed_keys[] = {
	{ SECTION_COMMAND, "exec", set_exec,
	    FIELD(command, exec), 0, 0, MANDATORY },
	FEED_ROWS(SECTION_COMMAND, command),
	{ SECTION_COMMAND, "environment", add_environment,
	    FIELD(command, environment), 0, 0, LIST },
	{ SECTION_COMMAND, "directory", set_path,
	    FIELD(command, directory), 0, 0, 0 },
	{ SECTION_COMMAND, "framing", set_framing,
	    FIELD(command, framing), 0, 0, 0 },
	{ SECTION_COMMAND, "restart", set_restart,
	    FIELD(command, restart), 0, 0, 0 },
	{ SECTION_COMMAND, "start", set_start,
	    FIELD(command, start), 0, 0, 0 },
	{ SECTION_COMMAND, "memory_max", set_BYTES,
	    FIELD(command, memory_max), 0, 1024 * CONF_GIB, 0 },
	{ SECTION_COMMAND, "cpu_max", set_TIME,
	    FIELD(command, cpu_max_us), 0, 365 * CONF_DAY, 0 },
	{ SECTION_COMMAND, "stop_timeout", set_TIME,
	    FIELD(command, stop_timeout_us), 0, CONF_HOUR, 0 },

	{ SECTION_FILE, "path", set_path, FIELD(file, path), 0, 0, MANDATORY },
	FEED_ROWS(SECTION_FILE, file),
	{ SECTION_FILE, "framing", set_framing, FIELD(file, framing), 0, 0, 0 },
	{ SECTION_FILE, "begin", set_begin, FIELD(file, begin), 0, 0, 0 },

	{ SECTION_SOCKET, "path", set_socket_path,
	    FIELD(socket, path), 0, 0, MANDATORY },
	FEED_ROWS(SECTION_SOCKET, socket),
	{ SECTION_SOCKET, "kind", set_kind, FIELD(socket, kind), 0, 0, 0 },
	{ SECTION_SOCKET, "framing", set_framing,
	    FIELD(socket, framing), 0, 0, 0 },
	{ SECTION_SOCKET, "mode", set_mode, FIELD(socket, mode), 0, 0, 0 },
	{ SECTION_SOCKET, "owner", set_user, FIELD(socket, owner), 0, 0, 0 },
	{ SECTION_SOCKET, "group", set_user, FIELD(socket, group), 0, 0, 0 },
	{ SECTION_SOCKET, "connections_max", set_COUNT,
	    FIELD(socket, connections_max), 1, 65536, 0 },

	{ SECTION_UPSTREAM, "url", add_urls,
	    FIELD(upstream, urls), 0, 0, MANDATORY | LIST },
	FEED_ROWS(SECTION_UPSTREAM, upstream),
	{ SECTION_UPSTREAM, "send", add_send,
	    FIELD(upstream, sends), 0, 0, LIST },
	{ SECTION_UPSTREAM, "header", add_header,
	    FIELD(upstream, headers), 0, 0, LIST },
	{ SECTION_UPSTREAM, "subprotocol", set_token,
	    FIELD(upstream, subprotocol), 0, 0, 0 },
	{ SECTION_UPSTREAM, "origin", set_origin,
	    FIELD(upstream, origin), 0, 0, 0 },
	{ SECTION_UPSTREAM, "ca", set_path, FIELD(upstream, ca), 0, 0, 0 },
	{ SECTION_UPSTREAM, "certificate", set_path,
	    FIELD(upstream, certificate), 0, 0, 0 },
	{ SECTION_UPSTREAM, "key", set_path, FIELD(upstream, key), 0, 0, 0 },
	{ SECTION_UPSTREAM, "connect_timeout", set_TIME,
	    FIELD(upstream, connect_timeout_us),
	    10 * LIMITS_MS, CONF_HOUR, 0 },
	{ SECTION_UPSTREAM, "ping_interval", set_TIME,
	    FIELD(upstream, ping_interval_us), 10 * LIMITS_MS, CONF_HOUR, 0 },
	{ SECTION_UPSTREAM, "pong_timeout", set_TIME,
	    FIELD(upstream, pong_timeout_us), 10 * LIMITS_MS, CONF_HOUR, 0 },
	{ SECTION_UPSTREAM, "stale_after", set_TIME,
	    FIELD(upstream, stale_after_us), 0, 365 * CONF_DAY, 0 },
	{ SECTION_UPSTREAM, "compression", set_yes_no,
	    FIELD(upstream, compression), 0, 0, 0 },
	{ SECTION_UPSTREAM, "mirror", set_yes_no,
	    FIELD(upstream, mirror), 0, 0, 0 },
	{ SECTION_UPSTREAM, "remote_channel", set_channel,
	    FIELD(upstream, remote_channel), 0, 0, 0 },
};
/* clang-format on */

const size_t feed_key_count = LENGTH(feed_keys);

/* What the setters store */

static bool
is_string(const struct key *key)
{
	return key->set == set_channel || key->set == set_path ||
	       key->set == set_socket_path || key->set == set_token ||
	       key->set == set_origin || key->set == set_user;
}

static bool
is_list(const struct key *key)
{
	return key->flags & LIST || key->set == set_exec;
}

static bool
is_number(const struct key *key)
{
	return key->set == set_COUNT || key->set == set_BYTES ||
	       key->set == set_TIME || key->set == set_mode;
}

void
keys_fini(enum section_kind section, void *object)
{
	for (size_t i = 0; i < feed_key_count; i++) {
		const struct key *key = &feed_keys[i];
		char *field = (char *)object + key->offset;

		if (key->section != section)
			continue;
		if (is_list(key))
			list_clear((struct conf_list *)field);
		else if (is_string(key))
			memory_free(*(char **)field);
	}
}

static bool
string_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
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
field_equal(const struct key *key, const char *a, const char *b)
{
	if (is_list(key))
		return list_equal(
		    (const struct conf_list *)a, (const struct conf_list *)b);
	if (is_string(key))
		return string_equal(*(char *const *)a, *(char *const *)b);
	if (is_number(key))
		return *(const int64_t *)a == *(const int64_t *)b;
	if (key->set == set_yes_no)
		return *(const bool *)a == *(const bool *)b;
	return *(const int *)a == *(const int *)b; /* CHOICE_SETTER */
}

bool
keys_equal(enum section_kind section, const void *a, const void *b)
{
	for (size_t i = 0; i < feed_key_count; i++) {
		const struct key *key = &feed_keys[i];

		if (key->section == section &&
		    !field_equal(key, (const char *)a + key->offset,
			(const char *)b + key->offset))
			return false;
	}
	return true;
}
