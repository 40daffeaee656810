/*
 * Not there yet: this much compiles and links, and believes nothing.
 */

#include "daemon/auth/token.h"

#include <errno.h>

int
keyring_new(const struct conf *conf, conf_fault_fn fault, void *arg,
    struct keyring **ret_keyring)
{
	if (conf->auth.token_keys.count > 0) {
		fault("token_key: tokens are not checked yet", arg);
		return 1;
	}
	*ret_keyring = NULL;
	return 0;
}

struct keyring *
keyring_ref(struct keyring *keyring)
{
	return keyring;
}

void
keyring_unref(struct keyring *keyring)
{
	(void)keyring;
}

int
token_check(const struct keyring *keyring, const char *text, size_t len,
    int64_t now_us, struct token **ret_token, enum token_fault *ret_fault)
{
	(void)keyring;
	(void)text;
	(void)len;
	(void)now_us;
	(void)ret_token;
	if (ret_fault != NULL)
		*ret_fault = TOKEN_UNSIGNED_BY_US;
	return -EACCES;
}

struct token *
token_ref(struct token *token)
{
	return token;
}

void
token_unref(struct token *token)
{
	(void)token;
}

bool
token_may(const struct token *token, enum conf_rights right,
    const char *channel, size_t len)
{
	(void)token;
	(void)right;
	(void)channel;
	(void)len;
	return false;
}

const char *
token_claims(const struct token *token)
{
	(void)token;
	return "{}";
}

const char *
token_subject(const struct token *token)
{
	(void)token;
	return "";
}

int64_t
token_expires_us(const struct token *token)
{
	(void)token;
	return 0;
}

bool
keyring_knows(const struct keyring *keyring, const struct token *token)
{
	(void)keyring;
	(void)token;
	return false;
}

const char *
token_fault_text(enum token_fault fault)
{
	(void)fault;
	return "tokens are not checked yet";
}
