/*
 * Keyrings: the keys' files, read once.  The one file of the room that reads.
 */

#include "daemon/auth/auth_internal.h"
#include "daemon/base/io.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAULT_BYTES (2 * PATH_MAX + 512)

static const char expected[] =
    "expected a file with a public key in PEM, or a secret";

struct reading {
	const char *where, *path; /* "FILE:LINE: "; the key's */
	conf_fault_fn fault;
	void *arg;
	int fault_count;
};

__attribute__((format(printf, 2, 3))) static void
tell(struct reading *reading, const char *format, ...)
{
	char text[FAULT_BYTES];
	int len = snprintf(text, sizeof(text),
	    "%stoken_key = %s: ", reading->where, reading->path);
	va_list args;

	reading->fault_count++;
	if (len >= (int)sizeof(text))
		len = sizeof(text) - 1; /* cut is fine */
	va_start(args, format);
	(void)vsnprintf(text + len, sizeof(text) - (size_t)len, format, args);
	va_end(args);
	for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = '?'; /* it goes to terminals */
	reading->fault(text, reading->arg);
}

/* A pipe could wait for ever, so only a plain file will do: else -EINVAL. */
static ssize_t
read_file(const char *path, uint8_t *bytes, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat about;
	ssize_t len;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &about) < 0)
		len = -errno;
	else if (!S_ISREG(about.st_mode))
		len = -EINVAL;
	else
		len = io_read_all(fd, bytes, size);
	(void)close(fd); /* it was only read */
	return len;
}

/* A key that is there already is not tried twice. */
static void
add_key(struct keyring *keyring, struct key *key)
{
	for (size_t i = 0; i < keyring->key_count; i++) {
		if (key_equal(&keyring->keys[i], key->id)) {
			key_fini(key);
			return;
		}
	}
	assert(keyring->key_count < TOKEN_KEYS_MAX);
	keyring->keys[keyring->key_count++] = *key;
}

/* bytes has room for one more than a file may have. */
static int
read_key(struct reading *reading, uint8_t *bytes, struct keyring *keyring)
{
	const char *fault = NULL;
	struct key key;
	ssize_t len = read_file(reading->path, bytes, TOKEN_KEY_BYTES_MAX + 1);
	int error;

	if (len < 0) {
		tell(reading, "%s, %s",
		    len == -EINVAL ? "no plain file"
				   : strerrordesc_np((int)-len),
		    expected);
		return 0;
	}
	if (len > TOKEN_KEY_BYTES_MAX) {
		tell(reading, "too long, expected at most %d bytes",
		    TOKEN_KEY_BYTES_MAX);
		return 0;
	}
	error = key_parse(bytes, (size_t)len, &key, &fault);
	if (error == -EINVAL) {
		tell(reading, "%s", fault);
		return 0;
	}
	if (error == 0)
		add_key(keyring, &key);
	return error;
}

static int
read_keys(const struct conf_auth *auth, struct reading *reading,
    struct keyring *keyring)
{
	uint8_t *bytes = memory_alloc(TOKEN_KEY_BYTES_MAX + 1);
	int error = 0;

	if (bytes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < auth->token_keys.count && error == 0; i++) {
		reading->where = auth->token_keys_where.items[i];
		reading->path = auth->token_keys.items[i];
		error = read_key(reading, bytes, keyring);
	}
	OPENSSL_cleanse(bytes, TOKEN_KEY_BYTES_MAX + 1);
	memory_free(bytes);
	return error;
}

static int
copy_string(const char *from, char **to)
{
	if (from == NULL)
		return 0;
	*to = memory_dup(from, strlen(from) + 1);
	return *to == NULL ? -ENOMEM : 0;
}

int
keyring_new(const struct conf *conf, conf_fault_fn fault, void *arg,
    struct keyring **ret_keyring)
{
	const struct conf_auth *auth = &conf->auth;
	struct reading reading = { .fault = fault, .arg = arg };
	struct keyring *keyring;
	int error;

	if (auth->token_keys.count == 0) {
		*ret_keyring = NULL;
		return 0;
	}
	assert(auth->token_keys.count <= TOKEN_KEYS_MAX);
	assert(auth->token_keys.count == auth->token_keys_where.count);
	keyring = memory_zalloc(sizeof(*keyring));
	if (keyring == NULL)
		return -ENOMEM;
	atomic_init(&keyring->references, 1);
	keyring->leeway_us = auth->token_leeway_us;
	error = copy_string(auth->token_issuer, &keyring->issuer);
	if (error == 0)
		error = copy_string(auth->token_audience, &keyring->audience);
	if (error == 0)
		error = read_keys(auth, &reading, keyring);
	if (error == 0 && reading.fault_count == 0) {
		assert(keyring->key_count > 0);
		*ret_keyring = keyring;
	} else {
		keyring_unref(keyring);
	}
	return error < 0 ? error : reading.fault_count;
}

struct keyring *
keyring_ref(struct keyring *keyring)
{
	const int before = atomic_fetch_add(&keyring->references, 1);

	assert(before > 0);
	return keyring;
}

void
keyring_unref(struct keyring *keyring)
{
	if (keyring == NULL || atomic_fetch_sub(&keyring->references, 1) > 1)
		return;
	for (size_t i = 0; i < keyring->key_count; i++)
		key_fini(&keyring->keys[i]);
	memory_free(keyring->issuer);
	memory_free(keyring->audience);
	memory_free(keyring);
}
