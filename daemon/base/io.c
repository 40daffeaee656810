/* io: read(2) until there is no more. */

#include "daemon/base/io.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

ssize_t
io_read_all(int fd, void *bytes, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, (uint8_t *)bytes + len, size - len);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
	}
	return (ssize_t)len;
}
