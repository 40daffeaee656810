"""scene: what the scenes of tests/scene share: a daemon, clients, checks.

A scene is functions whose names begin with scene_ and scene.play(globals()):

    import os
    import sys
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
    import scene

    def scene_it_is_healthy():
        with scene.Daemon() as daemon:
            answer = daemon.http("GET", "/healthz")
            scene.equal(answer.status, 200, "GET /healthz")

    scene.play(globals())

Nothing here sleeps for a fixed time: what is waited for is a condition or
bytes of a socket, with a deadline.  Deadlines grow under the sanitizers and
under valgrind, and are for what hangs; what was promised to take no longer than
so long is for in_time().  The programs are those of the runner (EARSHOTD, EARSHOT), else
those in build/.
"""
import atexit
import base64
import collections
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("B", TOP / "build"))
EARSHOTD = os.environ.get("EARSHOTD", str(BUILD / "earshotd"))
EARSHOT = os.environ.get("EARSHOT", str(BUILD / "earshot"))
PY = os.environ.get("PY", "/usr/bin/python3")
MODE = os.environ.get("EARSHOT_TEST_MODE", "all")
SLOWNESS = {"sanitizer": 4, "valgrind": 10}.get(MODE, 1)
SKIPPED = 77
os.environ.setdefault(
    "NODE_PATH", f"{TOP}/build/deps/node_modules:/usr/share/nodejs")
CLIENTS = {
    "websockets": [PY, TOP / "tests/scene/client_websockets.py"],
    "websocket-client": [PY, TOP / "tests/scene/client_websocket.py"],
    "ws": ["node", TOP / "tests/scene/client_ws.js"],
}

DEADLINE_S = 20  # for what hangs; what a scene measures is for in_time()
BUSY = 5  # a machine that does something else besides is that much slower
POLL_S = 0.003
READ_BYTES = 1 << 18
LOG_SHOWN = 40

TMP = pathlib.Path(tempfile.mkdtemp(prefix="scene-"))
atexit.register(shutil.rmtree, TMP, ignore_errors=True)

LISTENER = "[listener]\nlisten = 127.0.0.1:0\n"
AUTH = "[auth]\nanonymous = subscribe publish\n"
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


OPEN = weakref.WeakSet()  # every Raw


class Failure(AssertionError):
    """What was expected did not come."""


class Skip(Exception):
    """What the scene needs is not here."""


# Checks

def check(condition, what):
    """Tell what is checked; fail loudly."""
    if not condition:
        raise Failure(what)
    print(f"    {what}", flush=True)


def equal(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: got {short(got)}, expected {short(wanted)}")
    check(True, what)


def short(value):
    return short_text(repr(value))


def short_text(text):
    return text if len(text) <= 300 else \
        f"{text[:150]} ... {text[-100:]} ({len(text)})"


def in_time(took, seconds, what):
    """What was promised to take at most that long did, as far as a busy
    machine can tell: benches measure, this is for what waits or hangs."""
    if took > seconds * BUSY * SLOWNESS:
        raise Failure(f"{what}: {took:.2f} s, promised {seconds:g} s")
    check(True, f"{what}: {took:.2f} s")


def deadline(seconds=DEADLINE_S):
    """A moment that many seconds from now, more where everything is slow."""
    return time.monotonic() + seconds * SLOWNESS


def wait_until(predicate, what, seconds=DEADLINE_S):
    """The first true value of predicate()."""
    end = deadline(seconds)
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(POLL_S)


def summary(fault):
    """The first line of what went wrong."""
    text = (str(fault) or repr(fault)).split("\n")[0]
    kind = "" if isinstance(fault, Failure) else f"{type(fault).__name__}: "
    return short_text(kind + text)


def play(names):
    """Run every scene_* function, or those the arguments name; then exit."""
    wanted = sys.argv[1:]
    failed = skipped = 0
    parts = [(n, f) for n, f in names.items() if n.startswith("scene_")]
    parts = [p for p in parts
             if not wanted or any(w in p[0] for w in wanted)]
    for name, function in parts:
        title = name[len("scene_"):].replace("_", " ")
        print(f"  {title}", flush=True)
        started = time.monotonic()
        try:
            function()
        except Skip as why:
            print(f"    skipped: {why}", flush=True)
            skipped += 1
        except Exception as fault:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"  FAILED {title}: {summary(fault)}", flush=True)
        print(f"    ({time.monotonic() - started:.2f} s)", flush=True)
    if failed:
        sys.exit(1)
    sys.exit(SKIPPED if parts and skipped == len(parts) else 0)


def free_port():
    """Where nobody listens; below those that the kernel gives away, so that
    nobody does by chance."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                return port


def run(command, text_in=None, seconds=DEADLINE_S, code=None, **options):
    """A program to its end; stdout and stderr are str unless text=False."""
    options.setdefault("text", True)
    if text_in is None:
        options.setdefault("stdin", subprocess.DEVNULL)
    command = [str(c) for c in command]
    try:
        done = subprocess.run(
            command, input=text_in, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=seconds * SLOWNESS,
            check=False, **options)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{command[0]}: not over after {seconds} s: "
                      f"{short(late.stdout)} {short(late.stderr)}") from late
    if code is not None and done.returncode != code:
        raise Failure(f"{' '.join(command)}: exit code {done.returncode}, "
                      f"expected {code}: {short(done.stdout)} "
                      f"{short(done.stderr)}")
    return done


# The daemon

Answer = collections.namedtuple("Answer", "status headers body")


def json_of(answer):
    """The object an answer carries."""
    return json.loads(answer.body)


class Daemon:
    """earshotd with a configuration text, from ready to its end.

    Without a section [listener] it listens on 127.0.0.1:0, without [auth]
    everybody may subscribe and publish.  As a context its clients are closed
    at the end, it is stopped and has to exit with code 0; when something went
    wrong before, it is killed and its log shown.
    """

    def __init__(self, conf="", arguments=(), prefix=(), env=None,
                 ready=True, seconds=DEADLINE_S, journal=False, **options):
        if "[listener" not in conf:
            conf = LISTENER + conf
        if "[auth]" not in conf:
            conf += "\n" + AUTH
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=TMP))
        self.conf = self.folder / "earshot.conf"
        self.conf.write_text(conf)
        environment = dict(os.environ)
        environment.pop("JOURNAL_STREAM", None)
        environment.update(env or {})
        reader, writer = os.pipe()
        if journal:  # make it believe that its stderr is the journal's
            pipe = os.fstat(writer)
            environment["JOURNAL_STREAM"] = f"{pipe.st_dev}:{pipe.st_ino}"
        self.lines = []
        self.arrived = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen(
            [*prefix, EARSHOTD, "-c", str(self.conf), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=writer, env=environment, **options)
        os.close(writer)
        self.reader = threading.Thread(
            target=self._read, args=(os.fdopen(reader, "rb"),), daemon=True)
        self.reader.start()
        self.ports = []
        if ready:
            self.wait_ready(seconds)

    def _read(self, pipe):
        with pipe:
            for line in pipe:
                with self.arrived:
                    self.lines.append(
                        line.decode(errors="replace").rstrip("\n"))
                    self.arrived.notify_all()
        with self.arrived:
            self.ended = True
            self.arrived.notify_all()

    @property
    def pid(self):
        return self.process.pid

    @property
    def port(self):
        return self.ports[0]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def log(self, since=0):
        """All that was logged, from that line on."""
        with self.arrived:
            return "\n".join(self.lines[since:])

    def log_count(self, pattern, since=0):
        with self.arrived:
            return sum(bool(re.search(pattern, line))
                       for line in self.lines[since:])

    def wait_log(self, pattern, seconds=DEADLINE_S, since=0, count=1):
        """The match of the count-th line that has the pattern."""
        end = deadline(seconds)
        with self.arrived:
            while True:
                found = [m for line in self.lines[since:]
                         if (m := re.search(pattern, line))]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    why = "the daemon ended" if self.ended else \
                        f"not within {seconds} s"
                    raise Failure(f"log line {pattern!r}: {why}:\n" +
                                  "\n".join(self.lines[-LOG_SHOWN:]))
                self.arrived.wait(left)

    def wait_ready(self, seconds=DEADLINE_S):
        self.wait_log(r"(INFO |>)ready$", seconds)
        self.ports = [int(m) for m in re.findall(
            r"listening on wss?://\S+:(\d+)$", self.log(), re.M)]

    def signal(self, signo=signal.SIGTERM):
        self.process.send_signal(signo)

    def wait(self, seconds=2 * DEADLINE_S):
        """Its exit code; the log is complete then."""
        try:
            code = self.process.wait(seconds * SLOWNESS)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"earshotd not over after {seconds} s:\n"
                          f"{stacks(self.pid)}\n{self.log()}") from late
        self.reader.join(seconds * SLOWNESS)
        if self.reader.is_alive():
            raise Failure("earshotd ended, and something still has its stderr")
        return code

    def stop(self, seconds=2 * DEADLINE_S):
        """SIGTERM, and its exit code."""
        self.signal()
        return self.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None and self.process.poll() is None:
            try:
                self.close_clients()
                code = self.stop()
                if code != 0:
                    raise Failure(f"earshotd ended with exit code {code}")
            except Failure:
                self._give_up()
                raise
        elif kind is not None:
            self._give_up()

    def close_clients(self):
        """What the scene left open would make the drain wait."""
        mine = [c for c in OPEN if c.port in self.ports]
        for client in mine:
            client.close()
        if mine:
            name = 'connections{state="websocket"}'
            wait_until(lambda: self.metric(name) == 0, "clients are gone")

    def _give_up(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(DEADLINE_S)
        print("    log: " + "\n    log: ".join(self.lines[-LOG_SHOWN:]),
              flush=True)

    # What a daemon that runs can be asked

    def http(self, method, path, body=None, headers=None, port=None,
             seconds=DEADLINE_S):
        """One request on a connection of its own."""
        connection = self.http_open(port, seconds)
        try:
            return http_on(connection, method, path, body, headers)
        finally:
            connection.close()

    def http_open(self, port=None, seconds=DEADLINE_S):
        return http.client.HTTPConnection(
            "127.0.0.1", port or self.port, timeout=seconds * SLOWNESS)

    def publish(self, channel, body, kind="text/plain", arguments=""):
        """POST; the answer's object, which has to be 201."""
        answer = self.http(
            "POST", f"/channels/{channel}/messages{arguments}",
            body.encode() if isinstance(body, str) else body,
            {"Content-Type": kind})
        if answer.status != 201:
            raise Failure(f"publish: {answer.status} {short(answer.body)}")
        return json_of(answer)

    def metrics(self):
        """{name with labels, without earshot_: value}."""
        text = self.http("GET", "/metrics").body.decode()
        pairs = (line.rpartition(" ") for line in text.splitlines()
                 if line and not line.startswith("#"))
        return {name.removeprefix("earshot_"): float(value)
                for name, _, value in pairs}

    def metric(self, name, **labels):
        """Its value; the sum of those that have these labels."""
        return sum_of(self.metrics(), name, labels)

    def wait_metric(self, name, value, seconds=DEADLINE_S, **labels):
        """Until the metric is at least that."""
        return wait_until(
            lambda: sum_of(self.metrics(), name, labels, 0) >= value,
            f"{name} {labels or ''} >= {value}", seconds)

    def ws(self, channel, arguments="", **options):
        """A raw consumer, its upgrade answered with 101."""
        client = WebSocket(self.port, f"/ws/{channel}{arguments}", **options)
        if client.status != 101:
            raise Failure(f"upgrade: {client.status} {short(client.body)}")
        return client

    def cpu_s(self):
        """The processor time it has used so far."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def stacks(pid):
    """What its threads do, as far as it can be seen here."""
    if not shutil.which("gdb"):
        return "where it hangs: gdb would tell"
    try:
        return subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, timeout=60, check=False).stdout
    except subprocess.TimeoutExpired:
        return "where it hangs: gdb hangs, too"


def sum_of(metrics, name, labels, default=None):
    if name in metrics and not labels:
        return metrics[name]
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    values = [value for sample, value in metrics.items()
              if sample.startswith(name + "{")
              and all(w in sample for w in wanted)]
    if not values and default is None:
        raise Failure(f"no metric {name} {labels}")
    return sum(values) if values else default


def http_on(connection, method, path, body=None, headers=None):
    """One request on an http.client connection that is kept."""
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    return Answer(answer.status, answer.headers, answer.read())


class Client:
    """A WebSocket library as consumer: one of CLIENTS, its own process.

    sends: (kind, bytes) each, kind "t" or "b"; see client_websockets.py.
    deflate: offer permessage-deflate where the library does.
    """

    def __init__(self, kind, url, count, sends=(), ca=None, deflate=True):
        self.kind = kind
        command = [*CLIENTS[kind], url, count, *([ca] if ca else [])]
        self.process = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, CLIENT_DEFLATE="yes" if deflate else "no"))
        atexit.register(self.process.kill)
        lines = (json.dumps([k, base64.b64encode(d).decode()])
                 for k, d in sends)
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.close()
        self.process.stdin = None

    def result(self, seconds=DEADLINE_S):
        """The object it prints at its end."""
        try:
            out, err = self.process.communicate(timeout=seconds * SLOWNESS)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"{self.kind}: not over after {seconds} s") from late
        if self.process.returncode != 0:
            raise Failure(f"{self.kind}: {self.process.returncode}: {err}")
        return json.loads(out)


def digest(payloads):
    """What a Client says of these messages."""
    total = hashlib.sha256()
    for payload in payloads:
        total.update(payload + b"\n")
    return total.hexdigest()


# A socket, byte by byte

class Raw:
    """A TCP connection: what is written is what goes out."""

    def __init__(self, port, host="127.0.0.1", tls=None, receive_bytes=0,
                 seconds=DEADLINE_S):
        self.seconds = seconds
        OPEN.add(self)
        self.port = port
        self.sock = socket.socket()
        if receive_bytes:  # before connect: the window is agreed on there
            self.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(seconds * SLOWNESS)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=host)
        self.buffer = bytearray()
        self.eof = False

    def send(self, data):
        self.sock.sendall(data)

    def end(self):
        """Say that nothing more comes; the other side may have ended it."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more(self):
        """Wait for bytes; False at the end of file, a reset included."""
        if self.eof:
            return False
        try:
            data = self.sock.recv(READ_BYTES)
        except (socket.timeout, TimeoutError) as late:
            raise Failure(f"nothing to read within {self.seconds} s, have "
                          f"{short(bytes(self.buffer))}") from late
        except ConnectionError:
            data = b""
        self.buffer += data
        self.eof = not data
        return bool(data)

    def read(self, count):
        """Exactly that many bytes, or None at the end of file."""
        while len(self.buffer) < count:
            if not self.more():
                return None
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_until(self, mark):
        """Up to and with the mark, or None at the end of file."""
        begin = 0
        while (at := self.buffer.find(mark, begin)) < 0:
            begin = max(0, len(self.buffer) - len(mark))
            if not self.more():
                return None
        return self.read(at + len(mark))

    def read_all(self):
        """All until the end of file."""
        while self.more():
            pass
        return self.read(len(self.buffer))

    def read_answer(self, head=False):
        """One HTTP answer, a body by Content-Length or in chunks; None at the
        end, also of a body that is not whole."""
        block = self.read_until(b"\r\n\r\n")
        if block is None:
            return None
        first, *lines = block.decode("latin-1").split("\r\n")[:-2]
        headers = http.client.HTTPMessage()
        for line in lines:
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        status = int(first.split()[1])
        if headers.get("Transfer-Encoding") == "chunked" and not head:
            return Answer(status, headers, self.read_chunks())
        length = 0 if head or status in (100, 101) else \
            int(headers.get("Content-Length", 0))
        return Answer(status, headers, self.read(length))

    def read_chunks(self):
        body = b""
        while (line := self.read_until(b"\r\n")) is not None:
            chunk = self.read(int(line, 16))
            if chunk is None or self.read(2) != b"\r\n":
                return None
            if not chunk:
                return body
            body += chunk
        return None

    def reset(self):
        """Gone without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


Frame = collections.namedtuple("Frame", "fin rsv opcode payload")


class Closed(Exception):
    """The server's close frame came, or (code None) the end without one."""

    def __init__(self, code, reason):
        super().__init__(f"closed: {code} {reason!r}")
        self.code, self.reason = code, reason


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True, length=None):
    """A client's frame; length: what to announce instead of the truth."""
    length = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + masked(payload, key)


def masked(payload, key):
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^
            int.from_bytes(stream, "big")).to_bytes(size, "big")


def close_payload(code, reason=""):
    return struct.pack(">H", code) + reason.encode()


class WebSocket(Raw):
    """A WebSocket client that may do all that is forbidden.

    status, headers, body are those of the answer to the upgrade.  Pings are
    noted, not answered; pongs are noted.
    """

    def __init__(self, port, path, headers=None, method="GET", **options):
        super().__init__(port, **options)
        key = base64.b64encode(os.urandom(16))
        fields = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket",
                  "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": key.decode()}
        fields.update(headers or {})
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{n}: {v}" for n, v in fields.items() if v is not None]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        self.pings, self.pongs = [], []
        self.close_sent = False
        answer = self.read_answer()
        if answer is None:
            raise Failure("the upgrade was not answered")
        self.status, self.headers, self.body = answer
        if self.status == 101:
            wanted = base64.b64encode(hashlib.sha1(
                fields["Sec-WebSocket-Key"].encode() + WS_GUID).digest())
            if self.headers["Sec-WebSocket-Accept"] != wanted.decode():
                raise Failure("wrong Sec-WebSocket-Accept")

    @property
    def position(self):
        return self.headers["Earshot-Position"]

    @property
    def recovered(self):
        return self.headers["Earshot-Recovered"]

    def send_frame(self, opcode, payload=b"", **options):
        self.send(frame(opcode, payload, **options))

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def send_close(self, code=1000, reason=""):
        self.close_sent = True
        self.send_frame(CLOSE, close_payload(code, reason))

    def read_frame(self):
        """The next frame, None at the end of file."""
        head = self.read(2)
        if head is None:
            return None
        if head[1] & 0x80:
            raise Failure("a masked frame from the server")
        length = head[1] & 0x7f
        if length == 126:
            length = struct.unpack(">H", self.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.read(8))[0]
        payload = self.read(length)
        if payload is None:
            return None
        return Frame(bool(head[0] & 0x80), head[0] >> 4 & 7, head[0] & 15,
                     payload)

    def read_message(self):
        """(opcode, bytes) of the next message; raises Closed."""
        opcode, parts = None, []
        while True:
            got = self.read_frame()
            if got is None:
                raise Closed(None, "")
            if got.rsv:
                raise Failure(f"reserved bits: {got}")
            if got.opcode == CLOSE:
                raise closed_by(got.payload)
            if got.opcode == PING:
                self.pings.append(got.payload)
                continue
            if got.opcode == PONG:
                self.pongs.append(got.payload)
                continue
            if (got.opcode == CONTINUATION) != (opcode is not None):
                raise Failure(f"out of its message: {short(got)}")
            opcode = got.opcode or opcode
            parts.append(got.payload)
            if got.fin:
                return opcode, b"".join(parts)

    def read_text(self):
        opcode, data = self.read_message()
        if opcode != TEXT:
            raise Failure(f"opcode {opcode}, expected text: {short(data)}")
        return data.decode()

    def read_closed(self, answer=True):
        """(code, reason) of the server's close; messages are passed over.

        Unless told otherwise it is answered, if it is not an answer itself,
        and the end of file awaited; nothing may come between.
        """
        end = deadline(self.seconds)
        try:
            while time.monotonic() < end:
                self.read_message()
            raise Failure(f"not closed within {self.seconds} s")
        except Closed as closed:
            code, reason = closed.code, closed.reason
        if answer and code is not None:
            if not self.close_sent:
                self.send_close(1000 if code == 1005 else code)
            rest = self.read_all()
            if rest:
                raise Failure(f"after the close frame: {short(rest)}")
        return code, reason


def closed_by(payload):
    if not payload:
        return Closed(1005, "")
    if len(payload) == 1:
        raise Failure(f"a close frame with half a code: {payload}")
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError as bad:
        raise Failure(f"a close frame, not UTF-8: {payload}") from bad
    return Closed(struct.unpack(">H", payload[:2])[0], reason)
