#!/usr/bin/python3
# sanitizer: yes
# limit: 60
"""Reload where things meet: what consumed and does no more, a request between
two filters, a plugin's end behind that of the filter it publishes through.
"""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import handled
import scene

ANSWER = f"plugin = {handled.PLUGINS}/answer.so"
FILTER = f"plugin = {handled.PLUGINS}/filter.so"


def ended(daemon, name="it"):
    daemon.wait_log(f"the former handler has ended handler={name}")


def ticked(daemon):
    """It has looked for what is late, and for what is not wanted."""
    before = handled.handler_metric(daemon, "late_total", "tick")
    with handled.app(daemon, "/tick") as client:
        client.send_text("x")
        handled.wait_metric(daemon, "late_total", before + 1, "tick")


def scene_a_channel_that_is_consumed_no_more():
    """Its consumer is at work when the reload comes."""
    tick = handled.conf(ANSWER, "path = /tick", "option.ms = 200",
                        "callback_timeout = 20ms", name="tick")
    with control.Daemon(tick + handled.conf(
            ANSWER, "consume = jobs.*", "option.ms = 200")) as daemon:
        for n in range(3):
            daemon.publish(f"jobs.{n}", "x")
        handled.wait_metric(daemon, "busy", 1)
        daemon.reload(tick)
        ended(daemon)
        ticked(daemon)
        for n in range(3):
            daemon.publish(f"jobs.{n}", "nobody's")
        daemon.reload(tick + handled.conf(ANSWER, "consume = jobs.*"))
        ears = daemon.ws("seen")
        daemon.publish("jobs.1", "again")
        while not ears.read_text().endswith("again"):
            pass
        ears.close()


scene.play(globals())
