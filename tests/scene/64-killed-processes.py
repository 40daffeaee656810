#!/usr/bin/python3
# sanitizer: yes
# limit: 600
"""kill -9 of an exec handler's process at any byte, EARSHOT_KILLS (10) times:
no connection is lost, every message was handled once, or was the one in
flight, which was told as an error.
"""
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

ROUNDS = int(os.environ.get("EARSHOT_KILLS", "10"))
CONNS = 8


class Talker(threading.Thread):
    """Sends numbered messages, as many as are not stopped by TCP."""

    def __init__(self, daemon, number):
        super().__init__(daemon=True)
        self.client = handled.app(daemon, f"/app?{number}")
        self.number = number
        self.sent = 0
        self.over = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.over.is_set():
                self.client.send_text(f"{self.number} {self.sent}")
                self.sent += 1
                time.sleep(0.0005)
        except OSError as broken:
            self.failure = broken


def kill_some(daemon, seed):
    dice = random.Random(seed)
    for done in range(ROUNDS):
        time.sleep(dice.uniform(0.001, 0.08))
        victim = scene.wait_until(
            lambda: handled.children(daemon), "a process")
        os.kill(dice.choice(victim), signal.SIGKILL)
        handled.wait_metric(daemon, "restarts_total", done + 1)


def scene_at_any_byte():
    seed = random.randrange(1 << 30)
    print(f"    seed {seed}", flush=True)
    file = tempfile.NamedTemporaryFile(dir=scene.TMP)
    conf = handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py {file.name}",
        "path = /app", "workers = 2", "backoff_min = 1ms",
        "backoff_max = 2ms", "stop_timeout = 30s")
    with scene.Daemon(conf) as daemon:
        talkers = [Talker(daemon, n) for n in range(CONNS)]
        for talker in talkers:
            talker.start()
        # An open that three processes die over is refused, as it should be.
        scene.wait_until(lambda: heard_from(file.name) == set(range(CONNS)),
                         "every open is done")
        kill_some(daemon, seed)
        for talker in talkers:
            talker.over.set()
            talker.join()
            scene.equal(talker.failure, None, f"{talker.sent} messages sent")
            talker.client.send_close()
            scene.equal(talker.client.read_closed()[0], 1000, "it lives")
        lost = int(handled.handler_metric(daemon, "lost_total"))
    check(file.name, talkers, lost)


def scene_with_more_than_its_pipe_holds():
    """What was not wholly written cannot have been read, and is not lost."""
    file = tempfile.NamedTemporaryFile(dir=scene.TMP)
    conf = handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py {file.name}",
        "path = /app", "backoff_min = 1ms", "backoff_max = 2ms")
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(21)]
        handled.wait_metric(daemon, "events_total", 21)
        clients[0].send_text("wait /no/such/file")
        for n, client in enumerate(clients[1:]):
            client.send_text(f"{n} " + "x" * 30000)
        handled.wait_metric(daemon, "busy", 21)
        os.kill(handled.children(daemon)[0], signal.SIGKILL)
        # 21 opens, 21 messages and an error for each connection.
        handled.wait_metric(daemon, "events_total", 63)
        lost = int(handled.handler_metric(daemon, "lost_total"))
        scene.check(1 <= lost <= 5, f"{lost} of 21 events were in the pipe")
        with open(file.name, encoding="utf-8") as told:
            texts = re.findall(r'"text":"(\d+) x', told.read())
        scene.equal(len(set(texts)), len(texts), "none came twice")
        scene.equal(len(texts), 21 - lost, "all others came")
        for client in clients:
            client.close()


def heard_from(name):
    """The talkers of whom a message has come."""
    with open(name, encoding="utf-8", errors="replace") as told:
        return {int(n) for n in re.findall(r'"text":"(\d+) ', told.read())}


def check(name, talkers, lost):
    handled_texts, errors, seqs = {}, {}, {}
    with open(name, encoding="utf-8", errors="replace") as told:
        for line in told:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # it died while it wrote this: told as lost
            if event["event"] == "message":
                number, text = event["text"].split()
                handled_texts.setdefault(int(number), []).append(int(text))
                seqs[event["conn"], event["seq"]] = int(text)
            elif "lost" in event:
                errors.setdefault(event["conn"], set()).add(event["lost"])
    told_lost = sum(map(len, errors.values()))
    gone = 0
    for talker in talkers:
        got = handled_texts.get(talker.number, [])
        if got != sorted(set(got)):
            raise scene.Failure(f"{talker.number}: twice, or out of order")
        gone += talker.sent - len(got)
    scene.check(gone <= told_lost, f"{told_lost} events told as lost; {gone} "
                "of them did not reach a process' hands")
    scene.equal(told_lost, lost, "each that was counted as lost was told")
    print(f"    {ROUNDS} kills, {sum(t.sent for t in talkers)} messages",
          flush=True)


scene.play(globals())
