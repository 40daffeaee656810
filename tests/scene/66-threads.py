#!/usr/bin/python3
# sanitizer: yes
"""A plugin that calls everything from ten threads of its own, while
connections come, talk, subscribe and go.
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene


def scene_ten_threads():
    conf = handled.plugin(
        "threads", more="[drain]\nretry_spread = 0s\n[limits]\n"
        "connections_max = 40\n")
    with scene.Daemon(conf) as daemon:
        end = time.monotonic() + 1.5
        clients = [handled.app(daemon) for _ in range(20)]
        count = len(clients)
        while time.monotonic() < end:
            clients.pop(0).close()
            client = scene.WebSocket(daemon.port, "/app")
            if client.status == 101:
                client.send_text("hi")
                clients.append(client)
                count += 1
        scene.equal(daemon.http("GET", "/healthz").status, 200, "healthz")
        for client in clients:
            client.close()
        scene.equal(daemon.stop(), 0, "exit code")
        told = re.search(r"calls=(\d+) failed=(\d+) opened=(\d+) closed=(\d+) "
                         r"ran=(\d+)", daemon.log())
        scene.check(int(told[1]) > 1000, f"{told[1]} calls, {told[2]} "
                    f"refused, {told[5]} functions run")
        scene.equal(told[3], told[4], "on_open and on_close")


scene.play(globals())
