#!/usr/bin/python3
"""callback.py: callbacks beside other libraries' echoes, in one run; README.md.

Lines "name<TAB>value<TAB>unit" go to stdout, words to stderr.

  ROUNDS      interleaved rounds, default 7
  SHAPES      connections x messages under way, default "1x1 100x1 100x8"
  MEASURE_MS  the measured part of an echo, default 800
  CORES       the servers' core and the loader's, default "0,1"
  B           the build directory, default "build"

Every server is pinned to one core, with all its threads and processes, the
loader to another one.  An echo is messages of 64 bytes that come back.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fanout
from fanout import LOADER_CORE, SERVER_CORE, program, say

ROUNDS = int(os.environ.get("ROUNDS", "7"))
MEASURE_MS = os.environ.get("MEASURE_MS", "800")
TOP = pathlib.Path(fanout.ROOT)
PLUGINS = pathlib.Path(fanout.BUILD) / "tests/plugins"
SHAPES = [tuple(map(int, shape.split("x"))) for shape in
          os.environ.get("SHAPES", "1x1 100x1 100x8").split()]
PATIENCE_S = 10

CONF = """\
[listener]
listen = 127.0.0.1:{port}
[auth]
anonymous = subscribe publish
[handler plugin]
plugin = {plugins}/echo.so
path = /plugin
[handler exec]
exec = {python} {top}/tests/exec/echo.py
path = /exec
[handler slow]
plugin = {plugins}/record.so
path = /slow
option.message_ms = 100
[log]
level = error
"""

PYTHON = """\
import asyncio, sys, websockets
async def echo(socket, path=None):
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.ConnectionClosed:
        pass
async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]),
                                compression=None):
        await asyncio.Future()
asyncio.run(main())
"""

NODE = """\
const { WebSocketServer } = require("ws");
new WebSocketServer({ host: "127.0.0.1", port: +process.argv[1],
	perMessageDeflate: false }).on("connection", (socket) =>
	socket.on("message", (data, binary) => socket.send(data, { binary })));
"""

LINES = """\
import sys
for line in sys.stdin:
    sys.stdout.write(line)
    sys.stdout.flush()
"""


def emit(name, value, unit):
    print(f"callback.{name}\t{value:.6g}\t{unit}", flush=True)


def emit_spread(name, values, unit):
    emit(name, statistics.median(values), unit)
    emit(name + ".min", min(values), unit)
    emit(name + ".max", max(values), unit)


class Server:
    """One server for the whole run."""

    def __init__(self, name, argv, port, path="/"):
        self.name, self.port, self.path = name, port, path
        environment = dict(os.environ, NODE_PATH=os.environ.get(
            "NODE_PATH", f"{TOP}/build/deps/node_modules:/usr/share/nodejs"))
        self.process = fanout.start(
            [str(a) for a in argv], SERVER_CORE, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE_S
        while not fanout.Server("any").is_ready(port):
            if time.monotonic() > end or self.process.poll() is not None:
                raise fanout.Failed(f"{name} does not listen")
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def memory(self):
        """Of it and its children, each page once (Pss), in bytes."""
        pids, total = [self.process.pid], 0
        for pid in pids:
            tasks = pathlib.Path(f"/proc/{pid}/task")
            try:
                for task in tasks.iterdir():
                    text = (task / "children").read_text()
                    pids += [int(p) for p in text.split()]
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += 1024 * next(int(line.split()[1]) for line in
                                 rollup.splitlines()
                                 if line.startswith("Pss:"))
        return total


def words(text):
    return {k: float(v) for k, v in
            (line.split("\t") for line in text.splitlines())}


def run(argv, core):
    done = subprocess.run(
        ["taskset", "-c", str(core), *map(str, argv)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise fanout.Failed(f"{argv[0]}: {done.stderr.strip()}")
    return words(done.stdout)


def echo(server, connections, in_flight, path=None):
    return run([program("echo_loader"), server.port, path or server.path,
                connections, in_flight, 64, 300, MEASURE_MS], LOADER_CORE)


def trips():
    """Loop, worker, loop: on one core, and on two."""
    one, two = [], []
    for _ in range(ROUNDS):
        for cores, runs in ((f"{SERVER_CORE}", one),
                            (f"{SERVER_CORE},{LOADER_CORE}", two)):
            runs.append(run([program("callback_trip"), PLUGINS / "echo.so",
                             20000], cores))
    for name, runs in (("one_core", one), ("two_cores", two)):
        for p in ("p50_us", "p99_us"):
            emit_spread(f"trip.{name}.{p}", [r[p] for r in runs], "us")
    return statistics.median(r["p50_us"] for r in one)


def echoes(ways):
    """ways: name -> (server, path); messages/s by shape and name."""
    medians = {}
    for connections, in_flight in SHAPES:
        got = {name: [] for name in ways}
        for i in range(ROUNDS):
            order = list(ways) if i % 2 == 0 else list(ways)[::-1]
            for name in order:
                server, path = ways[name]
                got[name].append(echo(server, connections, in_flight, path))
        cell = f"echo.c{connections}.f{in_flight}"
        for name, runs in got.items():
            rates = [r["messages_per_s"] for r in runs]
            emit_spread(f"{cell}.{name}.messages_per_s", rates, "1/s")
            emit_spread(f"{cell}.{name}.p50_us",
                        [r["p50_us"] for r in runs], "us")
            emit_spread(f"{cell}.{name}.p99_us",
                        [r["p99_us"] for r in runs], "us")
            medians[cell, name] = statistics.median(rates)
    return medians


def memory_per_connection(name, server, path, connections):
    """What that many more connections cost, while they echo."""
    before = server.memory()
    loader = subprocess.Popen(
        [program("echo_loader"), str(server.port), path, str(connections),
         "1", "64", "500", "1500"], stdout=subprocess.DEVNULL)
    time.sleep(1.5)
    each = (server.memory() - before) / connections
    loader.wait()
    emit(f"memory.{name}.bytes_per_connection", each, "B")


def block(port, seconds):
    """200 requests to a callback of 100 ms; how long they took."""
    sys.path.insert(0, str(TOP / "tests/lib"))
    import scene
    clients = [scene.WebSocket(port, "/slow") for _ in range(40)]
    began = time.monotonic()
    for client in clients:
        for n in range(4):
            client.send_text(str(n))
        client.send_text("user")  # answered when the four are done
    for client in clients:
        client.read_text()
        seconds.append(time.monotonic() - began)
    for client in clients:
        client.close()


def stream(server):
    """100 messages/s to 100 consumers, alone and beside blocking callbacks."""
    args = [program("fanout_loader"), "-p", server.port, "-c", "/ws/bench",
            "-r", 100, "-n", 100, "-b", 128, "-w", 500, "-t", 3500]
    got = {"alone": [], "beside": []}
    took = []
    for _ in range(ROUNDS):
        for way, runs in got.items():
            seconds = []
            worker = threading.Thread(
                target=block, args=(server.port, seconds))
            if way == "beside":
                worker.start()
            runs.append(run(args, LOADER_CORE))
            if way == "beside":
                worker.join()
                took.append(max(seconds))
    for way, runs in got.items():
        for p in ("p50", "p99"):
            emit_spread(f"stream.{way}.{p}_us",
                        [r[f"latency_{p}_us"] for r in runs], "us")
    emit_spread("blocking.200_requests_s", took, "s")


def goal(what, value, limit, at_most=True):
    met = value <= limit if at_most else value >= limit
    say(f"{'met    ' if met else 'NOT MET'} {what}: {value:.4g}, goal "
        f"{'<=' if at_most else '>='} {limit:g}")


def main():
    servers = []
    with tempfile.TemporaryDirectory() as folder:
        conf = pathlib.Path(folder) / "earshot.conf"
        lines = pathlib.Path(folder) / "lines.py"
        lines.write_text(LINES)
        port = fanout.free_port()
        conf.write_text(CONF.format(port=port, plugins=PLUGINS, top=TOP,
                                    python="/usr/bin/python3"))
        try:
            mine = Server("earshot", [
                os.path.join(fanout.BUILD, "earshotd"), "-c", conf], port)
            servers.append(mine)
            ways = {"plugin": (mine, "/plugin"), "exec": (mine, "/exec")}
            for name, argv in (
                    ("python3-websockets", ["/usr/bin/python3", "-c", PYTHON]),
                    ("ws", ["node", "-e", NODE])):
                port = fanout.free_port()
                server = Server(name, [*argv, port], port)
                servers.append(server)
                ways[name] = (server, "/")
            if shutil.which("websocketd"):
                port = fanout.free_port()
                server = Server("websocketd", [
                    "websocketd", "--loglevel=fatal", f"--port={port}",
                    "--address=127.0.0.1", "/usr/bin/python3", lines], port)
                servers.append(server)
                ways["websocketd"] = (server, "/")
            for name, (server, path) in ways.items():
                memory_per_connection(name, server, path, 100)
            trip = trips()
            medians = echoes(ways)
            stream(mine)
        finally:
            for server in servers:
                server.stop()
    goal("loop, worker, loop, one core, p50 us", trip, 20)
    cell = "echo.c100.f8"
    if (cell, "plugin") not in medians:
        return
    plugin, python = medians[cell, "plugin"], medians[
        cell, "python3-websockets"]
    goal("plugin to python3-websockets, 100 x 8", plugin / python, 10, False)
    goal("plugin to ws, 100 x 8", plugin / medians[cell, "ws"], 3, False)
    goal("exec to python3-websockets, 100 x 8",
         medians[cell, "exec"] / python, 0.5, False)


if __name__ == "__main__":
    try:
        main()
    except fanout.Failed as why:
        sys.exit(f"callback.py: {why}")
