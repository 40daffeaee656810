#!/usr/bin/python3
# sanitizer: yes
# limit: 150
"""Reload: what changes, what is told, and that no connection notices."""
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import crowd
import scene

ROUNDS = 30
PUBLISHERS, EARS, LINES = 3, 200, 20


def offsets(daemon, channel, arguments="from=oldest"):
    answer = daemon.http(
        "GET", f"/channels/{channel}/messages?{arguments}&limit=1000")
    return [m["offset"] for m in scene.json_of(answer)["messages"]]


def scene_what_changes():
    with control.Daemon("[channel a]\nhistory_messages = 100\n") as daemon:
        port = daemon.port
        listen = f"[listener]\nlisten = 127.0.0.1:0\norigins = https://ok\n"
        consumer = daemon.ws("a")
        for n in range(50):
            daemon.publish("a", f"{n}")
        scene.equal(len(offsets(daemon, "a")), 50, "history as it was")
        daemon.reload(listen + "[auth]\nanonymous = subscribe\n"
                      "[channel a]\nhistory_messages = 10\n"
                      "[limits]\nmessage_bytes_max = 10\n"
                      "history_limit_max = 1000\n[log]\nlevel = debug\n")
        daemon.wait_log(r"INFO reloaded$")
        scene.equal(offsets(daemon, "a"), list(range(41, 51)),
                    "channel: history_messages")
        answer = daemon.http("POST", "/channels/a/messages", b"x" * 5,
                             {"Content-Type": "text/plain"})
        scene.equal(answer.status, 403, "rights")
        scene.equal(daemon.http("GET", "/sse/a",
                                headers={"Origin": "https://no"}).status,
                    403, "origins")
        scene.equal(daemon.earshot("log-level").stdout, "debug\n",
                    "log level")
        daemon.reload("[limits]\nmessage_bytes_max = 10\n"
                      "[channel a]\nhistory_messages = 20\n")
        daemon.publish("a", "x")
        answer = daemon.http("POST", "/channels/a/messages", b"x" * 11,
                             {"Content-Type": "text/plain"})
        scene.equal(answer.status, 413, "limits")
        scene.equal(offsets(daemon, "a"), list(range(41, 52)),
                    "what was trimmed does not come back, more is kept")
        got = [consumer.read_text() for _ in range(51)]
        scene.equal(got[-1], "x", "the consumer has heard it all")
        scene.equal(daemon.port, port, "where it was")
        state = json.loads(daemon.earshot("status", "--json").stdout)
        scene.equal(state["reload"]["ok"], True, "status tells it")


FAULTS = [
    ("[drain]\ntimeout = soon\n", r":\d+: timeout = soon"),
    ("[nonsense]\n", r":\d+: unknown section"),
    ("[limits]\nchannels_max = 0\n", r":\d+: channels_max = 0"),
    ("[listener x]\nlisten = 127.0.0.1:0\ntls = yes\n", r":1: .*certificate"),
    ("[listener x]\nlisten = 127.0.0.1:0\ntls = yes\n[tls]\n"
     "certificate = /no/such\nkey = /no/such\n", r":5: certificate"),
]


def scene_faults_change_nothing():
    with control.Daemon("[channel a]\nhistory_messages = 3\n") as daemon:
        consumer = daemon.ws("a")
        for text, pattern in FAULTS:
            lines = len(daemon.lines)
            done = daemon.reload("[channel a]\nhistory_messages = 100\n" + text
                                 if "listener" not in text else text, code=1)
            scene.check(re.search("earshot.conf" + pattern, done.stderr),
                        done.stderr.splitlines()[0][-70:])
            daemon.wait_log("ERROR .*earshot.conf" + pattern, since=lines)
            daemon.wait_log("ERROR not reloaded, the configuration has faults;"
                            " all is as it was", since=lines)
        daemon.conf.unlink()
        done = daemon.earshot("reload", code=1)
        scene.check("No such file" in done.stderr, "no file at all")
        told = daemon.earshot("status").stdout
        scene.check("reload failed" in told, told.splitlines()[-1])
        for n in range(5):
            daemon.publish("a", f"{n}")
        scene.equal(offsets(daemon, "a"), [3, 4, 5], "as it was")
        scene.equal(consumer.read_text(), "0", "for the consumer, too")
        daemon.reload("[channel a]\nhistory_messages = 2\n")
        daemon.publish("a", "x")
        scene.equal(offsets(daemon, "a"), [5, 6], "and a good one still works")


def scene_what_takes_a_restart_is_named():
    conf = "[listener web]\nlisten = 127.0.0.1:0\n" \
        "[command c]\nexec = /bin/cat /dev/zero\nchannel = c\n"
    conf = conf.replace("/bin/cat /dev/zero", "/bin/sleep 1000")
    with control.Daemon(conf) as daemon:
        scene.equal(daemon.reload(conf).stderr, "", "nothing has changed")
        scene.wait_until(lambda: daemon.look("feeds")["feeds"][0]["state"]
                         == "running", "the command runs")
        pids = daemon.look("feeds")["feeds"][0]["restarts"]
        done = daemon.reload(
            "[listener web]\nlisten = 127.0.0.1:1\n[listener more]\n"
            "listen = 127.0.0.1:0\n[limits]\nconnections_max = 20000\n"
            "span_bytes_max = 32K\nkeepalive_timeout = 60s\n"
            "request_timeout = 5s\nwork_threads = 5\n"
            "[command c]\nexec = /bin/sleep 1000\nchannel = c\n"
            "[handler h]\nexec = /bin/cat\npath = /h\n")
        told = [l.removeprefix("earshot: takes a restart: ")
                for l in done.stderr.splitlines()]
        for expected in ("limits.connections_max = 20000",
                         "limits.span_bytes_max = 32768",
                         "limits.keepalive_timeout = 60s",
                         "[listener more] is new",
                         "[listener web] is another: listen = 127.0.0.1:1, "
                         "tls = no", "limits.work_threads = 5"):
            scene.check(expected in told, expected)
        scene.equal(len(told), 6, "and no more than that")
        daemon.wait_log(r"INFO reloaded; 6 changes take a restart")
        feeds = daemon.look("feeds")["feeds"]
        scene.equal((feeds[0]["state"], feeds[0]["restarts"]),
                    ("running", pids), "the command goes on")
        answer = json.loads(daemon.earshot("reload", "--json").stdout)
        scene.equal(len(answer["restart"]), 6, "named again")
        scene.equal(daemon.reload(conf).stderr, "", "and taken back")
        path = daemon.socket
        daemon.conf.write_text(f"{conf}[control]\nlisten = unix:{path}2\n")
        done = control.earshot(path, "reload")
        scene.check(f"[control] listen = {path}2" in done.stderr,
                    "the control socket")
        daemon.conf.write_text("[listener other]\nlisten = 127.0.0.1:0\n")
        done = control.earshot(path, "reload")
        scene.check("[listener web] is gone" in done.stderr and
                    daemon.http("GET", "/healthz").status == 200,
                    "a listener that is gone goes on")


def pids_of(daemon):
    """{what it sleeps: its process}."""
    found = {}
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/stat") as stat, \
                    open(f"/proc/{pid}/cmdline") as line:
                parent = int(stat.read().rpartition(")")[2].split()[1])
                words = line.read().split("\0")
        except OSError:
            continue
        if parent == daemon.pid and words[0] == "/bin/sleep":
            found[words[1]] = pid
    return found


def scene_feeds():
    def command(name, seconds):
        return f"[command {name}]\nexec = /bin/sleep {seconds}\n" \
            f"channel = {name}\n"
    with control.Daemon(command("a", 1001) + command("b", 1002)) as daemon:
        before = scene.wait_until(
            lambda: len(p := pids_of(daemon)) == 2 and p, "two run")
        scene.equal(daemon.reload(command("c", 1003) + command("a", 1001) +
                                  "[channel x]\n").stderr, "", "others")
        after = scene.wait_until(
            lambda: set(p := pids_of(daemon)) == {"1001", "1003"} and p,
            "b is stopped, c runs")
        scene.equal(after["1001"], before["1001"], "a goes on untouched")
        daemon.reload(command("a", 1004))
        scene.wait_until(lambda: set(pids_of(daemon)) == {"1004"},
                         "a is another")
        names = [f["name"] for f in daemon.look("feeds")["feeds"]]
        scene.wait_until(lambda: [f["name"] for f in daemon.look(
            "feeds")["feeds"]] == ["a"], f"feeds: {names}, then a alone")


def make_certificate(name, folder):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    scene.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
               f"/CN={name}", "-keyout", key, "-out", certificate], code=0)
    return certificate, key


def shown_by(sock):
    return re.search(rb"generation-\d", sock.getpeercert(True)).group().decode()


def scene_certificates():
    folder = scene.TMP / "tls"
    folder.mkdir()
    certificate, key = make_certificate("generation-1", folder)
    conf = "[listener plain]\nlisten = 127.0.0.1:0\n" \
        "[listener secure]\nlisten = 127.0.0.1:0\ntls = yes\n[tls]\n" \
        f"certificate = {certificate}\nkey = {key}\n"
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with control.Daemon(conf) as daemon:
        port = daemon.ports[1]
        first = scene.WebSocket(port, "/ws/a", tls=trust)
        scene.equal((first.status, shown_by(first.sock)),
                    (101, "generation-1"), "the first")
        for n in range(2, 5):
            make_certificate(f"generation-{n}", folder)
            daemon.earshot("reload")
            with scene.WebSocket(port, "/ws/a", tls=trust) as other:
                scene.equal(shown_by(other.sock), f"generation-{n}",
                            "who comes after the reload")
        good = key.read_text()
        for text in ("rubbish", scene.run(
                ["openssl", "ecparam", "-genkey", "-name", "prime256v1"],
                code=0).stdout):
            key.write_text(text)
            done = daemon.earshot("reload", code=1)
            scene.check(": key = " in done.stderr,
                        done.stderr.splitlines()[0][-60:])
            with scene.WebSocket(port, "/ws/a", tls=trust) as other:
                scene.equal(shown_by(other.sock), "generation-4", "as it was")
        key.write_text(good)
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        make_certificate("generation-9", elsewhere)
        for _ in range(2):
            done = daemon.reload(conf.replace(str(folder), str(elsewhere)))
            scene.check("[tls] certificate = " in done.stderr,
                        "another path takes a restart")
        with scene.WebSocket(port, "/ws/a", tls=trust) as other:
            scene.equal(shown_by(other.sock), "generation-4", "till then")
        make_certificate("generation-5", folder)
        daemon.reload(conf)
        with scene.WebSocket(port, "/ws/a", tls=trust) as other:
            scene.equal(shown_by(other.sock), "generation-5", "back again")
        daemon.publish("a", "hello")
        scene.equal(first.read_text(), "hello",
                    "the first connection has been there all the time")
        first.close()
        scene.wait_until(lambda: daemon.look("status")["consumers"] == 0,
                         "all gone")


def scene_the_manager_is_told():
    path = str(scene.TMP / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(scene.DEADLINE_S * scene.SLOWNESS)

    def hear(word):
        while True:
            text = manager.recv(4096).decode()
            if word in text:
                return text
    with control.Daemon(env={"NOTIFY_SOCKET": path}) as daemon:
        hear("READY=1")
        for how in ("HUP", "earshot", "broken"):
            if how == "broken":
                daemon.write("[nonsense]\n")
            if how == "HUP":
                daemon.signal(signal.SIGHUP)
            else:
                daemon.earshot("reload", code=1 if how == "broken" else 0)
            text = hear("RELOADING=1")
            scene.check(re.search(r"^MONOTONIC_USEC=\d+$", text, re.M),
                        f"{how}: RELOADING=1 and when")
            hear("READY=1")
            scene.check(True, f"{how}: READY=1")
        daemon.write("")
    manager.close()


def scene_all_at_once():
    """Signals and many who ask meanwhile: everybody is answered."""
    with control.Daemon() as daemon:
        codes = []

        def ask():
            codes.append(daemon.earshot("reload", code=None).returncode)
        for _ in range(5):
            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
                daemon.signal(signal.SIGHUP)
            for thread in threads:
                thread.join()
        scene.equal(set(codes), {0}, f"{len(codes)} reloads")
        scene.check(daemon.log_count("INFO reloaded") <= 80, "or fewer")


def scene_nobody_notices():
    """Publishers and consumers while everything changes, over and over."""
    keep = "[channel **]\nbuffer_bytes = 64M\n"
    with control.Daemon(keep) as daemon:
        publishers = [crowd.Publisher(daemon, "ticks", n, LINES, pause=0.003)
                      for n in range(PUBLISHERS)]
        with crowd.Crowd(daemon, "ticks", EARS) as ears:
            ears.wait("open", 30)
            for publisher in publishers:
                publisher.start()
            daemon.earshot("reload")
            fds = daemon.fd_count()
            for n in range(ROUNDS):
                daemon.reload(
                    keep + f"history_messages = {n * 10}\n"
                    f"[channel x{n}.*]\n[limits]\n"
                    f"tapes_bytes_max = {500 + n}M\n"
                    f"flushes_per_iteration_max = {n % 7 + 20}\n"
                    f"ping_interval = {20 + n}s\n")
            scene.check(daemon.fd_count() <= fds + 4, "no descriptor leaks")
            scene.equal(daemon.metric('connections{state="websocket"}'), EARS,
                        f"{EARS} consumers after {ROUNDS} reloads")
            daemon.signal()
            heard = ears.end(30)
            for publisher in publishers:
                crowd.check_publisher(publisher, heard)
        scene.equal(daemon.wait(), 0, "exit code")
        scene.equal(crowd.drained(daemon)[1:], [EARS, 0, 0, 0],
                    "delivered, cut, lost, lacked")


def scene_while_it_drains():
    with control.Daemon() as daemon:
        for _ in range(20):
            daemon.signal(signal.SIGHUP)
        daemon.signal()
        daemon.signal(signal.SIGHUP)
        scene.equal(daemon.wait(), 0, "exit code")


scene.play(globals())
