#!/usr/bin/python3
# sanitizer: yes
"""What users of callbacks beside a loop need, eight things, each for plugins
and for exec handlers.  scene_need_N_plugin and scene_need_N_exec show them
here; what shows them elsewhere is named behind.

1 a wait that could never end fails at once
    plugin  65-bad-plugins (deadlock=EDEADLK), unit test_oracle_bridge
    exec    62-exec scene_it_takes_too_long
2 what is pending when the loop ends is settled
    plugin  unit test_bridge what_is_pending_when_the_loop_ends_settles
    exec    60-filter scene_a_process_hears_of_its_publish_...
3 a loop that does not run yet, or no more, refuses; nothing is queued for ever
    plugin  unit test_bridge nothing_is_taken_before_... and _when_...
4 what is submitted wakes the loop
    plugin  61-plugin scene_10k_round_trips_with_one_worker
5 the name of a connection that has gone is never another's
    plugin  65-bad-plugins (stale=ENOTCONN)
    exec    62-exec scene_lines_that_are_no_commands
6 a callback that blocks stops no pings, no reading of others, no shutdown
    plugin  61-plugin scene_pings_while_..., scene_a_slow_callback_...,
            scene_a_blocking_open_...
    exec    62-exec scene_a_slow_process_delays_nobody_else
7 a close, from anywhere, twice, before the open is done, inside on_message:
  one close frame, one on_close
    plugin  61-plugin scene_closed_by_the_handler
    exec    62-exec scene_every_command
8 order is kept for each connection
    plugin  61-plugin scene_open_100_messages_close
    exec    64-killed-processes
"""
import json
import os
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

FAST = "backoff_min = 1ms", "backoff_max = 20ms"
EXEC_NEEDS = f"exec = {scene.PY} {handled.EXEC}/needs.py"
CONNS = 8
MESSAGES = 200 // scene.SLOWNESS
WAKES = 40 // scene.SLOWNESS


class Program:
    """A section whose processes are needs.py, and what they were told."""

    def __init__(self, how, *lines, name="it", more=""):
        self.file = tempfile.NamedTemporaryFile(dir=scene.TMP)
        self.conf = handled.conf(
            f"{EXEC_NEEDS} {self.file.name} {how}", *FAST, *lines, name=name,
            more=more)

    def events(self):
        with open(self.file.name, encoding="utf-8") as told:
            return [json.loads(l) for l in told if l.endswith("\n")]

    def replies(self):
        return {e["reply"]: e for e in self.events() if "reply" in e}

    def wait(self, predicate, what):
        return scene.wait_until(lambda: [
            e for e in self.events() if predicate(e)], what)


def plugin(*lines, more=""):
    return handled.plugin("needs", "path = /app", *lines, more=more)


def history(daemon, channel="needs"):
    return [m["text"] for m in scene.json_of(daemon.http(
        "GET", f"/channels/{channel}/messages?limit=1000"))["messages"]]


# 1

def scene_need_1_plugin():
    """A drop function is the one thing of a plugin that the loop runs."""
    with scene.Daemon(plugin()) as daemon:
        client = handled.app(daemon)
        client.send_text("loop")
        told = daemon.wait_log(r"dropped on (\w+): (-?\d+)")
        scene.equal((told[1], told[2]), ("net", "-35"), "EDEADLK on the loop")
        client.close()


def scene_need_1_exec():
    """Waiting for the reply inside an event is no wait for itself, not even
    for what its own filter is bound to."""
    program = Program("ask", "path = /app", "consume = jobs",
                      "filter = asked", "filter = judged",
                      "callback_timeout = 5s")
    with scene.Daemon(program.conf) as daemon:
        client = handled.app(daemon)
        client.send_text("name")
        scene.check("." in client.read_text(), "inside open and message")
        daemon.publish("jobs", "x")
        daemon.publish("judged", "x")
        client.send_close()
        client.read_closed()
        scene.wait_until(lambda: len(program.replies()) == 5, "all replies")
        scene.equal(sorted(history(daemon, "asked")),
                    ["close", "message", "message", "open", "publish"],
                    "inside each kind of event")
    program = Program("", "path = /app", "callback_timeout = 1s")
    with scene.Daemon(program.conf) as daemon:
        client = handled.app(daemon)
        client.send_text("wait for the next")
        client.send_text("the next")
        program.wait(lambda e: "lost" in e, "an end after callback_timeout")
        program.wait(lambda e: e.get("text") == "the next", "the next event")
        scene.equal([e["text"] for e in program.events() if "text" in e],
                    ["wait for the next", "the next"], "each came once")
        client.close()


# 2

def scene_need_2_plugin():
    with scene.Daemon(plugin()) as daemon:
        client = handled.app(daemon)
        client.send_text("forever")
        daemon.wait_log("waits forever")
        client.close()
        began = time.monotonic()
        scene.equal(daemon.stop(), 0, "exit code")
        scene.in_time(time.monotonic() - began, 3, "a thread of its own waits "
                      "for a function in an hour, and end() joins it")
        scene.check("waited: -125" in daemon.log(), "ECANCELED")
    with scene.Daemon(plugin()) as daemon:
        client = handled.app(daemon)
        client.send_text("forever")
        daemon.wait_log("waits forever")
        daemon.conf.write_text(daemon.conf.read_text().replace(
            "/app", "/other"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("retires, its connections stay")
        client.close()
        daemon.wait_log("waited: -125")
        daemon.wait_log("the former handler has ended")
        scene.check(True, "after a reload, when its last connection has gone")


def scene_need_2_exec():
    """A reload ends the processes while a filter has what they published."""
    go = scene.TMP / "go"
    asker = Program("", "path = /app", name="asker")
    judge = Program("", "filter = slow", "path = /judge", name="judge")
    with scene.Daemon(asker.conf + judge.conf) as daemon:
        stuck = handled.app(daemon, "/judge")
        stuck.send_text(f"until {go}")
        judge.wait(lambda e: e.get("text", "").startswith("until"), "it waits")
        client = handled.app(daemon)
        client.send_text("ask slow a word")
        handled.wait_metric(daemon, "publishes_total", 1, "judge")
        client.send_close()
        client.read_closed()
        daemon.conf.write_text(daemon.conf.read_text().replace(
            asker.conf, asker.conf.replace("/app", "/other")))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("retires, its connections stay handler=asker")
        scene.wait_until(lambda: len(handled.children(daemon)) == 3,
                         "the new one's process")
        scene.equal(asker.replies(), {}, "no reply yet")
        go.touch()
        scene.wait_until(lambda: 1000 in asker.replies(), "the reply")
        daemon.wait_log("the former handler has ended handler=asker")
        scene.check("SIGTERM" not in daemon.log(), "before its stdin ended")
        stuck.close()


# 3

def scene_need_3_plugin():
    with scene.Daemon(plugin()) as daemon:
        daemon.wait_log("begin: 0")
        scene.equal(history(daemon), ["begin"],
                    "inside earshot_plugin() the loop is there")
        scene.equal(daemon.stop(), 0, "exit code")
        scene.check("end: 0 -108" in daemon.log(), "inside end() it still "
                    "is, and a function in an hour is refused: ESHUTDOWN")


def scene_need_3_exec():
    program = Program("begin late", "path = /app")
    other = Program("", "consume = needs", name="other")
    with scene.Daemon(program.conf + other.conf) as daemon:
        scene.wait_until(lambda: 1 in program.replies(),
                         "a reply before there is any event")
        other.wait(lambda e: e.get("text") == "begin", "published")
        began = time.monotonic()
        scene.equal(daemon.stop(), 0, "exit code")
        scene.in_time(time.monotonic() - began, 2, "from SIGTERM to the exit")
        scene.equal(daemon.log_count(
            "not published, the daemon ends: .*late.* handler=it"), 2,
            "publishes after the end of its stdin: told")
        scene.equal(daemon.log_count(
            "a command for a connection that has gone: .*late"), 1, "a send")
        scene.equal([e for e in other.events() if "late" in e.get("text", "")],
                    [], "not given to a handler that has ended, either")


def scene_need_3_exec_in_a_drain():
    go = scene.TMP / "go-drain"
    program = Program("", "path = /app")
    with scene.Daemon(program.conf) as daemon:
        ears = daemon.ws("last")
        client = handled.app(daemon)
        client.send_text(f"until {go}")
        client.send_text("ask last a word")
        handled.wait_metric(daemon, "queued", 2)
        daemon.signal()
        daemon.wait_log("INFO draining")
        go.touch()
        scene.equal(ears.read_text(), "a word", "what it publishes is heard")
        for each in (ears, client):
            scene.equal(each.read_closed()[0], 1001, "then the close")
        scene.equal(daemon.wait(), 0, "exit code")
        scene.check("ok" in program.replies()[1000], "it had its reply")


def scene_need_3_exec_in_a_reload():
    """The daemon goes on: so a publish is done, if nobody is told where."""
    program = Program("late", "path = /app")
    with scene.Daemon(program.conf) as daemon:
        ears = daemon.ws("needs")
        daemon.conf.write_text(daemon.conf.read_text().replace(
            "/app", "/other"))
        before = handled.handler_metric(daemon, "bad_lines_total")
        daemon.signal(signal.SIGHUP)
        scene.equal([ears.read_text() for _ in range(2)],
                    ["late, for a reply", "late"], "both are heard")
        daemon.wait_log("the former handler has ended")
        daemon.wait_log("no reply, its stdin has ended: .*late, for a reply")
        scene.equal(handled.handler_metric(daemon, "bad_lines_total") - before,
                    2, "what wanted a reply, and the send: counted")
        ears.close()


def scene_need_3_exec_many_replies():
    """More than a pipe holds, read when the daemon has said that it ends."""
    program = Program("many", "path = /app")
    with scene.Daemon(program.conf) as daemon:
        daemon.wait_metric('channel_messages_total{channel="needs"}', 3000)
        daemon.signal()
        daemon.wait_log("draining")
        open(program.file.name + ".read", "w").close()
        scene.equal(daemon.wait(), 0, "exit code")
        scene.equal(sorted(program.replies()), list(range(3000)),
                    "every reply, then the end of its stdin")


def scene_need_3_exec_in_the_last_moment():
    """A plugin's thread publishes on, when the processes have to end."""
    for binding in ("consume = needs", "filter = needs"):
        path = scene.TMP / f"last-{binding[0]}"
        for number in range(3000):
            touch(f"{path}.{number}")
        program = Program("", binding, name="ending")
        with scene.Daemon(plugin(more=program.conf)) as daemon:
            client = handled.app(daemon)
            client.send_text(f"publish {path}")
            handled.wait_metric(daemon, "events_total", 5, "ending")
            client.close()
            began = time.monotonic()
            scene.equal(daemon.stop(), 0, f"{binding}: exit code")
            scene.in_time(time.monotonic() - began, 1, "until the exit")


# 4

def wakes(daemon):
    """Nothing else happens: only what is submitted can wake the loop."""
    ears = daemon.ws("needs")
    path = scene.TMP / f"wake-{daemon.pid}"
    client = handled.app(daemon)
    client.send_text(f"publish {path}")
    began = time.monotonic()
    for number in range(WAKES):
        touch(f"{path}.{number}")
        if ears.read_text() != "awake":
            raise scene.Failure("something else")
    # One that is forgotten is found by the next tick, after half a second.
    took = time.monotonic() - began
    scene.check(took < 0.2 * WAKES * scene.SLOWNESS,
                f"{WAKES} publishes of a thread, {took:.2f} s")
    client.close()
    ears.close()


def touch(path):
    with open(path, "w", encoding="ascii"):
        pass


def scene_need_4_plugin():
    with scene.Daemon(plugin()) as daemon:
        wakes(daemon)


def scene_need_4_exec():
    with scene.Daemon(Program("", "path = /app").conf) as daemon:
        wakes(daemon)


# 5

def stale(daemon, wanted):
    """Another connection has the slot that the name says."""
    def name_of(client):
        client.send_text("name")
        return client.read_text()
    first = handled.app(daemon)
    old = name_of(first)
    first.send_text("remember")
    first.send_close()
    first.read_closed()
    for _ in range(50):
        other = handled.app(daemon)
        name = name_of(other)
        if name.split(".")[0] == old.split(".")[0]:
            break
        other.close()
    scene.equal(name.split(".")[0], old.split(".")[0], "the same slot")
    scene.check(name != old, f"{name} is where {old} was")
    asker = handled.app(daemon)
    asker.send_text("stale")
    scene.equal(asker.read_text(), wanted, "refused")
    scene.equal(name_of(other), name, "the other one hears and feels "
                "nothing of it")
    other.close()
    asker.close()


FEW = "[limits]\nconnections_max = 6\n"  # so that slots come again


def scene_need_5_plugin():
    with scene.Daemon(plugin(more=FEW)) as daemon:
        stale(daemon, "-107 -107 -107 -107")


def scene_need_5_exec():
    with scene.Daemon(Program("", "path = /app", more=FEW).conf) as daemon:
        stale(daemon, "ENOTCONN " * 3 + "ENOTCONN")


# 6

def scene_need_6_plugin():
    blocks(handled.plugin("record", "path = /app",
                          "option.message_ms = 30000"), "anything")


def scene_need_6_exec():
    blocks(Program("", "path = /app").conf, "until /no/such/file")


def blocks(conf, word):
    if scene.MODE == "valgrind":
        raise scene.Skip("a thread that is left behind is a leak")
    conf += ("[limits]\nping_interval = 100ms\npong_timeout = 1s\n"
             "[drain]\ntimeout = 500ms\nretry_spread = 0s\n")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        client.send_text(word)
        handled.wait_metric(daemon, "busy", 1)
        client.send_frame(scene.PING, b"a")
        while len(client.pings) < 2 or not client.pongs:
            got = client.read_frame()
            if got.opcode == scene.PING:
                client.send_frame(scene.PONG, got.payload)
                client.pings.append(got.payload)
            else:
                client.pongs.append(got.payload)
        scene.equal(client.pongs, [b"a"], "its ping is answered, and two of "
                    "ours by it")
        ears = daemon.ws("ticks")
        for _ in range(20):
            daemon.publish("ticks", "tick")
            ears.read_text()
        scene.equal(handled.handler_metric(daemon, "busy"), 1,
                    "others are read while it blocks")
        ears.close()
        began = time.monotonic()
        daemon.signal()
        scene.equal(daemon.wait(), 3, "exit code")
        scene.in_time(time.monotonic() - began, 5,
                      "SIGTERM, and the drain's half second")


# 7

def one_close(client, what):
    """Frames until the end of the connection."""
    closes = []
    while (frame := client.read_frame()) is not None:
        if frame.opcode == scene.CLOSE:
            closes.append(frame.payload)
            client.send_frame(scene.CLOSE, frame.payload)
    scene.equal(closes, [(4001).to_bytes(2, "big") + b"first"],
                f"{what}: one close frame, the first")


def closes(daemon, told):
    for number, what in enumerate(("in the open", "close",
                                   "close in a thread"), 1):
        client = handled.app(daemon, "/app?close" if number == 1 else "/app")
        if number > 1:
            client.send_text(what)
        one_close(client, what)
        scene.wait_until(lambda: len(told()) == number, "on_close")
        scene.equal(told()[-1], (4001, "first"), "on_close once, with it")


def scene_need_7_plugin():
    def told():
        return [(int(code), reason) for code, reason in
                daemon_log_closes(daemon)]
    with scene.Daemon(plugin()) as daemon:
        closes(daemon, told)
    scene.equal(len(told()), 3, "and never again")


def daemon_log_closes(daemon):
    return [line.split("close ")[1].split(" handler=")[0].split(" ", 1)
            for line in daemon.log().splitlines() if "INFO close " in line]


def scene_need_7_exec():
    program = Program("", "path = /app")

    def told():
        return [(e["code"], e["reason"]) for e in program.events()
                if e["event"] == "close"]
    with scene.Daemon(program.conf) as daemon:
        closes(daemon, told)
        scene.equal(handled.handler_metric(daemon, "restarts_total"), 0,
                    "no process died")
    scene.equal(len(told()), 3, "and never again")


# 8

def talk(daemon):
    clients = [handled.app(daemon, f"/app?{n}") for n in range(CONNS)]
    for n in range(MESSAGES):
        for number, client in enumerate(clients):
            client.send_text(f"{number} {n}")
    handled.wait_metric(daemon, "events_total", CONNS * (MESSAGES + 1))
    for client in clients:
        client.close()


def in_order(texts):
    seen = {}
    for text in texts:
        number, n = text.split()
        seen.setdefault(number, []).append(int(n))
    scene.equal(seen, {str(number): list(range(MESSAGES))
                       for number in range(CONNS)},
                f"{CONNS} connections, {MESSAGES} messages each, in order")


def scene_need_8_plugin():
    conf = handled.plugin("record", more="[channel events]\n"
                          "history_messages = 100000\n")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        talk(daemon)
        texts = []
        while len(texts) < CONNS * MESSAGES:
            what, _, more = events.next().partition(" ")
            if what == "message":
                texts.append(more)
        in_order(texts)


def scene_need_8_exec():
    program = Program("", "path = /app", "workers = 3")
    with scene.Daemon(program.conf) as daemon:
        talk(daemon)
        in_order(e["text"] for e in program.events() if "text" in e)


scene.play(globals())
