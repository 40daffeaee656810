#!/usr/bin/python3
# sanitizer: yes
"""earshot pub: lines become messages, and what is not accepted is named."""
import hashlib
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import scripted

JOIN = b"\n".join


def pub(url, channel, data, *options, code=0, seconds=scene.DEADLINE_S):
    """stdin is a pipe with that; what it says on stderr."""
    done = scene.run([scene.EARSHOT, "pub", channel, "--url", url, *options],
                     data, seconds=seconds, text=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode != code:
        raise scene.Failure(f"exit code {done.returncode}, expected {code}: "
                            f"{said}")
    if done.stdout:
        raise scene.Failure(f"on stdout: {scene.short(done.stdout)}")
    return said


def heard(daemon, channel, count):
    """All messages of a channel so far."""
    consumer = daemon.ws(channel, "?from=oldest")
    got = [consumer.read_message() for _ in range(count)]
    consumer.send_close()
    consumer.read_closed()
    return got


def scene_a_line_is_a_message():
    with scene.Daemon() as daemon:
        pub(daemon.url, "a", b"one\n\ntw\xc3\xb6\n\xff\xfe\r\nlast")
        scene.equal(heard(daemon, "a", 5), [
            (scene.TEXT, b"one"), (scene.TEXT, b""),
            (scene.TEXT, b"tw\xc3\xb6"), (scene.BINARY, b"\xff\xfe\r"),
            (scene.TEXT, b"last")], "text, empty, binary, last without end")
        pub(daemon.url, "b", b"one\n", "--binary")
        scene.equal(heard(daemon, "b", 1), [(scene.BINARY, b"one")],
                    "--binary")
        pub(daemon.url, "c", b"one\ntwo\n", "--whole")
        scene.equal(heard(daemon, "c", 1), [(scene.TEXT, b"one\ntwo\n")],
                    "--whole")
        pub(daemon.url, "d", b"\xff\n", "--whole")
        scene.equal(heard(daemon, "d", 1), [(scene.BINARY, b"\xff\n")],
                    "--whole, not UTF-8")
        before = daemon.metric("messages_in_total")
        scene.equal(pub(daemon.url, "e", b""), "", "nothing in, nothing said")
        scene.equal(daemon.metric("messages_in_total"), before,
                    "nothing in, nothing published")
        scene.equal(pub(daemon.url, "e", b"x\n", "-v"),
                    "earshot: 1 published\n", "-v")


def scene_where_stdin_comes_from():
    def run(channel, stdin, code=0):
        return scene.run([scene.EARSHOT, "--url", daemon.url, "pub", channel],
                         stdin=stdin, code=code)

    with scene.Daemon() as daemon:
        path = scene.TMP / "lines"
        path.write_bytes(b"".join(b"%d\n" % i for i in range(50000)))
        with open(path, "rb") as file:
            run("file", file)
        scene.equal(daemon.metric("messages_in_total"), 50000, "a file")
        run("null", subprocess.DEVNULL)
        folder = os.open(scene.TMP, os.O_RDONLY)
        done = run("folder", folder, code=1)
        os.close(folder)
        scene.equal(done.stderr, "earshot: stdin: Is a directory\n",
                    "a folder is refused")


def scene_a_line_is_sent_when_it_is_there():
    with scene.Daemon() as daemon:
        consumer = daemon.ws("a")
        process = subprocess.Popen(
            [scene.EARSHOT, "pub", "a", "--url", daemon.url],
            stdin=subprocess.PIPE)
        for i in range(3):
            process.stdin.write(b"line %d\nha" % i)
            process.stdin.flush()
            prefix = "ha" if i else ""
            scene.equal(consumer.read_text(), f"{prefix}line {i}",
                        "while stdin stays open")
        process.stdin.close()
        scene.equal(consumer.read_text(), "ha", "the end of the last line")
        scene.equal(process.wait(scene.DEADLINE_S * scene.SLOWNESS), 0,
                    "exit code")


def scene_much():
    random.seed(1)
    lines = []
    for i in range(100000 // scene.SLOWNESS):
        line = b"%06d " % i + b"x" * random.randrange(60)
        lines.append(line + b"\xff" if random.random() < 0.001 else line)
    data = JOIN(lines) + b"\n"
    conf = "[channel **]\nbuffer_bytes = 64M\nhistory_messages = 1000000\n"
    with scene.Daemon(conf) as daemon:
        sub = subprocess.Popen(
            [scene.EARSHOT, "sub", "a", "--from", "oldest", "--url",
             daemon.url, "--count", str(len(lines))], stdout=subprocess.PIPE)
        started = time.monotonic()
        pub(daemon.url, "a", data, seconds=60)
        took = time.monotonic() - started
        out, _ = sub.communicate(timeout=60 * scene.SLOWNESS)
        scene.equal(hashlib.sha256(out).hexdigest(),
                    hashlib.sha256(data).hexdigest(),
                    f"{len(lines)} lines, {len(lines) / took:.0f} a second")


def scene_a_long_line():
    conf = "[limits]\nmessage_bytes_max = 4M\n"
    with scene.Daemon(conf) as daemon:
        long = bytes(range(32, 127)) * 30000
        pub(daemon.url, "a", b"before\n" + long + b"\nafter\n", seconds=60)
        got = heard(daemon, "a", 3)
        scene.equal([hashlib.sha256(m).hexdigest() for _, m in got],
                    [hashlib.sha256(m).hexdigest()
                     for m in (b"before", long, b"after")],
                    "2.85 MB between two short ones")


def scene_the_first_line_refused_is_named():
    conf = "[limits]\nmessage_bytes_max = 10\n"
    with scene.Daemon(conf) as daemon:
        said = pub(daemon.url, "a", b"1\n2\n01234567890\n4\n", code=1)
        scene.check(said.startswith("earshot: line 3: "), said.strip())
        scene.equal(heard(daemon, "a", 2),
                    [(scene.TEXT, b"1"), (scene.TEXT, b"2")],
                    "those before it were published")
        scene.equal(daemon.metric("messages_in_total"), 2, "no others")
        said = pub(daemon.url, "a", b"01234567890", "--whole", code=1)
        scene.check("line" not in said.split(":")[1], said.strip())
    with scene.Daemon("[auth]\nanonymous = subscribe\n") as daemon:
        said = pub(daemon.url, "a", b"1\n", code=1)
        scene.check(said.startswith("earshot: line 1: not_allowed: "),
                    said.strip())


def scene_answers_of_other_servers():
    def expect(reply, said, data=b"1\n2\n3\n"):
        def script(peer):
            while peer.read_request():
                peer.send(reply)

        with scripted.Server(script) as server:
            scene.equal(pub(server.url, "a", data, code=1),
                        f"earshot: {said}\n", said)

    expect(scripted.answer(502, b"<html>", "Bad Gateway"),
           "line 1: HTTP 502 Bad Gateway")
    expect(scripted.answer(400, {"accepted": 1, "error": {
        "line": 2, "code": "odd", "message": "so \x1b[1m it is"}}),
        "line 2: odd: so ?[1m it is")
    expect(scripted.answer(400, {"accepted": 99, "error": 7}, "No"),
           "line 1: HTTP 400 No")
    expect(scripted.answer(201, {"accepted": 2}), "line 3: not accepted")
    expect(b"SSH-2.0-OpenSSH_9.2\r\n",
           "line 1: no answer: the answer is not HTTP/1.1; this and the "
           "lines up to 3 may have been published")


def scene_one_connection_for_all():
    requests = []

    def script(peer):
        while request := peer.read_request():
            requests.append(request)
            accepted = request.body.count(b"\n")
            peer.send(scripted.answer(201, {"accepted": accepted}))

    data = b"x" * 999 + b"\n"
    with scripted.Server(script) as server:
        pub(server.url, "a:b", data * 3000 + b"\xff\n")
        scene.equal(server.count, 1, "connections")
    scene.equal(b"".join(r.body for r in requests), data * 3000 + b"\xff\n",
                f"every byte once, in {len(requests)} requests")
    scene.check(max(len(r.body) for r in requests) <= 1 << 18,
                "at most 256 KiB each")
    scene.equal({(r.method, r.path) for r in requests},
                {("POST", "/channels/a:b/messages?split=lines")}, "where to")
    scene.equal(requests[-1].headers["content-type"],
                "application/octet-stream", "the last line's type")
    scene.equal(requests[0].headers["content-type"],
                "text/plain; charset=utf-8", "the others'")


def scene_a_server_that_closes_each_time():
    bodies = []

    def script(peer):
        request = peer.read_request()
        bodies.append(request.body)
        peer.send(scripted.answer(
            201, {"accepted": request.body.count(b"\n")},
            headers="Connection: close\r\n"))

    data = b"x" * 999 + b"\n"
    with scripted.Server(script) as server:
        pub(server.url, "a", data * 1000)
        scene.check(server.count > 2, f"{server.count} connections")
    scene.equal(b"".join(bodies), data * 1000, "every byte once")


def scene_a_lost_connection_names_the_line():
    def script(peer):
        peer.read_request()
        if peer.number == 0:
            peer.send(scripted.answer(201, {"accepted": 1}))
            peer.read_request()

    with scripted.Server(script) as server:
        process = subprocess.Popen(
            [scene.EARSHOT, "pub", "a", "--url", server.url],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"1\n")
        process.stdin.flush()
        scene.wait_until(lambda: server.count == 1, "the first line is there")
        _, said = process.communicate(
            b"2\n", timeout=scene.DEADLINE_S * scene.SLOWNESS)
        scene.equal(process.returncode, 1, "exit code")
        scene.check(said in (
            b"earshot: line 2: no answer: the server closed the connection; "
            b"it may have been published\n",
            # both lines at once, if the pipe was faster
            b"earshot: line 1: no answer: the server closed the connection; "
            b"this and the lines up to 2 may have been published\n"),
            said.decode().strip())
        scene.equal(server.count, 1, "it was not sent again")


def scene_nobody_there():
    url = f"ws://127.0.0.1:{scene.free_port()}"
    scene.equal(pub(url, "a", b"x\n", "--retries", "0", code=1),
                f"earshot: line 1: not sent: {url}: Connection refused\n",
                "nobody there")
    scene.equal(pub(url, "a", b"x\n", "--retries", "1", "-v",
                    code=1).count("again in"), 1, "one more attempt")
    # A name that no resolver would ask anybody about.
    said = pub("ws://a..b", "a", b"x\n", "--retries", "0", code=1)
    scene.check(said.startswith("earshot: line 1: not sent: ws://a..b: a..b: "),
                said.strip())


def scene_somebody_comes_later():
    port = scene.free_port()
    process = subprocess.Popen(
        [scene.EARSHOT, "pub", "a", "-v", "--retries", "100", "--url",
         f"ws://127.0.0.1:{port}"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"x\n")
    process.stdin.close()
    said = process.stderr.readline()
    scene.check(b"again in" in said, "it waits")
    with scene.Daemon(f"[listener]\nlisten = 127.0.0.1:{port}\n") as daemon:
        scene.equal(process.wait(3 * scene.DEADLINE_S * scene.SLOWNESS), 0,
                    "exit code")
        scene.equal(heard(daemon, "a", 1), [(scene.TEXT, b"x")], "published")
    process.stderr.close()


scene.play(globals())
