/*
 * Claims: from signed bytes to a token.
 *
 * The happy path: one strict JSON object -> each claim we know is of its kind,
 * and its strings go into the token -> time, issuer and audience fit.
 *
 * What can go wrong: a claim we know that is of another kind refuses the token;
 * a claim we do not know is let be.
 */

#include "daemon/auth/auth_internal.h"
#include "daemon/base/memory.h"
#include "proto/base64.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int64_t
base64url_get(uint8_t *out, const char *text, size_t len)
{
	char *letters = (char *)out;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '+' || text[i] == '/' || text[i] == '=')
			return -EINVAL;
		letters[i] = text[i] == '-'   ? '+'
			     : text[i] == '_' ? '/'
					      : text[i];
	}
	while (len % 4 != 0)
		letters[len++] = '=';
	return base64_get(out, letters, len);
}

/* One reading */

struct reading {
	struct object claims;
	struct token *token;
	char *at, *end; /* where strings go; where the token ends */
	int64_t expires_us, not_before_us;
};

static const char *
put(struct reading *reading, const char *text, size_t len)
{
	char *string = reading->at;

	/* Each was longer in its quotes, so all of them fit. */
	assert((size_t)(reading->end - reading->at) > len);
	memcpy(string, text, len);
	string[len] = '\0';
	reading->at += len + 1;
	return string;
}

/* A claim that is not there leaves the default. */
static bool
read_string(struct reading *reading, const char *name, const char **string)
{
	const struct json_member *member = object_get(&reading->claims, name);
	char *text;
	size_t len;

	if (member == NULL)
		return true;
	if (!string_take(member, &text, &len))
		return false;
	*string = put(reading, text, len);
	return true;
}

static bool
read_date(struct reading *reading, const char *name, int64_t *date_us)
{
	const struct json_member *member = object_get(&reading->claims, name);

	return member == NULL || date_take(member, date_us);
}

static bool
is_any(const char *text, size_t len)
{
	(void)text;
	(void)len;
	return true;
}

static bool
read_array(struct reading *reading, const struct json_member *member,
    bool (*fits)(const char *text, size_t len), size_t count_max,
    struct strings *ret_strings)
{
	struct strings strings = { .first = reading->at };
	struct string_array array;
	char *text;
	size_t len;
	int more;

	if (!string_array_begin(member, &array))
		return false;
	while ((more = string_next(&array, &text, &len)) > 0) {
		if (strings.count == count_max || !fits(text, len))
			return false;
		(void)put(reading, text, len);
		strings.count++;
	}
	*ret_strings = strings;
	return more == 0;
}

/* A string stands for an array of one. */
static bool
read_audience(struct reading *reading)
{
	const struct json_member *member = object_get(&reading->claims, "aud");
	struct strings *audiences = &reading->token->audiences;

	if (member == NULL)
		return true;
	if (member->value[0] == '[')
		return read_array(
		    reading, member, is_any, TOKEN_BYTES_MAX, audiences);
	audiences->count = 1;
	return read_string(reading, "aud", &audiences->first);
}

static bool
read_patterns(struct reading *reading, const struct json_member *member,
    struct strings *patterns)
{
	return member == NULL ||
	       read_array(reading, member, channel_pattern_valid,
		   TOKEN_PATTERNS_MAX, patterns);
}

/* A member too many could be one that takes away. */
static bool
read_rights(struct reading *reading)
{
	const struct json_member *member =
	    object_get(&reading->claims, "earshot");
	const struct json_member *subscribe, *publish;
	struct object rights;

	if (member == NULL)
		return true;
	if (object_read(member->value, member->value_len, &rights) < 0)
		return false;
	subscribe = object_get(&rights, "subscribe");
	publish = object_get(&rights, "publish");
	return rights.count ==
		   (size_t)(subscribe != NULL) + (publish != NULL) &&
	       read_patterns(reading, subscribe, &reading->token->subscribe) &&
	       read_patterns(reading, publish, &reading->token->publish);
}

static bool
read_all(struct reading *reading)
{
	const struct json_member *id = object_get(&reading->claims, "jti");
	int64_t issued_us;

	return object_get(&reading->claims, "exp") != NULL &&
	       read_date(reading, "exp", &reading->expires_us) &&
	       read_date(reading, "nbf", &reading->not_before_us) &&
	       read_date(reading, "iat", &issued_us) &&
	       read_string(reading, "sub", &reading->token->subject) &&
	       read_string(reading, "iss", &reading->token->issuer) &&
	       (id == NULL || id->value[0] == '"') && read_audience(reading) &&
	       read_rights(reading);
}

/* The token */

/* JSON has line ends and tabs between its members only. */
static void
put_claims(char *out, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = text[i] < ' ' ? ' ' : (char)text[i];
	out[len] = '\0';
}

/* Without what is read out of the claims. */
static struct token *
token_new(const struct key *key, const uint8_t *text, size_t len)
{
	struct token *token = memory_alloc(sizeof(*token) + 2 * (len + 1));

	if (token == NULL)
		return NULL;
	*token = (struct token){ .subject = "" };
	atomic_init(&token->references, 1);
	memcpy(token->key_id, key->id, sizeof(token->key_id));
	put_claims(token->text, text, len);
	return token;
}

bool
issuer_fits(const struct keyring *keyring, const struct token *token)
{
	return keyring->issuer == NULL ||
	       (token->issuer != NULL &&
		   strcmp(token->issuer, keyring->issuer) == 0);
}

/* Who is named nowhere is not meant by a token that names some. */
bool
audience_fits(const struct keyring *keyring, const struct token *token)
{
	const char *audience = token->audiences.first;

	if (keyring->audience == NULL)
		return token->audiences.count == 0;
	for (size_t i = 0; i < token->audiences.count; i++) {
		if (strcmp(audience, keyring->audience) == 0)
			return true;
		audience += strlen(audience) + 1;
	}
	return false;
}

/* TOKEN_FAULT_COUNT: none. */
static enum token_fault
find_fault(const struct keyring *keyring, struct reading *reading,
    uint8_t *text, size_t len, int64_t now_us)
{
	if (object_read(text, len, &reading->claims) < 0)
		return TOKEN_MALFORMED;
	if (!read_all(reading))
		return TOKEN_CLAIMS;
	reading->token->expires_us = reading->expires_us + keyring->leeway_us;
	if (now_us >= reading->token->expires_us)
		return TOKEN_EXPIRED;
	if (now_us < reading->not_before_us - keyring->leeway_us)
		return TOKEN_NOT_YET;
	if (!issuer_fits(keyring, reading->token))
		return TOKEN_ISSUER;
	if (!audience_fits(keyring, reading->token))
		return TOKEN_AUDIENCE;
	return TOKEN_FAULT_COUNT;
}

int
claims_read(const struct keyring *keyring, const struct key *key, uint8_t *text,
    size_t len, int64_t now_us, struct token **ret_token,
    enum token_fault *ret_fault)
{
	struct token *token = token_new(key, text, len);
	struct reading reading;
	enum token_fault fault;

	if (token == NULL)
		return -ENOMEM;
	reading.token = token;
	reading.not_before_us = INT64_MIN / 2;
	reading.at = token->text + len + 1;
	reading.end = reading.at + len + 1;
	fault = find_fault(keyring, &reading, text, len, now_us);
	if (fault == TOKEN_FAULT_COUNT) {
		*ret_token = token;
		return 0;
	}
	token_unref(token);
	*ret_fault = fault;
	return -EACCES;
}
