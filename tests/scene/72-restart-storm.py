#!/usr/bin/python3
# slow
# limit: 240
"""Restarts and crashes while four clients connect as fast as they can.

With earshot.socket none is refused and none waits for a second; the same
without it, for comparison, is printed.  make check-lab-long: the full count.
"""
import collections
import os
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

CLIENTS = 4
RESTARTS, KILLS = (20, 5) if lab.LONG else (2, 1)
WAIT_S = 1.0  # promised
PATIENCE_S = 20
BETWEEN_S = 0.2  # work between two restarts
REQUEST = b"GET /healthz HTTP/1.0\r\n\r\n"


class Client(threading.Thread):
    """Connects, asks, reads the answer, hangs up, and again."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.ends = collections.Counter()
        self.longest = 0

    def run(self):
        while not self.stop.is_set():
            began = time.monotonic()
            end = self.once()
            self.ends[end] += 1
            if end == "answered":
                self.longest = max(self.longest, time.monotonic() - began)

    @staticmethod
    def once():
        sock = socket.socket()
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(("127.0.0.1", lab.PORT))
        except ConnectionRefusedError:
            time.sleep(0.001)
            return "refused"
        except OSError as error:
            return f"connect: {error}"
        try:
            # No TIME_WAIT: there are more connections here than ports.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
            sock.sendall(REQUEST)
            data = sock.recv(4096)
            if not data:
                return "ended without an answer"
            return "answered" if b" 200 OK" in data else repr(data[:40])
        except OSError as error:
            return f"broken: {error}"
        finally:
            sock.close()


def storm(count, act):
    """act() so often; how the connections ended, the longest wait."""
    clients = [Client() for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _ in range(count):
            time.sleep(BETWEEN_S)
            act()
        time.sleep(BETWEEN_S)
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()
    ends = sum((c.ends for c in clients), collections.Counter())
    return ends, max(c.longest for c in clients)


def restart():
    lab.systemctl("restart", "earshot.service")


def crash():
    pid = lab.main_pid()
    os.kill(pid, signal.SIGKILL)
    scene.wait_until(lambda: lab.main_pid() not in (0, pid) and
                     lab.show("ActiveState") == "active", "restarted")


def told(what, ends, longest):
    words = ", ".join(f"{n} {end}" for end, n in ends.most_common())
    return f"{what}: {words}; the longest took {longest * 1000:.0f} ms"


def scene_with_a_socket_unit():
    lab.configure()
    lab.systemctl("start", "earshot.socket")
    with lab.service():
        ends, longest = storm(RESTARTS, restart)
        print("    " + told(f"{RESTARTS} restarts", ends, longest), flush=True)
        scene.equal(sorted(ends), ["answered"], "every one was answered")
        scene.in_time(longest, WAIT_S, "the longest wait")
        ends, longest = storm(KILLS, crash)
        print("    " + told(f"{KILLS} kill -9", ends, longest), flush=True)
        scene.equal(ends["refused"], 0, "refused")
        scene.check(sum(ends.values()) - ends["answered"] <= KILLS * CLIENTS,
                    "cut off are only those it was just answering")
        scene.in_time(longest, WAIT_S, "the longest wait")
    scene.equal(lab.show("Result", "earshot.socket"), "success",
                "the socket unit")


def scene_without_one():
    lab.configure()
    with lab.service():
        print("    for comparison: " + told(
            f"{RESTARTS} restarts", *storm(RESTARTS, restart)), flush=True)
        print("    for comparison: " + told(
            f"{KILLS} kill -9", *storm(KILLS, crash)), flush=True)


lab.play(__file__, globals(), limit=220)
