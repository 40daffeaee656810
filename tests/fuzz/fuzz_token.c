/*
 * Any bytes as a token, as the claims of one that is signed, and as the file
 * of a key: what comes out can be asked everything, and is the same twice.
 */

#include "daemon/auth/auth_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ISSUER "https://id.example"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
ask(const struct keyring *keyring, struct token *token)
{
	const char *claims = token_claims(token);

	assert(claims[0] == '{' || claims[0] == ' ');
	assert(strpbrk(claims, "\r\n\t") == NULL);
	assert(strlen(token_subject(token)) < strlen(claims));
	assert(token_expires_us(token) > 0);
	assert(keyring_knows(keyring, token));
	(void)token_may(token, CONF_PUBLISH, "a.b", 3);
	token_unref(token);
}

static void
check(const struct keyring *keyring, const uint8_t *data, size_t len)
{
	enum token_fault fault = TOKEN_FAULT_COUNT;
	struct token *token = NULL;
	uint8_t *copy = malloc(len + 1);
	int error;

	assert(copy);
	memcpy(copy, data, len);
	error = claims_read(
	    keyring, &keyring->keys[0], copy, len, 0, &token, &fault);
	free(copy);
	assert((error == 0) == (fault == TOKEN_FAULT_COUNT));
	if (error == 0)
		ask(keyring, token);
	error =
	    token_check(keyring, (const char *)data, len, 0, &token, &fault);
	assert(error == -EACCES || error == 0);
	if (error == 0)
		ask(keyring, token);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static char issuer[] = ISSUER;
	static const uint8_t secret[] = "0123456789abcdef0123456789abcdef";
	struct keyring keyring = { .references = 1, .key_count = 1 };
	const char *fault = NULL;
	struct key key = { 0 };
	uint8_t copy[TOKEN_KEY_BYTES_MAX + 1];

	memcpy(copy, secret, 32);
	assert(key_parse(copy, 32, &keyring.keys[0], &fault) == 0);
	check(&keyring, data, len);
	keyring.issuer = issuer;
	check(&keyring, data, len);
	key_fini(&keyring.keys[0]);

	if (len <= TOKEN_KEY_BYTES_MAX) {
		memcpy(copy, data, len);
		if (key_parse(copy, len, &key, &fault) == 0)
			key_fini(&key);
		else
			assert(fault != NULL);
	}
	return 0;
}
