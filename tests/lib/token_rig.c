/* Keys, keyrings and tokens of the tests; what they promise is in the .h. */

#include "tests/lib/token_rig.h"

#include "proto/base64.h"
#include "tests/lib/told.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

char rig_folder[4096];
EVP_PKEY *rig_private[ALGORITHM_COUNT];
const char rig_secret[33] = "0123456789abcdef0123456789abcdef";

void
rig_write(const char *name, const void *bytes, size_t len)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_true(len == 0 || fwrite(bytes, len, 1, file) == 1);
	assert_int_equal(fclose(file), 0);
}

static void
rig_write_public(const char *name, EVP_PKEY *key)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(PEM_write_PUBKEY(file, key), 1);
	assert_int_equal(fclose(file), 0);
}

/* hs.key, rs.key, es.key and ed.key are there. */
int
rig_begin(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	(void)snprintf(rig_folder, sizeof(rig_folder), "%s/token-XXXXXX",
	    base ? base : "/tmp");
	if (!mkdtemp(rig_folder) || chdir(rig_folder) < 0)
		return -1;
	rig_private[RS256] = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	rig_private[ES256] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	rig_private[EDDSA] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	rig_write("hs.key", rig_secret, strlen(rig_secret));
	rig_write_public("rs.key", rig_private[RS256]);
	rig_write_public("es.key", rig_private[ES256]);
	rig_write_public("ed.key", rig_private[EDDSA]);
	return 0;
}

int
rig_end(void **state)
{
	static const char *const names[] = { "hs.key", "rs.key", "es.key",
		"ed.key", "a.key", "b.key" };

	(void)state;
	for (size_t i = 0; i < LENGTH(names); i++)
		(void)remove(names[i]); /* not every test has every file */
	for (size_t i = 0; i < ALGORITHM_COUNT; i++)
		EVP_PKEY_free(rig_private[i]);
	return chdir("/") < 0 || rmdir(rig_folder) < 0 ? -1 : 0;
}

/*
 * conf is lines of [auth]; each @ in it stands for the folder.  The faults are
 * told to *told.
 */
struct keyring *
rig_try_keyring(const char *lines, struct told *told)
{
	char text[RIG_TEXT_MAX] = "[listener]\nlisten = 127.0.0.1:0\n[auth]\n";
	struct keyring *keyring = NULL;
	size_t len = strlen(text);
	struct conf *conf;
	int faults;

	for (; *lines; lines++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s",
		    *lines == '@' ? 4096 : 1,
		    *lines == '@' ? rig_folder : lines);
	conf = told_nothing(text);
	told_clear(told);
	faults = keyring_new(conf, told_add, told, &keyring);
	conf_free(conf);
	assert_int_equal(faults, told->count);
	assert_true(faults == 0 || keyring == NULL);
	return keyring;
}

struct keyring *
rig_keyring(const char *lines)
{
	struct told told;
	struct keyring *keyring = rig_try_keyring(lines, &told);

	assert_string_equal(told.text, "");
	return keyring;
}

/* Tokens */

size_t
rig_base64url(char *out, const void *bytes, size_t len)
{
	size_t n = base64_put(out, bytes, len);

	while (n > 0 && out[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
	out[n] = '\0';
	return n;
}

size_t
rig_hmac(uint8_t *out, const void *secret, size_t secret_len, const char *text)
{
	unsigned len = 0;

	assert_non_null(HMAC(EVP_sha256(), secret, (int)secret_len,
	    (const uint8_t *)text, strlen(text), out, &len));
	return len;
}

static size_t
rig_der_to_es256(uint8_t *out, const uint8_t *der, size_t len)
{
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)len);

	assert_non_null(signature);
	assert_int_equal(
	    BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32), 32);
	assert_int_equal(
	    BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32), 32);
	ECDSA_SIG_free(signature);
	return ES256_BYTES;
}

/* At most 1024 bytes. */
size_t
rig_sign(uint8_t *out, enum algorithm algorithm, const char *text)
{
	EVP_MD_CTX *context;
	uint8_t der[1024];
	size_t len = sizeof(der);

	if (algorithm == HS256)
		return rig_hmac(out, rig_secret, strlen(rig_secret), text);
	context = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestSignInit(context, NULL,
			     algorithm == EDDSA ? NULL : EVP_sha256(), NULL,
			     rig_private[algorithm]),
	    1);
	assert_int_equal(EVP_DigestSign(context, der, &len,
			     (const uint8_t *)text, strlen(text)),
	    1);
	EVP_MD_CTX_free(context);
	if (algorithm == ES256)
		return rig_der_to_es256(out, der, len);
	memcpy(out, der, len);
	return len;
}

/* Header and claims as they will be signed; the length. */
size_t
rig_unsigned(char *out, const char *header, const char *claims)
{
	size_t len = rig_base64url(out, header, strlen(header));

	out[len++] = '.';
	return len + rig_base64url(out + len, claims, strlen(claims));
}

size_t
rig_token_of(
    char *out, enum algorithm algorithm, const char *header, const char *claims)
{
	size_t len = rig_unsigned(out, header, claims), signature_len;
	uint8_t signature[1024];

	signature_len = rig_sign(signature, algorithm, out);
	out[len++] = '.';
	return len + rig_base64url(out + len, signature, signature_len);
}

const char *const rig_headers[ALGORITHM_COUNT] = {
	[HS256] = "{\"alg\":\"HS256\"}",
	[RS256] = "{\"alg\":\"RS256\"}",
	[ES256] = "{\"alg\":\"ES256\"}",
	[EDDSA] = "{\"alg\":\"EdDSA\"}",
};

size_t
rig_token(char *out, enum algorithm algorithm, const char *claims)
{
	return rig_token_of(out, algorithm, rig_headers[algorithm], claims);
}

/* TOKEN_FAULT_COUNT: it is believed, and given back. */
enum token_fault
rig_check(const struct keyring *keyring, const char *text, size_t len,
    int64_t now_us, struct token **ret_token)
{
	enum token_fault fault = TOKEN_FAULT_COUNT;
	struct token *token = NULL;
	/* By itself on the heap, where a sanitizer sees a read beyond it. */
	char *copy = malloc(len ? len : 1);
	int error;

	assert_non_null(copy);
	memcpy(copy, text, len);
	error = token_check(keyring, copy, len, now_us, &token, &fault);
	free(copy);
	assert_true(error == 0 || error == -EACCES);
	assert_int_equal(error == 0, token != NULL);
	assert_int_equal(error == 0, fault == TOKEN_FAULT_COUNT);
	if (ret_token)
		*ret_token = token;
	else
		token_unref(token);
	return fault;
}
