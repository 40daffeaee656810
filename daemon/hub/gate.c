/*
 * gate: between a publish and its tape, where somebody is asked about it.
 *
 * The happy path: a channel is looked up once -> nobody is asked: one branch
 * -> somebody is: the message is copied, -EINPROGRESS, and comes back as one
 * that is judged.
 *
 * The hub's own refusals come first: nobody is asked about what cannot be
 * published.
 */

#include "daemon/hub/hub_internal.h"

#include <errno.h>

void
hub_set_gate(struct hub *hub, const struct hub_gate *gate, void *arg)
{
	hub->gate = gate;
	hub->gate_arg = arg;
	hub->gate_round++; /* what channels know is of an earlier one */
}

int
gate_pass(struct hub *hub, struct channel *channel,
    const struct hub_message *message, int64_t now_us)
{
	const struct hub_gate *gate = hub->gate;
	const struct hub_publisher *publisher = message->publisher;
	int r;

	assert(gate != NULL);
	if (channel->gate_round != hub->gate_round) {
		channel->filter =
		    gate->find(channel->name, channel->name_len, hub->gate_arg);
		channel->gate_round = hub->gate_round;
	}
	if (message->judged)
		return 0;
	if (publisher == NULL || publisher->former == 0) {
		if (channel->filter == NULL)
			return 0;
		assert(publisher != NULL);
		if (publisher->owner == channel->filter)
			return 0;
	}
	r = gate->ask(channel->filter, channel->name, channel->name_len,
	    message, now_us, hub->gate_arg);
	return r == 0 ? -EINPROGRESS : r < 0 ? r : 0;
}

void
hub_publisher_init(struct hub_publisher *publisher,
    const struct hub_publisher_ops *ops, const void *owner)
{
	*publisher = (struct hub_publisher){ .ops = ops, .owner = owner };
	list_init(&publisher->asking);
}

void
hub_publisher_end(struct hub *hub, struct hub_publisher *publisher)
{
	if (!list_empty(&publisher->asking))
		hub->gate->leave(publisher, hub->gate_arg);
	assert(list_empty(&publisher->asking));
	publisher->full = publisher->former = 0;
}
