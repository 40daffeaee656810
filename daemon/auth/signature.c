/*
 * Signatures: did this key make it?  What the algorithm is, the key says.
 */

#include "daemon/auth/auth_internal.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <string.h>

#define HS256_BYTES 32
#define ES256_HALF (ES256_BYTES / 2)

enum algorithm
algorithm_named(const char *name, size_t len)
{
	static const char *const names[ALGORITHM_COUNT] = {
		[HS256] = "HS256",
		[RS256] = "RS256",
		[ES256] = "ES256",
		[EDDSA] = "EdDSA",
	};
	enum algorithm i = HS256;

	while (i < ALGORITHM_COUNT &&
	       (strlen(names[i]) != len || memcmp(name, names[i], len) != 0))
		i++;
	return i;
}

static int
check_hmac(const struct key *key, const void *text, size_t len,
    const uint8_t *signature, size_t signature_len)
{
	uint8_t ours[EVP_MAX_MD_SIZE];
	unsigned ours_len = 0;
	int same;

	if (signature_len != HS256_BYTES)
		return 0;
	if (HMAC(EVP_sha256(), key->secret, (int)key->secret_len, text, len,
		ours, &ours_len) == NULL)
		return -ENOMEM;
	assert(ours_len == HS256_BYTES);
	same = CRYPTO_memcmp(ours, signature, HS256_BYTES) == 0;
	OPENSSL_cleanse(ours, sizeof(ours));
	return same;
}

/* A positive INTEGER without needless zeroes; the bytes written. */
static size_t
put_integer(uint8_t *out, const uint8_t *bytes)
{
	size_t zeroes = 0, sign, len;

	while (zeroes < ES256_HALF - 1 && bytes[zeroes] == 0)
		zeroes++;
	len = ES256_HALF - zeroes;
	sign = bytes[zeroes] >> 7;
	out[0] = 0x02;
	out[1] = (uint8_t)(sign + len);
	out[2] = 0;
	memcpy(out + 2 + sign, bytes + zeroes, len);
	return 2 + sign + len;
}

size_t
es256_to_der(uint8_t out[static ES256_DER_MAX],
    const uint8_t signature[static ES256_BYTES])
{
	size_t len = 2;

	len += put_integer(out + len, signature);
	len += put_integer(out + len, signature + ES256_HALF);
	assert(len <= ES256_DER_MAX);
	out[0] = 0x30;
	out[1] = (uint8_t)(len - 2);
	return len;
}

/*
 * OpenSSL does not tell apart "it is another's" and what went wrong on the
 * way; both are no.
 */
static int
check_public(const struct key *key, const void *text, size_t len,
    const uint8_t *signature, size_t signature_len)
{
	const EVP_MD *digest = key->algorithm == EDDSA ? NULL : EVP_sha256();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options = NULL; /* the context's */
	int result = -ENOMEM;

	if (context == NULL)
		return -ENOMEM;
	/* A key that was read is one it can begin with. */
	if (EVP_DigestVerifyInit(
		context, &options, digest, NULL, key->public) == 1 &&
	    (key->algorithm != RS256 ||
		EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PADDING) == 1))
		result = EVP_DigestVerify(
			     context, signature, signature_len, text, len) == 1;
	EVP_MD_CTX_free(context);
	return result;
}

int
signature_check(const struct key *key, const void *text, size_t len,
    const uint8_t *signature, size_t signature_len)
{
	uint8_t der[ES256_DER_MAX];
	int result = 0;

	assert((key->public == NULL) == (key->algorithm == HS256));

	(void)ERR_set_mark(); /* fails where there is nothing to keep */
	switch (key->algorithm) {
	case HS256:
		result = check_hmac(key, text, len, signature, signature_len);
		break;
	case ES256:
		if (signature_len == ES256_BYTES)
			result = check_public(
			    key, text, len, der, es256_to_der(der, signature));
		break;
	case RS256:
	case EDDSA:
		result = check_public(key, text, len, signature, signature_len);
		break;
	case ALGORITHM_COUNT:
		assert(false);
	}
	(void)ERR_pop_to_mark();
	return result;
}
