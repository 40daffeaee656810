/*
 * Tokens that are believed and tokens that are not: known answers of the
 * standards, each fault, and what RFC 8725 warns of, by its sections.
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
#include <unistd.h>

#include <openssl/err.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define NOW (1000 * RIG_S)

/* Known answers */

#define JOE                                                                    \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl" \
	"LmNvbS9pc19yb290Ijp0cnVlfQ"
#define JOE_EXP INT64_C(1300819380)

static const uint8_t a1_secret[] = { 3, 35, 53, 75, 43, 15, 165, 188, 131, 126,
	6, 101, 119, 123, 166, 143, 90, 179, 40, 230, 240, 84, 201, 40, 169, 15,
	132, 178, 210, 80, 46, 191, 211, 251, 90, 146, 210, 6, 71, 239, 150,
	138, 180, 195, 119, 98, 61, 34, 61, 46, 33, 114, 5, 46, 79, 8, 192, 205,
	154, 245, 103, 208, 128, 163 };
static const char a2_public[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"
    "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"
    "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"
    "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"
    "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"
    "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"
    "oQIDAQAB\n"
    "-----END PUBLIC KEY-----\n";
static const char a3_public[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
    "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
    "-----END PUBLIC KEY-----\n";
static const char a4_public[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
    "-----END PUBLIC KEY-----\n";

static const struct vector {
	const void *key;
	size_t key_len;
	const char *token;
} vectors[] = {
	{ a1_secret, sizeof(a1_secret),
	    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE
	    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" },
	{ a2_public, sizeof(a2_public) - 1,
	    "eyJhbGciOiJSUzI1NiJ9." JOE
	    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
	    "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
	    "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
	    "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
	    "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
	    "p0igcN_IoypGlUPQGe77Rw" },
	{ a3_public, sizeof(a3_public) - 1,
	    "eyJhbGciOiJFUzI1NiJ9." JOE
	    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
	    "pmWQxfKTUJqPP3-Kg6NU1Q" },
};

/* RFC 7515, appendices A.1 to A.3. */
static void
the_examples_of_the_standard_are_believed(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(vectors); i++) {
		const struct vector *vector = &vectors[i];
		struct keyring *keyring;
		struct token *token;

		rig_write("a.key", vector->key, vector->key_len);
		keyring = rig_keyring("token_key = @/a.key\ntoken_issuer = joe"
				      "\ntoken_leeway = 1s\n");
		assert_int_equal(
		    rig_check(keyring, vector->token, strlen(vector->token),
			JOE_EXP * RIG_S, &token),
		    TOKEN_FAULT_COUNT);
		assert_string_equal(token_claims(token),
		    "{\"iss\":\"joe\",   \"exp\":1300819380,   "
		    "\"http://example.com/is_root\":true}");
		assert_true(token_expires_us(token) == (JOE_EXP + 1) * RIG_S);
		assert_string_equal(token_subject(token), "");
		token_unref(token);
		assert_fault(TOKEN_EXPIRED, keyring, vector->token,
		    (JOE_EXP + 1) * RIG_S);
		keyring_unref(keyring);
	}
}

/* RFC 8037 appendix A.4; what is signed there is no JSON. */
static void
the_example_of_ed25519_has_its_signature(void **state)
{
	static const char text[] = "eyJhbGciOiJFZERTQSJ9."
				   "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
	static const char signature[] =
	    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B"
	    "hVsPt9g7sVvpAr_MuM0KAg";
	uint8_t bytes[sizeof(signature) + 3];
	char token[512];
	struct keyring *keyring;
	int64_t len;

	(void)state;
	rig_write("a.key", a4_public, sizeof(a4_public) - 1);
	keyring = rig_keyring("token_key = @/a.key\n");
	len = base64url_get(bytes, signature, strlen(signature));
	assert_int_equal(len, 64);
	assert_int_equal(signature_check(&keyring->keys[0], text, strlen(text),
			     bytes, (size_t)len),
	    1);
	(void)snprintf(token, sizeof(token), "%s.%s", text, signature);
	assert_fault(TOKEN_MALFORMED, keyring, token, NOW);
	token[strlen(token) - 5] = 'A';
	assert_fault(TOKEN_UNSIGNED_BY_US, keyring, token, NOW);
	keyring_unref(keyring);
}

static void
each_algorithm_has_its_key(void **state)
{
	struct keyring *all = rig_keyring(RIG_ALL_KEYS);
	static const char *const files[] = { "token_key = @/hs.key\n",
		"token_key = @/rs.key\n", "token_key = @/es.key\n",
		"token_key = @/ed.key\n" };
	char token[RIG_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		(void)rig_token(
		    token, (enum algorithm)i, "{\"exp\":1001,\"sub\":\"x\"}");
		assert_believed(all, token, NOW);
		for (size_t k = 0; k < ALGORITHM_COUNT; k++) {
			struct keyring *one = rig_keyring(files[k]);

			assert_fault(
			    i == k ? TOKEN_FAULT_COUNT : TOKEN_UNSIGNED_BY_US,
			    one, token, NOW);
			keyring_unref(one);
		}
	}
	keyring_unref(all);
}

/* Each spelling is the only one: what differs in a bit is refused. */
static void
no_bit_of_a_token_can_be_changed(void **state)
{
	struct keyring *all = rig_keyring(RIG_ALL_KEYS);
	char token[RIG_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		size_t len = rig_token(
		    token, (enum algorithm)i, "{\"exp\":1001,\"a\":null}");

		for (size_t bit = 0; bit < len * 8; bit++) {
			token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
			assert_int_not_equal(
			    rig_check(all, token, len, NOW, NULL),
			    TOKEN_FAULT_COUNT);
			token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
		}
		assert_believed(all, token, NOW);
	}
	keyring_unref(all);
}

static void
no_byte_of_a_token_can_be_left_out_or_added(void **state)
{
	struct keyring *all = rig_keyring(RIG_ALL_KEYS);
	static const char more[] = "A=. \n\0-";
	char token[RIG_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		size_t len = rig_token(
		    token, (enum algorithm)i, "{\"exp\":1001,\"a\":null}");

		for (size_t n = 0; n < len; n++) {
			assert_int_not_equal(
			    rig_check(all, token, n, NOW, NULL),
			    TOKEN_FAULT_COUNT);
			assert_int_not_equal(rig_check(all, token + n + 1,
						 len - n - 1, NOW, NULL),
			    TOKEN_FAULT_COUNT);
		}
		for (size_t n = 0; n < sizeof(more) - 1; n++) {
			token[len] = more[n];
			assert_int_not_equal(
			    rig_check(all, token, len + 1, NOW, NULL),
			    TOKEN_FAULT_COUNT);
		}
	}
	keyring_unref(all);
}

/* r and s are of 32 bytes in a token, and as short as can be in DER. */
static void
halves_of_es256_are_of_any_size(void **state)
{
	struct keyring *keyring = rig_keyring("token_key = @/es.key\n");
	char token[RIG_TEXT_MAX], claims[64];
	unsigned seen = 0; /* zero first, high bit first; of r, of s */

	(void)state;
	for (int i = 0; seen != 15 && i < 100000; i++) {
		uint8_t signature[ES256_BYTES];
		size_t len;

		(void)snprintf(
		    claims, sizeof(claims), "{\"exp\":1001,\"n\":%d}", i);
		len = rig_unsigned(token, rig_headers[ES256], claims);
		assert_int_equal(
		    rig_sign(signature, ES256, token), sizeof(signature));
		for (unsigned half = 0; half < 2; half++) {
			if (signature[half * 32] == 0)
				seen |= 1u << half;
			if (signature[half * 32] >= 0x80)
				seen |= 4u << half;
		}
		token[len++] = '.';
		(void)rig_base64url(token + len, signature, sizeof(signature));
		assert_believed(keyring, token, NOW);
	}
	assert_int_equal(seen, 15);
	keyring_unref(keyring);
}

static void
es256_is_the_der_it_has_to_be(void **state)
{
	static const uint8_t zeroes[ES256_BYTES],
	    one_and_high[ES256_BYTES] = { [31] = 1, [32] = 0x80, [63] = 7 };
	uint8_t full[ES256_BYTES], der[ES256_DER_MAX];

	(void)state;
	assert_int_equal(es256_to_der(der, zeroes), 8);
	assert_memory_equal(der, "\x30\6\2\1\0\2\1\0", 8);
	assert_int_equal(es256_to_der(der, one_and_high), 2 + 3 + 35);
	assert_memory_equal(der, "\x30\x26\2\1\1\2\x21\0\x80", 9);
	assert_int_equal(der[39], 7);
	memset(full, 0xff, sizeof(full));
	assert_int_equal(es256_to_der(der, full), ES256_DER_MAX);
}

/* RFC 8725 */

/* 2.1: the algorithm is not the token's to choose. */
static void
there_is_no_none_and_no_public_secret(void **state)
{
	static const char *const headers[] = { "{\"alg\":\"none\"}",
		"{\"alg\":\"None\"}", "{\"alg\":\"NONE\"}",
		"{\"alg\":\"nOnE\"}", "{\"alg\":\"\"}", "{\"alg\":\"HS384\"}",
		"{\"alg\":\"hs256\"}", "{\"alg\":\"PS256\"}",
		"{\"alg\":\"ES256K\"}", "{\"alg\":\"EdDSA \"}" };
	struct keyring *all = rig_keyring(RIG_ALL_KEYS);
	char token[RIG_TEXT_MAX], pem[4096];
	uint8_t signature[64];
	size_t len, pem_len;
	FILE *file;

	(void)state;
	for (size_t i = 0; i < LENGTH(headers); i++) {
		len = rig_unsigned(token, headers[i], "{\"exp\":1001}");
		(void)strcpy(token + len, ".");
		assert_fault(TOKEN_UNSIGNED_BY_US, all, token, NOW);
		(void)rig_token_of(token, HS256, headers[i], "{\"exp\":1001}");
		assert_fault(TOKEN_UNSIGNED_BY_US, all, token, NOW);
	}
	/* Signed with bytes that everybody has. */
	file = fopen("rs.key", "r");
	assert_non_null(file);
	pem_len = fread(pem, 1, sizeof(pem), file);
	assert_int_equal(fclose(file), 0);
	for (size_t without = 0; without < 2; without++) {
		len = rig_unsigned(token, rig_headers[HS256], "{\"exp\":1001}");
		(void)rig_hmac(signature, pem, pem_len - without, token);
		token[len++] = '.';
		(void)rig_base64url(token + len, signature, 32);
		assert_fault(TOKEN_UNSIGNED_BY_US, all, token, NOW);
	}
	keyring_unref(all);
}

/* 2.1, 2.5: signatures that are none, of every length. */
static void
signatures_of_nothing_are_none(void **state)
{
	struct keyring *all = rig_keyring(RIG_ALL_KEYS);
	char token[RIG_TEXT_MAX];
	uint8_t bytes[600] = { 0 };

	(void)state;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		size_t len =
		    rig_unsigned(token, rig_headers[i], "{\"exp\":1001}");

		token[len++] = '.';
		for (size_t n = 0; n <= sizeof(bytes); n += n < 80 ? 1 : 40) {
			memset(bytes, 0, sizeof(bytes));
			(void)rig_base64url(token + len, bytes, n);
			assert_fault(TOKEN_UNSIGNED_BY_US, all, token, NOW);
			memset(bytes, 0xff, sizeof(bytes));
			(void)rig_base64url(token + len, bytes, n);
			assert_fault(TOKEN_UNSIGNED_BY_US, all, token, NOW);
		}
	}
	keyring_unref(all);
}

/* The DER of the standard's own example is not what a token carries. */
static void
es256_in_der_is_refused(void **state)
{
	struct keyring *keyring = rig_keyring("token_key = @/es.key\n");
	uint8_t signature[ES256_BYTES], der[ES256_DER_MAX];
	char token[RIG_TEXT_MAX];
	size_t len = rig_unsigned(token, rig_headers[ES256], "{\"exp\":1001}");

	(void)state;
	(void)rig_sign(signature, ES256, token);
	token[len++] = '.';
	(void)rig_base64url(token + len, der, es256_to_der(der, signature));
	assert_fault(TOKEN_UNSIGNED_BY_US, keyring, token, NOW);
	(void)rig_base64url(token + len, signature, sizeof(signature));
	assert_believed(keyring, token, NOW);
	keyring_unref(keyring);
}

/* 2.3, 2.6: other forms, other encodings, members twice. */
static void
what_is_no_compact_token_of_json_is_malformed(void **state)
{
	static const char *const texts[] = { "", ".", "..", "...", "a.b.c",
		"e30.e30.", "e30.e30.AAAA", "....", "a.b.c.d.e", "e30",
		"e30.e30", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.",
		"eyJhbGciOiJIUzI1NiJ9..A", "eyJhbGciOiJIUzI1NiJ9=.e30.AAAA",
		"eyJhbGciOiJIUzI1NiJ9.e30.AA/A", "eyJhbGciOiJIUzI1NiJ9.e30.AB",
		" eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
		"{\"payload\":\"\",\"signatures\":[]}" };
	static const char *const headers[] = { "null", "[]", "\"HS256\"", "{}",
		"{\"alg\":null}", "{\"alg\":256}", "{\"alg\":[\"HS256\"]}",
		"{\"alg\":\"HS256\"", "{\"alg\":\"HS256\"}}",
		"{\"alg\":\"HS256\"} {}", "{'alg':'HS256'}",
		"{\"alg\":\"HS256\",}", "{\"alg\":\"HS256\",\"alg\":\"HS256\"}",
		"{\"alg\":\"none\",\"\\u0061lg\":\"HS256\"}",
		"{\"alg\":\"HS256\\u0000\"}", "{\"alg\":\"HS256\xff\"}",
		"{\"alg\":\"HS256\",\"\\ud800\":1}",
		"\xef\xbb\xbf{\"alg\":\"HS256\"}",
		"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
		"{\"alg\":\"HS256\",\"crit\":[]}",
		"{\"alg\":\"HS256\",\"crit\":null}",
		"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
		"{\"alg\":\"HS256\",\"a\":1,\"\\u0061\":2}" };
	static const char *const claims[] = { "", "null", "[]", "{", "{}{}",
		"{\"exp\":1001,\"exp\":1001}", "{\"exp\":1001,\"\\u0065xp\":1}",
		"{\"exp\":01001}", "{\"exp\":1001,\"a\":\"\n\"}",
		"{\"exp\":1001,\"a\":\"\xff\"}", "{\"exp\":1001,\"a\":\"\\x\"}",
		"{\"exp\":1e}" };
	struct keyring *keyring = rig_keyring("token_key = @/hs.key\n");
	char token[RIG_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++)
		assert_fault(TOKEN_MALFORMED, keyring, texts[i], NOW);
	for (size_t i = 0; i < LENGTH(headers); i++) {
		(void)rig_token_of(token, HS256, headers[i], "{\"exp\":1001}");
		assert_fault(TOKEN_MALFORMED, keyring, token, NOW);
	}
	for (size_t i = 0; i < LENGTH(claims); i++) {
		(void)rig_token(token, HS256, claims[i]);
		assert_fault(TOKEN_MALFORMED, keyring, token, NOW);
	}
	keyring_unref(keyring);
}

/* Work for bytes that nobody signed is bounded: names are compared. */
static void
objects_are_so_wide_and_so_deep(void **state)
{
	struct keyring *keyring = rig_keyring("token_key = @/hs.key\n");
	char token[RIG_TEXT_MAX], header[4096], deep[4096] = "";

	(void)state;
	for (int more = 126; more <= 129; more++) {
		const enum token_fault expected = more < TOKEN_MEMBERS_MAX
						      ? TOKEN_FAULT_COUNT
						      : TOKEN_MALFORMED;
		size_t len = (size_t)snprintf(
		    header, sizeof(header), "{\"alg\":\"HS256\"");

		for (int i = 0; i < more; i++)
			len += (size_t)snprintf(header + len,
			    sizeof(header) - len, ",\"%d\":%d", i, i);
		(void)strcpy(header + len, "}");
		(void)rig_token_of(token, HS256, header, "{\"exp\":1001}");
		assert_fault(expected, keyring, token, NOW);
	}
	for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1;
	     depth++) {
		memset(deep, '[', (size_t)depth);
		memset(deep + depth, ']', (size_t)depth);
		(void)snprintf(header, sizeof(header),
		    "{\"alg\":\"HS256\",\"a\":%s}", deep);
		(void)rig_token_of(token, HS256, header, "{\"exp\":1001}");
		assert_fault(depth <= JSON_DEPTH_MAX ? TOKEN_FAULT_COUNT
						     : TOKEN_MALFORMED,
		    keyring, token, NOW);
	}
	keyring_unref(keyring);
}

/* 3.10: a key that the token brings or names is nobody's. */
static void
a_header_cannot_bring_a_key(void **state)
{
	static const char *const more[] = { "\"kid\":\"../../dev/null\"",
		"\"jku\":\"https://evil.example\"",
		"\"x5u\":\"https://evil.example\"",
		"\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}",
		"\"x5c\":[\"AAAA\"]", "\"typ\":\"JWT\"", "\"cty\":\"JWT\"",
		"\"zip\":\"DEF\"" };
	struct keyring *keyring = rig_keyring("token_key = @/hs.key\n");
	char token[RIG_TEXT_MAX], header[256];
	uint8_t signature[64];

	(void)state;
	for (size_t i = 0; i < LENGTH(more); i++) {
		size_t len;

		(void)snprintf(
		    header, sizeof(header), "{\"alg\":\"HS256\",%s}", more[i]);
		(void)rig_token_of(token, HS256, header, "{\"exp\":1001}");
		assert_believed(keyring, token, NOW);
		len = rig_unsigned(token, header, "{\"exp\":1001}");
		token[len] = '\0';
		(void)rig_hmac(signature, "\0\0\0", 3, token);
		token[len++] = '.';
		(void)rig_base64url(token + len, signature, 32);
		assert_fault(TOKEN_UNSIGNED_BY_US, keyring, token, NOW);
	}
	keyring_unref(keyring);
}

static void
how_long_a_token_may_be(void **state)
{
	struct keyring *keyring = rig_keyring("token_key = @/hs.key\n");
	char token[RIG_TEXT_MAX], claims[RIG_TEXT_MAX];
	size_t len, pad = 6070;

	(void)state;
	do {
		(void)snprintf(claims, sizeof(claims),
		    "{\"exp\":1001,\"a\":\"%0*d\"}", (int)pad, 0);
		len = rig_token(token, HS256, claims);
		assert_int_equal(rig_check(keyring, token, len, NOW, NULL),
		    len <= TOKEN_BYTES_MAX ? TOKEN_FAULT_COUNT
					   : TOKEN_MALFORMED);
		pad++;
	} while (len <= TOKEN_BYTES_MAX);
	assert_true(pad > 6072); /* both were seen */
	keyring_unref(keyring);
}

static void
assert_no_error_of_openssl(void)
{
	const unsigned long error = ERR_peek_error();
	char text[256];

	ERR_error_string_n(error, text, sizeof(text));
	if (error != 0)
		fail_msg("left behind: %s", text);
}

static void
errors_of_openssl_are_not_left_behind(void **state)
{
	struct keyring *all = rig_keyring(RIG_ALL_KEYS);
	char token[RIG_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		size_t len =
		    rig_token(token, (enum algorithm)i, "{\"exp\":1001}");

		ERR_clear_error(); /* what the signing may have left */
		token[len - 8] = token[len - 8] == 'A' ? 'B' : 'A';
		assert_int_not_equal(
		    rig_check(all, token, len, NOW, NULL), TOKEN_FAULT_COUNT);
		assert_no_error_of_openssl();
	}
	/* Nor is one lost that somebody else is about to look at. */
	ERR_raise(ERR_LIB_USER, 77);
	assert_fault(TOKEN_UNSIGNED_BY_US, all, token, NOW);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), 77);
	ERR_clear_error();
	keyring_unref(all);
}

static void
faults_are_fit_for_a_header(void **state)
{
	(void)state;
	for (int i = 0; i < TOKEN_FAULT_COUNT; i++) {
		const char *text = token_fault_text((enum token_fault)i);

		assert_true(strlen(text) > 10);
		for (; *text; text++) {
			assert_true(*text >= ' ');
			assert_true(*text <= '~');
			assert_true(*text != '"' && *text != '\\');
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_standard_are_believed),
		cmocka_unit_test(the_example_of_ed25519_has_its_signature),
		cmocka_unit_test(each_algorithm_has_its_key),
		cmocka_unit_test(no_bit_of_a_token_can_be_changed),
		cmocka_unit_test(no_byte_of_a_token_can_be_left_out_or_added),
		cmocka_unit_test(halves_of_es256_are_of_any_size),
		cmocka_unit_test(es256_is_the_der_it_has_to_be),
		cmocka_unit_test(there_is_no_none_and_no_public_secret),
		cmocka_unit_test(signatures_of_nothing_are_none),
		cmocka_unit_test(es256_in_der_is_refused),
		cmocka_unit_test(what_is_no_compact_token_of_json_is_malformed),
		cmocka_unit_test(objects_are_so_wide_and_so_deep),
		cmocka_unit_test(a_header_cannot_bring_a_key),
		cmocka_unit_test(how_long_a_token_may_be),
		cmocka_unit_test(errors_of_openssl_are_not_left_behind),
		cmocka_unit_test(faults_are_fit_for_a_header),
	};

	return cmocka_run_group_tests(tests, rig_begin, rig_end);
}
