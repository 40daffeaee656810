"""handled: daemons with a handler, for the scenes 61 to 69."""
import os
import re
import sys

import scene

PLUGINS = scene.BUILD / "tests/plugins"
EXEC = scene.TOP / "tests/exec"
PROGRAMS = {
    "python": f"{scene.PY} {EXEC}/echo.py",
    "sh": f"sh {EXEC}/echo.sh",
    "node": f"node {EXEC}/echo.js",
}


def conf(*lines, name="it", more=""):
    """A section [handler] with these lines."""
    return "\n".join([f"[handler {name}]", *lines, more, ""])


def plugin(which, *lines, more=""):
    lines = lines or ("path = /app",)
    return conf(f"plugin = {PLUGINS}/{which}.so", *lines, more=more)


def program(which, *lines, more=""):
    """One of the examples, or a program of the scene's own folder."""
    lines = lines or ("path = /app",)
    return conf(f"exec = {PROGRAMS.get(which, which)}", *lines, more=more)


def app(daemon, path="/app", **options):
    """A connection to a handler's endpoint."""
    client = scene.WebSocket(daemon.port, path, **options)
    if client.status != 101:
        raise scene.Failure(f"{path}: {client.status} {client.body}")
    return client


def handler_metric(daemon, name, handler="it"):
    return daemon.metric(f'handler_{name}{{handler="{handler}"}}')


def wait_metric(daemon, name, value, handler="it",
                seconds=scene.DEADLINE_S):
    return daemon.wait_metric(
        f'handler_{name}{{handler="{handler}"}}', value, seconds)


class Events:
    """What record.so publishes, without the connections' names."""

    def __init__(self, daemon):
        self.client = daemon.ws("events", "?from=oldest&gap=silent")

    def next(self):
        what, conn, more = self.client.read_text().split(" ", 2)
        self.conn = conn
        return f"{what} {more}".strip()

    def take(self, *wanted):
        for text in wanted:
            got = self.next()
            if got != text:
                raise scene.Failure(f"callback {got!r}, expected {text!r}")


def rss(pid):
    """Bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024


def children(daemon):
    """The pids of its processes that are not dead."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="latin-1") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == daemon.pid and fields[0] != "Z":
            found.append(int(entry))
    return sorted(found)


if __name__ == "__main__":
    sys.exit("a library")
