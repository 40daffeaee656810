#ifndef DAEMON_CTL_TABLE_H
#define DAEMON_CTL_TABLE_H

/*
 * table: lines of cells in columns, as wide as their widest cell.
 *
 * Life     {0} with columns -> table_add* -> table_print -> table_fini.
 * Memory   A copy of each cell; without memory a row is left out.
 */

#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 10

struct table {
	const char *const *titles; /* those of numbers begin with '>' */
	size_t columns;
	char *(*rows)[TABLE_COLUMNS_MAX];
	size_t count, room;
};

/* A cell for each column; what a terminal must not see is replaced. */
void table_add(struct table *table, const char *const *cells);

/* Lines are cut after width columns; 0: never. */
void table_print(const struct table *table, FILE *out, size_t width);
void table_fini(struct table *table);

#endif
