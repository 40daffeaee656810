#!/usr/bin/python3
# sanitizer: yes
"""SIGTERM while handlers work: what was taken in is handled, on_close runs
once for every on_open, and nothing waits longer than the drain may.
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene


def scene_what_is_queued_is_handled():
    go = scene.TMP / "go"
    conf = handled.plugin("record", "path = /app",
                          f"option.message_until = {go}",
                          more="[drain]\nretry_spread = 0s\n")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        client = handled.app(daemon)
        for n in range(40):
            client.send_text(str(n))
        events.take("open /app", "message 0")
        handled.wait_metric(daemon, "queued", 40)
        daemon.signal()
        daemon.wait_log("INFO draining")
        go.touch()
        events.take(*(f"message {n}" for n in range(1, 40)))
        scene.check(True, "40 messages handled")
        scene.equal(client.read_closed()[0], 1001, "then the close")
        scene.equal(events.client.read_closed()[0], 1001, "of all")
        scene.equal(daemon.wait(), 0, "exit code")
        daemon.wait_log(r"end\(\) of record handler=it")


def scene_every_open_has_one_close():
    """The closes are told on stderr: their channel is closed before."""
    count = 200 // scene.SLOWNESS
    conf = handled.plugin("threads", more="[drain]\nretry_spread = 0s\n")
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(count)]
        for client in clients[::2]:
            client.close()
        daemon.signal()
        for client in clients[1::2]:
            client.read_closed()
        scene.equal(daemon.wait(), 0, "exit code")
        told = re.search(r"opened=(\d+) closed=(\d+)", daemon.log())
        scene.equal(told[1], told[2], "on_open and on_close")
        scene.equal(int(told[1]), count, "connections")


def scene_a_callback_that_sleeps():
    if scene.MODE == "valgrind":
        raise scene.Skip("a thread that is left behind is a leak")
    conf = handled.plugin("record", "path = /app", "option.message_ms = 10000",
                          more="[drain]\ntimeout = 1s\n")
    with scene.Daemon(conf) as daemon:
        client, other = handled.app(daemon), handled.app(daemon)
        client.send_text("sleep")
        handled.wait_metric(daemon, "busy", 1)
        began = time.monotonic()
        daemon.signal()
        scene.equal(other.read_closed()[0], 1001, "another is closed")
        scene.equal(daemon.wait(), 3, "exit code")
        took = time.monotonic() - began
        scene.in_time(took, 6, "the drain's second, and what ends it")
        daemon.wait_log(r"\d+ callbacks did not run, or did not end")
        daemon.wait_log("threads are left behind")


def scene_processes_end_with_their_stdin():
    conf = handled.program("python", "path = /app", "workers = 3")
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(6)]
        for client in clients:
            client.send_text("x")
            client.read_text()
        began = time.monotonic()
        daemon.signal()
        for client in clients:
            scene.equal(client.read_closed()[0], 1001, "close")
        scene.equal(daemon.wait(), 0, "exit code")
        scene.in_time(time.monotonic() - began, 5, "from SIGTERM to the exit")


def scene_a_process_that_does_not_end():
    conf = handled.conf(
        "exec = /bin/sh -c \"trap '' TERM; exec 0</dev/null; "
        "echo deaf >&2; sleep 60\"",
        "consume = nothing", "stop_timeout = 200ms")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("deaf handler=it")  # till then SIGTERM ends it
        began = time.monotonic()
        scene.equal(daemon.stop(), 0, "exit code")
        scene.in_time(time.monotonic() - began, 3,
                      "killed after its stop_timeout")
        scene.check("does not end within its stop_timeout" in daemon.log(),
                    "and told")


scene.play(globals())
