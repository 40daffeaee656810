#!/usr/bin/python3
# slow
# limit: 240
"""Sockets that systemd listens on: started on demand, matched by name or by
address, IPv4, IPv6 and unix, kept across restarts; and units that do not fit
the configuration.
"""
import os
import re
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

LOCAL = "/run/earshot-test.sock"
ASK = b"GET /healthz HTTP/1.0\r\n\r\n"


def ask(address, family=socket.AF_INET):
    """The first line of an answer."""
    with socket.socket(family) as client:
        client.settimeout(scene.DEADLINE_S)
        client.connect(address)
        client.sendall(ASK)
        return client.recv(200).split(b"\r\n")[0]


def answers(address, family, what):
    scene.equal(ask(address, family), b"HTTP/1.1 200 OK", what)


def state():
    return lab.show("ActiveState")


def scene_started_on_demand():
    lab.configure()
    lab.systemctl("start", "earshot.socket")
    scene.equal(state(), "inactive", "the service waits")
    answers(("127.0.0.1", 8080), socket.AF_INET, "the first who asks")
    scene.equal(state(), "active", "has started it")
    lab.systemctl("stop", "earshot.service")
    answers(("127.0.0.1", 8080), socket.AF_INET, "and again after a stop")
    scene.equal(lab.show("NRestarts"), "0", "no restart was needed")


def scene_by_name_and_by_address():
    lab.configure(f"[listener six]\nlisten = [::1]:8081\n"
                  f"[listener]\nlisten = 0.0.0.0:8082\n"
                  f"[listener local]\nlisten = unix:/run/elsewhere.sock\n"
                  f"[listener own]\nlisten = 127.0.0.1:8083\n")
    names = [
        # One name, two sockets: both are the listener's.
        lab.socket_unit("web", "127.0.0.1:9090", "[::1]:9090"),
        lab.socket_unit("any", "[::1]:8081"),
        lab.socket_unit("both", "8082"),  # [::], and IPv4 too
        lab.socket_unit("local", LOCAL, SocketMode="0600"),
    ]
    lab.systemctl("start", *names)
    with lab.service() as earshot:
        for what, family, address in (
                ("by name", socket.AF_INET, ("127.0.0.1", 9090)),
                ("by name, its second", socket.AF_INET6, ("::1", 9090)),
                ("by address", socket.AF_INET6, ("::1", 8081)),
                ("by address, [::] for 0.0.0.0", socket.AF_INET,
                 ("127.0.0.1", 8082)),
                ("by name, a unix path", socket.AF_UNIX, LOCAL),
                ("not passed: bound by earshot", socket.AF_INET,
                 ("127.0.0.1", 8083))):
            answers(address, family, what)
        told = "\n".join(lab.messages(earshot.since))
        scene.check("listener web: 127.0.0.1:9090 was passed by that name "
                    "and is used in place of 127.0.0.1:8080" in told,
                    "the log says whose address counts")
        scene.equal(told.count("passed to us, listening on"), 5,
                    "and which sockets were passed")
        scene.check("WARN" not in told and "waits for ever" not in told,
                    "nothing to complain about")
        probe = socket.socket()
        scene.check(probe.connect_ex(("127.0.0.1", 8080)) != 0,
                    "8080 is not bound beside it")
        probe.close()
        scene.check(not os.path.exists("/run/elsewhere.sock"),
                    "nor the other path")


def scene_sockets_stay_with_systemd():
    lab.configure(f"[listener local]\nlisten = unix:{LOCAL}\n")
    name = lab.socket_unit("local", LOCAL)
    lab.systemctl("start", name, "earshot.socket")
    with lab.service() as earshot:
        inode = os.stat(LOCAL).st_ino
        consumer = earshot.ws("a")
        early = threading.Thread(target=lab.systemctl,
                                 args=("restart", "earshot.service"))
        early.start()
        lab.wait_message("draining", earshot.since)
        # It drains, waiting for the consumer; who comes now, comes in later.
        waiting = []
        for family, address in ((socket.AF_INET, ("127.0.0.1", 8080)),
                                (socket.AF_UNIX, LOCAL)):
            client = socket.socket(family)
            client.settimeout(scene.DEADLINE_S)
            client.connect(address)
            client.sendall(ASK)
            waiting.append(client)
        scene.equal(state(), "deactivating", "while it drains")
        consumer.read_closed()
        early.join()
        for client in waiting:
            scene.check(client.recv(100).startswith(b"HTTP/1.1 200"),
                        "answered by the successor")
            client.close()
        scene.equal(os.stat(LOCAL).st_ino, inode, "the unix path is the same")
    scene.check(os.path.exists(LOCAL), "and is there without earshot, too")
    lab.systemctl("stop", name, "earshot.socket")


def scene_a_unit_nobody_configured():
    lab.configure()
    lab.systemctl("start", lab.socket_unit("other", "127.0.0.1:9999"),
                  "earshot.socket")
    with lab.service() as earshot:
        answers(("127.0.0.1", 8080), socket.AF_INET,
                "the others' consumers notice nothing")
        told = lab.wait_message("waits for ever", earshot.since)
        scene.check("other, 127.0.0.1:9999" in told["MESSAGE"],
                    told["MESSAGE"])
        scene.equal((told["PRIORITY"], told["MESSAGE_ID"]),
                    ("4", lab.events()["SOCKET_UNWANTED"]),
                    "a warning, with an id")


def scene_a_name_of_another_kind():
    lab.configure()
    lab.systemctl("start", lab.socket_unit("web", LOCAL))
    lab.systemctl("start", "earshot.service", code=1)
    scene.equal(lab.show("ExecMainStatus"), "1", "exit code 1")
    scene.equal(lab.show("StatusText"),
                f"listener web: the socket passed by that name is unix:{LOCAL}"
                ", expected an IP address as in listen = 127.0.0.1:8080",
                "both files are named")
    scene.equal(lab.show("NRestarts"), "0", "not tried again")


def scene_sockets_that_are_none():
    lab.configure()
    lab.unit("earshot-bad.socket", "[Socket]\nService=earshot.service\n"
             "FileDescriptorName=web\nListenDatagram=127.0.0.1:8080\n"
             "ListenFIFO=/run/earshot-test.fifo\n"
             "ListenSequentialPacket=/run/earshot-test.seq\n")
    lab.systemctl("start", "earshot-bad.socket")
    with lab.service() as earshot:
        answers(("127.0.0.1", 8080), socket.AF_INET, "it binds by itself")
        told = [e["MESSAGE"] for e in lab.journal(earshot.since)
                if e.get("MESSAGE_ID") == lab.events()["SOCKET_UNUSABLE"]]
        scene.equal([re.sub(r"fd \d", "fd", t) for t in told], [
            "fd (web), passed to us, is no stream socket, expected "
            "ListenStream= in the .socket unit",
            "fd (web), passed to us, is no socket, expected ListenStream= in "
            "the .socket unit",
            "fd (web), passed to us, is no stream socket, expected "
            "ListenStream= in the .socket unit"], "each is told")


lab.play(__file__, globals(), limit=220)
