/*
 * [auth]: its keys and the setters only they need.  As keys.c.
 *
 * Each file of a key is kept with the place where it was named: what is wrong
 * with it is found later, by whoever reads it (daemon/auth).
 */

#include "conf/keys_internal.h"
#include "daemon/base/memory.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define CLAIM_BYTES_MAX 1024 /* of token_issuer, token_audience */

static SETTER(set_rights)
{
	static const struct choice choices[] = {
		{ "subscribe", CONF_SUBSCRIBE },
		{ "publish", CONF_PUBLISH },
	};
	struct text left = value, word;
	unsigned rights = 0;

	while (value_next_word(&left, &word)) {
		int right = choose(word, choices, LENGTH(choices));

		if (right < 0) {
			rights = 0;
			break;
		}
		rights |= (unsigned)right;
	}
	if (rights == 0 && !text_equals(value, "none"))
		fault_expected(reader, key, value,
		    "none, subscribe, publish or subscribe publish");
	else
		*(unsigned *)field = rights;
	return 0;
}

static SETTER(add_token_key)
{
	struct conf_auth *auth = field;
	char where[PATH_MAX + 16];
	int len, error;

	if (value.len == 0) {
		list_clear(&auth->token_keys);
		list_clear(&auth->token_keys_where);
		return 0;
	}
	if (!value_path_valid(value)) {
		fault_expected(reader, key, value, "an absolute path");
		return 0;
	}
	if (auth->token_keys.count == CONF_TOKEN_KEYS_MAX) {
		reader_fault(reader, "%s too often, expected at most %d times",
		    key->name, CONF_TOKEN_KEYS_MAX);
		return 0;
	}
	len = snprintf(
	    where, sizeof(where), "%s:%d: ", reader->file, reader->line);
	if (len >= (int)sizeof(where))
		len = sizeof(where) - 1; /* cut is fine */
	error = list_add(&auth->token_keys_where, where, (size_t)len);
	if (error < 0)
		return error;
	/* With -ENOMEM here the reading ends: nobody asks for the place. */
	return list_add(&auth->token_keys, value.at, value.len);
}

/* What a claim has to be, byte by byte. */
static SETTER(set_claim)
{
	size_t n = 0;

	while (n < value.len && (unsigned char)value.at[n] >= ' ' &&
	       value.at[n] != 0x7f)
		n++;
	if (n > 0 && n == value.len && n <= CLAIM_BYTES_MAX)
		return replace_string(field, value);
	fault_expected(
	    reader, key, value, "text of 1 to 1024 bytes, as in the claim");
	return 0;
}

/* The table */

#define FIELD(field) offsetof(struct conf, auth.field)

/* clang-format off */
const struct key auth_keys[] = {
	{ SECTION_AUTH, "anonymous", set_rights, FIELD(anonymous), 0, 0, 0 },
	{ SECTION_AUTH, "token_key", add_token_key,
	    offsetof(struct conf, auth), 0, 0, LIST },
	{ SECTION_AUTH, "token_issuer", set_claim,
	    FIELD(token_issuer), 0, 0, 0 },
	{ SECTION_AUTH, "token_audience", set_claim,
	    FIELD(token_audience), 0, 0, 0 },
	{ SECTION_AUTH, "token_leeway", set_TIME,
	    FIELD(token_leeway_us), 0, CONF_HOUR, 0 },
};
/* clang-format on */

const size_t auth_key_count = LENGTH(auth_keys);

void
auth_fini(struct conf_auth *auth)
{
	list_clear(&auth->token_keys);
	list_clear(&auth->token_keys_where);
	memory_free(auth->token_issuer);
	memory_free(auth->token_audience);
}
