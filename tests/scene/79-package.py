#!/usr/bin/python3
# slow
# limit: 600
"""The Debian package: built, installed, used, upgraded under clients, removed
and purged, on a machine that never saw earshot before.
"""
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

KEEP = pathlib.Path("/lab/keep")
PLACES = ("/etc", "/lib", "/usr", "/var", "/opt", "/run")
QUIET = dict(os.environ, DEBIAN_FRONTEND="noninteractive")


def build():
    """earshot_1.deb, and the same as a later version, for the lab."""
    for tool in ("dpkg-buildpackage", "dh", "lintian"):
        if not shutil.which(tool):
            print(f"  skipped: no {tool}; make deps-deb")
            sys.exit(scene.SKIPPED)
    there = subprocess.run([scene.TOP / "tests/lab/root.sh", "--there"],
                           stdout=subprocess.DEVNULL, check=False)
    if there.returncode:
        sys.exit(there.returncode)
    out = scene.TMP / "deb"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    env["PKG_CONFIG_PATH"] = f"{scene.TOP}/build/deps/lib/pkgconfig"
    done = scene.run([scene.TOP / "systemd/debian/build.sh", out], env=env,
                     seconds=400)
    if done.returncode:
        print(done.stdout + done.stderr)
        sys.exit(1)
    print("  built, and lintian found no error:\n" + done.stdout.strip())
    keep = scene.TMP / "keep"
    keep.mkdir()
    package = next(out.glob("earshot_*.deb"))
    shutil.copy(package, keep / "1.deb")
    tree = scene.TMP / "tree"
    scene.run(["dpkg-deb", "-R", package, tree], code=0)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    version = text.split("Version: ")[1].split("\n")[0]
    control.write_text(text.replace(version, version + "+later"))
    scene.run(["dpkg-deb", "--root-owner-group", "-b", tree, keep / "2.deb"],
              code=0)
    os.environ["LAB_KEEP"] = str(keep)


def dpkg(*arguments):
    done = lab.sh("dpkg", *arguments, code=None, seconds=60, env=QUIET)
    if done.returncode:
        raise scene.Failure(done.stdout + done.stderr)


def is_enabled(unit):
    return lab.systemctl("is-enabled", unit, code=None).stdout.strip()


def files():
    """What there is below PLACES, but for logs and dpkg's own."""
    done = lab.sh("find", *PLACES, "-xdev", "-not", "-type", "s", code=None)
    return {f for f in done.stdout.splitlines()
            if not f.startswith(("/var/lib/dpkg", "/var/log", "/run/log",
                                 "/run/systemd", "/var/cache"))}


def check_installed():
    for unit in ("earshot.service", "earshot.socket"):
        scene.equal((is_enabled(unit), lab.show("ActiveState", unit)),
                    ("disabled", "inactive"), f"{unit} is left alone")
    user = pwd.getpwnam("earshot")
    scene.equal((user.pw_dir, user.pw_shell),
                ("/var/lib/earshot", "/usr/sbin/nologin"), "user earshot")
    told = lab.sh("earshotd", "--check").stderr
    scene.equal(told, "", "the configuration that comes with it")
    scene.check("earshot is ready" in lab.sh("journalctl", "--list-catalog")
                .stdout, "the catalog is known")
    verify = lab.sh("systemd-analyze", "verify", "--man=no",
                    "earshot.service", "earshot.socket")
    scene.equal(verify.stdout + verify.stderr, "", "systemd-analyze verify")


def ask():
    with socket.create_connection(("127.0.0.1", lab.PORT), 10) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return client.recv(100).split(b"\r\n")[0]


class Asking(threading.Thread):
    """Asks as long as it is let."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop, self.answers = threading.Event(), []

    def run(self):
        while not self.stop.is_set():
            try:
                self.answers.append(ask())
            except OSError as error:
                self.answers.append(str(error))


def scene_a_package_s_life():
    before = files()
    dpkg("-i", KEEP / "1.deb")
    check_installed()

    lab.systemctl("enable", "--now", "earshot.socket", "earshot.service")
    conf = pathlib.Path("/etc/earshot/earshot.conf")
    conf.write_text(conf.read_text() + "\n# mine\n")
    pid = lab.main_pid()
    earshot = lab.Service()
    consumer = earshot.ws("a")
    asking = Asking()
    asking.start()
    upgrade = threading.Thread(target=dpkg, args=("-i", KEEP / "2.deb"))
    upgrade.start()
    code, reason = consumer.read_closed()
    scene.check(code == 1001 and "retry_after_ms" in reason,
                f"an upgrade drains: {code} {reason}")
    upgrade.join()
    asking.stop.set()
    asking.join()
    scene.equal(set(asking.answers), {b"HTTP/1.1 200 OK"},
                f"{len(asking.answers)} requests meanwhile, all answered")
    scene.check(lab.main_pid() not in (0, pid), "the new one runs")
    scene.equal((is_enabled("earshot.service"), is_enabled("earshot.socket")),
                ("enabled", "enabled"), "still enabled")
    scene.check(conf.read_text().endswith("# mine\n"), "conf is the admin's")

    lab.systemctl("disable", "--now", "earshot.socket", "earshot.service")
    dpkg("-i", KEEP / "1.deb")
    scene.equal((lab.show("ActiveState"), is_enabled("earshot.service"),
                 lab.show("ActiveState", "earshot.socket")),
                ("inactive", "disabled", "inactive"),
                "what was stopped is not started by an upgrade")

    lab.systemctl("enable", "--now", "earshot.socket", "earshot.service")
    asking = Asking()
    asking.start()
    dpkg("-r", "earshot")
    asking.stop.set()
    asking.join()
    scene.equal((lab.show("ActiveState"),
                 lab.show("ActiveState", "earshot.socket")),
                ("inactive", "inactive"), "removed under clients: both stop")
    scene.check(conf.exists(), "its configuration stays")
    dpkg("-P", "earshot")
    left = sorted(f for f in files() - before
                  if not f.startswith(("/etc/passwd", "/etc/group",
                                       "/etc/shadow", "/etc/gshadow",
                                       "/etc/.pwd.lock")))
    scene.equal(left, [], "purged: nothing is left but the user")


if not lab.INSIDE:
    build()
lab.play(__file__, globals(), limit=220, bare=True)
