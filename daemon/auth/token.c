/*
 * Tokens: from text to what it allows.
 *
 * The happy path: three parts -> the header names an algorithm, and one of its
 * keys has made the signature over the first two -> the claims are read, and
 * only now (daemon/auth/claims.c).
 *
 * What can go wrong, told apart by enum token_fault.  All that is done with
 * bytes nobody has signed is: cutting at two dots, base64url, one small JSON
 * object of which `alg` and `crit` are looked at, signatures.
 */

#include "daemon/auth/auth_internal.h"
#include "daemon/base/memory.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct piece {
	const char *at;
	size_t len;
};

struct parts {
	struct piece header, claims, signature;
	struct piece signed_text; /* header, dot, claims */
};

static bool
cut(const char *text, size_t len, struct parts *ret_parts)
{
	const char *first = memchr(text, '.', len), *end = text + len, *second;

	if (first == NULL)
		return false;
	second = memchr(first + 1, '.', (size_t)(end - first) - 1);
	if (second == NULL)
		return false;
	*ret_parts = (struct parts){
		.header = { text, (size_t)(first - text) },
		.claims = { first + 1, (size_t)(second - first) - 1 },
		.signature = { second + 1, (size_t)(end - second) - 1 },
		.signed_text = { text, (size_t)(second - text) },
	};
	return true;
}

static int
refuse(enum token_fault fault, enum token_fault *ret_fault)
{
	*ret_fault = fault;
	return -EACCES;
}

/*
 * What it is signed with, as it says.  ALGORITHM_COUNT: by none of ours.
 * -EBADMSG: no header, or one with more that has to be understood.
 */
static int
read_header(
    const struct piece *header, uint8_t *scratch, enum algorithm *ret_algorithm)
{
	const int64_t len = base64url_get(scratch, header->at, header->len);
	const struct json_member *member;
	struct object object;
	char *name;
	size_t name_len;

	if (len < 0 || object_read(scratch, (size_t)len, &object) < 0)
		return -EBADMSG;
	member = object_get(&object, "alg");
	if (member == NULL || !string_take(member, &name, &name_len) ||
	    object_get(&object, "crit") != NULL)
		return -EBADMSG;
	*ret_algorithm = algorithm_named(name, name_len);
	return 0;
}

/* *ret_key NULL: none of them. */
static int
find_key(const struct keyring *keyring, enum algorithm algorithm,
    const struct parts *parts, const uint8_t *signature, size_t signature_len,
    const struct key **ret_key)
{
	const struct key *found = NULL;

	for (size_t i = 0; i < keyring->key_count && found == NULL; i++) {
		const struct key *key = &keyring->keys[i];
		int made;

		if (key->algorithm != algorithm)
			continue;
		made = signature_check(key, parts->signed_text.at,
		    parts->signed_text.len, signature, signature_len);
		if (made < 0)
			return made;
		if (made > 0)
			found = key;
	}
	*ret_key = found;
	return 0;
}

static int
check_parts(const struct keyring *keyring, const struct parts *parts,
    uint8_t *scratch, int64_t now_us, struct token **ret_token,
    enum token_fault *ret_fault)
{
	const struct key *key = NULL;
	enum algorithm algorithm;
	int64_t len;
	int error;

	if (read_header(&parts->header, scratch, &algorithm) < 0)
		return refuse(TOKEN_MALFORMED, ret_fault);
	len = base64url_get(scratch, parts->signature.at, parts->signature.len);
	if (len < 0)
		return refuse(TOKEN_MALFORMED, ret_fault);
	error = find_key(keyring, algorithm, parts, scratch, (size_t)len, &key);
	if (error < 0)
		return error;
	if (key == NULL)
		return refuse(TOKEN_UNSIGNED_BY_US, ret_fault);
	len = base64url_get(scratch, parts->claims.at, parts->claims.len);
	if (len < 0)
		return refuse(TOKEN_MALFORMED, ret_fault);
	return claims_read(
	    keyring, key, scratch, (size_t)len, now_us, ret_token, ret_fault);
}

int
token_check(const struct keyring *keyring, const char *text, size_t len,
    int64_t now_us, struct token **ret_token, enum token_fault *ret_fault)
{
	enum token_fault unasked;
	struct parts parts;
	uint8_t *scratch;
	int error;

	assert(keyring != NULL);
	assert(text != NULL || len == 0);

	if (ret_fault == NULL)
		ret_fault = &unasked;
	if (len == 0 || len > TOKEN_BYTES_MAX || !cut(text, len, &parts))
		return refuse(TOKEN_MALFORMED, ret_fault);
	scratch = memory_alloc(len + 3);
	if (scratch == NULL)
		return -ENOMEM;
	error =
	    check_parts(keyring, &parts, scratch, now_us, ret_token, ret_fault);
	memory_free(scratch);
	return error;
}

struct token *
token_ref(struct token *token)
{
	const int before = atomic_fetch_add(&token->references, 1);

	assert(before > 0);
	return token;
}

void
token_unref(struct token *token)
{
	if (token != NULL && atomic_fetch_sub(&token->references, 1) == 1)
		memory_free(token);
}

/* Questions */

bool
token_may(const struct token *token, enum conf_rights right,
    const char *channel, size_t len)
{
	const struct strings *patterns;
	const char *pattern;

	assert(right == CONF_SUBSCRIBE || right == CONF_PUBLISH);

	if (token == NULL)
		return false;
	patterns =
	    right == CONF_SUBSCRIBE ? &token->subscribe : &token->publish;
	pattern = patterns->first;
	for (size_t i = 0; i < patterns->count; i++) {
		const size_t pattern_len = strlen(pattern);

		if (channel_pattern_match(pattern, pattern_len, channel, len))
			return true;
		pattern += pattern_len + 1;
	}
	return false;
}

const char *
token_claims(const struct token *token)
{
	return token->text;
}

const char *
token_subject(const struct token *token)
{
	return token->subject;
}

int64_t
token_expires_us(const struct token *token)
{
	return token->expires_us;
}

bool
keyring_knows(const struct keyring *keyring, const struct token *token)
{
	if (keyring == NULL)
		return false;
	for (size_t i = 0; i < keyring->key_count; i++)
		if (key_equal(&keyring->keys[i], token->key_id))
			return issuer_fits(keyring, token) &&
			       audience_fits(keyring, token);
	return false;
}

const char *
token_fault_text(enum token_fault fault)
{
	static const char *const texts[TOKEN_FAULT_COUNT] = {
		[TOKEN_MALFORMED] = "no JSON Web Token in compact form",
		[TOKEN_UNSIGNED_BY_US] = "not signed with a key of this server",
		[TOKEN_EXPIRED] = "the token has expired",
		[TOKEN_NOT_YET] = "the token is not valid yet",
		[TOKEN_ISSUER] = "of another issuer",
		[TOKEN_AUDIENCE] = "for another audience",
		[TOKEN_CLAIMS] = "a claim is missing or of the wrong kind",
	};

	assert(fault >= 0);
	assert(fault < TOKEN_FAULT_COUNT);
	return texts[fault];
}
