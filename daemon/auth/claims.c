/*
 * Claims: from signed bytes to a token.
 *
 * The happy path: base64url -> one strict JSON object -> each claim we know is
 * of its kind -> time, issuer and audience fit -> one piece of memory has the
 * claims and the strings read out of them.
 *
 * What can go wrong: JSON that libraries read in different ways (a member
 * twice, text behind it, half characters) is none; a claim we know that is of
 * another kind refuses the token, a claim we do not know is let be.
 */

#include "daemon/auth/auth_internal.h"
#include "daemon/base/memory.h"
#include "proto/base64.h"
#include "proto/channel.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The end of the year 9999: what is later is no number of seconds. */
#define DATE_S_MAX 253402300799.0
#define US_PER_S 1000000

/* Text to bytes to JSON */

int64_t
base64url_get(uint8_t *out, const char *text, size_t len)
{
	char *letters = (char *)out;

	if (len % 4 == 1)
		return -EINVAL;
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

/* Whose recursion is jansson's, so the depth is looked at first. */
static int
check_depth(uint8_t *text, size_t len)
{
	struct json_members members;
	struct json_member member;
	int result;

	if (!utf8_valid(text, len))
		return -EBADMSG;
	result = json_members_begin(&members, text, len, TOKEN_DEPTH_MAX);
	if (result < 0)
		return result;
	do
		result = json_members_next(&members, &member);
	while (result > 0);
	return result;
}

int
object_read(uint8_t *text, size_t len, json_t **ret_object)
{
	json_error_t why;
	json_t *object;

	if (check_depth(text, len) < 0)
		return -EBADMSG;
	object = json_loadb((const char *)text, len,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
	if (object == NULL)
		return json_error_code(&why) == json_error_out_of_memory
			   ? -ENOMEM
			   : -EBADMSG;
	assert(json_is_object(object));
	*ret_object = object;
	return 0;
}

/* Each claim of its kind */

static bool
is_string_or_none(const json_t *value)
{
	return value == NULL || json_is_string(value);
}

static bool
is_date_or_none(const json_t *value)
{
	return value == NULL ||
	       (json_is_real(value) && json_real_value(value) <= DATE_S_MAX &&
		   json_real_value(value) >= -DATE_S_MAX);
}

static bool
are_strings(const json_t *array, size_t count_max)
{
	if (!json_is_array(array) || json_array_size(array) > count_max)
		return false;
	for (size_t i = 0; i < json_array_size(array); i++)
		if (!json_is_string(json_array_get(array, i)))
			return false;
	return true;
}

static bool
is_pattern(const json_t *string)
{
	return channel_pattern_valid(
	    json_string_value(string), json_string_length(string));
}

static bool
are_patterns(const json_t *array)
{
	if (array == NULL)
		return true;
	if (!are_strings(array, TOKEN_PATTERNS_MAX))
		return false;
	for (size_t i = 0; i < json_array_size(array); i++)
		if (!is_pattern(json_array_get(array, i)))
			return false;
	return true;
}

/* A member too many could be one that takes away. */
static bool
are_rights(const json_t *rights)
{
	const json_t *subscribe = json_object_get(rights, "subscribe");
	const json_t *publish = json_object_get(rights, "publish");
	const size_t known = (subscribe != NULL) + (publish != NULL);

	if (rights == NULL)
		return true;
	return json_is_object(rights) && json_object_size(rights) == known &&
	       are_patterns(subscribe) && are_patterns(publish);
}

static bool
is_audience(const json_t *audience)
{
	return is_string_or_none(audience) ||
	       are_strings(audience, TOKEN_BYTES_MAX);
}

static bool
are_claims(const json_t *claims)
{
	return json_is_real(json_object_get(claims, "exp")) &&
	       is_date_or_none(json_object_get(claims, "exp")) &&
	       is_date_or_none(json_object_get(claims, "nbf")) &&
	       is_date_or_none(json_object_get(claims, "iat")) &&
	       is_string_or_none(json_object_get(claims, "iss")) &&
	       is_string_or_none(json_object_get(claims, "sub")) &&
	       is_string_or_none(json_object_get(claims, "jti")) &&
	       is_audience(json_object_get(claims, "aud")) &&
	       are_rights(json_object_get(claims, "earshot"));
}

/* The token */

/* Decoded a string is never longer than in its quotes, so all of them fit. */
static const char *
put_string(char **at, const json_t *string)
{
	const size_t size = json_string_length(string) + 1;
	const char *put = *at;

	memcpy(*at, json_string_value(string), size);
	*at += size;
	return put;
}

/* An array of them, or a single one. */
static struct strings
put_strings(char **at, const json_t *strings)
{
	struct strings put = { .first = *at };

	if (json_is_string(strings)) {
		(void)put_string(at, strings);
		put.count = 1;
	}
	for (; put.count < json_array_size(strings); put.count++)
		(void)put_string(at, json_array_get(strings, put.count));
	return put;
}

static int64_t
date_us(const json_t *date)
{
	return (int64_t)(json_real_value(date) * US_PER_S);
}

/* JSON has line ends and tabs between its members only. */
static void
put_claims(char *out, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = text[i] < ' ' ? ' ' : (char)text[i];
	out[len] = '\0';
}

static int
token_new(const struct keyring *keyring, const struct key *key,
    const json_t *claims, const uint8_t *text, size_t len,
    struct token **ret_token)
{
	const json_t *rights = json_object_get(claims, "earshot");
	const json_t *subject = json_object_get(claims, "sub");
	const json_t *issuer = json_object_get(claims, "iss");
	struct token *token = memory_alloc(sizeof(*token) + 2 * (len + 1));
	char *at;

	if (token == NULL)
		return -ENOMEM;
	at = token->text + len + 1;
	*token = (struct token){
		.expires_us = date_us(json_object_get(claims, "exp")) +
			      keyring->leeway_us,
		.subject = subject == NULL ? "" : put_string(&at, subject),
		.issuer = issuer == NULL ? NULL : put_string(&at, issuer),
	};
	token->audiences = put_strings(&at, json_object_get(claims, "aud"));
	token->subscribe =
	    put_strings(&at, json_object_get(rights, "subscribe"));
	token->publish = put_strings(&at, json_object_get(rights, "publish"));
	assert(at <= token->text + 2 * (len + 1));
	put_claims(token->text, text, len);
	memcpy(token->key_id, key->id, sizeof(token->key_id));
	atomic_init(&token->references, 1);
	*ret_token = token;
	return 0;
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
find_fault(const struct keyring *keyring, const json_t *claims,
    const struct token *token, int64_t now_us)
{
	const json_t *not_before = json_object_get(claims, "nbf");

	if (now_us >= token->expires_us)
		return TOKEN_EXPIRED;
	if (not_before != NULL &&
	    now_us < date_us(not_before) - keyring->leeway_us)
		return TOKEN_NOT_YET;
	if (!issuer_fits(keyring, token))
		return TOKEN_ISSUER;
	if (!audience_fits(keyring, token))
		return TOKEN_AUDIENCE;
	return TOKEN_FAULT_COUNT;
}

int
claims_read(const struct keyring *keyring, const struct key *key, uint8_t *text,
    size_t len, int64_t now_us, struct token **ret_token,
    enum token_fault *ret_fault)
{
	enum token_fault fault = TOKEN_CLAIMS;
	struct token *token = NULL;
	json_t *claims;
	int error = object_read(text, len, &claims);

	if (error == -EBADMSG) {
		*ret_fault = TOKEN_MALFORMED;
		return -EACCES;
	}
	if (error < 0)
		return error;
	if (are_claims(claims))
		error = token_new(keyring, key, claims, text, len, &token);
	if (token != NULL)
		fault = find_fault(keyring, claims, token, now_us);
	json_decref(claims);
	if (error < 0)
		return error;
	if (fault == TOKEN_FAULT_COUNT) {
		*ret_token = token;
		return 0;
	}
	token_unref(token);
	*ret_fault = fault;
	return -EACCES;
}
