/*
 * Bytes to an HTTP answer, line by line and body by body.
 *
 * Lines end in CR LF and nothing else.  A line is gathered in `line`, then one
 * function per state looks at it; bodies go past it.
 */

#include "daemon/lws/http_answer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS_MAX 18 /* fits in int64_t */
#define CHUNK_DIGITS_MAX 15

void
http_answer_init(struct http_answer *answer, size_t body_bytes_max)
{
	*answer = (struct http_answer){ .body_bytes_max = body_bytes_max };
}

void
http_answer_fini(struct http_answer *answer)
{
	buffer_fini(&answer->line);
	buffer_fini(&answer->body);
}

bool
http_answer_untouched(const struct http_answer *answer)
{
	return answer->state == HTTP_STATUS && answer->line.len == 0 &&
	       answer->head_bytes == 0;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_text(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (((unsigned char)text[i] < ' ' && text[i] != '\t') ||
		    text[i] == 0x7f)
			return false;
	return true;
}

static void
take_reason(struct http_answer *answer, const char *reason, size_t len)
{
	if (len >= sizeof(answer->reason))
		len = sizeof(answer->reason) - 1;
	memcpy(answer->reason, reason, len);
	answer->reason[len] = '\0';
}

/* "HTTP/1.1 201 Created"; some leave out the second space as well. */
static int
take_status(struct http_answer *answer, const char *line, size_t len)
{
	static const char version[] = "HTTP/1.";
	const size_t n = sizeof(version) - 1;

	if (len < n + 5 || memcmp(line, version, n) != 0 || !is_text(line, len))
		return -EPROTO;
	if ((line[n] != '0' && line[n] != '1') || line[n + 1] != ' ')
		return -EPROTO;
	answer->http_1_0 = line[n] == '0';
	line += n + 2;
	len -= n + 2;
	if (!is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2]) ||
	    (len > 3 && line[3] != ' '))
		return -EPROTO;
	answer->status = (unsigned)((line[0] - '0') * 100 +
				    (line[1] - '0') * 10 + line[2] - '0');
	if (answer->status < 100 || answer->status > 599)
		return -EPROTO;
	if (len > 4)
		take_reason(answer, line + 4, len - 4);
	answer->keeps_alive = !answer->http_1_0;
	answer->state = HTTP_HEADERS;
	return 0;
}

static bool
name_is(const char *name, size_t len, const char *wanted)
{
	return len == strlen(wanted) && strncasecmp(name, wanted, len) == 0;
}

/* Whether one of the elements of a comma-separated list is that word. */
static bool
list_has(const char *value, size_t len, const char *word)
{
	const size_t word_len = strlen(word);
	size_t i = 0, begin, end;

	while (i < len) {
		begin = i;
		while (i < len && value[i] != ',')
			i++;
		end = i++;
		while (begin < end &&
		       (value[begin] == ' ' || value[begin] == '\t'))
			begin++;
		while (end > begin &&
		       (value[end - 1] == ' ' || value[end - 1] == '\t'))
			end--;
		if (end - begin == word_len &&
		    strncasecmp(value + begin, word, word_len) == 0)
			return true;
	}
	return false;
}

static int
take_length(struct http_answer *answer, const char *value, size_t len)
{
	size_t i;

	if (answer->has_length || len == 0 || len > LENGTH_DIGITS_MAX)
		return -EPROTO;
	answer->left = 0;
	for (i = 0; i < len; i++) {
		if (!is_digit(value[i]))
			return -EPROTO;
		answer->left = answer->left * 10 + (uint64_t)(value[i] - '0');
	}
	answer->has_length = true;
	return 0;
}

static int
take_coding(struct http_answer *answer, const char *value, size_t len)
{
	if (answer->chunked || answer->http_1_0 ||
	    !name_is(value, len, "chunked"))
		return -EPROTO;
	answer->chunked = true;
	return 0;
}

/* RFC 9110 section 5.6.2. */
static bool
token_valid(const char *name, size_t len)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	size_t i;

	for (i = 0; i < len; i++) {
		const char c = name[i];

		if (!is_digit(c) && !(c >= 'a' && c <= 'z') &&
		    !(c >= 'A' && c <= 'Z') &&
		    (c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	return len > 0;
}

/* NAME: VALUE, without the white space around the value. */
static int
split_header(const char *line, size_t len, size_t *ret_name_len,
    const char **ret_value, size_t *ret_value_len)
{
	const char *colon = memchr(line, ':', len), *value, *end = line + len;

	if (colon == NULL || !token_valid(line, (size_t)(colon - line)))
		return -EPROTO;
	value = colon + 1;
	if (!is_text(value, (size_t)(end - value)))
		return -EPROTO;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*ret_name_len = (size_t)(colon - line);
	*ret_value = value;
	*ret_value_len = (size_t)(end - value);
	return 0;
}

static int
take_header(struct http_answer *answer, const char *line, size_t len)
{
	const char *value;
	size_t name_len, value_len;

	if (split_header(line, len, &name_len, &value, &value_len) < 0)
		return -EPROTO;
	if (name_is(line, name_len, "content-length"))
		return take_length(answer, value, value_len);
	if (name_is(line, name_len, "transfer-encoding"))
		return take_coding(answer, value, value_len);
	if (name_is(line, name_len, "connection")) {
		if (list_has(value, value_len, "close"))
			answer->keeps_alive = false;
		else if (answer->http_1_0 &&
			 list_has(value, value_len, "keep-alive"))
			answer->keeps_alive = true;
	}
	return 0;
}

/* Which kind of body follows: RFC 9112 section 6.3. */
static int
end_of_head(struct http_answer *answer)
{
	if (answer->chunked && answer->has_length)
		return -EPROTO;
	if (answer->status < 200 && answer->status != 101) {
		answer->state = HTTP_STATUS; /* the real one comes yet */
		answer->status = 0;
		answer->chunked = answer->has_length = false;
		return 0;
	}
	if (answer->status == 101 || answer->status == 204 ||
	    answer->status == 304) {
		answer->state = HTTP_DONE;
	} else if (answer->chunked) {
		answer->state = HTTP_CHUNK_SIZE;
	} else if (!answer->has_length) {
		answer->keeps_alive = false;
		answer->state = HTTP_BODY_END;
	} else if (answer->left > answer->body_bytes_max) {
		return -EMSGSIZE;
	} else {
		answer->state = answer->left > 0 ? HTTP_BODY_LENGTH : HTTP_DONE;
	}
	return 0;
}

static int
hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The size of a chunk; extensions after a semicolon mean nothing to us. */
static int
take_chunk_size(struct http_answer *answer, const char *line, size_t len)
{
	uint64_t size = 0;
	size_t i;

	for (i = 0; i < len && hex_digit(line[i]) >= 0; i++)
		size = size << 4 | (uint64_t)hex_digit(line[i]);
	if (i == 0 || i > CHUNK_DIGITS_MAX)
		return -EPROTO;
	if (i < len && line[i] != ';' && line[i] != ' ' && line[i] != '\t')
		return -EPROTO;
	answer->left = size;
	answer->state = size > 0 ? HTTP_CHUNK_DATA : HTTP_TRAILERS;
	if (size > answer->body_bytes_max - answer->body.len)
		return -EMSGSIZE;
	return 0;
}

static int
take_line(struct http_answer *answer, const char *line, size_t len)
{
	switch (answer->state) {
	case HTTP_STATUS:
		return take_status(answer, line, len);
	case HTTP_HEADERS:
		if (len == 0)
			return end_of_head(answer);
		return take_header(answer, line, len);
	case HTTP_CHUNK_SIZE:
		return take_chunk_size(answer, line, len);
	case HTTP_CHUNK_END:
		answer->state = HTTP_CHUNK_SIZE;
		return len == 0 ? 0 : -EPROTO;
	default:
		assert(answer->state == HTTP_TRAILERS);
		if (len == 0)
			answer->state = HTTP_DONE;
		return 0;
	}
}

/* Bytes up to and with the next line feed.  How many, or an error. */
static int64_t
feed_line(struct http_answer *answer, const uint8_t *data, size_t len)
{
	const uint8_t *end = memchr(data, '\n', len);
	const size_t n = end != NULL ? (size_t)(end - data) + 1 : len;
	const bool counted =
	    answer->state != HTTP_CHUNK_SIZE && answer->state != HTTP_CHUNK_END;
	int error;

	if (counted) {
		answer->head_bytes += n;
		if (answer->head_bytes > HTTP_ANSWER_HEAD_MAX)
			return -EMSGSIZE;
	}
	error = buffer_append(&answer->line, data, n, HTTP_ANSWER_LINE_MAX);
	if (error < 0)
		return error;
	if (end == NULL)
		return (int64_t)n;
	if (answer->line.len < 2 ||
	    answer->line.data[answer->line.len - 2] != '\r')
		return -EPROTO;
	error = take_line(
	    answer, (const char *)answer->line.data, answer->line.len - 2);
	buffer_clear(&answer->line);
	return error < 0 ? error : (int64_t)n;
}

static int64_t
feed_body(struct http_answer *answer, const uint8_t *data, size_t len)
{
	const bool counted = answer->state != HTTP_BODY_END;
	const size_t n =
	    counted && len > answer->left ? (size_t)answer->left : len;
	const int error =
	    buffer_append(&answer->body, data, n, answer->body_bytes_max);

	if (error < 0)
		return error;
	if (!counted)
		return (int64_t)n;
	answer->left -= n;
	if (answer->left == 0)
		answer->state = answer->state == HTTP_CHUNK_DATA
				    ? HTTP_CHUNK_END
				    : HTTP_DONE;
	return (int64_t)n;
}

int
http_answer_feed(
    struct http_answer *answer, const void *data, size_t len, size_t *ret_used)
{
	const uint8_t *bytes = data;
	size_t used = 0;
	int64_t n;

	assert(answer->state != HTTP_DONE);
	while (used < len && answer->state != HTTP_DONE) {
		switch (answer->state) {
		case HTTP_BODY_LENGTH:
		case HTTP_BODY_END:
		case HTTP_CHUNK_DATA:
			n = feed_body(answer, bytes + used, len - used);
			break;
		default:
			n = feed_line(answer, bytes + used, len - used);
		}
		if (n < 0)
			return (int)n;
		used += (size_t)n;
	}
	assert(used <= len);
	*ret_used = used;
	return answer->state == HTTP_DONE ? 1 : 0;
}

int
http_answer_end(struct http_answer *answer)
{
	if (answer->state == HTTP_DONE)
		return 1;
	if (answer->state != HTTP_BODY_END)
		return -EPROTO;
	answer->state = HTTP_DONE;
	return 1;
}
