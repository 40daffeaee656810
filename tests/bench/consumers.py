#!/usr/bin/python3
"""consumers.py: what consumers that stall, come back, read other views or are
idle cost; README.md here.

Lines "name<TAB>value<TAB>unit" go to stdout, words to stderr.  Exit code 1 when
a consumer got anything but what it should, or a run failed.

  CELLS      patterns of cells, default "*": stalled.c1000 resumes replay.c1
             replay.c8 views.k1 views.k16 idle.c5000
  ROUNDS     interleaved rounds of each cell, default 7
  STALL_S    how long half of the consumers do not read, default 30; under 15
             some are not overtaken and the run fails
  IDLE_S     how long idle connections are held, default 60, at least 30
  REPLAY_MB  what each consumer replays, default 100
  MEASURE_MS the measured part of a run of views, default 800
  CORES      server's and loader's core, default "0,1"
  B          the build directory, default "build"
"""

import os
import platform
import statistics
import subprocess
import sys
import urllib.request

sys.dont_write_bytecode = True  # a bench leaves nothing behind

import fanout
from fanout import Failed, Running, Server, say, waited

STALL_S = int(os.environ.get("STALL_S", "30"))
IDLE_S = int(os.environ.get("IDLE_S", "60"))
REPLAY_MB = int(os.environ.get("REPLAY_MB", "100"))
PING_S = 25
POST_BYTES = 8 << 20
# A frame of a message that the files of resumes and replays are made of.
PAYLOAD_BYTES = {"resumes": 128, "replay": 1024}
MISSED_MAX = 32
# Of all views the same bytes a message go on the wire.
WIRE_BYTES = 260
VIEWS = ("raw", "raw_deflate", "v1", "v1_deflate", "sse")

COMMON = """\
[listener]
listen = 127.0.0.1:{port}
[auth]
anonymous = subscribe publish
[limits]
connections_max = 19000
"""
# No ping in between where every byte is counted.
QUIET = COMMON + "ping_interval = 1h\n"
KEPT_BYTES = 64 << 10
STALLED = COMMON + "".join(f"""\
[channel {policy}]
history_messages = 0
history_bytes = 0
buffer_bytes = {KEPT_BYTES}
overrun = {policy}
""" for policy in ("skip", "latest", "close"))
KEEPING = QUIET + """\
body_bytes_max = 64M
[channel **]
history_messages = 1000000000
history_bytes = 1G
"""
IDLE = COMMON + f"ping_interval = {PING_S}s\n"


def emit(name, value, unit):
    print(f"consumers.{name}\t{value:.6g}\t{unit}", flush=True)


def emit_spread(name, values, unit):
    """The median, and the least and the most under .min and .max."""
    emit(name, statistics.median(values), unit)
    emit(name + ".min", min(values), unit)
    emit(name + ".max", max(values), unit)


class Daemon(Server):
    """earshotd with a configuration of its own."""

    is_ready = fanout.Earshot.is_ready

    def __init__(self, conf):
        super().__init__("earshot")
        self.conf = conf

    def command(self, port, folder):
        path = os.path.join(folder, "earshot.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(self.conf.format(port=port))
        return [os.path.join(fanout.BUILD, "earshotd"), "-c", path]


class BareReplay(Server):
    path = "/"

    def __init__(self, frames):
        super().__init__("bare")
        self.frames = frames

    def command(self, port, folder):
        return [fanout.program("bare_replay"), str(port), self.frames]


def load(running, program, *args):
    """One run of a loader: its numbers by name."""
    argv = [fanout.program(program), "-p", str(running.port),
            "-s", str(running.process.pid), *map(str, args)]
    process = fanout.start(argv, fanout.LOADER_CORE, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=180 + STALL_S + IDLE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"{program} hung") from None
    if process.returncode != 0:
        raise Failed(f"{program}: {err.strip()} | {running.words()}")
    return {k: int(v) for k, v in
            (line.split("\t") for line in out.splitlines())}


def metric(running, name):
    url = f"http://127.0.0.1:{running.port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"earshot_{name} "):
                return int(line.split()[1])
    raise Failed(f"no metric {name}")


def payloads(count, length):
    """Text lines, each another one."""
    filler = ("the quick brown fox jumps over the lazy dog 0123456789 " *
              (length // 50 + 2))
    for i in range(count):
        yield (f"{i:016d} " + filler[i % 50:])[:length].encode("ascii")


def put_frames(path, count, length):
    """The frames of those messages as a server sends them; one's length."""
    header = (bytes([0x81, length]) if length < 126
              else bytes([0x81, 126]) + length.to_bytes(2, "big"))
    with open(path, "wb") as f:
        for payload in payloads(count, length):
            f.write(header + payload)
    return len(header) + length


def post(running, lines):
    url = f"http://127.0.0.1:{running.port}/channels/bench/messages"
    request = urllib.request.Request(
        url + "?split=lines", b"\n".join(lines) + b"\n",
        {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def publish(running, count, length):
    """The messages of put_frames() to channel bench; its epoch."""
    lines, size = [], 0
    for payload in payloads(count, length):
        lines.append(payload)
        size += length + 1
        if size >= POST_BYTES:
            post(running, lines)
            lines, size = [], 0
    if lines:
        post(running, lines)
    url = f"http://127.0.0.1:{running.port}/channels/bench/messages?limit=1"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return text.split('"epoch":"')[1][:16]


class Bench(fanout.Bench):
    channels = 0  # used so far

    def emit_of(self, name, runs, of, unit):
        values = [of(r) for r in runs]
        emit_spread(name, values, unit)
        return values

    # --- half of the consumers do not read ---

    def stalled(self, cell, consumers):
        half = consumers // 2
        runs = {"alone": [], "beside": []}
        for i in range(fanout.ROUNDS):
            for way in sorted(runs, reverse=i % 2 == 1):
                def once(way=way):
                    with Running(Daemon(STALLED)) as fresh:
                        return load(fresh, "stall_loader", "-n", half,
                                    "-k", half if way == "beside" else 0,
                                    "-m", KEPT_BYTES, "-t", STALL_S * 1000)
                runs[way].append(self.quiet(once))
                say(f"  round {i + 1} {way}: p99 "
                    f"{runs[way][-1]['latency_p99_us']} us")
        self.report_stalled(cell, runs, half)

    def report_stalled(self, cell, runs, half):
        p99 = {}
        for way, mine in runs.items():
            self.emit_of(f"{cell}.{way}.p50_us", mine,
                         lambda r: r["latency_p50_us"], "us")
            p99[way] = self.emit_of(f"{cell}.{way}.p99_us", mine,
                                    lambda r: r["latency_p99_us"], "us")
            self.emit_of(f"{cell}.{way}.rss_growth", mine,
                         lambda r: r["rss_after_bytes"]
                         - r["rss_before_bytes"], "bytes")
        change = [b - a for a, b in zip(p99["alone"], p99["beside"])]
        spread = max(p99["alone"]) - min(p99["alone"])
        emit_spread(f"{cell}.p99_change_us", change, "us")
        emit(f"{cell}.p99_spread_us", spread, "us")
        beside = runs["beside"]
        grown = self.emit_of(
            f"{cell}.rss_per_stalled", beside,
            lambda r: (r["rss_after_bytes"] - r["rss_before_bytes"]) / half,
            "bytes")
        for policy in ("skip", "latest", "close"):
            self.emit_of(f"{cell}.told_{policy}", beside,
                         lambda r, p=policy: r["told_" + p], "consumers")
        self.emit_of(f"{cell}.lost_per_stalled", beside,
                     lambda r: r["lost"] / half, "messages")
        self.emit_of(f"{cell}.return_ms", beside,
                     lambda r: r["return_us"] / 1000, "ms")
        told = min(r["told_skip"] + r["told_latest"] + r["told_close"]
                   for r in beside)
        if told != half:
            raise Failed(f"{told} of {half} stalled consumers were told")
        self.goal(cell, "change of the others' p99 (us), goal: its spread",
                  statistics.median(change), spread)
        self.goal(cell, "RSS per stalled consumer", max(grown), 64 << 10)

    # --- what is missed, and all there is ---

    def resumes(self, cell, messages):
        length = PAYLOAD_BYTES["resumes"]
        runs = []
        with Running(Daemon(KEEPING)) as running:
            frames = os.path.join(running.folder.name, "frames")
            size = put_frames(frames, messages, length)
            epoch = publish(running, messages, length)
            for _ in range(fanout.ROUNDS):
                runs.append(self.quiet(lambda: load(
                    running, "resume_loader", "-c", "/ws/bench",
                    "-F", frames, "-b", size, "-e", epoch,
                    "-m", MISSED_MAX, "-n", 20000, "-K", 64)))
        rate = self.emit_of(f"{cell}.per_s", runs,
                            lambda r: r["count"] * 1e6 / r["wall_us"], "1/s")
        self.emit_of(f"{cell}.us_per_resume", runs,
                     lambda r: r["cpu_us"] / r["count"], "us")
        self.emit_of(f"{cell}.messages_per_resume", runs,
                     lambda r: r["messages"] / r["count"], "messages")
        self.emit_of(f"{cell}.server_busy", runs,
                     lambda r: r["cpu_us"] / r["wall_us"], "share")
        for p in ("p50", "p99"):
            self.emit_of(f"{cell}.took_{p}_us", runs,
                         lambda r, p=p: r[f"took_{p}_us"], "us")
        self.goal(cell, "resumes/s", statistics.median(rate), 10000, False)

    def replay(self, cell, at_once):
        length = PAYLOAD_BYTES["replay"]
        count = (REPLAY_MB << 20) // length
        runs = {"earshot": [], "bare": []}
        with Running(Daemon(KEEPING)) as earshot:
            frames = os.path.join(earshot.folder.name, "frames")
            size = put_frames(frames, count, length)
            publish(earshot, count, length)
            with Running(BareReplay(frames)) as bare:
                places = {"earshot": (earshot, "/ws/bench?from=oldest"),
                          "bare": (bare, "/")}
                for i in range(fanout.ROUNDS):
                    for name in sorted(runs, reverse=i % 2 == 1):
                        running, path = places[name]
                        runs[name].append(self.quiet(
                            lambda s=running, p=path: load(
                                s, "resume_loader", "-c", p, "-F", frames,
                                "-b", size, "-n", 8, "-K", at_once)))
        rate, cost = {}, {}
        for name, mine in runs.items():
            rate[name] = self.emit_of(
                f"{cell}.{name}.mb_per_s", mine,
                lambda r: r["bytes"] / r["wall_us"], "MB/s")
            cost[name] = self.emit_of(
                f"{cell}.{name}.us_per_mb", mine,
                lambda r: r["cpu_us"] * 1e6 / r["bytes"], "us")
        speed = [a / b for a, b in zip(rate["earshot"], rate["bare"])]
        emit_spread(f"{cell}.speed_to_bare", speed, "x")
        emit_spread(f"{cell}.cpu_to_bare", [
            a / b for a, b in zip(cost["earshot"], cost["bare"])], "x")
        self.goal(cell, "speed, ratio to bare send()",
                  statistics.median(speed), 0.8, False)

    # --- other views ---

    def view_once(self, running, view, payload, burst, measure_ms=None):
        """A channel of its own, or older messages would be encoded, too."""
        self.channels += 1
        compressed = metric(running, "views_compressed_total")
        run = load(running, "views_loader", "-v", view, "-n", 1000,
                   "-c", f"bench.{self.channels:04d}",
                   "-b", payload, "-B", burst, "-W", max(2, burst),
                   "-t", measure_ms or fanout.MEASURE_MS)
        run["compressed"] = (metric(running, "views_compressed_total")
                             - compressed)
        wanted = run["published"] if "deflate" in view else 0
        if run["compressed"] != wanted:
            raise Failed(f"{view}: {run['compressed']} compressions, "
                         f"{wanted} were due")
        return run

    def payload_of(self, running, view, burst):
        """How long a payload makes WIRE_BYTES of a message in that view."""
        payload = WIRE_BYTES - 4
        for _ in range(4):
            run = self.view_once(running, view, payload, burst, 100)
            wire = run["bytes"] / run["messages"]
            slope = wire / payload if "deflate" in view else 1
            step = round((WIRE_BYTES - wire) / slope)
            if step == 0:
                break
            payload = max(64, payload + step)
        return payload

    def views(self, cell, burst):
        runs = {v: [] for v in VIEWS}
        with Running(Daemon(QUIET)) as running:
            payload = {v: self.payload_of(running, v, burst) for v in VIEWS}
            for i in range(fanout.ROUNDS):
                for view in VIEWS[i % len(VIEWS):] + VIEWS[:i % len(VIEWS)]:
                    runs[view].append(self.quiet(
                        lambda v=view: self.view_once(
                            running, v, payload[v], burst)))
        cost = {}
        for view, mine in runs.items():
            emit(f"{cell}.{view}.payload", payload[view], "bytes")
            self.emit_of(f"{cell}.{view}.wire_bytes", mine,
                         lambda r: r["bytes"] / r["messages"], "bytes")
            self.emit_of(f"{cell}.{view}.compressed_per_message", mine,
                         lambda r: r["compressed"] / r["published"], "x")
            cost[view] = self.emit_of(
                f"{cell}.{view}.us_per_delivery", mine,
                lambda r: r["cpu_us"] / r["deliveries"], "us")
        for view in VIEWS[1:]:
            ratio = [a / b for a, b in zip(cost[view], cost["raw"])]
            emit_spread(f"{cell}.{view}.ratio_to_raw", ratio, "x")
            self.goal(cell, f"CPU per delivery, {view} to raw",
                      statistics.median(ratio), 1.2)

    # --- nothing happens ---

    def idle(self, cell, consumers):
        runs = []

        def once():
            with Running(Daemon(IDLE)) as fresh:
                run = load(fresh, "fanout_loader", "-i", "-n", consumers,
                           "-t", IDLE_S * 1000)
                run["pings"] = metric(fresh, "pings_total")
            # Five seconds are for opening them all and for the wheel.
            if run["pings"] < consumers * ((IDLE_S - 5) // PING_S):
                raise Failed(f"{run['pings']} pings in {IDLE_S} s")
            return run

        for i in range(fanout.ROUNDS):
            runs.append(self.quiet(once))
            say(f"  round {i + 1}: {runs[-1]['cpu_us']} us CPU")
        memory = self.emit_of(
            f"{cell}.bytes_per_connection", runs,
            lambda r: (r["rss_after_bytes"] - r["rss_before_bytes"])
            / r["opened"], "bytes")
        cost = self.emit_of(
            f"{cell}.us_per_connection_s", runs,
            lambda r: r["cpu_us"] * 1e6 / r["wall_us"] / r["opened"], "us")
        self.emit_of(f"{cell}.pings_per_connection", runs,
                     lambda r: r["pings"] / r["opened"], "pings")
        self.goal(cell, "us CPU per connection and second",
                  statistics.median(cost), 2)
        self.goal(cell, "bytes per connection", statistics.median(memory),
                  3500)

    def cells(self):
        """Names and what to do for each, in order."""
        yield "resumes", self.resumes, (10000,)
        yield "replay.c1", self.replay, (1,)
        yield "replay.c8", self.replay, (8,)
        yield "views.k1", self.views, (1,)
        yield "views.k16", self.views, (16,)
        yield "stalled.c1000", self.stalled, (1000,)
        yield "idle.c5000", self.idle, (5000,)


def main():
    if fanout.ROUNDS < 1 or IDLE_S < 30 or STALL_S < 1 or REPLAY_MB < 1:
        raise SystemExit(__doc__)
    # Runs of a minute are not done again eighty times.
    fanout.AGAIN_ALL_MAX = 20
    say(f"{platform.machine()}, Linux {platform.release()}, "
        f"{os.cpu_count()} cores, server on {fanout.SERVER_CORE}, "
        f"loader on {fanout.LOADER_CORE}; "
        f"load {os.getloadavg()[0]:.2f} at the beginning")
    patterns = os.environ.get("CELLS", "*").replace(",", " ").split()
    return Bench([]).run(patterns)


if __name__ == "__main__":
    sys.exit(main())
