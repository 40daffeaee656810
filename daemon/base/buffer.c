/*
 * buffer: consuming moves the rest to the front.  Our buffers are small and
 * mostly emptied at one go; a start offset would have to be thought of by
 * everybody who reads data and len.
 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/buffer.h"
#include "daemon/base/memory.h"

#define BUFFER_SIZE_MIN 64

void
buffer_init(struct buffer *b)
{
	*b = (struct buffer){ 0 };
}

void
buffer_fini(struct buffer *b)
{
	memory_free(b->data);
	buffer_init(b);
}

/* Room for n more bytes, within max. */
static int
buffer_reserve(struct buffer *b, size_t n, size_t max)
{
	uint8_t *data;
	size_t size;

	assert(b->len <= b->size);
	if (b->len > max || n > max - b->len)
		return -EMSGSIZE;
	if (n <= b->size - b->len)
		return 0;
	size = b->size < BUFFER_SIZE_MIN ? BUFFER_SIZE_MIN : b->size;
	while (size < b->len + n)
		size = size > SIZE_MAX / 2 ? b->len + n : size * 2;
	if (size > max)
		size = max;
	data = memory_realloc(b->data, size);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->size = size;
	assert(b->size - b->len >= n);
	return 0;
}

int
buffer_append(struct buffer *b, const void *p, size_t n, size_t max)
{
	int r;

	assert(p || n == 0);
	r = buffer_reserve(b, n, max);
	if (r < 0)
		return r;
	if (n > 0)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	return 0;
}

/*
 * vsnprintf() wants room for a NUL that is not ours to keep: one byte more
 * is reserved, so text that fills max to the last byte goes another way,
 * through a copy.
 */
static int buffer_vprintf_exact(struct buffer *b, size_t max, size_t n,
    const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

static int
buffer_vprintf_exact(
    struct buffer *b, size_t max, size_t n, const char *fmt, va_list ap)
{
	char *text = memory_alloc(n + 1);
	int r;

	if (!text)
		return -ENOMEM;
	(void)vsnprintf(text, n + 1, fmt, ap); /* its length is known */
	r = buffer_append(b, text, n, max);
	memory_free(text);
	return r;
}

int
buffer_printf(struct buffer *b, size_t max, const char *fmt, ...)
{
	va_list ap, again;
	int n, r;

	assert(fmt);
	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	assert(n >= 0);
	r = buffer_reserve(b, (size_t)n + 1, max);
	if (r == -EMSGSIZE) {
		r = buffer_reserve(b, (size_t)n, max);
		if (r == 0)
			r = buffer_vprintf_exact(b, max, (size_t)n, fmt, again);
	} else if (r == 0) {
		(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt,
		    again); /* its length is known */
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
	return r;
}

void
buffer_consume(struct buffer *b, size_t n)
{
	assert(n <= b->len);
	b->len -= n;
	if (b->len > 0 && n > 0)
		memmove(b->data, b->data + n, b->len);
}

void
buffer_clear(struct buffer *b)
{
	b->len = 0;
}
