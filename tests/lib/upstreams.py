"""upstreams: servers for upstreams to connect to, of two libraries.

Server(serve) runs python3-websockets in a thread of its own; serve(socket,
path) is a coroutine, called for each connection.  NodeServer runs npm's ws in
a process (server_ws.js).  RawServer(serve) is for what no library would send.
Certificates(folder) is a private authority.
"""
import asyncio
import atexit
import base64
import hashlib
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import threading

import scene
import websockets

NODE_SERVER = pathlib.Path(__file__).parent / "server_ws.js"


class Server:
    """One port, kept over stop() and start(); connections counts them all."""

    def __init__(self, serve, tls=None, port=0, host="127.0.0.1", **options):
        self.serve = serve
        self.host = host
        self.tls = tls
        self.port = port or scene.free_port()  # it comes back there
        self.options = {"max_size": None, **options}
        self.connections = 0
        self.headers = []
        self.sockets = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever,
                                       daemon=True)
        self.thread.start()
        self.server = None
        self.start()

    def call(self, coroutine):
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(scene.DEADLINE_S * scene.SLOWNESS)

    async def _handle(self, sock):
        self.connections += 1
        self.headers.append(sock.request_headers)
        self.sockets.add(sock)
        try:
            await self.serve(sock, sock.path)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.sockets.discard(sock)

    async def _start(self):
        self.server = await websockets.serve(
            self._handle, self.host, self.port, ssl=self.tls,
            **self.options)

    def start(self):
        self.call(self._start())

    async def _stop(self):
        self.server.close()
        await self.server.wait_closed()

    def stop(self):
        """Closes every connection with 1001, and the port."""
        self.call(self._stop())

    async def _reset(self):
        for sock in list(self.sockets):
            raw = sock.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
            sock.transport.abort()

    def reset(self):
        """Cuts every connection, with RST."""
        self.call(self._reset())

    async def _send(self, data):
        for sock in list(self.sockets):
            await sock.send(data)

    def send(self, data):
        """To all who are connected."""
        self.call(self._send(data))

    def close(self):
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(scene.DEADLINE_S)
        self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def url(self, host="127.0.0.1", path="/"):
        return f"ws{'s' if self.tls else ''}://{host}:{self.port}{path}"


class NodeServer:
    """npm's ws: what it does is in server_ws.js, by the path.

    deflate: options of its permessage-deflate.
    """

    def __init__(self, deflate=None):
        self.process = subprocess.Popen(
            ["node", str(NODE_SERVER), json.dumps(deflate or {})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.port = int(json.loads(self.process.stdout.readline())["port"])

    def url(self, path="/"):
        return f"ws://127.0.0.1:{self.port}{path}"

    def close(self):
        self.process.stdin.close()
        self.process.wait(scene.DEADLINE_S)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RawServer:
    """serve(socket) for each connection, in a thread; count: how many came."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(
                target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            try:
                self.serve(sock)
            except OSError:
                pass

    def url(self, path="/"):
        return f"ws://127.0.0.1:{self.port}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def upgrade(sock, extra=""):
    """Reads a request and answers with 101; extra: header lines."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(65536)
        if not data:
            raise OSError
        head += data
    key = next(line.split(b":")[1].strip() for line in head.split(b"\r\n")
               if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + scene.WS_GUID).digest())
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
                 b"\r\n" + extra.encode() + b"\r\n")


def hold(sock):
    """Until the other side has ended."""
    while sock.recv(65536):
        pass


class Certificates:
    """A private authority, and a certificate of it for a name."""

    def __init__(self, folder, name="127.0.0.1"):
        self.ca = folder / "ca.pem"
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"
        kind = "IP" if name[0].isdigit() else "DNS"
        request = folder / "request.pem"
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName={kind}:{name}\n")
        for command in (
                ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                 folder / "ca.key", "-out", self.ca, "-subj", "/CN=Test CA",
                 "-days", "2"],
                ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key,
                 "-out", request, "-subj", f"/CN={name}"],
                ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey",
                 folder / "ca.key", "-CAcreateserial", "-out",
                 self.certificate, "-days", "2", "-extfile", extensions]):
            scene.run(["openssl", *command], code=0)
        os.chmod(self.key, 0o600)

    def expire(self):
        """Another certificate in the place of this, of long ago."""
        folder = self.ca.parent
        (folder / "ca.conf").write_text(
            "[ca]\ndefault_ca = a\n[a]\npolicy = p\ndefault_md = sha256\n"
            f"database = {folder}/index\nnew_certs_dir = {folder}\n"
            "rand_serial = yes\n[p]\ncommonName = supplied\n")
        (folder / "index").write_text("")
        scene.run(["openssl", "ca", "-batch", "-notext", "-config",
                   folder / "ca.conf", "-cert", self.ca, "-keyfile",
                   folder / "ca.key", "-in", folder / "request.pem", "-out",
                   self.certificate, "-extfile", folder / "extensions",
                   "-startdate", "20200101000000Z", "-enddate",
                   "20200201000000Z"], code=0)

    def server(self, ask=False):
        """A server's context; ask: clients need a certificate, too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


async def stay(sock, _path=None):
    """Reads until the connection ends."""
    async for _ in sock:
        pass
