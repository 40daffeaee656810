#!/usr/bin/python3
# limit: 600
"""Upstreams that come and go: killed, reset, silent behind a dead network.

FLAPS is how often (10).  The silent one needs a network namespace of its own:
skipped where that is not to be had.
"""
import asyncio
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import upstreams

FLAPS = int(os.environ.get("FLAPS", "10"))
INSIDE = "FLAPS_INSIDE" in os.environ
QUICK = "backoff_min = 2ms\nbackoff_max = 20ms\nping_interval = 100ms\n" \
    "pong_timeout = 200ms\n"


async def tick(sock, _path):
    number = 0
    while True:
        await sock.send(str(number))
        number += 1
        await asyncio.sleep(0.005)


def upstream(server):
    return f"[upstream u]\nurl = {server.url()}\nchannel = u\n{QUICK}\n"


def usage(daemon):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        rss = next(int(line.split()[1]) for line in file
                   if line.startswith("VmRSS"))
    return (daemon.fd_count(), len(os.listdir(f"/proc/{daemon.pid}/task")),
            rss)


def hear(consumer, count=3):
    for _ in range(count):
        consumer.read_text()


def flap(daemon, server, consumer, break_it, mend):
    hear(consumer)
    opened = daemon.metric("feed_restarts_total", feed="u")
    break_it()
    mend()
    daemon.wait_metric("feed_restarts_total", opened + 1, feed="u")
    while consumer.read_text() != "0":  # of the new connection
        pass
    hear(consumer)


def rounds(break_it, mend, server, what):
    # The scene's client does not answer pings.
    limits = "[limits]\nping_interval = 1h\n"
    with scene.Daemon(upstream(server) + limits) as daemon:
        consumer = daemon.ws("u")
        for _ in range(2):
            flap(daemon, server, consumer, break_it, mend)
        before = usage(daemon)
        for _ in range(FLAPS):
            flap(daemon, server, consumer, break_it, mend)
        # A server that is late with a pong is left once more.
        after = scene.wait_until(
            lambda: (now := usage(daemon))[:2] == before[:2] and now,
            f"descriptors, threads as before: {before[:2]}")
        scene.check(daemon.metric("feed_restarts_total", feed="u")
                    >= FLAPS + 2, f"{FLAPS} times {what}: reconnected")
        scene.check(after[2] - before[2] < 1024 * scene.SLOWNESS ** 2
                    + FLAPS * 10, f"RSS {before[2]} -> {after[2]} KiB")
        hear(consumer, 5)


def scene_killed():
    with upstreams.Server(tick, close_timeout=0.1) as server:
        def stop():
            server.stop()
        rounds(stop, server.start, server, "stopped and started")


def scene_reset():
    with upstreams.Server(tick) as server:
        rounds(server.reset, lambda: None, server, "reset")


def ipt(*arguments):
    subprocess.run(["iptables", *arguments], check=True)


def scene_silent():
    if not INSIDE:
        if not shutil.which("iptables"):
            raise scene.Skip("no iptables")
        probe = subprocess.run(
            ["unshare", "-n", "sh", "-c",
             "ip link set lo up && iptables -L -n"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if probe.returncode != 0:
            raise scene.Skip("no network namespace, or no iptables in one")
        environment = {**os.environ, "FLAPS_INSIDE": "1"}
        done = subprocess.run(
            ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"',
             "sh", sys.executable, os.path.abspath(__file__), "silent"],
            env=environment, check=False)
        scene.equal(done.returncode, 0, "in a namespace of its own")
        return

    silent = set()

    def drop():
        """What is open goes silent, new connections are fine."""
        ports = {s.remote_address[1] for s in list(server.sockets)} - silent
        silent.update(ports)
        for port in ports:  # others may get that number, too
            for ends in (port, server.port), (server.port, port):
                ipt("-A", "OUTPUT", "-p", "tcp", "--sport", str(ends[0]),
                    "--dport", str(ends[1]), "-j", "DROP")
    with upstreams.Server(tick, ping_interval=None,
                          close_timeout=0.1) as server:
        rounds(drop, lambda: None, server, "silent, half open")
        ipt("-F", "OUTPUT")


scene.play(globals())
