#!/usr/bin/python3
# slow
# limit: 240
"""systemctl reload, good and broken; the control socket under the unit's whole
sandbox; and how long a reload and a start take, beside nginx."""
import json
import os
import pathlib
import pwd
import re
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import lab
import scene

SOCKET = pathlib.Path("/run/earshot/control.sock")
CHANNELS = 10000
RELOAD_S, START_S = 0.2, 0.05  # goals, on an idle machine
GATE_S = 2  # of a reload: this machine is shared
ROUNDS = 15 if lab.LONG else 7
NGINX = "events {}\nhttp { access_log off; server { listen 127.0.0.1:8081; }}\n"


def status(code=0):
    done = control.earshot(SOCKET, "status", "--json", code=code)
    return json.loads(done.stdout)


def scene_a_good_file():
    lab.configure("[channel a]\nhistory_messages = 5\n")
    with lab.service() as earshot:
        consumer = earshot.ws("a")
        pid = lab.main_pid()
        for n in range(10):
            lab.configure(f"[channel a]\nhistory_messages = {n}\n")
            lab.systemctl("reload", "earshot.service")
            scene.equal(lab.show("ActiveState"), "active", "active")
        lab.wait_message("^reloaded$", earshot.since)
        events = [e for e in lab.journal(earshot.since) if e.get(
            "MESSAGE_ID") == lab.events()["RELOADED"]]
        scene.equal(len(events), 10, "an event each")
        for n in range(20):
            earshot.publish("a", f"{n}")
        answer = earshot.http("GET", "/channels/a/messages?from=oldest")
        scene.equal(len(scene.json_of(answer)["messages"]), 9,
                    "the new history")
        scene.equal([consumer.read_text() for _ in range(20)],
                    [f"{n}" for n in range(20)], "the consumer stayed")
        scene.equal((lab.main_pid(), lab.show("NRestarts")), (pid, "0"),
                    "the same process")


def scene_a_broken_file():
    lab.configure()
    with lab.service() as earshot:
        consumer = earshot.ws("a")
        lab.configure("[drain]\ntimeout = soon\n[nonsense]\n")
        since = lab.cursor()
        lab.systemctl("reload", "earshot.service", code=1)
        scene.equal((lab.show("ActiveState"), lab.show("SubState"),
                     lab.show("NRestarts")), ("active", "running", "0"),
                    "the reload failed, the service runs")
        told = {}
        for entry in lab.journal(since):
            told.setdefault(entry["SYSLOG_IDENTIFIER"], []).append(
                entry["MESSAGE"])
        for who in ("earshotd", "earshot"):
            text = "\n".join(map(str, told[who]))
            scene.check("earshot.conf:6: timeout = soon" in text and
                        "earshot.conf:7: " in text,
                        f"each fault in the journal, by {who}")
        scene.check([e for e in lab.journal(since) if e.get("MESSAGE_ID") ==
                     lab.events()["RELOAD_FAILED"]], "and an event")
        done = control.earshot(SOCKET, "reload", code=1)
        scene.check("earshot.conf:6: timeout = soon" in done.stderr,
                    "`earshot reload` shows it, too")
        earshot.publish("a", "x")
        scene.equal(consumer.read_text(), "x", "the consumer stayed")
        lab.configure()
        lab.systemctl("reload", "earshot.service")
        os.kill(lab.main_pid(), 1)
        lab.wait_message("^reloaded$", since)
        consumer.close()


def scene_control_under_the_sandbox():
    lab.configure()
    lab.sh("useradd", "-M", "-G", "earshot", "member", code=None)
    with lab.service() as earshot:
        info = SOCKET.stat()
        user = pwd.getpwnam("earshot")
        scene.equal((info.st_mode & 0o777, info.st_uid, info.st_gid),
                    (0o660, user.pw_uid, user.pw_gid), "0660 earshot:earshot")
        scene.equal(status()["state"], "serving", "root may")
        for who, code in ((["--reuid=earshot", "--regid=earshot",
                            "--clear-groups"], 0),
                          (["--reuid=65534", "--regid=65534",
                            f"--groups={user.pw_gid}"], 0),
                          (["--reuid=65534", "--regid=65534",
                            "--clear-groups"], 5)):
            lab.sh("setpriv", *who, "earshot", "status", code=code)
            scene.check(True, f"{who}: exit code {code}")
        SOCKET.chmod(0o666)
        lab.sh("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
               "earshot", "drain", code=5)
        lab.wait_message("control: refused, uid=65534", earshot.since)
        lab.wait_show("ActiveState", "active")
        consumer = earshot.ws("a")
        lab.sh("earshot", "drain")
        scene.equal(consumer.read_closed()[0], 1001, "a drain")
        lab.wait_show("ActiveState", "inactive")
        scene.equal((lab.show("Result"), lab.show("ExecMainStatus")),
                    ("success", "0"), "which is no failure")
        lab.sh("earshot", "status", code=4)
        lab.systemctl("reload", "earshot.service", code=1)


def scene_handlers_under_the_sandbox():
    """A plugin that is another is loaded as a copy; broken ones are told."""
    plugin = "[handler h]\nplugin = /lab/build/tests/plugins/answer.so\n" \
        "path = /h\noption.name = "
    lab.configure(plugin + "one\n")
    with lab.service() as earshot:
        clients, pid = [], lab.main_pid()
        for n, name in enumerate(("one", "two", "three")):
            if n > 0:
                lab.configure(f"{plugin}{name}\n")
                lab.systemctl("reload", "earshot.service")
            clients.append(scene.WebSocket(earshot.port, "/h"))
            clients[-1].send_text("x")
            scene.equal(clients[-1].read_text(), f"{name} 1", "who comes")
        for text, told in (("/no/such.so\npath = /h", "no/such.so: No such"),
                           ("/usr/bin/true\npath = /h", "true: cannot")):
            since = lab.cursor()
            lab.configure(f"[handler h]\nplugin = {text}\n")
            lab.systemctl("reload", "earshot.service", code=1)
            scene.check([e for e in lab.journal(since) if re.search(
                r"earshot\.conf:\d+: \[handler h\] plugin: .*" + told,
                str(e["MESSAGE"]))], told)
        for client, name in zip(clients, ("one", "two", "three")):
            client.send_text("x")
            scene.equal(client.read_text(), f"{name} 2", "who was there")
            client.send_close()
            client.read_closed()
        scene.equal(lab.main_pid(), pid, "the same process")


def fill(earshot):
    """So many channels, each with a message."""
    connection = earshot.http_open()
    for n in range(CHANNELS):
        connection.request("POST", f"/channels/c.{n}/messages", b"x",
                           {"Content-Type": "text/plain"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise scene.Failure(f"{answer.status}")
    connection.close()


def told_s(since, *patterns):
    """Seconds between the journal's messages, by the sender's clock."""
    stamps = []
    entries = lab.journal(since)
    for pattern in patterns:
        found = [int(e["_SOURCE_REALTIME_TIMESTAMP"]) for e in entries
                 if re.search(pattern, str(e["MESSAGE"]))]
        stamps.append(found[-1])
    return (stamps[-1] - stamps[0]) / 1e6


def nginx(act):
    """Seconds that systemctl takes for it."""
    return lab.timed(lab.systemctl, act, "nginx.service")


def used_s(pid):
    """Processor time of all its threads, from the fork on."""
    folder = pathlib.Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in folder.iterdir()) / 1e9


def alone_s():
    """The same for the program by itself, without the unit's sandbox."""
    with scene.Daemon() as daemon:
        return used_s(daemon.pid)


def show(what, values):
    values = [v * 1000 for v in values]
    print(f"    {what}: {statistics.median(values):.1f} ms "
          f"({min(values):.1f} to {max(values):.1f}, {len(values)} rounds)",
          flush=True)
    return statistics.median(values) / 1000


def scene_how_long():
    have_nginx = os.path.exists("/usr/sbin/nginx")
    if have_nginx:
        pathlib.Path("/etc/nginx/nginx.conf").write_text(NGINX)
        lab.systemctl("start", "nginx.service")
    lab.configure("[limits]\nchannels_max = 20000\n[channel c.1*]\n"
                  "history_messages = 5\n[channel c.*]\n")
    starts, reloads, whole, other = [], [], [], []
    with lab.service() as earshot:
        fill(earshot)
        scene.equal(status()["channels"], CHANNELS, "channels")
        for _ in range(ROUNDS):
            since = lab.cursor()
            whole.append(lab.timed(lab.systemctl, "reload",
                                   "earshot.service"))
            lab.wait_message("^reloaded$", since)
            reloads.append(told_s(since, "^control: reload,", "^reloaded$"))
            if have_nginx:
                other.append(nginx("reload"))
    took = show(f"reload with {CHANNELS} channels, asked to READY=1", reloads)
    show("  systemctl reload earshot", whole)
    if other:
        show("  systemctl reload nginx, which does not wait", other)
    restarts, nginx_starts, used = [], [], []
    lab.configure()
    for _ in range(ROUNDS):
        restarts.append(lab.timed(lab.systemctl, "start", "earshot.service"))
        starts.append((int(lab.show("ActiveEnterTimestampMonotonic")) -
                       int(lab.show("ExecMainStartTimestampMonotonic"))) / 1e6)
        used.append(used_s(lab.main_pid()))
        lab.systemctl("stop", "earshot.service")
        if have_nginx:
            lab.systemctl("stop", "nginx.service")
            nginx_starts.append(nginx("start"))
    start = show("start, from exec to READY=1", starts)
    show("  systemctl start earshot", restarts)
    show("  processor time till then, the sandbox included", used)
    alone = show("  of the program alone", [alone_s() for _ in range(ROUNDS)])
    if nginx_starts:
        show("  systemctl start nginx", nginx_starts)
        lab.systemctl("stop", "nginx.service")
    scene.in_time(took, GATE_S, f"reload, whose goal is {RELOAD_S} s")
    print(f"    start: goal {START_S * 1000:.0f} ms, "
          f"{'kept' if start < START_S else 'not kept, now'}", flush=True)
    scene.in_time(alone, START_S / 4,
                  "the program's own part, in processor time")


def scene_no_memory_is_kept():
    """Reload after reload: the process does not grow."""
    lab.configure("[channel c.*]\n")
    with lab.service() as earshot:
        for n in range(1000):
            earshot.publish(f"c.{n}", "x")

        def rss_kib():
            text = pathlib.Path(f"/proc/{lab.main_pid()}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", text)[1])
        sizes = []
        for _ in range(4):
            for _ in range(25):
                control.earshot(SOCKET, "reload")
            sizes.append(rss_kib())
        scene.check(sizes[-1] < sizes[0] * 1.1 + 500, f"KiB: {sizes}")


lab.play(__file__, globals(), limit=220)
