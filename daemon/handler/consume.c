#include "daemon/handler/session.h"
int
consume_start(struct handler *handler)
{
	(void)handler;
	return 0;
}
void
consume_more(struct session *session)
{
	(void)session;
}
