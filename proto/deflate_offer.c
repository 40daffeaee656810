/*
 * Sec-WebSocket-Extensions: is there an offer of permessage-deflate that we
 * can keep to, and, where we have offered it, may the answer be what it is?
 *
 * Offers.  RFC 6455 section 9.1 has the grammar, RFC 7692 section 7.1 the
 * parameters; what is not in the latter makes an offer one to decline, and the
 * next one is looked at.
 *
 * - server_max_window_bits below 15 is declined: what is compressed once for
 *   everybody has the full window.
 * - client_max_window_bits needs no answer: we take any window.
 * - The answer has both no_context_takeover.  The server's is true in any case
 *   and lets clients free memory; the client's lets one inflater serve all
 *   connections.  Sections 7.1.1.1 and 7.1.1.2 allow both without being asked.
 *
 * Answers.  All but client_max_window_bits may come without being asked for,
 * and we ask for that; in an answer both windows have a value.  What is wrong
 * in it cannot be declined: the connection fails.
 */

#include "proto/deflate.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define VALUE_BYTES_MAX 8 /* a longer one is none that we know */
#define WINDOW_BITS_MAX 15

static const char answer_text[] =
    "permessage-deflate; server_no_context_takeover; "
    "client_no_context_takeover";
static const char answer_bits[] = "; server_max_window_bits=15";

_Static_assert(
    sizeof(answer_text) + sizeof(answer_bits) - 1 <= DEFLATE_ANSWER_MAX,
    "the longest answer fits");

struct scan {
	const char *text;
	size_t at, len;
};

struct parameter {
	const char *name;
	size_t name_len;
	bool has_value;
	char value[VALUE_BYTES_MAX];
	size_t value_len; /* more than VALUE_BYTES_MAX: cut off */
};

static bool
token_character(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static void
skip_space(struct scan *scan)
{
	while (scan->at < scan->len &&
	       (scan->text[scan->at] == ' ' || scan->text[scan->at] == '\t'))
		scan->at++;
}

/* Takes c, and white space on both sides, if it is next. */
static bool
take(struct scan *scan, char c)
{
	skip_space(scan);
	if (scan->at == scan->len || scan->text[scan->at] != c)
		return false;
	scan->at++;
	skip_space(scan);
	return true;
}

/* All scan_*: 0, or -EINVAL: not the grammar. */
static int
scan_token(struct scan *scan, const char **ret_token, size_t *ret_len)
{
	size_t begin = scan->at;

	while (scan->at < scan->len && token_character(scan->text[scan->at]))
		scan->at++;
	if (scan->at == begin)
		return -EINVAL;
	*ret_token = scan->text + begin;
	*ret_len = scan->at - begin;
	return 0;
}

static void
add_to_value(struct parameter *parameter, char c)
{
	if (parameter->value_len < VALUE_BYTES_MAX)
		parameter->value[parameter->value_len] = c;
	parameter->value_len++;
}

/* Behind the opening quote; what it says must be a token, too. */
static int
scan_quoted(struct scan *scan, struct parameter *parameter)
{
	while (scan->at < scan->len) {
		char c = scan->text[scan->at++];

		if (c == '"')
			return parameter->value_len > 0 ? 0 : -EINVAL;
		if (c == '\\') {
			if (scan->at == scan->len)
				return -EINVAL;
			c = scan->text[scan->at++];
		}
		if (!token_character(c))
			return -EINVAL;
		add_to_value(parameter, c);
	}
	return -EINVAL;
}

static int
scan_value(struct scan *scan, struct parameter *parameter)
{
	const char *token;
	size_t len;

	parameter->has_value = true;
	if (scan->at < scan->len && scan->text[scan->at] == '"') {
		scan->at++; /* a space inside counts */
		return scan_quoted(scan, parameter);
	}
	if (scan_token(scan, &token, &len) < 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		add_to_value(parameter, token[i]);
	return 0;
}

static int
scan_parameter(struct scan *scan, struct parameter *ret_parameter)
{
	struct parameter parameter = { 0 };

	if (scan_token(scan, &parameter.name, &parameter.name_len) < 0)
		return -EINVAL;
	if (take(scan, '=') && scan_value(scan, &parameter) < 0)
		return -EINVAL;
	*ret_parameter = parameter;
	return 0;
}

static bool
is(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(text, word, len) == 0;
}

/* 8 to 15 without leading zeroes, or 0. */
static int
window_bits(const struct parameter *parameter)
{
	const char *value = parameter->value;

	if (parameter->value_len == 1 && (value[0] == '8' || value[0] == '9'))
		return value[0] - '0';
	if (parameter->value_len == 2 && value[0] == '1' && value[1] >= '0' &&
	    value[1] <= '5')
		return 10 + value[1] - '0';
	return 0;
}

enum known {
	SERVER_NO_CONTEXT_TAKEOVER,
	CLIENT_NO_CONTEXT_TAKEOVER,
	SERVER_MAX_WINDOW_BITS,
	CLIENT_MAX_WINDOW_BITS,
	KNOWN_MAX
};

static enum known
which(const struct parameter *parameter)
{
	static const char *const names[KNOWN_MAX] = {
		"server_no_context_takeover",
		"client_no_context_takeover",
		"server_max_window_bits",
		"client_max_window_bits",
	};
	unsigned i = 0;

	while (i < KNOWN_MAX &&
	       !is(parameter->name, parameter->name_len, names[i]))
		i++;
	return (enum known)i;
}

/* Whether an offer with this parameter can be kept to. */
static bool
acceptable(const struct parameter *parameter, unsigned *there)
{
	const enum known i = which(parameter);

	if (i == KNOWN_MAX || (*there & 1u << i))
		return false;
	*there |= 1u << i;
	if (i == SERVER_MAX_WINDOW_BITS)
		return window_bits(parameter) == WINDOW_BITS_MAX;
	if (i == CLIENT_MAX_WINDOW_BITS && parameter->has_value)
		return window_bits(parameter) > 0;
	return !parameter->has_value;
}

/* One extension.  1: an offer to take; 0: another, or one to decline. */
static int
scan_extension(struct scan *scan, unsigned *ret_there)
{
	struct parameter parameter;
	const char *name;
	size_t len;
	bool good;

	*ret_there = 0;
	if (scan_token(scan, &name, &len) < 0)
		return -EINVAL;
	good = is(name, len, "permessage-deflate");
	while (take(scan, ';')) {
		if (scan_parameter(scan, &parameter) < 0)
			return -EINVAL;
		good = good && acceptable(&parameter, ret_there);
	}
	return good;
}

static void
put_answer(unsigned there, struct deflate_answer *ret_answer)
{
	bool bits = there & 1u << SERVER_MAX_WINDOW_BITS;

	memcpy(ret_answer->text, answer_text, sizeof(answer_text));
	if (bits)
		memcpy(ret_answer->text + sizeof(answer_text) - 1, answer_bits,
		    sizeof(answer_bits));
	ret_answer->window_bits = bits;
}

int
deflate_offer_accept(
    const char *text, size_t len, struct deflate_answer *ret_answer)
{
	struct scan scan = { .text = text, .len = len };
	bool found = false;
	unsigned there, taken = 0;

	assert(text || len == 0);
	/* To the end, also behind what is taken: all of it must be right. */
	for (;;) {
		int result;

		while (take(&scan, ','))
			; /* an empty element says nothing */
		if (scan.at == scan.len)
			break;
		result = scan_extension(&scan, &there);
		if (result < 0)
			return result;
		if (result == 1 && !found) {
			found = true;
			taken = there;
		}
		if (scan.at < scan.len && scan.text[scan.at] != ',')
			return -EINVAL;
	}
	if (found)
		put_answer(taken, ret_answer);
	return found;
}

/* What is wrong with a parameter of the answer; NULL: nothing. */
static const char *
answer_fault(const struct parameter *parameter, unsigned *there,
    struct deflate_agreement *agreement)
{
	const enum known i = which(parameter);

	if (i == KNOWN_MAX)
		return "an unknown parameter";
	if (*there & 1u << i)
		return "a parameter twice";
	*there |= 1u << i;
	switch (i) {
	case SERVER_NO_CONTEXT_TAKEOVER:
		agreement->keep_context = false;
		break;
	case SERVER_MAX_WINDOW_BITS:
		agreement->window_bits = window_bits(parameter);
		break;
	default:
		break;
	}
	if (i == SERVER_MAX_WINDOW_BITS || i == CLIENT_MAX_WINDOW_BITS)
		return window_bits(parameter) > 0
			   ? NULL
			   : "window bits that are not 8 to 15";
	return parameter->has_value ? "a value where none belongs" : NULL;
}

/* One extension of an answer; NULL: it may be there. */
static const char *
scan_answer(
    struct scan *scan, bool offered, struct deflate_agreement *agreement)
{
	static const char grammar[] = "words that RFC 6455 does not know";
	struct parameter parameter;
	unsigned there = 0;
	const char *name, *why = NULL;
	size_t len;

	*agreement = (struct deflate_agreement){ .keep_context = true,
		.window_bits = WINDOW_BITS_MAX };
	if (scan_token(scan, &name, &len) < 0)
		return grammar;
	if (!offered || !is(name, len, "permessage-deflate"))
		why = "an extension that was not offered";
	while (take(scan, ';')) {
		if (scan_parameter(scan, &parameter) < 0)
			return grammar;
		if (why == NULL)
			why = answer_fault(&parameter, &there, agreement);
	}
	if (scan->at < scan->len && scan->text[scan->at] != ',')
		return grammar;
	return why;
}

int
deflate_answer_read(const char *text, size_t len, bool offered,
    struct deflate_agreement *ret_agreement, const char **ret_why)
{
	struct scan scan = { .text = text, .len = len };
	struct deflate_agreement agreement;
	bool found = false;
	const char *why;

	assert(text || len == 0);
	for (;;) {
		while (take(&scan, ','))
			; /* an empty element says nothing */
		if (scan.at == scan.len)
			break;
		why = scan_answer(&scan, offered, &agreement);
		if (why == NULL && found)
			why = "permessage-deflate twice";
		if (why != NULL) {
			*ret_why = why;
			return -EPROTO;
		}
		found = true;
	}
	if (found)
		*ret_agreement = agreement;
	return found;
}
