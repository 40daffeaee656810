#!/usr/bin/python3
# sanitizer: yes
"""[socket NAME]: unix sockets, datagrams and lines.
"""
import os
import pwd
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene


def socket_feed(name, kind, more=""):
    path = scene.TMP / f"{name}.sock"
    return path, (f"[socket {name}]\npath = {path}\nchannel = {name}\n"
                  f"kind = {kind}\nbackoff_min = 10ms\nbackoff_max = 50ms\n"
                  f"{more}\n")


def connect(path, kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
    sock.connect(str(path))
    return sock


def is_open(daemon, name):
    """Its path is there a moment before it listens."""
    daemon.wait_log(rf"socket is open.*feed={name}\b")


def texts(consumer, count):
    return [consumer.read_text() for _ in range(count)]


def scene_datagrams():
    path, conf = socket_feed("grams", "datagram", "mode = 0620\n"
                             "message_bytes_max = 20")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("socket is open")
        consumer = daemon.ws("grams")
        scene.equal(stat.S_IMODE(path.stat().st_mode), 0o620, "its mode")
        with connect(path, socket.SOCK_DGRAM) as sock:
            sock.send(b"one\ntwo\n")
            sock.send(b"")
            sock.send(b"\xff")
            sock.send("123456789012345678ü!".encode())
            sock.send("1234567890123456789ü!".encode())
        scene.equal(consumer.read_text(), "one\ntwo\n", "one message each")
        scene.equal(consumer.read_text(), "", "an empty one")
        scene.equal(consumer.read_message(), (scene.BINARY, b"\xff"), "binary")
        scene.equal(texts(consumer, 2),
                    ["123456789012345678ü", "1234567890123456789"],
                    "cut between characters")
        scene.equal(daemon.metric("feed_lines_cut_total", feed="grams"), 2,
                    "counted")
    scene.check(not path.exists(), "the path is gone with the daemon")


def scene_lines():
    path, conf = socket_feed("lines", "stream", "connections_max = 2")
    with scene.Daemon(conf) as daemon:
        is_open(daemon, "lines")
        consumer = daemon.ws("lines")
        first, second = connect(path), connect(path)
        first.sendall(b"a\nhalf")
        scene.equal(consumer.read_text(), "a", "a line")
        second.sendall(b"b\n")
        scene.equal(consumer.read_text(), "b", "of another connection")
        third = connect(path)
        third.sendall(b"c\n")
        first.sendall(b" and half\n")
        scene.equal(consumer.read_text(), "half and half",
                    "each has lines of its own")
        for i in range(10):
            second.sendall(b"%d\n" % i)
            scene.equal(consumer.read_text(), f"{i}", "the third waits")
        first.sendall(b"no end")
        first.close()
        scene.equal(sorted(texts(consumer, 2)), ["c", "no end"],
                    "one goes, one that waited comes")
        second.close()
        third.close()


def scene_both_sockets_give_all_of_it():
    stream, conf = socket_feed("s", "stream")
    gram, more = socket_feed("g", "datagram")
    lines = [b"%d " % i + b"y" * (i * 7 % 900) for i in range(8000)]
    big = "[channel **]\nhistory_messages = 100000\nhistory_bytes = 64M\n"
    with scene.Daemon(conf + more + big) as daemon:
        is_open(daemon, "s")
        is_open(daemon, "g")
        readers = [(c, scene.Client(
            kind, f"ws://127.0.0.1:{daemon.port}/ws/{c}", len(lines)))
            for c in "sg" for kind in ("ws", "websockets", "websocket-client")]
        for c in "sg":
            daemon.wait_metric("channel_consumers", 3, channel=c)
        with connect(stream) as sock:
            sock.sendall(b"\n".join(lines) + b"\n")
        with connect(gram, socket.SOCK_DGRAM) as sock:
            for line in lines:
                sock.send(line)  # waits where the kernel's queue is full
        wanted = scene.digest(lines)
        for c, reader in readers:
            scene.equal(reader.result(60)["sha256"], wanted,
                        f"8000 messages of {c} by {reader.kind}")


def scene_whose_it_is():
    path, conf = socket_feed("owned", "stream", "group = nobody-at-all")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("socket cannot be opened: no such user or group")
        scene.check(not path.exists(), "nothing is left of it")
    if os.geteuid() != 0:
        raise scene.Skip("only root may give it away")
    path, conf = socket_feed("given", "datagram",
                             "owner = nobody\ngroup = 65533")
    with scene.Daemon(conf) as daemon:
        is_open(daemon, "given")
        owner = path.stat()
        scene.equal((owner.st_uid, owner.st_gid),
                    (pwd.getpwnam("nobody").pw_uid, 65533), "by name, number")


def scene_no_descriptors_left():
    """accept() fails as long as there are none: told, and no busy loop."""
    path, conf = socket_feed("full", "stream", "connections_max = 1000")
    with scene.Daemon(conf, prefix=["prlimit", "--nofile=64"]) as daemon:
        is_open(daemon, "full")
        consumer = daemon.ws("full")
        metrics = daemon.http_open()
        scene.http_on(metrics, "GET", "/healthz")  # while there are some
        first = connect(path)
        peers = [connect(path) for _ in range(64)]

        def numbers():
            text = scene.http_on(metrics, "GET", "/metrics").body.decode()
            turns = int(text.partition("\nearshot_loop_iterations_total ")
                        [2].split()[0])
            return "cannot accept: Too many open files" in text, turns
        scene.wait_until(lambda: numbers()[0], "told")
        daemon.wait_log("socket cannot accept: Too many open files feed=full")
        turns = numbers()[1]
        for i in range(20):
            first.sendall(b"%d\n" % i)
            scene.equal(consumer.read_text(), f"{i}", "who is in is heard")
        turns = numbers()[1] - turns
        scene.check(turns < 1000, f"{turns} iterations meanwhile")
        for peer in peers[:-1]:
            peer.close()
        peers[-1].sendall(b"me\n")
        scene.equal(consumer.read_text(), "me", "who waited comes in")
        peers[-1].close()
        first.close()


def scene_many_who_shout():
    """What one feed may read in an iteration is shared by its connections."""
    path, conf = socket_feed("shout", "stream", "message_bytes_max = 100")
    with scene.Daemon(conf + "[limits]\nfeed_read_bytes_max = 4K\n"
                      ) as daemon:
        is_open(daemon, "shout")
        peers = [connect(path) for _ in range(8)]
        for peer in peers:
            peer.sendall(b"\n" * 20000)
        daemon.wait_metric("feed_messages_total", 160000, feed="shout")
        cut = daemon.metric("feed_reads_cut_total", feed="shout")
        scene.check(cut >= 200, f"a share is 512 bytes: {cut:.0f} times")
        scene.equal(daemon.log_count("cut off"), 0, "none is cut off")
        for peer in peers:
            peer.sendall(b"x" * 1000)
        daemon.wait_log("socket's messages of more than 100 bytes are cut off,"
                        " [1-8] so far")
        scene.wait_until(lambda: daemon.metric(
            "feed_lines_cut_total", feed="shout") == 8, "all are counted")
        for peer in peers:
            peer.close()


def scene_paths_that_are_taken():
    path, conf = socket_feed("taken", "stream")
    path.write_text("a file")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("socket cannot be opened: something else has its path")
        path.unlink()
        other = socket.socket(socket.AF_UNIX)
        other.bind(str(path))
        other.listen()
        daemon.wait_log("socket cannot be opened: Address already in use")
        other.close()  # and leaves its path behind
        daemon.wait_log("socket is open")
        consumer = daemon.ws("taken")
        with connect(path) as sock:
            sock.sendall(b"hello\n")
        scene.equal(consumer.read_text(), "hello", "what was left is replaced")
        path.unlink()
        path.write_text("another file")
    scene.equal(path.read_text(), "another file", "what is not ours stays")
    path.unlink()


def scene_who_writes_waits():
    path, conf = socket_feed("slow", "datagram", "max_rate = 200")
    with scene.Daemon(conf) as daemon:
        is_open(daemon, "slow")
        with connect(path, socket.SOCK_DGRAM) as sock:
            for i in range(300):
                sock.send(b"%d" % i)
        consumer = daemon.ws("slow", "?from=oldest")
        scene.equal(texts(consumer, 300), [str(i) for i in range(300)],
                    "all, at its rate")


def scene_what_was_taken_is_published_at_the_end():
    path, conf = socket_feed("end", "stream", "max_rate = 10")
    with scene.Daemon(conf) as daemon:
        is_open(daemon, "end")
        consumer = daemon.ws("end")
        with connect(path) as sock:
            sock.sendall(b"".join(b"%d\n" % i for i in range(100)))
            consumer.read_text()
            daemon.signal()
            scene.equal(texts(consumer, 99), [str(i) for i in range(1, 100)],
                        "what had come by SIGTERM")
            scene.equal(consumer.read_closed()[0], 1001, "then the close")
        scene.equal(daemon.wait(), 0, "exit code")


def scene_what_the_kernel_holds_at_the_end():
    """Whoever could write was told that it was taken."""
    stream, conf = socket_feed("s", "stream", "max_rate = 10")
    gram, more = socket_feed("g", "datagram", "max_rate = 1")
    lines = [f"{i} " + "y" * 10 for i in range(5000)]  # some reads' worth
    with scene.Daemon(conf + more + "[channel **]\n"
                      "history_messages = 10000\n") as daemon:
        is_open(daemon, "s")
        is_open(daemon, "g")
        consumer, other = daemon.ws("s"), daemon.ws("g")
        with connect(stream) as sock, \
                connect(gram, socket.SOCK_DGRAM) as datagrams:
            sock.sendall("".join(line + "\n" for line in lines).encode())
            for i in range(6):
                datagrams.send(b"%d" % i)
            consumer.read_text()
            other.read_text()
            daemon.signal()
            scene.equal(texts(consumer, len(lines) - 1), lines[1:], "lines")
            scene.equal(texts(other, 5), ["1", "2", "3", "4", "5"],
                        "datagrams")
            for client in consumer, other:
                scene.equal(client.read_closed()[0], 1001, "then the close")
        scene.equal(daemon.wait(), 0, "exit code")


scene.play(globals())
