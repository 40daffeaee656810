#!/usr/bin/python3
# sanitizer: yes
"""Every limit reached: what happens there, its counter, and the others."""
import json
import os
import re
import resource
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
from scene import BINARY, CONTINUATION, TEXT, frame

KIB, MIB = 1024, 1024 * 1024
MESSAGES = "/channels/c/messages"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = GET[:-2]


def post_head(length, channel="c"):
    return (f"POST /channels/{channel}/messages HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {length}\r\n\r\n").encode()


def post(client, body, channel="c"):
    client.send(post_head(len(body), channel) + body)
    return client.read_answer()


# Times

class Silent(threading.Thread):
    """A peer that does something and is then to be dropped; how long that
    took.  With a trickle it says a byte more all the time."""

    def __init__(self, what, connect, limit_ms, begin=b"", trickle=b""):
        super().__init__(daemon=True)
        self.what, self.limit_ms = what, limit_ms
        self.trickle = trickle
        self.fault = None
        self.started = time.monotonic()  # never after the daemon's clock
        self.client = connect()
        self.client.send(begin)
        self.start()

    def run(self):
        try:
            while not self.client.eof:
                if self.trickle:
                    self.client.sock.settimeout(0.03)
                try:
                    if self.client.sock.recv(1000) == b"":
                        break
                except TimeoutError:
                    if not self.trickle:
                        raise
                    self.client.send(self.trickle)
        except ConnectionError:
            pass
        except Exception as error:
            self.fault = error
        self.took_ms = (time.monotonic() - self.started) * 1000

    def judge(self):
        self.join(scene.DEADLINE_S * scene.SLOWNESS)
        if self.is_alive() or self.fault:
            raise scene.Failure(f"{self.what}: not dropped {self.fault}")
        if self.took_ms < self.limit_ms:
            raise scene.Failure(
                f"{self.what}: dropped after {self.took_ms:.0f} ms")
        scene.in_time(self.took_ms / 1000, (self.limit_ms + 500) / 1000,
                      f"{self.what}: dropped, limit {self.limit_ms} ms")


def answered(daemon):
    """A connection whose first request was answered."""
    client = scene.Raw(daemon.port)
    client.send(GET)
    client.read_answer()
    return client


def scene_silence():
    # Long enough for what is not silent here, on a busy machine, too.
    conf = "[limits]\nhandshake_timeout = 1s\nrequest_timeout = 1300ms\n" \
        "keepalive_timeout = 1100ms\nclose_timeout = 900ms\n" \
        "message_bytes_max = 1K\n"
    with scene.Daemon(conf) as daemon:
        def raw():
            return scene.Raw(daemon.port)

        def after_one():
            return answered(daemon)

        def consumer():
            return daemon.ws("c")

        bystander = consumer()
        too_long = frame(BINARY, b"x" * 1025)
        peers = [
            Silent("not a word", raw, 1000),
            Silent("half a request", raw, 1000, HALF),
            Silent("half an upgrade", raw, 1000,
                   b"GET /ws/c HTTP/1.1\r\nUpgrade: websocket\r\n"),
            Silent("a byte of header now and then", raw, 1000, HALF[:9], b"a"),
            Silent("half a body", raw, 1300, post_head(100) + b"x" * 10),
            Silent("a byte of body now and then", raw, 1300, post_head(100),
                   b"y"),
            Silent("half a body nobody wants", raw, 1300,
                   post_head(100, "-") + b"x" * 10),
            Silent("nothing after an answer", after_one, 1100),
            Silent("half a second request", after_one, 1100, HALF),
            Silent("no answer to our close", consumer, 900, too_long),
            Silent("talk instead of a close", consumer, 900, too_long,
                   frame(TEXT, b"blah"))]
        for peer in peers:
            peer.judge()
        for name, count in (("handshake", 4), ("request", 3), ("keepalive", 2),
                            ("close", 2)):
            scene.equal(daemon.metric(f"timeouts_{name}_total"), count,
                        f"counted as timeouts_{name}_total")
        scene.equal(daemon.metric("messages_in_total"), 0,
                    "nothing half was published")
        daemon.publish("c", "still here")
        scene.equal(bystander.read_text(), "still here", "a consumer is not "
                    "asked to say anything")


def scene_pings():
    conf = "[limits]\nping_interval = 150ms\npong_timeout = 1s\n"
    with scene.Daemon(conf) as daemon:
        silent = daemon.ws("c")
        url = f"ws://127.0.0.1:{daemon.port}/ws/c"
        alive = [scene.Client(kind, url, 1) for kind in ("websockets", "ws")]
        daemon.wait_metric('channel_consumers{channel="c"}', 2)
        scene.equal(silent.read_closed(), (None, ""),
                    "who does not answer pings is cut")
        scene.equal(len(silent.pings), 1, "after one of them")
        scene.equal(daemon.metric("timeouts_pong_total"), 1, "counted")
        daemon.wait_metric("pings_total", 5)
        daemon.publish("c", "after some pings")
        for client in alive:
            scene.equal(client.result()["messages"], 1,
                        f"{client.kind} answers and stays")
    conf = "[limits]\nping_interval = 50ms\npong_timeout = 10s\n"
    with scene.Daemon(conf) as daemon:
        alive = scene.Client(
            "ws", f"ws://127.0.0.1:{daemon.port}/ws/c", 1)
        daemon.wait_metric("pings_total", 8, seconds=5)
        daemon.publish("c", "bye")
        scene.equal(alive.result()["messages"], 1,
                    "an interval shorter than the time to answer")


def scene_no_pong_while_it_is_not_read():
    """A handler that takes nothing: its connection is not read, so that its
    pongs are not heard, and it is not cut for that."""
    flag, echo = scene.TMP / "flag", scene.TOP / "tests/exec/echo.py"
    script = scene.TMP / "deaf.sh"
    script.write_text(f"while ! test -e {flag}; do sleep 0.02; done\n"
                      f"exec {scene.PY} {echo}\n")
    conf = "[limits]\nping_interval = 300ms\npong_timeout = 300ms\n" \
        f"[handler deaf]\nexec = sh {script}\npath = /deaf\n" \
        "workers = 1\nqueue_messages = 1\n"
    with scene.Daemon(conf) as daemon:
        paused = scene.WebSocket(daemon.port, "/deaf")
        scene.equal(paused.status, 101, "upgraded")
        paused.send(b"".join(frame(TEXT, b"%d" % n) for n in range(100)))
        daemon.wait_metric("handler_pauses_total", 1)
        for _ in range(2):  # who is cut for it tells how long that takes
            if daemon.ws("c").read_closed() != (None, ""):
                raise scene.Failure("not cut")
        scene.equal(daemon.metric("timeouts_pong_total"), 2, "others are cut")
        flag.write_text("")
        scene.equal([paused.read_text() for _ in range(100)],
                    [f"{n}" for n in range(100)], "it is there, all is heard")
        paused.reset()


# Numbers

def scene_connections_max():
    with scene.Daemon("[limits]\nconnections_max = 5\n") as daemon:
        consumers = [daemon.ws("c") for _ in range(4)]
        fifth = answered(daemon)
        for _ in range(3):
            with scene.Raw(daemon.port) as client:
                scene.equal(client.read_all(), b"", "one more: closed at once")
        fifth.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        scene.check(b"earshot_refused_connections_total 3\n" in
                    fifth.read_answer().body, "counted")
        consumers.pop().close()
        scene.check(scene.wait_until(lambda: allowed(daemon),
                                     "room after one left"), "room again")
        fifth.close()
        daemon.publish("c", "hi")
        scene.equal([c.read_text() for c in consumers], ["hi"] * 3,
                    "the others took no notice")


def allowed(daemon):
    with scene.Raw(daemon.port) as client:
        client.send(GET)
        return client.read_answer() is not None


def scene_heads_max():
    conf = "[limits]\nheads_max = 2\nhandshake_timeout = 1s\n"
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("c")
        halves = [scene.Raw(daemon.port) for _ in range(2)]
        for half in halves:
            half.send(HALF)
        name = 'connections{state="handshake"}'
        probe = daemon.http_open()
        waiting = [scene.Raw(daemon.port) for _ in range(5)]
        started = time.monotonic()
        for client in waiting:
            client.send(GET)
        halves[0].send(b"\r\n")
        scene.equal(halves[0].read_answer().status, 200, "one ends its head")
        answers = [client.read_answer() for client in waiting]
        scene.equal([a.status for a in answers], [200] * 5,
                    "those who waited are answered, "
                    f"after {(time.monotonic() - started) * 1000:.0f} ms")
        probe.close()
        scene.check(daemon.metric("refused_heads_total") >= 1, "counted")
        # Both places taken for good: they wait until the limit frees one.
        more = [scene.Raw(daemon.port) for _ in range(2)]
        for half in more:
            half.send(HALF)
        scene.equal(daemon.http("GET", "/healthz").status, 200,
                    "and when nobody ends its head")
        daemon.publish("c", "hi")
        scene.equal(consumer.read_text(), "hi", "consumers took no notice")
        scene.wait_until(lambda: daemon.metric(name) <= 1, "no half is left")


def scene_head_bytes_max():
    with scene.Daemon("[limits]\nhead_bytes_max = 64K\n") as daemon:
        answer = daemon.http("GET", "/healthz", headers={"Accept": "x" * 60000})
        scene.equal(answer.status, 200, "the most there may be can be had")
    with scene.Daemon("[limits]\nhead_bytes_max = 1K\n") as daemon:
        for what, head in (
                ("a long header", b"GET /healthz HTTP/1.1\r\nX: " +
                 b"x" * 3000 + b"\r\n\r\n"),
                ("many headers", b"GET /healthz HTTP/1.1\r\n" +
                 b"Accept: text/plain\r\n" * 200 + b"\r\n"),
                ("a long path", b"GET /" + b"x" * 3000 +
                 b" HTTP/1.1\r\n\r\n"),
                ("no end of it", b"GET /healthz HTTP/1.1\r\nAccept: " +
                 b"x" * 30000)):
            before = daemon.metric("refused_head_bytes_total")
            with scene.Raw(daemon.port) as client:
                try:
                    client.send(head)
                except ConnectionError:
                    pass
                rest = client.read_all()
                if b" 200 " in rest:
                    raise scene.Failure(f"{what}: {rest}")
                # Still open here: who ends is known by who has not.
                scene.equal(daemon.metric("refused_head_bytes_total"),
                            before + 1, f"{what}: closed, counted")
        for end in ("close", "reset"):
            for head in b"", HALF, GET:
                with scene.Raw(daemon.port) as client:
                    client.send(head)
                    if head == GET:
                        client.read_answer()
                    getattr(client, end)()
        with scene.Raw(daemon.port) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            client.read_all()
        daemon.wait_metric("connections_closed_total", 12)
        scene.equal(daemon.metric("refused_head_bytes_total"), 4,
                    "who leaves, or is done, is not")
        scene.equal(daemon.http("GET", "/healthz", headers={
            "X-Y": "x" * 500}).status, 200, "a shorter one is answered")


def refused(answer, code):
    if answer.status != 503 or json.loads(answer.body)["error"]["code"] != \
            code or answer.headers["Retry-After"] is None:
        raise scene.Failure(f"{answer}, expected 503 {code}")
    scene.check(True, f"503 {code}, with Retry-After")


def scene_channels_max():
    with scene.Daemon("[limits]\nchannels_max = 3\n") as daemon:
        consumer = daemon.ws("a")
        daemon.publish("b", "x")
        daemon.publish("c", "x")
        refused(daemon.http("POST", "/channels/d/messages", b"x"),
                "too_many_channels")
        with scene.WebSocket(daemon.port, "/ws/e") as client:
            refused(client, "too_many_channels")
        daemon.publish("a", "hi")
        scene.equal(consumer.read_text(), "hi", "those that are go on")
        scene.equal(daemon.metric("refused_channels_total"), 2, "counted")
        scene.equal(daemon.metric("channels"), 3, "and there are three")


def scene_tapes_bytes_max():
    conf = "[limits]\ntapes_bytes_max = 1M\n"
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("c")
        body, sent = b"x" * 50 * KIB, 0
        with scene.Raw(daemon.port) as client:
            while (answer := post(client, body)).status == 201:
                sent += 1
                if consumer.read_message()[1] != body:
                    raise scene.Failure("another message")
        scene.check(10 <= sent <= 20, f"{sent} messages of 50 KiB, and then")
        refused(answer, "no_room")
        with daemon.ws("c") as client:
            client.send_frame(BINARY, body)
            scene.equal(client.read_closed(), (
                1013, "no room for the message now"), "by WebSocket: 1013")
        scene.equal(daemon.metric("refused_tapes_bytes_total"), 2, "counted")
        scene.check(daemon.metric("tapes_bytes") <= MIB, "within the limit")
        replay = daemon.ws("c", "?from=oldest")
        got = [replay.read_message()[1] for _ in range(sent)]
        scene.equal(got, [body] * sent, "what was accepted is there")


def scene_intake_bytes_max():
    conf = "[limits]\nintake_bytes_max = 1M\n"
    with scene.Daemon(conf) as daemon:
        hearer = daemon.ws("c")
        halves = [scene.Raw(daemon.port) for _ in range(2)]
        for half in halves:
            half.send(post_head(800 * KIB) + b"x" * 400 * KIB)
        daemon.wait_metric("intake_bytes", 800 * KIB)
        with scene.Raw(daemon.port) as client:
            refused(post(client, b"y" * 300 * KIB), "no_room")
            scene.equal(post(client, b"small").status, 201,
                        "what still fits is accepted")
        with daemon.ws("c") as client:
            client.send_frame(BINARY, b"z" * 300 * KIB, fin=False)
            scene.equal(client.read_closed()[0], 1013, "by WebSocket: 1013")
        scene.equal(daemon.metric("refused_intake_total"), 2, "counted")
        halves[0].reset()
        halves[1].send(b"x" * 400 * KIB)
        scene.equal(halves[1].read_answer().status, 201,
                    "one is reset, the other has room")
        scene.wait_until(lambda: daemon.metric("intake_bytes") == 0,
                         "nothing is held")
        scene.equal([len(hearer.read_message()[1]) for _ in range(2)],
                    [5, 800 * KIB], "heard")


def scene_message_bytes_max():
    conf = "[limits]\nmessage_bytes_max = 1K\n"
    with scene.Daemon(conf) as daemon:
        answer = daemon.http("POST", MESSAGES, b"x" * 1025)
        scene.equal(answer.status, 413, "POST")
        scene.equal(daemon.metric("refused_message_bytes_total"), 1, "counted")
        for data in (frame(TEXT, b"x" * 1025), frame(TEXT, b"x", fin=False) +
                     frame(CONTINUATION, b"x" * 1024)):
            with daemon.ws("c") as client:
                client.send(data)
                scene.equal(client.read_closed()[0], 1009, "WebSocket")
        text = daemon.http("GET", "/metrics").body.decode()
        names = re.findall("# HELP earshot_(\\w+) .*limit message_bytes_max",
                           text)
        scene.equal(sum(daemon.metrics().get(n, 0) for n in names), 3,
                    "all counted")


def scene_per_iteration():
    conf = "[limits]\naccepts_per_iteration_max = 1\n" \
        "flushes_per_iteration_max = 1\nspan_bytes_max = 17K\n"
    with scene.Daemon(conf) as daemon:
        daemon.signal(scene.signal.SIGSTOP)
        clients = [scene.Raw(daemon.port) for _ in range(20)]
        daemon.signal(scene.signal.SIGCONT)
        for client in clients:
            client.send(GET)
            if client.read_answer().status != 200:
                raise scene.Failure("not answered")
        scene.check(daemon.metric("accepts_cut_total") > 0,
                    "one accept an iteration: all come in, counted")
        consumers = [daemon.ws("c") for _ in range(20)]
        body = os.urandom(200 * KIB)
        for i in range(5):
            daemon.publish("c", f"{i}")
        daemon.publish("c", body, "x/y")
        for consumer in consumers:
            for i in range(5):
                if consumer.read_text() != f"{i}":
                    raise scene.Failure("order")
            if consumer.read_message()[1] != body:
                raise scene.Failure("another message")
        scene.check(daemon.metric("flushes_cut_total") > 0,
                    "one write an iteration: all hear all, counted")


def scene_no_descriptors():
    with scene.Daemon() as daemon:
        consumer = daemon.ws("c")
        hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[1]
        kept = daemon.http_open()
        scene.http_on(kept, "GET", "/healthz")
        used = daemon.fd_count()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE,
                         (used + 10, hard))
        clients = [scene.Raw(daemon.port) for _ in range(40)]
        daemon.wait_log("WARN accept: Too many open files")

        def errors():
            text = scene.http_on(kept, "GET", "/metrics").body.decode()
            return int(re.search(r"accept_errors_total (\d+)", text)[1])

        cpu, begun, first = daemon.cpu_s(), time.monotonic(), errors()
        scene.wait_until(lambda: errors() >= first + 5, "it tries again")
        took = time.monotonic() - begun
        scene.check(took > 0.3, "at its leisure")
        scene.check(daemon.cpu_s() - cpu < took / 2,
                    f"{daemon.cpu_s() - cpu:.2f} s of CPU in {took:.2f} s")
        answer = scene.http_on(kept, "POST", MESSAGES, b"hi",
                               {"Content-Type": "text/plain"})
        scene.equal((answer.status, consumer.read_text()), (201, "hi"),
                    "who is in goes on meanwhile")
        for client in clients[:30]:
            client.close()
        for client in clients[30:]:
            client.send(GET)
        scene.equal([c.read_answer().status for c in clients[30:]], [200] * 10,
                    "room again: those who waited are answered")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
        kept.close()
        allowed(daemon)
        daemon.wait_log("INFO accept: nobody waits any more, after [0-9]+ f")
        scene.equal(daemon.log_count("accept:"), 2, "two log lines of it all")


def scene_a_message_that_does_not_end():
    """It holds what all share, whoever sends it and however alive he is."""
    conf = "[limits]\nrequest_timeout = 300ms\nping_interval = 100ms\n" \
        "pong_timeout = 900ms\n"
    v1 = {"Sec-WebSocket-Protocol": "earshot.v1"}
    with scene.Daemon(conf) as daemon:
        for path, headers in (("/ws/c", {}), ("/ws", v1)):
            client = scene.WebSocket(daemon.port, path, headers=headers)
            closed = threading.Event()

            def drip():
                client.send_frame(TEXT, b"x" * KIB, fin=False)
                while not closed.wait(0.02):
                    client.send_frame(CONTINUATION, b"x", fin=False)

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                code, reason = client.read_closed(answer=False)
            finally:
                closed.set()
                dripping.join()
            scene.equal((code, reason), (1008, "the message does not end"),
                        f"{path} is closed")
            client.close()
        scene.equal(daemon.metric("timeouts_request_total"), 2, "counted")
        scene.equal(daemon.metric("intake_bytes"), 0, "given back")


scene.play(globals())
