/*
 * Commands of earshot.v1, read without a DOM: what is published is handed on
 * as the bytes that came.
 *
 * The happy path: the members of the whole object are walked once, which
 * checks all of its JSON and finds the id and the command; then the members
 * of the command are walked, and each field that is there is taken.
 *
 * What can go wrong, in the order in which it is told:
 * - it is not JSON, or not an object;
 * - the object's own members, first fault first; the walk goes on after one,
 *   so that the id is found wherever it stands;
 * - the id;
 * - the command's members, then its fields.
 * An unknown member is a fault: what a later version adds must not be passed
 * over in silence by a server that does not know it.
 */

#include "proto/v1.h"

#include "proto/base64.h"
#include "proto/channel.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_SHOWN_MAX 40 /* bytes of a name we do not know */
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum field {
	FIELD_CHANNEL,
	FIELD_FROM,
	FIELD_DATA,
	FIELD_TEXT,
	FIELD_BASE64,
	FIELD_MAX
};

#define BIT(field) (1u << (field))
#define PAYLOADS (BIT(FIELD_DATA) | BIT(FIELD_TEXT) | BIT(FIELD_BASE64))

static const char *const field_names[FIELD_MAX] = {
	[FIELD_CHANNEL] = "channel",
	[FIELD_FROM] = "from",
	[FIELD_DATA] = "data",
	[FIELD_TEXT] = "text",
	[FIELD_BASE64] = "base64",
};

static const struct {
	const char *name;
	unsigned fields; /* that it may have; channel is in all that have any */
	const char *expected;
} kinds[] = {
	[V1_SUBSCRIBE] = { "subscribe", BIT(FIELD_CHANNEL) | BIT(FIELD_FROM),
	    "channel, from" },
	[V1_UNSUBSCRIBE] = { "unsubscribe", BIT(FIELD_CHANNEL), "channel" },
	[V1_PUBLISH] = { "publish", BIT(FIELD_CHANNEL) | PAYLOADS,
	    "channel, data, text, base64" },
	[V1_PING] = { "ping", 0, "nothing" },
};

struct parse {
	struct v1_command command;
	struct v1_fault *fault; /* the first one found, if failed */
	bool failed, has_id, has_kind;
	struct json_member body; /* of the command */
	unsigned there; /* bits of fields */
	struct json_member fields[FIELD_MAX];
};

static int fail(struct parse *parse, enum v1_error error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The first fault counts.  Always -EBADMSG. */
static int
fail(struct parse *parse, enum v1_error error, const char *fmt, ...)
{
	struct v1_fault *fault = parse->fault;
	va_list ap;
	int n;

	if (parse->failed)
		return -EBADMSG;
	parse->failed = true;
	fault->error = error;
	va_start(ap, fmt);
	n = vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
	va_end(ap);
	assert(n > 0 && (size_t)n < sizeof(fault->text));
	return -EBADMSG;
}

static const char *
command_name(const struct parse *parse)
{
	return kinds[parse->command.kind].name;
}

/* How much of a name is shown: whole characters. */
static int
shown(const char *name, size_t len)
{
	size_t n = len < NAME_SHOWN_MAX ? len : NAME_SHOWN_MAX;

	while (n > 0 && n < len && (name[n] & 0xc0) == 0x80)
		n--;
	return (int)n;
}

/* A key may be written with escapes; then it is decoded in its place. */
static void
decode_key(struct json_member *member)
{
	int64_t len;

	if (!memchr(member->key, '\\', member->key_len))
		return;
	len = json_unescape(member->key, member->key_len);
	member->key_len = len < 0 ? 0 : (size_t)len; /* no name of ours */
}

static bool
key_is(const struct json_member *member, const char *name)
{
	return strlen(name) == member->key_len &&
	       memcmp(member->key, name, member->key_len) == 0;
}

static void
take_id(struct parse *parse, const struct json_member *member)
{
	int64_t id;

	if (parse->has_id) {
		/* Which of the two would an answer be for? */
		parse->fault->id = V1_NO_ID;
		(void)fail(parse, V1_ERROR_DUPLICATE_FIELD, "id: given twice");
		return;
	}
	parse->has_id = true;
	if (!json_member_integer(member, &id) || id < 0 || id > V1_ID_MAX) {
		(void)fail(parse, V1_ERROR_BAD_ID,
		    "id: expected an integer from 0 to %lld",
		    (long long)V1_ID_MAX);
		return;
	}
	parse->command.id = id;
	parse->fault->id = id;
}

static void
take_top(struct parse *parse, struct json_member *member)
{
	decode_key(member);
	if (key_is(member, "id")) {
		take_id(parse, member);
		return;
	}
	for (size_t i = 0; i < LENGTH(kinds); i++) {
		if (!key_is(member, kinds[i].name))
			continue;
		if (parse->has_kind) {
			(void)fail(parse, V1_ERROR_BAD_COMMAND,
			    "%s: there is a %s already, expected one command",
			    kinds[i].name, command_name(parse));
			return;
		}
		parse->has_kind = true;
		parse->command.kind = (enum v1_command_kind)i;
		parse->body = *member;
		return;
	}
	(void)fail(parse, V1_ERROR_UNKNOWN_COMMAND,
	    "%.*s: expected id and one of subscribe, unsubscribe, publish, "
	    "ping",
	    shown(member->key, member->key_len), member->key);
}

/* Not an object at all: is it JSON? */
static int
no_object(struct parse *parse, const uint8_t *text, size_t len)
{
	size_t at = 0;
	int error = json_check(text, len, &at);

	if (error == -EBADMSG)
		return fail(parse, V1_ERROR_BAD_JSON,
		    "not JSON: see byte %zu of %zu", at, len);
	return fail(parse, V1_ERROR_BAD_COMMAND,
	    "expected an object with id and one command");
}

static int
parse_top(struct parse *parse, uint8_t *text, size_t len)
{
	struct json_members members;
	struct json_member member;
	int result;

	if (!utf8_valid(text, len))
		return fail(parse, V1_ERROR_BAD_JSON, "not JSON: not UTF-8");
	/* The command's object is a level around its fields. */
	if (json_members_begin(&members, text, len, JSON_DEPTH_MAX + 1) < 0)
		return no_object(parse, text, len);
	while ((result = json_members_next(&members, &member)) == 1)
		/* A number that ends the text may be half of one. */
		if (members.at < len)
			take_top(parse, &member);
	if (result < 0)
		parse->failed = false; /* not JSON comes before all else */
	if (result == -E2BIG)
		return fail(parse, V1_ERROR_BAD_JSON,
		    "nested deeper than %d, see byte %zu", JSON_DEPTH_MAX,
		    members.at);
	if (result < 0)
		return fail(parse, V1_ERROR_BAD_JSON,
		    "not JSON: see byte %zu of %zu", members.at, len);
	if (parse->failed)
		return -EBADMSG;
	if (!parse->has_id)
		return fail(parse, V1_ERROR_BAD_ID, "id: missing");
	if (!parse->has_kind)
		return fail(parse, V1_ERROR_BAD_COMMAND,
		    "expected one of subscribe, unsubscribe, publish, ping");
	return 0;
}

static int
take_field(struct parse *parse, struct json_member *member)
{
	unsigned may = kinds[parse->command.kind].fields;
	unsigned i = 0;

	decode_key(member);
	while (i < FIELD_MAX &&
	       !((may & BIT(i)) && key_is(member, field_names[i])))
		i++;
	if (i == FIELD_MAX)
		return fail(parse, V1_ERROR_UNKNOWN_FIELD,
		    "%s.%.*s: unknown, expected %s", command_name(parse),
		    shown(member->key, member->key_len), member->key,
		    kinds[parse->command.kind].expected);
	if (parse->there & BIT(i))
		return fail(parse, V1_ERROR_DUPLICATE_FIELD,
		    "%s.%s: given twice", command_name(parse), field_names[i]);
	if ((parse->there & PAYLOADS) && (BIT(i) & PAYLOADS))
		return fail(parse, V1_ERROR_DUPLICATE_FIELD,
		    "%s.%s: expected one of data, text, base64",
		    command_name(parse), field_names[i]);
	parse->there |= BIT(i);
	parse->fields[i] = *member;
	return 0;
}

static int
parse_fields(struct parse *parse)
{
	struct json_members members;
	struct json_member member;
	int result;

	if (json_members_begin(&members, parse->body.value,
		parse->body.value_len, JSON_DEPTH_MAX) < 0)
		return fail(parse, V1_ERROR_BAD_TYPE, "%s: expected an object",
		    command_name(parse));
	while ((result = json_members_next(&members, &member)) == 1)
		if (take_field(parse, &member) < 0)
			return -EBADMSG;
	assert(result == 0); /* walked before, a level deeper */
	return 0;
}

/* The decoded string of a field that is there. */
static int
take_string(struct parse *parse, enum field field, enum v1_error broken,
    char **ret_text, size_t *ret_len)
{
	char *text;
	size_t len;
	int64_t n;

	if (!json_member_string(&parse->fields[field], &text, &len))
		return fail(parse, V1_ERROR_BAD_TYPE,
		    "%s.%s: expected a string", command_name(parse),
		    field_names[field]);
	n = json_unescape(text, len);
	if (n < 0)
		return fail(parse, broken,
		    "%s.%s: half of a surrogate pair is no character",
		    command_name(parse), field_names[field]);
	*ret_text = text;
	*ret_len = (size_t)n;
	return 0;
}

static int
take_channel(struct parse *parse)
{
	char *text;
	size_t len;

	if (!(parse->there & BIT(FIELD_CHANNEL)))
		return fail(parse, V1_ERROR_MISSING_FIELD,
		    "%s.channel: missing", command_name(parse));
	if (take_string(
		parse, FIELD_CHANNEL, V1_ERROR_BAD_CHANNEL, &text, &len) < 0)
		return -EBADMSG;
	if (!channel_name_valid(text, len))
		return fail(parse, V1_ERROR_BAD_CHANNEL,
		    "%s.channel: expected 1 to %d of A-Z a-z 0-9 _ - . :, the "
		    "first a letter or digit",
		    command_name(parse), CHANNEL_NAME_MAX);
	parse->command.channel = text;
	parse->command.channel_len = len;
	return 0;
}

static int
take_from(struct parse *parse)
{
	char *text;
	size_t len;

	if (!(parse->there & BIT(FIELD_FROM)))
		return 0; /* FROM_LIVE */
	if (take_string(parse, FIELD_FROM, V1_ERROR_BAD_FROM, &text, &len) < 0)
		return -EBADMSG;
	/* Who means live says nothing: "" is a position that got lost. */
	if (len == 0 || from_get(text, len, &parse->command.from) < 0)
		return fail(parse, V1_ERROR_BAD_FROM,
		    "%s.from: expected oldest, -N or EPOCH:OFFSET",
		    command_name(parse));
	return 0;
}

static int
take_base64(struct parse *parse, char *text, size_t len)
{
	int64_t n = base64_get(text, text, len);

	if (n < 0)
		return fail(parse, V1_ERROR_BAD_BASE64,
		    "%s.base64: expected RFC 4648 base64 with its padding",
		    command_name(parse));
	parse->command.message_kind = MESSAGE_BINARY;
	parse->command.payload_len = (size_t)n;
	return 0;
}

static int
take_payload(struct parse *parse)
{
	struct v1_command *command = &parse->command;
	const struct json_member *data = &parse->fields[FIELD_DATA];
	bool binary = parse->there & BIT(FIELD_BASE64);
	char *text;
	size_t len;

	if (!(parse->there & PAYLOADS))
		return fail(parse, V1_ERROR_MISSING_FIELD,
		    "publish: expected one of data, text, base64");
	if (parse->there & BIT(FIELD_DATA)) {
		command->message_kind = MESSAGE_JSON;
		command->payload = data->value;
		command->payload_len = data->value_len;
		return 0;
	}
	if (take_string(parse, binary ? FIELD_BASE64 : FIELD_TEXT,
		binary ? V1_ERROR_BAD_BASE64 : V1_ERROR_BAD_UTF8, &text,
		&len) < 0)
		return -EBADMSG;
	command->message_kind = MESSAGE_TEXT;
	command->payload = (const uint8_t *)text;
	command->payload_len = len;
	return binary ? take_base64(parse, text, len) : 0;
}

int
v1_parse_command(uint8_t *text, size_t len, struct v1_command *ret_command,
    struct v1_fault *ret_fault)
{
	struct v1_fault fault = { .id = V1_NO_ID };
	struct parse parse = { .fault = &fault };
	int error;

	assert(text || len == 0);
	error = parse_top(&parse, text, len);
	if (error == 0)
		error = parse_fields(&parse);
	if (error == 0 && kinds[parse.command.kind].fields != 0)
		error = take_channel(&parse);
	if (error == 0 && parse.command.kind == V1_SUBSCRIBE)
		error = take_from(&parse);
	if (error == 0 && parse.command.kind == V1_PUBLISH)
		error = take_payload(&parse);
	if (error < 0)
		*ret_fault = fault;
	else
		*ret_command = parse.command;
	return error;
}
