#!/usr/bin/python3
# slow
# sanitizer: yes
"""A service manager played by the test: what it is told and when, what happens
when it cannot be told, and sockets that it passes.  Needs no systemd; the real
one has the scenes from 70 on.
"""
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

HOOKED = str(scene.BUILD / "tests/lab/earshotd")
FIRST = 3


class Manager:
    """A NOTIFY_SOCKET, and what comes in there: a dict each."""

    def __init__(self):
        self.path = tempfile.mktemp(dir=scene.TMP)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.heard = []

    def env(self, watchdog_s=None, pid=None):
        env = {"NOTIFY_SOCKET": self.path}
        if watchdog_s is not None:
            env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        if pid is not None:
            env["WATCHDOG_PID"] = str(pid)
        return env

    def next(self, seconds):
        """The next one, or None."""
        ready, _, _ = select.select([self.sock], [], [], seconds)
        if not ready:
            return None
        text = self.sock.recv(65536).decode()
        pairs = dict(line.split("=", 1) for line in text.split("\n"))
        self.heard.append(pairs)
        return pairs

    def wait(self, key, pattern=".*", seconds=scene.DEADLINE_S):
        """The first from now on whose key matches."""
        end = scene.deadline(seconds)
        while (left := end - time.monotonic()) > 0:
            pairs = self.next(left)
            if pairs and key in pairs and re.fullmatch(pattern, pairs[key]):
                return pairs
        raise scene.Failure(f"not told {key}={pattern}; {self.heard[-20:]}")

    def count(self, key):
        while self.next(0):
            pass
        return sum(key in pairs for pairs in self.heard)


def scene_the_words_of_a_life():
    manager = Manager()
    with scene.Daemon(env=manager.env(0.6)) as daemon:
        ready = manager.wait("READY")
        scene.equal(ready, {"READY": "1", "STATUS": "listening"}, "READY=1")
        scene.equal(len(manager.heard), 1, "and nothing before it")
        scene.equal(daemon.http("GET", "/readyz").status, 200,
                    "it takes work then")
        manager.wait("WATCHDOG", "1")
        consumer = daemon.ws("a")
        manager.wait("STATUS", "1 consumer on 1 channel, 0/s out")
        before = manager.count("STATUS")
        fed = manager.count("WATCHDOG")
        while manager.count("WATCHDOG") < fed + 3:
            manager.next(1)
        scene.equal(manager.count("STATUS"), before,
                    "a status that does not change is not told again")
        daemon.signal(signal.SIGHUP)
        reloading = manager.wait("RELOADING", "1")
        now = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        scene.check(0 <= now - int(reloading["MONOTONIC_USEC"]) < 60e6,
                    "RELOADING with its moment")
        manager.wait("READY")
        manager.wait("STATUS", "1 consumer .*")
        daemon.signal()
        stopping = manager.wait("STOPPING")
        scene.check(10e6 < int(stopping["EXTEND_TIMEOUT_USEC"]) <= 20e6,
                    f"STOPPING, {stopping['EXTEND_TIMEOUT_USEC']} us more")
        manager.wait("STATUS", "draining: 1 of 1 consumers left, "
                               r"\d s of 10 s")
        consumer.read_closed()
        scene.equal(daemon.wait(), 0, "exit code")
    scene.equal(manager.count("STOPPING"), 1, "STOPPING is told once")
    scene.equal(manager.count("ERRNO"), 0, "no ERRNO")


def scene_why_it_does_not_start():
    manager = Manager()
    conf = scene.TMP / "faults.conf"
    conf.write_text("[listener]\nlisten = nowhere\n[drain]\nx = 1\n")
    scene.run([scene.EARSHOTD, "-c", conf], code=1,
              env={**os.environ, **manager.env()})
    told = manager.wait("ERRNO")
    scene.check(told["ERRNO"] == "22" and "READY" not in told and
                told["STATUS"].startswith(f"{conf}:2: "), told["STATUS"])
    scene.run([scene.EARSHOTD, "-c", conf, "--check"], code=1,
              env={**os.environ, **manager.env()})
    scene.equal(manager.next(0), None, "--check tells it nothing")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        conf.write_text(f"[listener]\nlisten = 127.0.0.1:{port}\n")
        scene.run([scene.EARSHOTD, "-c", conf], code=2,
                  env={**os.environ, **manager.env()})
    told = manager.wait("ERRNO")
    scene.equal(told, {"ERRNO": "98", "STATUS": f"listener: 127.0.0.1:{port}: "
                       "bind: Address already in use"}, "ERRNO and why")


def scene_a_manager_that_cannot_be_told():
    for path, why in ((f"{scene.TMP}/nobody", "No such file or directory"),
                      ("relative", "Invalid argument"),
                      (str(scene.TMP), "Connection refused")):
        with scene.Daemon(env={"NOTIFY_SOCKET": path,
                               "WATCHDOG_USEC": "300000"}) as daemon:
            daemon.wait_log(f"WARN NOTIFY_SOCKET={path}: {why}")
            scene.equal(daemon.http("GET", "/healthz").status, 200,
                        "it works all the same")
            scene.equal(daemon.log_count("NOTIFY_SOCKET"), 1, "told once")


def scene_a_manager_that_does_not_listen():
    """Its queue is full: what matters is told when there is room."""
    manager = Manager()
    filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filler.setblocking(False)
    full = 0
    try:
        while True:
            filler.sendto(b"FULL=1", manager.path)
            full += 1
    except BlockingIOError:
        pass
    with scene.Daemon(env=manager.env(0.6)) as daemon:
        scene.equal(daemon.http("GET", "/healthz").status, 200,
                    f"{full} waiting: it works all the same")
        manager.wait("READY", "1")
        scene.check(True, "READY=1 comes later")
        consumer = daemon.ws("a")
        while True:
            try:
                filler.sendto(b"FULL=1", manager.path)
            except BlockingIOError:
                break
        daemon.signal()
        consumer.read_until(b"shutdown")  # it has begun
        manager.wait("STOPPING", "1")
        scene.check(True, "so does STOPPING=1")
        consumer.send_close(1001)
        scene.equal(daemon.wait(), 0, "exit code")
        consumer.close()


def scene_another_s_watchdog():
    manager = Manager()
    with scene.Daemon(env=manager.env(0.1, pid=os.getpid())) as daemon:
        manager.wait("READY")
        consumer = daemon.ws("a")
        manager.wait("STATUS", "1 consumer .*")
        consumer.close()
        manager.wait("STATUS", "0 consumers .*")
        scene.equal(manager.count("WATCHDOG"), 0, "WATCHDOG_PID is not ours")


def hooked(manager, watchdog_s, block_ms=0):
    """The test build, whose net loop stands still at SIGUSR2."""
    env = manager.env(watchdog_s)
    if block_ms:
        env["EARSHOT_TEST_BLOCK_MS"] = str(block_ms)
    real, scene.EARSHOTD = scene.EARSHOTD, HOOKED
    try:
        daemon = scene.Daemon(env=env)
    finally:
        scene.EARSHOTD = real
    manager.wait("WATCHDOG")
    return daemon


def scene_a_stuck_loop_is_not_fed():
    if scene.MODE == "valgrind":
        raise scene.Skip("the test build is not run there")
    manager = Manager()
    daemon = hooked(manager, 1.2)
    daemon.signal(signal.SIGUSR2)
    told = manager.wait("STATUS", 'stuck in "test hook" for .*')
    scene.check(True, told["STATUS"])
    daemon.wait_log('ERROR the net loop is stuck in "test hook"')
    daemon.wait_log('ERROR loop=net stuck="test hook"')
    fed = manager.count("WATCHDOG")
    end = time.monotonic() + 2 * 1.2
    while time.monotonic() < end:
        manager.next(0.1)
    scene.equal(manager.count("WATCHDOG"), fed, "no WATCHDOG=1 in 2.4 s")
    scene.equal(daemon.log_count("the net loop is stuck"), 1, "named once")
    daemon.process.kill()
    daemon.wait()


def scene_a_handler_that_blocks():
    """STATUS and a counter tell of it; the watchdog is fed all the time."""
    manager = Manager()
    conf = handled.plugin("record", "path = /app", "option.message_ms = 1500",
                          "callback_timeout = 100ms",
                          more="[limits]\nwork_threads = 1\n")
    with scene.Daemon(conf, env=manager.env(0.6)) as daemon:
        client = handled.app(daemon)
        client.send_text("x")
        manager.wait("STATUS", r".*, 1 callback stuck")
        scene.equal((handled.handler_metric(daemon, "stuck"),
                     handled.handler_metric(daemon, "late_total")), (1, 1),
                    "counted")
        fed = manager.count("WATCHDOG")
        while manager.count("WATCHDOG") < fed + 3:
            manager.next(1)
        scene.equal(handled.handler_metric(daemon, "stuck"), 1,
                    "fed three times meanwhile")
        scene.equal(daemon.http("GET", "/healthz").status, 200, "healthy")
        told = manager.wait("STATUS")
        scene.check("stuck" not in told["STATUS"], "then it goes on")
        client.send_close()
        client.read_closed()


def scene_late_answers_do_not_count():
    if scene.MODE == "valgrind":
        raise scene.Skip("the test build is not run there")
    manager = Manager()
    with hooked(manager, 0.6, block_ms=1500) as daemon:
        daemon.signal(signal.SIGUSR2)
        daemon.wait_log(r"WARN the net loop took \d+ ms to answer: the "
                        "watchdog is not fed for that")
        manager.wait("WATCHDOG")
        scene.check(True, "the next answer is")


# Sockets

def start_with(sockets, names, conf, count=None):
    """earshotd with these sockets from descriptor 3 on."""
    count = len(sockets) if count is None else count

    def pass_them():
        high = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(sockets)]
        for i, fd in enumerate(high):
            os.dup2(fd, FIRST + i)
            os.close(fd)

    prefix = ["sh", "-c", f"LISTEN_PID=$$ LISTEN_FDS={count} "
              f"LISTEN_FDNAMES={names} exec \"$@\"", "sh"]
    return scene.Daemon(conf, prefix=prefix, preexec_fn=pass_them,
                        close_fds=False, ready=False)


def bound(address="127.0.0.1", kind=socket.SOCK_STREAM, listen=True):
    sock = socket.socket(type=kind)
    sock.bind((address, 0))
    if listen:
        sock.listen()
    return sock, sock.getsockname()[1]


def answer(port):
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return client.recv(100).split(b"\r\n")[0]


def scene_passed_sockets():
    named, port = bound()
    addressed, other = bound()
    conf = (f"[listener web]\nlisten = 127.0.0.1:0\n"
            f"[listener]\nlisten = 127.0.0.1:{other}\n")
    with start_with([named, addressed], "web:x", conf) as daemon:
        daemon.wait_ready()
        scene.equal([answer(p) for p in (port, other)],
                    [b"HTTP/1.1 200 OK"] * 2, "by name, by address")
        scene.equal(daemon.stop(), 0, "exit code")
    probe = socket.create_connection(("127.0.0.1", port), 5)
    probe.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    with start_with([named, addressed], "web:x", conf) as daemon:
        daemon.wait_ready()
        scene.equal(probe.recv(100).split(b"\r\n")[0], b"HTTP/1.1 200 OK",
                    "who came between two daemons is answered by the second")
    probe.close()
    named.close()
    addressed.close()


def scene_passed_what_is_no_socket():
    datagram, _ = bound(kind=socket.SOCK_DGRAM, listen=False)
    deaf, _ = bound(listen=False)
    nobody, port = bound()
    with open("/dev/null") as null, start_with(
            [datagram, deaf, null, nobody], "web:web:web:nobody",
            scene.LISTENER) as daemon:
        daemon.wait_ready()
        for pattern in (r"WARN fd 3 \(web\), passed to us, is no stream",
                        r"WARN fd 4 \(web\), passed to us, does not listen",
                        r"WARN fd 5 \(web\), passed to us, is no socket",
                        rf"WARN fd 6 \(nobody, 127.0.0.1:{port}\) was passed "
                        r"to us and no \[listener\] has that name"):
            daemon.wait_log(pattern)
        scene.equal(answer(daemon.ports[0]), b"HTTP/1.1 200 OK",
                    "its own listener works")
        held = [os.readlink(f"/proc/{daemon.pid}/fd/{f}")
                for f in os.listdir(f"/proc/{daemon.pid}/fd")]
        inode = os.fstat(nobody.fileno()).st_ino
        scene.check(f"socket:[{inode}]" not in held, "none of them is kept")
    for sock in (datagram, deaf, nobody):
        sock.close()


def scene_passed_more_than_there_is():
    with start_with([], "a", scene.LISTENER, count=1) as daemon:
        daemon.wait_log(r"WARN LISTEN_FDS=1: .*; no socket is taken")
        daemon.wait_ready()
        scene.equal(answer(daemon.ports[0]), b"HTTP/1.1 200 OK",
                    "its own listener works")


def scene_passed_the_other_kind():
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"{scene.TMP}/x")
    sock.listen()
    daemon = start_with([sock], "web", "[listener web]\n"
                        "listen = 127.0.0.1:0\n")
    scene.equal(daemon.wait(), 1, "exit code")
    daemon.wait_log(r"ERROR listener web: the socket passed by that name is "
                    rf"unix:{scene.TMP}/x, expected an IP address as in "
                    r"listen = 127.0.0.1:0")
    scene.check(os.path.exists(f"{scene.TMP}/x"), "the path is untouched")
    sock.close()


def scene_commands_are_not_told():
    sock, port = bound()
    manager = Manager()
    os.environ.update(manager.env(5))
    try:
        with start_with([sock], "web", f"[listener web]\nlisten = 127.0.0.1:"
                        f"{port}\n[command env]\nexec = env\n"
                        "channel = env\n") as daemon:
            daemon.wait_ready()
            daemon.wait_log("command ended with status 0")
            with scene.WebSocket(port, "/ws/env?from=oldest") as client:
                lines = []
                while not lines or not lines[-1].startswith("PATH="):
                    lines.append(client.read_text())
    finally:
        for name in manager.env(5):
            del os.environ[name]
    scene.equal([n for n in lines if n.startswith(
        ("NOTIFY", "LISTEN", "WATCHDOG"))], [], "what systemd tells us alone")
    sock.close()


scene.play(globals())
