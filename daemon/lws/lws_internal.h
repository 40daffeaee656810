#ifndef DAEMON_LWS_LWS_INTERNAL_H
#define DAEMON_LWS_LWS_INTERNAL_H

/* lws_internal: what the files of this room share. */

#include <stddef.h>

struct lws;

/* A frame was cut by a full socket; the library keeps that many bytes. */
void glue_count_short(struct lws *wsi, size_t kept);

#endif
