#!/usr/bin/python3
"""feeds.py: what feeds cost, beside others in the same run; README.md here.

Lines "name<TAB>value<TAB>unit" go to stdout, words to stderr.

  upstream  one upstream into one channel beside bare_client, libwebsockets'
            client that only counts; both read from feed_source.  Goal: 0.7 of
            its messages a second of CPU.
  viewers   one `vmstat 1` for VIEWERS viewers beside websocketd (if it is
            there) with WEBSOCKETD_VIEWERS: memory and CPU a viewer.

  CELLS       "upstream viewers"
  ROUNDS      interleaved rounds of upstream, default 7
  MESSAGES    of a round, default 2000000; BYTES, default 128
  VIEWERS     default 1000; WEBSOCKETD_VIEWERS, default 100; MEASURE_S, 20
  B           the build directory, default "build"
"""
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)),
                     os.environ.get("B", "build"))
CELLS = os.environ.get("CELLS", "upstream viewers").split()
ROUNDS = int(os.environ.get("ROUNDS", "7"))
MESSAGES = int(os.environ.get("MESSAGES", "2000000"))
BYTES = int(os.environ.get("BYTES", "128"))
VIEWERS = int(os.environ.get("VIEWERS", "1000"))
WEBSOCKETD_VIEWERS = int(os.environ.get("WEBSOCKETD_VIEWERS", "100"))
MEASURE_S = float(os.environ.get("MEASURE_S", "20"))
TICK = os.sysconf("SC_CLK_TCK")


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def emit(name, value, unit):
    print(f"feeds.{name}\t{value:.6g}\t{unit}", flush=True)


def emit_spread(name, values, unit):
    """The median, and the least and the most under .min and .max."""
    emit(name, statistics.median(values), unit)
    emit(name + ".min", min(values), unit)
    emit(name + ".max", max(values), unit)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def program(name):
    return os.path.join(BUILD, "tests", "bench", name)


def wait_port(port):
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


class Earshot:
    """earshotd with these feeds, on a port of its own."""

    def __init__(self, conf):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "earshot.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"[listener]\nlisten = 127.0.0.1:{self.port}\n{conf}")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "earshotd"), "-c", path],
            stderr=subprocess.DEVNULL)
        wait_port(self.port)

    def metric(self, name):
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("earshot_" + name):
                    return float(line.rpartition(" ")[2])
        return 0

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def cpu_s(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def pss_kib(pids):
    """Memory, what is shared counted once."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file
                         if line.startswith("Pss:"))
    return total


def family(pid):
    """A process and all below it."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii") as file:
                parents[int(entry)] = int(
                    file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [p for p, parent in parents.items() if parent == one]
    return found


# One upstream

def source():
    process = subprocess.Popen(
        [program("feed_source"), str(MESSAGES), str(BYTES)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def bare():
    """(messages a second, messages a second of CPU) of bare_client."""
    server, port = source()
    client = subprocess.Popen([program("bare_client"), str(port)],
                              stdout=subprocess.PIPE, text=True)
    sent, took = map(int, server.stdout.readline().split())
    server.communicate("\n")
    got, cpu = map(int, client.communicate()[0].split())
    if got != sent:
        raise RuntimeError(f"bare_client heard {got} of {sent}")
    return sent / took * 1e6, sent / cpu * 1e6


def upstream():
    server, port = source()
    began = 0
    daemon = Earshot(f"[upstream u]\nurl = ws://127.0.0.1:{port}/\n"
                     "channel = u\nbackoff_min = 1h\nbackoff_max = 1h\n")
    try:
        sent, took = map(int, server.stdout.readline().split())
        while daemon.metric("feed_messages_total") < sent:
            time.sleep(0.01)
        cpu = cpu_s([daemon.process.pid]) - began
        server.communicate("\n")
        return sent / took * 1e6, sent / cpu
    finally:
        daemon.close()


def cell_upstream():
    results = {"bare": [], "earshot": []}
    for number in range(ROUNDS):
        results["bare"].append(bare())
        results["earshot"].append(upstream())
        say(f"round {number + 1}: "
            + ", ".join(f"{name} {values[-1][0] / 1e6:.2f} M/s, "
                        f"{values[-1][1] / 1e6:.2f} M per CPU s"
                        for name, values in results.items()))
    for name, values in results.items():
        emit_spread(f"upstream.{name}.rate", [v[0] for v in values],
                    "messages/s")
        emit_spread(f"upstream.{name}.per_cpu", [v[1] for v in values],
                    "messages/CPU s")
    pairs = list(zip(results["earshot"], results["bare"]))
    emit_spread("upstream.ratio.rate", [e[0] / b[0] for e, b in pairs], "x")
    emit_spread("upstream.ratio.per_cpu", [e[1] / b[1] for e, b in pairs],
                "x")
    say("goal: upstream.ratio 0.7 or more")


# Many viewers of one command

async def view(port, path, heard, i):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                 .encode())
    await reader.readuntil(b"\r\n\r\n")

    async def count():
        while True:
            head = await reader.readexactly(2)
            size = head[1] & 127
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            await reader.readexactly(size)
            heard[i] += 1
    return writer, asyncio.create_task(count())


async def watch(port, path, count, pid):
    """(messages, CPU s, KiB) of MEASURE_S with so many viewers."""
    heard = [0] * count  # lines of each viewer
    viewers = []
    for i in range(count):
        viewers.append(await view(port, path, heard, i))
    end = time.monotonic() + 10
    while min(heard) < 2:
        if time.monotonic() > end:
            raise RuntimeError(f"a viewer of {path} heard too little")
        await asyncio.sleep(0.01)
    pids = family(pid)
    before, began = sum(heard), cpu_s(pids)
    await asyncio.sleep(MEASURE_S)
    result = (sum(heard) - before, cpu_s(pids) - began, pss_kib(pids), len(pids))
    for writer, task in viewers:
        task.cancel()
        writer.close()
    return result


def tell(name, count, result):
    heard, cpu, kib, processes = result
    emit(f"viewers.{name}.viewers", count, "viewers")
    emit(f"viewers.{name}.processes", processes, "processes")
    emit(f"viewers.{name}.heard", heard / count / MEASURE_S, "lines/s/viewer")
    emit(f"viewers.{name}.memory", kib / count, "KiB/viewer")
    emit(f"viewers.{name}.cpu", cpu / count / MEASURE_S * 1e6, "us/s/viewer")
    say(f"{name}: {count} viewers, {processes} processes, "
        f"{kib / count:.1f} KiB and {cpu / count / MEASURE_S * 1e6:.1f} us/s a "
        "viewer")


def cell_viewers():
    daemon = Earshot("[command vmstat]\nexec = vmstat -n 1\n"
                     "channel = vmstat\n")
    try:
        tell("earshot", VIEWERS, asyncio.run(watch(
            daemon.port, "/ws/vmstat", VIEWERS, daemon.process.pid)))
    finally:
        daemon.close()
    if not shutil.which("websocketd"):
        say("no websocketd here: nothing to compare with")
        return
    port = free_port()
    other = subprocess.Popen(
        ["websocketd", f"--port={port}", "--address=127.0.0.1", "vmstat",
         "-n", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        tell("websocketd", WEBSOCKETD_VIEWERS, asyncio.run(watch(
            port, "/", WEBSOCKETD_VIEWERS, other.pid)))
    finally:
        for pid in reversed(family(other.pid)):
            try:
                os.kill(pid, 15)
            except OSError:
                pass
        other.wait()


def main():
    if "upstream" in CELLS:
        cell_upstream()
    if "viewers" in CELLS:
        cell_viewers()


main()
