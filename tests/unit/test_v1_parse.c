/*
 * Commands of earshot.v1: what is taken and what it says; what is refused,
 * with which code, which id and which field named.
 */

#include "proto/channel.h"
#include "proto/json.h"
#include "proto/v1.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define EPOCH "00000000000000ff"

/* The text on the heap by itself, where a sanitizer sees a step beyond. */
static uint8_t *
copy_of(const void *text, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return copy;
}

/* What a command says, in words. */
static const char *
said(const struct v1_command *command)
{
	static const char *const kinds[] = { "subscribe", "unsubscribe",
		"publish", "ping" };
	static const char *const messages[] = { "text", "json", "binary" };
	static char out[512];
	int n = snprintf(out, sizeof(out), "%lld %s", (long long)command->id,
	    kinds[command->kind]);

	if (command->kind != V1_PING)
		n += snprintf(out + n, sizeof(out) - (size_t)n, " %.*s",
		    (int)command->channel_len, command->channel);
	if (command->kind == V1_SUBSCRIBE)
		snprintf(out + n, sizeof(out) - (size_t)n, " %d %lld %llx:%lld",
		    command->from.kind, (long long)command->from.count,
		    (unsigned long long)command->from.position.epoch,
		    (long long)command->from.position.offset);
	if (command->kind == V1_PUBLISH)
		snprintf(out + n, sizeof(out) - (size_t)n, " %s %zu <%.*s>",
		    messages[command->message_kind], command->payload_len,
		    (int)command->payload_len, (const char *)command->payload);
	return out;
}

static void
commands_are_read(void **state)
{
	static const char *const cases[][2] = {
		{ "{\"id\":1,\"subscribe\":{\"channel\":\"ticks\"}}",
		    "1 subscribe ticks 0 0 0:0" },
		{ "{\"subscribe\":{\"from\":\"oldest\",\"channel\":\"a.b\"},"
		  "\"id\":0}",
		    "0 subscribe a.b 1 0 0:0" },
		{ "{\"id\":2,\"subscribe\":{\"channel\":\"a\",\"from\":"
		  "\"-100\"}}",
		    "2 subscribe a 2 100 0:0" },
		{ "{\"id\":9007199254740991,\"subscribe\":{\"channel\":\"a\","
		  "\"from\":\"" EPOCH ":41\"}}",
		    "9007199254740991 subscribe a 3 0 ff:41" },
		{ " {\n\t\"id\" : 3 , \"unsubscribe\" : { \"channel\" : "
		  "\"ticks\" } }\r\n",
		    "3 unsubscribe ticks" },
		{ "{\"id\":4,\"ping\":{}}", "4 ping" },
		{ "{\"ping\":{ },\"id\":4}", "4 ping" },
		{ "{\"id\":5,\"publish\":{\"channel\":\"c\",\"data\":"
		  "{\"hi\": 1e999, \"hi\":0.10}}}",
		    "5 publish c json 24 <{\"hi\": 1e999, \"hi\":0.10}>" },
		{ "{\"id\":5,\"publish\":{\"data\": null ,\"channel\":\"c\"}}",
		    "5 publish c json 4 <null>" },
		{ "{\"id\":5,\"publish\":{\"channel\":\"c\",\"data\":\"a\\n\"}"
		  "}",
		    "5 publish c json 5 <\"a\\n\">" },
		{ "{\"id\":5,\"publish\":{\"channel\":\"c\",\"text\":\"\"}}",
		    "5 publish c text 0 <>" },
		{ "{\"id\":5,\"publish\":{\"channel\":\"c\",\"text\":"
		  "\"a\\u00e9\\n\\ud83d\\ude00\xc3\xa9\"}}",
		    "5 publish c text 10 <a\xc3\xa9\n\xf0\x9f\x98\x80"
		    "\xc3\xa9>" },
		{ "{\"id\":5,\"publish\":{\"channel\":\"c\",\"base64\":"
		  "\"Zm9vYg==\"}}",
		    "5 publish c binary 4 <foob>" },
		{ "{\"id\":5,\"publish\":{\"channel\":\"c\",\"base64\":\"\"}}",
		    "5 publish c binary 0 <>" },
		/* Escapes say the same as what they stand for. */
		{ "{\"\\u0069d\":6,\"p\\u0069ng\":{}}", "6 ping" },
		{ "{\"id\":6,\"subscribe\":{\"ch\\u0061nnel\":\"t\\u0069cks\","
		  "\"from\":\"\\u002d5\"}}",
		    "6 subscribe ticks 2 5 0:0" },
		{ "{\"id\":6,\"publish\":{\"channel\":\"c\",\"base64\":"
		  "\"\\/\\/\\/\\/\"}}",
		    "6 publish c binary 3 <\xff\xff\xff>" },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t len = strlen(cases[i][0]);
		uint8_t *text = copy_of(cases[i][0], len);
		struct v1_command command;
		struct v1_fault fault = { 0 };

		if (v1_parse_command(text, len, &command, &fault) != 0)
			fail_msg("%s: %s", cases[i][0], fault.text);
		assert_string_equal(said(&command), cases[i][1]);
		free(text);
	}
}

static const struct {
	const char *text;
	int64_t id;
	enum v1_error error;
	const char *names; /* what the message begins with */
} refused[] = {
	/* not JSON */
	{ "", -1, V1_ERROR_BAD_JSON, "not JSON" },
	{ " ", -1, V1_ERROR_BAD_JSON, "not JSON: see byte 1 of 1" },
	{ "hello", -1, V1_ERROR_BAD_JSON, "not JSON: see byte 0" },
	{ "{", -1, V1_ERROR_BAD_JSON, "not JSON: see byte 1" },
	{ "{\"id\":1,\"ping\":{}", 1, V1_ERROR_BAD_JSON, "not JSON: see" },
	{ "{\"id\":1,\"ping\":{}}}", 1, V1_ERROR_BAD_JSON, "not JSON: see" },
	{ "{\"id\":1,\"ping\":{}} {\"id\":2,\"ping\":{}}", 1, V1_ERROR_BAD_JSON,
	    "not JSON: see byte 19 of" },
	{ "{\"id\":1,\"ping\":{},}", 1, V1_ERROR_BAD_JSON, "not JSON: see" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"c\",\"data\":01}}", 1,
	    V1_ERROR_BAD_JSON, "not JSON: see byte 41" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"c\",\"data\":NaN}}", 1,
	    V1_ERROR_BAD_JSON, "not JSON: see byte 40" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"c\",\"text\":\"\xff\"}}", -1,
	    V1_ERROR_BAD_JSON, "not JSON: not UTF-8" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"c\",\"text\":\"a\nb\"}}", 1,
	    V1_ERROR_BAD_JSON, "not JSON: see" },
	{ "{\"wrong\":1,\"id\":2,\"ping\":}", 2, V1_ERROR_BAD_JSON,
	    "not JSON: see" },
	/* JSON, and no object with a command */
	{ "1", -1, V1_ERROR_BAD_COMMAND, "expected an object" },
	{ "[]", -1, V1_ERROR_BAD_COMMAND, "expected an object" },
	{ "[{\"id\":1,\"ping\":{}}]", -1, V1_ERROR_BAD_COMMAND,
	    "expected an object" },
	{ "\"ping\"", -1, V1_ERROR_BAD_COMMAND, "expected an object" },
	{ "null", -1, V1_ERROR_BAD_COMMAND, "expected an object" },
	{ "{\"id\":1}", 1, V1_ERROR_BAD_COMMAND, "expected one of subscribe" },
	{ "{\"id\":1,\"ping\":{},\"ping\":{}}", 1, V1_ERROR_BAD_COMMAND,
	    "ping: there is a ping already" },
	{ "{\"ping\":{},\"unsubscribe\":{\"channel\":\"a\"},\"id\":7}", 7,
	    V1_ERROR_BAD_COMMAND, "unsubscribe: there is a ping already" },
	{ "{\"id\":1,\"pong\":{}}", 1, V1_ERROR_UNKNOWN_COMMAND,
	    "pong: expected id and one of" },
	{ "{\"Ping\":{},\"id\":1}", 1, V1_ERROR_UNKNOWN_COMMAND, "Ping: " },
	{ "{\"id\":1,\"ping\":{},\"extra\":1}", 1, V1_ERROR_UNKNOWN_COMMAND,
	    "extra: " },
	{ "{\"\":1,\"id\":1,\"ping\":{}}", 1, V1_ERROR_UNKNOWN_COMMAND, ": " },
	{ "{\"\\ud800\":1,\"id\":1}", 1, V1_ERROR_UNKNOWN_COMMAND, ": " },
	{ "{\"id\":1,\"0123456789012345678901234567890123456789012345\":1}", 1,
	    V1_ERROR_UNKNOWN_COMMAND,
	    "0123456789012345678901234567890123456789: expected" },
	{ "{\"id\":1,\"012345678901234567890123456789012345678\xc3\xa9\":1}", 1,
	    V1_ERROR_UNKNOWN_COMMAND,
	    "012345678901234567890123456789012345678: expected" },
	/* the id */
	{ "{}", -1, V1_ERROR_BAD_ID, "id: missing" },
	{ "{\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: missing" },
	{ "{\"id\":\"1\",\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: expected" },
	{ "{\"id\":null,\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: expected" },
	{ "{\"id\":-1,\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: expected" },
	{ "{\"id\":-0,\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: expected" },
	{ "{\"id\":1.0,\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: expected" },
	{ "{\"id\":1e3,\"ping\":{}}", -1, V1_ERROR_BAD_ID, "id: expected" },
	{ "{\"id\":9007199254740992,\"ping\":{}}", -1, V1_ERROR_BAD_ID,
	    "id: expected an integer from 0 to 9007199254740991" },
	{ "{\"id\":99999999999999999999,\"ping\":{}}", -1, V1_ERROR_BAD_ID,
	    "id: expected" },
	{ "{\"id\":1,\"id\":1,\"ping\":{}}", -1, V1_ERROR_DUPLICATE_FIELD,
	    "id: given twice" },
	{ "{\"id\":1,\"\\u0069d\":2,\"id\":3,\"ping\":{}}", -1,
	    V1_ERROR_DUPLICATE_FIELD, "id: given twice" },
	{ "{\"id\":[],\"id\":3,\"ping\":{}}", -1, V1_ERROR_BAD_ID,
	    "id: expected" },
	/* the command's members */
	{ "{\"id\":1,\"ping\":null}", 1, V1_ERROR_BAD_TYPE,
	    "ping: expected an object" },
	{ "{\"id\":1,\"subscribe\":\"ticks\"}", 1, V1_ERROR_BAD_TYPE,
	    "subscribe: expected an object" },
	{ "{\"id\":1,\"publish\":[]}", 1, V1_ERROR_BAD_TYPE,
	    "publish: expected an object" },
	{ "{\"id\":1,\"ping\":{\"channel\":\"a\"}}", 1, V1_ERROR_UNKNOWN_FIELD,
	    "ping.channel: unknown, expected nothing" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"since\":1}}", 1,
	    V1_ERROR_UNKNOWN_FIELD,
	    "subscribe.since: unknown, expected channel, from" },
	{ "{\"id\":1,\"unsubscribe\":{\"channel\":\"a\",\"from\":\"-1\"}}", 1,
	    V1_ERROR_UNKNOWN_FIELD, "unsubscribe.from: unknown" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"from\":\"-1\"}}", 1,
	    V1_ERROR_UNKNOWN_FIELD, "publish.from: unknown" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"channel\":\"a\"}}", 1,
	    V1_ERROR_DUPLICATE_FIELD, "subscribe.channel: given twice" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"text\":\"\",\"data\":1}}",
	    1, V1_ERROR_DUPLICATE_FIELD, "publish.data: expected one of" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":1,\"data\":2}}", 1,
	    V1_ERROR_DUPLICATE_FIELD, "publish.data: given twice" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\"}}", 1,
	    V1_ERROR_MISSING_FIELD, "publish: expected one of data" },
	{ "{\"id\":1,\"publish\":{\"data\":1}}", 1, V1_ERROR_MISSING_FIELD,
	    "publish.channel: missing" },
	{ "{\"id\":1,\"subscribe\":{}}", 1, V1_ERROR_MISSING_FIELD,
	    "subscribe.channel: missing" },
	{ "{\"id\":1,\"unsubscribe\":{}}", 1, V1_ERROR_MISSING_FIELD,
	    "unsubscribe.channel: missing" },
	/* the fields */
	{ "{\"id\":1,\"subscribe\":{\"channel\":7}}", 1, V1_ERROR_BAD_TYPE,
	    "subscribe.channel: expected a string" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":[\"a\"]}}", 1,
	    V1_ERROR_BAD_TYPE, "subscribe.channel: expected a string" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"\"}}", 1,
	    V1_ERROR_BAD_CHANNEL, "subscribe.channel: expected 1 to 128" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\".a\"}}", 1,
	    V1_ERROR_BAD_CHANNEL, "subscribe.channel: expected" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a*\"}}", 1,
	    V1_ERROR_BAD_CHANNEL, "subscribe.channel: expected" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\\u0000\",\"data\":1}}", 1,
	    V1_ERROR_BAD_CHANNEL, "publish.channel: expected" },
	{ "{\"id\":1,\"unsubscribe\":{\"channel\":\"\\udead\"}}", 1,
	    V1_ERROR_BAD_CHANNEL, "unsubscribe.channel: half of" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":-10}}", 1,
	    V1_ERROR_BAD_TYPE, "subscribe.from: expected a string" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":null}}", 1,
	    V1_ERROR_BAD_TYPE, "subscribe.from: expected a string" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":\"\"}}", 1,
	    V1_ERROR_BAD_FROM, "subscribe.from: expected oldest, -N or" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":\"newest\"}}", 1,
	    V1_ERROR_BAD_FROM, "subscribe.from: expected" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":\"" EPOCH
	  ":01\"}}",
	    1, V1_ERROR_BAD_FROM, "subscribe.from: expected" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":\"" EPOCH
	  ":99999999999999999999\"}}",
	    1, V1_ERROR_BAD_FROM, "subscribe.from: expected" },
	{ "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"from\":\"\\udc00\"}}",
	    1, V1_ERROR_BAD_FROM, "subscribe.from: half of" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"text\":{}}}", 1,
	    V1_ERROR_BAD_TYPE, "publish.text: expected a string" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"text\":\"x\\ud800\"}}", 1,
	    V1_ERROR_BAD_UTF8, "publish.text: half of" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"base64\":1}}", 1,
	    V1_ERROR_BAD_TYPE, "publish.base64: expected a string" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"base64\":\"Zg\"}}", 1,
	    V1_ERROR_BAD_BASE64, "publish.base64: expected RFC 4648" },
	{ "{\"id\":1,\"publish\":{\"channel\":\"a\",\"base64\":\"Z_-=\"}}", 1,
	    V1_ERROR_BAD_BASE64, "publish.base64: expected RFC 4648" },
	/* Of several faults the first in the order above is told. */
	{ "{\"x\":1,\"id\":true}", -1, V1_ERROR_UNKNOWN_COMMAND, "x: " },
	{ "{\"id\":1,\"subscribe\":{\"from\":1,\"x\":2}}", 1,
	    V1_ERROR_UNKNOWN_FIELD, "subscribe.x: " },
};

static void
assert_refused(const char *text, size_t len, int64_t id, enum v1_error error,
    const char *names)
{
	uint8_t *copy = copy_of(text, len);
	struct v1_command command, before;
	struct v1_fault fault = { 0 };

	memset(&command, 0x5a, sizeof(command));
	memcpy(&before, &command, sizeof(before));
	assert_int_equal(
	    v1_parse_command(copy, len, &command, &fault), -EBADMSG);
	if (fault.error != error || fault.id != id ||
	    strncmp(fault.text, names, strlen(names)) != 0)
		fail_msg("%.*s: %s, id %lld, %s", (int)len, text,
		    v1_error_code(fault.error), (long long)fault.id,
		    fault.text);
	assert_memory_equal(&command, &before, sizeof(command));
	free(copy);
}

static void
what_is_wrong_is_told_with_its_field_and_the_id(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(refused); i++)
		assert_refused(refused[i].text, strlen(refused[i].text),
		    refused[i].id, refused[i].error, refused[i].names);
}

static void
a_text_cut_anywhere_is_not_json(void **state)
{
	static const char text[] =
	    "{\"id\":12,\"publish\":{\"channel\":\"c\",\"text\":\"\\u00e9\"}}";
	const size_t id_known = strlen("{\"id\":12,");

	(void)state;
	for (size_t len = 0; len < strlen(text); len++)
		assert_refused(text, len, len >= id_known ? 12 : -1,
		    V1_ERROR_BAD_JSON, "not JSON");
}

/* n arrays in each other as the data of a publish. */
static size_t
put_nested(char *text, size_t n)
{
	size_t at = (size_t)sprintf(
	    text, "{\"id\":1,\"publish\":{\"channel\":\"c\",\"data\":");

	memset(text + at, '[', n);
	memset(text + at + n, ']', n);
	at += 2 * n;
	memcpy(text + at, "}}", 2);
	return at + 2;
}

/* As deep as in a POST: what is around the payload does not count. */
static void
data_may_be_nested_as_deep_as_any_payload(void **state)
{
	char text[4 * JSON_DEPTH_MAX];
	struct v1_command command;
	struct v1_fault fault;
	size_t len = put_nested(text, JSON_DEPTH_MAX);
	uint8_t *copy = copy_of(text, len);

	(void)state;
	assert_int_equal(v1_parse_command(copy, len, &command, &fault), 0);
	assert_int_equal(command.payload_len, 2 * JSON_DEPTH_MAX);
	assert_int_equal(
	    json_check(command.payload, command.payload_len, NULL), 0);
	free(copy);
	len = put_nested(text, JSON_DEPTH_MAX + 1);
	assert_refused(
	    text, len, 1, V1_ERROR_BAD_JSON, "nested deeper than 128");
	memset(text, '[', sizeof(text));
	assert_refused(
	    text, sizeof(text), -1, V1_ERROR_BAD_COMMAND, "expected an object");
}

static void
a_channel_has_128_bytes_and_not_one_more(void **state)
{
	char text[400], name[CHANNEL_NAME_MAX + 2] = { 0 };
	struct v1_command command;
	struct v1_fault fault;
	uint8_t *copy;
	int len;

	(void)state;
	memset(name, 'n', CHANNEL_NAME_MAX);
	len = sprintf(
	    text, "{\"id\":1,\"subscribe\":{\"channel\":\"%s\"}}", name);
	copy = copy_of(text, (size_t)len);
	assert_int_equal(
	    v1_parse_command(copy, (size_t)len, &command, &fault), 0);
	assert_int_equal(command.channel_len, CHANNEL_NAME_MAX);
	free(copy);
	name[CHANNEL_NAME_MAX] = 'n';
	len = sprintf(
	    text, "{\"id\":1,\"subscribe\":{\"channel\":\"%s\"}}", name);
	assert_refused(text, (size_t)len, 1, V1_ERROR_BAD_CHANNEL,
	    "subscribe.channel: expected 1 to 128");
}

static void
nul_is_a_character_of_a_text(void **state)
{
	char text[] = "{\"id\":1,\"publish\":{\"channel\":\"c\","
		      "\"text\":\"a\\u0000b\"}}";
	struct v1_command command;
	struct v1_fault fault;

	(void)state;
	assert_int_equal(
	    v1_parse_command((uint8_t *)text, strlen(text), &command, &fault),
	    0);
	assert_int_equal(command.payload_len, 3);
	assert_memory_equal(command.payload, "a\0b", 3);
}

static void
faults_can_be_put_as_answers(void **state)
{
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < LENGTH(refused); i++) {
		size_t len = strlen(refused[i].text);
		uint8_t *copy = copy_of(refused[i].text, len);
		struct v1_command command;
		struct v1_fault fault;

		assert_int_equal(
		    v1_parse_command(copy, len, &command, &fault), -EBADMSG);
		assert_int_equal(
		    v1_put_error(&out, 4096, fault.id, fault.error, fault.text),
		    0);
		assert_int_equal(json_check(out.data, out.len, NULL), 0);
		buffer_clear(&out);
		free(copy);
	}
	buffer_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_read),
		cmocka_unit_test(
		    what_is_wrong_is_told_with_its_field_and_the_id),
		cmocka_unit_test(a_text_cut_anywhere_is_not_json),
		cmocka_unit_test(data_may_be_nested_as_deep_as_any_payload),
		cmocka_unit_test(a_channel_has_128_bytes_and_not_one_more),
		cmocka_unit_test(nul_is_a_character_of_a_text),
		cmocka_unit_test(faults_can_be_put_as_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
