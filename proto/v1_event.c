/*
 * What a server says, read as a client should: known members are checked,
 * all others are passed over, whatever they are.
 *
 * Each object is a table of fields; a message has its members at the top, the
 * others have them one level down.  A member given twice counts the last time,
 * as in every JSON parser that does not care.
 */

#include "proto/v1_event.h"

#include "proto/base64.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define US_PER_S INT64_C(1000000)

enum type {
	TYPE_TEXT,
	TYPE_COUNT, /* 0 and more */
	TYPE_BOOL,
	TYPE_POSITION,
	TYPE_TIME,
	TYPE_DATA, /* the three ways of a payload */
	TYPE_PAYLOAD_TEXT,
	TYPE_BASE64,
	TYPE_OBJECT, /* its kind is what counts */
};

struct field {
	const char *name;
	enum type type;
	size_t at; /* in struct v1_event; of an object: its kind */
};

#define AT(member) offsetof(struct v1_event, member)

static const struct field top_fields[] = {
	{ "id", TYPE_COUNT, AT(id) },
	{ "channel", TYPE_TEXT, AT(channel) },
	{ "offset", TYPE_COUNT, AT(message.offset) },
	{ "time", TYPE_TIME, 0 },
	{ "data", TYPE_DATA, 0 },
	{ "text", TYPE_PAYLOAD_TEXT, 0 },
	{ "base64", TYPE_BASE64, 0 },
	{ "ok", TYPE_OBJECT, V1_EVENT_OK },
	{ "error", TYPE_OBJECT, V1_EVENT_ERROR },
	{ "gap", TYPE_OBJECT, V1_EVENT_GAP },
	{ "closing", TYPE_OBJECT, V1_EVENT_CLOSING },
	{ "notice", TYPE_OBJECT, V1_EVENT_NOTICE },
};

static const struct field ok_fields[] = {
	{ "channel", TYPE_TEXT, AT(channel) },
	{ "position", TYPE_POSITION, 0 },
	{ "recovered", TYPE_BOOL, AT(recovered) },
};

static const struct field error_fields[] = {
	{ "code", TYPE_TEXT, AT(code) },
	{ "message", TYPE_TEXT, AT(text) },
};

static const struct field gap_fields[] = {
	{ "channel", TYPE_TEXT, AT(channel) },
	{ "from", TYPE_COUNT, AT(gap_from) },
	{ "to", TYPE_COUNT, AT(gap_to) },
};

static const struct field closing_fields[] = {
	{ "reason", TYPE_TEXT, AT(reason) },
	{ "retry_after_ms", TYPE_COUNT, AT(retry_after_ms) },
};

static const struct field notice_fields[] = {
	{ "upstream", TYPE_TEXT, AT(upstream) },
	{ "state", TYPE_TEXT, AT(state) },
};

static const struct {
	const struct field *fields;
	size_t count;
} objects[] = {
	[V1_EVENT_OK] = { ok_fields, LENGTH(ok_fields) },
	[V1_EVENT_ERROR] = { error_fields, LENGTH(error_fields) },
	[V1_EVENT_GAP] = { gap_fields, LENGTH(gap_fields) },
	[V1_EVENT_CLOSING] = { closing_fields, LENGTH(closing_fields) },
	[V1_EVENT_NOTICE] = { notice_fields, LENGTH(notice_fields) },
};

struct parse {
	struct v1_event event;
	bool has_kind, has_payload;
	struct json_member body;
};

/* All take_*: 0, or -EBADMSG: not of the type. */
static int
take_string(const struct json_member *member, char **ret_text, size_t *ret_len)
{
	char *text;
	size_t len;
	int64_t n;

	if (!json_member_string(member, &text, &len))
		return -EBADMSG;
	n = json_unescape(text, len);
	if (n < 0)
		return -EBADMSG;
	*ret_text = text;
	*ret_len = (size_t)n;
	return 0;
}

static int
take_text(const struct json_member *member, struct v1_text *ret_text)
{
	char *text;
	size_t len;

	if (take_string(member, &text, &len) < 0)
		return -EBADMSG;
	*ret_text = (struct v1_text){ text, len };
	return 0;
}

static int
take_count(const struct json_member *member, int64_t *ret_count)
{
	int64_t count;

	if (!json_member_integer(member, &count) || count < 0)
		return -EBADMSG;
	*ret_count = count;
	return 0;
}

static int
take_bool(const struct json_member *member, bool *ret_bool)
{
	if (member->value[0] != 't' && member->value[0] != 'f')
		return -EBADMSG;
	*ret_bool = member->value[0] == 't';
	return 0;
}

static int
take_position(const struct json_member *member, struct v1_event *event)
{
	struct v1_text text;

	if (take_text(member, &text) < 0 ||
	    position_get(text.text, text.len, &event->position) < 0)
		return -EBADMSG;
	event->has_position = true;
	return 0;
}

/* SECONDS with or without decimals; those beyond microseconds are cut. */
static int
take_time(const struct json_member *member, int64_t *ret_us)
{
	const char *text = (const char *)member->value;
	const char *dot = memchr(text, '.', member->value_len);
	size_t whole = dot ? (size_t)(dot - text) : member->value_len;
	struct json_member seconds = { .value = member->value,
		.value_len = whole };
	int64_t us, rest = 0, unit = US_PER_S / 10;

	if (!json_member_integer(&seconds, &us) || us < 0)
		return -EBADMSG;
	for (size_t at = whole + 1; at < member->value_len; at++) {
		int digit = text[at] - '0';

		if (digit < 0 || digit > 9) /* an exponent */
			return -EBADMSG;
		rest += digit * unit;
		unit /= 10;
	}
	if (__builtin_mul_overflow(us, US_PER_S, &us) ||
	    __builtin_add_overflow(us, rest, &us))
		return -EBADMSG;
	*ret_us = us;
	return 0;
}

static int
take_payload(
    struct parse *parse, const struct json_member *member, enum type type)
{
	struct message *message = &parse->event.message;
	char *text = (char *)member->value;
	size_t len = member->value_len;
	int64_t n;

	if (type != TYPE_DATA && take_string(member, &text, &len) < 0)
		return -EBADMSG;
	message->kind = type == TYPE_DATA ? MESSAGE_JSON : MESSAGE_TEXT;
	if (type == TYPE_BASE64) {
		n = base64_get(text, text, len);
		if (n < 0)
			return -EBADMSG;
		len = (size_t)n;
		message->kind = MESSAGE_BINARY;
	}
	message->payload = (const uint8_t *)text;
	message->len = len;
	parse->has_payload = true;
	return 0;
}

static int
take(struct parse *parse, const struct field *field,
    const struct json_member *member)
{
	/* Only what is known to lie there is written: see AT(). */
	void *at = (uint8_t *)&parse->event + field->at;

	switch (field->type) {
	case TYPE_TEXT:
		return take_text(member, at);
	case TYPE_COUNT:
		return take_count(member, at);
	case TYPE_BOOL:
		return take_bool(member, at);
	case TYPE_POSITION:
		return take_position(member, &parse->event);
	case TYPE_TIME:
		return take_time(member, &parse->event.message.time_us);
	case TYPE_DATA:
	case TYPE_PAYLOAD_TEXT:
	case TYPE_BASE64:
		return take_payload(parse, member, field->type);
	case TYPE_OBJECT:
		parse->has_kind = true;
		parse->event.kind = (enum v1_event_kind)field->at;
		parse->body = *member;
		return 0;
	}
	assert(!"a type of field");
	return -EBADMSG;
}

static int
walk(struct parse *parse, uint8_t *text, size_t len, unsigned depth_max,
    const struct field *fields, size_t count)
{
	struct json_members members;
	struct json_member member;
	int result;

	if (json_members_begin(&members, text, len, depth_max) < 0)
		return -EBADMSG;
	while ((result = json_members_next(&members, &member)) == 1) {
		for (size_t i = 0; i < count; i++) {
			if (strlen(fields[i].name) != member.key_len ||
			    memcmp(fields[i].name, member.key,
				member.key_len) != 0)
				continue;
			if (take(parse, &fields[i], &member) < 0)
				return -EBADMSG;
		}
	}
	return result < 0 ? -EBADMSG : 0;
}

/* What must be there for a program to make sense of it. */
static bool
complete(const struct v1_event *event)
{
	switch (event->kind) {
	case V1_EVENT_OK:
		return event->id != V1_NO_ID;
	case V1_EVENT_ERROR:
		return event->code.text;
	case V1_EVENT_GAP:
		return event->channel.text && event->gap_from > 0 &&
		       event->gap_from <= event->gap_to;
	case V1_EVENT_MESSAGE:
	case V1_EVENT_CLOSING:
	case V1_EVENT_NOTICE:
	case V1_EVENT_UNKNOWN:
		return true;
	}
	assert(!"a kind of event");
	return false;
}

int
v1_parse_event(uint8_t *text, size_t len, struct v1_event *ret_event)
{
	struct parse parse = { .event = { .kind = V1_EVENT_UNKNOWN,
				   .id = V1_NO_ID,
				   .retry_after_ms = -1 } };
	struct v1_event *event = &parse.event;
	int error;

	assert(text || len == 0);
	if (!utf8_valid(text, len))
		return -EBADMSG;
	error =
	    walk(&parse, text, len, JSON_DEPTH_MAX + JSON_ENVELOPE_DEPTH_MAX,
		top_fields, LENGTH(top_fields));
	if (error < 0)
		return error;
	if (parse.has_kind) {
		error = walk(&parse, parse.body.value, parse.body.value_len,
		    JSON_DEPTH_MAX + JSON_ENVELOPE_DEPTH_MAX,
		    objects[event->kind].fields, objects[event->kind].count);
		if (error < 0)
			return error;
	} else if (event->channel.text && event->message.offset > 0 &&
		   parse.has_payload) {
		event->kind = V1_EVENT_MESSAGE;
		event->message.channel = event->channel.text;
		event->message.channel_len = event->channel.len;
	}
	if (!complete(event))
		return -EBADMSG;
	*ret_event = parse.event;
	return 0;
}
