"""scripted: a server for the tests of clients; each connection runs a script.

    def script(peer):
        request = peer.read_request()
        peer.send(scripted.answer(201, b'{"accepted":1}'))

    with scripted.Server(script) as server:
        scene.run([scene.EARSHOT, "--url", server.url, ...])

Scripts run one after the other, in a thread of the server's.  What a script
raises is raised again when the server ends, unless it is the end of the
connection.
"""
import base64
import collections
import hashlib
import json
import socket
import threading

import scene

Request = collections.namedtuple("Request", "method path headers body")


class Peer(scene.Raw):
    """The client's connection, seen from its other end."""

    def __init__(self, sock, number):  # no connect() of its own
        self.seconds = scene.DEADLINE_S
        self.sock = sock
        self.port = None
        self.number = number  # of the connection, from 0
        self.buffer = bytearray()
        self.eof = False
        sock.settimeout(self.seconds * scene.SLOWNESS)

    def read_request(self):
        """One request with its body, or None at the end of file."""
        block = self.read_until(b"\r\n\r\n")
        if block is None:
            return None
        first, *lines = block.decode("latin-1").split("\r\n")[:-2]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        method, path, _ = first.split(" ")
        body = self.read(int(headers.get("content-length", 0)))
        return Request(method, path, headers, body)

    def upgrade(self, request, **headers):
        """101; Earshot_Position="…" becomes Earshot-Position: …"""
        key = request.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(
            hashlib.sha1(key + scene.WS_GUID).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket",
                 "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
        lines += [f"{n.replace('_', '-')}: {v}" for n, v in headers.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send_frame(self, opcode, payload=b"", **options):
        self.send(scene.frame(opcode, payload, mask=False, **options))

    def send_text(self, text):
        self.send_frame(scene.TEXT, text.encode())

    def send_close(self, code, reason=""):
        self.send_frame(scene.CLOSE, scene.close_payload(code, reason))

    def read_frame(self):
        """(opcode, payload) of the client's next frame; None: it ended."""
        head = self.read(2)
        if head is None:
            return None
        length = head[1] & 0x7f
        if not head[0] & 0x80 or length > 126 or not head[1] & 0x80:
            raise scene.Failure(f"an odd frame: {head}")
        if length == 126:
            length = int.from_bytes(self.read(2), "big")
        key = self.read(4)
        return head[0] & 15, scene.masked(self.read(length), key)

    def read_close(self):
        """The code of the client's close frame; None: it just ended."""
        while True:
            frame = self.read_frame()
            if frame is None:
                return None
            if frame[0] == scene.CLOSE:
                return scene.closed_by(frame[1]).code

    # earshot.v1, from its other end

    def upgrade_v1(self):
        """The request has to be one for earshot.v1; 101."""
        request = self.read_request()
        wanted = "/ws", "earshot.v1"
        got = request.path, request.headers.get("sec-websocket-protocol")
        if got != wanted:
            raise scene.Failure(f"asked for {got}, expected {wanted}")
        self.upgrade(request, Sec_WebSocket_Protocol="earshot.v1")

    def read_object(self):
        """The client's next command; None: it closed or ended."""
        frame = self.read_frame()
        if frame is None or frame[0] == scene.CLOSE:
            return None
        return json.loads(frame[1])

    def send_object(self, **members):
        self.send_text(json.dumps(members))

    def read_subscribe(self):
        """(id, channel, from or None) of the command, which has to be one."""
        command = self.read_object()
        what = command["subscribe"]
        return command["id"], what["channel"], what.get("from")

    def send_ok(self, number, channel, position, recovered=True):
        self.send_object(id=number, ok={
            "channel": channel, "position": position, "recovered": recovered})

    def send_message(self, channel, offset, text):
        self.send_object(channel=channel, offset=offset,
                         time=1790000000.123, text=text)


class Server:
    """Listens on a port of its own and runs script(peer) per connection."""

    def __init__(self, script, tls=None):
        self.script, self.tls = script, tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"ws{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.count = 0
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            number = self.count
            self.count += 1
            try:
                if self.tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                self.script(Peer(sock, number))
            except OSError:
                pass  # the client has gone, or does not trust us
            except Exception as error:
                self.error = self.error or error
            finally:
                sock.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(2 * scene.DEADLINE_S * scene.SLOWNESS)
        if self.error:
            raise self.error

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.error = None
        self.close()


def answer(status, body=b"", reason="Words", headers=""):
    """An HTTP answer; a body that is no bytes becomes JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return (f"HTTP/1.1 {status} {reason}\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body
