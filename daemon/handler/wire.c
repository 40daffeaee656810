/*
 * wire: JSON Lines out and in.
 *
 * Payloads are embedded or pointed to, never taken apart: JSON stays the
 * bytes it was.  Text that is not UTF-8 (a header's value may be) goes out
 * with its bytes as the characters U+0080 to U+00FF.
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

#define LINE_BYTES_MAX (SIZE_MAX / 2)
#define BASE64_PIECE 768

/* Putting */

struct put {
	struct buffer *out;
	int error;
};

static void
put_bytes(struct put *put, const void *data, size_t len)
{
	if (put->error == 0)
		put->error = buffer_append(put->out, data, len, LINE_BYTES_MAX);
}

static void
put_text(struct put *put, const char *text)
{
	put_bytes(put, text, strlen(text));
}

/* One byte that cannot stand in a string as it is. */
static void
put_byte(struct put *put, uint8_t c)
{
	char escape[JSON_ESCAPE_MAX + 1];

	if (c < 0x80) {
		put_bytes(put, escape, json_put_escape(escape, c));
	} else {
		(void)snprintf(escape, sizeof(escape), "\\u%04x", c);
		put_text(put, escape);
	}
}

static void
put_string(struct put *put, const void *data, size_t len)
{
	const uint8_t *text = data;
	const bool valid = utf8_valid(text, len);
	size_t at = 0;

	put_bytes(put, "\"", 1);
	while (at < len) {
		size_t plain = json_plain_bytes(text + at, len - at);

		if (!valid)
			for (plain = 0; at + plain < len; plain++) {
				const uint8_t c = text[at + plain];

				if (c < 0x20 || c >= 0x7f || c == '"' ||
				    c == '\\')
					break;
			}
		put_bytes(put, text + at, plain);
		at += plain;
		if (at < len)
			put_byte(put, text[at++]);
	}
	put_bytes(put, "\"", 1);
}

static void
put_member(struct put *put, const char *key, const char *value)
{
	put_text(put, ",\"");
	put_text(put, key);
	put_text(put, "\":");
	put_string(put, value, strlen(value));
}

static void
put_base64(struct put *put, const uint8_t *data, size_t len)
{
	char piece[BASE64_PIECE / 3 * 4];

	put_bytes(put, "\"", 1);
	while (len > 0) {
		const size_t n = len < BASE64_PIECE ? len : BASE64_PIECE;

		put_bytes(put, piece, base64_put(piece, data, n));
		data += n;
		len -= n;
	}
	put_bytes(put, "\"", 1);
}

static void
put_payload(struct put *put, const struct event *event)
{
	switch (event->message_kind) {
	case MESSAGE_TEXT:
		put_text(put, ",\"text\":");
		put_string(put, event->data, event->len);
		return;
	case MESSAGE_BINARY:
		put_text(put, ",\"base64\":");
		put_base64(put, event->data, event->len);
		return;
	case MESSAGE_JSON:
		break;
	}
	put_text(put, ",\"json\":");
	/* JSON may stand in several lines, which only white space can do. */
	for (size_t at = 0; at < event->len;) {
		const uint8_t *text = event->data + at;
		size_t n = 0;

		while (
		    at + n < event->len && text[n] != '\n' && text[n] != '\r')
			n++;
		put_bytes(put, text, n);
		at += n;
		if (at < event->len)
			at++;
	}
}

static void
put_open(struct put *put, const struct es_open *open)
{
	size_t i;

	put_member(put, "path", open->path);
	put_member(put, "query", open->query);
	put_member(put, "peer", open->peer);
	if (*open->channel != '\0')
		put_member(put, "channel", open->channel);
	if (*open->upstream != '\0')
		put_member(put, "upstream", open->upstream);
	put_text(put, ",\"headers\":{");
	for (i = 0; i < open->header_count; i++) {
		const struct es_header *header = &open->headers[i];

		if (i > 0)
			put_bytes(put, ",", 1);
		put_string(put, header->name, strlen(header->name));
		put_bytes(put, ":", 1);
		put_string(put, header->value, strlen(header->value));
	}
	put_bytes(put, "}", 1);
}

static void
put_where(
    struct put *put, const struct session *session, const struct event *event)
{
	const struct position position = { event->position.epoch,
		event->position.offset };
	char text[POSITION_TEXT_MAX + 64];

	if (session->name != 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIu32,
		    conn_slot(session->name), conn_generation(session->name));
		put_member(put, "conn", text);
		return;
	}
	put_member(put, "channel", session->open.channel);
	if (*session->open.upstream != '\0')
		put_member(put, "upstream", session->open.upstream);
	if (event->kind != EVENT_MESSAGE)
		return;
	(void)position_put(text, &position);
	put_member(put, "position", text);
	(void)snprintf(text, sizeof(text), ",\"time\":%" PRId64 ".%06" PRId64,
	    event->time_us / 1000000, event->time_us % 1000000);
	put_text(put, text);
}

static void
put_error(
    struct put *put, const struct session *session, const struct event *event)
{
	char text[64];

	put_member(put, "error", strerrorname_np(-event->error));
	put_member(put, "message", (const char *)event->data);
	if (event->lost != 0) {
		(void)snprintf(
		    text, sizeof(text), ",\"lost\":%" PRIu64, event->lost);
		put_text(put, text);
	}
	if (event->again && session->name != 0)
		put_open(put, &session->open);
}

int
wire_put_event(struct buffer *out, const struct session *session,
    const struct event *event)
{
	static const char *const names[] = { [EVENT_OPEN] = "open",
		[EVENT_MESSAGE] = "message",
		[EVENT_ERROR] = "error",
		[EVENT_CLOSE] = "close" };
	const size_t before = out->len;
	struct put put = { .out = out };
	char text[64];

	(void)snprintf(text, sizeof(text), "{\"event\":\"%s\",\"seq\":%" PRIu64,
	    names[event->kind], event->seq);
	put_text(&put, text);
	put_where(&put, session, event);
	if (event->kind == EVENT_OPEN) {
		put_open(&put, &session->open);
		if (event->again)
			put_text(&put, ",\"retry\":true");
	} else if (event->kind == EVENT_MESSAGE) {
		put_payload(&put, event);
	} else if (event->kind == EVENT_ERROR) {
		put_error(&put, session, event);
	} else {
		(void)snprintf(text, sizeof(text), ",\"code\":%u", event->code);
		put_text(&put, text);
		put_member(&put, "reason", (const char *)event->data);
	}
	put_text(&put, "}\n");
	if (put.error < 0)
		out->len = before;
	return put.error;
}

int
wire_put_ok(struct buffer *out, int64_t id, const struct position *position,
    const struct hub_answer *answer)
{
	const size_t before = out->len;
	struct put put = { .out = out };
	char text[POSITION_TEXT_MAX + 96];

	(void)snprintf(
	    text, sizeof(text), "{\"reply\":%" PRId64 ",\"ok\":{", id);
	put_text(&put, text);
	if (position != NULL) {
		(void)position_put(text, position);
		put_text(&put, "\"position\":\"");
		put_text(&put, text);
		put_text(&put, "\"");
	}
	if (answer != NULL)
		put_text(&put, answer->recovered ? ",\"recovered\":true"
						 : ",\"recovered\":false");
	if (answer != NULL && answer->gap_from > 0) {
		(void)snprintf(text, sizeof(text),
		    ",\"gap\":[%" PRId64 ",%" PRId64 "]", answer->gap_from,
		    answer->gap_to);
		put_text(&put, text);
	}
	put_text(&put, "}}\n");
	if (put.error < 0)
		out->len = before;
	return put.error;
}

int
wire_put_error(struct buffer *out, int64_t id, int error)
{
	const char *name = strerrorname_np(-error);

	return buffer_printf(out, LINE_BYTES_MAX,
	    "{\"reply\":%" PRId64
	    ",\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n",
	    id, name != NULL ? name : "?",
	    strerrordesc_np(-error) != NULL ? strerrordesc_np(-error) : "?");
}

/* Getting */

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
	int64_t decoded;

	if (!json_member_string(member, &text, &len))
		return false;
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
	if (kind != WIRE_PUBLISH && command->conn == 0)
		fault(get, "missing field: conn", "", 0);
	if ((kind == WIRE_PUBLISH || kind == WIRE_SUBSCRIBE ||
		kind == WIRE_UNSUBSCRIBE) &&
	    command->channel == NULL)
		fault(get, "missing field: channel", "", 0);
	if ((kind == WIRE_PUBLISH || kind == WIRE_SEND) &&
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
