#!/usr/bin/python3
# sanitizer: yes
# limit: 180
"""mirror = yes: another earshot's channel, through cuts and restarts of both.

CUTS is how many connections are cut (20).
"""
import json
import os
import select
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import scene

CUTS = int(os.environ.get("CUTS", "20"))
QUICK = "backoff_min = 2ms\nbackoff_max = 20ms\n"


def mirror(port, more=QUICK, channel="copy", remote="ticks"):
    return (f"[upstream m]\nurl = ws://127.0.0.1:{port}/ws\nmirror = yes\n"
            f"channel = {channel}\nremote_channel = {remote}\n{more}\n")


class Cutter:
    """A port in front of another, whose connections can be cut."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.total = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.total += 1
            pair = (client, server)
            self.pairs.append(pair)
            threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, client, server):
        try:
            while True:
                for sock in select.select([client, server], [], [])[0]:
                    data = sock.recv(1000)  # small: cuts fall anywhere
                    if not data:
                        raise OSError
                    (server if sock is client else client).sendall(data)
        except (OSError, ValueError):
            client.close()
            server.close()

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for client, server in pairs:
            for sock in client, server:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
        self.cut()


def scene_twenty_cuts():
    big = "[channel **]\nhistory_messages = 1000000\nhistory_bytes = 64M\n"
    with scene.Daemon(big) as source:
        cutter = Cutter(source.port)
        with scene.Daemon(mirror(cutter.port) + big) as daemon:
            consumer = daemon.ws("copy", "?from=oldest")
            sent = 0
            for cut in range(CUTS):
                lines = "\n".join(f"m{sent + i}" for i in range(500))
                source.publish("ticks", lines, arguments="?split=lines")
                sent += 500
                daemon.wait_metric("feed_messages_total",
                                   sent - 250 - cut, feed="m")
                cutter.cut()
            got = [consumer.read_text() for _ in range(sent)]
            scene.equal(got, [f"m{i}" for i in range(sent)],
                        f"{sent} messages through {cutter.total} connections: "
                        "0 lost, 0 twice")
            scene.check(cutter.total > CUTS // 2, "it was cut")
            scene.equal(daemon.metric("feed_messages_total", feed="m"), sent,
                        "counted")
        cutter.close()


def scene_every_kind_of_message():
    with scene.Daemon() as source:
        source.publish("ticks", "tëxt\n\u0000\"")
        source.publish("ticks", '{"a": 1.10}', kind="application/json")
        source.publish("ticks", b"\xff\x00", kind="application/octet-stream")
        source.publish("ticks", "x" * 1048576)
        source.publish("ticks", b"\x01" * 1048576)
        with scene.Daemon(mirror(source.port)) as daemon:
            consumer = daemon.ws("copy", "?from=oldest")
            for wanted in ((scene.TEXT, "tëxt\n\u0000\"".encode()),
                           (scene.TEXT, b'{"a": 1.10}'),
                           (scene.BINARY, b"\xff\x00"),
                           (scene.TEXT, b"x" * 1048576),
                           (None, b"\x01" * 1048576)):
                got = consumer.read_message()
                scene.equal(got[1], wanted[1], f"{wanted[1][:20]!r}")
                scene.check(wanted[0] in (None, got[0]), "its kind")
            history = scene.json_of(daemon.http(
                "GET", "/channels/copy/messages?limit=2&from=oldest"))
            scene.equal(history["messages"][1]["data"], {"a": 1.1},
                        "JSON stays JSON")


def scene_compressed_once_for_all():
    """Three mirrors, and what they are sent is compressed once."""
    count = 400
    big = "[channel **]\nhistory_messages = 1000000\nhistory_bytes = 64M\n"
    lines = [f'{{"n":{n},"text":"{"tick " * (n % 50)}"}}'
             for n in range(count)]
    with scene.Daemon(big) as source:
        source.publish("ticks", "\n".join(lines), arguments="?split=lines")
        source.publish("ticks", "ä" * 400000)
        conf = big + "".join(
            mirror(source.port, channel=f"copy{n}").replace(
                "[upstream m]", f"[upstream m{n}]") for n in range(3))
        conf += mirror(source.port, QUICK + "compression = no\n", "plain")
        with control.Daemon(conf) as daemon:
            for channel in "copy0", "copy1", "copy2", "plain":
                consumer = daemon.ws(channel, "?from=oldest")
                scene.equal([consumer.read_text() for _ in range(count + 1)],
                            lines + ["ä" * 400000], channel)
            feeds = {f["name"]: f for f in daemon.look("feeds")["feeds"]}
            for n in range(3):
                got = feeds[f"m{n}"]
                scene.equal(got["compressed"], True, "agreed on")
                scene.check(0 < got["compressed_bytes"] < got["bytes"] / 4,
                            f"{got['compressed_bytes']} for {got['bytes']}")
            scene.equal((feeds["m"]["compressed"],
                         feeds["m"]["compressed_bytes"]), (False, 0),
                        "compression = no")
        scene.equal(source.metric("views_compressed_total"), count + 1,
                    "each message once for all of them")


def v1(daemon, channel):
    client = scene.WebSocket(daemon.port, "/ws", headers={
        "Sec-WebSocket-Protocol": "earshot.v1"})
    client.send_text(json.dumps({"id": 1, "subscribe": {
        "channel": channel, "from": "oldest"}}))
    return client


def scene_a_new_epoch_is_told_on():
    port = scene.free_port()
    conf = f"[listener]\nlisten = 127.0.0.1:{port}\n"
    with scene.Daemon(conf) as first:
        first.publish("ticks", "1")
        daemon = scene.Daemon(mirror(port))
        client = v1(daemon, "copy")
        raw = daemon.ws("copy", "?from=oldest")
        scene.equal(raw.read_text(), "1", "the first epoch")
    with daemon:
        daemon.wait_log("feed=m.*again in|again in.*feed=m|"
                        "upstream.*again in")
        with scene.Daemon(conf) as second:
            second.publish("ticks", "one")
            second.publish("ticks", "two")
            scene.equal([raw.read_text(), raw.read_text()], ["one", "two"],
                        "the second one, from its start")
            daemon.wait_log("upstream has begun a new epoch")
            seen = []
            while not any("new_epoch" in text for text in seen):
                seen.append(client.read_text())
            scene.check(any('"reconnected"' in text for text in seen),
                        "reconnected")
            scene.check(True, seen[-1])
            second.publish("ticks", "three")
            scene.equal(raw.read_text(), "three", "and it goes on")


def scene_what_was_not_kept():
    short = "[channel **]\nhistory_messages = 5\nhistory_bytes = 16K\n" \
        "buffer_bytes = 64K\n"
    with scene.Daemon(short) as source:
        cutter = Cutter(source.port)
        with scene.Daemon(mirror(cutter.port)) as daemon:
            consumer = daemon.ws("copy")
            source.publish("ticks", "first")
            scene.equal(consumer.read_text(), "first", "first")
            listener, cutter.target = cutter.target, 1
            cutter.cut()
            source.publish("ticks", "\n".join(
                "y" * 1000 for _ in range(1000)), arguments="?split=lines")
            source.publish("ticks", "last")
            cutter.target = listener
            daemon.wait_log("upstream did not keep [0-9]+ messages")
            while consumer.read_text() != "last":
                pass
            scene.check(True, "told, and it goes on")
        cutter.close()


def kept(folder, port, more=""):
    return f"[state]\ndirectory = {folder}\n" + \
        mirror(port, more=QUICK + more) \
        + "[channel **]\nhistory_messages = 1000000\nhistory_bytes = 64M\n"


def state_folder(name):
    folder = scene.TMP / name
    folder.mkdir()
    return folder


def stored(folder):
    try:
        return (folder / "upstream-m.position").read_text().split()
    except FileNotFoundError:
        return [""] * 4


def all_of(daemon, count, channel="copy"):
    consumer = daemon.ws(channel, "?from=oldest")
    return [consumer.read_text() for _ in range(count)]


def publish(source, start, count):
    source.publish("ticks", "\n".join(
        f"m{n}" for n in range(start, start + count)),
        arguments="?split=lines")


def scene_restarts_of_its_own_daemon():
    """Stopped cleanly, while messages come: 0 lost, 0 twice."""
    rounds, size = 6, 400
    folder = state_folder("clean")
    big = "[channel **]\nhistory_messages = 1000000\nhistory_bytes = 64M\n"
    with scene.Daemon(big) as source:
        got = []
        for turn in range(rounds):
            publish(source, turn * size, size // 2)
            with scene.Daemon(kept(folder, source.port)) as daemon:
                consumer = daemon.ws("copy", "?from=oldest")
                publish(source, turn * size + size // 2, size // 2)
                got += [consumer.read_text() for _ in range(
                    size // 2 if turn < rounds - 1 else
                    rounds * size - len(got))]
                daemon.signal()
                while True:
                    try:
                        got.append(consumer.read_text())
                    except scene.Closed:
                        consumer.close()
                        break
                scene.equal(daemon.wait(), 0, "exit code")
            scene.equal(int(stored(folder)[2].split(":")[1]), len(got),
                        f"{len(got)} heard, and kept")
        scene.equal(got, [f"m{n}" for n in range(rounds * size)],
                    f"{rounds} lives: 0 lost, 0 twice")


def scene_it_dies():
    """kill -9: what moved in the last second may come twice, nothing is lost.
    """
    folder = state_folder("dies")
    with scene.Daemon() as source:
        publish(source, 0, 100)
        with scene.Daemon(kept(folder, source.port)) as daemon:
            scene.equal(len(all_of(daemon, 100)), 100, "100 before")
            scene.wait_until(lambda: stored(folder)[2].endswith(":100"),
                             "kept, a second after it moved")
            publish(source, 100, 50)
            all_of(daemon, 150)
            daemon.signal(9)
            daemon.wait()
        publish(source, 150, 50)
        place = int(stored(folder)[2].split(":")[1])
        scene.check(place in (100, 150), f"at {place} when it died")
        with scene.Daemon(kept(folder, source.port)) as daemon:
            scene.equal(all_of(daemon, 200 - place),
                        [f"m{n}" for n in range(place, 200)],
                        "from there on, all of it")


def scene_what_waits_is_not_kept():
    """max_rate holds messages: the position does not run ahead of them."""
    folder = state_folder("slow")
    with scene.Daemon() as source:
        publish(source, 0, 300)
        conf = kept(folder, source.port, "max_rate = 20\n")
        with scene.Daemon(conf) as daemon:
            scene.wait_until(lambda: stored(folder)[2] != "" or daemon.metric(
                "feed_messages_total", feed="m") > 30, "it has begun")
            # The place first: what is published meanwhile is behind it.
            place = int((stored(folder)[2] or ":0").split(":")[1])
            heard = daemon.metric("feed_messages_total", feed="m")
            scene.check(place <= heard, f"{heard} published, at {place}")
            daemon.signal()
            scene.equal(daemon.wait(), 0, "exit code")
        place = int(stored(folder)[2].split(":")[1])
        with scene.Daemon(kept(folder, source.port)) as daemon:
            publish(source, 300, 1)
            scene.equal(all_of(daemon, 301 - place),
                        [f"m{n}" for n in range(place, 301)],
                        f"goes on after {place}")


def scene_a_position_of_another():
    folder = state_folder("other")
    with scene.Daemon() as source:
        publish(source, 0, 3)
        with scene.Daemon(kept(folder, source.port)) as daemon:
            all_of(daemon, 3)
        scene.check(stored(folder)[2].endswith(":3"), "kept")
        conf = kept(folder, source.port).replace(
            "remote_channel = ticks", "remote_channel = tocks")
        source.publish("tocks", "other")
        with scene.Daemon(conf) as daemon:
            scene.equal(all_of(daemon, 1), ["other"],
                        "another channel: from its oldest")
    with scene.Daemon() as source:
        publish(source, 100, 2)
        conf = kept(folder, source.port).replace(
            "remote_channel = ticks", "remote_channel = tocks")
        source.publish("tocks", "new")
        with scene.Daemon(conf) as daemon:
            scene.equal(all_of(daemon, 1), ["new"], "another epoch")
            daemon.wait_log("upstream has begun a new epoch")
        (folder / "upstream-m.position").write_text("rubbish\n")
        with scene.Daemon(conf) as daemon:
            daemon.wait_log("position cannot be read: Bad message; from the "
                            "oldest")
            scene.equal(all_of(daemon, 1), ["new"], "rubbish: the oldest")


def scene_nowhere_to_keep_it():
    if os.geteuid() == 0:
        folder = scene.TMP / "no-such-folder"
    else:
        folder = "/proc"
    with scene.Daemon() as source:
        publish(source, 0, 3)
        with scene.Daemon(kept(folder, source.port)) as daemon:
            all_of(daemon, 3)
            daemon.wait_log("upstream's position cannot be kept: No such file")
            publish(source, 3, 3)
            all_of(daemon, 6)
        scene.check(True, "told once, and it goes on")


def scene_not_an_earshot():
    import upstreams

    async def rubbish(sock, _path):
        await sock.send("rubbish")
        await upstreams.stay(sock)
    with upstreams.Server(rubbish, subprotocols=["earshot.v1"]) as server, \
            upstreams.Server(upstreams.stay) as plain:
        for port, what in ((server.port, "speaks no earshot.v1"),
                           (plain.port, "does not speak the subprotocol")):
            with scene.Daemon(mirror(port)) as daemon:
                daemon.wait_log(what, count=2)
                scene.check(True, what)


def scene_demand():
    """A command whose channel nobody listens to."""
    conf = "[command c]\nexec = sh -c 'echo here; exec sleep 1000'\n" \
        "channel = c\nstart = demand\nstop_timeout = 1s\n"
    with scene.Daemon(conf) as daemon:
        def state():
            return next(s.partition('state="')[2].partition('"')[0]
                        for s in daemon.metrics() if s.startswith("feed_up"))
        scene.equal(state(), "waiting", "nobody listens")
        for turn in range(3):
            consumer = daemon.ws("c")
            scene.equal(consumer.read_text(), "here", "the first consumer")
            second = daemon.ws("c")
            consumer.close()
            daemon.wait_metric("channel_consumers", 1, channel="c")
            scene.equal(state(), "running", "while there is one")
            second.close()
            if turn == 1:  # come back while it ends
                continue
            scene.wait_until(lambda: state() == "waiting", "the last is gone")
        scene.check(daemon.log_count("again in") == 0, "no back-off")


scene.play(globals())
