#!/usr/bin/python3
# sanitizer: yes
"""earshot sub --raw: the raw view of one channel, from any server."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import scripted
from listener import Sub, sub

EPOCH = "0123456789abcdef"
OTHER = "fedcba9876543210"


def scene_a_message_is_a_line():
    with scene.Daemon() as daemon:
        for body, kind in ((b"one", "text/plain"), (b"", "text/plain"),
                           (b"\xff\x00", "application/octet-stream"),
                           (b'{"a": 1}', "application/json")):
            daemon.publish("a", body, kind)
        out, said = sub(daemon.url, "a", "--raw", "--from", "oldest", "-n", 4)
        scene.equal(out, b'one\n\n\xff\x00\n{"a": 1}\n', "payload and newline")
        scene.equal(said, "", "nothing on stderr, which is no terminal")
        out, _ = sub(daemon.url, "--json", "--raw", "a", "--from", "-3", "-n",
                     3)
        scene.equal([json.loads(line) for line in out.splitlines()], [
            {"channel": "a", "offset": 2, "text": ""},
            {"channel": "a", "offset": 3, "base64": "/wA="},
            {"channel": "a", "offset": 4, "text": '{"a": 1}'}], "--json")
        listener = Sub(daemon.url, "a", "--raw")
        daemon.wait_metric('connections{state="websocket"}', 1)
        daemon.publish("a", "five")
        scene.equal(listener.line(), b"five\n", "live")
        listener.process.terminate()
        listener.end()


def scene_a_server_without_positions():
    def script(peer):
        peer.upgrade(peer.read_request())
        peer.send_text(f"number {peer.number}")

    with scripted.Server(script) as server:
        out, _ = sub(server.url, "a", "--raw", "--json", "-n", 2)
    scene.equal([json.loads(line) for line in out.splitlines()], [
        {"channel": "a", "text": "number 0"},
        {"channel": "a", "text": "number 1"}], "goes on with what comes then")


def scene_nothing_is_lost_by_lost_connections():
    total = 200

    def start(step):
        """A server that sends on from where it is asked to, and breaks off."""
        asked = []

        def script(peer):
            request = peer.read_request()
            asked.append(request.path)
            offset = 0
            if "from=" in request.path:
                offset = int(request.path.rpartition(":")[2])
            peer.upgrade(request, Earshot_Position=f"{EPOCH}:{offset}",
                         Earshot_Recovered="true")
            wire = b"".join(
                scene.frame(scene.TEXT, b"%d" % (i + 1), mask=False)
                for i in range(offset, total))
            if peer.number < 4:
                peer.send(wire[:step * (peer.number + 1)])
            else:
                peer.send(wire)
                peer.read_close()

        return asked, scripted.Server(script)

    runs = []
    for step in 1, 7, 50, 97:  # frames have 3 to 5 bytes
        asked, server = start(step)
        runs.append((asked, server, Sub(server.url, "a", "--raw", "-n", total)))
    for asked, server, listener in runs:
        out, said = listener.end(seconds=3 * scene.DEADLINE_S)
        server.close()
        scene.equal(out, "".join(f"{i + 1}\n" for i in range(total)).encode(),
                    f"{total} messages, {server.count} connections")
        scene.equal(said, "", "nothing to say")
        scene.equal(asked[0], "/ws/a", "the first is live")
        scene.check(all(f"from={EPOCH}:" in p for p in asked[1:]),
                    "the others ask for a position")


def scene_a_gap_is_told():
    asked = []

    def script(peer):
        request = peer.read_request()
        asked.append(request.path)
        if peer.number == 0:
            peer.upgrade(request, Earshot_Position=f"{EPOCH}:4")
            peer.send_text("five")
            peer.send_close(4009, f"gap {EPOCH}:6-90")
            peer.read_close()
        elif peer.number == 1:  # not even from there
            peer.upgrade(request, Earshot_Position=f"{OTHER}:7",
                         Earshot_Recovered="false")
            peer.send_close(4009, "gap: not recovered")
            peer.read_close()
        else:
            peer.upgrade(request, Earshot_Position=f"{OTHER}:7",
                         Earshot_Recovered="true")
            peer.send_text("eight")
            peer.read_close()

    with scripted.Server(script) as server:
        out, said = sub(server.url, "a", "--raw", "--json", "-n", 2)
    scene.equal([json.loads(line)["offset"] for line in out.splitlines()],
                [5, 8], "offsets around the gaps")
    scene.equal(said, "earshot: a: messages 6 to 90 are gone\n"
                "earshot: a: some messages are gone; goes on after "
                f"{OTHER}:7\n", "both gaps")
    scene.equal(asked, ["/ws/a", f"/ws/a?from={EPOCH}:90",
                        f"/ws/a?from={OTHER}:7"], "what it asked for")


def scene_a_server_says_when_to_come_back():
    times = []

    def script(peer):
        times.append(time.monotonic())
        peer.upgrade(peer.read_request())
        if peer.number == 0:
            peer.send_close(1001, "shutdown retry_after_ms=700")
            peer.read_close()
        else:
            peer.send_text("again")
            peer.read_close()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", "--raw", "-n", 1)[0], b"again\n", "it came")
    scene.check(times[1] - times[0] >= 0.7, "not before the time")


def scene_a_refusal_is_final():
    with scene.Daemon("[auth]\nanonymous = publish\n") as daemon:
        said = sub(daemon.url, "a", "--raw", code=1)[1]
        scene.check(said.startswith(f"earshot: {daemon.url}: not_allowed: "),
                    said.strip())

    def script(peer):
        peer.upgrade(peer.read_request())
        peer.send_close(4403, "not you")
        peer.read_close()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", "--raw", code=1)[1],
                    f"earshot: {server.url}: closed with 4403: not you\n",
                    "closed for good")


def scene_a_daemon_that_comes_back():
    port = scene.free_port()
    conf = f"[listener]\nlisten = 127.0.0.1:{port}\n"
    url = f"ws://localhost:{port}"  # which may be ::1 first
    with scene.Daemon(conf) as daemon:
        listener = Sub(url, "a", "--raw", "-v")
        daemon.wait_metric('connections{state="websocket"}', 1)
        daemon.publish("a", "before")
        scene.equal(listener.line(), b"before\n", "before")
    with scene.Daemon(conf) as daemon:
        daemon.publish("a", "between")
        scene.equal(listener.line(), b"between\n", "of the new epoch")
        daemon.wait_metric('connections{state="websocket"}', 1,
                           2 * scene.DEADLINE_S)
        daemon.publish("a", "after")
        scene.equal(listener.line(), b"after\n", "after")
        listener.process.terminate()
        said = listener.end()[1]
    scene.check("a: some messages are gone; goes on after " in said,
                "another epoch is told")


scene.play(globals())
