#ifndef DAEMON_AUTH_TOKEN_H
#define DAEMON_AUTH_TOKEN_H

/*
 * token: JSON Web Tokens, believed or refused, and what they allow.
 *
 * Shape    Compact serialisation of a signed token (RFC 7515 section 7.1),
 *          HS256, RS256, ES256 or EdDSA with Ed25519 (RFC 7518, 8037); its
 *          claims are those of RFC 7519 and
 *          "earshot":{"subscribe":[PATTERN...],"publish":[PATTERN...]}
 *          with patterns of proto/channel.h.  earshot.conf(5) tells people.
 * Promise  A key has one algorithm and the token does not choose it: a public
 *          key is never a secret, there is no "none", nothing in a header is
 *          fetched or trusted (RFC 8725).  Whether a token is expired, or
 *          whose it is, is told of signed ones only.
 * Memory   A keyring and a token are immutable and counted; who keeps one
 *          holds a reference.  A token is at most TOKEN_BYTES_MAX long and
 *          costs about twice its length; it does not hold its keyring.
 * Units    *_us are microseconds of the wall clock since 1970.
 * Threads  Every function: ANY_THREAD.  token_check() waits for nothing, it
 *          takes as long as the signatures of TOKEN_KEYS_MAX keys at most.
 *          keyring_new() reads files.
 * Errors   int results: 0 or -errno, outputs untouched on failure.  OpenSSL's
 *          error queue is left as it was found.
 */

#include "conf/conf.h"
#include "daemon/base/threads.h"

#define TOKEN_BYTES_MAX 8192 /* as text */
#define TOKEN_KEYS_MAX CONF_TOKEN_KEYS_MAX
#define TOKEN_KEY_BYTES_MAX 16384 /* of a key's file */
#define TOKEN_SECRET_BYTES_MIN 32 /* RFC 7518 section 3.2 */
#define TOKEN_RSA_BITS_MIN 2048 /* section 3.3 */
#define TOKEN_RSA_BITS_MAX 8192 /* what one check may cost */
#define TOKEN_PATTERNS_MAX 64 /* of one right */

struct keyring; /* the keys of one configuration, its issuer and audience */
struct token; /* one that was believed */

/* Why a token is refused; what is told is what was found first. */
enum token_fault {
	TOKEN_MALFORMED, /* no compact token, or its JSON is none */
	TOKEN_UNSIGNED_BY_US, /* no key of ours made this signature */
	TOKEN_EXPIRED, /* now is at or after exp */
	TOKEN_NOT_YET, /* now is before nbf */
	TOKEN_ISSUER, /* iss is not token_issuer */
	TOKEN_AUDIENCE, /* aud has not token_audience */
	TOKEN_CLAIMS, /* exp is missing, a claim is of the wrong kind */
	TOKEN_FAULT_COUNT
};

/*
 * Reads the files of conf's token keys; conf is not kept.  Every fault is told
 * as `FILE:LINE: token_key = PATH: what, expected what`.  The number of
 * faults, or -ENOMEM; with 0 *ret_keyring is the caller's reference, NULL
 * where no keys are configured.
 */
int keyring_new(const struct conf *conf, conf_fault_fn fault, void *arg,
    struct keyring **ret_keyring) MAY_BLOCK;
struct keyring *keyring_ref(struct keyring *keyring) ANY_THREAD;
void keyring_unref(struct keyring *keyring) ANY_THREAD; /* NULL: no-op */

/*
 * Is this text a token to be believed at now_us?  Then *ret_token is the
 * caller's reference.  text comes from outside and may be anything, without a
 * NUL at its end.
 * -EACCES: it is not, *ret_fault says why (the one output of a failure; NULL
 * where nobody asks).  -ENOMEM.
 */
int token_check(const struct keyring *keyring, const char *text, size_t len,
    int64_t now_us, struct token **ret_token,
    enum token_fault *ret_fault) ANY_THREAD;
struct token *token_ref(struct token *token) ANY_THREAD;
void token_unref(struct token *token) ANY_THREAD; /* NULL: no-op */

/*
 * Does the token itself allow this?  What everybody may is the caller's to
 * add; time is not looked at.  token NULL: no.
 */
bool token_may(const struct token *token, enum conf_rights right,
    const char *channel, size_t len) ANY_THREAD;

/*
 * The claims: the very JSON object that was signed, in one line, with a NUL at
 * its end; it is the token's.  (White space between its members is what was
 * there, but line ends and tabs are spaces.)
 */
const char *token_claims(const struct token *token) ANY_THREAD;

/*
 * `sub`, "" where there is none; it is the token's.  UTF-8 from outside: may
 * have control characters.
 */
const char *token_subject(const struct token *token) ANY_THREAD;

/* When it ends to be believed: exp and the leeway. */
int64_t token_expires_us(const struct token *token) ANY_THREAD;

/*
 * Would this keyring believe the token, but for the time?  Its key is among
 * the keys, issuer and audience are as they are wanted.  false after a
 * reload: it is revoked.  keyring NULL: no keys are there, false.
 */
bool keyring_knows(
    const struct keyring *keyring, const struct token *token) ANY_THREAD;

/*
 * For people and for error_description (RFC 6750 section 3: printable ASCII
 * without quotes): what is wrong, never a word of the token's.
 */
const char *token_fault_text(enum token_fault fault) ANY_THREAD;

#endif
