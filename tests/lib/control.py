"""control: the control socket, asked byte by byte and through `earshot`."""
import http.client
import json
import os
import socket

import scene


class Connection(http.client.HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path, seconds=scene.DEADLINE_S):
        super().__init__("control", timeout=seconds * scene.SLOWNESS)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon(scene.Daemon):
    """A daemon with a control socket of its own."""

    def __init__(self, conf="", folder=scene.TMP, **options):
        self.socket = folder / f"control-{os.urandom(4).hex()}"
        super().__init__(
            f"{conf}\n[control]\nlisten = unix:{self.socket}\n", **options)

    def control(self, method, path):
        connection = Connection(self.socket)
        try:
            return scene.http_on(connection, method, path)
        finally:
            connection.close()

    def look(self, what):
        """What GET /control/WHAT answers."""
        answer = self.control("GET", f"/control/{what}")
        scene.equal(answer.status, 200, f"/control/{what}") \
            if answer.status != 200 else None
        return json.loads(answer.body)

    def earshot(self, *arguments, code=0, **options):
        """The command line, its exit code checked."""
        return earshot(self.socket, *arguments, code=code, **options)

    def reload(self, text=None, code=0):
        """Another file (its [control] is ours) and `earshot reload`."""
        if text is not None:
            self.write(text)
        return self.earshot("reload", code=code)

    def write(self, text):
        if "[listener" not in text:
            text = scene.LISTENER + text
        if "[auth]" not in text:
            text += "\n" + scene.AUTH
        self.conf.write_text(
            f"{text}\n[control]\nlisten = unix:{self.socket}\n")


def earshot(path, *arguments, code=0, **options):
    return scene.run([scene.EARSHOT, "--control", path, *arguments],
                     code=code, **options)
