#!/usr/bin/python3
# slow
# limit: 240
"""Under the unit's whole sandbox: what earshot itself needs, works; what some
commands need beyond it is a drop-in, and without the drop-in it is refused.
"""
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import ssl
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

PROBE = """[command probe]
exec = {}
channel = probe
"""
# Memory that is written and run, as a just-in-time compiler wants it.
JIT = ("import mmap; print('page', len(mmap.mmap(-1, 4096, prot="
       "mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)))")


def certificate(folder, mode=0o640):
    """A key and its certificate, readable by the group earshot."""
    os.makedirs(folder, exist_ok=True)
    lab.sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
           "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
           "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
           "-keyout", f"{folder}/earshot.key", "-out", f"{folder}/earshot.crt")
    os.chmod(f"{folder}/earshot.key", mode)
    lab.sh("chgrp", "earshot" if mode & 0o40 else "root",
           f"{folder}/earshot.key")
    return ssl.create_default_context(cafile=f"{folder}/earshot.crt")


def tls(folder):
    return (f"[listener tls]\nlisten = 127.0.0.1:8443\ntls = yes\n[tls]\n"
            f"certificate = {folder}/earshot.crt\nkey = {folder}/earshot.key\n")


def hear(earshot, count=1, channel="probe", **options):
    """The first lines of a channel, from its oldest on."""
    client = scene.WebSocket(options.pop("port", earshot.port),
                             f"/ws/{channel}?from=oldest", **options)
    scene.equal(client.status, 101, f"/ws/{channel}")
    try:
        return [client.read_text() for _ in range(count)]
    finally:
        client.close()


def scene_tls_and_a_command():
    context = certificate("/etc/earshot/tls")
    lab.configure(tls("/etc/earshot/tls") +
                  PROBE.format("vmstat -n 1"))
    with lab.service() as earshot:
        lines = hear(earshot, 3, port=8443, tls=context)
        scene.check(lines[0].startswith("procs ---") and
                    re.fullmatch(r"[ \d]+", lines[2]),
                    f"vmstat over TLS: {lines[2]}")
        scene.equal(len(lab.group_pids()), 2, "earshotd and vmstat")
    scene.equal(lab.group_pids(), [], "nobody is left")


def scene_a_unix_listener():
    lab.configure("[listener local]\nlisten = unix:/run/earshot/http.sock\n")
    with lab.service():
        info = os.stat("/run/earshot/http.sock")
        scene.equal((stat.S_IMODE(info.st_mode), info.st_gid),
                    (0o660, int(lab.sh("id", "-g", "earshot").stdout)),
                    "for its group")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("/run/earshot/http.sock")
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            scene.check(b" 200 OK" in client.recv(100), "it answers")
        done = lab.sh("setpriv", "--reuid=65534", "--clear-groups", "python3",
                      "-c", "import socket; socket.socket(socket.AF_UNIX)"
                      ".connect('/run/earshot/http.sock')", code=1)
        scene.check("PermissionError" in done.stderr, "and to nobody else")


def scene_nothing_else_of_the_machine():
    """A command sees the sandbox: it cannot write, see others, or gain."""
    script = ("touch /var/lib/earshot/mine && echo state: yes; "
              "touch /etc/x /usr/x /home/x /root/x 2>/dev/null; "
              "ls /home /root >/dev/null 2>&1 && echo home: yes; "
              "ls /dev/mem /dev/sda >/dev/null 2>&1 && echo devices: yes; "
              "unshare -U true 2>/dev/null && echo namespaces: yes; "
              "ps -o pid= 1 >/dev/null && echo others: yes; "
              "env | grep -E 'NOTIFY|LISTEN|WATCHDOG'; "
              "umask; echo end; sleep 60")
    lab.configure(PROBE.format(f'sh -c "{script}"'))
    with lab.service() as earshot:
        scene.equal(hear(earshot, 3), ["state: yes", "0077", "end"],
                    "what it can")
    os.unlink("/var/lib/earshot/mine")


def down(earshot, pattern):
    """The journal says why the probe is down."""
    lab.wait_message(pattern, earshot.since)
    scene.check(True, f"refused: {pattern}")


def scene_jit():
    lab.configure(PROBE.format(f'python3 -c "{JIT}"'))
    with lab.service() as earshot:
        down(earshot, "PermissionError")
    lab.ready_made("jit.conf")
    with lab.service() as earshot:
        scene.equal(hear(earshot), ["page 4096"], "with jit.conf")


def scene_proc():
    lab.configure(PROBE.format('sh -c "ps -o comm= 1 || echo nobody"'))
    with lab.service() as earshot:
        scene.equal(hear(earshot), ["nobody"], "another's process")
    lab.ready_made("proc.conf")
    with lab.service() as earshot:
        scene.equal(hear(earshot), ["systemd"], "with proc.conf")


def scene_low_ports():
    lab.configure(web="[listener web]\nlisten = 127.0.0.1:80\n")
    lab.systemctl("start", "earshot.service", code=1)
    scene.equal(lab.show("StatusErrno"), "13", "port 80: refused")
    lab.clean()
    lab.configure(web="[listener web]\nlisten = 127.0.0.1:80\n")
    lab.ready_made("low-ports.conf")
    with lab.service(80) as earshot:
        scene.equal(earshot.http("GET", "/healthz").status, 200,
                    "with low-ports.conf")
    lab.clean()
    lab.configure()
    name = lab.socket_unit("web", "127.0.0.1:80")
    lab.systemctl("start", name)
    with lab.service(80) as earshot:
        scene.equal(earshot.http("GET", "/healthz").status, 200,
                    "with a socket unit")


def scene_a_key_of_roots():
    folder = "/run/credentials/earshot.service"
    context = certificate("/tmp/x", 0o600)
    os.makedirs("/etc/ssl/private", exist_ok=True)
    shutil.move("/tmp/x/earshot.crt", "/etc/ssl/certs/earshot.crt")
    shutil.move("/tmp/x/earshot.key", "/etc/ssl/private/earshot.key")
    lab.configure(tls(folder).replace("earshot.crt", "tls.crt")
                  .replace("earshot.key", "tls.key"))
    since = lab.cursor()
    lab.systemctl("start", "earshot.service", code=1)
    scene.equal(lab.show("ExecMainStatus"), "1", "no credentials: exit code 1")
    told = f"certificate = {folder}/tls.crt: Permission denied, "
    scene.check(any(told in m for m in lab.messages(since)),
                lab.show("StatusText"))
    lab.ready_made("tls-credentials.conf")
    with lab.service() as earshot:
        client = scene.WebSocket(8443, "/ws/a", tls=context)
        earshot.publish("a", "hello")
        scene.equal(client.read_text(), "hello", "with tls-credentials.conf")
        client.close()


def token(secret):
    """Of HS256, for all there is."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    claims = {"exp": int(time.time()) + 600, "earshot": {"publish": ["**"]}}
    text = b".".join(part(json.dumps(value).encode())
                     for value in ({"alg": "HS256"}, claims))
    sign = hmac.new(secret, text, hashlib.sha256).digest()
    return (text + b"." + part(sign)).decode()


def scene_a_secret_of_roots():
    folder = "/run/credentials/earshot.service"
    secret = b"0123456789abcdef0123456789abcdef"
    auth = f"[auth]\ntoken_key = {folder}/token.key\n"
    lab.configure(auth=auth)
    path = lab.CONF.parent / "token.key"
    path.write_bytes(secret + b"\n")
    path.chmod(0o600)
    since = lab.cursor()
    lab.systemctl("start", "earshot.service", code=1)
    told = f"token_key = {folder}/token.key: Permission denied, "
    scene.check(any(told in m for m in lab.messages(since)),
                lab.show("StatusText"))
    lab.ready_made("token-credentials.conf")
    with lab.service() as earshot:
        for text, status in ((token(secret), 201), (token(secret * 2), 401)):
            answer = earshot.http(
                "POST", "/channels/a/messages", b"x",
                {"Authorization": f"Bearer {text}"})
            scene.equal(answer.status, status, "with token-credentials.conf")


lab.play(__file__, globals(), limit=220)
