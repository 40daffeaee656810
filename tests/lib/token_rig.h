#ifndef TESTS_LIB_TOKEN_RIG_H
#define TESTS_LIB_TOKEN_RIG_H

/*
 * token_rig: key files in a folder of the test's own, keyrings of them, and
 * tokens signed with keys that are made anew in each run.
 *
 * Memory   Texts of tokens fit into RIG_TEXT_MAX bytes.  What cannot be made
 *          fails the test.
 */

#include "daemon/auth/auth_internal.h"
#include "tests/lib/told.h"

#include <stddef.h>
#include <stdint.h>

#define RIG_TEXT_MAX 16384
#define RIG_S INT64_C(1000000)

extern char rig_folder[4096];
extern EVP_PKEY *rig_private[ALGORITHM_COUNT]; /* NULL: HS256 */
extern const char rig_secret[33];
extern const char *const rig_headers[ALGORITHM_COUNT]; /* {"alg":...} */

/*
 * Before and after all tests: the folder, which is the current one then; in it
 * are hs.key, rs.key, es.key and ed.key.
 */
int rig_begin(void **state);
int rig_end(void **state);

/* a.key and b.key are removed in the end. */
void rig_write(const char *name, const void *bytes, size_t len);

/*
 * lines are those of [auth], from line 4 on; each @ in it stands for the
 * folder.  rig_keyring(): without a fault.
 */
struct keyring *rig_try_keyring(const char *lines, struct told *told);
struct keyring *rig_keyring(const char *lines);

#define RIG_ALL_KEYS                                                           \
	"token_key = @/hs.key\ntoken_key = @/rs.key\n"                         \
	"token_key = @/es.key\ntoken_key = @/ed.key\n"

/* All lengths are without the NUL that is put at the end. */
size_t rig_base64url(char *out, const void *bytes, size_t len);
/* HMAC-SHA256; signatures are at most 1024 bytes long. */
size_t rig_hmac(
    uint8_t *out, const void *secret, size_t secret_len, const char *text);
size_t rig_sign(uint8_t *out, enum algorithm algorithm, const char *text);

/* Header and claims as they will be signed; a whole token; one as usual. */
size_t rig_unsigned(char *out, const char *header, const char *claims);
size_t rig_token_of(char *out, enum algorithm algorithm, const char *header,
    const char *claims);
size_t rig_token(char *out, enum algorithm algorithm, const char *claims);

/*
 * TOKEN_FAULT_COUNT: it is believed, and in *ret_token; NULL: nobody wants it.
 */
enum token_fault rig_check(const struct keyring *keyring, const char *text,
    size_t len, int64_t now_us, struct token **ret_token);

#define assert_fault(expected, keyring, text, now_us)                          \
	assert_int_equal(                                                      \
	    rig_check(keyring, text, strlen(text), now_us, NULL), expected)
#define assert_believed(keyring, text, now_us)                                 \
	assert_fault(TOKEN_FAULT_COUNT, keyring, text, now_us)

#endif
