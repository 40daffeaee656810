#!/usr/bin/python3
# sanitizer: yes
"""Plugins: callbacks in order, and every function of the host.

Rows 72, 73, 78 and 80 of the texts, the eight tests that users of such
systems ask for, and the examples of tests/plugins.
"""
import os
import re
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

ROUNDS = 10000 // scene.SLOWNESS ** 2


def scene_open_100_messages_close():
    conf = handled.plugin("record")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        client = handled.app(daemon, "/app?a=1&b=2",
                             headers={"X-Test": "here"})
        for n in range(100):
            client.send_text(f"m{n}")
        client.send_close(4321, "enough")
        client.read_closed()
        events.take("open /app", "header here", "query a=1&b=2",
                    *(f"message m{n}" for n in range(100)),
                    "close 4321 enough", "dropped")
        scene.check(True, "open, 100 messages, close: in that order, once")
        client = handled.app(daemon)
        events.take("open /app")
        client.close()
        events.take("close 1006", "dropped")
        scene.check(True, "a connection that breaks: close 1006")


def scene_an_error_in_a_callback():
    with scene.Daemon(handled.plugin("record")) as daemon:
        events = handled.Events(daemon)
        client = handled.app(daemon)
        for text in ("fail", "user"):
            client.send_text(text)
        scene.equal(client.read_text(), "2", "it lives, its data is its own")
        events.take("open /app", "message fail", "error -5 on_message failed",
                    "message user")
        handled.wait_metric(daemon, "failed_total", 1)
        scene.equal(handled.handler_metric(daemon, "failed_total"), 1,
                    "failed callbacks, counted")
        client.close()


def scene_closed_by_the_handler():
    with scene.Daemon(handled.plugin("record")) as daemon:
        events = handled.Events(daemon)
        client = handled.app(daemon)
        client.send_text("close 4000 good bye")
        scene.equal(client.read_closed(), (4000, "good bye"),
                    "one close, the first")
        events.take("open /app", "message close 4000 good bye",
                    "close 4000 good bye", "dropped")
        for code in (999, 1005, 1006, 2000, 5000):
            client = handled.app(daemon)
            client.send_text(f"close {code} x")
            scene.equal(client.read_closed()[0], 1000,
                        f"code {code} is not taken, the next close is")
            events.take("open /app", f"message close {code} x", "refused x",
                        "close 1000 a second time", "dropped")


def scene_refused():
    conf = handled.plugin("record", "path = /app", "option.refuse = 4401",
                          "option.open_ms = 100")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        client = handled.app(daemon)
        client.send_text("never heard")
        scene.equal(client.read_closed(), (4401, "refused"), "the close")
        events.take("open /app", "close 4401 refused", "dropped")
        scene.equal(handled.handler_metric(daemon, "refused_total"), 1,
                    "refused, counted")


def scene_what_the_daemon_answers_itself():
    with scene.Daemon(handled.plugin("record")) as daemon:
        scene.equal(daemon.http("GET", "/app").status, 426, "GET /app")
        scene.equal(daemon.http("GET", "/app/x").status, 404, "GET /app/x")
        got = scene.WebSocket(daemon.port, "/app/x")
        scene.equal(got.status, 404, "upgrade of /app/x")
        got = scene.WebSocket(daemon.port, "/app", headers={
            "Sec-WebSocket-Protocol": "earshot.v1"})
        scene.equal(got.status, 400, "a subprotocol on /app")
        got = scene.WebSocket(daemon.port, "/app",
                              headers={"Origin": "http://elsewhere"})
        scene.equal(got.status, 403, "another origin")


def scene_10k_round_trips_with_one_worker():
    conf = handled.plugin("echo", "path = /app", "option.wait = yes",
                          more="[limits]\nwork_threads = 1")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        began = time.monotonic()
        for n in range(ROUNDS):
            client.send_text(str(n))
            if client.read_text() != str(n):
                raise scene.Failure(f"echo {n}")
        took = time.monotonic() - began
        scene.check(True, f"{ROUNDS} round trips that wait for the socket, "
                    f"one worker: {took:.1f} s")
        client.close()


def scene_large_and_binary_messages():
    with scene.Daemon(handled.plugin("echo")) as daemon:
        client = handled.app(daemon)
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
            data = os.urandom(size)
            client.send_frame(scene.BINARY, data)
            if client.read_message() != (scene.BINARY, data):
                raise scene.Failure(f"echo of {size} bytes")
        scene.check(True, "0 bytes to 1 MiB come back as they were")
        client.send_close()
        client.read_closed()


def scene_a_slow_callback_delays_nobody_else():
    """Row 78: its sender is held back by TCP, nothing is dropped."""
    go = scene.TMP / "go-slow"
    conf = handled.plugin(
        "record", "path = /slow", "queue_messages = 8",
        f"option.message_until = {go}", more=handled.conf(
            f"plugin = {handled.PLUGINS}/echo.so", "path = /fast",
            name="fast"))
    count = 60
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        slow = handled.app(daemon, "/slow")
        fast = handled.app(daemon, "/fast")
        payload = "x" * 400
        for n in range(count):
            slow.send_text(f"{n} {payload}")
        for n in range(100):
            fast.send_text("hi")
            fast.read_text()
        handled.wait_metric(daemon, "pauses_total", 1)
        # The open may be counted with the first message, when that is done.
        scene.check(handled.handler_metric(daemon, "events_total") <= 1,
                    "the other handler answers while the first message is at "
                    "work, and its connection is not read")
        go.touch()
        events.take("open /slow")
        for n in range(count):
            got = events.next()
            if not got.startswith(f"message {n} x"):
                raise scene.Failure(f"message {n}: {got[:40]}")
        scene.check(True, f"{count} callbacks, one after the other")
        slow.send_frame(scene.PING, b"are you there")
        scene.equal(slow.read_frame().payload, b"are you there",
                    "a ping is answered")
        slow.send_close()
        slow.read_closed()
        events.take("close 1000", "dropped")
        fast.close()


def scene_pings_while_a_callback_blocks():
    go = scene.TMP / "go-pings"
    conf = handled.plugin("record", "path = /app",
                          f"option.message_until = {go}")
    limits = "[limits]\nping_interval = 100ms\npong_timeout = 1s"
    with scene.Daemon(conf + limits) as daemon:
        client = handled.app(daemon)
        client.send_text("block")
        client.send_frame(scene.PING, b"a")
        while len(client.pings) < 2 or not client.pongs:
            got = client.read_frame()
            if got.opcode == scene.PING:
                client.send_frame(scene.PONG, got.payload)
                client.pings.append(got.payload)
            else:
                client.pongs.append(got.payload)
        scene.equal(client.pongs, [b"a"], "its own ping is answered")
        scene.equal(handled.handler_metric(daemon, "busy"), 1,
                    "and two of ours by it, while the callback blocks")
        go.touch()
        client.close()


def scene_a_blocking_open_delays_nobody_else():
    """Row 80."""
    go = scene.TMP / "go-open"
    conf = handled.plugin("record", "path = /slow",
                          f"option.open_until = {go}", more=handled.conf(
                              f"plugin = {handled.PLUGINS}/echo.so",
                              "path = /fast", name="fast"))
    with scene.Daemon(conf) as daemon:
        slow = handled.app(daemon, "/slow")
        scene.check(True, "the upgrade is answered")
        slow.send_text("after it")
        fast = handled.app(daemon, "/fast")
        ears = daemon.ws("ticks")
        for n in range(50):
            fast.send_text("hi")
            fast.read_text()
            daemon.publish("ticks", "tick")
            ears.read_text()
        scene.equal(handled.handler_metric(daemon, "events_total"), 0,
                    "and others are, while on_open blocks")
        go.touch()
        events = handled.Events(daemon)
        events.take("open /slow", "message after it")
        for client in (slow, fast, ears):
            client.close()


def scene_longer_than_callback_timeout():
    """It cannot be ended: told, counted, and seen until it ends."""
    go = scene.TMP / "go-late"
    conf = handled.plugin("record", "path = /app", "callback_timeout = 500ms",
                          f"option.message_until = {go}")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        client.send_text("block")
        told = daemon.wait_log("callback runs for longer than callback_timeout"
                               r" handler=it conn=\d+\.\d+")
        scene.equal([handled.handler_metric(daemon, n) for n in (
            "late_total", "stuck")], [1, 1], told[0])
        go.touch()
        handled.wait_metric(daemon, "events_total", 2)
        scene.equal([handled.handler_metric(daemon, n) for n in (
            "late_total", "stuck")], [1, 0], "when it has ended")
        client.send_text("user")
        scene.equal(client.read_text(), "2", "its connection lives")
        client.close()


def scene_two_at_once_of_which_one_blocks():
    """They become ready in one iteration, and go to workers together."""
    go = scene.TMP / "go-round"
    conf = handled.plugin("record", "consume = jobs",
                          f"option.message_until = {go}") + handled.conf(
        f"plugin = {handled.PLUGINS}/record.so", "consume = jobs",
        name="other")
    with scene.Daemon(conf) as daemon:
        daemon.publish("jobs", "one")
        handled.wait_metric(daemon, "events_total", 1, "other")
        scene.equal([handled.handler_metric(daemon, n) for n in (
            "events_total", "busy")], [0, 1], "one is done, one blocks")
        go.touch()
        handled.wait_metric(daemon, "events_total", 1)


def scene_200_requests_to_4_workers():
    """Row 50: four at a time, and a stream goes on beside them."""
    go = scene.TMP / "go-requests"
    conf = handled.plugin("record", "path = /app",
                          f"option.message_until = {go}")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        ears = daemon.ws("ticks")
        clients = [handled.app(daemon) for _ in range(40)]
        for _ in clients:
            events.take("open /app")
        for client in clients:
            for n in range(5):
                client.send_text(str(n))
        events.take(*["message 0"] * 4)
        for n in range(100):
            daemon.publish("ticks", "tick")
            ears.read_text()
        scene.equal(daemon.metric('channel_messages_total{channel="events"}'),
                    44, "4 workers have 4 messages, 100 others are heard")
        go.touch()
        handled.wait_metric(daemon, "events_total", 240)
        scene.check(True, "all 200 are handled")
        for client in clients + [ears]:
            client.close()


def scene_bound_by_channel():
    conf = handled.plugin("record", "channel = chat.*")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        client = daemon.ws("chat.one")
        scene.check(client.position.endswith(":0"), "a raw consumer as ever")
        daemon.publish("chat.one", "heard")
        scene.equal(client.read_text(), "heard", "it hears its channel")
        client.send_text("to the handler")
        events.take("open /ws/chat.one", "channel chat.one",
                    "message to the handler")
        other = daemon.ws("other")
        other.send_text("published")
        scene.equal(other.read_text(), "published",
                    "a channel that is not bound: published")
        daemon.publish("chat.one", "again")
        scene.equal(client.read_text(), "again",
                    "what went to the handler was not published")
        client.close()
        events.take("close 1006", "dropped")


def scene_a_chat_room():
    with scene.Daemon(handled.plugin("room")) as daemon:
        refused = handled.app(daemon)
        scene.equal(refused.read_closed()[0], 4403, "without a name")
        people = [handled.app(daemon, f"/app?name={name}")
                  for name in ("ann", "bob", "eve")]
        said = []
        for n in range(9):
            people[n % 3].send_text(f"line {n}")
            for client in people:
                said.append(client.read_text())
        scene.equal(said[::3], [f"{('ann', 'bob', 'eve')[n % 3]}: line {n}"
                                for n in range(9)], "all hear what one says")
        late = handled.app(daemon, "/app?name=late")
        scene.equal([late.read_text() for _ in range(9)], said[::3],
                    "who comes later hears what was said")
        for client in people + [late]:
            client.send_close()
            client.read_closed()


def scene_a_database():
    file = scene.TMP / "facts.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE facts (name, value)")
        database.executemany("INSERT INTO facts VALUES (?, ?)", [
            (f"n{n}", f"value {n}") for n in range(1000)])
    conf = handled.plugin("lookup", "path = /app", f"option.file = {file}")
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(5)]
        for n in range(0, 500, 5):
            for i, client in enumerate(clients):
                client.send_text(f"n{n + i}")
        for i, client in enumerate(clients):
            for n in range(0, 500, 5):
                if client.read_text() != f"value {n + i}":
                    raise scene.Failure(f"n{n + i}")
            client.send_text("nobody")
            scene.equal(client.read_text(), "unknown", "100 found, one not")
            client.close()


def scene_a_background_job():
    """Row 79: POST is answered at once, the result comes later."""
    go = scene.TMP / "go-job"
    conf = handled.plugin("job", "consume = jobs", f"option.until = {go}")
    with scene.Daemon(conf) as daemon:
        ears = daemon.ws("results")
        daemon.publish("jobs", "one")
        handled.wait_metric(daemon, "events_total", 1)
        scene.check(True, "answered while the job is at work")
        go.touch()
        scene.equal(ears.read_text(), "done: one", "the result")
        go.unlink()
        daemon.publish("jobs", "two")
        handled.wait_metric(daemon, "events_total", 2)
        daemon.signal()
        daemon.wait_log("INFO draining")
        go.touch()
        scene.equal(ears.read_text(), "done: two",
                    "SIGTERM in between: it ends, and is heard")
        scene.equal(ears.read_closed()[0], 1001, "then the close")
        scene.equal(daemon.wait(), 0, "exit code")


def scene_what_info_history_and_subscribe_bring():
    conf = handled.plugin("needs", more="[channel past]\n"
                          "history_messages = 4\nbuffer_bytes = 64K\n"
                          "[limits]\nmessage_bytes_max = 2M\n")
    with scene.Daemon(conf) as daemon:
        for text in ("one", "two", "three"):
            daemon.publish("past", text)
        daemon.publish("past", '{"n":4}', "application/json")
        at = daemon.publish("past", "five")["position"]
        epoch = at.split(":")[0]
        client = handled.app(daemon, "/app?a=1")

        def ask(words):
            client.send_text(words)
            return client.read_text()
        peer = "%s:%d" % client.sock.getsockname()

        def info():  # the open may be counted with this message
            return re.sub(" [12] /", " 1 /", ask("info"))
        scene.equal(info(), f"0 0 0 1 /app a=1 {peer}", "info")
        scene.equal(ask("history oldest"),
                    "2-5 all 0:two@2 0:three@3 1:{\"n\":4}@4",
                    "history: the first three of four")
        scene.equal(ask("history -2"), "2-5 all 1:{\"n\":4}@4 0:five@5",
                    "the last two")
        scene.equal(ask(f"history {epoch}:3"),
                    "2-5 all 1:{\"n\":4}@4 0:five@5", "behind a position")
        scene.equal(ask(f"history {'0' * 15}1:3").split(" 0:")[0], "2-5 gap",
                    "behind another epoch's")
        scene.equal(ask(f"subscribe {epoch}:4"), "five",
                    "subscribe: what follows a position")
        scene.equal(client.read_text(), f"{epoch}:4 all 0-0", "which it tells")
        scene.equal(info(), f"1 0 0 1 /app a=1 {peer}", "info again")
        client.send_text("unsubscribe")
        client.send_text(f"subscribe {'0' * 15}1:3")
        got = [client.read_text() for _ in range(5)]
        scene.equal([t for t in got if " gap " in t and epoch in t][0],
                    f"{epoch}:1 gap 0-0", "behind another epoch's")
        client.send_text("unsubscribe")
        for letter in "abc":
            daemon.publish("past", letter * 1900000)
        scene.equal(ask("history -3").split()[2:], ["0:aaaaaaaa@6",
                    "0:bbbbbbbb@7"], "and no more than 4 MiB")
        client.send_text("closing")
        scene.equal(client.read_closed(), (4001, "first"), "closed")
        daemon.wait_log("INFO closing handler=it")


def scene_a_function_when_it_is_time():
    with scene.Daemon(handled.plugin("needs")) as daemon:
        client = handled.app(daemon)
        for number in (1, 2):
            client.send_text("later")
            told = daemon.wait_log(r"later: (-?\d+), ran (\d+), after (\d+)",
                                   count=number)
            scene.equal((told[1], told[2]), ("0", str(number)), "it runs once")
            scene.check(int(told[3]) >= 50, f"after {told[3]} ms, not before")
        client.close()


def scene_consumed_in_order_and_with_a_gap():
    conf = handled.plugin(
        "record", "consume = in.*", "queue_messages = 4",
        "option.message_ms = 1", more="[channel in.*]\nhistory_messages = 5\n"
        "buffer_bytes = 64K\n[channel events]\nhistory_messages = 100000\n"
        "history_bytes = 64M")
    with scene.Daemon(conf) as daemon:
        events = handled.Events(daemon)
        lines = "\n".join(f"m{n}" for n in range(300))
        daemon.publish("in.a", lines, arguments="?split=lines")
        for n in range(300):
            events.take("consumed in.a", f"message m{n}")
        scene.check(True, "300 messages, in order, once")
        big = "\n".join(f"{n} " + "y" * 2000 for n in range(500))
        daemon.publish("in.a", big, arguments="?split=lines")
        seen, lost = [], 0
        while not seen or seen[-1] < 499:
            what, _, more = events.next().partition(" ")
            if what == "error":
                gap = re.match(r"-32 gap [0-9a-f]{16}:(\d+)-(\d+)$", more)
                lost += int(gap[2]) - int(gap[1]) + 1
            elif what == "message":
                seen.append(int(more.split()[0]))
        scene.equal(len(seen) + lost, 500, "what was overtaken is told as a "
                    f"gap: {lost} messages")
        scene.check(seen == sorted(set(seen)), "the rest in order")


scene.play(globals())
