#!/usr/bin/python3
"""loop.py: daemon/loop beside python3's asyncio, in one run; README.md here.

Lines "name<TAB>value<TAB>unit" go to stdout, words to stderr.  Exit code 1
when a program failed: lost, reordered or refused something.

  CELLS   patterns of cells, default "*": "calls* spawn*"
  ROUNDS  interleaved rounds of each cell, default 7
  SCALE   share of the usual counts, default 1: 0.1 for a quick look
  CORES   the two cores of trips between two, default "0,1"
  WAIT_S  how long, in all, to wait for neighbours to be quiet, default 60
  B       the build directory, default "build"

`loop.py asyncio WHAT ...` is the other side: one measured run in python.
"""
import asyncio
import concurrent.futures
import fnmatch
import http.client
import os
import platform
import queue
import random
import resource
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
ROUNDS = int(os.environ.get("ROUNDS", "7"))
SCALE = float(os.environ.get("SCALE", "1"))
CORES = os.environ.get("CORES", "0,1").split(",")
PATIENCE_S = 120
# A run during which others used more than this share of the machine measured
# the neighbours: it is done again, and the quieter one counts.
OTHERS_MAX = 0.10
AGAIN_MAX = 2
AGAIN_ALL_MAX = 60
WAIT_S = float(os.environ.get("WAIT_S", "60"))
LOOK_S = 0.1
DELAY_S = 0.04


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# ---- the other side: asyncio, one measured run ------------------------------

def put(name, value):
    print(f"{name}\t{value:.9g}")


class LoopThread:
    """A loop that runs in a thread, as the texts make it."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self.loop

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def nothing():
    pass


def in_threads(threads, work):
    """All at once, until all have returned; when the first one began."""
    barrier, began = threading.Barrier(threads), []

    def run():
        barrier.wait()
        began.append(time.perf_counter())
        work()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return min(began)


def python_calls(threads, count):
    each, over, left = count // threads, threading.Event(), [0]
    left[0] = each * threads

    def call():
        left[0] -= 1
        if left[0] == 0:
            over.set()

    with LoopThread() as loop:
        def work():
            for _ in range(each):
                loop.call_soon_threadsafe(call)

        cpu = time.process_time()
        began = in_threads(threads, work)
        over.wait()
        put("per_s", count / (time.perf_counter() - began))
        put("cpu_ns", (time.process_time() - cpu) * 1e9 / count)


def python_spawn(threads, count):
    each = count // threads
    with LoopThread() as loop:
        def work():
            futures = [asyncio.run_coroutine_threadsafe(nothing(), loop)
                       for _ in range(each)]
            for future in futures:
                future.result()

        cpu = time.process_time()
        began = in_threads(threads, work)
        put("per_s", count / (time.perf_counter() - began))
        put("cpu_ns", (time.process_time() - cpu) * 1e9 / count)


def python_trip(count, loop_core, caller_core):
    took = []
    os.sched_setaffinity(0, {loop_core})
    with LoopThread() as loop:
        asyncio.run_coroutine_threadsafe(nothing(), loop).result()
        os.sched_setaffinity(0, {caller_core})
        for i in range(-count // 10, count):
            began = time.perf_counter()
            asyncio.run_coroutine_threadsafe(nothing(), loop).result()
            if i >= 0:
                took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    put("p50_us", took[count // 2])
    put("p99_us", took[count * 99 // 100])


def python_yield(tasks, count):
    async def often():
        for _ in range(count // tasks):
            await asyncio.sleep(0)

    async def main():
        began = time.thread_time()
        await asyncio.gather(*[often() for _ in range(tasks)])
        put("ns", (time.thread_time() - began) * 1e9 / count)

    asyncio.run(main())


def python_timers(pending, count):
    async def main():
        loop, rng = asyncio.get_running_loop(), random.Random(1)

        def later():
            return loop.call_later(1000 + 1000 * rng.random(), print)

        handles = [later() for _ in range(pending)]
        began = time.thread_time()
        for n in range(count):
            i = rng.randrange(pending)
            handles[i].cancel()
            handles[i] = later()
            if n % 1000 == 999:  # where asyncio clears away the dead ones
                await asyncio.sleep(0)
        put("ns", (time.thread_time() - began) * 1e9 / count)
        for handle in handles:
            handle.cancel()

    asyncio.run(main())


def rss_bytes():
    with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise OSError("no Rss")


def python_asleep(count):
    async def main():
        before, began = rss_bytes(), time.thread_time()
        tasks = [asyncio.create_task(asyncio.sleep(1000))
                 for _ in range(count)]
        await asyncio.sleep(0)
        put("spawn_ns", (time.thread_time() - began) * 1e9 / count)
        put("bytes", (rss_bytes() - before) / count)
        for task in tasks:
            task.cancel()

    asyncio.run(main())


def python_executor(workers, count):
    began, cpu = time.perf_counter(), time.process_time()
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        for _ in range(count):
            executor.submit(int)
    put("per_s", count / (time.perf_counter() - began))
    put("cpu_ns", (time.process_time() - cpu) * 1e9 / count)


def python_stream(items, count):
    values = queue.Queue(items)

    def send():
        for i in range(count):
            values.put(i)
        values.put(None)

    began, cpu = time.perf_counter(), time.process_time()
    thread = threading.Thread(target=send)
    thread.start()
    seen = sum(1 for _ in iter(values.get, None))
    put("per_s", seen / (time.perf_counter() - began))
    put("cpu_ns", (time.process_time() - cpu) * 1e9 / count)
    thread.join()


async def answer_late(reader, writer):
    path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
    await asyncio.sleep(DELAY_S)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
                 b"Connection: close\r\n\r\n%s" % (len(path), path))
    await writer.drain()
    writer.close()


async def get_async(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
                 % path.encode())
    answer = await reader.read()
    writer.close()
    if not answer.endswith(path.encode()):
        raise ValueError("a wrong answer")


def get_sync(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    if connection.getresponse().read() != path.encode():
        raise ValueError("a wrong answer")
    connection.close()


def python_requests(count, repeat):
    """The texts' figures, with asyncio and http.client for their libraries."""
    paths = [f"/weather?place={n}" for n in range(count)]

    async def together(port):
        await asyncio.gather(*[get_async(port, path) for path in paths])

    with LoopThread() as loop:
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(
            answer_late, "127.0.0.1", 0, backlog=128), loop).result()
        port = server.sockets[0].getsockname()[1]
        began = time.perf_counter()
        for _ in range(repeat):
            for path in paths:
                get_sync(port, path)
        put("sync", time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(repeat):
            asyncio.run(together(port))
        put("async", time.perf_counter() - began)
        loop.call_soon_threadsafe(server.close)


# ---- the runs ----------------------------------------------------------------

class Failed(Exception):
    """A run that must not count; the text says why."""


def machine_s():
    """Seconds that all cores together were busy, since the boot."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(n) for n in stat.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def children_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_once(argv):
    """One run: its numbers, and the share of the machine others used."""
    began, busy, ours = time.monotonic(), machine_s(), children_s()
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, timeout=PATIENCE_S,
                              stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv}: hung") from None
    if done.returncode != 0:
        raise Failed(f"{argv}: {done.stderr.strip()}")
    took = time.monotonic() - began
    others = (machine_s() - busy) - (children_s() - ours)
    numbers = {k: float(v) for k, v in
               (line.split("\t")[:2] for line in done.stdout.splitlines())}
    return numbers, max(0.0, others) / took / os.cpu_count()


def ours(program, *arguments):
    folder = "seeds" if program in ("weather", "fetch_thirty") else "bench"
    return [os.path.join(BUILD, "tests", folder, program),
            *map(str, arguments)]


def theirs(*arguments):
    return [sys.executable, os.path.abspath(__file__), "asyncio",
            *map(str, arguments)]


def scaled(count):
    return max(100, int(count * SCALE))


class Bench:
    def __init__(self):
        self.again = self.noisy = 0
        self.wait_s = WAIT_S
        self.failed, self.goals = [], []

    def emit(self, name, values, unit):
        """The median, and the least and the most under .min and .max."""
        for suffix, value in (("", statistics.median(values)),
                              (".min", min(values)), (".max", max(values))):
            print(f"loop.{name}{suffix}\t{value:.6g}\t{unit}", flush=True)
        return statistics.median(values)

    def goal(self, what, value, limit, at_most=True):
        met = value <= limit if at_most else value >= limit
        self.goals.append(
            f"{'met    ' if met else 'NOT MET'} {what}: {value:.4g}, "
            f"goal {'<=' if at_most else '>='} {limit:g}")

    def wait_for_quiet(self):
        """Until we are alone, or have waited enough."""
        while self.wait_s > 0:
            began, busy = time.monotonic(), machine_s()
            time.sleep(LOOK_S)
            took = time.monotonic() - began
            if (machine_s() - busy) / took / os.cpu_count() <= OTHERS_MAX:
                return
            self.wait_s -= took

    def quiet(self, argv):
        """Does a run again while the neighbours are loud; the quietest."""
        self.wait_for_quiet()
        best, others = run_once(argv)
        for _ in range(AGAIN_MAX):
            if others <= OTHERS_MAX or self.again >= AGAIN_ALL_MAX:
                break
            self.again += 1
            self.wait_for_quiet()
            numbers, share = run_once(argv)
            if share < others:
                best, others = numbers, share
        self.noisy += others > OTHERS_MAX
        return best

    def rounds(self, variants):
        """ROUNDS runs of each in turn, the first one changing."""
        runs = {name: [] for name in variants}
        for i in range(ROUNDS):
            names = sorted(variants, reverse=i % 2 == 1)
            for name in names:
                runs[name].append(self.quiet(variants[name]))
        return runs

    def measure(self, cell, runs, key, unit):
        """Emits one number for each who has it; the values by name."""
        values = {}
        for name, mine in runs.items():
            if key in mine[0]:
                values[name] = [run[key] for run in mine]
                self.emit(f"{cell}.{name}.{key}", values[name], unit)
        return values

    def ratio(self, cell, mine, other, what):
        """Of each round to the other's same round."""
        return self.emit(f"{cell}.{what}",
                         [a / b for a, b in zip(mine, other)], "x")

    # The cells.

    def calls(self, cell, threads):
        runs = self.rounds({
            "es": ours("loop_submit", "calls", threads, scaled(1000000)),
            "asyncio": theirs("calls", threads, scaled(100000)),
            "asyncio_rct": theirs("spawn", threads, scaled(10000))})
        rate = self.measure(cell, runs, "per_s", "1/s")
        self.measure(cell, runs, "submit_ns", "ns")
        self.measure(cell, runs, "cpu_ns", "ns")
        self.measure(cell, runs, "calls_per_turn", "calls")
        for name, goal in (("asyncio", 20), ("asyncio_rct", 100)):
            self.goal(f"{cell}, times {name}", self.ratio(
                cell, rate["es"], rate[name], f"times_{name}"), goal, False)

    def spawn(self, cell, threads):
        runs = self.rounds({
            "es": ours("loop_submit", "spawn", threads, scaled(200000)),
            "asyncio_rct": theirs("spawn", threads, scaled(10000))})
        rate = self.measure(cell, runs, "per_s", "1/s")
        self.measure(cell, runs, "cpu_ns", "ns")
        self.goal(f"{cell} and settle, times asyncio_rct", self.ratio(
            cell, rate["es"], rate["asyncio_rct"], "times_asyncio_rct"),
            20, False)

    def trip(self, cell, loop_core, caller_core):
        runs = self.rounds({
            "es": ours("loop_submit", "trip", scaled(20000), loop_core,
                       caller_core),
            "asyncio_rct": theirs("trip", scaled(5000), loop_core,
                                  caller_core)})
        p50 = self.measure(cell, runs, "p50_us", "us")
        self.measure(cell, runs, "p99_us", "us")
        self.ratio(cell, p50["es"], p50["asyncio_rct"], "share_of_asyncio")
        if loop_core == caller_core:
            self.goal(f"{cell}, p50 (us)", statistics.median(p50["es"]), 10)

    def switch(self, cell):
        runs = self.rounds(
            {"es": ours("loop_inside", "switch", scaled(20000000))})
        value = self.measure(cell, runs, "ns", "ns")
        self.goal(f"{cell} to a task's stack (ns)",
                  statistics.median(value["es"]), 30)

    def yielding(self, cell, tasks):
        runs = self.rounds({
            "es": ours("loop_inside", "yield", tasks, scaled(1000000)),
            "asyncio": theirs("yield", tasks, scaled(100000))})
        self.measure(cell, runs, "ns", "ns")

    def timers(self, cell):
        """Three sizes in each round, so that they can be compared."""
        sizes = (1000, 10000, 100000)
        variants = {}
        for size in sizes:
            variants[f"es.{size}"] = ours(
                "loop_inside", "timers", size, scaled(1000000))
            variants[f"asyncio.{size}"] = theirs(
                "timers", size, scaled(100000))
        runs = self.rounds(variants)
        values = self.measure(cell, runs, "ns", "ns")
        growth = self.ratio(cell, values["es.100000"], values["es.1000"],
                            "growth_100_times")
        # Linear would be 100; the logarithm 1.7, were it not for caches.
        self.goal(f"{cell}, cost at 100 times as many", growth, 10)

    def asleep(self, cell, tasks):
        runs = self.rounds({
            "es": ours("loop_inside", "asleep", tasks),
            "asyncio": theirs("asleep", tasks)})
        self.measure(cell, runs, "bytes", "bytes")
        self.measure(cell, runs, "spawn_ns", "ns")
        self.measure(cell, runs, "close_ns", "ns")

    def executor(self, cell, workers):
        runs = self.rounds({
            "es": ours("loop_threads", "executor", workers, scaled(1000000)),
            "python": theirs("executor", workers, scaled(50000))})
        rate = self.measure(cell, runs, "per_s", "1/s")
        self.measure(cell, runs, "cpu_ns", "ns")
        self.ratio(cell, rate["es"], rate["python"], "times_python")

    def stream(self, cell, items):
        runs = self.rounds({
            "es": ours("loop_threads", "stream", items, scaled(1000000)),
            "python_queue": theirs("stream", items, scaled(50000))})
        rate = self.measure(cell, runs, "per_s", "1/s")
        self.measure(cell, runs, "cpu_ns", "ns")
        self.ratio(cell, rate["es"], rate["python_queue"],
                   "times_python_queue")

    def requests(self, cell, count, repeat, program, prefix, goal, text):
        """Sync and async against a server that answers after 40 ms."""
        runs = self.rounds({
            "es": ours(program, "ratios"),
            "asyncio": theirs("requests", count, repeat)})
        mine = {k: [r[f"{prefix}.{k}"] for r in runs["es"]]
                for k in ("sync", "async")}
        other = {k: [r[k] for r in runs["asyncio"]] for k in mine}
        for name, values in ("es", mine), ("asyncio", other):
            for k, times in values.items():
                self.emit(f"{cell}.{name}.{k}", times, "s")
            share = self.ratio(cell, values["async"], values["sync"],
                               f"{name}.async_share")
            if name == "es":
                self.goal(f"{cell}, share of sync (the text: {text})",
                          share, goal)

    def cells(self):
        for threads in (1, 4):
            yield f"calls.t{threads}", self.calls, (threads,)
        for threads in (1, 4):
            yield f"spawn.t{threads}", self.spawn, (threads,)
        yield "trip.one_core", self.trip, (CORES[0], CORES[0])
        yield "trip.two_cores", self.trip, (CORES[0], CORES[1])
        yield "switch", self.switch, ()
        for tasks in (2, 100):
            yield f"yield.n{tasks}", self.yielding, (tasks,)
        yield "timers", self.timers, ()
        yield "asleep.n10000", self.asleep, (10000,)
        yield "executor.w2", self.executor, (2,)
        yield "stream.n64", self.stream, (64,)
        yield "requests.8x4", self.requests, (
            8, 4, "weather", "weather.8x4", 0.35, "0.52")
        yield "requests.32", self.requests, (
            32, 1, "weather", "weather.32x1", 0.10, "0.35")
        yield "requests.30", self.requests, (
            30, 1, "fetch_thirty", "fetch.30", 0.10, "0.21")

    def run(self, patterns):
        wanted = [c for c in self.cells()
                  if any(fnmatch.fnmatch(c[0], p) for p in patterns)]
        if not wanted:
            raise SystemExit(f"no cell matches {patterns}")
        began = time.monotonic()
        for i, (cell, how, args) in enumerate(wanted):
            say(f"[{time.monotonic() - began:4.0f} s] "
                f"{i + 1}/{len(wanted)} {cell}")
            try:
                how(cell, *args)
            except Failed as reason:
                say(f"{cell} FAILED: {reason}")
                self.failed.append(cell)
        say(f"{time.monotonic() - began:.0f} s, {ROUNDS} rounds each; "
            f"{WAIT_S - self.wait_s:.0f} s waited and {self.again} runs done "
            f"again because others were busy, "
            f"{self.noisy} kept although others used more than "
            f"{OTHERS_MAX:.0%} of the machine; load {os.getloadavg()[0]:.1f}")
        for line in self.goals:
            say(line)
        if self.failed:
            say("failed:", " ".join(self.failed))
        return 1 if self.failed else 0


def main():
    if sys.argv[1:2] == ["asyncio"]:
        globals()[f"python_{sys.argv[2]}"](*map(int, sys.argv[3:]))
        return 0
    say(f"{platform.machine()}, Linux {platform.release()}, "
        f"{os.cpu_count()} cores, python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}")
    patterns = os.environ.get("CELLS", "*").replace(",", " ").split()
    return Bench().run(patterns)


if __name__ == "__main__":
    sys.exit(main())
