/*
 * Who may do what in the hub: everybody, and who has a token besides.
 */

#include "daemon/hub/hub.h"
#include "tests/lib/token_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t
on_write(struct consumer *consumer, const struct span *span, bool *ret_blocked,
    void *arg)
{
	(void)consumer;
	(void)span;
	(void)ret_blocked;
	(void)arg;
	return -1; /* there are no consumers */
}

static bool
on_overrun(struct consumer *consumer, enum conf_overrun policy, int64_t from,
    int64_t to, bool inside, void *arg)
{
	(void)consumer;
	(void)policy;
	(void)from;
	(void)to;
	(void)inside;
	(void)arg;
	return false;
}

static int
setup(void **state)
{
	static const struct hub_ops ops = { on_write, on_overrun };
	static const struct conf conf; /* rights are not its */
	struct hub *hub;

	if (hub_new(&conf, 1, &ops, NULL, &hub) < 0)
		return -1;
	*state = hub;
	return 0;
}

static int
teardown(void **state)
{
	hub_free(*state);
	return 0;
}

static void
rights_are_asked_by_bit(void **state)
{
	struct hub *hub = *state;
	const struct identity none = { .rights = 0 },
			      listener = { .rights = CONF_SUBSCRIBE };

	assert_true(hub_may(hub, &listener, CONF_SUBSCRIBE, "a", 1));
	assert_false(hub_may(hub, &listener, CONF_PUBLISH, "a", 1));
	assert_false(hub_may(hub, &none, CONF_SUBSCRIBE, "a", 1));
	assert_int_equal(hub_counts(hub)->refused_rights, 2);
}

static void
a_token_adds_rights_by_channel(void **state)
{
	struct hub *hub = *state;
	struct keyring *keyring = rig_keyring("token_key = @/hs.key\n");
	struct identity who = { .rights = CONF_PUBLISH };
	char text[RIG_TEXT_MAX];
	const size_t len = rig_token(text, HS256,
	    "{\"exp\":2000,\"earshot\":{\"subscribe\":[\"a.*\"]}}");

	assert_int_equal(
	    rig_check(keyring, text, len, 0, &who.token), TOKEN_FAULT_COUNT);
	assert_true(hub_may(hub, &who, CONF_SUBSCRIBE, "a.b", 3));
	assert_false(hub_may(hub, &who, CONF_SUBSCRIBE, "a", 1));
	assert_true(hub_may(hub, &who, CONF_PUBLISH, "a", 1));
	who.rights = 0;
	assert_true(identity_may(&who, CONF_SUBSCRIBE, "a.b", 3));
	assert_false(identity_may(&who, CONF_PUBLISH, "a.b", 3));
	assert_int_equal(hub_counts(hub)->refused_rights, 1);
	token_unref(who.token);
	keyring_unref(keyring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    rights_are_asked_by_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_token_adds_rights_by_channel, setup, teardown),
	};

	return cmocka_run_group_tests(tests, rig_begin, rig_end);
}
