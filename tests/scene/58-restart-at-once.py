#!/usr/bin/python3
# sanitizer: yes
"""The next daemon has the same port and the same unix socket at once: after
the end, after a kill, and while the one before still drains."""
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

ROUNDS = 5
CONSUMERS = 20
KEEP = "[channel **]\nbuffer_bytes = 64M\n"


class Unix:
    """A request on a unix socket."""

    def __init__(self, path):
        self.path = path

    def answers(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
        try:
            sock.connect(str(self.path))
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return sock.recv(1000).startswith(b"HTTP/1.1 200")
        finally:
            sock.close()


def conf_for(port, path):
    return (f"[listener ip]\nlisten = 127.0.0.1:{port}\n"
            f"[listener local]\nlisten = unix:{path}\n")


def check_serves(daemon, path):
    consumer = daemon.ws("ticks")
    daemon.publish("ticks", "tick")
    scene.equal(consumer.read_text(), "tick", "a consumer hears")
    scene.check(Unix(path).answers(), "the unix socket answers")
    return consumer


def scene_right_after_the_end():
    path, port = scene.TMP / "socket", scene.free_port()
    for _ in range(ROUNDS):
        daemon = scene.Daemon(conf_for(port, path))
        with daemon:
            consumers = [daemon.ws("ticks") for _ in range(CONSUMERS)]
            consumers.append(check_serves(daemon, path))
            daemon.signal()
            for consumer in consumers:
                consumer.read_closed()
            scene.equal(daemon.wait(), 0, "exit code")
        scene.check(not path.exists(), "no unix socket is left")
    states = scene.run(["cat", "/proc/net/tcp"], code=0).stdout
    waiting = sum(f":{port:04X} " in line and line.split()[3] == "06"
                  for line in states.splitlines())
    scene.check(waiting > 0, f"{waiting} connections in TIME_WAIT, so it "
                "was no luck")


def scene_after_a_cut():
    """Consumers that still have unread data do not hold the port."""
    path, port = scene.TMP / "socket", scene.free_port()
    for _ in range(2):
        conf = conf_for(port, path) + KEEP + "[drain]\ntimeout = 50ms\n"
        with scene.Daemon(conf) as daemon:
            stuck = daemon.ws("ticks", receive_bytes=4096)
            daemon.publish("ticks", "\n".join(["x" * 15000] * 600),
                           arguments="?split=lines")
            daemon.wait_metric('channel_lag_messages{channel="ticks"}', 1)
            scene.equal(daemon.stop(), 3, "exit code")
    stuck.close()


def scene_after_a_kill():
    path, port = scene.TMP / "socket", scene.free_port()
    daemon = scene.Daemon(conf_for(port, path))
    consumer = check_serves(daemon, path)
    daemon.signal(signal.SIGKILL)
    scene.equal(daemon.wait(), -signal.SIGKILL, "exit code")
    scene.check(path.exists(), "its unix socket is left")
    with scene.Daemon(conf_for(port, path)) as daemon:
        check_serves(daemon, path).close()
    consumer.close()


def scene_while_the_other_drains():
    path, port = scene.TMP / "socket", scene.free_port()
    old = scene.Daemon(conf_for(port, path))
    with old:
        held = check_serves(old, path)
        old.signal()
        old.wait_log("INFO draining")
        code, _ = held.read_closed(answer=False)
        with scene.Daemon(conf_for(port, path)) as new:
            consumer = check_serves(new, path)
            scene.check(old.process.poll() is None, "the old one still drains")
            held.send_close(code)
            scene.equal(old.wait(), 0, "the old one's exit code")
            scene.check(Unix(path).answers(), "it took nothing with it")
            consumer.close()
            check_serves(new, path).close()


scene.play(globals())
