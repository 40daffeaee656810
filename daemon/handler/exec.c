#include "daemon/handler/exec.h"
int
exec_start(struct handler *handler)
{
	(void)handler;
	return -1;
}
void
exec_ready(struct session *session)
{
	(void)session;
}
void
exec_forget(struct session *session)
{
	(void)session;
}
bool
exec_stop(struct exec *exec)
{
	(void)exec;
	return true;
}
void
exec_hurry(struct exec *exec)
{
	(void)exec;
}
void
exec_free(struct exec *exec)
{
	(void)exec;
}
uint32_t
exec_running(const struct exec *exec)
{
	(void)exec;
	return 0;
}
