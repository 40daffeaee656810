/*
 * wire_get: a command out of its line, in place.
 *
 * What can go wrong: the first fault is told in words, with the key's name.
 */

#include "daemon/handler/wire.h"
#include "proto/base64.h"
#include "proto/channel.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct get {
	struct wire_command *command;
	char *fault;
	bool faulty;
};

static const struct {
	const char *word;
	enum wire_kind kind;
} words[] = {
	{ "done", WIRE_DONE },
	{ "send", WIRE_SEND },
	{ "publish", WIRE_PUBLISH },
	{ "close", WIRE_CLOSE },
	{ "refuse", WIRE_REFUSE },
	{ "subscribe", WIRE_SUBSCRIBE },
	{ "unsubscribe", WIRE_UNSUBSCRIBE },
	{ "change", WIRE_CHANGE },
};

static void
fault(struct get *get, const char *text, const char *key, size_t len)
{
	if (get->faulty)
		return;
	get->faulty = true;
	(void)snprintf(get->fault, WIRE_FAULT_BYTES_MAX, "%s%s%.*s", text,
	    len > 0 ? ": " : "", (int)(len < 32 ? len : 32),
	    key); /* cut where it is too long */
}

static bool
key_is(const struct json_member *member, const char *key)
{
	return member->key_len == strlen(key) &&
	       memcmp(member->key, key, member->key_len) == 0;
}

/* A string's characters, where they stand.  false: it is none. */
static bool
get_string(const struct json_member *member, char **ret_text, size_t *ret_len)
{
	char *text;
	size_t len;
	int64_t decoded = -1;

	if (json_member_string(member, &text, &len))
		decoded = json_unescape(text, len);
	if (decoded < 0)
		return false;
	*ret_text = text;
	*ret_len = (size_t)decoded;
	return true;
}

static bool
get_number(const char *text, size_t len, uint32_t *ret_number, size_t *ret_used)
{
	uint64_t number = 0;
	size_t at = 0;

	while (at < len && at < 10 && text[at] >= '0' && text[at] <= '9')
		number = number * 10 + (uint64_t)(text[at++] - '0');
	*ret_number = (uint32_t)number;
	*ret_used = at;
	return at > 0 && number <= UINT32_MAX;
}

static bool
get_conn(const struct json_member *member, es_conn *ret_conn)
{
	uint32_t slot, generation;
	size_t len, used, more;
	char *text;

	if (!get_string(member, &text, &len) ||
	    !get_number(text, len, &slot, &used) || used + 1 >= len ||
	    text[used] != '.' ||
	    !get_number(text + used + 1, len - used - 1, &generation, &more) ||
	    used + 1 + more != len || generation == UINT32_MAX)
		return false;
	*ret_conn = conn_name(slot, generation);
	return true;
}

static bool
get_payload(struct get *get, const struct json_member *member)
{
	struct wire_command *command = get->command;
	char *text;
	size_t len;
	int64_t decoded;

	if (command->payload != NULL)
		return false;
	if (key_is(member, "json")) {
		command->message_kind = MESSAGE_JSON;
		command->payload = member->value;
		command->payload_len = member->value_len;
		return true;
	}
	if (!get_string(member, &text, &len))
		return false;
	command->payload = (uint8_t *)text;
	command->payload_len = len;
	command->message_kind = MESSAGE_TEXT;
	if (key_is(member, "text"))
		return true;
	decoded = base64_get(text, text, len);
	command->payload_len = (size_t)decoded;
	command->message_kind = MESSAGE_BINARY;
	return decoded >= 0;
}

static bool
get_channel(struct get *get, const struct json_member *member)
{
	char *text;
	size_t len;

	if (!get_string(member, &text, &len) || !channel_name_valid(text, len))
		return false;
	get->command->channel = text;
	get->command->channel_len = len;
	return true;
}

static bool
get_code(struct get *get, const struct json_member *member)
{
	int64_t code;

	if (!json_member_integer(member, &code) || code < 1000 || code > 4999 ||
	    code == 1004 || code == 1005 || code == 1006 ||
	    (code > 1014 && code < 3000))
		return false;
	get->command->code = (uint16_t)code;
	return true;
}

static bool
get_seq(struct get *get, const struct json_member *member)
{
	int64_t seq;

	get->command->seq =
	    json_member_integer(member, &seq) && seq > 0 ? (uint64_t)seq : 0;
	return get->command->seq > 0;
}

static bool
get_reason(struct get *get, const struct json_member *member)
{
	char *text;
	size_t len;

	if (!get_string(member, &text, &len) || len > SESSION_REASON_BYTES_MAX)
		return false;
	get->command->reason = text;
	get->command->reason_len = len;
	return true;
}

static bool
get_from(struct get *get, const struct json_member *member)
{
	char *text;
	size_t len;

	return get_string(member, &text, &len) &&
	       from_get(text, len, &get->command->from) == 0;
}

static void
get_field(struct get *get, const struct json_member *member)
{
	bool right;

	if (key_is(member, "conn"))
		right = get_conn(member, &get->command->conn);
	else if (key_is(member, "seq"))
		right = get_seq(get, member);
	else if (key_is(member, "channel"))
		right = get_channel(get, member);
	else if (key_is(member, "text") || key_is(member, "json") ||
		 key_is(member, "base64"))
		right = get_payload(get, member);
	else if (key_is(member, "code"))
		right = get_code(get, member);
	else if (key_is(member, "reason"))
		right = get_reason(get, member);
	else if (key_is(member, "from"))
		right = get_from(get, member);
	else {
		fault(get, "unknown field", member->key, member->key_len);
		return;
	}
	if (!right)
		fault(get, "bad value", member->key, member->key_len);
}

static void
get_fields(struct get *get, const struct json_member *outer)
{
	struct json_members members;
	struct json_member member;
	int more;

	if (json_members_begin(&members, outer->value, outer->value_len,
		JSON_DEPTH_MAX + 1) < 0) {
		fault(get, "expected an object", outer->key, outer->key_len);
		return;
	}
	while ((more = json_members_next(&members, &member)) == 1)
		get_field(get, &member);
	assert(more == 0); /* it was checked as a value */
}

/* What each command must have. */
static void
check_fields(struct get *get)
{
	const struct wire_command *command = get->command;
	const enum wire_kind kind = command->kind;

	if (kind == WIRE_DONE)
		return;
	if (kind == WIRE_CHANGE && command->seq == 0)
		fault(get, "missing field: seq", "", 0);
	if (kind != WIRE_PUBLISH && kind != WIRE_CHANGE && command->conn == 0 &&
	    (kind != WIRE_REFUSE || command->seq == 0))
		fault(get, "missing field: conn", "", 0);
	if ((kind == WIRE_PUBLISH || kind == WIRE_SUBSCRIBE ||
		kind == WIRE_UNSUBSCRIBE) &&
	    command->channel == NULL)
		fault(get, "missing field: channel", "", 0);
	if ((kind == WIRE_PUBLISH || kind == WIRE_SEND ||
		kind == WIRE_CHANGE) &&
	    command->payload == NULL)
		fault(get, "missing field: text, json or base64", "", 0);
}

static void
get_word(struct get *get, const struct json_member *member, bool *known)
{
	int64_t number;
	size_t i;

	if (key_is(member, "id")) {
		if (!json_member_integer(member, &get->command->id) ||
		    get->command->id < 0)
			fault(get, "bad value: id", "", 0);
		return;
	}
	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (key_is(member, words[i].word))
			break;
	if (i == sizeof(words) / sizeof(*words)) {
		fault(get, "unknown command", member->key, member->key_len);
		return;
	}
	if (*known) {
		fault(get, "two commands in one line", "", 0);
		return;
	}
	*known = true;
	get->command->kind = words[i].kind;
	if (words[i].kind != WIRE_DONE) {
		get_fields(get, member);
		return;
	}
	if (!json_member_integer(member, &number) || number < 0)
		fault(get, "bad value: done", "", 0);
	get->command->done = (uint64_t)number;
}

int
wire_get_command(uint8_t *line, size_t len, struct wire_command *ret_command,
    char ret_fault[WIRE_FAULT_BYTES_MAX])
{
	struct get get = { .fault = ret_fault };
	struct json_members members;
	struct json_member member;
	bool known = false;
	int more = -EBADMSG;

	*ret_command = (struct wire_command){ .id = -1 };
	get.command = ret_command;
	/* Its strings are the payload of frames: they must be UTF-8. */
	if (!utf8_valid(line, len) ||
	    json_members_begin(&members, line, len, JSON_DEPTH_MAX + 2) < 0) {
		fault(&get, "not a JSON object", "", 0);
		return -EBADMSG;
	}
	while ((more = json_members_next(&members, &member)) == 1)
		get_word(&get, &member, &known);
	if (more < 0)
		fault(&get, "not JSON", "", 0);
	else if (!known)
		fault(&get, "no command in it", "", 0);
	else
		check_fields(&get);
	return get.faulty ? -EBADMSG : 0;
}
