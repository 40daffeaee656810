"""lab: scenes that are played on a machine of their own, with a real systemd.

    import lab
    import scene

    def scene_it_starts():
        lab.configure(CONF)
        with lab.service() as earshot:
            scene.equal(earshot.http("GET", "/healthz").status, 200, "ok")

    lab.play(__file__, globals())

play() starts the scene's file again inside tests/lab/boot.sh; there the scenes
run one after the other on one machine.  Before each, earshot's units are
stopped and nothing is left of what the scene before it wrote.  When one fails,
the journal is shown.
"""
import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import scene

INSIDE = os.environ.get("LAB") == "/lab"
LONG = bool(os.environ.get("LAB_LONG"))
UNITS = pathlib.Path("/run/systemd/system")
DROPINS = pathlib.Path("/lab/top/systemd/dropins")
CONF = pathlib.Path("/etc/earshot/earshot.conf")
HOOKED = "/lab/build/tests/lab/earshotd"
PORT = 8080
JOURNAL_LINES = 60
AUTH = "[auth]\nanonymous = subscribe publish\n"
WEB = f"[listener web]\nlisten = 127.0.0.1:{PORT}\n"


def play(file, names, limit=60, bare=False):
    """The scenes of this file, in the lab; limit: seconds for all of them.

    bare: earshot is not installed there.
    """
    if not INSIDE:
        name = pathlib.Path(file).resolve().relative_to(scene.TOP)
        sys.exit(subprocess.call(
            [scene.TOP / "tests/lab/boot.sh", *(["-b"] if bare else []), "-t",
             str(limit), "python3", f"/lab/top/{name}", *sys.argv[1:]]))
    for key, function in list(names.items()):
        if key.startswith("scene_"):
            names[key] = _on_a_clean_machine(function)
    scene.play(names)


def _on_a_clean_machine(function):
    @functools.wraps(function)
    def run():
        clean()
        since = cursor()
        try:
            function()
        except scene.Skip:
            raise
        except BaseException:
            text = sh("journalctl", "-o", "short-precise",
                      *after(since)).stdout.splitlines()[-JOURNAL_LINES:]
            print("    | " + "\n    | ".join(text), flush=True)
            raise
    return run


def clean():
    """As it was when the machine had been booted."""
    units = [f for f in UNITS.glob("*") if f.name.startswith("earshot")]
    names = {"earshot.service", "earshot.socket"} | {
        f.name for f in units if f.is_file()}
    sh("systemctl", "stop", *sorted(names), code=None, seconds=60)
    sh("systemctl", "reset-failed", code=None)
    for path in units:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(CONF.parent, ignore_errors=True)
    sh("systemctl", "daemon-reload")


# Commands

def sh(*command, code=0, **options):
    """A command to its end; code None: whatever it says."""
    return scene.run(command, code=code, **options)


def systemctl(*arguments, **options):
    return sh("systemctl", *arguments, **options)


def show(name, unit="earshot.service"):
    """One property of a unit, as text."""
    return systemctl("show", "-P", name, unit).stdout.strip()


def wait_show(name, value, unit="earshot.service", seconds=30):
    """Until the property matches the pattern."""
    return scene.wait_until(
        lambda: re.fullmatch(value, show(name, unit)),
        f"{unit}: {name} is {value}", seconds)


def main_pid():
    return int(show("MainPID"))


def group_pids(unit="earshot.service"):
    """Who is in the unit's control group."""
    group = show("ControlGroup", unit)
    path = pathlib.Path("/sys/fs/cgroup") / group.lstrip("/")
    if not group or not path.is_dir():
        return []
    return [int(p) for f in path.rglob("cgroup.procs")
            for p in f.read_text().split()]


# What earshot is given

def configure(text="", web=WEB, auth=AUTH):
    """/etc/earshot/earshot.conf."""
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(web + auth + text)


def unit(name, text):
    """A unit, or NAME.d/x.conf, in /run/systemd/system."""
    path = UNITS / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    systemctl("daemon-reload")


def dropin(text, name="scene.conf", of="earshot.service"):
    unit(f"{of}.d/{name}", text)


def ready_made(name):
    """One of systemd/dropins."""
    dropin((DROPINS / name).read_text(), name)


def socket_unit(name, *streams, **options):
    """A .socket unit named after the listener."""
    lines = [f"ListenStream={s}" for s in streams]
    lines += [f"{k}={v}" for k, v in options.items()]
    unit(f"earshot-{name}.socket",
         "[Socket]\nService=earshot.service\nAccept=no\n"
         f"FileDescriptorName={name}\n" + "\n".join(lines) + "\n")
    return f"earshot-{name}.socket"


# earshot as it runs

class Service(scene.Daemon):
    """What a running service can be asked; see scene.Daemon."""

    def __init__(self, port=PORT):  # starts nothing
        self.ports = [port]
        self.since = cursor()

    @property
    def pid(self):
        return main_pid()

    def wait_answer(self, seconds=scene.DEADLINE_S):
        def asks():
            try:
                return self.http("GET", "/healthz").status == 200
            except OSError:
                return False
        scene.wait_until(asks, "/healthz answers", seconds)


@contextlib.contextmanager
def service(port=PORT):
    """systemctl start, and stop."""
    earshot = Service(port)
    systemctl("start", "earshot.service")
    yield earshot
    if show("ActiveState") == "active":
        earshot.close_clients()
    systemctl("stop", "earshot.service", seconds=30)


# The journal

def cursor():
    """Where the journal ends now."""
    sh("journalctl", "--sync", code=None)
    text = sh("journalctl", "-n0", "--show-cursor", code=None).stdout
    found = re.search(r"cursor: (\S+)", text)
    return found.group(1) if found else None


def after(since):
    """Arguments of journalctl."""
    return ["--after-cursor", since] if since else []


def journal(since=None, unit="earshot.service"):
    """The unit's own messages since then, a dict each.

    Not by a match of journalctl's: --after-cursor then passes over the first.
    """
    sh("journalctl", "--sync", code=None)
    text = sh("journalctl", "-o", "json", "--all", *after(since)).stdout
    entries = (json.loads(line) for line in text.splitlines())
    return [e for e in entries if e.get("_SYSTEMD_UNIT") == unit]


def messages(since=None, unit="earshot.service"):
    return [str(entry["MESSAGE"]) for entry in journal(since, unit)]


def wait_message(pattern, since=None, seconds=30):
    """The first message that has the pattern, as a dict."""
    def look():
        for entry in journal(since):
            if re.search(pattern, str(entry["MESSAGE"])):
                return entry
        return None
    return scene.wait_until(look, f"journal: {pattern}", seconds)


def events():
    """{name: id} of daemon/base/events.h."""
    text = (scene.TOP / "daemon/base/events.h").read_text()
    return dict(re.findall(r'#define EVENT_(\w+) "([0-9a-f]{32})"', text))


def cores():
    """Core files anybody left."""
    found = []
    for folder in ("/", "/var/lib/earshot", "/tmp",
                   "/var/lib/systemd/coredump"):
        if os.path.isdir(folder):
            found += [f for f in os.listdir(folder) if f.startswith("core")]
    return found


def timed(function, *arguments, **options):
    """Seconds it took."""
    began = time.monotonic()
    function(*arguments, **options)
    return time.monotonic() - began


def background(*command):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)
