/*
 * Values from text: numbers, sizes, times, addresses, origins, command lines;
 * and back, for what is printed.  Each form has one spelling rule and no
 * guessing: `10 s`, `1.5M` or `0x10` are faults.
 */

#include "conf/value.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *word;
	int64_t factor;
};

/* Ascending: value_put_unit() takes the last one that divides. */
static const struct unit byte_units[] = {
	{ "", 1 },
	{ "K", INT64_C(1) << 10 },
	{ "M", INT64_C(1) << 20 },
	{ "G", INT64_C(1) << 30 },
};

static const struct unit time_units[] = {
	{ "us", 1 },
	{ "ms", INT64_C(1000) },
	{ "s", INT64_C(1000000) },
	{ "m", INT64_C(60) * 1000000 },
	{ "h", INT64_C(3600) * 1000000 },
	{ "d", INT64_C(86400) * 1000000 },
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at the start of *text, which moves behind them. */
static int
take_number(struct text *text, int64_t *ret_number)
{
	int64_t number = 0;
	int error = 0;

	if (text->len == 0 || !digit(*text->at))
		return -EINVAL;
	for (; text->len > 0 && digit(*text->at); text->at++, text->len--)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *text->at - '0', &number))
			error = -ERANGE;
	*ret_number = number;
	return error;
}

int
value_count(struct text text, int64_t *ret_count)
{
	int64_t count;
	int error = take_number(&text, &count);

	if (text.len > 0)
		return -EINVAL;
	if (error == 0)
		*ret_count = count;
	return error;
}

static int
value_with_unit(struct text text, const struct unit *units, size_t unit_count,
    int64_t *ret_value)
{
	int64_t value;
	int error = take_number(&text, &value);

	if (error == -EINVAL)
		return error;
	for (size_t i = 0; i < unit_count; i++) {
		if (!text_equals(text, units[i].word))
			continue;
		if (error < 0 ||
		    __builtin_mul_overflow(value, units[i].factor, &value))
			return -ERANGE;
		*ret_value = value;
		return 0;
	}
	return text.len == 0 ? -EDOM : -EINVAL;
}

int
value_bytes(struct text text, int64_t *ret_bytes)
{
	return value_with_unit(text, byte_units, LENGTH(byte_units), ret_bytes);
}

int
value_time(struct text text, int64_t *ret_us)
{
	if (text_equals(text, "0")) { /* the same in every unit */
		*ret_us = 0;
		return 0;
	}
	return value_with_unit(text, time_units, LENGTH(time_units), ret_us);
}

static size_t
value_put_unit(char *out, size_t out_size, int64_t value,
    const struct unit *units, size_t unit_count)
{
	size_t best = 0;
	int len;

	assert(value >= 0);
	assert(units[0].factor == 1);

	for (size_t i = 1; i < unit_count && value > 0; i++)
		if (value % units[i].factor == 0)
			best = i;
	len = snprintf(out, out_size, "%lld%s",
	    (long long)(value / units[best].factor), units[best].word);
	assert(len > 0);
	return (size_t)len;
}

size_t
value_put_bytes(char *out, size_t out_size, int64_t bytes)
{
	return value_put_unit(
	    out, out_size, bytes, byte_units, LENGTH(byte_units));
}

size_t
value_put_time(char *out, size_t out_size, int64_t us)
{
	if (us == 0) /* not "0us" */
		return (size_t)snprintf(out, out_size, "0s");
	return value_put_unit(
	    out, out_size, us, time_units, LENGTH(time_units));
}

bool
value_path_valid(struct text text)
{
	return text.len > 0 && *text.at == '/';
}

static int
take_port(struct text text, unsigned min, uint16_t *ret_port)
{
	int64_t port;

	if (text.len > 5 || value_count(text, &port) < 0 || port < min ||
	    port > UINT16_MAX)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

/*
 * Cuts [v6] or a host without colons off the start of *text.  *ret_v6 says
 * which; the brackets are not part of the host.
 */
static int
take_host(struct text *text, struct text *ret_host, bool *ret_v6)
{
	bool v6 = text->len > 0 && *text->at == '[';
	struct text host = *text;
	const char *end;

	if (v6) {
		host.at++;
		host.len--;
	}
	end = memchr(host.at, v6 ? ']' : ':', host.len);
	if (!end && v6)
		return -EINVAL;
	if (end)
		host.len = (size_t)(end - host.at);
	if (host.len == 0)
		return -EINVAL;
	text->len -= (size_t)(host.at + host.len + v6 - text->at);
	text->at = host.at + host.len + v6;
	*ret_host = host;
	*ret_v6 = v6;
	return 0;
}

/* Into its one canonical spelling, so that equal addresses are equal text. */
static int
canonical_host(struct text host, bool v6, char *out, socklen_t out_size)
{
	unsigned char address[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	int family = v6 ? AF_INET6 : AF_INET;

	if (host.len >= sizeof(text))
		return -EINVAL;
	memcpy(text, host.at, host.len);
	text[host.len] = '\0';
	if (inet_pton(family, text, address) != 1)
		return -EINVAL;
	return inet_ntop(family, address, out, out_size) ? 0 : -EINVAL;
}

int
value_address(struct text text, struct address *ret_address)
{
	static const char prefix[] = "unix:";
	struct address address = { .kind = CONF_ADDRESS_IP };
	struct text host;
	bool v6;

	if (text.len > 5 && memcmp(text.at, prefix, 5) == 0) {
		address.kind = CONF_ADDRESS_UNIX;
		text.at += 5;
		text.len -= 5;
		if (!value_path_valid(text) || text.len >= sizeof(address.path))
			return -EINVAL;
		memcpy(address.path, text.at, text.len);
		*ret_address = address;
		return 0;
	}
	if (take_host(&text, &host, &v6) < 0 ||
	    canonical_host(host, v6, address.host, sizeof(address.host)) < 0)
		return -EINVAL;
	if (text.len == 0 || *text.at != ':' ||
	    take_port((struct text){ text.at + 1, text.len - 1 }, 0,
		&address.port) < 0)
		return -EINVAL;
	*ret_address = address;
	return 0;
}

static bool
letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Moves *text behind `scheme://` if it begins so. */
static bool
skip_scheme(struct text *text)
{
	const char *mark = memmem(text->at, text->len, "://", 3);

	if (!mark)
		return true;
	if (!letter(*text->at))
		return false;
	for (const char *c = text->at; c < mark; c++)
		if (!letter(*c) && !digit(*c) && !strchr("+-.", *c))
			return false;
	text->len -= (size_t)(mark + 3 - text->at);
	text->at = mark + 3;
	return true;
}

bool
value_origin_valid(struct text text)
{
	struct text host;
	char canonical[INET6_ADDRSTRLEN];
	uint16_t port;
	bool v6;

	if (text_equals(text, "*"))
		return true;
	if (text.len == 0 || !skip_scheme(&text) ||
	    take_host(&text, &host, &v6) < 0)
		return false;
	if (v6 && canonical_host(host, true, canonical, sizeof(canonical)) < 0)
		return false;
	for (size_t i = 0; !v6 && i < host.len; i++)
		if (!letter(host.at[i]) && !digit(host.at[i]) &&
		    !strchr("-._", host.at[i]))
			return false;
	if (text.len == 0)
		return true;
	return *text.at == ':' &&
	       take_port(
		   (struct text){ text.at + 1, text.len - 1 }, 1, &port) == 0;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t';
}

bool
value_next_word(struct text *text, struct text *ret_word)
{
	size_t len = 0;

	*text = text_trim(*text);
	while (len < text->len && !blank(text->at[len]))
		len++;
	if (len == 0)
		return false;
	*ret_word = (struct text){ text->at, len };
	text->at += len;
	text->len -= len;
	return true;
}

static int
hex_digit(char c)
{
	if (digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What stands for the escape at text->at, behind its backslash. */
static int
take_escape(struct text *text, char *ret_c)
{
	static const char letters[] = "abfnrtvs\\\"' ";
	static const char meanings[] = "\a\b\f\n\r\t\v \\\"' ";
	const char *at;
	int high, low;

	_Static_assert(sizeof(letters) == sizeof(meanings), "one each");

	if (text->len == 0)
		return -EINVAL;
	at = memchr(letters, *text->at, sizeof(letters) - 1);
	if (at) {
		*ret_c = meanings[at - letters];
		text->at++;
		text->len--;
		return 0;
	}
	if (*text->at != 'x' || text->len < 3)
		return -EINVAL;
	high = hex_digit(text->at[1]);
	low = hex_digit(text->at[2]);
	if (high < 0 || low < 0 || (high == 0 && low == 0))
		return -EINVAL;
	*ret_c = (char)(high << 4 | low);
	text->at += 3;
	text->len -= 3;
	return 0;
}

int
value_next_argument(struct text *text, char *out, const char **ret_fault)
{
	char quote_mark = '\0';
	size_t len = 0;

	*text = text_trim(*text);
	if (text->len == 0)
		return 0;
	while (text->len > 0 && (quote_mark || !blank(*text->at))) {
		char c = *text->at++;

		text->len--;
		if (quote_mark ? c == quote_mark : c == '"' || c == '\'') {
			quote_mark = quote_mark ? '\0' : c;
			continue;
		}
		if (c == '\\' && take_escape(text, &c) < 0) {
			*ret_fault = "an unknown escape, expected one of "
				     "\\\\ \\\" \\' \\s \\t \\n \\r \\xHH";
			return -EINVAL;
		}
		out[len++] = c;
	}
	if (quote_mark) {
		*ret_fault = "a quote without its end, expected \"...\" or "
			     "'...'";
		return -EINVAL;
	}
	out[len] = '\0';
	return 1;
}
