#!/usr/bin/python3
# sanitizer: yes
"""Server-sent events, byte by byte: positions, gaps, kinds, notices, the end."""
import base64
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import upstreams

KIB = 1024
KEPT = "[channel kept]\nhistory_messages = 5\n" \
    "[channel gone]\nhistory_messages = 5\nbuffer_bytes = 64K\n" \
    "[channel {0}]\nhistory_messages = 0\nbuffer_bytes = 64K\noverrun = {0}\n"
OTHER = "0123456789abcdef:7"


class Events:
    """GET /sse/CHANNEL; blocks as lists of (field, value)."""

    def __init__(self, daemon, path="/sse/kept", status=200, small=False,
                 **headers):
        self.raw = scene.Raw(daemon.port, receive_bytes=2048 if small else 0)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n"
                        for name, value in headers.items())
        self.raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
                      .encode())
        answer = self.raw.read_answer()
        self.status, self.headers, self.body = answer
        if self.status != status:
            raise scene.Failure(f"{path}: {answer}")

    def block(self):
        """The next one; None at the end of the stream."""
        text = self.raw.read_until(b"\n\n")
        if text is None:
            return None
        return [tuple(line.partition(": ")[::2])
                for line in text[:-2].decode().split("\n")]

    def position(self):
        """A block that says where the stream is and nothing else."""
        block = self.block()
        if len(block) != 1 or block[0][0] != "id":
            raise scene.Failure(f"not a position: {block}")
        return block[0][1]

    def gap(self):
        block = dict(self.block())
        if block["event"] != "gap":
            raise scene.Failure(f"not a gap: {block}")
        told = json.loads(block["data"])
        return block["id"], told["from"], told["to"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()


def scene_payloads():
    with scene.Daemon(KEPT.format("skip")) as daemon, Events(daemon) as events:
        scene.equal(events.headers["Content-Type"], "text/event-stream",
                    "its type")
        scene.equal(events.headers["Cache-Control"], "no-store", "not kept")
        place = events.position()
        epoch, _, offset = place.partition(":")
        scene.equal((offset, events.headers["Earshot-Position"],
                     events.headers["Earshot-Recovered"]),
                    ("0", place, "true"), "where it begins, twice")
        for n, (body, kind, wanted) in enumerate((
                ("hello", "text/plain", [("data", "hello")]),
                ("", "text/plain", [("data", "")]),
                ("a\nb\r\nc\rd\n", "text/plain",
                 [("data", t) for t in ("a", "b", "c", "d", "")]),
                (" id: 5\n\nevent: x", "text/plain",
                 [("data", " id: 5"), ("data", ""), ("data", "event: x")]),
                ('{"a":\n1.10}', "application/json",
                 [("data", '{"a":'), ("data", "1.10}")]),
                (b"\0\n\xff", "image/png",
                 [("event", "base64"),
                  ("data", base64.b64encode(b"\0\n\xff").decode())]),
                ("x" * 100000, "text/plain", [("data", "x" * 100000)])), 1):
            daemon.publish("kept", body, kind)
            scene.equal(events.block(), [("id", f"{epoch}:{n}"), *wanted],
                        f"{kind}: {body[:20]!r}")


def scene_where_it_begins():
    with scene.Daemon(KEPT.format("skip")) as daemon:
        for n in range(1, 9):
            daemon.publish("kept", f"{n}")
        with Events(daemon) as events:
            epoch = events.position().partition(":")[0]
        for query, last, wanted in (
                ("", None, []), ("?from=oldest", None, [4, 5, 6, 7, 8]),
                ("?from=-2", None, [7, 8]),
                (f"?from={epoch}:6", None, [7, 8]),
                ("", f"{epoch}:6", [7, 8]),
                ("?from=oldest", f"{epoch}:7", [8]),
                ("?from=-1", f"{epoch}:8", [])):
            headers = {"Last_Event_ID": last} if last else {}
            with Events(daemon, "/sse/kept" + query, **headers) as events:
                at = int(events.position().partition(":")[2])
                got = [int(dict(events.block())["data"]) for _ in wanted]
                scene.equal((at + 1, got), (9 - len(wanted), wanted),
                            f"{query or '-'} {last or ''}")
        # Of another server, of the future, of nobody: from the oldest.
        for last in (OTHER, f"{epoch}:9", "7", "nonsense", "x" * 300):
            with Events(daemon, Last_Event_ID=last) as events:
                scene.equal((events.gap(), dict(events.block())["data"],
                             events.headers["Earshot-Recovered"]),
                            ((f"{epoch}:3", None, None), "4", "false"),
                            f"Last-Event-ID: {last[:30]}")
        body = "\n".join("z" * 100 for _ in range(5000))
        with Events(daemon, "/sse/gone") as events:
            place = events.position()
        daemon.publish("gone", body, arguments="?split=lines")
        with Events(daemon, "/sse/gone", Last_Event_ID=place) as events:
            at, first, to = events.gap()
            scene.equal((first, at.partition(":")[2],
                         dict(events.block())["id"].partition(":")[2]),
                        (1, f"{to}", f"{to + 1}"),
                        f"overtaken meanwhile: gap 1 to {to}")


def scene_overrun():
    for policy in "skip", "latest", "close":
        with scene.Daemon(KEPT.format(policy)) as daemon, \
                Events(daemon, f"/sse/{policy}", small=True) as events:
            at = int(events.position().partition(":")[2])
            line, newest = "y" * 997, 0
            while daemon.metric("overruns_total") == 0:
                # More than the kernel keeps for it, and then it reads.
                told = daemon.publish(policy, "\n".join([line] * 2000),
                                      arguments="?split=lines")
                newest = int(told["position"].partition(":")[2])
                events.raw.sock.settimeout(0.01)
                try:
                    events.raw.more()
                except scene.Failure:
                    pass
                events.raw.sock.settimeout(10 * scene.SLOWNESS)
            daemon.publish(policy, "the last")
            gaps = []
            while block := events.block():
                block = dict(block)
                if "id" not in block:
                    break  # `retry` or a comment
                offset = int(block["id"].partition(":")[2])
                if block.get("event") == "gap":
                    told = json.loads(block["data"])
                    if told["from"] != at + 1 or told["to"] != offset:
                        raise scene.Failure(f"{told} after {at}")
                    gaps.append(told)
                elif offset != at + 1:
                    raise scene.Failure(f"{offset} after {at}, no gap")
                at = offset
                if block["data"] == "the last":
                    break
            if policy == "close":
                scene.equal(gaps, [], "close: no gap, it ends")
                continue
            scene.equal((len(gaps) > 0, at), (True, newest + 1),
                        f"{policy}: told, {gaps[-1]}, and on to the last")


def scene_signs_of_life():
    conf = "[limits]\nping_interval = 100ms\n" + KEPT.format("skip")
    with scene.Daemon(conf) as daemon, Events(daemon) as events:
        events.position()
        for _ in range(3):
            if events.block() != [(":", "")]:
                raise scene.Failure("not a comment")
        scene.check(True, "comments, each interval")
        daemon.publish("kept", "hi")
        while (block := events.block()) == [(":", "")]:
            pass
        scene.equal(dict(block)["data"], "hi", "and events between")


def scene_the_source_comes_and_goes():
    """`notice`, of an upstream's loss: SSE and earshot.v1 are told, the raw
    stream has no place for it."""
    async def serve(sock, _path):
        await sock.send(f"from connection {server.connections}")
        await upstreams.stay(sock)
    with upstreams.Server(serve) as server:
        conf = f"[upstream far]\nurl = {server.url()}\nchannel = kept\n" \
            "backoff_min = 10ms\nbackoff_max = 20ms\n"
        with scene.Daemon(conf) as daemon, \
                Events(daemon, "/sse/kept?from=oldest") as events:
            raw = daemon.ws("kept", "?from=oldest")
            v1 = scene.WebSocket(daemon.port, "/ws", headers={
                "Sec-WebSocket-Protocol": "earshot.v1"})
            v1.send_text('{"id":1,"subscribe":{"channel":"kept",'
                         '"from":"oldest"}}')
            v1.read_text()
            events.position()
            first = "from connection 1"
            scene.equal((dict(events.block())["data"], raw.read_text(),
                         json.loads(v1.read_text())["text"]),
                        (first, first, first), "the first connection")
            server.stop()
            server.start()
            notice = {"upstream": "far", "state": "reconnected"}
            while (block := dict(events.block())).get("event") != "notice":
                pass
            scene.equal(json.loads(block["data"]), notice, "event: notice")
            while "notice" not in (said := json.loads(v1.read_text())):
                pass
            scene.equal(said["notice"], notice, "earshot.v1")
            got = raw.read_text()
            scene.check(got.startswith("from connection "), f"raw: {got}")


def scene_refused():
    with scene.Daemon(KEPT.format("skip")) as daemon:
        for path, status, code in (
                ("/sse/-", 400, "bad_channel"),
                ("/sse/kept?from=new", 400, "bad_from")):
            with Events(daemon, path, status) as events:
                scene.equal(json.loads(events.body)["error"]["code"], code,
                            path)
        with Events(daemon, status=403, Origin="http://elsewhere") as events:
            scene.equal(json.loads(events.body)["error"]["code"],
                        "bad_origin", "a page of elsewhere")
    conf = scene.LISTENER + "origins = http://page.example\n"
    with scene.Daemon(conf) as daemon:
        with Events(daemon, Origin="http://page.example") as events:
            scene.equal((events.headers["Access-Control-Allow-Origin"],
                         events.headers["Vary"]),
                        ("http://page.example", "Origin"),
                        "a page that is allowed by name")
        answer = daemon.http("OPTIONS", "/sse/c", headers={
            "Origin": "http://page.example"})
        scene.check("Last-Event-ID" in
                    answer.headers["Access-Control-Allow-Headers"],
                    "and may say where it was")
    with scene.Daemon("[auth]\nanonymous = publish\n") as daemon:
        with Events(daemon, status=403) as events:
            scene.equal(json.loads(events.body)["error"]["code"],
                        "not_allowed", "without the right")


def scene_the_server_goes():
    with scene.Daemon("[drain]\nretry_spread = 3s\n") as daemon:
        listeners = [Events(daemon, "/sse/c") for _ in range(5)]
        for events in listeners:
            events.position()
        daemon.publish("c", "last words")
        daemon.signal()
        waits = []
        for events in listeners:
            scene.equal(dict(events.block())["data"], "last words",
                        "all there is")
            waits.append(int(dict(events.block())["retry"]))
            scene.equal(events.block(), None, "and the end")
            events.raw.close()
        scene.equal(daemon.wait(), 0, "delivered")
        scene.check(all(0 <= w <= 3000 for w in waits) and
                    len(set(waits)) > 1, f"when to come back: {waits}")


scene.play(globals())
