#ifndef DAEMON_AUTH_AUTH_INTERNAL_H
#define DAEMON_AUTH_AUTH_INTERNAL_H

/*
 * auth, inside: keys and signatures, JSON and claims.
 *
 * Memory   A key is its keyring's.  A token is one piece of memory: the
 *          struct, its claims, and behind them the strings that were read out
 *          of these, each with its NUL.
 * Threads  Pure but for keyring.c, which reads files.
 */

#include "daemon/auth/token.h"
#include "proto/json.h"

#include <openssl/evp.h>
#include <stdatomic.h>

#define TOKEN_MEMBERS_MAX 128 /* of one object: names are compared */
#define DATE_US_MAX (INT64_C(253402300799) * 1000000) /* the year 9999 */
#define KEY_ID_BYTES 32 /* SHA-256 */

enum algorithm { HS256, RS256, ES256, EDDSA, ALGORITHM_COUNT };

struct key {
	enum algorithm algorithm;
	EVP_PKEY *public; /* NULL: HS256 */
	uint8_t *secret; /* HS256 */
	size_t secret_len;
	uint8_t id[KEY_ID_BYTES]; /* of algorithm and key */
};

struct keyring {
	atomic_int references;
	struct key keys[TOKEN_KEYS_MAX];
	size_t key_count;
	char *issuer, *audience; /* NULL: not asked for */
	int64_t leeway_us;
};

struct strings { /* some of a token's, one behind the other */
	const char *first;
	size_t count;
};

struct token {
	atomic_int references;
	int64_t expires_us; /* exp and the leeway */
	uint8_t key_id[KEY_ID_BYTES];
	const char *subject; /* "": none */
	const char *issuer; /* NULL: none */
	struct strings audiences, subscribe, publish;
	char text[]; /* the claims first */
};

/* key.c */

/*
 * What the bytes of a file are: a PEM public key, or else a secret.  *ret_key
 * is ended by key_fini().  -EINVAL: none that will do, *ret_fault says what it
 * is and what was expected; -ENOMEM.  bytes has room for one more.
 */
int key_parse(uint8_t *bytes, size_t len, struct key *ret_key,
    const char **ret_fault) ANY_THREAD;
void key_fini(struct key *key) ANY_THREAD; /* zeroes: no-op */
bool key_equal(const struct key *key, const uint8_t *id) ANY_THREAD;

/* signature.c */

/* "HS256", ...; ALGORITHM_COUNT: none of ours. */
enum algorithm algorithm_named(const char *name, size_t len) ANY_THREAD;

/* 1: this key made it; 0: it did not; -ENOMEM. */
int signature_check(const struct key *key, const void *text, size_t len,
    const uint8_t *signature, size_t signature_len) ANY_THREAD;

/*
 * Of ES256: r and s of 32 bytes each, as the SEQUENCE OpenSSL reads.  The
 * length.
 */
#define ES256_BYTES 64
#define ES256_DER_MAX 72
size_t es256_to_der(uint8_t out[static ES256_DER_MAX],
    const uint8_t signature[static ES256_BYTES]) ANY_THREAD;

/* object.c */

struct object {
	size_t count;
	struct json_member members[TOKEN_MEMBERS_MAX]; /* names decoded */
};

/*
 * A JSON object of UTF-8 with each name once; text is written on, and has the
 * members.  -EBADMSG: it is none, or has too many.
 */
int object_read(
    uint8_t *text, size_t len, struct object *ret_object) ANY_THREAD;
/* NULL: it has none of that name. */
const struct json_member *object_get(
    const struct object *object, const char *name) ANY_THREAD;

/*
 * Decoded in place, so of each value once.  false: no string, or one with half
 * a character or a NUL.
 */
bool string_take(const struct json_member *member, char **ret_text,
    size_t *ret_len) ANY_THREAD;

/* Strings of an array, likewise.  1: one; 0: the end; -EBADMSG: not one. */
struct string_array {
	uint8_t *at;
};
bool string_array_begin(const struct json_member *member,
    struct string_array *ret_array) ANY_THREAD;
int string_next(
    struct string_array *array, char **ret_text, size_t *ret_len) ANY_THREAD;

/* Seconds since 1970, with a fraction if need be.  false: no such number. */
bool date_take(const struct json_member *member, int64_t *ret_us) ANY_THREAD;

/* claims.c */

/*
 * Base64url without padding (RFC 7515 section 2), strictly, into out, which
 * has room for len + 3 bytes.  The length, or -EINVAL.
 */
int64_t base64url_get(uint8_t *out, const char *text, size_t len) ANY_THREAD;

/*
 * The token of these claims, which key has signed; text is written on.
 * Otherwise as token_check().
 */
int claims_read(const struct keyring *keyring, const struct key *key,
    uint8_t *text, size_t len, int64_t now_us, struct token **ret_token,
    enum token_fault *ret_fault) ANY_THREAD;

/* Issuer and audience are as the keyring wants them. */
bool issuer_fits(
    const struct keyring *keyring, const struct token *token) ANY_THREAD;
bool audience_fits(
    const struct keyring *keyring, const struct token *token) ANY_THREAD;

#endif
