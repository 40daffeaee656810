#!/usr/bin/python3
# sanitizer: yes
"""It starts, says where it listens, answers, and ends when it is asked to."""
import os
import re
import signal
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

SAMPLE = re.compile(
    r'(earshot_[a-z0-9_]+)(\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})?'
    r' (\d+(?:\.\d+)?)')
HELP = re.compile(r"# HELP (earshot_[a-z0-9_]+) (\S.*)")
TYPE = re.compile(r"# TYPE (earshot_[a-z0-9_]+) (counter|gauge|histogram)")
COMMAND = "[command words]\nexec = echo word\nchannel = words\n"


def scene_ready_and_gone():
    daemon = scene.Daemon()
    with daemon:
        scene.check(daemon.port > 0, "the log names the port")
        scene.check(not re.search("WARN (?!loop)|ERROR", daemon.log()),
                    "nothing to complain about")
        scene.equal(daemon.http("GET", "/healthz").body, b"ok\n", "/healthz")
        scene.equal(daemon.http("GET", "/readyz").body, b"ready\n", "/readyz")
        scene.equal(daemon.stop(), 0, "exit code after SIGTERM")
    scene.check(daemon.log().endswith("INFO exit 0"), "the log's last word")
    probe = socket.socket()
    refused = probe.connect_ex(("127.0.0.1", daemon.port))
    probe.close()
    scene.check(refused != 0, "the port is free again")


def scene_sigint_is_sigterm():
    with scene.Daemon() as daemon:
        daemon.signal(signal.SIGINT)
        scene.equal(daemon.wait(), 0, "exit code after SIGINT")


def scene_signals_that_do_not_end_it():
    with scene.Daemon() as daemon:
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("INFO reloaded$")
        consumer = daemon.ws("a")
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log("INFO state: .* 1 consumer, 1 channel ")
        scene.check(True, "SIGUSR1: the state")
        daemon.signal(signal.SIGPIPE)
        scene.equal(daemon.http("GET", "/healthz").status, 200,
                    "alive after HUP, USR1 and PIPE")
        consumer.close()


def scene_who_leaves_in_time_was_not_cut():
    for i in range(10):
        daemon = scene.Daemon()
        consumers = [daemon.ws("a") for _ in range(5)]
        daemon.signal()
        for consumer in consumers:
            consumer.close()
        code = daemon.wait()
        if code != 0:
            raise scene.Failure(f"round {i}: exit code {code}:\n"
                                + daemon.log())
    scene.check(True, "consumers gone just when it drains: exit code 0")


def scene_root_says_how_to_listen():
    with scene.Daemon() as daemon:
        answer = daemon.http("GET", "/")
        scene.equal(answer.status, 200, "GET /")
        scene.equal(answer.headers["Content-Type"],
                    "text/plain; charset=utf-8", "its type")
        for word in (b"/ws/CHANNEL", b"/channels/CHANNEL/messages",
                     b"/metrics", b"earshot sub"):
            scene.check(word in answer.body, f"it names {word.decode()}")
        head = daemon.http("HEAD", "/")
        scene.equal((head.status, head.body), (200, b""), "HEAD /")
        scene.equal(head.headers["Content-Length"], str(len(answer.body)),
                    "HEAD's Content-Length")


def parse_metrics(text):
    """{name: (type, help)}, {sample: value}; every line has to be right."""
    helps, types, samples = {}, {}, {}
    last = None
    for line in text.splitlines():
        if found := HELP.fullmatch(line):
            if found[1] in helps:
                raise scene.Failure(f"HELP twice: {line}")
            helps[found[1]] = found[2]
        elif found := TYPE.fullmatch(line):
            if found[1] not in helps or found[1] in types:
                raise scene.Failure(f"TYPE without HELP, or twice: {line}")
            last = found[1]
            types[last] = found[2]
        elif found := SAMPLE.fullmatch(line):
            if found[1] != last:
                raise scene.Failure(f"not below its TYPE: {line}")
            if found[1] + (found[2] or "") in samples:
                raise scene.Failure(f"twice: {line}")
            samples[found[1] + (found[2] or "")] = float(found[3])
        else:
            raise scene.Failure(f"what is this: {line!r}")
    return {n: (t, helps[n]) for n, t in types.items()}, samples


def scene_metrics_parse():
    with scene.Daemon(COMMAND) as daemon:
        consumer = daemon.ws("a.b:c-d_e")
        daemon.publish("a.b:c-d_e", "hi")
        daemon.wait_metric("feed_messages_total", 1, feed="words")
        answer = daemon.http("GET", "/metrics")
        scene.equal(answer.headers["Content-Type"],
                    "text/plain; version=0.0.4; charset=utf-8", "the type")
        names, samples = parse_metrics(answer.body.decode())
        scene.check(len(samples) > 40, f"{len(samples)} samples parse")
        wrong = [n for n, (t, _) in names.items()
                 if (t == "counter") != n.endswith("_total")]
        scene.equal(wrong, [], "what only grows, and that only, is _total")
        empty = [n for n in names
                 if not any(s == n or s.startswith(n + "{") for s in samples)]
        scene.equal(empty, [], "every name has a value")
        scene.equal(
            samples['earshot_channel_messages_total{channel="a.b:c-d_e"}'], 1,
            "a channel's messages")
        scene.check(samples['earshot_connections{state="websocket"}'] == 1,
                    "connections by state")


def scene_every_limit_has_a_counter():
    with scene.Daemon(COMMAND) as daemon:
        done = scene.run([scene.EARSHOTD, "-c", daemon.conf, "--limits"],
                         code=0)
        limits = [line.split()[0] for line in done.stdout.splitlines()]
        scene.check(len(limits) >= 16, f"{len(limits)} limits")
        daemon.wait_metric("feed_messages_total", 1, feed="words")
        told = daemon.http("GET", "/metrics").body.decode()
        told = " ".join(re.findall("# HELP [a-z_]+_total (.*)", told))
        missing = [n for n in limits
                   if not re.search(rf"\blimit {n}\b", told)]
        scene.equal(missing, [], "limits that no counter's HELP names")


def scene_unix_socket():
    path = f"{scene.TMP}/earshot.sock"
    conf = f"[listener]\nlisten = unix:{path}\n"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    with scene.Daemon(conf) as daemon:
        daemon.wait_log(f"listening on unix:{path}$")
        mode = os.stat(path).st_mode
        scene.check(stat.S_ISSOCK(mode), "a socket that nobody had is ours")
        scene.equal(oct(stat.S_IMODE(mode)), "0o660", "its mode")
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        scene.check(client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n"),
                    "it answers there")
        client.close()
        other = scene.Daemon(conf, ready=False)
        scene.equal(other.wait(), 2, "a second daemon on it: exit code")
        scene.check("Address already in use" in other.log(), "and why")
        scene.check(os.path.exists(path), "the first one's socket stays")
    scene.check(not os.path.exists(path), "it is gone with the daemon")
    with open(path, "w", encoding="ascii") as file:
        file.write("somebody's\n")
    other = scene.Daemon(conf, ready=False)
    scene.equal(other.wait(), 2, "where a file is: exit code")
    with open(path, encoding="ascii") as file:
        scene.equal(file.read(), "somebody's\n", "which stays")


def scene_several_listeners():
    conf = "".join(f"[listener {n}]\nlisten = {a}:0\n" for n, a in (
        ("one", "127.0.0.1"), ("two", "127.0.0.2"), ("six", "[::1]")))
    if not os.path.exists("/proc/net/if_inet6"):
        raise scene.Skip("no IPv6 here")
    with scene.Daemon(conf) as daemon:
        scene.equal(len(daemon.ports), 3, "three listeners are told")
        six = daemon.wait_log(r"listening on ws://\[::1\]:(\d+)").group(1)
        for host, port in (("127.0.0.1", daemon.ports[0]),
                           ("127.0.0.2", daemon.ports[1]), ("::1", int(six))):
            client = socket.create_connection((host, port))
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            scene.check(b" 200 OK" in client.recv(100), f"{host} answers")
            client.close()


def scene_journal_prefixes():
    with scene.Daemon(journal=True) as daemon:
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("^<6>reloaded$")
        scene.equal(daemon.stop(), 0, "exit code")
        scene.check(all(re.match("<[3-7]>[^<]", line)
                        for line in daemon.log().splitlines()),
                    "every line has the journal's prefix")


scene.play(globals())
