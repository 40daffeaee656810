/* Columns on a terminal; widths are those of bytes: names are ASCII. */

#include "daemon/ctl/table.h"
#include "daemon/base/memory.h"
#include "daemon/ctl/words.h"

#include <assert.h>
#include <string.h>

#define LINE_BYTES_MAX 2048

void
table_add(struct table *table, const char *const *cells)
{
	size_t i;

	assert(table->columns <= TABLE_COLUMNS_MAX);
	if (table->count == table->room) {
		const size_t room = table->room > 0 ? table->room * 2 : 64;
		void *rows =
		    memory_realloc(table->rows, room * sizeof(*table->rows));

		if (rows == NULL)
			return;
		table->rows = rows;
		table->room = room;
	}
	for (i = 0; i < table->columns; i++) {
		const size_t len = strlen(cells[i]);
		char *cell = memory_alloc(len + 1);

		if (cell != NULL)
			words_printable(cell, len + 1, cells[i], len);
		table->rows[table->count][i] = cell;
	}
	table->count++;
}

static const char *
title_of(const struct table *table, size_t column)
{
	const char *title = table->titles[column];

	return *title == '>' ? title + 1 : title;
}

static const char *
cell_of(const struct table *table, size_t row, size_t column)
{
	const char *cell = table->rows[row][column];

	return cell != NULL ? cell : "?";
}

static size_t
width_of(const struct table *table, size_t column)
{
	size_t width = strlen(title_of(table, column)), i;

	for (i = 0; i < table->count; i++)
		if (strlen(cell_of(table, i, column)) > width)
			width = strlen(cell_of(table, i, column));
	return width;
}

/* Puts a cell at the end of the line; the last of a row is not padded. */
static size_t
put(const struct table *table, const size_t *widths, size_t column,
    const char *cell, char *line, size_t len)
{
	const bool last = column + 1 == table->columns;
	const bool number = table->titles[column][0] == '>';
	const int width = last && !number ? 0 : (int)widths[column];
	const int n = snprintf(line + len, LINE_BYTES_MAX - len,
	    number ? "%s%*s" : "%s%-*s", column > 0 ? "  " : "", width, cell);

	len += n > 0 ? (size_t)n : 0;
	return len < LINE_BYTES_MAX ? len : LINE_BYTES_MAX - 1;
}

void
table_print(const struct table *table, FILE *out, size_t width)
{
	size_t widths[TABLE_COLUMNS_MAX], row, column, len;
	char line[LINE_BYTES_MAX];

	for (column = 0; column < table->columns; column++)
		widths[column] = width_of(table, column);
	for (row = 0; row <= table->count; row++) {
		len = 0;
		for (column = 0; column < table->columns; column++)
			len = put(table, widths, column,
			    row == 0 ? title_of(table, column)
				     : cell_of(table, row - 1, column),
			    line, len);
		if (width > 0 && len > width)
			line[width] = '\0';
		(void)fprintf(out, "%s\n", line);
	}
}

void
table_fini(struct table *table)
{
	size_t i, column;

	for (i = 0; i < table->count; i++)
		for (column = 0; column < table->columns; column++)
			memory_free(table->rows[i][column]);
	memory_free(table->rows);
}
