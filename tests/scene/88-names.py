#!/usr/bin/python3
# slow
# limit: 180
"""Names of upstreams: several addresses, and a resolver that says nothing.

In namespaces of its own, with its own /etc/hosts and /etc/resolv.conf: skipped
where they are not to be had.
"""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import upstreams

INSIDE = "NAMES_INSIDE" in os.environ
SETUP = """ip link set lo up &&
mount --bind "$HOSTS" /etc/hosts && mount --bind "$RESOLV" /etc/resolv.conf &&
exec "$@"
"""
QUICK = "backoff_min = 10ms\nbackoff_max = 100ms\n"


def inside(name):
    """True there; else that part of this scene is played there."""
    if INSIDE:
        return True
    hosts, resolv = scene.TMP / "hosts", scene.TMP / "resolv.conf"
    hosts.write_text("127.0.0.9 two.test\n127.0.0.1 two.test one.test\n")
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
    enter = ["unshare", "-n", "-m", "sh", "-c", SETUP, "sh"]
    environment = {**os.environ, "HOSTS": str(hosts), "RESOLV": str(resolv)}
    if subprocess.run([*enter, "true"], env=environment, check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        raise scene.Skip("no namespaces of its own")
    done = subprocess.run(
        [*enter, sys.executable, os.path.abspath(__file__), name],
        env={**environment, "NAMES_INSIDE": "1"}, check=False)
    scene.equal(done.returncode, 0, "in namespaces of its own")
    return False


def upstream(name, url):
    return f"[upstream {name}]\nurl = {url}\nchannel = {name}\n{QUICK}"


async def hello(sock, _path):
    await sock.send("hello")
    await upstreams.stay(sock)


def scene_another_address():
    """Nobody is at the first one, which is ours: it is sorted so."""
    if not inside("another_address"):
        return
    with upstreams.Server(hello, host="127.0.0.9") as server:
        conf = upstream("u", server.url("two.test"))
        with scene.Daemon(conf) as daemon:
            scene.equal(daemon.ws("u", "?from=oldest").read_text(), "hello",
                        "the second address of one name")
            scene.equal(daemon.metric("feed_failures_total", feed="u"), 0,
                        "before any back-off")


def scene_a_resolver_that_says_nothing():
    """Dead names take two of four workers; files and commands go on."""
    if not inside("says_nothing"):
        return
    log = scene.TMP / "log"
    log.write_text("")
    conf = "".join(upstream(f"dead{i}", f"ws://dead{i}.test/")
                   for i in range(8))
    conf += f"[file f]\npath = {log}\nchannel = f\n" \
        "[command c]\nexec = sh -c 'echo up; exec sleep 1000'\nchannel = c\n"
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.1", 53))
    resolver.settimeout(5 * scene.SLOWNESS)  # one lookup takes ten
    daemon = scene.Daemon(conf)
    with resolver:
        names = set()
        while len(names) < 2:  # both of them are waited for
            names.add(resolver.recv(512)[12:18])
        consumer = daemon.ws("f")
        for i in range(10):
            with open(log, "a", encoding="ascii") as file:
                file.write(f"{i}\n")
            scene.equal(consumer.read_text(), f"{i}", "a file meanwhile")
        scene.equal(daemon.ws("c", "?from=oldest").read_text(), "up",
                    "a command meanwhile")
        state = [s for s in daemon.metrics() if s.startswith("feed_up{")
                 and "dead" in s and 'state="starting"' in s]
        scene.equal(len(state), 8, "all of them still look their names up")
        scene.equal(daemon.stop(), 3, "its threads are left behind, told")


scene.play(globals())
