#ifndef DAEMON_TAPE_DERIVED_H
#define DAEMON_TAPE_DERIVED_H

/*
 * derived: cursors on views that are made from the raw one, as cursor.h has
 * them, and what a retired segment takes with it.
 */

#include "daemon/tape/block.h"

int derived_span(struct tape *tape, enum view_kind view,
    const struct cursor *cursor, size_t max, int64_t *build_bytes,
    struct span *ret_span);
int64_t derived_advance(struct tape *tape, enum view_kind view,
    struct cursor *cursor, size_t bytes);

/* The first raw segment is about to be retired. */
void derived_retire(struct tape *tape);

#endif
