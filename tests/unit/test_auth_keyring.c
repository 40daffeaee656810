/*
 * Files of keys: which are taken for what, and what is told of the others,
 * with the line of the configuration that named them.
 */

#include "daemon/base/memory.h"
#include "proto/base64.h"
#include "tests/lib/token_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define NOW (1000 * RIG_S)
#define ANY "expected a file with a public key in PEM, or a secret"
#define WANTED "expected -----BEGIN PUBLIC KEY-----"

/* a.key has these bytes: the whole fault behind "PATH: ", "" for none. */
static void
assert_told(const char *expected, const void *bytes, size_t len)
{
	struct keyring *keyring;
	char begin[5000];
	struct told told;
	size_t begin_len;

	rig_write("a.key", bytes, len);
	keyring = rig_try_keyring("token_key = @/a.key\n", &told);
	keyring_unref(keyring);
	if (*expected == '\0') {
		assert_string_equal(told.text, "");
		assert_non_null(keyring);
		return;
	}
	begin_len = (size_t)snprintf(begin, sizeof(begin),
	    "f:4: token_key = %s/a.key: %s\n", rig_folder, expected);
	assert_true(begin_len < sizeof(begin));
	assert_string_equal(told.text, begin);
}

/* The PEM or DER that write gives; returns its length. */
static size_t
written(char *out, int (*write)(BIO *bio, const EVP_PKEY *key), EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	assert_non_null(key);
	assert_int_equal(write(bio, key), 1);
	len = BIO_get_mem_data(bio, &data);
	assert_in_range(len, 1, RIG_TEXT_MAX - 1);
	memcpy(out, data, (size_t)len);
	out[len] = '\0';
	(void)BIO_free(bio);
	return (size_t)len;
}

static int
write_private(BIO *bio, const EVP_PKEY *key)
{
	return PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
}

static int
write_encrypted(BIO *bio, const EVP_PKEY *key)
{
	return PEM_write_bio_PrivateKey(
	    bio, key, EVP_aes_128_cbc(), NULL, 0, NULL, "word");
}

static int
write_traditional(BIO *bio, const EVP_PKEY *key)
{
	return PEM_write_bio_PrivateKey_traditional(
	    bio, key, NULL, NULL, 0, NULL, NULL);
}

static int
write_der(BIO *bio, const EVP_PKEY *key)
{
	return i2d_PUBKEY_bio(bio, key);
}

static void
assert_told_of(const char *expected, EVP_PKEY *key)
{
	char text[RIG_TEXT_MAX];

	assert_told(expected, text, written(text, PEM_write_bio_PUBKEY, key));
	EVP_PKEY_free(key);
}

static void
public_keys_of_three_kinds_are_taken(void **state)
{
	(void)state;
	for (enum algorithm i = RS256; i < ALGORITHM_COUNT; i++) {
		char text[RIG_TEXT_MAX], more[RIG_TEXT_MAX + 64], *to = more;
		size_t len =
		    written(text, PEM_write_bio_PUBKEY, rig_private[i]);

		assert_told("", text, len);
		assert_told("", text, len - 1); /* no line end */
		(void)snprintf(more, sizeof(more), "a word before\n\n%s", text);
		assert_told("", more, strlen(more));
		for (const char *c = text; *c; c++) {
			if (*c == '\n')
				*to++ = '\r';
			*to++ = *c;
		}
		assert_told("", more, (size_t)(to - more));
	}
	assert_told_of("", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)3072));
}

static void
public_keys_of_other_kinds_are_not(void **state)
{
	static const char kind[] =
	    "a key of another kind, expected RSA, P-256 or Ed25519";
	static const char curve[] = "a key of another curve, expected P-256";

	(void)state;
	assert_told_of("an RSA key of another size, expected 2048 to 8192 bits",
	    EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024));
	assert_told_of(curve, EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"));
	assert_told_of(curve, EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1"));
	assert_told_of(kind, EVP_PKEY_Q_keygen(NULL, NULL, "ED448"));
	assert_told_of(kind, EVP_PKEY_Q_keygen(NULL, NULL, "X25519"));
}

static void
nothing_stands_behind_a_key(void **state)
{
	uint8_t *der = NULL, more[512] = { 0 };
	int len = i2d_PUBKEY(rig_private[ES256], &der);
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long n;

	(void)state;
	assert_in_range(len, 1, sizeof(more) - 1);
	memcpy(more, der, (size_t)len);
	assert_true(
	    PEM_write_bio(bio, PEM_STRING_PUBLIC, "", more, len + 1) > 0);
	n = BIO_get_mem_data(bio, &data);
	assert_told("no public key that OpenSSL can read, expected RSA, P-256 "
		    "or Ed25519",
	    data, (size_t)n);
	(void)BIO_free(bio);
	OPENSSL_free(der);
}

/* Its signatures would be anybody's. */
static void
a_key_that_cannot_be_one_is_not(void **state)
{
	EVP_PKEY *key = rig_private[RS256];
	char text[RIG_TEXT_MAX];
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	(void)state;
	/* Its last bytes are the exponent, 01 00 01. */
	assert_true(len > 290);
	assert_memory_equal(der + len - 3, "\1\0\1", 3);
	for (uint8_t last = 0; last < 3; last++) {
		BIO *bio = BIO_new(BIO_s_mem());
		struct told told;
		char *data;
		long n;

		memcpy(der + len - 3, "\0\0", 2);
		der[len - 1] = last;
		assert_true(
		    PEM_write_bio(bio, PEM_STRING_PUBLIC, "", der, len) > 0);
		n = BIO_get_mem_data(bio, &data);
		memcpy(text, data, (size_t)n);
		(void)BIO_free(bio);
		rig_write("a.key", text, (size_t)n);
		assert_null(rig_try_keyring("token_key = @/a.key\n", &told));
		assert_int_equal(told.count, 1);
	}
	OPENSSL_free(der);
}

static void
what_else_is_in_pem_is_told(void **state)
{
	static const char private[] = "a private key, expected a public key "
				      "(openssl pkey -pubout)";
	static const char cut[] =
	    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n";
	static const char junk[] = "-----BEGIN PUBLIC KEY-----\nAAAA\n"
				   "-----END PUBLIC KEY-----\n";
	static const char pkcs1[] = "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n"
				    "-----END RSA PUBLIC KEY-----\n";
	static const char certificate[] = "-----BEGIN CERTIFICATE-----\nAAAA\n"
					  "-----END CERTIFICATE-----\n";
	char text[RIG_TEXT_MAX], both[2 * RIG_TEXT_MAX];

	(void)state;
	for (enum algorithm i = RS256; i < ALGORITHM_COUNT; i++) {
		assert_told(private, text,
		    written(text, write_private, rig_private[i]));
		assert_told(private, text,
		    written(text, write_encrypted, rig_private[i]));
	}
	assert_told(private, text,
	    written(text, write_traditional, rig_private[RS256]));
	assert_told(private, text,
	    written(text, write_traditional, rig_private[ES256]));
	assert_told("a certificate, expected a public key (openssl x509 "
		    "-pubkey)",
	    certificate, strlen(certificate));
	assert_told("another kind of PEM, " WANTED, pkcs1, strlen(pkcs1));
	assert_told("no PEM that OpenSSL can read, " WANTED, cut, strlen(cut));
	assert_told("no public key that OpenSSL can read, expected RSA, P-256 "
		    "or Ed25519",
	    junk, strlen(junk));
	(void)written(text, PEM_write_bio_PUBKEY, rig_private[ES256]);
	(void)snprintf(both, sizeof(both), "%s%s", text, text);
	assert_told(
	    "more than one key, expected one in each file", both, strlen(both));
	(void)snprintf(both, sizeof(both), "\xef\xbb\xbf%s", text);
	assert_told("", both, strlen(both));
}

/* RFC 8725 section 2.1: whoever has the public key could sign with it. */
static void
no_spelling_of_a_public_key_is_a_secret(void **state)
{
	static const char jwk[] =
	    " {\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
	    "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
	static const char ssh[] =
	    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8Q a@b";
	char der[RIG_TEXT_MAX], text[2 * RIG_TEXT_MAX];

	(void)state;
	for (enum algorithm i = RS256; i < ALGORITHM_COUNT; i++) {
		size_t len = written(der, write_der, rig_private[i]), n;

		assert_told("a key without PEM's lines, " WANTED, der, len);
		der[len] = '\n';
		assert_told("a key without PEM's lines, " WANTED, der, len + 1);
		der[len - 1] = '\n'; /* which is then one of the key's */
		assert_told("a key without PEM's lines, " WANTED, der, len);
		n = base64_put(text, der, len);
		assert_told("a key without PEM's lines, " WANTED, text, n);
		memmove(text + 33, text + 32, n - 32);
		text[32] = '\n';
		assert_told("a key without PEM's lines, " WANTED, text, n + 1);
		n = rig_base64url(text, der, len);
		assert_told("a key without PEM's lines, " WANTED, text, n);
		len = written(der, PEM_write_bio_PUBKEY, rig_private[i]);
		n = base64_put(text, der, len);
		assert_told("a key without PEM's lines, " WANTED, text, n);
		assert_told("a key without PEM's lines, " WANTED, der + 1,
		    len - 1); /* a dash too few */
		n = strcspn(der, "\n") + 1; /* the first line is missing */
		assert_told(
		    "a key without PEM's lines, " WANTED, der + n, len - n);
		(void)memcpy(text, "\xff\xfe", 2);
		for (n = 0; n < len; n++) {
			text[2 + 2 * n] = der[n];
			text[3 + 2 * n] = '\0';
		}
		assert_told("text in UTF-16, expected PEM or a secret in plain "
			    "bytes",
		    text, 2 + 2 * len);
	}
	assert_told("a key in JSON, " WANTED, jwk, strlen(jwk));
	assert_told("a key of OpenSSH, " WANTED, ssh, strlen(ssh));
}

static void
secrets_are_of_32_bytes_and_more(void **state)
{
	static const char few[] = "neither a public key in PEM nor a secret of "
				  "32 bytes or more, expected one of these";
	static const char text[] = "0123456789abcdef0123456789abcdef\n\n";
	static const uint8_t zeroes[64];
	char most[TOKEN_KEY_BYTES_MAX + 1];

	(void)state;
	assert_told("", text, 32);
	assert_told("", text, 33); /* one line end is not counted */
	assert_told(few, text, 31);
	assert_told(few, "0123456789abcdef0123456789abcde\n", 32);
	assert_told("", "0123456789abcdef0123456789abcde\n\n", 33);
	assert_told(few, "", 0);
	assert_told(few, "\n", 1);
	assert_told("", zeroes, sizeof(zeroes));
	memset(most, '-', sizeof(most));
	assert_told("", most, sizeof(most) - 1);
	assert_told(
	    "too long, expected at most 16384 bytes", most, sizeof(most));
}

/* What stands in the file, less one line end: as a shell's $(cat) has it. */
static void
a_line_end_is_no_part_of_a_secret(void **state)
{
	struct keyring *keyring;
	char token[RIG_TEXT_MAX];

	(void)state;
	(void)rig_token(token, HS256, "{\"exp\":1001}");
	for (unsigned ends = 0; ends < 3; ends++) {
		rig_write(
		    "a.key", "0123456789abcdef0123456789abcdef\n\n", 32 + ends);
		keyring = rig_keyring("token_key = @/a.key\n");
		assert_fault(
		    ends < 2 ? TOKEN_FAULT_COUNT : TOKEN_UNSIGNED_BY_US,
		    keyring, token, NOW);
		keyring_unref(keyring);
	}
}

static void
what_cannot_be_read_is_told(void **state)
{
	struct keyring *keyring;
	char expected[3 * 5000];
	struct told told;

	(void)state;
	(void)remove("a.key"); /* of the test before */
	assert_int_equal(mkfifo("a.key", 0600), 0);
	keyring = rig_try_keyring("token_key = @/es.key\n"
				  "token_key = @/b.key\n"
				  "token_issuer = x\n"
				  "token_key = @\n"
				  "token_key = @/a.key\n",
	    &told);
	/* Who writes to it now would wait. */
	assert_int_equal(remove("a.key"), 0);
	(void)snprintf(expected, sizeof(expected),
	    "f:5: token_key = %s/b.key: No such file or directory, " ANY "\n"
	    "f:7: token_key = %s: no plain file, " ANY "\n"
	    "f:8: token_key = %s/a.key: no plain file, " ANY "\n",
	    rig_folder, rig_folder, rig_folder);
	assert_null(keyring);
	assert_string_equal(told.text, expected);
}

static void
no_keys_no_keyring(void **state)
{
	struct told told;

	(void)state;
	assert_null(rig_try_keyring("token_issuer = x\n", &told));
	assert_int_equal(told.count, 0);
	assert_null(
	    rig_try_keyring("token_key = @/es.key\ntoken_key =\n", &told));
	assert_int_equal(told.count, 0);
}

static void
keys_of_one_algorithm_are_tried_each_and_doubles_once(void **state)
{
	struct keyring *keyring;
	char token[RIG_TEXT_MAX];

	(void)state;
	rig_write("a.key", "another secret, of 32 bytes, for certain", 40);
	keyring = rig_keyring("token_key = @/a.key\ntoken_key = @/hs.key\n"
			      "token_key = @/hs.key\ntoken_key = @/es.key\n");
	assert_int_equal(keyring->key_count, 3);
	(void)rig_token(token, HS256, "{\"exp\":1001}");
	assert_believed(keyring, token, NOW);
	(void)rig_token(token, ES256, "{\"exp\":1001}");
	assert_believed(keyring, token, NOW);
	keyring_unref(keyring);
}

static void
each_allocation_may_fail(void **state)
{
	char filled[3 * 4200];
	struct conf *conf;
	struct told told;
	int64_t n = 0;
	int result;

	(void)state;
	(void)snprintf(filled, sizeof(filled),
	    "[listener]\nlisten = 127.0.0.1:0\n[auth]\ntoken_issuer = i\n"
	    "token_audience = a\ntoken_key = %s/hs.key\n"
	    "token_key = %s/es.key\n",
	    rig_folder, rig_folder);
	conf = told_nothing(filled);
	told_clear(&told);
	do {
		struct keyring *keyring = NULL;

		memory_fail_nth(++n);
		result = keyring_new(conf, told_add, &told, &keyring);
		assert_int_equal(result == 0, keyring != NULL);
		assert_true(result == 0 || result == -ENOMEM);
		assert_int_equal(memory_fail_seen(), result != 0);
		keyring_unref(keyring);
	} while (result == -ENOMEM);
	memory_fail_nth(0);
	assert_int_equal(told.count, 0);
	assert_true(n > 5);
	conf_free(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(public_keys_of_three_kinds_are_taken),
		cmocka_unit_test(public_keys_of_other_kinds_are_not),
		cmocka_unit_test(nothing_stands_behind_a_key),
		cmocka_unit_test(a_key_that_cannot_be_one_is_not),
		cmocka_unit_test(what_else_is_in_pem_is_told),
		cmocka_unit_test(no_spelling_of_a_public_key_is_a_secret),
		cmocka_unit_test(secrets_are_of_32_bytes_and_more),
		cmocka_unit_test(a_line_end_is_no_part_of_a_secret),
		cmocka_unit_test(what_cannot_be_read_is_told),
		cmocka_unit_test(no_keys_no_keyring),
		cmocka_unit_test(
		    keys_of_one_algorithm_are_tried_each_and_doubles_once),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, rig_begin, rig_end);
}
