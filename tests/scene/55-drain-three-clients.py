#!/usr/bin/python3
# sanitizer: yes
"""Clients of three libraries see all messages, then 1001 with its hint, once.

Each program prints a JSON array a line: ["open"], ["message", text],
["close", code, reason], ["error", text], as its library tells it.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

MESSAGES = 500
EACH = 3

WEBSOCKETS = """
import asyncio, json, sys, websockets
def say(*words):
    print(json.dumps(words), flush=True)
async def main():
    async with websockets.connect(sys.argv[1]) as server:
        say("open")
        try:
            while True:
                say("message", await server.recv())
        except websockets.ConnectionClosedOK as closed:
            say("close", closed.rcvd.code, closed.rcvd.reason)
            if not closed.rcvd_then_sent:
                say("error", "it closed first")
asyncio.run(main())
"""

WEBSOCKET_CLIENT = """
import json, sys, websocket
def say(*words):
    print(json.dumps(words), flush=True)
websocket.WebSocketApp(
    sys.argv[1],
    on_open=lambda app: say("open"),
    on_message=lambda app, text: say("message", text),
    on_error=lambda app, error: say("error", str(error)),
    on_close=lambda app, code, reason: say("close", code, reason)
).run_forever()
"""

NPM_WS = """
const WebSocket = require("ws");
const say = (...words) => console.log(JSON.stringify(words));
const server = new WebSocket(process.argv[1]);
server.on("open", () => say("open"));
server.on("message", (data) => say("message", data.toString()));
server.on("error", (error) => say("error", error.message));
server.on("close", (code, reason) => say("close", code, reason.toString()));
"""

CLIENTS = {
    "python3-websockets": [scene.PY, "-c", WEBSOCKETS],
    "websocket-client": [scene.PY, "-c", WEBSOCKET_CLIENT],
    "npm ws": ["node", "-e", NPM_WS],
}


def check_client(name, process):
    """All that it saw."""
    out, err = process.communicate(timeout=scene.DEADLINE_S * scene.SLOWNESS)
    scene.equal((process.returncode, err), (0, ""), f"{name}: its end")
    seen = [json.loads(line) for line in out.splitlines()]
    # websocket-client calls a close of the server an error as well.
    seen = [s for s in seen if s[0] != "error" or "opcode=8" not in s[1]]
    close = seen.pop()
    scene.equal(seen, [["open"]] + [["message", str(n)]
                                    for n in range(MESSAGES)],
                f"{name}: open and {MESSAGES} messages")
    scene.check(close[:2] == ["close", 1001] and re.fullmatch(
        r"shutdown retry_after_ms=\d+", close[2]), f"{name}: {close}, once")


def scene_each_sees_it_once():
    with scene.Daemon() as daemon:
        url = f"ws://127.0.0.1:{daemon.port}/ws/ticks"
        running = [(name, subprocess.Popen(
            [*command, url], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            for name, command in CLIENTS.items() for _ in range(EACH)]
        try:
            daemon.wait_metric('upgrades_total', len(running), 30)
            lines = "\n".join(str(n) for n in range(MESSAGES))
            daemon.publish("ticks", lines, arguments="?split=lines")
            scene.equal(daemon.stop(), 0, "exit code")
            for name, process in running:
                check_client(name, process)
        finally:
            for _, process in running:
                process.kill()
                process.wait()


scene.play(globals())
