#!/usr/bin/python3
"""stderr is a full pipe for two seconds, under load: nobody waits for it.

Lines are dropped, counted, and told when the pipe is read again.
"""
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

CONSUMERS = 200
BLOCKED_S = 2
ITERATION_US = 20000  # promised; one that waits takes as long as it blocks
CONF = "[log]\nlevel = debug\n[channel **]\nbuffer_bytes = 64M\n"


class Churn(threading.Thread):
    """Consumers that come, break the rules and go: a log line for each."""

    def __init__(self, daemon):
        super().__init__()
        self.server, self.stop = daemon, threading.Event()
        self.rounds, self.error = 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                client = self.server.ws("churn")
                client.send_frame(scene.TEXT, b"\xff")
                code, _ = client.read_closed()
                client.close()
                if code != 1007:
                    raise scene.Failure(f"churn: closed with {code}")
                self.rounds += 1
        except Exception as error:  # told by whoever joins
            self.error = error


def scene_nobody_waits_for_the_log():
    daemon = scene.Daemon(CONF)
    with daemon, crowd.Crowd(daemon, "ticks", CONSUMERS) as ears:
        ears.wait("open")
        churns = [Churn(daemon) for _ in range(2)]
        publisher = crowd.Publisher(daemon, "ticks", 0, pause=0.005)
        for thread in (*churns, publisher):
            thread.start()
        try:
            with daemon.arrived:  # its reader stands still without this lock
                dropped = load_while_blocked(daemon)
            longest = daemon.metric("loop_iteration_longest_microseconds")
        finally:
            for thread in (*churns, publisher):
                thread.stop.set()
            for thread in (*churns, publisher):
                thread.join()
        for churn in churns:
            if churn.error:
                raise churn.error
        daemon.wait_log(r"dropped \d+ lines")
        total = daemon.metric("log_dropped_total")
        scene.equal(daemon.stop(), 0, "exit code")
        crowd.check_publisher(publisher, ears.end())
        told = [int(n) for n in re.findall(r"WARN dropped (\d+) lines",
                                           daemon.log())]
        scene.equal(sum(told), total, f"lines dropped, as counted; told in "
                    f"{len(told)} lines, {dropped:.0f} when it was blocked")
        print(f"    {sum(c.rounds for c in churns)} came and went",
              flush=True)
        scene.in_time(longest / 1e6, ITERATION_US / 1e6,
                      "the longest iteration")


def load_while_blocked(daemon):
    """Make it say much for that long; how many lines were dropped."""
    began = time.monotonic()
    end = began + BLOCKED_S
    answers = []
    while time.monotonic() < end or not answers[-1]:
        if time.monotonic() > end + scene.DEADLINE_S:
            raise scene.Failure("nothing was dropped")
        for _ in range(20):
            daemon.signal(signal.SIGUSR1)
            threading.Event().wait(0.0005)
        answers.append(daemon.metric("log_dropped_total"))
    scene.check(True, f"blocked {time.monotonic() - began:.2f} s, /metrics "
                f"answered {len(answers)} times, {answers[-1]:.0f} dropped")
    return answers[-1]


scene.play(globals())
