/*
 * trust: whom an upstream believes, and what it shows of itself.
 *
 * The happy path: what the files said is kept over all connections.  A file
 * that was replaced (certificates are, every other month) counts from the next
 * connection on, without a reload.
 *
 * - They cannot be read, or do not fit together: that is the error of this
 *   attempt, and the next one looks again.
 */

#include "daemon/base/log.h"
#include "daemon/feed/upstream_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* All zero for no file. */
static struct stamp
stamp_of(const char *path)
{
	struct stat st;

	if (!path || stat(path, &st) < 0)
		return (struct stamp){ 0 };
	return (struct stamp){
		.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) +
			    st.st_mtim.tv_nsec,
		.size = st.st_size,
		.device = st.st_dev,
		.inode = st.st_ino,
	};
}

static bool
stamp_equal(const struct stamp *a, const struct stamp *b)
{
	return a->mtime_ns == b->mtime_ns && a->size == b->size &&
	       a->device == b->device && a->inode == b->inode;
}

/* Looks at the files; true: they are what they were. */
static bool
stamps_take(struct upstream *upstream)
{
	const struct conf_upstream *conf = upstream->conf;
	const char *const paths[UPSTREAM_FILES] = { conf->ca, conf->certificate,
		conf->key };
	bool same = true;

	for (size_t i = 0; i < UPSTREAM_FILES; i++) {
		const struct stamp now = stamp_of(paths[i]);

		same = same && stamp_equal(&now, &upstream->stamps[i]);
		upstream->stamps[i] = now;
	}
	return same;
}

int
trust_open(struct upstream *upstream)
{
	const struct conf_upstream *conf = upstream->conf;
	const struct outbound_options options = {
		.ca_path = conf->ca,
		.certificate_path = conf->certificate,
		.key_path = conf->key,
	};
	char text[OUTBOUND_TEXT_MAX] = "";
	const bool same = stamps_take(upstream);
	int error;

	if (upstream->outbound && same)
		return 0;
	outbound_close(upstream->outbound);
	upstream->outbound = NULL;
	if (!upstream->feed.host->options.glue)
		return -ENOSYS;
	error = outbound_open(upstream->feed.host->options.glue, &options, text,
	    &upstream->outbound);
	if (error < 0)
		feed_set_error(&upstream->feed, "cannot connect: %s",
		    text[0] ? text : strerrordesc_np(-error));
	return error;
}

/* Tokens stand in a query, and a long url would leave no room for an error. */
void
trust_show_url(struct upstream *upstream)
{
	const size_t max = sizeof(upstream->shown) - 4;
	size_t len = strcspn(upstream->url, "?");

	(void)snprintf(upstream->shown, sizeof(upstream->shown), "%.*s%s",
	    (int)(len < max ? len : max), upstream->url,
	    len > max ? "..." : "");
}
