#!/usr/bin/python3
# slow
# sanitizer: yes
# limit: 180
"""[handler] upstream = NAME: plugins and programs that get what an upstream
says; they answer, transform, route, drop, and hold it back.

EARSHOT_KILLS is how often a process is killed (10), FLAPS how often the peer
goes away (10).
"""
import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import handled
import scene
import upstreams

QUICK = "backoff_min = 2ms\nbackoff_max = 20ms\n"
KILLS = int(os.environ.get("EARSHOT_KILLS", "10"))
FLAPS = int(os.environ.get("FLAPS", "10"))
LONG = "[channel **]\nhistory_messages = 100000\nhistory_bytes = 64M\n"


def upstream(server, more="", name="u"):
    return f"[upstream {name}]\nurl = {server.url()}\nchannel = shouted\n" \
        f"{QUICK}{more}\n"


def plugin(*lines, more=""):
    return handled.plugin("upstream", "upstream = u", *lines, more=more)


def program(*lines, arguments="", more=""):
    return handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/upstream.py {arguments}",
        "upstream = u", "backoff_min = 1ms", "backoff_max = 5ms", *lines,
        more=more)


def both(server, more="", lines=()):
    """The same by a plugin and by a program, with a first message."""
    rest = upstream(server, more) + LONG
    yield "plugin", plugin("option.open = hello", *lines, more=rest)
    yield "program", program(*lines, arguments="open=hello", more=rest)


def events(daemon):
    return daemon.ws("events", "?from=oldest")


def take(consumer, *wanted):
    scene.equal([consumer.read_text() for _ in wanted], list(wanted),
                ", ".join(wanted))


def url(server):
    return f"peer {server.url()}"


def scene_answer_transform_route_drop():
    heard = []

    async def serve(sock, _path):
        heard.append(await sock.recv())
        await sock.send("one")
        await sock.send("drop this")
        await sock.send("answer a question")
        await sock.send("to side.way over there")
        await sock.send(b"\xff\x00")
        await sock.send("zwö" + "x" * 200000)
        await sock.send("three")
        async for message in sock:
            heard.append(message)
    with upstreams.Server(serve) as server:
        for kind, conf in both(server):
            heard.clear()
            with scene.Daemon(conf) as daemon:
                ears = daemon.ws("shouted", "?from=oldest")
                side = daemon.ws("side.way", "?from=oldest")
                got = [ears.read_message()[1] for _ in range(4)]
                scene.equal(got[:2], [b"ONE", b"\xff\x00"], f"{kind}: changed")
                scene.equal(got[2].lower()[-200000:], b"x" * 200000, "long")
                scene.equal(got[3], b"THREE", "nothing else, in order")
                scene.equal(side.read_text(), "over there", "another channel")
                scene.wait_until(lambda: len(heard) == 2, "the answer")
                scene.equal(heard, ["hello", "a question"],
                            "the peer: on_open's word, the answer")
                scene.equal(daemon.metric("feed_messages_total", feed="u"),
                            7, "messages of the feed")
                scene.equal(handled.handler_metric(daemon, "connections"), 1,
                            "it is a connection of its handler")
                take(events(daemon), "open u", url(server))


def scene_each_reconnect_is_close_and_open():
    count = [0]

    async def serve(sock, _path):
        count[0] += 1
        await sock.send(f"number {count[0]}")
        if count[0] >= 3 * FLAPS:
            pass
        elif count[0] % 4 == 0:
            sock.transport.abort()
        else:
            await sock.close(4000 + count[0], f"end {count[0]}")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        for kind, conf in both(server):
            count[0] = 0
            with scene.Daemon(conf) as daemon:
                ears = daemon.ws("shouted", "?from=oldest")
                told = events(daemon)
                for number in range(1, 3 * FLAPS):
                    take(told, "open u", url(server))
                    if number % 4 == 0:
                        take(told, "close 1006 ")
                    else:
                        take(told, f"close {4000 + number} end {number}")
                take(told, "open u", url(server))
                seen = [ears.read_text() for _ in range(FLAPS)]
                scene.check(seen == sorted(seen, key=lambda t: int(t[7:])),
                            f"{kind}: {seen[-1]}, in order")
                scene.equal(handled.handler_metric(daemon, "connections"), 1,
                            "one session")


def scene_closed_by_the_handler():
    codes = []

    async def serve(sock, _path):
        await sock.send("close 4321")
        await sock.wait_closed()
        codes.append((sock.close_code, sock.close_reason))
    with upstreams.Server(serve) as server:
        for kind, conf in both(server):
            codes.clear()
            with scene.Daemon(conf) as daemon:
                told = events(daemon)
                for _ in range(3):
                    take(told, "open u", url(server),
                         "close 4321 as you say")
                daemon.wait_log("was closed by its handler with 4321: "
                                "as you say; again in")
            scene.equal(codes[0], (4321, "as you say"),
                        f"{kind}: what the peer hears")


def scene_an_upstream_that_is_not_there():
    class Nobody:
        url = staticmethod(lambda: "ws://127.0.0.1:9/")
    for kind, conf in both(Nobody):
        with scene.Daemon(conf) as daemon:
            told = events(daemon)
            for _ in range(3):
                take(told, "failed upstream u cannot connect to "
                     "ws://127.0.0.1:9/: Connection refused")
            scene.check(True, f"{kind}: on_error, and no open")
            told.close()
            scene.equal(daemon.stop(), 0, "exit code")


def scene_what_the_peer_does_wrong():
    async def stale(sock, _path):
        await upstreams.stay(sock)

    async def long(sock, _path):
        await sock.send("x" * 2000000)
        await upstreams.stay(sock)
    for serve, more, wanted in (
            (stale, "stale_after = 100ms\nping_interval = 50ms\n",
             ("error has said nothing for 100 ms", "close 1006 ")),
            (long, "", ("close 1009 message too long",))):
        with upstreams.Server(serve) as server:
            with scene.Daemon(plugin(more=upstream(server, more))) as daemon:
                take(events(daemon), "open u", url(server), *wanted,
                     "open u", url(server))


def vm_rss(daemon):
    return handled.rss(daemon.pid)


def slow_handler(kind, compression, conf):
    size, total = 20000, 600
    sent = []

    async def serve(sock, _path):
        assert await sock.recv() == "hello"
        for number in range(total):
            await sock.send(f"{number} " + "x" * size)
            sent.append(number)
        await upstreams.stay(sock)
    with upstreams.Server(serve, ping_interval=None, write_limit=4096,
                          compression=compression) as server:
        rest = upstream(
            server, "stale_after = 400ms\nping_interval = 100ms\n"
            "pong_timeout = 100ms\n") + LONG
        with scene.Daemon(conf(rest)) as daemon:
            ears = daemon.ws("shouted", "?from=oldest")
            numbers = [int(ears.read_text().split()[0]) for _ in range(20)]
            scene.wait_until(lambda: held_back(sent), "TCP is full, or all "
                             "that was compressed is in it")
            scene.check(compression or len(sent) < total,
                        f"{kind}: the peer has sent {len(sent)} while "
                        f"{len(numbers)} are handled")
            scene.check(vm_rss(daemon) < 60 << 20 or
                        scene.SLOWNESS > 1, f"{vm_rss(daemon) >> 10} KiB")
            numbers += [int(ears.read_text().split()[0])
                        for _ in range(total - 20)]
            scene.equal(numbers, list(range(total)), "all, in order")
            scene.check(handled.handler_metric(daemon, "pauses_total") > 0,
                        "it was not read meanwhile")
            scene.equal(daemon.metric("feed_restarts_total", feed="u"), 0,
                        "on one connection, not stale")


def scene_a_slow_handler_holds_the_peer_back():
    """Fast peer, slow callbacks: TCP holds it, nothing is lost or stale."""
    limits = ("queue_messages = 4", "queue_bytes = 64K",
              "callback_timeout = 60s")

    def plugged(rest):
        return plugin("option.open = hello", "option.message_ms = 10",
                      *limits, more=rest)

    def run_by_us(rest):
        return program(*limits, more=rest,
                       arguments="open=hello message_s=0.01")
    slow_handler("plugin", None, plugged)
    slow_handler("plugin, compressed", "deflate", plugged)
    slow_handler("program", None, run_by_us)


def held_back(sent):
    """Nothing more has gone for a while."""
    before = len(sent)
    time.sleep(0.1)
    return len(sent) == before


def scene_one_callback_longer_than_stale_after():
    async def serve(sock, _path):
        for number in range(4):
            await sock.send(f"{number} " + "x" * 30000)
        await upstreams.stay(sock)
    with upstreams.Server(serve, ping_interval=None) as server:
        conf = plugin("option.message_ms = 700", "queue_messages = 2",
                      more=upstream(
                          server, "stale_after = 1s\n"
                          "ping_interval = 50ms\npong_timeout = 50ms\n"))
        with scene.Daemon(conf) as daemon:
            ears = daemon.ws("shouted", "?from=oldest")
            for number in range(4):
                scene.check(ears.read_text().startswith(f"{number} "),
                            f"callback {number} took 700 ms")
            scene.equal(daemon.metric("feed_restarts_total", feed="u"), 0,
                        "no reconnect: the silence is our own")


def scene_the_name_of_a_connection_that_has_gone():
    """The next one of the upstream is where it was, and is not it."""
    names, answers = [], []

    async def serve(sock, _path):
        await sock.send("name")
        names.append(await sock.recv())
        await sock.send("remember" if len(names) == 1 else "stale")
        if len(names) == 1:
            await sock.send("name")
            await sock.recv()
            return
        answers.append(await sock.recv())
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        conf = handled.conf(
            f"exec = {scene.PY} {handled.EXEC}/needs.py /dev/null",
            "upstream = u", more=upstream(server))
        with scene.Daemon(conf):
            scene.wait_until(lambda: answers, "an answer")
            scene.check(names[0].split(".")[0] == names[1].split(".")[0] and
                        names[0] != names[1], f"{names[0]}, {names[1]}")
            scene.equal(answers[0], "ENOTCONN " * 3 + "ENOTCONN", "refused")


def scene_a_peer_that_does_not_read():
    """The answers wait, then the questions do; none is lost."""
    total, size = 350, 100000  # more than the kernel takes
    state = {}

    async def serve(sock, _path):
        async def ask():
            for number in range(total):
                await sock.send(f"answer {number} " + "y" * size)
                state["asked"] = number + 1
        state["asked"] = 0
        state["answers"] = []
        task = asyncio.ensure_future(ask())
        while not state.get("read"):
            await asyncio.sleep(0.01)
        while len(state["answers"]) < total:
            message = await sock.recv()
            state["answers"].append(int(message.split()[0]))
        await task
        await upstreams.stay(sock)
    with upstreams.Server(serve, ping_interval=None, max_queue=1,
                          read_limit=4096, compression=None) as server:
        conf = plugin("send_bytes_max = 256K", more=upstream(server) + LONG)
        with scene.Daemon(conf) as daemon:
            scene.wait_until(
                lambda: state.get("asked", 0) > 0 and stands_still(state),
                "nothing goes any more")
            asked = state["asked"]
            state["read"] = True
            scene.check(asked < total, f"{asked} questions asked")
            scene.wait_until(lambda: len(state["answers"]) == total,
                             "all answers", seconds=20)
            scene.equal(state["answers"], list(range(total)), "in order")
            scene.check(handled.handler_metric(daemon, "pauses_total") > 0,
                        "its reader paused")


def stands_still(state):
    before = state["asked"]
    time.sleep(0.2)
    return state["asked"] == before


def scene_every_command():
    """What makes sense with a peer that is a server, and what does not."""
    file = tempfile.NamedTemporaryFile(dir=scene.TMP)
    answers = []

    async def serve(sock, _path):
        for command in (
                {"id": 1, "subscribe": {"conn": "@", "channel": "x"}},
                {"id": 2, "unsubscribe": {"conn": "@", "channel": "x"}},
                {"id": 3, "send": {"conn": "@", "json": {"a": [1]}}},
                {"id": 4, "send": {"conn": "@", "base64": "AAE="}},
                {"id": 5, "refuse": {"conn": "@"}}):
            await sock.send("do " + json.dumps(command))
        async for message in sock:
            answers.append(message)
    with upstreams.Server(serve) as server:
        conf = handled.conf(
            f"exec = {scene.PY} {handled.EXEC}/told.py {file.name}",
            "upstream = u", more=upstream(server))

        def told():
            with open(file.name, encoding="utf-8") as lines:
                return [json.loads(line) for line in lines
                        if line.endswith("\n")]
        with scene.Daemon(conf):
            scene.wait_until(lambda: sum("reply" in e for e in told()) == 5,
                             "five replies")
            scene.wait_until(lambda: len(answers) == 2, "two messages")
        opened = told()[0]
        scene.equal([opened[k] for k in (
            "event", "upstream", "channel", "peer", "path", "query",
            "headers")], ["open", "u", "shouted", server.url(), "", "", {}],
            "open")
        replies = {e["reply"]: e.get("error", {}).get("code", "ok")
                   for e in told() if "reply" in e}
        scene.equal(replies, {1: "EOPNOTSUPP", 2: "EOPNOTSUPP", 3: "ok",
                              4: "ok", 5: "EPERM"}, "replies")
        scene.equal(answers, ['{"a": [1]}', b"\0\1"], "what the peer got")
        scene.equal(told()[-1]["event"], "close", "and its close")


def scene_refused():
    codes = []

    async def serve(sock, _path):
        await sock.wait_closed()
        codes.append(sock.close_code)
    with upstreams.Server(serve) as server:
        conf = handled.plugin("record", "upstream = u",
                              "option.refuse = 4403", more=upstream(server))
        with scene.Daemon(conf) as daemon:
            scene.wait_until(lambda: len(codes) > 2, "refused, tried again")
            scene.equal(codes[:3], [4403] * 3, "the peer hears why")
            scene.check(handled.handler_metric(daemon, "refused_total") >= 3,
                        "counted")


def scene_killed_processes():
    """kill -9 while it works: one event each time is told as lost."""
    total = 3000 // scene.SLOWNESS
    dice = random.Random(time.time())

    async def serve(sock, _path):
        for number in range(total):
            await sock.send(str(number))
            if number % 10 == 0:
                await asyncio.sleep(0.004)
        await sock.send("end")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        conf = program(more=upstream(server) + LONG)
        with scene.Daemon(conf) as daemon:
            ears = daemon.ws("shouted", "?from=oldest")
            # Who dies over an open three times is not let in.
            take(events(daemon), "open u", url(server))
            handled.wait_metric(daemon, "events_total", 2)
            for done in range(KILLS):
                time.sleep(dice.uniform(0.001, 0.05))
                victim = scene.wait_until(
                    lambda: handled.children(daemon), "a process")
                os.kill(victim[0], signal.SIGKILL)
                handled.wait_metric(daemon, "restarts_total", done + 1)
            numbers = []
            while True:
                text = ears.read_text()
                if text == "END":
                    break
                numbers.append(int(text))
            lost = int(handled.handler_metric(daemon, "lost_total"))
            scene.equal(numbers, sorted(set(numbers)), "once, in order")
            scene.check(total - len(numbers) <= lost, f"{KILLS} kills, {lost} "
                        f"told as lost, {total - len(numbers)} of them gone")
            scene.equal(daemon.metric("feed_restarts_total", feed="u"), 0,
                        "the connection lives")
            said = [m["text"] for m in scene.json_of(daemon.http(
                "GET", "/channels/events/messages?from=oldest&limit=9999")
                )["messages"]]
            scene.equal(said.count("open u"), 1, "one on_open")
            scene.check(sum("had this event" in text for text in said) >=
                        lost, f"on_error told of {lost}")


def scene_drain():
    """What was read is handled, its answers are sent, then 1001."""
    heard, codes = [], []

    async def serve(sock, _path):
        for number in range(30):
            await sock.send(f"answer {number}")
        async for message in sock:
            heard.append(int(message))
        codes.append(sock.close_code)
    for kind in plugin, program:
        with upstreams.Server(serve) as server:
            heard.clear()
            codes.clear()
            rest = upstream(server) + "[drain]\nretry_spread = 0s\n"
            conf = plugin("option.message_ms = 20", more=rest) \
                if kind is plugin else \
                program(arguments="message_s=0.02", more=rest)
            with scene.Daemon(conf) as daemon:
                told = events(daemon)
                take(told, "open u", url(server))
                daemon.wait_metric("feed_messages_total", 30, feed="u")
                daemon.signal()
                take(told, "close 1001 going away")
                scene.equal(told.read_closed()[0], 1001, "then the consumers")
                scene.equal(daemon.wait(), 0, "exit code")
            scene.wait_until(lambda: codes, "the close")
            scene.equal(heard, list(range(30)), "30 answers after the signal")
            scene.equal(codes, [1001], "then the good-bye")


def scene_drain_with_a_stuck_handler():
    if scene.MODE == "valgrind":
        raise scene.Skip("a thread that is left behind is a leak")

    async def serve(sock, _path):
        await sock.send("x")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        conf = plugin("option.message_ms = 20000", more=upstream(server) +
                      "[drain]\ntimeout = 500ms\n")
        with scene.Daemon(conf) as daemon:
            handled.wait_metric(daemon, "busy", 1)
            began = time.monotonic()
            daemon.signal()
            scene.equal(daemon.wait(), 3, "exit code")
            scene.check(time.monotonic() - began < 5 * scene.SLOWNESS,
                        f"{time.monotonic() - began:.1f} s")


def scene_a_flapping_peer_and_a_slow_handler():
    """The next connection waits: memory does not grow, order is kept."""
    async def serve(sock, _path):
        await sock.send("x")
        await sock.close(1000)
    with upstreams.Server(serve) as server:
        conf = plugin("option.message_ms = 200", more=upstream(server) +
                      "[drain]\ntimeout = 5s\n")
        with scene.Daemon(conf) as daemon:
            told = events(daemon)
            for _ in range(4):
                take(told, "open u", url(server), "close 1000 ")
            scene.check(server.connections <= 5 + 1,
                        f"{server.connections} connections")
            scene.check(any(s.startswith("feed_up{") and "waiting" in s
                            for s in wait_state(daemon)), "it says so")


def scene_reload():
    """Another url, while the handler is at what the old one said."""
    async def serve(sock, _path):
        for number in range(5):
            await sock.send(f"{number}")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as one, upstreams.Server(serve) as two:
        head = "[listener]\nlisten = 127.0.0.1:0\n"
        conf = plugin("option.message_ms = 100", more=upstream(one))
        with control.Daemon(conf) as daemon:
            told = events(daemon)
            ears = daemon.ws("shouted", "?from=oldest")
            take(told, "open u", url(one))
            daemon.wait_metric("feed_messages_total", 5, feed="u")
            daemon.reload(head + conf.replace(one.url(), two.url()))
            take(told, "close 1001 going away", "open u", url(two))
            scene.equal([ears.read_text() for _ in range(10)],
                        list("01234" * 2), "all of both, in order")
            other = conf.replace(one.url(), two.url())
            daemon.reload(head + other.replace("_ms = 100", "_ms = 1"))
            take(told, "close 1012 its handler is another one now",
                 "open u", url(two))
            scene.equal([ears.read_text() for _ in range(5)], list("01234"),
                        "by the other handler")


def wait_state(daemon):
    return scene.wait_until(
        lambda: [s for s in daemon.metrics() if 'state="waiting"' in s],
        "waiting for its handler")


def check_fault(text, wanted):
    path = scene.TMP / "bad.conf"
    path.write_text(scene.LISTENER + text)
    done = scene.run([scene.EARSHOTD, "--check", "-c", path])
    scene.equal(done.returncode, 1, "exit code")
    scene.check(re.search(wanted, done.stderr), done.stderr.strip())


def scene_faults():
    up = "[upstream u]\nurl = ws://h/\nchannel = c\n"
    check_fault(plugin(), r"has upstream = u, expected an \[upstream u\]")
    check_fault(plugin(more=up + "mirror = yes\n"),
                r"has upstream = u, which has mirror = yes, expected "
                r"consume = c")
    check_fault(plugin("upstream = u", more=up), "is taken, expected one")
    check_fault(plugin(more=up + handled.plugin(
        "echo", "upstream = u").replace("[handler it]", "[handler b]")),
        r"\[handler b\] has upstream = u, which is taken")
    check_fault(plugin("upstream = a b", more=up), "the NAME of an")


scene.play(globals())
