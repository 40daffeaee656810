/*
 * Leases: a stream lasts as long as its token.
 *
 * The happy path: lease_begin() at the upgrade puts it into a heap, by the
 * moment the token ends -> leases_tick(), at that moment and once a second at
 * least -> 4001 "token expired".  leases_revoke(): the moment is now.
 *
 * Tokens tell wall-clock time, which may jump: nothing is reckoned ahead, the
 * heap's first is compared with the clock as it is.  That is one comparison a
 * second for all of them, and none where there are none.
 *
 * A token may be the same for thousands of streams: they are closed at most
 * drain.close_rate a second, as in a drain, for they all come back.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/loop/heap.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>

#define LOOK_US LIMITS_S /* how late a jump of the clock is noticed */

struct lease {
	struct heap_node node; /* when: wall clock */
	struct conn *conn;
	bool revoked;
};

static void
push(struct net *net, struct lease *lease, int64_t when)
{
	lease->node.when = when;
	lease->node.seq = net->leases.seq++;
	heap_push_reserved(&net->leases.heap, &lease->node);
}

static void
arm(struct net *net, int64_t after_us)
{
	wheel_set(&net->wheel, &net->leases.tick, clock_now_us() + after_us);
}

/* When the first is due, as far as the clock can be trusted. */
static void
arm_for_first(struct net *net)
{
	const struct heap_node *first = heap_top(&net->leases.heap);
	int64_t left_us;

	if (first == NULL) {
		wheel_clear(&net->wheel, &net->leases.tick);
		return;
	}
	left_us = first->when > 0 ? first->when - clock_wall_us() : 0;
	if (left_us > LOOK_US)
		left_us = LOOK_US;
	arm(net, left_us > 0 ? left_us : 0);
}

int
lease_begin(struct conn *conn)
{
	struct net *net = conn->net;
	struct lease *lease;

	assert(conn->lease == NULL);
	if (conn->who.token == NULL)
		return 0;
	lease = memory_zalloc(sizeof(*lease));
	if (lease == NULL || heap_reserve(&net->leases.heap) < 0) {
		memory_free(lease);
		return http_error(conn, 503, "no_memory", "out of memory");
	}
	lease->conn = conn;
	heap_node_init(&lease->node);
	push(net, lease, token_expires_us(conn->who.token));
	conn->lease = lease;
	if (heap_top(&net->leases.heap) == &lease->node)
		arm_for_first(net);
	return 0;
}

void
lease_end(struct conn *conn)
{
	struct heap *heap = &conn->net->leases.heap;

	if (conn->lease == NULL)
		return;
	heap_remove_reserved(heap, &conn->lease->node);
	heap_unreserve(heap);
	memory_free(conn->lease);
	conn->lease = NULL;
}

/* Its time is over. */
static void
expel(struct conn *conn) LOOP_THREAD
{
	const bool revoked = conn->lease->revoked;
	struct net_counts *counts = &conn->net->counts;

	lease_end(conn);
	if (!conn_is_stream(conn)) { /* its upgrade is being answered */
		conn_cut(conn);
	} else if (conn->close_code == 0 && !conn->peer_closed) {
		conn_close(
		    conn, 4001, "token %s", revoked ? "revoked" : "expired");
	} else {
		return; /* it goes already */
	}
	if (revoked)
		counts->tokens_revoked++;
	else
		counts->tokens_expired++;
}

void
leases_tick(struct net *net)
{
	const int64_t cost_us = LIMITS_S / net->conf->drain_close_rate;
	const int64_t wall_us = clock_wall_us(), now_us = clock_now_us();
	struct heap_node *first;

	/* A late tick makes up for it, a very late one does not. */
	net->leases.budget_us += now_us - net->leases.ticked_us;
	if (net->leases.budget_us > 2 * WHEEL_TICK_US)
		net->leases.budget_us = 2 * WHEEL_TICK_US;
	net->leases.ticked_us = now_us;
	while ((first = heap_top(&net->leases.heap)) != NULL &&
	       first->when <= wall_us) {
		if (net->leases.budget_us <= 0) {
			arm(net, WHEEL_TICK_US);
			return;
		}
		expel(LIST_ENTRY(first, struct lease, node)->conn);
		net->leases.budget_us -= cost_us;
	}
	arm_for_first(net);
}

void
leases_revoke(struct net *net)
{
	LIST_EACH_SAFE(node, next, &net->conns)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, node);
		struct lease *lease = conn->lease;

		if (conn->who.token == NULL ||
		    keyring_knows(net->keyring, conn->who.token))
			continue;
		token_unref(conn->who.token);
		conn->who.token = NULL;
		if (lease == NULL)
			continue;
		lease->revoked = true;
		heap_remove_reserved(&net->leases.heap, &lease->node);
		push(net, lease, 0);
	}
	arm_for_first(net);
}
