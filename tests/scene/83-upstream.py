#!/usr/bin/python3
# slow
# sanitizer: yes
"""[upstream NAME]: what it asks, what it hears, what it is told.
"""
import asyncio
import http
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import upstreams

QUICK = "backoff_min = 5ms\nbackoff_max = 40ms\n"
CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
         1014, 3000, 4000, 4999)


def upstream(name, *urls, more=QUICK):
    lines = "\n".join(f"url = {url}" for url in urls)
    return f"[upstream {name}]\n{lines}\nchannel = {name}\n{more}\n"


def state(daemon, name):
    for sample in daemon.metrics():
        if sample.startswith("feed_up{") and f'feed="{name}"' in sample:
            return sample.partition('state="')[2].partition('"')[0]
    return None


def error(daemon, name):
    for sample in daemon.metrics():
        if sample.startswith("feed_last_error{") and \
                f'feed="{name}"' in sample:
            return sample.partition('error="')[2].rpartition('"')[0]
    return ""


def error_is(daemon, name, wanted):
    scene.wait_until(lambda: wanted in error(daemon, name),
                     f"{name}: {wanted}; is: {error(daemon, name)}")
    scene.check(True, f"{name}: {error(daemon, name)}")


def is_open(daemon, name):
    scene.wait_until(lambda: state(daemon, name) == "running",
                     f"{name} is open")


def scene_three_of_them_one_is_fine():
    async def count(sock, _path):
        for i in range(1000000):
            await sock.send(str(i))
            await asyncio.sleep(0.01)
    with upstreams.Server(count) as fine, upstreams.Server(
            upstreams.stay) as plain:
        conf = upstream("fine", fine.url()) + \
            upstream("away", f"ws://127.0.0.1:{scene.free_port()}") + \
            upstream("notls", f"wss://127.0.0.1:{plain.port}/")
        started = time.monotonic()
        with scene.Daemon(conf) as daemon:
            scene.in_time(time.monotonic() - started, 2, "READY at once")
            consumer = daemon.ws("fine")
            first = int(consumer.read_text())
            scene.equal([int(consumer.read_text()) for _ in range(20)],
                        list(range(first + 1, first + 21)), "it streams")
            error_is(daemon, "away", "Connection refused")
            error_is(daemon, "notls", "cannot connect to wss://")
            daemon.wait_log("upstream cannot connect.*feed=away", count=4)
            scene.equal(state(daemon, "fine"), "running", "the fine one")


def scene_what_is_asked():
    got = []

    async def serve(sock, path):
        got.append((path, sock.subprotocol))
        async for message in sock:
            got.append(message)
    with upstreams.Server(serve, subprotocols=["b.v2"]) as server:
        conf = upstream("ask", server.url(path="/a/b?c=d&e=%20"), more=QUICK +
                        "subprotocol = b.v2\nheader = X-One: 1 and 2\n"
                        "header = Authorization: Bearer x\n"
                        "origin = https://example.org\n"
                        'send = {"login": "me"}\nsend = second')
        with scene.Daemon(conf) as daemon:
            is_open(daemon, "ask")
            scene.wait_until(lambda: len(got) == 3, "first messages")
            scene.equal(got, [("/a/b?c=d&e=%20", "b.v2"), '{"login": "me"}',
                              "second"], "path, subprotocol, messages")
            head = server.headers[0]
            scene.equal([head["X-One"], head["Authorization"], head["Origin"]],
                        ["1 and 2", "Bearer x", "https://example.org"],
                        "headers")
            scene.equal(head["Host"], f"127.0.0.1:{server.port}", "Host")


def scene_messages_of_every_kind():
    texts = ["", "x", "ü" * 1000, "y" * 70000, "z" * 1048576]

    async def serve(sock, _path):
        for text in texts:
            await sock.send(text)
        await sock.send(b"\xff\x00")
        await sock.send(["frag", "ments ", "of it"])
        await (await sock.ping(b"are you there"))
        await (await sock.ping(b"really"))
        await sock.send("ponged")
        await upstreams.stay(sock)
    with upstreams.Server(serve, compression="deflate") as server:
        with scene.Daemon(upstream("all", server.url())) as daemon:
            consumer = daemon.ws("all", "?from=oldest")
            for text in texts:
                scene.equal(consumer.read_text(), text, f"{len(text)}")
            scene.equal(consumer.read_message(),
                        (scene.BINARY, b"\xff\x00"), "binary")
            scene.equal(consumer.read_text(), "fragments of it", "fragments")
            scene.equal(consumer.read_text(), "ponged", "pings are answered")


def scene_node():
    with upstreams.NodeServer() as node:
        conf = upstream("count", node.url("/count/5000"), more="") + \
            upstream("big", node.url("/big/900000"), more="") + \
            upstream("echo", node.url("/echo"), more="send = hello") + \
            upstream("code", node.url("/close/4321")) + \
            "[channel **]\nhistory_messages = 10000\n"
        with scene.Daemon(conf) as daemon:
            consumer = daemon.ws("count", "?from=oldest")
            scene.equal([consumer.read_text() for _ in range(5000)],
                        [str(i) for i in range(5000)], "5000 by npm's ws")
            scene.equal(daemon.ws("big", "?from=oldest").read_text(),
                        "x" * 900000, "900 fragments")
            scene.equal(daemon.ws("echo", "?from=oldest").read_text(),
                        "hello", "an echo")
            error_is(daemon, "code", "was closed with 4321: node says 4321")


def scene_close_codes():
    codes = iter(CODES * 3)
    asked = []

    async def serve(sock, _path):
        asked.append(next(codes))
        await sock.close(asked[-1], f"reason {asked[-1]}")
    with upstreams.Server(serve) as server:
        with scene.Daemon(upstream("codes", server.url())) as daemon:
            for code in CODES:
                daemon.wait_log(f"upstream was closed with {code}: "
                                f"reason {code}; again in")
            scene.check(True, f"{len(CODES)} codes, told and tried again")


def scene_ends_without_a_code():
    """1005: a close that gives none; 1006: none at all."""
    count = [0]

    async def serve(sock, _path):
        count[0] += 1
        if count[0] % 2:
            sock.transport.write(b"\x88\x00")
            await sock.wait_closed()
        else:
            sock.transport.abort()
    with upstreams.Server(serve, close_timeout=0.1) as server:
        with scene.Daemon(upstream("none", server.url())) as daemon:
            daemon.wait_log("upstream was closed with 1005; again in", count=2)
            daemon.wait_log("upstream has lost its connection; again in",
                            count=2)
            scene.check(True, "1005 and 1006, told and tried again")


def scene_who_is_told_of_a_reconnect():
    async def serve(sock, _path):
        await sock.send(f"life {server.connections}")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        with scene.Daemon(upstream("u", server.url())) as daemon:
            raw = daemon.ws("u", "?from=oldest")
            scene.equal(raw.read_text(), "life 1", "raw")
            v1 = scene.WebSocket(daemon.port, "/ws", headers={
                "Sec-WebSocket-Protocol": "earshot.v1"})
            v1.send_text('{"id":1,"subscribe":{"channel":"u"}}')
            scene.check('"ok"' in v1.read_text(), "earshot.v1")
            events = scene.Raw(daemon.port)
            events.send(b"GET /sse/u HTTP/1.1\r\nHost: x\r\n\r\n")
            events.read_until(b"\r\n\r\n")
            daemon.wait_metric("channel_consumers", 3, channel="u")
            server.reset()
            scene.equal(raw.read_text(), "life 2", "raw: the messages alone")
            told = [v1.read_text(), v1.read_text()]
            scene.check(
                '{"notice":{"upstream":"u","state":"reconnected"}}' in told,
                str(told))
            text = events.read_until(b"event: notice\n")
            text += events.read_until(b"\n\n")
            scene.check(b'"upstream":"u","state":"reconnected"' in text,
                        "event: notice")
            events.close()


def scene_numbers_of_each():
    async def serve(sock, _path):
        await sock.send("12345")
        if server.connections < 3:
            await sock.close(1012, "not now")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        with scene.Daemon(upstream("one", server.url()) + upstream(
                "two", f"ws://127.0.0.1:{scene.free_port()}")) as daemon:
            daemon.wait_metric("feed_messages_total", 3, feed="one")
            is_open(daemon, "one")
            got = daemon.metrics()
            for name, value in (("messages_total", 3), ("bytes_total", 15),
                                ("restarts_total", 2)):
                scene.equal(daemon.metric(f"feed_{name}", feed="one"), value,
                            name)
                scene.equal(daemon.metric(f"feed_{name}", feed="two"), 0,
                            f"{name} of the other")
            scene.check(any(s.startswith("feed_state_seconds{") and
                            'feed="one"' in s and 'state="running"' in s
                            for s in got), "its state, since when")
            error_is(daemon, "one", "was closed with 1012: not now")
            error_is(daemon, "two", "Connection refused")
            scene.check(state(daemon, "two") in ("backoff", "starting"),
                        "the other's state")


def scene_refusals():
    async def process(path, _headers):
        if path == "/403":
            return http.HTTPStatus.FORBIDDEN, [], b"go away\n"
        if path == "/302":
            return http.HTTPStatus.FOUND, [("Location", "/")], b""
        return None
    with upstreams.Server(upstreams.stay, process_request=process) as server:
        conf = upstream("forbidden", server.url(path="/403")) + \
            upstream("moved", server.url(path="/302")) + \
            upstream("protocol", server.url(),
                     more=QUICK + "subprotocol = nobody") + \
            upstream("nobody", "ws://no.such.name.invalid/")
        with scene.Daemon(conf) as daemon:
            error_is(daemon, "forbidden", "HTTP 403")
            error_is(daemon, "moved", "HTTP 302")
            error_is(daemon, "protocol", "subprotocol")
            error_is(daemon, "nobody", "cannot look up no.such.name.invalid")


def scene_bad_data():
    async def utf8(sock, _path):
        sock.transport.write(b"\x81\x02\xc3\x28")
        await upstreams.stay(sock)

    async def flood(sock, _path):
        piece = b"x" * 65536
        try:
            sock.transport.write(b"\x02\x7f" + (len(piece)).to_bytes(8, "big")
                                 + piece)
            for _ in range(16384):  # a gigabyte, if somebody took it
                sock.transport.write(
                    b"\x00\x7f" + len(piece).to_bytes(8, "big") + piece)
                await asyncio.sleep(0)
                if sock.transport.is_closing():
                    break
                while sock.transport.get_write_buffer_size() > 1 << 20:
                    await asyncio.sleep(0.001)
        except (OSError, RuntimeError, asyncio.CancelledError):
            pass

    async def masked(sock, _path):
        sock.transport.write(b"\x83\x00")
        await upstreams.stay(sock)
    with upstreams.Server(utf8) as one, upstreams.Server(flood) as two, \
            upstreams.Server(masked) as three:
        slow = "backoff_min = 1h\nbackoff_max = 1h\n"
        conf = upstream("utf8", one.url(), more=slow) + \
            upstream("flood", two.url(), more=slow) + \
            upstream("opcode", three.url(), more=slow)
        with scene.Daemon(conf) as daemon:
            error_is(daemon, "utf8", "1007")
            error_is(daemon, "flood", "1009")
            error_is(daemon, "opcode", "1002: frames that RFC 6455")
            rss = int(next(
                line.split()[1] for line in
                open(f"/proc/{daemon.pid}/status") if "VmHWM" in line))
            scene.check(rss < 60000 * scene.SLOWNESS ** 2,
                        f"{rss} KiB at most")


def scene_tls():
    folder = scene.TMP / "tls"
    other = scene.TMP / "other"
    folder.mkdir()
    other.mkdir()
    mine = upstreams.Certificates(folder)
    named = upstreams.Certificates(other, "elsewhere.example")
    mine_ca = f"{QUICK}ca = {mine.ca}\n"

    async def hello(sock, _path):
        await sock.send("hello")
        await upstreams.stay(sock)
    with upstreams.Server(hello, tls=mine.server()) as good, \
            upstreams.Server(hello, tls=named.server()) as wrong, \
            upstreams.Server(hello, tls=mine.server(ask=True)) as asks:
        conf = upstream("good", good.url(), more=mine_ca) + \
            upstream("unknown", good.url()) + \
            upstream("name", wrong.url(),
                     more=f"{QUICK}ca = {named.ca}\n") + \
            upstream("known", asks.url(), more=mine_ca +
                     f"certificate = {mine.certificate}\nkey = {mine.key}\n") \
            + upstream("nobody", asks.url(), more=mine_ca) + \
            upstream("noca", good.url(), more=f"{QUICK}ca = {mine.key}\n")
        with scene.Daemon(conf) as daemon:
            for name in "good", "known":
                scene.equal(daemon.ws(name, "?from=oldest").read_text(),
                            "hello", name)
            error_is(daemon, "unknown", "TLS:")
            error_is(daemon, "name", "TLS: IP address mismatch")
            error_is(daemon, "noca", "expected certificates in PEM")
            scene.check(state(daemon, "nobody") != "running" or
                        asks.connections > 0, "without a certificate: no")


def scene_failover():
    async def first(sock, _path):
        await sock.send("first")
        await upstreams.stay(sock)

    async def second(sock, _path):
        await sock.send("second")
        await upstreams.stay(sock)
    one, two = upstreams.Server(first), upstreams.Server(second)
    with one, two:
        conf = upstream("over", one.url(), two.url())
        with scene.Daemon(conf) as daemon:
            consumer = daemon.ws("over", "?from=oldest")
            scene.equal(consumer.read_text(), "first", "in this order")
            one.stop()
            scene.equal(consumer.read_text(), "second", "then the next")
            one.start()
            two.stop()
            scene.equal(consumer.read_text(), "first", "then the first")
            two.start()


def scene_silence():
    async def deaf(sock, _path):
        sock.transport.pause_reading()
        await sock.wait_closed()
    with upstreams.Server(deaf, close_timeout=0.1, ping_interval=None) as one, \
            upstreams.Server(upstreams.stay, ping_interval=None) as two:
        conf = upstream("deaf", one.url(), more=QUICK +
                        "ping_interval = 100ms\npong_timeout = 100ms\n") + \
            upstream("stale", two.url(), more=QUICK +
                     "ping_interval = 50ms\nstale_after = 300ms\n") + \
            upstream("quiet", two.url(), more=QUICK + "ping_interval = 20ms\n"
                     f"pong_timeout = {scene.SLOWNESS}s\n")
        with scene.Daemon(conf) as daemon:
            error_is(daemon, "deaf", "has not answered a ping within 100 ms")
            error_is(daemon, "stale", "has said nothing for 300 ms")
            daemon.wait_log("said nothing.*feed=stale", count=3)
            # Twice as long as it would take without pongs.
            daemon.wait_metric("feed_state_seconds", 2 * scene.SLOWNESS + 1,
                               feed="quiet")
            scene.equal(daemon.metric("feed_restarts_total", feed="quiet"), 0,
                        "who answers pings stays")


def scene_back_pressure():
    total = 3000
    sent = []

    async def serve(sock, _path):
        for i in range(total):
            await sock.send(f"{i} " + "x" * 1000)
            sent.append(i)
        await upstreams.stay(sock)
    with upstreams.Server(serve, write_limit=4096) as server:
        conf = upstream("slow", server.url(),
                        more=QUICK + "max_rate = 1000\n")
        with scene.Daemon(conf + "[channel **]\nhistory_messages = 10000\n"
                          ) as daemon:
            consumer = daemon.ws("slow", "?from=oldest")
            got = [int(consumer.read_text().split()[0])
                   for _ in range(total)]
            scene.equal(got, list(range(total)), "all, in order, at its rate")
            scene.equal(daemon.metric("feed_restarts_total", feed="slow"), 0,
                        "on one connection")


def scene_says_good_bye():
    codes = []

    async def serve(sock, _path):
        await sock.send("x")
        await sock.wait_closed()
        codes.append(sock.close_code)
    with upstreams.Server(serve) as server:
        with scene.Daemon(upstream("bye", server.url())) as daemon:
            scene.equal(daemon.ws("bye", "?from=oldest").read_text(), "x",
                        "open")
        scene.wait_until(lambda: codes, "the close")
        scene.equal(codes, [1001], "the peer hears 1001")


def scene_close_storm():
    async def storm(sock, _path):
        await sock.close(1011)
    with upstreams.Server(storm) as server:
        with scene.Daemon(upstream(
                "storm", server.url(),
                more="backoff_min = 10ms\nbackoff_max = 160ms\n")) as daemon:
            time_0 = time.monotonic()
            daemon.wait_metric("feed_restarts_total", 8, feed="storm")
            took = time.monotonic() - time_0
            scene.check(took > 0.4, f"8 connections in {took:.2f} s: "
                                    "the back-off grows")


def scene_backoff_is_over_when_it_was_open():
    lives = [0]

    async def serve(sock, _path):
        lives[0] += 1
        if lives[0] == 5:
            await sock.send("a while")
            await stop.wait()
        await sock.close(1011)
    with upstreams.Server(serve) as server:
        stop = server.call(make_event())
        with scene.Daemon(upstream(
                "late", server.url(),
                more="backoff_min = 50ms\nbackoff_max = 400ms\n")) as daemon:
            pattern = r"again in (\d+) ms feed=late"
            scene.check(int(daemon.wait_log(pattern, count=4)[1]) >= 200,
                        "longer and longer")
            daemon.wait_metric("feed_messages_total", 1, feed="late")
            daemon.wait_metric("feed_state_seconds", 1, feed="late",
                               state="running")
            since = len(daemon.lines)
            server.loop.call_soon_threadsafe(stop.set)
            after = int(daemon.wait_log(pattern, since=since)[1])
            scene.check(after <= 50, f"after a second {after} ms again")


async def make_event():
    return asyncio.Event()


def scene_urls_that_are_none():
    for url in ("example.org", "http://example.org/", "ws://", "ws://a b/",
                "wss://host:99999/", "ws://host#x"):
        done = scene.run([scene.EARSHOTD, "--check", "-c", conf_file(
            upstream("bad", url))])
        scene.equal(done.returncode, 1, f"{url}: exit code")
        scene.check("expected ws" in done.stderr, done.stderr.strip())


def conf_file(text):
    path = scene.TMP / "bad.conf"
    path.write_text(scene.LISTENER + text)
    return path


scene.play(globals())
