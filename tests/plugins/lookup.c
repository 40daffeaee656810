/*
 * lookup: answers a name with what a SQLite database (option.file) knows of
 * it, asking the database from a worker.
 */

#include "daemon/handler/earshot.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static const struct es_host *host;
static sqlite3 *database; /* opened for use by several threads */

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	sqlite3_stmt *statement;
	const char *found;
	int r = -EIO;

	(void)state;
	(void)user;
	if (sqlite3_prepare_v2(database,
		"SELECT value FROM facts WHERE name = ?", -1, &statement,
		NULL) != SQLITE_OK)
		return -EIO;
	if (sqlite3_bind_text(statement, 1, message->data, (int)message->len,
		SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW) {
		found = (const char *)sqlite3_column_text(statement, 0);
		r = es_send(host, conn, ES_TEXT, found, strlen(found), NULL);
	} else {
		r = es_send(host, conn, ES_TEXT, "unknown", 7, NULL);
	}
	(void)sqlite3_finalize(statement); /* tells the step's error again */
	return r;
}

static void
end(void *state)
{
	(void)state;
	(void)sqlite3_close(database);
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	const char *file;

	host = given;
	file = es_option(host, "file");
	if (!file || sqlite3_open_v2(file, &database,
			 SQLITE_OPEN_READONLY | SQLITE_OPEN_FULLMUTEX, NULL)) {
		es_log(host, ES_LOG_ERROR, "option.file is no database");
		return -EINVAL;
	}
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_message = on_message,
		.end = end,
	};
	return 0;
}
