#!/usr/bin/python3
# slow
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


def scene_a_callback_that_comes_back_late():
    """The drain is over, the plugin is not: end() joins what it has."""
    go = scene.TMP / "late"
    conf = handled.plugin("answer", "path = /app", f"option.until = {go}",
                          "option.name = it", "option.timer = yes",
                          more="[drain]\ntimeout = 1s\n")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        client.send_text("one")
        client.send_text("two")
        handled.wait_metric(daemon, "busy", 1)
        daemon.signal()
        daemon.wait_log(r"\d+ callbacks did not run, or did not end")
        go.touch()
        scene.equal(daemon.wait(), 3, "exit code")
        daemon.wait_log(r"end\(\) of answer handler=it")


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


def scene_who_reads_nothing_holds_only_himself():
    """What is queued for an echo waits for its peer, the others do not."""
    conf = handled.plugin(
        "echo", "path = /app", "send_bytes_max = 256K",
        more="[drain]\ntimeout = 8s\nretry_spread = 0s\n")
    with scene.Daemon(conf) as daemon:
        other = daemon.ws("news")
        client = handled.app(daemon, receive_bytes=4096)
        client.sock.settimeout(1)
        try:
            while True:  # till both windows are full, and the queue waits
                client.send_frame(scene.BINARY, bytes(65536))
        except TimeoutError:
            scene.check(handled.handler_metric(daemon, "queued") > 0,
                        "messages wait")
        began = time.monotonic()
        daemon.signal()
        scene.equal(other.read_closed()[0], 1001, "another is closed")
        scene.in_time(time.monotonic() - began, 6, "long before the end")
        daemon.wait_log("what is left is cut")
        daemon.wait_log("1 delivered, 1 cut, 0 lost")
        scene.equal(daemon.wait(), 3, "exit code")


LAST_WORDS = """
import fcntl, json, os, sys, time
begun, go, said = sys.argv[1:]
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "message":
        open(begun, "w").close()
        while not os.path.exists(go):
            time.sleep(0.002)
        fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 19)
        for n in range(100):
            print(json.dumps({"publish": {"channel": "words",
                                          "text": f"word {n:01500}"}}))
        sys.stdout.flush()
        open(said, "w").close()
        time.sleep(60)
    print(json.dumps({"done": event["seq"]}), flush=True)
"""


def scene_last_words_of_who_is_killed():
    """What stands in the pipe when time is up is published, and heard."""
    program, begun, go, said = (scene.TMP / name for name in (
        "last.py", "begun", "go_on", "said"))
    program.write_text(LAST_WORDS)
    conf = handled.conf(f"exec = {scene.PY} {program} {begun} {go} {said}",
                        "path = /app", more="[drain]\ntimeout = 700ms\n")
    real, scene.EARSHOTD = scene.EARSHOTD, str(
        scene.BUILD / "tests/lab/earshotd")
    try:
        daemon = scene.Daemon(conf, env={"EARSHOT_TEST_BLOCK_MS": "2500"})
    finally:
        scene.EARSHOTD = real
    with daemon:
        words = daemon.ws("words")
        handled.app(daemon).send_text("x")
        scene.wait_until(begun.exists, "it is called")
        daemon.signal()
        daemon.wait_log("INFO draining")
        daemon.signal(12)  # the net loop stands still; time is up meanwhile
        go.touch()
        scene.wait_until(said.exists, "they stand in the pipe")
        daemon.wait_log("what is left is cut")
        heard = []
        while len(heard) < 100:  # more than one read's worth
            heard.append(int(words.read_text().split()[1]))
        scene.equal(heard, list(range(100)), "heard")
        scene.equal(words.read_closed()[0], 1001, "then the close")
        scene.equal(daemon.wait(), 3, "exit code")


scene.play(globals())
