/*
 * Percent encoding, query arguments and addresses.
 *
 * - A plus sign stays one: this is RFC 3986, not a form of HTML.
 * - Decoding never yields a NUL byte, so what comes out may be a C string.
 */

#include "proto/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One decoded byte at text[*at], which moves on.  -EINVAL: broken, or NUL. */
static int
decode_byte(const char *text, size_t len, size_t *at)
{
	int high, low, byte;

	assert(*at < len);

	if (text[*at] != '%') {
		byte = (unsigned char)text[(*at)++];
		return byte != 0 ? byte : -EINVAL;
	}
	if (len - *at < 3)
		return -EINVAL;
	high = hex_digit(text[*at + 1]);
	low = hex_digit(text[*at + 2]);
	if (high < 0 || low < 0 || (high == 0 && low == 0))
		return -EINVAL;
	*at += 3;
	return high << 4 | low;
}

int
url_decode(char *out, size_t out_size, const char *text, size_t len)
{
	size_t at = 0, n = 0;

	while (at < len) {
		int byte = decode_byte(text, len, &at);

		if (byte < 0)
			return byte;
		if (n + 1 >= out_size)
			return -EMSGSIZE;
		out[n++] = (char)byte;
	}
	if (n >= out_size || n > INT32_MAX)
		return -EMSGSIZE;
	out[n] = '\0';
	return (int)n;
}

/* The key of an argument may be escaped as well; broken ones equal nothing. */
static bool
key_equals(const char *key, size_t len, const char *name)
{
	size_t at = 0;

	while (at < len) {
		int byte = decode_byte(key, len, &at);

		if (byte < 0 || byte != (unsigned char)*name)
			return false;
		name++;
	}
	return *name == '\0';
}

int
url_query_get(const char *query, size_t query_len, const char *name, char *out,
    size_t out_size)
{
	const char *value = NULL;
	size_t value_len = 0, at = 0;

	assert(name[0] != '\0');

	while (at < query_len) {
		const char *key = query + at;
		const char *end = memchr(key, '&', query_len - at);
		size_t len = end ? (size_t)(end - key) : query_len - at;
		const char *equals = memchr(key, '=', len);
		size_t key_len = equals ? (size_t)(equals - key) : len;

		at += len + 1;
		if (!key_equals(key, key_len, name))
			continue;
		if (value)
			return -EINVAL;
		value = equals ? equals + 1 : key + len;
		value_len = (size_t)(key + len - value);
	}
	if (!value)
		return -ENOENT;
	return url_decode(out, out_size, value, value_len);
}

static bool
letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool
unreserved(char c)
{
	return letter_or_digit(c) || (c != '\0' && strchr("-._~", c));
}

int
url_encode(char *out, size_t out_size, const char *text, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];
		/* A colon is no trouble in a path, and channels have them. */
		bool plain = unreserved(text[i]) || text[i] == ':';

		if (n + (plain ? 1 : 3) >= out_size)
			return -EMSGSIZE;
		if (plain) {
			out[n++] = text[i];
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[byte >> 4];
		out[n++] = hex[byte & 0xf];
	}
	if (n >= out_size || n > INT32_MAX)
		return -EMSGSIZE;
	out[n] = '\0';
	return (int)n;
}

static int
parse_scheme(const char **text, bool *ret_tls)
{
	static const struct {
		const char *prefix;
		bool tls;
	} schemes[] = {
		{ "ws://", false },
		{ "wss://", true },
		{ "http://", false },
		{ "https://", true },
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].prefix);

		if (strncasecmp(*text, schemes[i].prefix, len) != 0)
			continue;
		*text += len;
		*ret_tls = schemes[i].tls;
		return 0;
	}
	return -EINVAL;
}

/* Copies len bytes of a host and moves *text behind them. */
static int
take_host(const char **text, size_t len, char *host, size_t host_size)
{
	if (len == 0 || len >= host_size)
		return -EINVAL;
	memcpy(host, *text, len);
	host[len] = '\0';
	*text += len;
	return 0;
}

static int
parse_host(const char **text, char *host, size_t host_size)
{
	struct in6_addr address;
	size_t len = 0;

	if (**text != '[') {
		while (unreserved((*text)[len]))
			len++;
		return take_host(text, len, host, host_size);
	}
	(*text)++;
	len = strcspn(*text, "]");
	if (take_host(text, len, host, host_size) < 0 || **text != ']')
		return -EINVAL;
	(*text)++;
	return inet_pton(AF_INET6, host, &address) == 1 ? 0 : -EINVAL;
}

static int
parse_port(const char **text, bool tls, uint16_t *ret_port)
{
	unsigned port = 0;

	if (**text != ':') {
		*ret_port = tls ? 443 : 80;
		return 0;
	}
	for ((*text)++; **text >= '0' && **text <= '9'; (*text)++) {
		port = port * 10 + (unsigned)(**text - '0');
		if (port > UINT16_MAX)
			return -EINVAL;
	}
	if (port == 0)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

/* What may stand in a path: a query or a fragment has no place in a base. */
static bool
path_character(char c)
{
	return unreserved(c) || (c != '\0' && strchr("/:@!$&'()*+,;=%", c));
}

static int
parse_path(const char *text, char *path, size_t path_size)
{
	size_t len = strlen(text), at = 0;

	if (len > 0 && text[0] != '/')
		return -EINVAL;
	while (len > 0 && text[len - 1] == '/')
		len--;
	if (len >= path_size)
		return -EINVAL;
	while (at < len)
		if (!path_character(text[at]) ||
		    decode_byte(text, len, &at) < 0)
			return -EINVAL;
	memcpy(path, text, len);
	path[len] = '\0';
	return 0;
}

int
url_parse(const char *text, struct url *ret_url)
{
	struct url url = { 0 };

	if (parse_scheme(&text, &url.tls) < 0 ||
	    parse_host(&text, url.host, sizeof(url.host)) < 0 ||
	    parse_port(&text, url.tls, &url.port) < 0 ||
	    parse_path(text, url.path, sizeof(url.path)) < 0)
		return -EINVAL;
	assert(url.host[0] != '\0');
	*ret_url = url;
	return 0;
}
