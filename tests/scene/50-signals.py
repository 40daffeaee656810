#!/usr/bin/python3
# sanitizer: yes
"""SIGTERM and SIGINT end it, once; a second one hurries; others do not."""
import collections
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

HURRY_S = 0.2
KEEP = "[channel **]\nbuffer_bytes = 64M\n"
LINES, LINE_BYTES = 1000, 16000


def stuck_consumer(daemon):
    """One that does not read, and lacks more than the kernel can hold."""
    consumer = daemon.ws("ticks", receive_bytes=4096)
    body = "\n".join(crowd.text(0, n, LINE_BYTES) for n in range(LINES))
    daemon.publish("ticks", body, arguments="?split=lines")
    daemon.wait_metric('channel_lag_messages{channel="ticks"}', 1)
    return consumer


def begin_drain(daemon, signo=signal.SIGTERM):
    daemon.signal(signo)
    daemon.wait_log("INFO draining")


def later_than(seconds):
    """Not a wait for something: the signal is to be that late."""
    threading.Event().wait(seconds)


def scene_nothing_connected():
    for signo in signal.SIGTERM, signal.SIGINT:
        with scene.Daemon() as daemon:
            began = time.monotonic()
            daemon.signal(signo)
            scene.equal(daemon.wait(), 0, f"exit code, {signo.name}")
            scene.in_time(time.monotonic() - began, 1, "SIGTERM to the exit")
            scene.equal(crowd.drained(daemon)[1:], [0, 0, 0, 0], "counts")


def scene_a_second_one_hurries():
    for second in signal.SIGTERM, signal.SIGINT:
        with scene.Daemon(KEEP + "[drain]\ntimeout = 5m\n") as daemon:
            consumer = stuck_consumer(daemon)
            begin_drain(daemon)
            later_than(HURRY_S + 0.05)
            scene.check(daemon.process.poll() is None, "it waits")
            began = time.monotonic()
            daemon.signal(second)
            scene.equal(daemon.wait(), 3, f"exit code, {second.name}")
            scene.in_time(time.monotonic() - began, 1, "and then hurries")
            daemon.wait_log("WARN second signal")
            _, delivered, cut, lost, lacked = crowd.drained(daemon)
            scene.equal((delivered, cut, lost), (0, 1, 0),
                        "delivered, cut, lost")
            told = daemon.wait_log(
                r"cut, lacks (\d+) messages conn=0\.0 channel=ticks peer=127")
            scene.equal(int(told.group(1)), lacked, "what it lacks")
            scene.check(0 < lacked < LINES, f"{lacked} of {LINES}")
            consumer.close()


def scene_two_at_once_are_one():
    with scene.Daemon() as daemon:
        consumer = daemon.ws("ticks")
        daemon.signal()
        daemon.signal()
        daemon.signal(signal.SIGINT)
        daemon.wait_log("INFO draining")
        later_than(HURRY_S)
        consumer.read_closed()
        scene.equal(daemon.wait(), 0, "exit code")
        scene.equal(daemon.log_count("second signal"), 0, "second signals")
        scene.equal(crowd.drained(daemon)[1:], [1, 0, 0, 0], "delivered")


def scene_others_do_not_end_it():
    with scene.Daemon() as daemon:
        consumer = daemon.ws("ticks")
        for signo in signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE:
            daemon.signal(signo)
        daemon.wait_log("INFO reloaded$")
        daemon.wait_log(r"INFO state: .* 1 consumer, 1 channel")
        scene.equal(daemon.http("GET", "/healthz").status, 200, "/healthz")
        begin_drain(daemon)
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log("WARN reload: draining; nothing is reloaded")
        daemon.wait_log(r"INFO state: .* 1 consumer,", count=2)
        scene.check(daemon.process.poll() is None, "nor a drain")
        consumer.read_closed()
        scene.equal(daemon.wait(), 0, "exit code")


def scene_during_the_start():
    """Before it blocks signals it is any program; then it drains.  Later and
    later, until half of them came to that."""
    ends, delay, drained = collections.Counter(), 0.0, 0
    end = scene.deadline(60)
    while drained < 20 and time.monotonic() < end:
        daemon = scene.Daemon(ready=False)
        later_than(delay)
        delay += 0.0001 * scene.SLOWNESS
        daemon.signal()
        code = daemon.wait()
        log = daemon.log()
        said = [w for w in ("listening", "ready", "draining") if w in log]
        ends[code, " ".join(said)] += 1
        if code != 0 and (code != -signal.SIGTERM or said):
            raise scene.Failure(f"exit code {code}:\n{log}")
        drained += code == 0
    scene.check(drained == 20,
                f"exit codes, and what was said: {dict(ends)}")


scene.play(globals())
