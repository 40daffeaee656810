/*
 * Keys: what the bytes of a file are.
 *
 * The happy path: "-----BEGIN PUBLIC KEY-----" is read by OpenSSL, and what
 * kind of key it is decides its one algorithm; anything without a PEM line is
 * a secret.
 *
 * What can go wrong, and must not: a public key taken for a secret.  Everybody
 * has it, so everybody could sign with it (RFC 8725 section 2.1).  Therefore
 * what looks like a key or a certificate in another spelling is refused: DER,
 * base64 without PEM's lines, as some issuers show it, JSON, OpenSSH, UTF-16.
 */

#include "daemon/auth/auth_internal.h"
#include "daemon/base/memory.h"
#include "proto/base64.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

#define EXPECTED "expected -----BEGIN PUBLIC KEY-----"

static const char pem_begin[] = "-----BEGIN ";

static const char *
find_text(const uint8_t *bytes, size_t len, const char *text)
{
	return memmem(bytes, len, text, strlen(text));
}

/* Which algorithm the kind of key is for; ALGORITHM_COUNT: of no use. */
static enum algorithm
public_algorithm(EVP_PKEY *public, const char **ret_fault)
{
	char curve[32] = "";
	const int bits = EVP_PKEY_get_bits(public);

	switch (EVP_PKEY_get_base_id(public)) {
	case EVP_PKEY_RSA:
		if (bits >= TOKEN_RSA_BITS_MIN && bits <= TOKEN_RSA_BITS_MAX)
			return RS256;
		*ret_fault = "an RSA key of another size, expected 2048 to "
			     "8192 bits";
		return ALGORITHM_COUNT;
	case EVP_PKEY_EC:
		(void)EVP_PKEY_get_utf8_string_param(public,
		    OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve),
		    NULL); /* "": a curve without a name */
		if (strcmp(curve, "prime256v1") == 0)
			return ES256;
		*ret_fault = "a key of another curve, expected P-256";
		return ALGORITHM_COUNT;
	case EVP_PKEY_ED25519:
		return EDDSA;
	default:
		*ret_fault = "a key of another kind, expected RSA, P-256 or "
			     "Ed25519";
		return ALGORITHM_COUNT;
	}
}

static int
put_id(struct key *key, const uint8_t *material, size_t len)
{
	const uint8_t algorithm = (uint8_t)key->algorithm;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int done = context != NULL &&
		   EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
		   EVP_DigestUpdate(context, &algorithm, 1) == 1 &&
		   EVP_DigestUpdate(context, material, len) == 1 &&
		   EVP_DigestFinal_ex(context, key->id, NULL) == 1;

	EVP_MD_CTX_free(context);
	return done ? 0 : -ENOMEM;
}

/* The checks cost some milliseconds, once. */
static bool
is_sound(EVP_PKEY *public)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(public, NULL);
	const bool sound =
	    context != NULL && EVP_PKEY_public_check(context) == 1;

	EVP_PKEY_CTX_free(context);
	return sound;
}

static int
parse_public(
    const uint8_t *der, long len, struct key *key, const char **ret_fault)
{
	const uint8_t *at = der;

	key->public = d2i_PUBKEY(NULL, &at, len);
	if (key->public == NULL || at != der + len) {
		*ret_fault = "no public key that OpenSSL can read, expected "
			     "RSA, P-256 or Ed25519";
		return -EINVAL;
	}
	key->algorithm = public_algorithm(key->public, ret_fault);
	if (key->algorithm == ALGORITHM_COUNT)
		return -EINVAL;
	if (!is_sound(key->public)) {
		*ret_fault = "a public key that cannot be one, expected one as "
			     "openssl pkey -pubout writes it";
		return -EINVAL;
	}
	return put_id(key, der, (size_t)len);
}

/* A PEM file may have other blocks, so its text is looked at as a whole. */
static const char *
pem_fault(const uint8_t *bytes, size_t len)
{
	const char *first = find_text(bytes, len, pem_begin);
	const size_t left = len - (size_t)((const uint8_t *)first - bytes) - 1;

	if (find_text(bytes, len, "PRIVATE KEY-----") != NULL)
		return "a private key, expected a public key (openssl pkey "
		       "-pubout)";
	if (find_text(bytes, len, "CERTIFICATE-----") != NULL)
		return "a certificate, expected a public key (openssl x509 "
		       "-pubkey)";
	if (find_text((const uint8_t *)first + 1, left, pem_begin) != NULL)
		return "more than one key, expected one in each file";
	return NULL;
}

static int
parse_pem(uint8_t *bytes, size_t len, struct key *key, const char **ret_fault)
{
	char *name = NULL, *header = NULL;
	uint8_t *der = NULL;
	long der_len = 0;
	BIO *bio;
	int error = -EINVAL;

	*ret_fault = pem_fault(bytes, len);
	if (*ret_fault != NULL)
		return -EINVAL;
	bio = BIO_new_mem_buf(bytes, (int)len);
	if (bio == NULL)
		return -ENOMEM;
	if (PEM_read_bio(bio, &name, &header, &der, &der_len) != 1)
		*ret_fault = "no PEM that OpenSSL can read, " EXPECTED;
	else if (strcmp(name, PEM_STRING_PUBLIC) != 0 || *header != '\0')
		*ret_fault = "another kind of PEM, " EXPECTED;
	else
		error = parse_public(der, der_len, key, ret_fault);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	BIO_free(bio);
	return error;
}

/*
 * One SEQUENCE from the first byte to the last, as all keys are in DER.  A
 * line end may be missing at its end, or too many.
 */
static bool
is_der(const uint8_t *bytes, size_t len)
{
	size_t length = 0, at = 2;

	if (len < 2 || bytes[0] != 0x30)
		return false;
	if (bytes[1] < 0x80)
		length = bytes[1];
	else if (bytes[1] < 0x81 || bytes[1] > 0x84)
		return false;
	for (size_t left = bytes[1] & 0x80 ? bytes[1] & 0x7fu : 0; left > 0;
	     left--) {
		if (at == len)
			return false;
		length = length << 8 | bytes[at++];
	}
	return at + length + 2 > len && at + length < len + 2;
}

/* Lines of PEM, of which the first may be missing or misspelt. */
static bool
is_like_pem(const uint8_t *bytes, size_t len)
{
	return find_text(bytes, len, pem_begin) != NULL ||
	       find_text(bytes, len, "PUBLIC KEY-") != NULL ||
	       find_text(bytes, len, "PRIVATE KEY-") != NULL ||
	       find_text(bytes, len, "CERTIFICATE-") != NULL;
}

/*
 * Is it base64 of a key?  Either alphabet, with line ends and white space,
 * with padding or without.
 */
static int
is_key_in_base64(const uint8_t *bytes, size_t len, bool *ret_is)
{
	uint8_t *text = memory_alloc(len + 3);
	size_t letters = 0;
	int64_t got;

	if (text == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++)
		if (bytes[i] == '\0' || strchr(" \t\r\n=", bytes[i]) == NULL)
			text[letters++] = bytes[i] == '+'   ? '-'
					  : bytes[i] == '/' ? '_'
							    : bytes[i];
	got = base64url_get(text, (const char *)text, letters);
	*ret_is = got > 0 &&
		  (is_der(text, (size_t)got) || is_like_pem(text, (size_t)got));
	OPENSSL_cleanse(text, len + 3);
	memory_free(text);
	return 0;
}

static bool
begins(const uint8_t *bytes, size_t len, const char *text)
{
	return len >= strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

static int
secret_fault(const uint8_t *bytes, size_t len, const char **ret_fault)
{
	bool in_base64;
	int error = is_key_in_base64(bytes, len, &in_base64);

	if (error < 0)
		return error;
	*ret_fault = NULL;
	if (in_base64 || is_der(bytes, len) || is_like_pem(bytes, len))
		*ret_fault = "a key without PEM's lines, " EXPECTED;
	else if (find_text(bytes, len, "\"kty\"") != NULL)
		*ret_fault = "a key in JSON, " EXPECTED;
	else if (begins(bytes, len, "ssh-") || begins(bytes, len, "ecdsa-") ||
		 find_text(bytes, len, "---- BEGIN SSH2") != NULL)
		*ret_fault = "a key of OpenSSH, " EXPECTED;
	else if (begins(bytes, len, "\xff\xfe") ||
		 begins(bytes, len, "\xfe\xff"))
		*ret_fault = "text in UTF-16, expected PEM or a secret in "
			     "plain bytes";
	else if (len < TOKEN_SECRET_BYTES_MIN)
		*ret_fault = "neither a public key in PEM nor a secret of 32 "
			     "bytes or more, expected one of these";
	return 0;
}

static int
parse_secret(
    const uint8_t *bytes, size_t len, struct key *key, const char **ret_fault)
{
	int error;

	if (len > 0 && bytes[len - 1] == '\n')
		len--;
	error = secret_fault(bytes, len, ret_fault);
	if (error < 0)
		return error;
	if (*ret_fault != NULL)
		return -EINVAL;
	key->algorithm = HS256;
	key->secret = memory_dup(bytes, len);
	key->secret_len = len;
	return key->secret == NULL ? -ENOMEM : put_id(key, bytes, len);
}

int
key_parse(
    uint8_t *bytes, size_t len, struct key *ret_key, const char **ret_fault)
{
	struct key key = { 0 };
	int error;

	assert(len <= TOKEN_KEY_BYTES_MAX);

	(void)ERR_set_mark(); /* fails where there is nothing to keep */
	if (find_text(bytes, len, pem_begin) != NULL)
		error = parse_pem(bytes, len, &key, ret_fault);
	else
		error = parse_secret(bytes, len, &key, ret_fault);
	(void)ERR_pop_to_mark();
	if (error == 0)
		*ret_key = key;
	else
		key_fini(&key);
	return error;
}

void
key_fini(struct key *key)
{
	EVP_PKEY_free(key->public);
	if (key->secret != NULL)
		OPENSSL_cleanse(key->secret, key->secret_len);
	memory_free(key->secret);
	*key = (struct key){ 0 };
}

bool
key_equal(const struct key *key, const uint8_t *id)
{
	return memcmp(key->id, id, sizeof(key->id)) == 0;
}
