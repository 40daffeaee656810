#!/usr/bin/python3
# slow
# sanitizer: yes
"""The control socket: who may, what is told, what is done."""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import socket
import struct
import sys
import tempfile
import termios

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import crowd
import scene

NOBODY = 65534
CONTROL_MAX = 8  # CONTROL_CONNECTIONS_MAX
KEEP = "[channel **]\nbuffer_bytes = 64M\n"


def stuck_consumer(daemon, channel):
    """One that does not read, and lacks more than the kernel can hold."""
    consumer = daemon.ws(channel, receive_bytes=4096)
    body = "\n".join(crowd.text(0, n, 16000) for n in range(1000))
    daemon.publish(channel, body, arguments="?split=lines")
    daemon.wait_metric(f'channel_lag_messages{{channel="{channel}"}}', 1)
    return consumer


def scene_status_says_it_in_words_numbers_and_code():
    with control.Daemon(KEEP + "[drain]\ntimeout = 60s\n") as daemon:
        consumer = daemon.ws("a")
        daemon.publish("a", "hello")
        consumer.read_text()
        told = daemon.earshot("status").stdout
        scene.check(told.startswith("serving for "), told.splitlines()[0])
        scene.check("\n2 connections of 10000, 1 consumer, 1 channel of 10000"
                    "\n1 message (5) in, 1 message (" in told,
                    "numbers")
        scene.check(f"listening on 127.0.0.1:{daemon.port}" in told, "address")
        state = json.loads(daemon.earshot("status", "--json").stdout)
        scene.equal((state["state"], state["consumers"], state["messages_in"],
                     state["pid"]), ("serving", 1, 1, daemon.pid), "as JSON")
        stuck = stuck_consumer(daemon, "b")
        daemon.signal()
        daemon.wait_log("INFO draining")
        told = daemon.earshot("status", code=3).stdout
        scene.check(told.startswith("draining; running for "),
                    "draining: exit code 3")
        daemon.earshot("reload", code=3)
        daemon.earshot("drain")
        scene.check(daemon.process.poll() is None, "a second drain waits, too")
        stuck.close()
        consumer.read_closed()
        scene.equal(daemon.wait(), 0, "exit code of the daemon")
        daemon.earshot("status", code=4)
        scene.check(not daemon.socket.exists(), "the socket's file is gone")


def scene_usage():
    for arguments in (["status", "x"], ["kick"], ["kick", "1.0", "2.0"],
                      ["kick", "1.0", "--channel", "a"],
                      ["kick", "--code", "99"], ["status", "--code", "1000"],
                      ["reload", "--url", "ws://x"], ["pub", "--control", "x"],
                      ["kick", "--channel", "!"], ["log-level", "a", "b"]):
        done = control.earshot("/none", *arguments, code=2)
        scene.check(done.stderr.startswith("earshot: "),
                    f"{' '.join(arguments)}: {done.stderr.splitlines()[0]}")
    done = control.earshot("/no/such", "status", code=4)
    scene.check("No such file" in done.stderr, done.stderr.strip())


def scene_usr1_writes_the_same():
    with control.Daemon() as daemon:
        daemon.publish("a", "hello")
        lines = json.loads(
            daemon.earshot("status", "--json").stdout)["report"]
        daemon.signal(10)
        daemon.wait_log("INFO state: ", count=len(lines))
        logged = re.findall(r"INFO state: (.*)", daemon.log())
        scene.equal([l for l in logged if "serving" not in l
                     and "connection" not in l],
                    [l for l in lines if "serving" not in l
                     and "connection" not in l], "the lines of status")


def scene_who_may():
    if os.geteuid() != 0:
        raise scene.Skip("needs root, to be somebody else")
    others = dict(user=NOBODY, group=NOBODY, extra_groups=[])
    try:
        scene.run([scene.EARSHOT, "--version"], code=0, **others)
    except (OSError, scene.Failure) as why:
        raise scene.Skip("nobody cannot run the program there") from why
    # Not below the runner's folder, which is closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        who_may(pathlib.Path(folder), others)


def who_may(folder, others):
    with control.Daemon(folder=folder) as daemon:
        scene.equal(daemon.socket.stat().st_mode & 0o777, 0o660, "mode")
        ours = dict(user=NOBODY, group=0, extra_groups=[])
        secondary = dict(user=NOBODY, group=NOBODY, extra_groups=[7, 0])
        daemon.earshot("status", **ours)
        daemon.earshot("status", **secondary)
        scene.check(True, "members of the daemon's group may")
        done = daemon.earshot("status", code=5, **others)
        scene.check("Permission denied" in done.stderr, done.stderr.strip())
        daemon.socket.chmod(0o666)
        daemon.earshot("drain", code=5, **others)
        daemon.wait_log(r"WARN control: refused, uid=65534 gid=65534 pid=\d+")
        scene.equal(daemon.metric("refused_peers_total"), 1, "counted")
        daemon.earshot("log-level", "info", **secondary)
        daemon.wait_log("control: log-level info, was info, by uid=65534")
        scene.check(daemon.process.poll() is None, "and it goes on")


def scene_only_there():
    with control.Daemon() as daemon:
        for path in ("status", "drain", "reload"):
            for method in ("GET", "POST"):
                scene.equal(daemon.http(method, f"/control/{path}",
                                        "" if method == "POST" else None)
                            .status, 404, f"{method} {path} for everybody")
        for path in ("/channels", "/sse/a", "/ws/a", "/nothing"):
            scene.equal(daemon.control("GET", path).status, 404,
                        f"{path} on the control socket")
        scene.equal(daemon.control("GET", "/control/drain").status, 405,
                    "GET drain")
        scene.equal(daemon.control("POST", "/control/status").status, 405,
                    "POST status")
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
        sock.connect(str(daemon.socket))
        sock.sendall(b"GET /ws/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
        scene.check(b" 404 " in sock.recv(1000), "no WebSocket either")
        sock.close()


def scene_lists():
    with control.Daemon(KEEP) as daemon:
        stuck = stuck_consumer(daemon, "slow")
        quick = [daemon.ws(f"c.{n % 100}") for n in range(300)]
        for n in range(500):
            daemon.publish(f"many.{n}", "x")
        channels = daemon.look("channels")["channels"]
        scene.equal(len({c["channel"] for c in channels}), 601, "channels")
        listed = daemon.look("connections")["connections"]
        ours = [c for c in listed if c["endpoint"] == "raw"]
        scene.equal(len(ours), 301, "connections")
        slow = [c for c in ours if c["channels"] == ["slow"]][0]
        lag = slow["lag"]
        scene.check(lag["messages"] > 10 and lag["bytes"] > 100000 and
                    lag["seconds"] > 0 and slow["bytes"] > 0,
                    f"the slow one's lag: {lag}")
        scene.check(all(c["lag"]["messages"] == 0 for c in ours
                        if c is not slow), "nobody else lags")
        scene.equal(slow["peer"],
                    "127.0.0.1:%d" % stuck.sock.getsockname()[1], "peer")
        text = daemon.earshot("connections").stdout
        scene.equal(len(text.splitlines()), len(listed) + 1, "lines")
        scene.check(re.search(rf"{slow['conn']} +websocket +raw +{slow['peer']}"
                              r" .* slow +-$", text, re.M), "and its line")
        text = daemon.earshot("channels").stdout
        scene.check(re.search(r"^slow +1 +1.0k ", text, re.M), "channels")
        text = daemon.earshot("top").stdout
        scene.check(len(text.splitlines()) <= 24 and "slow" in text,
                    "top without a terminal: one frame")
        frame = json.loads(daemon.earshot("top", "--json").stdout)
        scene.equal((len(frame["channels"]), frame["status"]["consumers"]),
                    (601, 301), "top --json")
        for client in [stuck, *quick]:
            client.close()


def scene_feeds():
    conf = "[command a]\nexec = /bin/sh -c 'while echo x; do sleep 1; done'\n" \
        "channel = a\n[command b]\nexec = /no/such\nchannel = b\n"
    with control.Daemon(conf) as daemon:
        feeds = scene.wait_until(
            lambda: [f for f in daemon.look("feeds")["feeds"]
                     if f["name"] == "b" and f["last_error"]],
            "b has failed")
        scene.check("no/such" in feeds[0]["last_error"] or feeds,
                    feeds[0]["last_error"])
        # b is tried again and again, and is not down meanwhile.
        scene.wait_until(lambda: re.search(
            r"^a +command +a +running ", daemon.earshot("feeds").stdout, re.M),
            "a runs")
        scene.wait_until(lambda: "feed b (command) is down" in
                         daemon.earshot("status").stdout,
                         "status says which is not")


def scene_kick():
    with control.Daemon() as daemon:
        one, two, three = daemon.ws("a.x"), daemon.ws("a.y"), daemon.ws("b")
        listed = daemon.look("connections")["connections"]
        name = [c["conn"] for c in listed if c["channels"] == ["b"]][0]
        scene.equal(daemon.earshot("kick", name).stdout, "1 kicked\n", "one")
        scene.equal(three.read_closed(), (1008, "kicked"), "1008")
        done = daemon.earshot("kick", "--channel", "a.*", "--code", "4321",
                              "--reason", "geh & komm = ü?")
        scene.equal(done.stdout, "2 kicked\n", "by pattern")
        for consumer in (one, two):
            scene.equal(consumer.read_closed(), (4321, "geh & komm = ü?"),
                        "code and reason")
        daemon.wait_log(r"control: kick a\.\*: 2 with 4321, by uid=\d+ pid=\d+")
        daemon.earshot("kick", name, code=1)
        scene.check(True, "nobody is 1")
        for query in ("", "conn=x", "conn=1", "conn=1.2&channel=a",
                      "channel=!", "conn=0.0&code=1005", "conn=0.0&code=x",
                      "conn=0.0&code=65536", "conn=99999999999.0",
                      "conn=0.0&reason=" + "x" * 124, "conn=0.0&reason=%ff"):
            scene.equal(daemon.control(
                "POST", f"/control/kick?{query}").status, 400, query[:40])


def scene_log_level():
    with control.Daemon() as daemon:
        scene.equal(daemon.earshot("log-level").stdout, "info\n", "level")
        daemon.earshot("log-level", "debug")
        consumer = daemon.ws("a")
        daemon.earshot("kick", "--channel", "a")
        daemon.wait_log(r"DEBUG conn=\d+\.\d+ closing 1008 kicked")
        consumer.read_closed()
        daemon.earshot("log-level", "info")
        daemon.earshot("log-level", "loud", code=1)
        scene.equal(daemon.earshot("log-level").stdout, "info\n", "again")


def scene_half_a_request_and_stays():
    with control.Daemon("[limits]\nhandshake_timeout = 3s\n") as daemon:
        consumer = daemon.ws("a")
        held = []
        for n in range(CONTROL_MAX):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
            sock.connect(str(daemon.socket))
            sock.sendall(b"POST /control/drain HTTP/1.1\r\nHo"[:5 + n * 4])
            held.append(sock)
        scene.wait_until(lambda: daemon.metric(
            'connections{state="handshake"}') >= CONTROL_MAX, "all are in")
        more = socket.socket(socket.AF_UNIX)
        more.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
        more.connect(str(daemon.socket))
        scene.equal(more.recv(10), b"", "one more is closed at once")
        scene.equal(daemon.metric("refused_control_total"), 1, "and counted")
        daemon.publish("a", "x")
        scene.equal(consumer.read_text(), "x", "consumers notice nothing")
        for sock in held:
            scene.equal(sock.recv(10), b"", "handshake_timeout")
        daemon.earshot("status")
        for sock in [more, *held]:
            sock.close()


def scene_a_full_house():
    with control.Daemon("[limits]\nconnections_max = 3\n") as daemon:
        consumers = [daemon.ws("a") for _ in range(3)]
        scene.equal(daemon.look("status")["connections"], 4,
                    "control gets in")
        daemon.earshot("kick", "--channel", "a")
        for consumer in consumers:
            consumer.read_closed()
        scene.wait_until(lambda: daemon.look("status")["consumers"] == 0,
                         "room again")


def scene_where_it_is():
    folder = scene.TMP / "run"
    folder.mkdir()
    with scene.Daemon(env={"RUNTIME_DIRECTORY": f"{folder}:/other"}):
        control.earshot(folder / "control.sock", "status")
        scene.check(True, "in the folder systemd names")
    with scene.Daemon("[control]\nlisten = none\n",
                      env={"RUNTIME_DIRECTORY": str(folder)}):
        scene.equal(list(folder.iterdir()), [], "none")
    with scene.Daemon(env={"RUNTIME_DIRECTORY": "/no/such"}) as daemon:
        daemon.wait_log("WARN .*; nobody can control this daemon")
        scene.equal(daemon.http("GET", "/healthz").status, 200,
                    "goes on without one that nobody asked for")
    daemon = scene.Daemon("[control]\nlisten = unix:/no/such/socket\n",
                          ready=False)
    scene.equal(daemon.wait(), 2, "one that was asked for: exit code 2")


def scene_clients_that_leave():
    """Before their answer, in the middle of one, all at once."""
    with control.Daemon() as daemon:
        for n in range(500):
            daemon.publish(f"many.{n}", "x")
        for n in range(40):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(daemon.socket))
            path = (b"POST /control/reload", b"GET /control/channels",
                    b"GET /control/connections")[n % 3]
            sock.sendall(path + b" HTTP/1.1\r\nHost: x\r\n"
                         b"Content-Length: 0\r\n\r\n")
            if n % 2:
                sock.settimeout(scene.DEADLINE_S)
                sock.recv(10)
            sock.close()
        scene.wait_until(lambda: daemon.metric(
            'connections{state="request"}') <= 1, "they are gone")
        daemon.earshot("status")


def scene_drain():
    with control.Daemon() as daemon:
        consumer = daemon.ws("a")
        daemon.earshot("drain")
        code, reason = consumer.read_closed()
        scene.check(code == 1001 and "retry_after_ms=" in reason, reason)
        scene.equal(daemon.wait(), 0, "exit code")


class Screen:
    """`earshot top` on a terminal of 80x24."""

    def __init__(self, daemon):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(scene.EARSHOT, [scene.EARSHOT, "--control",
                                     str(daemon.socket), "top"])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, 80, 0, 0))

    def more(self):
        if select.select([self.fd], [], [], 0.05)[0]:
            try:
                self.text += os.read(self.fd, 65536)
            except OSError:
                return False
        return True

    def wait(self, pattern):
        return scene.wait_until(
            lambda: (self.more(), re.search(pattern, self.text))[1],
            f"on the screen: {pattern}")

    def end(self, how):
        before = termios.tcgetattr(self.fd)
        how()
        while self.more():
            if self.text.endswith(b"\033[?1049l"):
                break
        _, status = os.waitpid(self.pid, 0)
        after = termios.tcgetattr(self.fd)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status), before[3], after[3]


def scene_top_of_one():
    with control.Daemon() as daemon, daemon.ws("a"):
        screen = Screen(daemon)
        screen.wait(rb"\d connections of 10k, 1 consumer, 1 channel;")
        scene.equal(screen.end(lambda: os.write(screen.fd, b"q"))[0], 0, "q")


def scene_top_on_a_terminal():
    with control.Daemon() as daemon:
        consumers = [daemon.ws(f"c.{n}") for n in range(40)]
        for how in ("q", "^C", "TERM"):
            screen = Screen(daemon)
            screen.wait(rb"\033\[H\033\[J(?s:.*)\033\[H\033\[J(?s:.*)CONN ")
            screen.wait(rb"\033\[H\033\[J(?s:.*)\033\[H\033\[J(?s:.*)"
                        rb"\033\[H\033\[J")
            frame = screen.text.split(b"\033[H\033[J")[2].decode()
            lines = frame.split("\r\n")
            scene.check(len(lines) <= 24 and all(
                len(l) <= 80 for l in lines), "a frame fits into 80x24")
            scene.check(lines[0].startswith("earshot ") and "MSG/S" in frame
                        and "BYTES/S" in frame, "and has both lists")
            scene.check(" 40 consumers, 40 channels; 0 of 0 feeds down" in
                        lines[1], lines[1])
            act = {"q": lambda: os.write(screen.fd, b"q"),
                   "^C": lambda: os.write(screen.fd, b"\x03"),
                   "TERM": lambda: os.kill(screen.pid, 15)}[how]
            code, during, after = screen.end(act)
            scene.equal(code, 0, f"{how} ends it")
            scene.check(not during & termios.ECHO and after & termios.ECHO
                        and after & termios.ICANON, "the terminal is restored")
            scene.check(screen.text.rstrip().endswith(
                b"\033[?7h\033[?25h\033[?1049l"), "and its screen")
        for consumer in consumers:
            consumer.close()


scene.play(globals())
