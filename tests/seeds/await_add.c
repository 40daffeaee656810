/*
 * 004_f568e1dd864b5540.txt, the listing with add(2, 3): what is awaited there
 * is a coroutine object, which does nothing until then.  Here it is a plain
 * call, so there is no object to print and none to forget.
 *
 * > 5
 */

#include "tests/seeds/seeds.h"

static int
add(int a, int b)
{
	return a + b;
}

static int
add_main(void *arg, es_value *ret)
{
	(void)arg;
	(void)ret;
	say("%d", add(2, 3));
	return 0;
}

int
main(void)
{
	return must(es_run(add_main, NULL, NULL), "add_main");
}
