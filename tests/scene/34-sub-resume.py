#!/usr/bin/python3
# slow
# sanitizer: yes
"""earshot sub: connections break, servers go and refuse; nothing is lost or
doubled that the server still has, and what is gone is told."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import proxy
import scene
import scripted
from listener import Sub, sub

EPOCH = "0123456789abcdef"
OTHER = "fedcba9876543210"


def numbers(count):
    return "".join(f"{i}\n" for i in range(count))


def scene_cut_anywhere_nothing_is_lost():
    """The same epoch: through a proxy that cuts after so many bytes."""
    count = 2000
    with scene.Daemon("[channel **]\nhistory_messages = 10000\n") as daemon:
        for name in "a", "b":
            daemon.publish(name, numbers(count), arguments="?split=lines")
        runs = []
        # The answer to the upgrade has some 150 bytes, each ok a hundred.
        for first in (100, 160, 250, 333, 1000, 7777)[:6 // scene.SLOWNESS + 1]:
            way = proxy.Proxy(daemon.port, lambda n, first=first:
                              first * (n + 1) * (n + 1) if n < 5 else None)
            runs.append((way, Sub(way.url, "a", "b", "--from", "oldest",
                                  "--json", "-n", 2 * count)))
        for way, listener in runs:
            out, said = listener.end(seconds=3 * scene.DEADLINE_S)
            way.close()
            got = {"a": [], "b": []}
            for line in out.splitlines():
                message = json.loads(line)
                got[message["channel"]].append(
                    (message["offset"], message["text"]))
            wanted = [(i + 1, str(i)) for i in range(count)]
            scene.equal((got["a"] == wanted, got["b"] == wanted, said),
                        (True, True, ""),
                        f"{way.count} connections: all, in order, once")
            scene.check(way.count >= 4, "it was cut indeed")


def scene_cut_while_it_is_published():
    count = 20000
    with scene.Daemon("[channel **]\nhistory_messages = 100000\n") as daemon, \
            proxy.Proxy(daemon.port) as way:
        listener = Sub(way.url, "a", "-n", count)
        daemon.wait_metric("v1_commands_total", 1)
        for i in range(0, count, 500):
            daemon.publish("a", "".join(
                f"{n}\n" for n in range(i, i + 500)), arguments="?split=lines")
            if i % 8000 == 2000:  # and on, while it is away
                scene.wait_until(lambda: way.count == 1 + i // 8000,
                                 "it is back", 3 * scene.DEADLINE_S)
                way.cut()
        out, said = listener.end(seconds=3 * scene.DEADLINE_S)
        scene.check(out.decode() == numbers(count),
                    f"{count} live lines, {way.count} connections")
        scene.equal((said, way.count), ("", 4), "nothing to say")


def scene_a_server_that_is_gone_without_a_word():
    """Half open: no end ever comes.  One that only has nothing to say, and
    answers pings, is not taken for it."""
    conf = "[channel **]\nhistory_messages = 1000\n"
    with scene.Daemon(conf) as daemon, proxy.Proxy(daemon.port) as quiet, \
            proxy.Proxy(daemon.port) as way:
        patient = Sub(quiet.url, "quiet", "--silence", 3, "-n", 1)
        runs = [Sub(way.url, "a", "--silence", 3, "-n", 3, "-v", *more)
                for more in ((), ("--raw",))]
        daemon.wait_metric("channel_consumers", 1, channel="quiet")
        daemon.wait_metric("channel_consumers", 2, channel="a")
        daemon.publish("a", "one")
        scene.equal([run.line() for run in runs], [b"one\n"] * 2, "heard")
        started = time.monotonic()
        way.hush()
        daemon.publish("a", "two\nthree", arguments="?split=lines")
        for run in runs:
            out, said = run.end()
            scene.equal(out, b"two\nthree\n", "nothing is lost")
            scene.check("nothing heard for 3 s; again in" in said, "told")
        took = time.monotonic() - started
        scene.check(took > 1.9, "not before its time")
        scene.in_time(took, 6, "noticed and back")
        said = quiet.told
        scene.wait_until(lambda: quiet.told >= said + 2, "pongs, or an answer")
        scene.equal((quiet.count, way.count), (1, 4), "connections made")
        daemon.publish("quiet", "still here")
        scene.equal(patient.end()[0], b"still here\n", "the quiet one")


def scene_a_daemon_that_comes_back():
    port = scene.free_port()
    conf = f"[listener]\nlisten = 127.0.0.1:{port}\n"
    url = f"ws://localhost:{port}"  # which may be ::1 first
    with scene.Daemon(conf) as daemon:
        listener = Sub(url, "a", "quiet")
        daemon.wait_metric("v1_commands_total", 2)
        daemon.publish("a", "before")
        scene.equal(listener.line(), b"before\n", "before")
        old = daemon.ws("a").position
    with scene.Daemon(conf) as daemon:
        daemon.publish("a", "between")
        scene.equal(listener.line(), b"between\n", "of the new epoch")
        daemon.wait_metric("v1_commands_total", 2)
        daemon.publish("a", "after")
        scene.equal(listener.line(), b"after\n", "after")
        new = daemon.ws("a").position.partition(":")[0]
        listener.process.terminate()
        said = listener.end()[1].splitlines()
    scene.check(f"earshot: a: a new epoch: what came after {old} may be gone; "
                f"goes on after {new}:0" in said, "another epoch is told")
    scene.equal(len(said), 2, "once for each channel")


def scene_a_gap_is_told():
    conf = "[channel **]\nhistory_messages = 10\nbuffer_bytes = 64K\n"
    with scene.Daemon(conf) as daemon:
        daemon.publish("a", "first")
        position = daemon.ws("a").position
        body = ("y" * 999 + "\n") * 100
        for _ in range(30):
            daemon.publish("a", body, arguments="?split=lines")
        out, said = sub(daemon.url, "a", "--from", position, "--json", "-n", 1)
        offset = json.loads(out)["offset"]
        scene.check(offset > 2, f"goes on with {offset}")
        scene.equal(said, f"earshot: a: gap 2-{offset - 1}: {offset - 2} "
                    "messages are gone\n", "the gap")


def scene_gaps_and_notices():
    asked = []

    def script(peer):
        peer.upgrade_v1()
        number, channel, start = peer.read_subscribe()
        asked.append(start)
        if peer.number == 0:
            peer.send_ok(number, channel, f"{EPOCH}:4")
            peer.send_message("a", 5, "five")
            peer.send_object(gap={"channel": "a", "from": 6, "to": 90})
            peer.send_object(notice={"upstream": "x", "state": "reconnected"})
            peer.send_object(something={"of": "a later version"})
            peer.send_close(1013, "")
        elif peer.number == 1:
            peer.send_ok(number, channel, f"{EPOCH}:95", recovered=False)
            peer.send_object(gap={"channel": "a", "from": 91, "to": 95})
            peer.send_message("a", 96, "ninety-six")
            peer.send_close(1011, "")
        else:
            peer.send_ok(number, channel, f"{OTHER}:0", recovered=False)
            peer.send_message("a", 1, "one")
        peer.read_close()

    with scripted.Server(script) as server:
        out, said = sub(server.url, "a", "--from", f"{EPOCH}:4", "-n", 3)
    scene.equal(out, b"five\nninety-six\none\n", "what there was")
    scene.equal(said.splitlines(), [
        "earshot: a: gap 6-90: 85 messages are gone",
        "earshot: upstream x: reconnected",
        "earshot: a: gap 91-95: 5 messages are gone",
        f"earshot: a: a new epoch: what came after {EPOCH}:96 may be gone; "
        f"goes on after {OTHER}:0"], "and what there was not")
    scene.equal(asked, [f"{EPOCH}:4", f"{EPOCH}:90", f"{EPOCH}:96"],
                "what it asked for")


def scene_a_server_says_when_to_come_back():
    times = []

    def script(peer):
        times.append(time.monotonic())
        peer.upgrade_v1()
        peer.send_ok(*peer.read_subscribe()[:2], f"{EPOCH}:0")
        if peer.number == 0:
            peer.send_object(
                closing={"reason": "shutdown", "retry_after_ms": 700})
            peer.send_close(1001, "shutdown retry_after_ms=1")
        elif peer.number == 1:  # and one that has no time for a close
            peer.send_object(
                closing={"reason": "shutdown", "retry_after_ms": 600})
            return
        else:
            peer.send_message("a", 1, "again")
        peer.read_close()

    with scripted.Server(script) as server:
        out, said = sub(server.url, "a", "-n", 1)
    scene.equal((out, said), (b"again\n", ""), "it came")
    scene.check(times[1] - times[0] >= 0.7, "not before the time")
    scene.check(times[2] - times[1] >= 0.6, "nor without a close frame")


def scene_refusals_for_now():
    counts = {"a": 0, "b": 0}

    def script(peer):
        peer.upgrade_v1()
        sent = False
        while not sent or counts["a"] < 4:
            number, channel, _ = peer.read_subscribe()
            counts[channel] += 1
            code = {1: "too_many_channels", 2: "no_room",
                    3: "no_memory"}.get(counts[channel])
            if channel == "b":
                peer.send_ok(number, channel, f"{EPOCH}:0")
                peer.send_message("b", 1, "b meanwhile")
                sent = True
            elif code:
                peer.send_object(id=number, error={
                    "code": code, "message": "later"})
            else:
                peer.send_ok(number, channel, f"{EPOCH}:0")
        peer.send_message("a", 1, "a at last")
        peer.read_close()

    with scripted.Server(script) as server:
        out, said = sub(server.url, "a", "b", "-n", 2)
    scene.equal((out, said), (b"b meanwhile\na at last\n", ""),
                "asked again, on the same connection")
    scene.equal(counts, {"a": 4, "b": 1}, "as often as it was refused")
    conf = "[limits]\nchannels_max = 1\n"
    with scene.Daemon(conf) as daemon:
        daemon.publish("a", "x")
        scene.equal(sub(daemon.url, "b", "--retries", 1, code=1)[1],
                    "earshot: b: too_many_channels: subscribe: channels_max "
                    "is reached\n", "but not for ever")


def scene_refused_while_it_closes():
    def script(peer):
        peer.upgrade_v1()
        number, channel, _ = peer.read_subscribe()
        if peer.number == 0:
            peer.send_object(
                closing={"reason": "shutdown", "retry_after_ms": 0})
            peer.send_object(id=number, error={
                "code": "closing", "message": "the server is going down"})
            peer.send_close(1001, "")
        else:
            peer.send_ok(number, channel, f"{EPOCH}:0")
            peer.send_message("a", 1, "after all")
        peer.read_close()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", "-n", 1), (b"after all\n", ""),
                    "asked again on the next connection")


def scene_no_earshot_v1_at_all():
    closes = []

    def expect(words, said):
        def script(peer):
            peer.upgrade_v1()
            peer.send_ok(*peer.read_subscribe()[:2], f"{EPOCH}:0")
            peer.send_message("a", 1, "one")
            if isinstance(words, bytes):
                peer.send_frame(scene.BINARY, words)
            else:
                peer.send_text(words)
            closes.append(peer.read_close())

        with scripted.Server(script) as server:
            out, err = sub(server.url, "a", code=1)
            scene.equal((out, err), (b"one\n", f"earshot: {server.url}: not "
                                     f"earshot.v1: {said}\n"), said)

    hole = {"channel": "a", "offset": 3, "time": 1, "text": "three"}
    other = {"channel": "b", "offset": 1, "time": 1, "text": "three"}
    expect(json.dumps(hole), "a: message 3 came after 1")
    expect(json.dumps({**hole, "offset": 1}), "a: message 1 came after 1")
    expect(json.dumps(other), "b: heard without having subscribed")
    expect('{"gap":{"channel":"a","from":3,"to":4}}',
           "a: gap 3-4 came after 1")
    expect("hello", "a message that is none of its objects")
    expect('{"closing":5}', "a message that is none of its objects")
    expect(b"{}", "a binary message")
    scene.equal(set(closes), {1002}, "closed with 1002")


scene.play(globals())
